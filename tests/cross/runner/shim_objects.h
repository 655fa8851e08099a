// What torch's opaque handles point to in the runner: plain memory, no allocator, no dispatcher.
#pragma once

#include <torch/csrc/stable/c/shim.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// Memory between two guards, aligned as torch aligns its own.
class Storage {
 public:
  explicit Storage(size_t bytes);
  std::byte* Data() { return memory_.get() + kGuard; }
  size_t Bytes() const { return bytes_; }
  // Whether something was written before the first or after the last byte.
  bool GuardsWereWritten() const;

 private:
  static constexpr size_t kGuard = 64;
  struct Free {
    void operator()(std::byte* memory) const;
  };
  size_t bytes_;
  std::unique_ptr<std::byte[], Free> memory_;
};

struct AtenTensorOpaque {
  std::shared_ptr<Storage> storage;
  std::byte* data;
  int32_t dtype;  // a torch::headeronly::ScalarType
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;  // in elements

  int64_t Numel() const;
};

// A contiguous tensor of zeros.
AtenTensorHandle NewTensor(std::vector<int64_t> sizes, int32_t dtype);

struct StringOpaque {
  std::string text;
};

struct StableListOpaque {
  std::vector<StableIValue> items;
};

using BoxedKernel = void (*)(StableIValue*, uint64_t, uint64_t);

struct Implementation {
  std::string op;  // namespace::name
  std::string dispatch_key;
  BoxedKernel kernel;
};

// What libraries registered as they were loaded.
struct Registry {
  std::vector<std::string> schemas;  // namespace::name(arguments) -> results
  std::vector<Implementation> implementations;
};
Registry& GetRegistry();

// What torch.get_num_threads() says on the host.
void SetNumThreads(uint32_t threads);
