// Scalar reads of stored weights: the offsets of PanelLayout::place (ir/PanelLayout.h) with row and
// depth as run-time values, and the value of a code as ir/Formats.def defines it.
#include "codegen/reference/StoredElement.h"
#include "codegen/EmitSupport.h"
#include "codegen/HalfFloat.h"
#include "ir/Graph/GraphDialect.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

namespace {

/// Unsigned i64 arithmetic with constants.
struct Index {
  ImplicitLocOpBuilder &b;

  Value constant(int64_t value) const { return i64(b, value); }
  Value div(Value x, int64_t y) const { return arith::DivUIOp::create(b, x, constant(y)); }
  Value rem(Value x, int64_t y) const { return arith::RemUIOp::create(b, x, constant(y)); }
  Value mul(Value x, int64_t y) const { return arith::MulIOp::create(b, x, constant(y)); }
  Value add(Value x, Value y) const { return arith::AddIOp::create(b, x, y); }
};

} // namespace

std::optional<std::string> kiln::refuseStoredElement(RankedTensorType type) {
  graph::StoredAttr stored = graph::getStored(type);
  const Format *format = stored ? findFormat(stored.getFormat()) : nullptr;
  if (!format)
    return "a weight has no known format";
  if (stored.getLayout() == kPanelLayoutName)
    return type.getRank() == 2 ? std::nullopt
                               : std::optional<std::string>("only matrices have panels");
  if (stored.getLayout() != kRowsLayoutName)
    return ("unknown weight layout '" + stored.getLayout() + "'").str();
  if (format->kind != FormatKind::Float)
    return ("the layout \"rows\" does not hold the format " + stored.getFormat()).str();
  return std::nullopt;
}

static Value loadFloat(ImplicitLocOpBuilder &b, FormatId format, Value address) {
  switch (format) {
  case FormatId::F32:
    return load(b, b.getF32Type(), address, 4);
  case FormatId::F16:
    return emitHalfToFloat(b, load(b, b.getI16Type(), address, 2));
  case FormatId::BF16:
    return emitBrainToFloat(b, load(b, b.getI16Type(), address, 2));
  default:
    llvm_unreachable("not a float format");
  }
}

/// scale * (code - zero)
static Value emitCodeValue(ImplicitLocOpBuilder &b, const PanelLayout &layout, Value panel,
                           Value lane, Value k) {
  Index x{b};
  const Format &format = layout.getFormat();
  Value code;
  if (format.id == FormatId::Q8SymG32) {
    // [depth/4][16][4]
    Value place = x.add(x.mul(x.add(x.mul(x.div(k, 4), 16), lane), 4), x.rem(k, 4));
    code = load(b, b.getI8Type(), address(b, panel, place, 1), 1);
    code = arith::ExtUIOp::create(b, b.getI32Type(), code);
  } else {
    // [depth/32][4][16][4], quads 4..7 of a block of 32 in the high nibbles
    Value quad = x.div(x.rem(k, 32), 4);
    Value byteQuad = x.add(x.mul(x.div(k, 32), 4), x.rem(quad, 4));
    Value place = x.add(x.mul(x.add(x.mul(byteQuad, 16), lane), 4), x.rem(k, 4));
    Value byte = load(b, b.getI8Type(), address(b, panel, place, 1), 1);
    byte = arith::ExtUIOp::create(b, b.getI32Type(), byte);
    Value shift = arith::TruncIOp::create(b, b.getI32Type(), x.mul(x.div(quad, 4), 4));
    Value low = arith::ConstantOp::create(b, b.getI32IntegerAttr(15));
    code = arith::AndIOp::create(b, arith::ShRUIOp::create(b, byte, shift), low);
  }
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(format.zero));
  Value centred = arith::SIToFPOp::create(b, b.getF32Type(), arith::SubIOp::create(b, code, zero));
  Value scalePlace = x.add(x.mul(x.div(k, format.group), 16), lane);
  Value scale =
      loadFloat(b, FormatId::F16, address(b, panel, scalePlace, 2, layout.scalesOffset()));
  return arith::MulFOp::create(b, scale, centred);
}

Value kiln::emitStoredElement(ImplicitLocOpBuilder &b, Value base, RankedTensorType type,
                              ValueRange indices) {
  Index x{b};
  graph::StoredAttr stored = graph::getStored(type);
  const Format &format = *findFormat(stored.getFormat());
  if (stored.getLayout() == kRowsLayoutName) {
    Value place = indices.front();
    for (unsigned dim = 1; dim < indices.size(); ++dim)
      place = x.add(x.mul(place, type.getDimSize(dim)), indices[dim]);
    return loadFloat(b, format.id, address(b, base, place, format.bits / 8));
  }
  PanelLayout layout(format, type.getDimSize(0), type.getDimSize(1));
  Value row = indices[0], k = indices[1];
  Value lane = x.rem(row, PanelLayout::kPanelRows);
  Value panel = address(b, base, x.div(row, PanelLayout::kPanelRows), layout.panelBytes());
  if (format.kind == FormatKind::SymmetricInt)
    return emitCodeValue(b, layout, panel, lane, k);
  Value place = x.add(x.mul(k, 16), lane);
  if (format.id == FormatId::BF16) // [depth/2][16][2]
    place = x.add(x.mul(x.add(x.mul(x.div(k, 2), 16), lane), 2), x.rem(k, 2));
  return loadFloat(b, format.id, address(b, panel, place, format.bits / 8));
}
