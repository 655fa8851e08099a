// Splits an attention call into items that threads take from a queue.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/attention.h"

namespace vllm {

// Positions of the KV cache that one step of the online softmax handles, and those whose result is
// computed apart and then merged in order. Both are aligned to absolute positions and the same for
// every call, so they alone decide how a row's sums are grouped.
inline constexpr int64_t kKvTile = 64;
inline constexpr int64_t kKvPart = 256;

// Rows (query token, head of the group) that share the loads of a KV tile.
inline constexpr int64_t kMaxQueryRows = 96;

// Query tokens of one sequence and the heads of one KV head.
struct AttentionItem {
  int32_t seq;
  int32_t kv_head;
  int32_t first_token;  // within the sequence's query tokens
  int32_t tokens;
  int32_t part_begin, part_end;  // of kKvPart positions each
  int64_t partial;  // offset of the part's state in the workspace; -1: writes the result
  int64_t cost;
};

// Rows up to which the packed layout is read with positions along vector lanes.
inline constexpr int64_t kMaxDecodeRows = 8;

inline bool IsDecode(const AttentionArgs& args, const AttentionItem& item) {
  return args.layout == KvLayout::kPacked &&
         item.tokens * (args.heads / args.kv_heads) <= kMaxDecodeRows;
}

inline int64_t PaddedRows(int64_t rows) { return rows <= 8 ? 8 : (rows + 15) / 16 * 16; }

// Floats of a state: maximum and sum of each row, then the unnormalized output [head_size][rows].
inline int64_t StateSize(int64_t padded_rows, int64_t head_size) {
  return padded_rows * (2 + head_size);
}

struct AttentionPlan {
  std::vector<AttentionItem> items;
  std::vector<AttentionItem> merges;  // items whose parts were split; `partial` is the first part's
  int64_t workspace = 0;              // floats

  void Build(const AttentionArgs& args, int threads) {
    items.clear();
    merges.clear();
    workspace = 0;
    for (int64_t seq = 0; seq < args.seqs; ++seq) AddSequence(args, static_cast<int32_t>(seq));
    if (threads > 1 && static_cast<int64_t>(items.size()) < 4 * threads) SplitItems(args);
    // Long items first: the short ones even out the end.
    std::stable_sort(
        items.begin(), items.end(),
        [](const AttentionItem& a, const AttentionItem& b) { return a.cost > b.cost; });
  }

 private:
  void AddSequence(const AttentionArgs& args, int32_t seq) {
    const int64_t group = args.heads / args.kv_heads, tokens = args.QueryLen(seq);
    const int64_t tile = std::max<int64_t>(1, kMaxQueryRows / group);
    const int64_t context = args.seq_lens[seq] - tokens;
    for (int64_t first = 0; first < tokens; first += tile) {
      const int64_t count = std::min(tile, tokens - first);
      const int64_t end = context + first + count;
      const int64_t begin =
          args.sliding_window ? std::max<int64_t>(0, context + first + 1 - args.sliding_window) : 0;
      const int64_t cost = (end - begin) * PaddedRows(count * group);
      for (int64_t head = 0; head < args.kv_heads; ++head) {
        items.push_back({seq, static_cast<int32_t>(head), static_cast<int32_t>(first),
                         static_cast<int32_t>(count), static_cast<int32_t>(begin / kKvPart),
                         static_cast<int32_t>((end + kKvPart - 1) / kKvPart), -1, cost});
      }
    }
  }

  void SplitItems(const AttentionArgs& args) {
    std::vector<AttentionItem> whole;
    whole.swap(items);
    for (AttentionItem item : whole) {
      if (item.part_end - item.part_begin < 2) {
        items.push_back(item);
        continue;
      }
      const int64_t rows = PaddedRows(item.tokens * (args.heads / args.kv_heads));
      item.partial = workspace;
      merges.push_back(item);
      for (int32_t part = item.part_begin; part < item.part_end; ++part) {
        AttentionItem piece = item;
        piece.part_begin = part;
        piece.part_end = part + 1;
        piece.partial = workspace;
        piece.cost = item.cost / (item.part_end - item.part_begin);
        items.push_back(piece);
        workspace += StateSize(rows, args.head_size);
      }
    }
  }
};

}  // namespace vllm
