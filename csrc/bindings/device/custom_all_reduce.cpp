// Sums over ranks on one machine: torch.ops._C_custom_ar. Who calls them exchanges the addresses
// under which ranks map each other's memory.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "bindings/device/call.h"
#include "device/all_reduce.h"
#include "device/peer_memory.h"

namespace vllm {
namespace {

constexpr const char* kAllReduce = "all_reduce";

template <class T>
T* Address(int64_t value) {
  return reinterpret_cast<T*>(static_cast<intptr_t>(value));
}

// One group of ranks, as one of them sees it. Slots of `rank_data`, on the device, hold where the
// ranks' buffers are: one a registered buffer, by whose address it is found, and one a captured
// sum. Captured sums share none: ranks' allocators may reuse addresses differently, and the memory
// at an address that an earlier graph has met may be another by now.
class Group {
 public:
  Group(const DeviceCall& call, const std::vector<int64_t>& signals, const Tensor& rank_data,
        int rank, bool fully_connected)
      : rank_data_(rank_data),
        slots_(static_cast<device::PeerBuffers*>(rank_data.data_ptr())),
        slot_count_(rank_data.numel() / static_cast<int64_t>(sizeof(device::PeerBuffers))),
        rank_(rank),
        ranks_(static_cast<int>(signals.size())),
        fully_connected_(fully_connected),
        device_(call.Device()) {
    for (int r = 0; r < ranks_; ++r) signals_.of[r] = Address<device::Signal>(signals[r]);
  }
  ~Group() {
    for (const auto& opened : opened_) device::CloseMemory(opened.second);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int Ranks() const { return ranks_; }
  int32_t Device() const { return device_; }

  // The same buffer of each rank, by this rank's addresses.
  void Register(const char* op, const std::vector<int64_t>& buffers) {
    const void* const own = Address<void>(buffers[rank_]);
    auto known = slot_of_.find(own);
    if (known == slot_of_.end()) known = slot_of_.emplace(own, TakeSlot(op)).first;
    WriteSlot(op, known->second, buffers);
  }

  void Sum(const DeviceCall& call, const TensorView& in, const TensorView& out, void* buffer,
           int64_t buffer_bytes) {
    const int64_t bytes = in.Numel() * ElementBytes(in);
    if (bytes == 0) return;
    if (buffer != nullptr && bytes > buffer_bytes) {
      Fail(in, "has " + std::to_string(bytes) + " bytes, expected at most the buffer's " +
                   std::to_string(buffer_bytes));
    }
    // Parts are worth a second meeting where there is much to read.
    const int64_t few = ranks_ <= 4 ? int64_t{512} << 10 : int64_t{256} << 10;
    const bool in_parts = ranks_ > 2 && fully_connected_ && bytes >= few;
    device::SumOverRanks({call.Op(), buffer ? in.data : nullptr, buffer,
                          SlotOf(call, in, buffer ? buffer : in.data), signals_, out.data,
                          in.Numel(), rank_, ranks_, in_parts, DeviceFloatType(in), call.Stream()});
  }

  // Handles, one after the other, and offsets of the captured sums' buffers.
  std::pair<std::vector<int64_t>, std::vector<int64_t>> Captured(const char* op) const {
    std::vector<int64_t> handles, offsets;
    for (const CapturedSum& sum : captured_) {
      const device::SharedPlace place = device::ShareMemory(op, sum.buffer);
      handles.insert(handles.end(), place.handle.begin(), place.handle.end());
      offsets.push_back(place.offset);
    }
    return {handles, offsets};
  }

  // What Captured gave on each rank.
  void RegisterCaptured(const char* op, const std::vector<std::vector<int64_t>>& handles,
                        const std::vector<std::vector<int64_t>>& offsets) {
    constexpr size_t kHandle = sizeof(device::MemoryHandle);
    const size_t count = captured_.size();
    for (int r = 0; r < ranks_; ++r) {
      if (handles[r].size() != count * kHandle || offsets[r].size() != count) {
        throw std::runtime_error(std::string(op) + ": rank " + std::to_string(r) + " gave " +
                                 std::to_string(offsets[r].size()) + " buffers, expected the " +
                                 std::to_string(count) + " that this rank has captured");
      }
    }
    for (size_t i = 0; i < count; ++i) {
      std::vector<int64_t> buffers(static_cast<size_t>(ranks_));
      for (int r = 0; r < ranks_; ++r) {
        device::MemoryHandle handle;
        std::copy_n(handles[r].begin() + static_cast<int64_t>(i * kHandle), kHandle,
                    handle.begin());
        const void* buffer = r == rank_
                                 ? captured_[i].buffer
                                 : static_cast<const char*>(Open(op, handle)) + offsets[r][i];
        buffers[r] = static_cast<int64_t>(reinterpret_cast<intptr_t>(buffer));
      }
      WriteSlot(op, captured_[i].slot, buffers);
    }
    captured_.clear();
  }

 private:
  // Of which the other ranks' buffers are not known yet.
  struct CapturedSum {
    const void* buffer;
    int64_t slot;
  };

  static int64_t ElementBytes(const TensorView& view) {
    return DeviceFloatType(view) == device::Type::kFloat32 ? 4 : 2;
  }

  void WriteSlot(const char* op, int64_t slot, const std::vector<int64_t>& buffers) {
    device::PeerBuffers peers{};
    for (int r = 0; r < ranks_; ++r) peers.of[r] = Address<void>(buffers[r]);
    device::CopyNow(op, slots_ + slot, &peers, sizeof(peers));
  }

  int64_t TakeSlot(const char* op) {
    if (taken_ == slot_count_) {
      throw std::runtime_error(std::string(op) + ": rank_data has room for " +
                               std::to_string(slot_count_) +
                               " buffers, all of them taken; give init_custom_ar a larger one");
    }
    return taken_++;
  }

  const device::PeerBuffers* SlotOf(const DeviceCall& call, const TensorView& in,
                                    const void* buffer) {
    if (device::IsCapturing(call.Op(), call.Stream())) {
      captured_.push_back({buffer, TakeSlot(call.Op())});
      return slots_ + captured_.back().slot;
    }
    const auto known = slot_of_.find(buffer);
    if (known == slot_of_.end()) {
      Fail(in, "is no registered buffer; register it, or pass one as reg_buffer");
    }
    return slots_ + known->second;
  }

  void* Open(const char* op, const device::MemoryHandle& handle) {
    const auto known = opened_.find(handle);
    if (known != opened_.end()) return known->second;
    return opened_[handle] = device::OpenMemory(op, handle);
  }

  device::PeerSignals signals_{};
  Tensor rank_data_;
  device::PeerBuffers* slots_;
  int64_t slot_count_;
  int64_t taken_ = 0;
  int rank_;
  int ranks_;
  bool fully_connected_;
  int32_t device_;
  std::map<const void*, int64_t> slot_of_;
  std::vector<CapturedSum> captured_;
  std::map<device::MemoryHandle, void*> opened_;
};

// Groups by the numbers that callers have of them.
struct Groups {
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<Group>> all;
  int64_t next = 1;

  static Groups& Instance() {
    static Groups groups;
    return groups;
  }
  std::shared_ptr<Group> Find(const char* op, int64_t fa) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = all.find(fa);
    if (found == all.end()) {
      throw std::runtime_error(std::string(op) + ": fa is " + std::to_string(fa) +
                               ", which init_custom_ar did not return, or dispose has ended");
    }
    return found->second;
  }
};

void CheckCount(const char* op, const char* what, size_t count, int ranks) {
  if (count == static_cast<size_t>(ranks)) return;
  throw std::runtime_error(std::string(op) + ": " + what + " has " + std::to_string(count) +
                           " entries, expected one a rank, " + std::to_string(ranks));
}

int64_t init_custom_ar(const std::vector<int64_t>& ipc_tensors, const Tensor& rank_data,
                       int64_t rank, bool fully_connected) {
  const DeviceCall call("init_custom_ar", rank_data);
  const TensorView data = call.View("rank_data", rank_data);
  CheckType(data, ScalarType::Byte);
  CheckContiguous(data);
  const auto ranks = static_cast<int64_t>(ipc_tensors.size());
  if (ranks < 2 || ranks > device::kMaxRanks || ranks % 2 != 0) {
    call.Fail("there are " + std::to_string(ranks) + " ranks, expected 2, 4, 6 or 8");
  }
  if (rank < 0 || rank >= ranks) {
    call.Fail("rank is " + std::to_string(rank) + ", expected 0 to " + std::to_string(ranks - 1));
  }
  Groups& groups = Groups::Instance();
  const std::lock_guard<std::mutex> lock(groups.mutex);
  groups.all[groups.next] = std::make_shared<Group>(call, ipc_tensors, rank_data,
                                                    static_cast<int>(rank), fully_connected);
  return groups.next++;
}

void all_reduce(int64_t fa, const Tensor& inp, const Tensor& out, int64_t reg_buffer,
                int64_t reg_buffer_sz_bytes) {
  const DeviceCall call(kAllReduce, inp);
  const TensorView in = call.View("inp", inp), sum = call.View("out", out);
  const device::Type type = DeviceFloatType(in);
  CheckContiguous(in);
  CheckContiguous(sum);
  CheckSameType(sum, in);
  if (sum.Numel() != in.Numel()) {
    Fail(sum, "has " + std::to_string(sum.Numel()) + " elements, expected inp's " +
                  std::to_string(in.Numel()));
  }
  const int64_t bytes = in.Numel() * (type == device::Type::kFloat32 ? 4 : 2);
  if (bytes % 16 != 0) {
    Fail(in, "has " + std::to_string(bytes) + " bytes, expected a multiple of 16");
  }
  for (const TensorView* view : {&in, &sum}) {
    if (!device::IsAligned(view->data, 16)) {
      Fail(*view, "does not start at a multiple of 16 bytes; copy it");
    }
  }
  Groups::Instance()
      .Find(kAllReduce, fa)
      ->Sum(call, in, sum, Address<void>(reg_buffer), reg_buffer_sz_bytes);
}

void dispose(int64_t fa) {
  Groups& groups = Groups::Instance();
  groups.Find("dispose", fa);
  const std::lock_guard<std::mutex> lock(groups.mutex);
  groups.all.erase(fa);
}

int64_t meta_size() { return sizeof(device::Signal); }

void register_buffer(int64_t fa, const std::vector<int64_t>& ipc_tensors) {
  const auto group = Groups::Instance().Find("register_buffer", fa);
  CheckCount("register_buffer", "ipc_tensors", ipc_tensors.size(), group->Ranks());
  const DeviceOf device(group->Device());
  group->Register("register_buffer", ipc_tensors);
}

std::tuple<std::vector<int64_t>, std::vector<int64_t>> get_graph_buffer_ipc_meta(int64_t fa) {
  const auto group = Groups::Instance().Find("get_graph_buffer_ipc_meta", fa);
  const DeviceOf device(group->Device());
  return group->Captured("get_graph_buffer_ipc_meta");
}

void register_graph_buffers(int64_t fa, const std::vector<std::vector<int64_t>>& handles,
                            const std::vector<std::vector<int64_t>>& offsets) {
  const auto group = Groups::Instance().Find("register_graph_buffers", fa);
  CheckCount("register_graph_buffers", "handles", handles.size(), group->Ranks());
  CheckCount("register_graph_buffers", "offsets", offsets.size(), group->Ranks());
  const DeviceOf device(group->Device());
  group->RegisterCaptured("register_graph_buffers", handles, offsets);
}

}  // namespace

VLLM_DEVICE_SCHEMAS(_C_custom_ar, m) {
  m.def(
      "init_custom_ar(int[] ipc_tensors, Tensor rank_data, int rank, bool fully_connected) -> int");
  m.def(
      "all_reduce(int fa, Tensor inp, Tensor! out, int reg_buffer, int reg_buffer_sz_bytes) -> ()");
  m.def("dispose(int fa) -> ()");
  m.def("meta_size() -> int");
  m.def("register_buffer(int fa, int[] ipc_tensors) -> ()");
  m.def("get_graph_buffer_ipc_meta(int fa) -> (int[], int[])");
  m.def("register_graph_buffers(int fa, int[][] handles, int[][] offsets) -> ()");
}

VLLM_DEVICE_KERNELS(_C_custom_ar, m) {
  m.impl("init_custom_ar", TORCH_BOX(&init_custom_ar));
  m.impl("all_reduce", TORCH_BOX(&all_reduce));
}

VLLM_DEVICE_FREE_KERNELS(_C_custom_ar, m) {
  m.impl("dispose", TORCH_BOX(&dispose));
  m.impl("meta_size", TORCH_BOX(&meta_size));
  m.impl("register_buffer", TORCH_BOX(&register_buffer));
  m.impl("get_graph_buffer_ipc_meta", TORCH_BOX(&get_graph_buffer_ipc_meta));
  m.impl("register_graph_buffers", TORCH_BOX(&register_graph_buffers));
}

}  // namespace vllm
