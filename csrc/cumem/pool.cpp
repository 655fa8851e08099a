#include "cumem/pool.h"

#include <set>
#include <stdexcept>
#include <string>

namespace vllm::cumem {

void Pool::SetTag(int64_t tag) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tag_ = tag;
}

void Pool::MapNew(uintptr_t address, Allocation& allocation) {
  allocation.handle = driver_.Create(allocation.device, allocation.bytes);
  try {
    driver_.Map(address, allocation.bytes, allocation.handle, allocation.device);
  } catch (...) {
    driver_.Destroy(allocation.handle);
    throw;
  }
  allocation.mapped = true;
}

void Pool::UnmapAll(uintptr_t address, Allocation& allocation) {
  driver_.Unmap(address, allocation.bytes);
  allocation.mapped = false;
  driver_.Destroy(allocation.handle);
}

uintptr_t Pool::Allocate(size_t bytes, int device) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t unit = driver_.Granularity(device);
  Allocation allocation{(bytes + unit - 1) / unit * unit, device, tag_, 0, false};
  if (allocation.bytes == 0) allocation.bytes = unit;
  const uintptr_t address = driver_.Reserve(allocation.bytes);
  try {
    MapNew(address, allocation);
  } catch (...) {
    driver_.FreeAddress(address, allocation.bytes);
    throw;
  }
  allocations_.emplace(address, allocation);
  return address;
}

void Pool::Free(uintptr_t address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = allocations_.find(address);
  if (found == allocations_.end()) {
    throw std::runtime_error("cumem: address " + std::to_string(address) +
                             " is to be freed, expected one that was allocated here");
  }
  Allocation& allocation = found->second;
  if (allocation.mapped) {
    driver_.Synchronize(allocation.device);
    UnmapAll(address, allocation);
  }
  driver_.FreeAddress(address, allocation.bytes);
  allocations_.erase(found);
}

void Pool::Release(int64_t tag) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::set<int> synchronized;
  for (auto& [address, allocation] : allocations_) {
    if (allocation.tag != tag || !allocation.mapped) continue;
    if (synchronized.insert(allocation.device).second) driver_.Synchronize(allocation.device);
    UnmapAll(address, allocation);
  }
}

void Pool::Restore(int64_t tag) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [address, allocation] : allocations_) {
    if (allocation.tag == tag && !allocation.mapped) MapNew(address, allocation);
  }
}

size_t Pool::List(int64_t tag, uintptr_t* addresses, size_t* bytes, size_t capacity) {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t count = 0;
  for (const auto& [address, allocation] : allocations_) {
    if (allocation.tag != tag) continue;
    if (count < capacity) {
      addresses[count] = address;
      bytes[count] = allocation.bytes;
    }
    ++count;
  }
  return count;
}

size_t Pool::MappedBytes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t bytes = 0;
  for (const auto& entry : allocations_) bytes += entry.second.mapped ? entry.second.bytes : 0;
  return bytes;
}

}  // namespace vllm::cumem
