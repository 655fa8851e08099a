#include "cumem/exports.h"

#include <exception>
#include <string>

namespace {

using vllm::cumem::DefaultPool;

thread_local std::string error;

template <typename F>
int Try(F&& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    error = e.what();
    return -1;
  }
}

}  // namespace

void* cumem_malloc(ssize_t bytes, int device, void* /*stream*/) {
  return reinterpret_cast<void*>(DefaultPool().Allocate(static_cast<size_t>(bytes), device));
}

void cumem_free(void* pointer, ssize_t /*bytes*/, int /*device*/, void* /*stream*/) {
  DefaultPool().Free(reinterpret_cast<uintptr_t>(pointer));
}

int cumem_set_tag(int64_t tag) {
  return Try([&] { DefaultPool().SetTag(tag); });
}

int cumem_release(int64_t tag) {
  return Try([&] { DefaultPool().Release(tag); });
}

int cumem_restore(int64_t tag) {
  return Try([&] { DefaultPool().Restore(tag); });
}

size_t cumem_list(int64_t tag, uintptr_t* addresses, size_t* bytes, size_t capacity) {
  return DefaultPool().List(tag, addresses, bytes, capacity);
}

size_t cumem_mapped_bytes() { return DefaultPool().MappedBytes(); }

const char* cumem_error() { return error.c_str(); }
