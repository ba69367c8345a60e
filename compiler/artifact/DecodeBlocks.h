// The decode functions of BlockTypes.def.
#ifndef KILN_COMPILER_ARTIFACT_DECODEBLOCKS_H
#define KILN_COMPILER_ARTIFACT_DECODEBLOCKS_H

#include <cstdint>

namespace kiln {

/// What the codes of IQ4_NL and IQ4_XS mean, times the scale.
inline constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

#define KILN_BLOCK_TYPE(id, name, gguf, elements, bytes, decode)                                   \
  void decode(const uint8_t *blocks, int64_t count, float *values);
#include "compiler/artifact/BlockTypes.def"
#undef KILN_BLOCK_TYPE

} // namespace kiln

#endif
