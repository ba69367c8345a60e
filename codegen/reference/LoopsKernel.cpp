// The emitter "loops": kernels that only look rows up, normalise them and compute elementwise. An
// item is a row; its columns are computed 16 at a time in registers, from the loads to the stores
// of the whole region, and what is left over one by one. Values are built on demand, as in OneRow,
// but as vectors. A norm's mean and factor are found before, in passes of their own over its input.
#include "codegen/EmitSupport.h"
#include "codegen/HalfFloat.h"
#include "codegen/KernelFrame.h"
#include "codegen/reference/Reference.h"
#include "codegen/reference/StoredElement.h"
#include "codegen/reference/VectorizeBody.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t kLanes = PanelLayout::kPanelRows;

static RankedTensorType tensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

static bool isElementwise(Operation *op) {
  auto fusable = dyn_cast<graph::FusableOpInterface>(op);
  return fusable && fusable.getFusionKind() == graph::FusionKind::Elementwise;
}

/// Norms of whole rows.
static bool isNorm(Operation *op) {
  return isa<graph::RmsNormOp, graph::LayerNormOp>(op) &&
         cast<graph::FusableOpInterface>(op).getFusionKind() == graph::FusionKind::RowReduction;
}

// ---- What is taken --------------------------------------------------------------------------

/// Whether a value is 16 f32 of consecutive memory for any column.
static bool isContiguous(Value value) {
  return isa<BlockArgument>(value) && !graph::getStored(value.getType());
}

static std::optional<std::string> refuseOp(Operation *op) {
  if (isa<graph::YieldOp>(op))
    return std::nullopt;
  if (auto constant = dyn_cast<graph::ConstantOp>(op))
    return isa<SplatElementsAttr>(constant.getValue())
               ? std::nullopt
               : std::optional<std::string>("a constant has several values");
  if (auto slice = dyn_cast<graph::SliceOp>(op)) {
    if (isContiguous(slice.getInput()) || slice.getOffset() % kLanes == 0)
      return std::nullopt;
    return "a slice of a computed value starts inside 16 columns";
  }
  if (auto embed = dyn_cast<graph::EmbedOp>(op)) {
    graph::StoredAttr stored = graph::getStored(embed.getTable().getType());
    if (!isa<BlockArgument>(embed.getTable()) || !isa<BlockArgument>(embed.getIds()))
      return "an embedding's table and ids must be parameters of the kernel";
    if (!stored || stored.getLayout() != kPanelLayoutName)
      return "an embedding's table is not stored in panels";
    return refuseStoredElement(tensorType(embed.getTable()));
  }
  if (auto gather = dyn_cast<graph::GatherOp>(op))
    return isa<BlockArgument>(gather.getRows())
               ? std::nullopt
               : std::optional<std::string>("gathered rows must be a parameter of the kernel");
  if (isElementwise(op))
    return std::nullopt;
  if (isNorm(op)) {
    for (Value vector : op->getOperands().drop_front())
      if (!isa<BlockArgument>(vector))
        return "a norm's weight is computed in the kernel";
    return std::nullopt;
  }
  return (op->getName().getStringRef() + " is neither a row lookup, a norm nor elementwise").str();
}

static std::optional<std::string> refuse(exec::KernelOp kernel, const Target &) {
  for (BlockArgument argument : kernel.getBody().getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    graph::StoredAttr stored = graph::getStored(argument.getType());
    if (type && stored && type.getRank() == 1 &&
        (stored.getFormat() != "f32" || stored.getLayout() != kRowsLayoutName))
      return "a vector of weights is not stored as f32";
    if (type && stored && type.getRank() == 2 &&
        !llvm::all_of(argument.getUsers(), llvm::IsaPred<graph::EmbedOp>))
      return "a matrix of weights is not an embedding's table";
  }
  for (Operation &op : kernel.getBody().front())
    if (auto reason = refuseOp(&op))
      return reason;
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  if (yield.getNumOperands() == 0)
    return "the kernel has no result";
  RankedTensorType first = tensorType(yield.getOperand(0));
  for (Value value : yield.getValues()) {
    RankedTensorType type = tensorType(value);
    if (type.getRank() != 2 || !type.getElementType().isF32())
      return "a result is no matrix of f32";
    if (type.getDimSize(0) != first.getDimSize(0) ||
        graph::getRowSymbol(type) != graph::getRowSymbol(first))
      return "results have different numbers of rows";
  }
  for (Operation &op : kernel.getBody().front())
    if (isNorm(&op) && graph::getRowSymbol(op.getResult(0).getType()) != graph::getRowSymbol(first))
      return "rows are picked from a norm's result";
  return std::nullopt;
}

// ---- Values ---------------------------------------------------------------------------------

namespace {

/// What a norm needs of its row: f32 scalars.
struct NormFactors {
  Value mean, inverse; // no mean: RMS
};
using RowNorms = llvm::DenseMap<Operation *, NormFactors>;

/// Builds columns [column, column + lanes) of row `row` of a kernel's values: vectors of 16 f32, or
/// with one lane scalars.
class ColumnTile {
public:
  ColumnTile(KernelFrame &frame, exec::KernelOp kernel, const RowNorms &norms, int64_t lanes)
      : frame(frame), b(frame.builder()), kernel(kernel), norms(norms), lanes(lanes) {}

  /// Null after a failure, which has been reported.
  Value get(Value value, Value row, Value column) {
    Value &known = values[{value, row, column}];
    if (known)
      return known;
    Value built = build(value, row, column);
    return values[{value, row, column}] = built;
  }

private:
  Type type() { return lanes == 1 ? Type(b.getF32Type()) : vectorOf(lanes, b.getF32Type()); }

  Value loadColumns(Value base, Value column) {
    return load(b, type(), address(b, base, column, 4), 4);
  }

  Value build(Value value, Value row, Value column) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      Value base = frame.buffer(argument.getArgNumber());
      if (tensorType(argument).getRank() == 1)
        return loadColumns(base, column);
      int64_t stride = kernel.getRowStrides()[argument.getArgNumber()];
      stride = stride ? stride : tensorType(argument).getDimSize(1);
      return loadColumns(address(b, base, row, stride * 4), column);
    }
    return llvm::TypeSwitch<Operation *, Value>(value.getDefiningOp())
        .Case<graph::ConstantOp>([&](graph::ConstantOp op) -> Value {
          float element = cast<SplatElementsAttr>(op.getValue()).getSplatValue<float>();
          if (lanes == 1)
            return frame.constantF32(element);
          return splatConstant(b, vectorOf(lanes, b.getF32Type()), element);
        })
        .Case<graph::SliceOp>([&](graph::SliceOp op) {
          return get(op.getInput(), row, frame.add(column, frame.constant(op.getOffset())));
        })
        .Case<graph::GatherOp>([&](graph::GatherOp op) {
          return get(op.getInput(), index(op.getRows(), row), column);
        })
        .Case<graph::EmbedOp>([&](graph::EmbedOp op) {
          return embed(op.getTable(), index(op.getIds(), row), column);
        })
        .Case<graph::RmsNormOp, graph::LayerNormOp>(
            [&](Operation *op) { return normalize(op, row, column); })
        .Default([&](Operation *op) -> Value {
          SmallVector<Value> operands;
          for (Value operand : op->getOperands()) {
            operands.push_back(get(operand, row, column));
            if (!operands.back())
              return {};
          }
          return emitElementwise(b, op, operands);
        });
  }

  Value inLanes(Value scalar) { return lanes == 1 ? scalar : broadcast(b, scalar, lanes); }

  Value normalize(Operation *op, Value row, Value column) {
    const NormFactors &factors = norms.at(op);
    Value x = get(op->getOperand(0), row, column);
    if (!x)
      return {};
    if (factors.mean)
      x = arith::SubFOp::create(b, x, inLanes(factors.mean));
    x = arith::MulFOp::create(b, x, inLanes(factors.inverse));
    x = arith::MulFOp::create(b, x, get(op->getOperand(1), row, column));
    if (op->getNumOperands() > 2)
      x = arith::AddFOp::create(b, x, get(op->getOperand(2), row, column));
    return x;
  }

  /// Element `row` of a parameter of indices, as i64.
  Value index(Value indices, Value row) {
    Value &known = values[{indices, row, Value()}];
    if (known)
      return known;
    Type element = tensorType(indices).getElementType();
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    Value base = frame.buffer(cast<BlockArgument>(indices).getArgNumber());
    Value value = load(b, element, address(b, base, row, bytes), bytes);
    if (bytes < 8)
      value = arith::ExtSIOp::create(b, b.getI64Type(), value);
    return values[{indices, row, Value()}] = value;
  }

  /// `count` scalars that lie `step` bytes apart, as a vector.
  Value loadApart(Type element, Value first, int64_t count, int64_t step) {
    SmallVector<Value> elements;
    for (int64_t i = 0; i < count; ++i)
      elements.push_back(
          load(b, element, address(b, first, i * step), element.getIntOrFloatBitWidth() / 8));
    return vector::FromElementsOp::create(b, vectorOf(count, element), elements);
  }

  /// Columns of a row of a table in panels; `column` is a multiple of 16 where there are 16 lanes.
  Value embed(Value table, Value row, Value column) {
    RankedTensorType type = tensorType(table);
    Value base = frame.buffer(cast<BlockArgument>(table).getArgNumber());
    if (lanes == 1)
      return emitStoredElement(b, base, type, {row, column});
    PanelLayout layout(*findFormat(graph::getStored(type).getFormat()), type.getDimSize(0),
                       type.getDimSize(1));
    Value lane = arith::RemUIOp::create(b, row, frame.constant(kLanes));
    Value panel = address(b, base, frame.floorDiv(row, kLanes), layout.panelBytes());
    switch (layout.getFormat().id) {
    case FormatId::F32: // [depth][16]
      return loadApart(b.getF32Type(), elementOf(panel, column, lane, 4), kLanes, kLanes * 4);
    case FormatId::F16:
      return emitHalfToFloat(
          b, loadApart(b.getI16Type(), elementOf(panel, column, lane, 2), kLanes, kLanes * 2));
    case FormatId::BF16: { // [depth/2][16][2]
      Value pairs = loadApart(b.getI32Type(), elementOf(panel, frame.floorDiv(column, 2), lane, 4),
                              kLanes / 2, kLanes * 4);
      return emitBrainToFloat(
          b, vector::BitCastOp::create(b, vectorOf(kLanes, b.getI16Type()), pairs));
    }
    default:
      return integers(layout, panel, lane, column);
    }
  }

  /// Address of element [group][lane] of rows of 16.
  Value elementOf(Value panel, Value group, Value lane, int64_t bytes) {
    return address(b, panel, frame.add(frame.mul(group, frame.constant(kLanes)), lane), bytes);
  }

  /// scale * (code - zero) + min for half a group of 32.
  Value integers(const PanelLayout &layout, Value panel, Value lane, Value column) {
    const Format &format = layout.getFormat();
    VectorType intType = vectorOf(kLanes, b.getI32Type());
    Value codes = halfGroup(layout, panel, lane, column);
    if (format.table)
      codes = emitSelectEntry(b, codes, ArrayRef(format.table, 16));
    Value zero = splatConstant(b, intType, format.zero);
    Value centred = arith::SIToFPOp::create(b, vectorOf(kLanes, b.getF32Type()),
                                            arith::SubIOp::create(b, codes, zero));
    StoredScale scale = emitStoredScale(b, layout, panel, lane, column);
    Value product = arith::MulFOp::create(b, broadcast(b, scale.scale, kLanes), centred);
    return scale.min
               ? arith::AddFOp::create(b, product, broadcast(b, scale.min, kLanes)).getResult()
               : product;
  }

  /// The stored codes of 16 columns, i32: quads 4h .. 4h+3 of a group, h 0 or 1.
  Value halfGroup(const PanelLayout &layout, Value panel, Value lane, Value column) {
    int64_t bits = layout.getFormat().bits, lower = layout.lowerBits(), upper = bits - lower;
    Value half = arith::RemUIOp::create(b, frame.floorDiv(column, 16), frame.constant(2));
    Value lines = frame.mul(frame.floorDiv(column, 32), frame.constant(bits));
    auto word = [&](Value line) {
      return load(b, b.getI32Type(), elementOf(panel, frame.add(lines, line), lane, 4), 4);
    };
    Value narrow = arith::TruncIOp::create(b, b.getI32Type(), half);
    auto shifted = [&](Value from, int64_t perHalf, int64_t more, int64_t count) {
      auto constant = [&](int64_t value) {
        return arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(value)));
      };
      Value by = arith::AddIOp::create(b, arith::MulIOp::create(b, narrow, constant(perHalf)),
                                       constant(more));
      int64_t ones = 0x01010101 * ((int64_t(1) << count) - 1);
      return arith::AndIOp::create(b, arith::ShRUIOp::create(b, from, by), constant(ones));
    };
    Value pairs, top; // the lines that hold two bits of each quad of a half, or one of every quad
    if (lower == 2)
      pairs = word(half);
    if (upper == 2)
      pairs = word(frame.add(half, frame.constant(lower)));
    if (upper == 1)
      top = word(frame.constant(lower));
    SmallVector<Value> quads;
    for (int64_t p = 0; p < 4; ++p) {
      Value quad;
      if (lower == 8)
        quad = word(frame.add(frame.mul(half, frame.constant(4)), frame.constant(p)));
      else if (lower == 4)
        quad = shifted(word(frame.constant(p)), 4, 0, 4);
      else
        quad = shifted(pairs, 0, 2 * p, 2);
      auto add = [&](Value more) {
        Value moved = arith::ShLIOp::create(
            b, more, arith::ConstantOp::create(b, b.getI32IntegerAttr(int32_t(lower))));
        quad = arith::OrIOp::create(b, quad, moved);
      };
      if (upper == 2)
        add(shifted(pairs, 0, 2 * p, 2));
      if (upper == 1)
        add(shifted(top, 4, p, 1));
      quads.push_back(quad);
    }
    Value all = vector::FromElementsOp::create(b, vectorOf(4, b.getI32Type()), quads);
    Value codes = vector::BitCastOp::create(b, vectorOf(kLanes, b.getI8Type()), all);
    return arith::ExtUIOp::create(b, vectorOf(kLanes, b.getI32Type()), codes);
  }

  KernelFrame &frame;
  ImplicitLocOpBuilder &b;
  exec::KernelOp kernel;
  const RowNorms &norms;
  int64_t lanes;
  DenseMap<std::tuple<Value, Value, Value>, Value> values;
};

/// Finds the factors of a kernel's norms for one row.
class NormPass {
public:
  NormPass(KernelFrame &frame, exec::KernelOp kernel, Value row)
      : frame(frame), b(frame.builder()), kernel(kernel), row(row) {}

  /// False after a failure, which has been reported.
  bool run(RowNorms &norms) {
    for (Operation &op : kernel.getBody().front()) {
      if (!isNorm(&op))
        continue;
      int64_t columns = tensorType(op.getResult(0)).getDimSize(1);
      NormFactors factors;
      if (isa<graph::LayerNormOp>(op)) {
        factors.mean = average(norms, op.getOperand(0), columns, [](Value x, Value) { return x; });
        if (!factors.mean)
          return false;
      }
      Value squares = average(
          norms, op.getOperand(0), columns,
          [&](Value x, Value lanesOfMean) {
            if (lanesOfMean)
              x = arith::SubFOp::create(b, x, lanesOfMean);
            return arith::MulFOp::create(b, x, x).getResult();
          },
          factors.mean);
      if (!squares)
        return false;
      double eps = op.getAttrOfType<FloatAttr>("eps").getValueAsDouble();
      Value root =
          math::SqrtOp::create(b, arith::AddFOp::create(b, squares, frame.constantF32(eps)));
      factors.inverse = arith::DivFOp::create(b, frame.constantF32(1), root);
      norms[&op] = factors;
    }
    return true;
  }

private:
  /// The mean over the columns of `term(x, mean in as many lanes)`, a scalar; null after a failure.
  Value average(const RowNorms &norms, Value input, int64_t columns,
                llvm::function_ref<Value(Value, Value)> term, Value mean = {}) {
    int64_t full = columns / kLanes * kLanes;
    bool failed = false;
    auto sumOf = [&](int64_t from, int64_t to, int64_t lanes, Value initial) -> Value {
      if (from == to)
        return initial;
      Value wide = mean && lanes > 1 ? broadcast(b, mean, lanes) : mean;
      return loop(b, frame.constant(from), frame.constant(to), lanes, ValueRange{initial},
                  [&](Value column, ValueRange carried) {
                    Value x = ColumnTile(frame, kernel, norms, lanes).get(input, row, column);
                    failed |= !x;
                    Value added = x ? term(x, wide) : carried[0];
                    return SmallVector<Value>{arith::AddFOp::create(b, carried[0], added)};
                  })[0];
    };
    Value zeros = splatConstant(b, vectorOf(kLanes, b.getF32Type()), 0);
    Value sums = sumOf(0, full, kLanes, zeros);
    Value sum = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums);
    sum = sumOf(full, columns, 1, sum);
    if (failed)
      return {};
    return arith::MulFOp::create(b, sum, frame.constantF32(1.0 / double(columns)));
  }

  KernelFrame &frame;
  ImplicitLocOpBuilder &b;
  exec::KernelOp kernel;
  Value row;
};

} // namespace

static FailureOr<KernelCode> emitLoops(exec::KernelOp kernel, const Target &, OpBuilder &builder) {
  MLIRContext *context = kernel.getContext();
  context->loadDialect<arith::ArithDialect, func::FuncDialect, linalg::LinalgDialect,
                       LLVM::LLVMDialect, math::MathDialect, scf::SCFDialect, tensor::TensorDialect,
                       vector::VectorDialect>();
  KernelFrame frame(kernel, builder);
  ImplicitLocOpBuilder &b = frame.builder();
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  unsigned readCount = kernel.getBody().getNumArguments();
  bool failedValue = false;
  loop(b, frame.begin(), frame.end(), 1, [&](Value row) {
    RowNorms norms;
    if (!NormPass(frame, kernel, row).run(norms)) {
      failedValue = true;
      return;
    }
    for (auto [result, value] : llvm::enumerate(yield.getValues())) {
      int64_t columns = tensorType(value).getDimSize(1);
      int64_t stride = kernel.getRowStrides()[readCount + result];
      Value target = address(b, frame.writeBuffer(result), row, (stride ? stride : columns) * 4);
      auto emitColumns = [&](int64_t from, int64_t to, int64_t lanes) {
        if (from == to)
          return;
        loop(b, frame.constant(from), frame.constant(to), lanes, [&](Value column) {
          Value tile = ColumnTile(frame, kernel, norms, lanes).get(value, row, column);
          if (tile)
            store(b, tile, address(b, target, column, 4), 4);
          else
            failedValue = true;
        });
      };
      int64_t full = columns / kLanes * kLanes;
      emitColumns(0, full, kLanes);
      emitColumns(full, columns, 1);
    }
  });
  if (failedValue)
    return failure();
  unsigned dims = kernel.getDims().size();
  AffineExpr none = getAffineConstantExpr(0, context);
  return KernelCode{AffineMap::get(0, dims, frame.rowsExprOf(yield.getOperand(0).getType())),
                    AffineMap::get(0, dims, none)};
}

const KernelEmitter &kiln::loopsEmitter() {
  static const KernelEmitter emitter{"loops", refuse, emitLoops};
  return emitter;
}
