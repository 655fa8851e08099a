# The modules that hold GPU kernels: which sources, for which architectures. Kernels (.cu) are free of torch and compile as
# CUDA and as HIP; what an op needs of torch is in csrc/bindings/device.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  set(VLLM_DEVICE_LANGUAGE CUDA)
else()
  set(VLLM_DEVICE_LANGUAGE HIP)
endif()

# A family is csrc/device/<family>.cu and csrc/bindings/device/<family>.cpp; caches have two files of kernels.
set(VLLM_DEVICE_FAMILIES
  activation
  flash_attention
  merge_states
  norm
  paged_attention
  penalties
  quant
  rotary
  scaled_mm
  sparse
  top_k
  wna16)
set(VLLM_DEVICE_SOURCES csrc/device/all_reduce.cu csrc/device/cache_copy.cu csrc/device/cache_write.cu
  csrc/device/peer_memory.cu)
set(VLLM_DEVICE_BINDINGS csrc/bindings/device/attributes.cpp csrc/bindings/device/custom_all_reduce.cpp
  csrc/bindings/device/cache.cpp csrc/bindings/device/marlin.cpp csrc/bindings/device/rows.cpp)
foreach(family IN LISTS VLLM_DEVICE_FAMILIES)
  list(APPEND VLLM_DEVICE_SOURCES csrc/device/${family}.cu)
  list(APPEND VLLM_DEVICE_BINDINGS csrc/bindings/device/${family}.cpp)
endforeach()
list(APPEND VLLM_DEVICE_SOURCES csrc/device/wna16_convert.cu)

# What the modules below have in common.
set(shared_bindings csrc/bindings/tensor.cpp csrc/bindings/device/attention.cpp csrc/bindings/device/call.cpp
  csrc/bindings/device/paged_arguments.cpp)
set(shared_kernels csrc/device/flash_attention.cu csrc/device/join_splits.cu csrc/device/paged_attention.cu
  csrc/device/scaled_mm_block.cu)
list(REMOVE_ITEM VLLM_CPU_SOURCES ${shared_bindings})
list(REMOVE_ITEM VLLM_DEVICE_SOURCES ${shared_kernels})
define_shared_objects(device_objects
  LANGUAGE ${VLLM_DEVICE_LANGUAGE}
  SOURCES ${shared_bindings}
  DEVICE_SOURCES ${shared_kernels})

# Products by Hopper's own instructions.
set(hopper_archs ${VLLM_GPU_ARCHS})
list(FILTER hopper_archs INCLUDE REGEX "^9\\.0a")
if(hopper_archs AND TARGET vllm::cutlass)
  set_gencode_flags_for_srcs(SRCS csrc/hopper/scaled_mm.cu CUDA_ARCHS ${hopper_archs})
  set_property(SOURCE csrc/hopper/scaled_mm.cu APPEND PROPERTY COMPILE_OPTIONS --expt-relaxed-constexpr)
  list(APPEND VLLM_DEVICE_SOURCES csrc/hopper/scaled_mm.cu)
  set(VLLM_HOPPER_LIBRARIES vllm::cutlass)
  set(VLLM_HOPPER_DEFINITIONS VLLM_HOPPER)
elseif(hopper_archs)
  message(WARNING "CUTLASS's headers were not found: products of bytes will not use Hopper's own instructions; "
    "install cutlass (conda) or nvidia-cutlass (pip), or set VLLM_CUTLASS_SRC_DIR to a checkout")
endif()

# The CPU's kernels are in it, too: one library serves tensors on either device.
define_extension_target(_C
  DESTINATION vllm
  LANGUAGE ${VLLM_DEVICE_LANGUAGE}
  SOURCES ${VLLM_CPU_SOURCES} ${VLLM_DEVICE_BINDINGS}
  DEVICE_SOURCES ${VLLM_DEVICE_SOURCES}
  LIBRARIES device_objects ${VLLM_CPU_LIBRARIES} ${VLLM_HOPPER_LIBRARIES}
  DEFINITIONS ${VLLM_CPU_DEFINITIONS} ${VLLM_HOPPER_DEFINITIONS})

# Mixtures of experts: routing, and linear layers of quantised experts.
define_extension_target(_moe_C
  DESTINATION vllm
  LANGUAGE ${VLLM_DEVICE_LANGUAGE}
  SOURCES csrc/moe/bindings.cpp
  DEVICE_SOURCES csrc/moe/order.cu csrc/moe/topk_softmax.cu csrc/moe/wna16.cu
  LIBRARIES device_objects)

# Products of a weight and a few rows, and attention, under the names that programs for AMD GPUs call.
if(VLLM_TARGET_DEVICE STREQUAL "rocm")
  define_extension_target(_rocm_C
    DESTINATION vllm
    LANGUAGE HIP
    SOURCES csrc/rocm/bindings.cpp
    DEVICE_SOURCES csrc/rocm/skinny_gemm.cu
    LIBRARIES device_objects)
endif()

# Memory that can be given back and made again at the same addresses, for sleep mode. No kernels.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  define_extension_target(cumem_allocator
    DESTINATION vllm
    LANGUAGE CUDA
    SOURCES csrc/cumem/cuda_driver.cpp csrc/cumem/exports.cpp csrc/cumem/pool.cpp
    LIBRARIES CUDA::cudart
    INCLUDE_DIRECTORIES ${CUDAToolkit_INCLUDE_DIRS})
endif()

# Decode attention over latents (MLA), for GPUs whose blocks have 156 KB of shared memory or more, from Hopper on.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  set(flashmla_archs ${VLLM_GPU_ARCHS})
  list(FILTER flashmla_archs INCLUDE REGEX "^(9|10|11)\\.")
  if(flashmla_archs)
    define_extension_target(_flashmla_C
      DESTINATION vllm
      LANGUAGE CUDA
      SOURCES csrc/flashmla/bindings.cpp
      DEVICE_SOURCES csrc/flashmla/decode.cu
      LIBRARIES device_objects
      ARCHITECTURES ${flashmla_archs})
  endif()
endif()

# The modules below are in packages of their own: a folder each, and a value of the variant key vllm_companion.

# Products of bf16 and e4m3 matrices under DeepGEMM's names; GPUs that cannot multiply e4m3 widen it.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  define_extension_target(_deepgemm_C
    DESTINATION vllm/deep_gemm
    LANGUAGE CUDA
    SOURCES csrc/deepgemm/bindings.cpp
    DEVICE_SOURCES csrc/deepgemm/bf16_gemm.cu
    LIBRARIES device_objects)
endif()

# Attention under the names of vLLM's fork of flash-attention.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  define_extension_target(_vllm_fa2_C
    DESTINATION vllm/vllm_flash_attn
    LANGUAGE CUDA
    SOURCES csrc/flash_attn/fa2.cpp csrc/flash_attn/varlen.cpp
    LIBRARIES device_objects)
  set(fa3_archs ${VLLM_GPU_ARCHS})
  list(FILTER fa3_archs INCLUDE REGEX "^9\\.0")
  if(fa3_archs)
    define_extension_target(_vllm_fa3_C
      DESTINATION vllm/vllm_flash_attn
      LANGUAGE CUDA
      SOURCES csrc/flash_attn/fa3.cpp csrc/flash_attn/varlen.cpp
      DEVICE_SOURCES csrc/flash_attn/pipelined.cu
      LIBRARIES device_objects
      ARCHITECTURES ${fa3_archs})
  endif()
endif()

# Sampling under FlashInfer's names.
if(VLLM_TARGET_DEVICE STREQUAL "cuda")
  define_extension_target(_flashinfer_C
    DESTINATION vllm/flashinfer
    LANGUAGE CUDA
    SOURCES csrc/flashinfer/bindings.cpp
    DEVICE_SOURCES csrc/flashinfer/sampling.cu
    LIBRARIES device_objects)
endif()
