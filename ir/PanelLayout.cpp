// Offsets of the layout "panel16"; the layout itself is described in the header.
#include "ir/PanelLayout.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

using namespace kiln;

/// Bytes of the record of scales of one panel that covers format.scaleDepth() elements of a row.
static int64_t scaleBytesOf(const Format &format) {
  int64_t numbers = format.hasMin ? 2 : 1, lanes = PanelLayout::kPanelRows;
  switch (format.scales) {
  case ScaleKind::None:
    return 0;
  case ScaleKind::Half:
  case ScaleKind::Brain:
    return numbers * lanes * 2 * (format.scaleDepth() / format.group);
  case ScaleKind::Super:
    return numbers * lanes * (2 + format.scaleDepth() / format.group);
  }
  llvm_unreachable("every kind of scales has a size");
}

/// Depth is padded to a multiple of this.
static int64_t depthMultipleOf(const Format &format) {
  return format.kind == FormatKind::Codes
             ? 4
             : std::max(PanelLayout::kDepthMultiple, format.scaleDepth());
}

PanelLayout::PanelLayout(const Format &format, int64_t rows, int64_t depth)
    : format(format), panels(llvm::divideCeil(rows, kPanelRows)),
      depthPadded(llvm::alignTo(depth, depthMultipleOf(format))),
      elementBytes(kPanelRows * depthPadded * format.bits / 8), recordBytes(scaleBytesOf(format)) {
  int64_t sums = format.kind == FormatKind::Codes ? kPanelRows * 4 : 0;
  int64_t scales = depthPadded / format.scaleDepth() * recordBytes;
  panelSize = llvm::alignTo(elementBytes + scales + sums, kAlignment);
}

unsigned PanelLayout::lowerBits() const {
  switch (format.bits) {
  case 3:
    return 2;
  case 5:
  case 6:
    return 4;
  default:
    return format.bits;
  }
}

namespace {
/// An element among the 32 depths of its group.
struct InGroup {
  int64_t group, quad, i; // depth 32 group + 4 quad + i

  explicit InGroup(int64_t k) : group(k / 32), quad(k % 32 / 4), i(k % 4) {}
  int64_t byte(unsigned bits, int64_t line, int64_t lane) const {
    return ((group * bits + line) * PanelLayout::kPanelRows + lane) * 4 + i;
  }
};
} // namespace

PanelLayout::Place PanelLayout::place(int64_t lane, int64_t k) const {
  switch (format.id) {
  case FormatId::F32:
    return {(k * kPanelRows + lane) * 4};
  case FormatId::F16:
    return {(k * kPanelRows + lane) * 2};
  case FormatId::BF16:
    return {((k / 2 * kPanelRows + lane) * 2 + k % 2) * 2};
  default:
    break;
  }
  InGroup at(k);
  switch (lowerBits()) {
  case 8:
    return {at.byte(format.bits, at.quad, lane)};
  case 4:
    return {at.byte(format.bits, at.quad % 4, lane), at.quad < 4 ? 0u : 4u};
  case 2:
    return {at.byte(format.bits, at.quad / 4, lane), unsigned(at.quad % 4 * 2)};
  }
  llvm_unreachable("every format has a place");
}

PanelLayout::Place PanelLayout::upperPlace(int64_t lane, int64_t k) const {
  InGroup at(k);
  switch (format.bits) {
  case 3:
    return {at.byte(format.bits, 2, lane), unsigned(at.quad)};
  case 5:
    return {at.byte(format.bits, 4, lane), unsigned(at.quad)};
  case 6:
    return {at.byte(format.bits, 4 + at.quad / 4, lane), unsigned(at.quad % 4 * 2)};
  }
  llvm_unreachable("the format's elements lie in one place");
}

int64_t PanelLayout::numberPlace(int64_t lane, int64_t group, int64_t which) const {
  int64_t groups = format.scaleDepth() / format.group, numbers = format.hasMin ? 2 : 1;
  int64_t record = elementBytes + group / groups * recordBytes;
  int64_t number = (group % groups * numbers + which) * kPanelRows + lane;
  return format.scales == ScaleKind::Super ? record + numbers * kPanelRows * 2 + number
                                           : record + number * 2;
}

int64_t PanelLayout::superPlace(int64_t lane, int64_t group, int64_t which) const {
  int64_t record = elementBytes + group * format.group / format.scaleDepth() * recordBytes;
  return record + (which * kPanelRows + lane) * 2;
}

unsigned PanelLayout::loadCode(const uint8_t *panel, int64_t lane, int64_t k) const {
  unsigned lower = lowerBits();
  Place at = place(lane, k);
  unsigned code = panel[at.byte] >> at.shift & ((1u << lower) - 1);
  if (lower == format.bits)
    return code;
  at = upperPlace(lane, k);
  return code | (panel[at.byte] >> at.shift & ((1u << (format.bits - lower)) - 1)) << lower;
}

void PanelLayout::storeCode(uint8_t *panel, int64_t lane, int64_t k, unsigned code) const {
  unsigned lower = lowerBits();
  Place at = place(lane, k);
  panel[at.byte] |= uint8_t((code & ((1u << lower) - 1)) << at.shift);
  if (lower == format.bits)
    return;
  at = upperPlace(lane, k);
  panel[at.byte] |= uint8_t(code >> lower << at.shift);
}

int64_t kiln::rowVectorBytes(int64_t elements) { return llvm::alignTo(elements, 16) * 4; }
