// kernel_runner LIBRARY: loads a library of kernels and calls them for a host of another architecture, which sends
// requests to standard input and reads answers from standard output. tests/support/remote_kernels.py is the host.
//
// Numbers are little-endian; what tensors hold has the runner's own byte order, so that the host, which is not emulated,
// does the swapping.
//
//   greeting  u8 whether the byte order is big; u32 count, schemas; u32 count, (op, dispatch key) of each implementation
//   request   u32 threads, op, u32 count of storages (u64 bytes, data), u32 count of arguments, kinds of results
//   argument  u8 kind: 'T' tensor (u32 storage, u64 byte offset, i32 dtype, sizes, strides), 'I' i64, 'D' f64,
//             'B' bool, 'S' string, 'L' list of i64, 'N' none; before it 1 where the schema says that it is optional
//   answer    u8 0, every storage's data again, the results; or u8 1 and the message of what was thrown
#include <dlfcn.h>

#include <cstdio>
#include <exception>
#include <stdexcept>

#include "shim_objects.h"
#include "wire.h"

namespace {

using Storages = std::vector<std::shared_ptr<Storage>>;

Storages ReadStorages(Reader& reader) {
  Storages storages(reader.Value<uint32_t>());
  for (std::shared_ptr<Storage>& storage : storages) {
    storage = std::make_shared<Storage>(reader.Value<uint64_t>());
    reader.Bytes(storage->Data(), storage->Bytes());
  }
  return storages;
}

// Values narrower than a StableIValue lie in its low bits, on either byte order.
StableIValue FromDouble(double value) {
  StableIValue bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

StableIValue ReadTensor(Reader& reader, const Storages& storages) {
  auto tensor = std::make_unique<AtenTensorOpaque>();
  tensor->storage = storages.at(reader.Value<uint32_t>());
  tensor->data = tensor->storage->Data() + reader.Value<uint64_t>();
  tensor->dtype = reader.Value<int32_t>();
  tensor->sizes = reader.Integers();
  tensor->strides = reader.Integers();
  return reinterpret_cast<StableIValue>(tensor.release());
}

StableIValue ReadArgument(Reader& reader, const Storages& storages, uint8_t kind) {
  switch (kind) {
    case 'T':
      return ReadTensor(reader, storages);
    case 'I':
      return static_cast<StableIValue>(reader.Value<int64_t>());
    case 'D':
      return FromDouble(reader.Value<double>());
    case 'B':
      return reader.Value<uint8_t>();
    case 'S':
      return reinterpret_cast<StableIValue>(new StringOpaque{reader.Text()});
    case 'L': {
      auto* list = new StableListOpaque;
      for (int64_t value : reader.Integers()) list->items.push_back(static_cast<StableIValue>(value));
      return reinterpret_cast<StableIValue>(list);
    }
    default:
      throw std::runtime_error(std::string("the host sent an argument of kind '") + static_cast<char>(kind) + "'");
  }
}

std::vector<StableIValue> ReadArguments(Reader& reader, const Storages& storages) {
  std::vector<StableIValue> stack(reader.Value<uint32_t>());
  for (StableIValue& value : stack) {
    const bool optional = reader.Value<uint8_t>() != 0;
    const uint8_t kind = reader.Value<uint8_t>();
    if (kind == 'N') continue;
    value = ReadArgument(reader, storages, kind);
    if (optional) value = reinterpret_cast<StableIValue>(new StableIValue(value));
  }
  return stack;
}

void WriteResult(Writer& writer, char kind, StableIValue value) {
  if (kind == 'T') {
    const std::unique_ptr<AtenTensorOpaque> tensor(reinterpret_cast<AtenTensorHandle>(value));
    writer.Value(tensor->dtype);
    writer.Integers(tensor->sizes);
    writer.Bytes(tensor->data, static_cast<size_t>(tensor->Numel()) * aoti_torch_dtype_element_size(tensor->dtype));
  } else if (kind == 'S') {
    const std::unique_ptr<StringOpaque> string(reinterpret_cast<StringHandle>(value));
    writer.Text(string->text);
  } else {
    writer.Value(value);
  }
}

BoxedKernel FindKernel(const std::string& op) {
  for (const Implementation& implementation : GetRegistry().implementations) {
    const std::string& key = implementation.dispatch_key;
    if (implementation.op == op && (key == "CPU" || key == "CompositeExplicitAutograd")) return implementation.kernel;
  }
  throw std::runtime_error(op + " has no implementation for the CPU");
}

void Answer(Reader& reader, Writer& writer) {
  SetNumThreads(reader.Value<uint32_t>());
  const std::string op = reader.Text();
  const Storages storages = ReadStorages(reader);
  std::vector<StableIValue> stack = ReadArguments(reader, storages);
  const std::string results = reader.Text();
  const size_t arguments = stack.size();
  stack.resize(std::max(arguments, results.size()));
  FindKernel(op)(stack.data(), arguments, results.size());
  writer.Value<uint8_t>(0);
  for (const std::shared_ptr<Storage>& storage : storages) {
    if (storage->GuardsWereWritten()) throw std::runtime_error(op + " wrote outside a tensor's memory");
    writer.Bytes(storage->Data(), storage->Bytes());
  }
  for (size_t i = 0; i < results.size(); ++i) WriteResult(writer, results[i], stack[i]);
}

void Greet(Writer& writer) {
  const Registry& registry = GetRegistry();
  writer.Value<uint8_t>(kBigEndian);
  writer.Value(static_cast<uint32_t>(registry.schemas.size()));
  for (const std::string& schema : registry.schemas) writer.Text(schema);
  writer.Value(static_cast<uint32_t>(registry.implementations.size()));
  for (const Implementation& implementation : registry.implementations) {
    writer.Text(implementation.op);
    writer.Text(implementation.dispatch_key);
  }
  writer.Send();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) == nullptr) {
    std::fprintf(stderr, "kernel_runner: %s\n", argc == 2 ? dlerror() : "usage: kernel_runner LIBRARY");
    return 1;
  }
  Reader reader(STDIN_FILENO);
  Writer writer(STDOUT_FILENO);
  Greet(writer);
  for (;;) {
    try {
      Answer(reader, writer);
    } catch (const std::exception& error) {
      writer.Discard();
      writer.Value<uint8_t>(1);
      writer.Text(error.what());
    }
    writer.Send();
  }
}
