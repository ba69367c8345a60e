// One loop, compiled for several instruction sets: the packing loops are written once over vectors
// of 16 floats (GCC and Clang vector extensions, which lower to whatever the target has), and the
// widest variant that the machine runs is taken. Every variant computes the same bits: the files
// that use this are compiled with -ffp-contract=off.
#ifndef KILN_COMPILER_ARTIFACT_VECTORVARIANTS_H
#define KILN_COMPILER_ARTIFACT_VECTORVARIANTS_H

#include <cstdint>
#include <cstring>

namespace kiln {

using F32x16 = float __attribute__((vector_size(64)));
using I32x16 = int32_t __attribute__((vector_size(64)));

} // namespace kiln

#define KILN_INLINE inline __attribute__((always_inline))
#define KILN_LAMBDA __attribute__((always_inline))

/// Defines `result name parameters` as the best variant of the always-inline function nameBody.
#if defined(__x86_64__)
#define KILN_VECTOR_VARIANTS(result, name, parameters, arguments)                                  \
  __attribute__((                                                                                  \
      target("avx512f,avx512bw,avx512dq,avx512vl"))) static result name##Avx512 parameters {       \
    return name##Body arguments;                                                                   \
  }                                                                                                \
  __attribute__((target("avx2"))) static result name##Avx2 parameters {                            \
    return name##Body arguments;                                                                   \
  }                                                                                                \
  result kiln::name parameters {                                                                   \
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&                \
        __builtin_cpu_supports("avx512vl"))                                                        \
      return name##Avx512 arguments;                                                               \
    if (__builtin_cpu_supports("avx2"))                                                            \
      return name##Avx2 arguments;                                                                 \
    return name##Body arguments;                                                                   \
  }
#else
#define KILN_VECTOR_VARIANTS(result, name, parameters, arguments)                                  \
  result kiln::name parameters { return name##Body arguments; }
#endif

#endif
