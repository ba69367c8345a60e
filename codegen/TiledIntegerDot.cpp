// For each group of 32 depths and each panel, one product of tiles gives the exact sums of all
// rows, which then lie in scratch like any vectors and are scaled and added in f32:
//
//   for each group
//     for each panel      sums = rows x columns, stored              tile unit
//     for each panel      expand the next group's 4-bit codes        vectors; 8-bit codes need not
//     for each panel      total[row] += f32(sums[row]) * scales * row's scale
//
// A 4-bit code c is expanded to the signed byte 16 * (c - 8), which is a shift and an exclusive or;
// the factor of 16 is taken from the scales again, both exactly. A product of tiles occupies its
// unit for as many cycles as there are rows, in which vectors have nothing to wait for but memory.
#include "codegen/TiledIntegerDot.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
static constexpr int64_t line = 64;               // bytes of a vector
static constexpr int64_t columnsBytes = 8 * line; // of a group of a panel, as tiles take them
static constexpr int64_t sumsBytes = 16 * line;
static constexpr int64_t mostPanels = 2;
// Scratch: the configuration, two turns of columns, two turns of sums.
static constexpr int64_t columnsOffset = ByteTiles::kConfigBytes;
static constexpr int64_t sumsOffset = columnsOffset + 2 * mostPanels * columnsBytes;
static_assert(sumsOffset + 2 * mostPanels * sumsBytes == kTiledIntegerDotScratch);

namespace {

class TiledIntegerDot {
public:
  TiledIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request, RowKind kind,
                  const ByteTiles &tiles)
      : b(b), request(request), format(request.layout.getFormat()), rows(kind, request.layout),
        planes(kind == RowKind::Int15 ? 2 : 1), tiles(tiles), expands(format.bits == 4),
        intType(vectorOf(lanes, b.getI32Type())), f32Type(vectorOf(lanes, b.getF32Type())) {
    assert(int64_t(request.panels.size()) <= mostPanels && planes * request.rowCount <= 16);
  }

  SmallVector<Value> emit() {
    size_t perPanel = size_t(request.rowCount);
    tiles.begin(b, request.scratch, planes * request.rowCount);
    if (expands)
      for (size_t p = 0; p < request.panels.size(); ++p)
        expand(p, i64(b, 0));
    SmallVector<Value> rowsFor(request.panels.size(), request.rows);
    for (Value &name : MutableArrayRef(rowsFor).drop_front())
      name = anotherName(b, request.rows);
    SmallVector<Value> initial(request.panels.size() * perPanel, splatConstant(b, f32Type, 0));
    SmallVector<Value> sums =
        loop(b, i64(b, 0), i64(b, rows.groups), 1, initial, [&](Value group, ValueRange carried) {
          SmallVector<Value> next(carried);
          tiles.load(b, ByteTiles::kFirstRows, address(b, request.rows, group, 32), rows.lower);
          for (size_t p = 0; p < request.panels.size(); ++p)
            multiply(p, group);
          if (expands)
            for (size_t p = 0; p < request.panels.size(); ++p)
              expand(p, following(group));
          request.fetchUpcoming(b, group);
          for (size_t p = 0; p < request.panels.size(); ++p)
            addScaled(p, rowsFor[p], group, MutableArrayRef(next).slice(p * perPanel, perPanel));
          return next;
        });
    tiles.end(b);
    return sums;
  }

private:
  /// The next group, or the last once more.
  Value following(Value group) {
    Value next = arith::AddIOp::create(b, group, i64(b, 1));
    return arith::MinSIOp::create(b, next, i64(b, rows.groups - 1));
  }

  /// A panel's part of a buffer that is used by turns.
  Value turn(int64_t offset, int64_t bytes, size_t panel, Value group) {
    Value parity = arith::AndIOp::create(b, group, i64(b, 1));
    return address(b, request.scratch, parity, mostPanels * bytes, offset + int64_t(panel) * bytes);
  }
  Value codesOf(size_t panel, Value group) {
    return address(b, request.panels[panel], group, format.bits * line);
  }
  Value columnsOf(size_t panel, Value group) {
    return expands ? turn(columnsOffset, columnsBytes, panel, group) : codesOf(panel, group);
  }

  void expand(size_t panel, Value group) {
    Value source = codesOf(panel, group), target = columnsOf(panel, group);
    Value high = splatConstant(b, intType, double(0xf0f0f0f0u));
    Value sign = splatConstant(b, intType, double(0x80808080u)),
          four = splatConstant(b, intType, 4);
    auto keep = [&](Value codes, int64_t quad) {
      Value moved = arith::AndIOp::create(b, codes, high);
      store(b, arith::XOrIOp::create(b, moved, sign), address(b, target, quad * line), line);
    };
    for (int64_t quad = 0; quad < 4; ++quad) {
      Value both = load(b, intType, address(b, source, quad * line), line);
      keep(arith::ShLIOp::create(b, both, four), quad);
      keep(both, quad + 4);
    }
  }

  void multiply(size_t panel, Value group) {
    int64_t sums = int64_t(panel), columns = ByteTiles::kFirstColumns + int64_t(panel);
    tiles.zero(b, sums);
    tiles.load(b, columns, columnsOf(panel, group), line);
    tiles.multiply(b, sums, ByteTiles::kFirstRows, columns, /*unsignedColumns=*/!expands);
    tiles.store(b, sums, turn(sumsOffset, sumsBytes, panel, group), line);
  }

  /// Adds a group's sums to the totals, in the order of emitGroupedIntegerDot.
  void addScaled(size_t panel, Value rowsBase, Value group, MutableArrayRef<Value> totals) {
    Value halves =
        load(b, vectorOf(lanes, b.getF16Type()),
             address(b, request.panels[panel], group, 32, request.layout.scalesOffset()), 32);
    Value scales = arith::ExtFOp::create(b, f32Type, halves);
    if (expands)
      scales = arith::MulFOp::create(b, scales, splatConstant(b, f32Type, 1.0 / 16));
    Value sums = turn(sumsOffset, sumsBytes, panel, group);
    for (auto [r, total] : llvm::enumerate(totals)) {
      Value row = address(b, rowsBase, group, 4, int64_t(r) * rows.stride);
      auto plane = [&](int64_t i) {
        return load(b, intType, address(b, sums, (int64_t(r) * planes + i) * line), line);
      };
      Value sum = planes == 1 ? plane(0) : joinPlanes(b, plane(0), plane(1));
      if (!expands) // codes are larger than what they stand for
        sum = arith::AddIOp::create(
            b, sum, loadSplat(b, b.getI32Type(), address(b, row, rows.sums), lanes));
      Value scale = arith::MulFOp::create(
          b, scales, loadSplat(b, b.getF32Type(), address(b, row, rows.scales), lanes));
      total = math::FmaOp::create(b, arith::SIToFPOp::create(b, f32Type, sum), scale, total);
    }
  }

  ImplicitLocOpBuilder &b;
  const DotRequest &request;
  const Format &format;
  PreparedRows rows;
  int64_t planes; // of activation codes: rows of a tile for each of the request's
  const ByteTiles &tiles;
  bool expands;
  VectorType intType, f32Type;
};

} // namespace

SmallVector<Value> kiln::emitTiledIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request,
                                             RowKind kind, const ByteTiles &tiles) {
  return TiledIntegerDot(b, request, kind, tiles).emit();
}
