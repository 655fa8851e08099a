// Device memory whose addresses outlive its contents: physical memory can be given back ("sleep")
// and made again at the same addresses, so that tensors and captured graphs stay valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace vllm::cumem {

// The device's virtual memory management. Every function throws std::runtime_error when it fails.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual size_t Granularity(int device) = 0;
  virtual uintptr_t Reserve(size_t bytes) = 0;
  virtual void FreeAddress(uintptr_t address, size_t bytes) = 0;
  virtual uint64_t Create(int device, size_t bytes) = 0;
  virtual void Destroy(uint64_t handle) = 0;
  // Readable and writable by `device`.
  virtual void Map(uintptr_t address, size_t bytes, uint64_t handle, int device) = 0;
  virtual void Unmap(uintptr_t address, size_t bytes) = 0;
  // Until nothing that was queued uses the device's memory any more.
  virtual void Synchronize(int device) = 0;
};

struct Allocation {
  size_t bytes;  // rounded up to the granularity
  int device;
  int64_t tag;
  uint64_t handle;
  bool mapped;
};

class Pool {
 public:
  explicit Pool(Driver& driver) : driver_(driver) {}

  // Of what is allocated from now on.
  void SetTag(int64_t tag);
  uintptr_t Allocate(size_t bytes, int device);
  void Free(uintptr_t address);
  // Gives the physical memory of a tag back; its contents are lost. Nothing where it is not there.
  void Release(int64_t tag);
  // Makes it again, with undefined contents. What could be mapped stays mapped where it fails, so
  // that a second try goes on from there.
  void Restore(int64_t tag);
  // Addresses and sizes of a tag's allocations, at most `capacity`; returns how many there are.
  size_t List(int64_t tag, uintptr_t* addresses, size_t* bytes, size_t capacity);
  // Physical bytes that are mapped.
  size_t MappedBytes();

 private:
  void MapNew(uintptr_t address, Allocation& allocation);
  void UnmapAll(uintptr_t address, Allocation& allocation);

  Driver& driver_;
  std::mutex mutex_;
  std::unordered_map<uintptr_t, Allocation> allocations_;
  int64_t tag_ = 0;
};

}  // namespace vllm::cumem
