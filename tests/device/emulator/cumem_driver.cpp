// A driver for the cumem pool over the CPU's own virtual memory, with a limit on physical bytes.
#include <sys/mman.h>

#include <stdexcept>

#include "cumem/exports.h"

namespace vllm::cumem {
namespace {

constexpr size_t kPage = 64 * 1024;

class HostDriver : public Driver {
 public:
  size_t limit = ~size_t{0}, used = 0;
  int synchronized = 0;

  size_t Granularity(int) override { return kPage; }
  uintptr_t Reserve(size_t bytes) override {
    return reinterpret_cast<uintptr_t>(
        mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  void FreeAddress(uintptr_t address, size_t bytes) override {
    munmap(reinterpret_cast<void*>(address), bytes);
  }
  uint64_t Create(int, size_t bytes) override {
    if (used + bytes > limit) throw std::runtime_error("out of memory");
    used += bytes;
    return bytes;
  }
  void Destroy(uint64_t handle) override { used -= handle; }
  void Map(uintptr_t address, size_t bytes, uint64_t, int) override {
    Place(address, bytes, PROT_READ | PROT_WRITE);
  }
  void Unmap(uintptr_t address, size_t bytes) override { Place(address, bytes, PROT_NONE); }
  void Synchronize(int) override { ++synchronized; }

 private:
  static void Place(uintptr_t address, size_t bytes, int protection) {
    mmap(reinterpret_cast<void*>(address), bytes, protection,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  }
};

HostDriver& HostDriverOf() {
  static HostDriver* const driver = new HostDriver;
  return *driver;
}

}  // namespace

Pool& DefaultPool() {
  static Pool* const pool = new Pool(HostDriverOf());
  return *pool;
}

}  // namespace vllm::cumem

VLLM_CUMEM_EXPORT void host_set_limit(size_t bytes) { vllm::cumem::HostDriverOf().limit = bytes; }
VLLM_CUMEM_EXPORT size_t host_used() { return vllm::cumem::HostDriverOf().used; }
VLLM_CUMEM_EXPORT int host_synchronized() { return vllm::cumem::HostDriverOf().synchronized; }
