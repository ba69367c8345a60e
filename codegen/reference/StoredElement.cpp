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
  if ((format->kind == FormatKind::Codes) == isa<FloatType>(type.getElementType()))
    return ("the format " + stored.getFormat() + " holds other elements").str();
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

namespace {

/// Scalars of an integer panel; the unsigned i64 `lane` and `k` may have any value.
class StoredCode {
public:
  StoredCode(ImplicitLocOpBuilder &b, const PanelLayout &layout, Value panel, Value lane)
      : b(b), x{b}, layout(layout), format(layout.getFormat()), panel(panel), lane(lane) {}

  /// The code that is multiplied, i32.
  Value code(Value k) {
    Value group = x.div(k, 32), quad = x.div(x.rem(k, 32), 4), i = x.rem(k, 4);
    auto bits = [&](Value line, Value shift, int64_t count) {
      Value place =
          x.add(x.mul(x.add(x.mul(x.add(x.mul(group, format.bits), line), 16), lane), 4), i);
      Value byte = load(b, b.getI8Type(), address(b, panel, place, 1), 1);
      byte = arith::ExtUIOp::create(b, b.getI64Type(), byte);
      return x.rem(arith::ShRUIOp::create(b, byte, shift), int64_t(1) << count);
    };
    int64_t lower = layout.lowerBits(), upper = format.bits - lower;
    Value found;
    if (lower == 8)
      found = bits(quad, x.constant(0), lower);
    else if (lower == 4)
      found = bits(x.rem(quad, 4), x.mul(x.div(quad, 4), 4), lower);
    else
      found = bits(x.div(quad, 4), x.mul(x.rem(quad, 4), 2), lower);
    if (upper == 1)
      found = x.add(found, x.mul(bits(x.constant(lower), quad, 1), int64_t(1) << lower));
    if (upper == 2) {
      Value line = x.add(x.div(quad, 4), x.constant(lower));
      found = x.add(found, x.mul(bits(line, x.mul(x.rem(quad, 4), 2), 2), int64_t(1) << lower));
    }
    found = arith::TruncIOp::create(b, b.getI32Type(), found);
    return format.table ? emitSelectEntry(b, found, ArrayRef(format.table, 16)) : found;
  }

  StoredScale scale(Value k) {
    StoredScale result;
    int64_t numbers = format.hasMin ? 2 : 1;
    Value record = address(b, panel, x.div(k, format.scaleDepth()), layout.scaleRecordBytes(),
                           layout.scalesOffset());
    if (format.scales != ScaleKind::Super) {
      FormatId type = format.scales == ScaleKind::Brain ? FormatId::BF16 : FormatId::F16;
      result.scale = loadFloat(b, type, address(b, record, lane, 2));
      if (format.hasMin)
        result.min = loadFloat(b, type, address(b, record, lane, 2, 32));
      return result;
    }
    Value group = x.div(x.rem(k, format.scaleDepth()), format.group);
    auto number = [&](int64_t which) {
      Value first = address(b, record, group, numbers * 16, numbers * 32 + which * 16);
      Value steps = load(b, b.getI8Type(), address(b, first, lane, 1), 1);
      Value unit = loadFloat(b, FormatId::F16, address(b, record, lane, 2, which * 32));
      return arith::MulFOp::create(b, arith::SIToFPOp::create(b, b.getF32Type(), steps), unit);
    };
    result.scale = number(0);
    if (format.hasMin)
      result.min = arith::NegFOp::create(b, number(1));
    return result;
  }

private:
  ImplicitLocOpBuilder &b;
  Index x;
  const PanelLayout &layout;
  const Format &format;
  Value panel, lane;
};

} // namespace

StoredScale kiln::emitStoredScale(ImplicitLocOpBuilder &b, const PanelLayout &layout, Value panel,
                                  Value lane, Value k) {
  return StoredCode(b, layout, panel, lane).scale(k);
}

/// scale * (code - zero) + min
static Value emitCodeValue(ImplicitLocOpBuilder &b, const PanelLayout &layout, Value panel,
                           Value lane, Value k) {
  StoredCode stored(b, layout, panel, lane);
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(layout.getFormat().zero));
  Value centred =
      arith::SIToFPOp::create(b, b.getF32Type(), arith::SubIOp::create(b, stored.code(k), zero));
  StoredScale scale = stored.scale(k);
  Value product = arith::MulFOp::create(b, scale.scale, centred);
  return scale.min ? arith::AddFOp::create(b, product, scale.min).getResult() : product;
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
  if (format.kind == FormatKind::Integer)
    return emitCodeValue(b, layout, panel, lane, k);
  if (format.kind == FormatKind::Codes) { // [depth/4][16][4]
    Value code = x.add(x.mul(x.add(x.mul(x.div(k, 4), 16), lane), 4), x.rem(k, 4));
    return load(b, b.getI8Type(), address(b, panel, code, 1), 1);
  }
  Value place = x.add(x.mul(k, 16), lane);
  if (format.id == FormatId::BF16) // [depth/2][16][2]
    place = x.add(x.mul(x.add(x.mul(x.div(k, 2), 16), lane), 2), x.rem(k, 2));
  return loadFloat(b, format.id, address(b, panel, place, format.bits / 8));
}
