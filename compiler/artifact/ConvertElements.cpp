// Conversion of whole runs of weight elements to f32. The loops are plain so that the compiler
// vectorizes them; F16 checkpoints of billions of elements pass through here.
#include "compiler/artifact/ConvertElements.h"
#include "compiler/artifact/VectorVariants.h"
#include "llvm/Support/SwapByteOrder.h"

using namespace kiln;

static_assert(llvm::sys::IsLittleEndianHost, "artifacts and sources are little-endian");

template <typename Convert>
static KILN_INLINE void convertRun(const uint8_t *__restrict source, int64_t count,
                                   float *__restrict result, Convert convert) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t element;
    std::memcpy(&element, source + 2 * i, 2);
    result[i] = convert(element);
  }
}

static KILN_INLINE void convertToF32Body(SourceType type, const uint8_t *source, int64_t count,
                                         float *result) {
  switch (type) {
  case SourceType::F32:
    std::memcpy(result, source, size_t(count) * 4);
    return;
  case SourceType::F16:
    return convertRun(source, count, result, [](uint16_t x) KILN_LAMBDA { return f16ToF32(x); });
  case SourceType::BF16:
    return convertRun(source, count, result, [](uint16_t x) KILN_LAMBDA { return bf16ToF32(x); });
  }
}

KILN_VECTOR_VARIANTS(void, convertToF32,
                     (SourceType type, const uint8_t *source, int64_t count, float *result),
                     (type, source, count, result))
