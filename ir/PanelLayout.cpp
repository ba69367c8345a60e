// Offsets of the layout "panel16"; the layout itself is described in the header.
#include "ir/PanelLayout.h"
#include "llvm/Support/MathExtras.h"

using namespace kiln;

PanelLayout::PanelLayout(const Format &format, int64_t rows, int64_t depth)
    : format(format), panels(llvm::divideCeil(rows, kPanelRows)),
      depthPadded(llvm::alignTo(depth, kDepthMultiple)),
      elementBytes(kPanelRows * depthPadded * format.bits / 8) {
  int64_t scaleBytes = format.kind == FormatKind::SymmetricInt ? groupCount() * kPanelRows * 2 : 0;
  panelSize = llvm::alignTo(elementBytes + scaleBytes, kAlignment);
}

PanelLayout::Place PanelLayout::place(int64_t lane, int64_t k) const {
  switch (format.id) {
  case FormatId::F32:
    return {(k * kPanelRows + lane) * 4, false};
  case FormatId::F16:
    return {(k * kPanelRows + lane) * 2, false};
  case FormatId::BF16:
    return {((k / 2 * kPanelRows + lane) * 2 + k % 2) * 2, false};
  case FormatId::Q8SymG32:
    return {(k / 4 * kPanelRows + lane) * 4 + k % 4, false};
  case FormatId::Q4SymG32: {
    int64_t block = k / 32, quad = k % 32 / 4;
    return {((block * 4 + quad % 4) * kPanelRows + lane) * 4 + k % 4, quad >= 4};
  }
  }
  llvm_unreachable("every format has a place");
}

int64_t PanelLayout::scalePlace(int64_t lane, int64_t group) const {
  return elementBytes + (group * kPanelRows + lane) * 2;
}

int64_t kiln::rowVectorBytes(int64_t elements) { return llvm::alignTo(elements, 16) * 4; }
