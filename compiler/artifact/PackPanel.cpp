// Writes elements where ir/PanelLayout.h places them, in the order of memory rather than element by
// element; tests/artifact/PackPanelTest.cpp reads every element back through PanelLayout.
#include "compiler/artifact/PackPanel.h"
#include "compiler/artifact/ConvertElements.h"
#include "llvm/Support/ErrorHandling.h"
#include <cmath>

using namespace kiln;

static constexpr int64_t kLanes = PanelLayout::kPanelRows;

/// Converts with `encode`, reads back with `decode`, and keeps account of the difference.
template <typename Encode, typename Decode>
static bool packHalves(const float *values, int64_t count, uint8_t *result, ErrorSums *sums,
                       Encode encode, Decode decode) {
  bool fits = true;
  double squaredError = 0, squaredValues = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half = encode(values[i]);
    std::memcpy(result + 2 * i, &half, 2);
    double value = values[i], difference = value - double(decode(half));
    if (!std::isfinite(value))
      continue;
    fits = fits && std::isfinite(difference);
    squaredError += difference * difference;
    squaredValues += value * value;
  }
  sums->add({squaredError, squaredValues});
  return fits;
}

bool kiln::packElements(FormatId format, const float *values, int64_t count, uint8_t *result,
                        ErrorSums *sums) {
  switch (format) {
  case FormatId::F32:
    std::memcpy(result, values, size_t(count) * 4);
    return true;
  case FormatId::F16:
    return packHalves(values, count, result, sums, f32ToF16, f16ToF32);
  case FormatId::BF16:
    return packHalves(values, count, result, sums, f32ToBF16, bf16ToF32);
  default:
    llvm_unreachable("integer formats are packed by panel");
  }
}

/// bf16: pairs of neighbouring depths lie together.
static bool packBF16Panel(const PanelLayout &layout, const float *values, uint8_t *panel,
                          ErrorSums *sums) {
  bool fits = true;
  float pair[2 * kLanes];
  for (int64_t k = 0; k < layout.paddedDepth(); k += 2) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      pair[2 * lane] = values[k * kLanes + lane];
      pair[2 * lane + 1] = values[(k + 1) * kLanes + lane];
    }
    fits &= packElements(FormatId::BF16, pair, 2 * kLanes, panel + k * kLanes * 2, sums);
  }
  return fits;
}

bool kiln::packPanel(const PanelLayout &layout, const float *values, ScaleChoice choice,
                     uint8_t *panel, ErrorSums *sums) {
  int64_t groups = layout.groupCount(), used = layout.scalesOffset();
  auto *scales = reinterpret_cast<uint16_t *>(panel + used);
  if (layout.getFormat().kind == FormatKind::Integer)
    used += groups * kLanes * 2;
  std::fill(panel + used, panel + layout.panelBytes(), uint8_t(0));
  switch (layout.getFormat().id) {
  case FormatId::F32:
  case FormatId::F16:
    return packElements(layout.getFormat().id, values, layout.paddedDepth() * kLanes, panel, sums);
  case FormatId::BF16:
    return packBF16Panel(layout, values, panel, sums);
  case FormatId::Q8SymG32:
    return quantizePanelQ8(values, groups, panel, scales, sums);
  case FormatId::Q4SymG32:
    return choice == ScaleChoice::Search
               ? quantizePanelQ4Search(values, groups, panel, scales, sums)
               : quantizePanelQ4AbsMax(values, groups, panel, scales, sums);
  default:
    llvm_unreachable("other formats only keep what a file holds");
  }
}

bool kiln::canHold(const Format &format, float value) {
  switch (format.id) {
  case FormatId::F32:
    return true;
  case FormatId::F16:
    return !std::isfinite(value) || std::isfinite(f16ToF32(f32ToF16(value)));
  case FormatId::BF16:
    return !std::isfinite(value) || std::isfinite(bf16ToF32(f32ToBF16(value)));
  case FormatId::Q8SymG32:
    return std::fabs(value) <= kLargestQ8;
  case FormatId::Q4SymG32:
    return std::fabs(value) <= kLargestQ4;
  default:
    llvm_unreachable("other formats only keep what a file holds");
  }
}

void kiln::packCodesPanel(const PanelLayout &layout, const uint8_t *codes, int64_t rows,
                          int64_t depth, uint8_t *panel) {
  std::memset(panel, 0, size_t(layout.panelBytes()));
  for (int64_t lane = 0; lane < rows; ++lane) {
    const uint8_t *row = codes + lane * depth;
    int32_t sum = 0; // of at most 2^20 codes
    for (int64_t k = 0; k < depth; ++k) {
      panel[(k / 4 * kLanes + lane) * 4 + k % 4] = row[k];
      sum += int8_t(row[k]);
    }
    std::memcpy(panel + layout.sumsOffset() + lane * 4, &sum, 4);
  }
}
