#include "cpu/attention.h"

#include <algorithm>
#include <optional>
#include <string>

#include "bindings/cache.h"
#include "bindings/recording.h"
#include "bindings/tensor.h"

namespace vllm {
namespace {

void CheckHeads(const TensorView& query, int64_t kv_heads) {
  const int64_t heads = query.Size(1), size = query.Size(2);
  if (kv_heads < 1 || heads % kv_heads != 0) {
    Fail(query, "has " + std::to_string(heads) + " heads, expected a multiple of the " +
                    std::to_string(kv_heads) + " KV heads");
  }
  if (size % 8 != 0 || size < 8 || size > kMaxHeadSize) {
    Fail(query, "has head size " + std::to_string(size) + ", expected a multiple of 8 up to " +
                    std::to_string(kMaxHeadSize));
  }
}

void CheckInts(const TensorView& tensor, int64_t size, const char* meaning) {
  CheckType(tensor, ScalarType::Int);
  CheckShape(tensor, {size}, meaning);
  CheckContiguous(tensor);
}

void CheckSequences(const AttentionArgs& args, const TensorView& query, const TensorView& seq_lens,
                    const TensorView& block_table, const TensorView& key_cache) {
  if (args.block_size < 1) {
    Fail(key_cache, "has block_size " + std::to_string(args.block_size) + ", expected at least 1");
  }
  const int64_t num_blocks = key_cache.Size(0);
  for (int64_t seq = 0; seq < args.seqs; ++seq) {
    const int64_t length = args.seq_lens[seq], tokens = args.QueryLen(seq);
    const std::string at = " at " + std::to_string(seq);
    if (tokens < 0 || args.QueryBegin(seq) < 0 || args.QueryBegin(seq) + tokens > query.Size(0)) {
      Fail(query, "has " + std::to_string(query.Size(0)) + " tokens, which query_start_loc leaves" +
                      at + "; expected ascending offsets from 0 to at most that");
    }
    if (length < (args.query_start ? tokens : 0)) {
      Fail(seq_lens, "has " + std::to_string(length) + at + ", expected at least the sequence's " +
                         std::to_string(tokens) + " query tokens");
    }
    const int64_t blocks = (length + args.block_size - 1) / args.block_size;
    if (blocks > block_table.Size(1)) {
      Fail(block_table, "has " + std::to_string(block_table.Size(1)) +
                            " blocks a sequence, expected " + std::to_string(blocks) +
                            " for the length " + std::to_string(length) + at);
    }
    const int32_t* row = args.block_table + seq * args.block_table_stride;
    for (int64_t i = 0; i < blocks; ++i) {
      if (row[i] < 0 || row[i] >= num_blocks) {
        Fail(block_table, "has block " + std::to_string(row[i]) + at + ", expected 0 to " +
                              std::to_string(num_blocks - 1));
      }
    }
  }
}

// What both layouts of the cache share. The caches' own fields are filled in by the caller.
AttentionArgs CommonArgs(const TensorView& out, const TensorView& query, const TensorView& seq_lens,
                         const TensorView& block_table, double scale) {
  CheckDim(query, 3);
  CheckLastContiguous(query);
  CheckSameType(out, query);
  CheckSameShape(out, query);
  CheckLastContiguous(out);
  CheckInts(seq_lens, seq_lens.dim == 1 ? seq_lens.Size(0) : -1, "[seqs]");
  CheckType(block_table, ScalarType::Int);
  CheckShape(block_table, {seq_lens.Size(0), -1}, "[seqs, blocks]");
  CheckLastContiguous(block_table);
  AttentionArgs args{};
  args.out = out.data;
  args.query = query.data;
  args.out_token_stride = out.Stride(0);
  args.out_head_stride = out.Stride(1);
  args.query_token_stride = query.Stride(0);
  args.query_head_stride = query.Stride(1);
  args.seq_lens = seq_lens.Data<int32_t>();
  args.block_table = block_table.Data<int32_t>();
  args.block_table_stride = block_table.Stride(0);
  args.seqs = seq_lens.Size(0);
  args.heads = query.Size(1);
  args.head_size = query.Size(2);
  args.scale = static_cast<float>(scale);
  args.dtype = FloatType(query);
  args.key_scales.all = args.value_scales.all = 1.0f;
  return args;
}

void RowCaches(const TensorView& k, const TensorView& v, AttentionArgs* args) {
  CheckShape(k, {-1, -1, -1, args->head_size}, "[blocks, block_size, kv_heads, head_size]");
  CheckLastContiguous(k);
  CheckSameShape(v, k);
  CheckLastContiguous(v);
  args->layout = KvLayout::kRows;
  args->key_strides = {k.Stride(0), k.Stride(1), k.Stride(2)};
  args->value_strides = {v.Stride(0), v.Stride(1), v.Stride(2)};
  args->block_size = k.Size(1);
  args->kv_heads = k.Size(2);
}

void PackedCaches(const TensorView& k, const TensorView& v, AttentionArgs* args) {
  CheckPackedCaches(k, v, args->head_size, CachePair(args->dtype));
  args->layout = KvLayout::kPacked;
  args->key_strides = {k.Stride(0), 0, k.Stride(1)};
  args->value_strides = {v.Stride(0), 0, v.Stride(1)};
  args->block_size = k.Size(3);
  args->kv_heads = k.Size(1);
}

const float* AlibiSlopes(const char* op, const std::optional<Tensor>& slopes, int64_t heads) {
  if (!slopes) return nullptr;
  const TensorView view = View(op, "alibi_slopes", *slopes);
  CheckType(view, ScalarType::Float);
  CheckShape(view, {heads}, "[heads]");
  CheckContiguous(view);
  return view.Data<float>();
}

// What is optional in a call with sequences of any lengths.
struct VarlenOptions {
  const Tensor& query_start_loc;
  int64_t sliding_window;
  double soft_cap;
  const std::optional<Tensor>& alibi_slopes;
  const std::optional<Tensor>& lse;
};

// Sets the remaining fields, `args` having those of the caches, and runs.
void RunVarlen(AttentionArgs args, const TensorView& q, const TensorView& k, const TensorView& v,
               const TensorView& lens, const TensorView& table, const VarlenOptions& options) {
  const TensorView starts = View(q.op, "query_start_loc", options.query_start_loc);
  CheckInts(starts, args.seqs + 1, "[seqs + 1]");
  CheckHeads(q, args.kv_heads);
  if (options.sliding_window < 0 || !(options.soft_cap >= 0)) {
    Fail(q, "comes with sliding_window " + std::to_string(options.sliding_window) +
                " and soft_cap " + std::to_string(options.soft_cap) +
                ", expected neither below 0 (0 turns each off)");
  }
  args.key_cache = k.data;
  args.value_cache = v.data;
  args.query_start = starts.Data<int32_t>();
  args.sliding_window = std::min<int64_t>(options.sliding_window, INT32_MAX);
  args.soft_cap = static_cast<float>(options.soft_cap);
  args.alibi_slopes = AlibiSlopes(q.op, options.alibi_slopes, args.heads);
  if (options.lse) {
    const TensorView l = View(q.op, "lse", *options.lse);
    CheckType(l, ScalarType::Float);
    CheckShape(l, {args.heads, q.Size(0)}, "[heads, tokens]");
    CheckLastContiguous(l);
    args.lse = l.Data<float>();
    args.lse_stride = l.Stride(0);
  }
  CheckSequences(args, q, lens, table, k);
  Launch([args] { PagedAttention(args); },
         [args](FetchAhead& ahead) { AddAttentionReads(args, &ahead); });
}

void paged_attention_varlen(const Tensor& out, const Tensor& query, const Tensor& key_cache,
                            const Tensor& value_cache, const Tensor& query_start_loc,
                            const Tensor& seq_lens, const Tensor& block_table, double scale,
                            int64_t sliding_window, double soft_cap,
                            const std::optional<Tensor>& alibi_slopes,
                            const std::optional<Tensor>& lse) {
  const char* op = "paged_attention_varlen";
  const TensorView o = View(op, "out", out), q = View(op, "query", query);
  const TensorView k = View(op, "key_cache", key_cache), v = View(op, "value_cache", value_cache);
  const TensorView lens = View(op, "seq_lens", seq_lens);
  const TensorView table = View(op, "block_table", block_table);
  AttentionArgs args = CommonArgs(o, q, lens, table, scale);
  CheckSameType(k, q);
  CheckSameType(v, q);
  if (k.dim == 5) {
    PackedCaches(k, v, &args);
  } else {
    RowCaches(k, v, &args);
  }
  RunVarlen(args, q, k, v, lens, table,
            {query_start_loc, sliding_window, soft_cap, alibi_slopes, lse});
}

void paged_attention_varlen_quantized(
    const Tensor& out, const Tensor& query, const Tensor& key_cache, const Tensor& value_cache,
    const Tensor& k_scale, const Tensor& v_scale, const Tensor& query_start_loc,
    const Tensor& seq_lens, const Tensor& block_table, double scale, int64_t sliding_window,
    double soft_cap, const std::optional<Tensor>& alibi_slopes, const std::optional<Tensor>& lse) {
  const char* op = "paged_attention_varlen_quantized";
  const TensorView o = View(op, "out", out), q = View(op, "query", query);
  const TensorView k = View(op, "key_cache", key_cache), v = View(op, "value_cache", value_cache);
  const TensorView lens = View(op, "seq_lens", seq_lens);
  const TensorView table = View(op, "block_table", block_table);
  AttentionArgs args = CommonArgs(o, q, lens, table, scale);
  args.code = CacheCode(k);
  CheckSameType(v, k);
  PackedCaches(k, v, &args);
  args.key_scales = CacheScales(View(op, "k_scale", k_scale), k);
  args.value_scales = CacheScales(View(op, "v_scale", v_scale), k);
  if (!args.key_scales.each != !args.value_scales.each) {
    Fail(k,
         "has one scale and values a scale for each token, or the other way round; expected "
         "the same kind for both");
  }
  args.scale *= args.key_scales.all;
  RunVarlen(args, q, k, v, lens, table,
            {query_start_loc, sliding_window, soft_cap, alibi_slopes, lse});
}

// Decode over the classic cache layout.
void ClassicAttention(const char* op, const Tensor& out, const Tensor& query,
                      const Tensor& key_cache, const Tensor& value_cache, int64_t num_kv_heads,
                      double scale, const Tensor& block_tables, const Tensor& seq_lens,
                      int64_t block_size, const std::optional<Tensor>& alibi_slopes,
                      const std::string& kv_cache_dtype, int64_t blocksparse_vert_stride) {
  const TensorView o = View(op, "out", out), q = View(op, "query", query);
  const TensorView k = View(op, "key_cache", key_cache), v = View(op, "value_cache", value_cache);
  const TensorView lens = View(op, "seq_lens", seq_lens);
  const TensorView table = View(op, "block_tables", block_tables);
  if (kv_cache_dtype != "auto") {
    Fail(k, "comes with kv_cache_dtype '" + kv_cache_dtype + "', expected 'auto' on the CPU");
  }
  if (blocksparse_vert_stride > 1) {
    Fail(q, "comes with blocksparse_vert_stride " + std::to_string(blocksparse_vert_stride) +
                ", expected 0 or 1: block-sparse attention is not offered on the CPU");
  }
  AttentionArgs args = CommonArgs(o, q, lens, table, scale);
  CheckHeads(q, num_kv_heads);
  if (args.seqs > q.Size(0)) {
    Fail(q, "has " + std::to_string(q.Size(0)) + " tokens, expected one for each of " +
                std::to_string(args.seqs) + " sequences");
  }
  const int64_t split = 16 / static_cast<int64_t>(ElementSize(args.dtype)), size = args.head_size;
  CheckSameType(k, q);
  CheckShape(k, {-1, num_kv_heads, size / split, block_size, split},
             "[blocks, kv_heads, head_size / x, block_size, x]");
  CheckSameType(v, q);
  CheckShape(v, {k.Size(0), num_kv_heads, size, block_size},
             "[blocks, kv_heads, head_size, block_size]");
  if (k.Stride(4) != 1 || k.Stride(3) != split || k.Stride(2) != split * block_size) {
    Fail(k, "has strides within a head, expected contiguous [head_size / x, block_size, x]");
  }
  if (v.Stride(3) != 1 || v.Stride(2) != block_size) {
    Fail(v, "has strides within a head, expected contiguous [head_size, block_size]");
  }
  args.key_cache = k.data;
  args.value_cache = v.data;
  args.key_strides = {k.Stride(0), 0, k.Stride(1)};
  args.value_strides = {v.Stride(0), 0, v.Stride(1)};
  args.layout = KvLayout::kSplitKey;
  args.block_size = block_size;
  args.kv_heads = num_kv_heads;
  args.alibi_slopes = AlibiSlopes(op, alibi_slopes, args.heads);
  CheckSequences(args, q, lens, table, k);
  Launch([args] { PagedAttention(args); });
}

void paged_attention_v1(const Tensor& out, const Tensor& query, const Tensor& key_cache,
                        const Tensor& value_cache, int64_t num_kv_heads, double scale,
                        const Tensor& block_tables, const Tensor& seq_lens, int64_t block_size,
                        int64_t /*max_seq_len*/, const std::optional<Tensor>& alibi_slopes,
                        const std::string& kv_cache_dtype, const Tensor& /*k_scale*/,
                        const Tensor& /*v_scale*/, int64_t /*tp_rank*/,
                        int64_t /*blocksparse_local_blocks*/, int64_t blocksparse_vert_stride,
                        int64_t /*blocksparse_block_size*/,
                        int64_t /*blocksparse_head_sliding_step*/) {
  ClassicAttention("paged_attention_v1", out, query, key_cache, value_cache, num_kv_heads, scale,
                   block_tables, seq_lens, block_size, alibi_slopes, kv_cache_dtype,
                   blocksparse_vert_stride);
}

// The kernel splits long sequences by itself: exp_sums, max_logits and tmp_out stay untouched.
void paged_attention_v2(const Tensor& out, const Tensor& /*exp_sums*/, const Tensor& /*max_logits*/,
                        const Tensor& /*tmp_out*/, const Tensor& query, const Tensor& key_cache,
                        const Tensor& value_cache, int64_t num_kv_heads, double scale,
                        const Tensor& block_tables, const Tensor& seq_lens, int64_t block_size,
                        int64_t /*max_seq_len*/, const std::optional<Tensor>& alibi_slopes,
                        const std::string& kv_cache_dtype, const Tensor& /*k_scale*/,
                        const Tensor& /*v_scale*/, int64_t /*tp_rank*/,
                        int64_t /*blocksparse_local_blocks*/, int64_t blocksparse_vert_stride,
                        int64_t /*blocksparse_block_size*/,
                        int64_t /*blocksparse_head_sliding_step*/) {
  ClassicAttention("paged_attention_v2", out, query, key_cache, value_cache, num_kv_heads, scale,
                   block_tables, seq_lens, block_size, alibi_slopes, kv_cache_dtype,
                   blocksparse_vert_stride);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(_C, m) {
  m.def(
      "paged_attention_varlen(Tensor! out, Tensor query, Tensor key_cache, Tensor value_cache, "
      "Tensor query_start_loc, Tensor seq_lens, Tensor block_table, float scale, "
      "int sliding_window, float soft_cap, Tensor? alibi_slopes, Tensor!? lse) -> ()");
  m.def(
      "paged_attention_varlen_quantized(Tensor! out, Tensor query, Tensor key_cache, "
      "Tensor value_cache, Tensor k_scale, Tensor v_scale, Tensor query_start_loc, "
      "Tensor seq_lens, Tensor block_table, float scale, int sliding_window, float soft_cap, "
      "Tensor? alibi_slopes, Tensor!? lse) -> ()");
  m.def(
      "paged_attention_v1(Tensor! out, Tensor query, Tensor key_cache, Tensor value_cache, "
      "int num_kv_heads, float scale, Tensor block_tables, Tensor seq_lens, int block_size, "
      "int max_seq_len, Tensor? alibi_slopes, str kv_cache_dtype, Tensor k_scale, Tensor v_scale, "
      "int tp_rank, int blocksparse_local_blocks, int blocksparse_vert_stride, "
      "int blocksparse_block_size, int blocksparse_head_sliding_step) -> ()");
  m.def(
      "paged_attention_v2(Tensor! out, Tensor! exp_sums, Tensor! max_logits, Tensor! tmp_out, "
      "Tensor query, Tensor key_cache, Tensor value_cache, int num_kv_heads, float scale, "
      "Tensor block_tables, Tensor seq_lens, int block_size, int max_seq_len, "
      "Tensor? alibi_slopes, str kv_cache_dtype, Tensor k_scale, Tensor v_scale, int tp_rank, "
      "int blocksparse_local_blocks, int blocksparse_vert_stride, int blocksparse_block_size, "
      "int blocksparse_head_sliding_step) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(_C, CPU, m) {
  m.impl("paged_attention_varlen", TORCH_BOX(&paged_attention_varlen));
  m.impl("paged_attention_varlen_quantized", TORCH_BOX(&paged_attention_varlen_quantized));
  m.impl("paged_attention_v1", TORCH_BOX(&paged_attention_v1));
  m.impl("paged_attention_v2", TORCH_BOX(&paged_attention_v2));
}

}  // namespace vllm
