// The prologue of a contraction. A norm first reduces the row (layer_norm twice: mean, then
// squares); then it is scaled, quantized and written in one pass. Lanes past the logical columns
// are masked, so padding may hold anything.
//
// Int8 rows follow the symmetric scheme of the weights: scale = max|x| / 127 over 32 elements,
// code = round-to-nearest-even(x / scale). Int15 rows have codes 128 times as fine, in two bytes.
#include "codegen/PrepareRows.h"
#include "codegen/EmitSupport.h"
#include "codegen/SplitFloat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = 16;

std::optional<RowSource> RowSource::match(Value value, exec::KernelOp kernel, std::string &reason) {
  RowSource source;
  source.columns = cast<RankedTensorType>(value.getType()).getDimSize(1);
  if (Operation *op = value.getDefiningOp();
      isa_and_nonnull<graph::RmsNormOp, graph::LayerNormOp>(op)) {
    source.norm = op;
    for (Value vector : op->getOperands().drop_front())
      if (!isa<BlockArgument>(vector)) {
        reason = "the norm's weight is computed in the kernel";
        return std::nullopt;
      }
    value = op->getOperand(0);
  }
  if (auto gather = value.getDefiningOp<graph::GatherOp>()) {
    auto rows = dyn_cast<BlockArgument>(gather.getRows());
    if (!rows || !cast<RankedTensorType>(rows.getType()).getElementType().isInteger(32)) {
      reason = "rows are picked by something else than an i32 parameter";
      return std::nullopt;
    }
    source.picks = rows.getArgNumber();
    value = gather.getInput();
  }
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument) {
    reason = ("the left operand comes from " + value.getDefiningOp()->getName().getStringRef() +
              ", which has no row prologue")
                 .str();
    return std::nullopt;
  }
  source.parameter = argument.getArgNumber();
  source.stride = kernel.getRowStrides()[source.parameter];
  if (source.stride == 0) {
    reason = "the left operand is a weight, or its rows have no fixed length";
    return std::nullopt;
  }
  return source;
}

namespace {

/// Emits one row: knows how to read a chunk of 16 columns, normalised.
class RowEmitter {
public:
  RowEmitter(KernelFrame &frame, const RowSource &source, Value row)
      : frame(frame), b(frame.builder()), source(source), row(row),
        f32x16(vectorOf(lanes, b.getF32Type())) {
    if (auto norm = dyn_cast_or_null<graph::RmsNormOp>(source.norm))
      reduceRms(norm.getEps().convertToDouble());
    else if (auto norm = dyn_cast_or_null<graph::LayerNormOp>(source.norm))
      reduceLayer(norm.getEps().convertToDouble());
  }

  /// Columns column .. column+15 (an i64 value), zero past `valid`.
  Value chunk(Value column, int64_t valid) {
    Value x = raw(column, std::min(valid, lanes));
    if (source.norm) {
      if (mean)
        x = arith::SubFOp::create(b, x, mean);
      x = arith::MulFOp::create(b, arith::MulFOp::create(b, x, inverse), vectorAt(1, column));
      if (mean)
        x = arith::AddFOp::create(b, x, vectorAt(2, column));
    }
    return valid < lanes ? keepLanes(b, x, valid) : x;
  }

private:
  Value raw(Value column, int64_t valid) {
    Value at = address(b, row, column, 4);
    bool isPadded = source.stride >= int64_t(llvm::alignTo(source.columns, lanes));
    if (valid < lanes && !isPadded) { // another row follows, or nothing
      SmallVector<bool> seen;
      for (int64_t lane = 0; lane < lanes; ++lane)
        seen.push_back(lane < valid);
      Value mask = arith::ConstantOp::create(
          b, DenseElementsAttr::get(vectorOf(lanes, b.getI1Type()), seen));
      return LLVM::MaskedLoadOp::create(b, f32x16, at, mask, splatConstant(b, f32x16, 0), 4);
    }
    Value x = load(b, f32x16, at, 4);
    return valid < lanes ? keepLanes(b, x, valid) : x;
  }

  /// A norm's weight or bias: operand `index` of the norm.
  Value vectorAt(unsigned index, Value column) {
    unsigned argument = cast<BlockArgument>(source.norm->getOperand(index)).getArgNumber();
    return load(b, f32x16, address(b, frame.buffer(argument), column, 4), 64);
  }

  /// Sum over the row of `term(chunk)`, in four interleaved partial sums per lane.
  Value reduce(llvm::function_ref<Value(Value)> term) {
    int64_t whole = source.columns / lanes * lanes, rest = source.columns % lanes;
    Value zero = splatConstant(b, f32x16, 0);
    Value sum = loop(b, i64(b, 0), i64(b, whole), lanes, ValueRange{zero},
                     [&](Value column, ValueRange carried) {
                       return SmallVector<Value>{
                           arith::AddFOp::create(b, carried[0], term(raw(column, lanes)))};
                     })[0];
    if (rest)
      sum = arith::AddFOp::create(b, sum, keepLanes(b, term(raw(i64(b, whole), rest)), rest));
    return vector::ReductionOp::create(b, vector::CombiningKind::ADD, sum);
  }

  void finishNorm(Value sumOfSquares, double eps) {
    Value average = arith::MulFOp::create(b, sumOfSquares, f32(b, 1.0 / double(source.columns)));
    Value root = math::SqrtOp::create(b, arith::AddFOp::create(b, average, f32(b, eps)));
    inverse = broadcast(b, arith::DivFOp::create(b, f32(b, 1), root), lanes);
  }

  void reduceRms(double eps) {
    finishNorm(reduce([&](Value x) { return arith::MulFOp::create(b, x, x); }), eps);
  }

  void reduceLayer(double eps) {
    Value sum = reduce([](Value x) { return x; });
    mean = broadcast(b, arith::MulFOp::create(b, sum, f32(b, 1.0 / double(source.columns))), lanes);
    finishNorm(reduce([&](Value x) {
                 Value centered = arith::SubFOp::create(b, x, mean);
                 return arith::MulFOp::create(b, centered, centered);
               }),
               eps);
  }

  KernelFrame &frame;
  ImplicitLocOpBuilder &b;
  const RowSource &source;
  Value row; // address of the source row
  VectorType f32x16;
  Value mean, inverse; // splats; mean only for layer_norm
};

/// Writes rows in the form `rows` describes.
class RowWriter {
public:
  RowWriter(ImplicitLocOpBuilder &b, const PreparedRows &rows, int64_t columns, int64_t zero)
      : b(b), rows(rows), columns(columns), zero(zero), f32x16(vectorOf(lanes, b.getF32Type())) {}

  void write(RowEmitter &row, Value destination) {
    int64_t step = rows.kind == RowKind::F32 ? lanes : PreparedRows::kGroup;
    int64_t whole = columns / step;
    loop(b, i64(b, 0), i64(b, whole), 1,
         [&](Value index) { writeStep(row, destination, index, step); });
    for (int64_t index = whole; index * step < rows.depth; ++index)
      writeStep(row, destination, i64(b, index), columns - index * step);
  }

private:
  void writeStep(RowEmitter &row, Value destination, Value index, int64_t valid) {
    if (rows.kind == RowKind::F32) {
      Value column = arith::MulIOp::create(b, index, i64(b, lanes));
      store(b, chunkOrZero(row, column, valid), address(b, destination, index, 64), 64);
      return;
    }
    Value column = arith::MulIOp::create(b, index, i64(b, PreparedRows::kGroup));
    Value next = arith::AddIOp::create(b, column, i64(b, lanes));
    quantize(chunkOrZero(row, column, valid), chunkOrZero(row, next, valid - lanes), destination,
             index);
  }

  Value chunkOrZero(RowEmitter &row, Value column, int64_t valid) {
    return valid <= 0 ? splatConstant(b, f32x16, 0) : row.chunk(column, valid);
  }

  void quantize(Value low, Value high, Value destination, Value group) {
    Value magnitude =
        arith::MaximumFOp::create(b, math::AbsFOp::create(b, low), math::AbsFOp::create(b, high));
    Value peak = vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, magnitude);
    bool fine = rows.kind == RowKind::Int15;
    double largest = fine ? 127 * PreparedRows::kUpperCode : 127;
    Value scale = arith::MulFOp::create(b, peak, f32(b, 1.0 / largest));
    Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, peak, f32(b, 0x1p-120));
    Value inverse = arith::SelectOp::create(
        b, positive, arith::DivFOp::create(b, f32(b, largest), peak), f32(b, 0));
    Value factor = broadcast(b, inverse, lanes);
    SmallVector<Value> codes;
    for (auto [half, x] : {std::pair<int64_t, Value>(0, low), {1, high}}) {
      Value rounded = math::RoundEvenOp::create(b, arith::MulFOp::create(b, x, factor));
      Value code = arith::FPToSIOp::create(b, vectorOf(lanes, b.getI32Type()), rounded);
      codes.push_back(code);
      Value upper = code;
      if (fine) {
        upper = upperCode(code);
        Value joined = arith::ShLIOp::create(b, upper, sevenBits());
        storeBytes(arith::SubIOp::create(b, code, joined), destination, group,
                   rows.lower + half * lanes);
      }
      storeBytes(upper, destination, group, half * lanes);
    }
    store(b, scale, address(b, destination, group, 4, rows.scales), 4);
    if (rows.sumKind == SumKind::Offset && !zero)
      return;
    if (rows.sumGroup == PreparedRows::kGroup)
      codes = {arith::AddIOp::create(b, codes[0], codes[1])};
    int64_t count = int64_t(codes.size());
    for (auto [i, part] : llvm::enumerate(codes)) {
      Value total = vector::ReductionOp::create(b, vector::CombiningKind::ADD, part);
      store(b, keptSum(total, scale), address(b, destination, group, 4 * count, rows.sums + 4 * i),
            4);
    }
  }

  Value sevenBits() {
    static_assert(PreparedRows::kUpperCode == 1 << 7);
    return splatConstant(b, vectorOf(lanes, b.getI32Type()), 7);
  }
  /// The nearest multiple of 128 to a code, as what it is a multiple by.
  Value upperCode(Value code) {
    Value half = splatConstant(b, vectorOf(lanes, b.getI32Type()), 64);
    return arith::ShRSIOp::create(b, arith::AddIOp::create(b, code, half), sevenBits());
  }
  void storeBytes(Value codes, Value destination, Value group, int64_t offset) {
    Value bytes = arith::TruncIOp::create(b, vectorOf(lanes, b.getI8Type()), codes);
    store(b, bytes, address(b, destination, group, 32, offset), lanes);
  }

  /// A sum of codes (i32) as SumKind says.
  Value keptSum(Value total, Value scale) {
    if (rows.sumKind == SumKind::Value)
      return arith::MulFOp::create(b, arith::SIToFPOp::create(b, b.getF32Type(), total), scale);
    return arith::MulIOp::create(b, total,
                                 arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(-zero))));
  }

  ImplicitLocOpBuilder &b;
  const PreparedRows &rows;
  int64_t columns, zero;
  VectorType f32x16;
};

} // namespace

/// Address of row first + i (i64) of the source, through the picks.
static Value sourceRow(KernelFrame &frame, const RowSource &source, Value first, Value i) {
  ImplicitLocOpBuilder &b = frame.builder();
  Value index = arith::AddIOp::create(b, first, i);
  if (source.picks) {
    Value picked = load(b, b.getI32Type(), address(b, frame.buffer(*source.picks), index, 4), 4);
    index = arith::ExtSIOp::create(b, b.getI64Type(), picked);
  }
  return address(b, frame.buffer(source.parameter), index, source.stride * 4);
}

void kiln::emitPrepareRows(KernelFrame &frame, const RowSource &source, const PreparedRows &rows,
                           int64_t zero, Value first, Value count, Value destination) {
  ImplicitLocOpBuilder &b = frame.builder();
  loop(b, i64(b, 0), count, 1, [&](Value i) {
    emitPrepareRow(frame, source, rows, zero, sourceRow(frame, source, first, i),
                   address(b, destination, i, rows.stride));
  });
}

void kiln::emitPrepareRow(KernelFrame &frame, const RowSource &source, const PreparedRows &rows,
                          int64_t zero, Value row, Value destination) {
  RowEmitter emitter(frame, source, row);
  RowWriter(frame.builder(), rows, source.columns, zero).write(emitter, destination);
}

void kiln::emitPrepareTiles(KernelFrame &frame, const RowSource &source, const MatrixUnit &unit,
                            int64_t groups, int64_t parts, Value first, Value count,
                            Value destination, Value firstGroup) {
  ImplicitLocOpBuilder &b = frame.builder();
  VectorType f32x16 = vectorOf(lanes, b.getF32Type());
  auto lineOf = [&](Value i, Value group) {
    Value tile = address(b, destination, frame.floorDiv(i, MatrixUnit::kRows),
                         groups * parts * MatrixUnit::kTileBytes);
    Value line = arith::AndIOp::create(b, i, i64(b, MatrixUnit::kRows - 1));
    return address(b, address(b, tile, line, 64), group, parts * MatrixUnit::kTileBytes);
  };
  loop(b, i64(b, 0), count, 1, [&](Value i) {
    RowEmitter row(frame, source, sourceRow(frame, source, first, i));
    auto emitGroup = [&](Value group, int64_t valid) {
      Value halves[2];
      for (int64_t half = 0; half < 2; ++half) {
        int64_t left = valid - half * lanes;
        Value number = firstGroup ? frame.add(firstGroup, group) : group;
        Value column =
            frame.add(frame.mul(number, i64(b, MatrixUnit::kDepth)), i64(b, half * lanes));
        halves[half] = left > 0 ? row.chunk(column, left) : splatConstant(b, f32x16, 0);
      }
      SmallVector<Value> low{halves[0]}, high{halves[1]};
      if (parts > 1) {
        low = emitSplitFloat(b, halves[0]);
        high = emitSplitFloat(b, halves[1]);
      }
      Value line = lineOf(i, group);
      for (int64_t part = 0; part < parts; ++part)
        store(b, unit.packRow(b, low[size_t(part)], high[size_t(part)]),
              address(b, line, part * MatrixUnit::kTileBytes), 64);
    };
    int64_t whole = std::min(source.columns / MatrixUnit::kDepth, groups);
    loop(b, i64(b, 0), i64(b, whole), 1,
         [&](Value group) { emitGroup(group, MatrixUnit::kDepth); });
    for (int64_t group = whole; group < groups; ++group)
      emitGroup(i64(b, group), source.columns - group * MatrixUnit::kDepth);
  });
  Value end = frame.mul(frame.ceilDiv(count, 2 * MatrixUnit::kRows), i64(b, 2 * MatrixUnit::kRows));
  Value zero = splatConstant(b, vectorOf(MatrixUnit::kDepth, b.getBF16Type()), 0);
  loop(b, count, end, 1, [&](Value i) {
    loop(b, i64(b, 0), i64(b, groups), 1, [&](Value group) {
      for (int64_t part = 0; part < parts; ++part)
        store(b, zero, address(b, lineOf(i, group), part * MatrixUnit::kTileBytes), 64);
    });
  });
}
