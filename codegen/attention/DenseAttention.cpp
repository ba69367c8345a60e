// Attention over arrays, a query in each lane: nothing crosses lanes, so the softmax is as simple
// as that of one query, and keys and values are read where they lie.
//
//   for each item (batch, head, few vectors of queries)
//     queries as lines, one for each element of depth             codegen/Transpose
//     for each block of keys
//       scores = keys x queries, scaled, capped, masked           codegen/FloatTile
//       the largest so far; powers of the differences, their sum
//       results = results x what the largest changed + values x powers
//     results / sums, as rows
//
// A query's scores are a column of what keys give, and its result a column of what values give:
// keys are the rows of the first product, elements of a value those of the second, and queries the
// panels of both.
#include "codegen/attention/DenseAttention.h"
#include "codegen/EmitSupport.h"
#include "codegen/FloatTile.h"
#include "codegen/Target.h"
#include "codegen/Transpose.h"
#include "codegen/VectorMath.h"
#include "codegen/attention/DenseAttentionShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
/// Keys of a block: its scores stay in the nearest caches.
static constexpr int64_t mostKeys = 256;
static constexpr double log2e = 1.4426950408889634;

namespace {

class DenseAttention {
public:
  DenseAttention(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                 const DenseAttentionShape &shape);
  KernelCode emit();

private:
  /// The queries at hand. Values are i64.
  struct Queries {
    Value batch, head, keyHead, row; // the first query
    Value count;                     // at most panels * 16
    Value base;                      // the first query's number among the keys
    Value keys;                      // those that may be seen at all
    int64_t panels;
  };
  static constexpr int64_t lineOf(int64_t panels) { return panels * lanes * 4; }

  void emitItem(Value item);
  void emitQueries(const Queries &at);
  void emitScores(const Queries &at, Value firstKey, Value count);
  void emitPowers(const Queries &at, Value count);
  void emitValues(const Queries &at, Value firstKey, Value count);
  void emitResults(const Queries &at);
  void emitMaskLines(const Queries &at, Value firstKey, Value count);
  SmallVector<Value> finishScores(const Queries &at, ArrayRef<Value> sums, int64_t rows,
                                  Value firstKey, Value key, ValueRange most);

  /// Address of a row of a head.
  Value rowAddress(const HeadRows &rows, Value batch, Value head, Value row) {
    Value outer = rows.headsFirst ? head : row, inner = rows.headsFirst ? row : head;
    Value number = frame.add(frame.mul(batch, frame.extent(rows.type, 1)), outer);
    number = frame.add(frame.mul(number, frame.extent(rows.type, 2)), inner);
    return address(b, frame.buffer(rows.buffer), number, rows.stride * 4);
  }
  /// Which of the mask's matrices counts, all leading dims counted as one (i64).
  Value headOfMask(const Queries &at) {
    RankedTensorType type = graph::tensorOf(shape.mask);
    Value batch = type.getDimSize(0) == 1 ? i64(b, 0) : at.batch;
    Value head = type.getDimSize(1) == 1 ? i64(b, 0) : at.head;
    return frame.add(frame.mul(batch, frame.extent(type, 1)), head);
  }
  /// An element of offsets or lengths (i64).
  Value perBatch(BlockArgument vector, Value batch) {
    RankedTensorType type = graph::tensorOf(vector);
    Type element = graph::ElementBuilder::codeType(type.getElementType());
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    Value base = frame.buffer(vector.getArgNumber());
    Value value = load(b, element, type.getDimSize(0) == 1 ? base : address(b, base, batch, bytes),
                       unsigned(bytes));
    if (bytes == 8)
      return value;
    if (type.getElementType().isUnsignedInteger())
      return arith::ExtUIOp::create(b, b.getI64Type(), value);
    return arith::ExtSIOp::create(b, b.getI64Type(), value);
  }
  /// 16 rows from `row` on; past the last the last.
  SmallVector<Value> rowsFrom(Value base, Value row, Value last, int64_t rowBytes) {
    SmallVector<Value> rows;
    for (int64_t i = 0; i < lanes; ++i)
      rows.push_back(address(b, base, frame.min(frame.add(row, i64(b, i)), last), rowBytes));
    return rows;
  }
  VectorType floats() { return vectorOf(lanes, b.getF32Type()); }
  Value splat(double value) { return splatConstant(b, floats(), value); }
  Value vectorAt(int64_t offset, int64_t panel) {
    return address(b, frame.scratch(), offset + panel * lanes * 4);
  }
  Value loadVector(Value at) { return load(b, floats(), at, lanes * 4); }
  Value larger(Value x, Value y) { return arith::MaximumFOp::create(b, x, y); }
  /// What is subtracted of a query's scores: the largest, where there is any.
  Value baseOf(Value most) {
    Value least = splat(-std::numeric_limits<double>::infinity());
    Value isNone = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, most, least);
    return arith::SelectOp::create(b, isNone, splat(0), most);
  }
  /// Which keys [first, last) each of 16 queries sees, counted from `firstKey`; i32.
  std::pair<Value, Value> limitsOf(const Queries &at, int64_t panel, Value firstKey);

  exec::KernelOp kernel;
  const DenseAttentionShape &shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  int64_t panels, tileRows;
  const Format *format = &getFormats()[size_t(FormatId::F32)];
  // Offsets in scratch: queries [depth] lines, scores and masks [keys] lines, results [width]
  // lines, the largest scores, the sums, a panel's results as rows.
  int64_t queriesAt = 0, scoresAt = 0, masksAt = 0, resultsAt = 0, mostAt = 0, sumsAt = 0,
          factorsAt = 0, rowsAt = 0, bytes = 0;
};

} // namespace

DenseAttention::DenseAttention(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                               const DenseAttentionShape &shape)
    : kernel(kernel), shape(shape), frame(kernel, builder), b(frame.builder()) {
  setTileTuning(frame.function(), target);
  constexpr int64_t lots = 1 << 20, mostPanels = 2;
  int64_t rows = shape.q.type.getDimSize(shape.q.rowsDim());
  int64_t wanted = ShapedType::isDynamic(rows)
                       ? mostPanels
                       : std::clamp<int64_t>(llvm::divideCeil(rows, lanes), 1, mostPanels);
  TileSize tile = chooseTile(lots, wanted, target);
  panels = tile.panels;
  tileRows = tile.rows;
  auto reserve = [&](int64_t size) {
    int64_t offset = bytes;
    bytes += llvm::alignTo(size, 64);
    return offset;
  };
  int64_t line = lineOf(panels);
  queriesAt = reserve(shape.depth() * line);
  scoresAt = reserve(mostKeys * line);
  if (shape.mask && shape.isMaskOfRows())
    masksAt = reserve(mostKeys * line);
  resultsAt = reserve(shape.width() * line);
  mostAt = reserve(line);
  sumsAt = reserve(line);
  factorsAt = reserve(line);
  rowsAt = reserve(lanes * llvm::alignTo(shape.width(), lanes) * 4);
}

KernelCode DenseAttention::emit() {
  loop(b, frame.begin(), frame.end(), 1, [&](Value item) { emitItem(item); });
  AffineExpr items = getAffineConstantExpr(1, b.getContext());
  for (unsigned dim = 0; dim < 3; ++dim) {
    AffineExpr extent = graph::extentExpr(kernel, shape.q.type, dim);
    items = items * (dim == shape.q.rowsDim() ? extent.ceilDiv(panels * lanes) : extent);
  }
  auto map = [&](AffineExpr expr) {
    return AffineMap::get(0, kernel.getDims().size(), expr, b.getContext());
  };
  return {map(items), map(getAffineConstantExpr(bytes, b.getContext()))};
}

void DenseAttention::emitItem(Value item) {
  Value rows = frame.extent(shape.q.type, shape.q.rowsDim());
  Value heads = frame.extent(shape.q.type, shape.q.headsDim());
  Value keyHeads = frame.extent(shape.k.type, shape.k.headsDim());
  Value keys = frame.extent(shape.k.type, shape.k.rowsDim());
  Value blocks = frame.ceilDiv(rows, panels * lanes);
  auto divide = [&](Value x, Value y) -> Value { return arith::DivUIOp::create(b, x, y); };
  auto rest = [&](Value x, Value y) -> Value { return arith::RemUIOp::create(b, x, y); };
  Queries at;
  Value outer = divide(item, blocks);
  at.batch = divide(outer, heads);
  at.head = rest(outer, heads);
  Value one = i64(b, 1);
  at.keyHead = divide(at.head, frame.max(divide(heads, frame.max(keyHeads, one)), one));
  at.row = frame.mul(rest(item, blocks), i64(b, panels * lanes));
  at.count = frame.min(frame.sub(rows, at.row), i64(b, panels * lanes));
  at.base = at.row;
  if (shape.offsets)
    at.base = frame.add(at.row, perBatch(shape.offsets, at.batch));
  at.keys = keys;
  if (shape.lengths)
    at.keys = frame.max(frame.min(keys, perBatch(shape.lengths, at.batch)), i64(b, 0));
  auto attend = [&](int64_t count) {
    at.panels = count;
    emitQueries(at);
    // The keys that any of the queries sees.
    Value first = i64(b, 0), last = at.keys;
    if (shape.right >= 0) {
      Value reach = frame.add(frame.add(at.base, at.count), i64(b, shape.right));
      last = frame.max(frame.min(last, reach), i64(b, 0));
    }
    if (shape.left >= 0)
      first = frame.min(frame.max(frame.sub(at.base, i64(b, shape.left)), i64(b, 0)), last);
    loop(b, first, last, mostKeys, [&](Value key) {
      Value size = frame.min(frame.sub(last, key), i64(b, mostKeys));
      emitScores(at, key, size);
      emitPowers(at, size);
      emitValues(at, key, size);
    });
    emitResults(at);
  };
  if (panels == 1)
    return attend(1);
  branch(
      b, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, at.count, i64(b, lanes)),
      [&] { attend(panels); }, [&] { attend(1); });
}

// ---- Queries ------------------------------------------------------------------------------------

void DenseAttention::emitQueries(const Queries &at) {
  int64_t line = lineOf(at.panels);
  Value base = rowAddress(shape.q, at.batch, at.head, i64(b, 0));
  Value last = frame.sub(frame.extent(shape.q.type, shape.q.rowsDim()), i64(b, 1));
  for (int64_t p = 0; p < at.panels; ++p) {
    SmallVector<Value> rows =
        rowsFrom(base, frame.add(at.row, i64(b, p * lanes)), last, shape.q.rowBytes);
    emitTransposeRows(frame, rows, RowElement::F32, i64(b, shape.depth()), vectorAt(queriesAt, p),
                      line);
    store(b, splat(-std::numeric_limits<double>::infinity()), vectorAt(mostAt, p), 64);
    store(b, splat(0), vectorAt(sumsAt, p), 64);
  }
  loop(b, i64(b, 0), i64(b, shape.width()), 1, [&](Value column) {
    for (int64_t p = 0; p < at.panels; ++p)
      store(b, splat(0), address(b, vectorAt(resultsAt, p), column, line), 64);
  });
}

// ---- Scores -------------------------------------------------------------------------------------

std::pair<Value, Value> DenseAttention::limitsOf(const Queries &at, int64_t panel, Value firstKey) {
  VectorType wide = vectorOf(lanes, b.getI64Type()), narrow = vectorOf(lanes, b.getI32Type());
  SmallVector<int64_t> iota =
      llvm::to_vector(llvm::seq<int64_t>(panel * lanes, (panel + 1) * lanes));
  Value own = arith::ConstantOp::create(b, DenseElementsAttr::get(wide, ArrayRef<int64_t>(iota)));
  own = arith::AddIOp::create(b, own, broadcast(b, frame.sub(at.base, firstKey), lanes));
  auto cut = [&](Value key) -> Value { // to what a block has, one to either side
    Value most = splatConstant(b, wide, double(mostKeys)), zero = splatConstant(b, wide, 0);
    key = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, key, most), zero);
    return arith::TruncIOp::create(b, narrow, key);
  };
  Value first, last;
  if (shape.left >= 0)
    first = cut(arith::SubIOp::create(b, own, splatConstant(b, wide, double(shape.left))));
  if (shape.right >= 0)
    last = cut(arith::AddIOp::create(b, own, splatConstant(b, wide, double(shape.right + 1))));
  return {first, last};
}

void DenseAttention::emitMaskLines(const Queries &at, Value firstKey, Value count) {
  RankedTensorType type = graph::tensorOf(shape.mask);
  RowElement element = shape.isMaskOfTruths() ? RowElement::Truth : RowElement::F32;
  int64_t size = element == RowElement::F32 ? 4 : 1;
  Value rows = frame.extent(type, 2), keys = frame.extent(type, 3);
  Value last = frame.sub(rows, i64(b, 1));
  Value head = headOfMask(at);
  Value base = address(b, frame.buffer(shape.mask.getArgNumber()), firstKey, size);
  for (int64_t p = 0; p < at.panels; ++p) {
    SmallVector<Value> starts;
    for (int64_t i = 0; i < lanes; ++i) {
      Value row = frame.min(frame.add(at.row, i64(b, p * lanes + i)), last);
      Value number = frame.mul(frame.add(frame.mul(head, rows), row), keys);
      starts.push_back(address(b, base, number, size));
    }
    emitTransposeRows(frame, starts, element, count, vectorAt(masksAt, p), lineOf(at.panels));
  }
}

/// Scores of a tile of keys from `key` on, of the block that begins with `firstKey`, from their
/// products; they are stored. \returns the largest of each query, `most` included.
SmallVector<Value> DenseAttention::finishScores(const Queries &at, ArrayRef<Value> sums,
                                                int64_t rows, Value firstKey, Value key,
                                                ValueRange most) {
  int64_t line = lineOf(at.panels);
  SmallVector<Value> result(most);
  Value splats; // of a mask that all queries share
  for (int64_t p = 0; p < at.panels; ++p) {
    std::pair<Value, Value> limits;
    if (shape.hasLimits())
      limits = limitsOf(at, p, firstKey);
    for (int64_t r = 0; r < rows; ++r) {
      Value score = sums[size_t(p * rows + r)];
      if (shape.scale != 1)
        score = arith::MulFOp::create(b, score, splat(shape.scale));
      if (shape.softcap > 0) {
        score = emitTanh(b, arith::MulFOp::create(b, score, splat(1 / shape.softcap)));
        score = arith::MulFOp::create(b, score, splat(shape.softcap));
      }
      if (shape.mask) {
        Value summand;
        if (shape.isMaskOfRows()) {
          summand = loadVector(address(b, vectorAt(masksAt, p), key, line, r * line));
        } else {
          RankedTensorType type = graph::tensorOf(shape.mask);
          RowElement element = shape.isMaskOfTruths() ? RowElement::Truth : RowElement::F32;
          int64_t size = element == RowElement::F32 ? 4 : 1;
          Value number =
              frame.add(frame.mul(headOfMask(at), frame.extent(type, 3)), frame.add(firstKey, key));
          Value from = address(b, frame.buffer(shape.mask.getArgNumber()), number, size, r * size);
          summand = broadcast(b, loadElements(b, element, from, 1), lanes);
        }
        score = arith::AddFOp::create(b, score, summand);
      }
      auto keepIf = [&](arith::CmpIPredicate predicate, Value limit) {
        Value number = arith::TruncIOp::create(b, b.getI32Type(), frame.add(key, i64(b, r)));
        Value isSeen = arith::CmpIOp::create(b, predicate, broadcast(b, number, lanes), limit);
        score = arith::SelectOp::create(b, isSeen, score,
                                        splat(-std::numeric_limits<double>::infinity()));
      };
      if (limits.first)
        keepIf(arith::CmpIPredicate::sge, limits.first);
      if (limits.second)
        keepIf(arith::CmpIPredicate::slt, limits.second);
      result[size_t(p)] = larger(result[size_t(p)], score);
      store(b, score, address(b, vectorAt(scoresAt, p), key, line, r * line), 64);
    }
  }
  return result;
}

/// Scores of a block of keys, and the factors by which what is summed up so far has to be
/// multiplied, for the largest scores may have become larger.
void DenseAttention::emitScores(const Queries &at, Value firstKey, Value count) {
  if (shape.mask && shape.isMaskOfRows())
    emitMaskLines(at, firstKey, count);
  SmallVector<Value> queries, most;
  for (int64_t p = 0; p < at.panels; ++p) {
    queries.push_back(vectorAt(queriesAt, p));
    most.push_back(loadVector(vectorAt(mostAt, p)));
  }
  SmallVector<Value> before(most);
  Value rows = rowAddress(shape.k, at.batch, at.keyHead, firstKey), from = i64(b, 0);
  for (int64_t height : tileHeights(tileRows)) {
    Value part = frame.mul(frame.floorDiv(frame.sub(count, from), height), i64(b, height));
    Value to = frame.add(from, part);
    most = loop(b, from, to, height, most, [&](Value key, ValueRange carried) {
      SmallVector<std::optional<int64_t>> places;
      for (int64_t r = 0; r < height; ++r)
        places.push_back(r * shape.k.rowBytes);
      FloatProducts products{address(b, rows, key, shape.k.rowBytes), places, queries, format,
                             shape.depth()};
      products.lineBytes = lineOf(at.panels);
      SmallVector<Value> zeros(size_t(height * at.panels), splat(0));
      SmallVector<Value> sums = emitFloatProducts(b, products, zeros);
      return finishScores(at, sums, height, firstKey, key, carried);
    });
    from = to;
  }
  for (int64_t p = 0; p < at.panels; ++p) {
    Value change = arith::SubFOp::create(b, baseOf(before[size_t(p)]), baseOf(most[size_t(p)]));
    // Where there was none before, any factor will do.
    Value isLess = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, change, splat(0));
    change = arith::SelectOp::create(b, isLess, change, splat(0));
    change = arith::MulFOp::create(b, change, splat(log2e));
    store(b, emitExp2(b, change, 5), vectorAt(factorsAt, p), 64);
    store(b, most[size_t(p)], vectorAt(mostAt, p), 64);
  }
}

// ---- Softmax ------------------------------------------------------------------------------------

/// Scores become powers, which are added to the sums.
void DenseAttention::emitPowers(const Queries &at, Value count) {
  int64_t line = lineOf(at.panels);
  SmallVector<Value> bases, sums;
  for (int64_t p = 0; p < at.panels; ++p) {
    bases.push_back(baseOf(loadVector(vectorAt(mostAt, p))));
    sums.push_back(arith::MulFOp::create(b, loadVector(vectorAt(sumsAt, p)),
                                         loadVector(vectorAt(factorsAt, p))));
  }
  auto step = [&](Value key, int64_t r, MutableArrayRef<Value> next) {
    for (int64_t p = 0; p < at.panels; ++p) {
      Value place = address(b, vectorAt(scoresAt, p), key, line, r * line);
      // The difference first: both may be as large as numbers get.
      Value rest = arith::SubFOp::create(b, loadVector(place), bases[size_t(p)]);
      Value power = emitExp2(b, arith::MulFOp::create(b, rest, splat(log2e)), 5);
      store(b, power, place, 64);
      next[size_t(p)] = arith::AddFOp::create(b, next[size_t(p)], power);
    }
  };
  constexpr int64_t unroll = 2;
  Value whole = arith::AndIOp::create(b, count, i64(b, -unroll)), from = i64(b, 0);
  for (auto [to, keys] : {std::pair(whole, unroll), std::pair(count, int64_t(1))}) {
    int64_t atOnce = keys;
    sums = loop(b, from, to, atOnce, sums, [&](Value key, ValueRange carried) {
      SmallVector<Value> next(carried);
      for (int64_t r = 0; r < atOnce; ++r)
        step(key, r, next);
      return next;
    });
    from = to;
  }
  for (int64_t p = 0; p < at.panels; ++p)
    store(b, sums[size_t(p)], vectorAt(sumsAt, p), 64);
}

// ---- Results ------------------------------------------------------------------------------------

void DenseAttention::emitValues(const Queries &at, Value firstKey, Value count) {
  int64_t line = lineOf(at.panels), width = shape.width();
  SmallVector<Value> powers;
  for (int64_t p = 0; p < at.panels; ++p)
    powers.push_back(vectorAt(scoresAt, p));
  Value values = rowAddress(shape.v, at.batch, at.keyHead, firstKey);
  auto emitTile = [&](Value column, int64_t height) {
    SmallVector<std::optional<int64_t>> places;
    SmallVector<Value> sums;
    for (int64_t r = 0; r < height; ++r)
      places.push_back(r * 4);
    for (int64_t p = 0; p < at.panels; ++p) {
      Value factor = loadVector(vectorAt(factorsAt, p));
      for (int64_t r = 0; r < height; ++r) {
        Value place = address(b, vectorAt(resultsAt, p), column, line, r * line);
        sums.push_back(arith::MulFOp::create(b, loadVector(place), factor));
      }
    }
    FloatProducts products{address(b, values, column, 4), places, powers, format,
                           ShapedType::kDynamic,          count};
    products.step = shape.v.rowBytes;
    products.lineBytes = line;
    sums = emitFloatProducts(b, products, sums);
    for (int64_t p = 0; p < at.panels; ++p)
      for (int64_t r = 0; r < height; ++r)
        store(b, sums[size_t(p * height + r)],
              address(b, vectorAt(resultsAt, p), column, line, r * line), 64);
  };
  // Tiles as even as can be.
  int64_t tiles = llvm::divideCeil(width, tileRows);
  if (!tiles)
    return;
  int64_t height = llvm::divideCeil(width, tiles), higher = width - tiles * (height - 1);
  loop(b, i64(b, 0), i64(b, higher * height), height,
       [&](Value column) { emitTile(column, height); });
  if (higher < tiles && height > 1)
    loop(b, i64(b, higher * height), i64(b, width), height - 1,
         [&](Value column) { emitTile(column, height - 1); });
}

void DenseAttention::emitResults(const Queries &at) {
  int64_t line = lineOf(at.panels), width = shape.width();
  int64_t rowBytes = llvm::alignTo(width, lanes) * 4, whole = width / lanes * lanes;
  for (int64_t p = 0; p < at.panels; ++p) {
    Value most = loadVector(vectorAt(mostAt, p));
    Value isNone = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, most,
                                         splat(-std::numeric_limits<double>::infinity()));
    Value inverse = arith::DivFOp::create(b, splat(1), loadVector(vectorAt(sumsAt, p)));
    inverse = arith::SelectOp::create(b, isNone, splat(0), inverse);
    Value lines = vectorAt(resultsAt, p), rows = address(b, frame.scratch(), rowsAt);
    // Elements `column` .. of all queries; what follows the last line is scratch too.
    loop(b, i64(b, 0), i64(b, width), lanes, [&](Value column) {
      SmallVector<Value> vectors;
      for (int64_t i = 0; i < lanes; ++i) {
        Value number = frame.min(frame.add(column, i64(b, i)), i64(b, width - 1));
        vectors.push_back(
            arith::MulFOp::create(b, loadVector(address(b, lines, number, line)), inverse));
      }
      for (auto [i, vector] : llvm::enumerate(emitTranspose(b, vectors)))
        store(b, vector, address(b, rows, column, 4, int64_t(i) * rowBytes), 64);
    });
    Value first = frame.add(at.row, i64(b, p * lanes));
    Value to = rowAddress(shape.y, at.batch, at.head, first);
    Value count = frame.min(frame.sub(at.count, i64(b, p * lanes)), i64(b, lanes));
    loop(b, i64(b, 0), count, 1, [&](Value row) {
      Value source = address(b, rows, row, rowBytes),
            target = address(b, to, row, shape.y.rowBytes);
      for (int64_t column = 0; column < whole; column += lanes)
        store(b, load(b, floats(), address(b, source, column * 4), 64),
              address(b, target, column * 4), 4);
      loop(b, i64(b, whole), i64(b, width), 1, [&](Value column) {
        store(b, load(b, b.getF32Type(), address(b, source, column, 4), 4),
              address(b, target, column, 4), 4);
      });
    });
  }
}

const KernelEmitter &kiln::denseAttentionEmitter() {
  static constexpr KernelEmitter emitter = {
      "attention-dense",
      [](exec::KernelOp kernel, const Target &) -> std::optional<std::string> {
        std::string reason;
        if (DenseAttentionShape::match(kernel, reason))
          return std::nullopt;
        return reason;
      },
      [](exec::KernelOp kernel, const Target &target, OpBuilder &builder) -> FailureOr<KernelCode> {
        std::string reason;
        std::optional<DenseAttentionShape> shape = DenseAttentionShape::match(kernel, reason);
        if (!shape)
          return kernel.emitOpError() << "has no attention over arrays: " << reason;
        return DenseAttention(kernel, target, builder, *shape).emit();
      }};
  return emitter;
}
