// Values on a pair of file descriptors: numbers little-endian whatever the CPU, strings and lists after a u32 count.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

inline constexpr bool kBigEndian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

// A number's bytes as they are sent, or back.
template <typename T>
void CopyLittleEndian(void* to, const void* from) {
  static_assert(std::is_arithmetic_v<T>);
  std::memcpy(to, from, sizeof(T));
  auto* bytes = static_cast<std::byte*>(to);
  if constexpr (kBigEndian) std::reverse(bytes, bytes + sizeof(T));
}

class Reader {
 public:
  explicit Reader(int fd) : fd_(fd) {}

  // Ends the process, without complaint, where the other side has closed its end.
  void Bytes(void* to, size_t count) {
    for (size_t done = 0; done < count;) {
      const ssize_t got = read(fd_, static_cast<char*>(to) + done, count - done);
      if (got <= 0) _exit(0);
      done += static_cast<size_t>(got);
    }
  }
  template <typename T>
  T Value() {
    std::byte bytes[sizeof(T)];
    Bytes(bytes, sizeof(T));
    T value;
    CopyLittleEndian<T>(&value, bytes);
    return value;
  }
  std::string Text() {
    std::string text(Value<uint32_t>(), '\0');
    Bytes(text.data(), text.size());
    return text;
  }
  std::vector<int64_t> Integers() {
    std::vector<int64_t> values(Value<uint32_t>());
    for (int64_t& value : values) value = Value<int64_t>();
    return values;
  }

 private:
  int fd_;
};

// Collects an answer, which is sent as one.
class Writer {
 public:
  explicit Writer(int fd) : fd_(fd) {}

  void Bytes(const void* from, size_t count) {
    const auto* begin = static_cast<const std::byte*>(from);
    buffer_.insert(buffer_.end(), begin, begin + count);
  }
  template <typename T>
  void Value(T value) {
    std::byte bytes[sizeof(T)];
    CopyLittleEndian<T>(bytes, &value);
    Bytes(bytes, sizeof(T));
  }
  void Text(const std::string& text) {
    Value(static_cast<uint32_t>(text.size()));
    Bytes(text.data(), text.size());
  }
  void Integers(const std::vector<int64_t>& values) {
    Value(static_cast<uint32_t>(values.size()));
    for (int64_t value : values) Value(value);
  }
  void Send() {
    for (size_t done = 0; done < buffer_.size();) {
      const ssize_t sent = write(fd_, buffer_.data() + done, buffer_.size() - done);
      if (sent <= 0) _exit(1);
      done += static_cast<size_t>(sent);
    }
    buffer_.clear();
  }
  void Discard() { buffer_.clear(); }

 private:
  int fd_;
  std::vector<std::byte> buffer_;
};
