// Attention exactly as the op describes it, in scalar loops. An item is a kv head: it appends that
// head's keys and values of all rows first, then computes the query heads that share it, so items
// never touch each other's memory. Softmax in two passes over scores kept in scratch: maximum, then
// sum of exponentials (the first is subtracted, so nothing overflows). Everything is f32.
#include "codegen/reference/ReferenceAttention.h"
#include "codegen/EmitSupport.h"
#include "codegen/HalfFloat.h"
#include "codegen/reference/OneRow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

graph::AttentionOp kiln::findAttention(exec::KernelOp kernel) {
  auto ops = kernel.getBody().getOps<graph::AttentionOp>();
  return ops.empty() ? graph::AttentionOp() : *ops.begin();
}

std::optional<std::string> kiln::refuseReferenceAttention(exec::KernelOp kernel) {
  if (!llvm::hasSingleElement(kernel.getBody().getOps<graph::AttentionOp>()))
    return "one kernel holds several attention ops";
  graph::AttentionOp op = findAttention(kernel);
  auto yield = cast<graph::YieldOp>(kernel.getBody().front().getTerminator());
  for (Value result : yield.getOperands())
    if (result != op.getResult() && !result.getDefiningOp<graph::WorkspaceOp>())
      return "attention must be the kernel's only result";
  if (yield.getNumOperands() == 0 || yield.getOperand(0) != op.getResult() ||
      !op.getResult().hasOneUse())
    return "attention must be the kernel's first result";
  if (!isa<BlockArgument>(op.getCache()) || !isa<BlockArgument>(op.getBlockTable()))
    return "the cache and the block table must be parameters of the kernel";
  if (op.getLayer() != 0)
    return "the layer must be bound by the launch";
  return std::nullopt;
}

/// Columns of the block table, as an expression over the dims.
static AffineExpr tableColumns(KernelFrame &frame, RankedTensorType table) {
  MLIRContext *context = table.getContext();
  if (!table.isDynamicDim(1))
    return getAffineConstantExpr(table.getDimSize(1), context);
  // The last symbol names the last dynamic dim; a matrix of one column has it as its rows.
  FlatSymbolRefAttr symbol = graph::getDims(table).getSymbols().back();
  auto probe = RankedTensorType::get({ShapedType::kDynamic}, table.getElementType(),
                                     graph::DimsAttr::get(context, symbol));
  return frame.rowsExprOf(probe);
}

AffineExpr kiln::referenceScoreBytes(KernelFrame &frame, graph::AttentionOp op) {
  auto table = cast<RankedTensorType>(op.getBlockTable().getType());
  int64_t pageBytes = llvm::alignTo(op.getCache().getType().getPageSize() * 4, 64);
  return tableColumns(frame, table) * pageBytes;
}

namespace {

class Attention {
public:
  Attention(KernelFrame &frame, exec::KernelOp kernel, Value scores)
      : frame(frame), b(frame.builder()), kernel(kernel), op(findAttention(kernel)),
        cache(op.getCache().getType()), scores(scores),
        elementBytes(cache.getElementType().getIntOrFloatBitWidth() / 8) {}

  LogicalResult emit() {
    loop(b, frame.begin(), frame.end(), 1, [&](Value kvHead) {
      Value rows = frame.rowsOf(op.getQuery().getType());
      loop(b, constant(0), rows, 1, [&](Value row) { append(kvHead, row); });
      loop(b, constant(0), rows, 1, [&](Value row) { attend(kvHead, row); });
    });
    return failure(failed);
  }

private:
  Value constant(int64_t value) { return i64(b, value); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value mul(Value x, int64_t y) { return arith::MulIOp::create(b, x, constant(y)); }

  /// A value that could not be built has reported why; emission goes on with poison and fails.
  Value checked(FailureOr<Value> value, Type otherwise) {
    if (succeeded(value))
      return *value;
    failed = true;
    return LLVM::PoisonOp::create(b, otherwise);
  }
  Value indexOf(OneRow &rows, Value indices, Value row) {
    return checked(rows.index(indices, row), b.getI64Type());
  }
  /// Row `row` of q, k or v, as a tensor; null after a failure.
  Value rowOf(OneRow &rows, Value value, Value row) {
    FailureOr<Value> tensor = rows.row(value, row);
    if (succeeded(tensor))
      return *tensor;
    failed = true;
    return {};
  }
  Value element(Value tensor, Value column) {
    if (!tensor)
      return frame.constantF32(0);
    Value zero = arith::ConstantIndexOp::create(b, 0);
    Value index = arith::IndexCastOp::create(b, b.getIndexType(), column);
    return tensor::ExtractOp::create(b, tensor, ValueRange{zero, index});
  }

  /// The page of `slot` that holds `position`, of this kernel's layer.
  Value page(Value slot, Value position) {
    auto table = cast<RankedTensorType>(op.getBlockTable().getType());
    auto argument = cast<BlockArgument>(op.getBlockTable());
    int64_t stride = kernel.getRowStrides()[argument.getArgNumber()];
    Value columns;
    if (stride > 0)
      columns = constant(stride);
    else if (table.isDynamicDim(1))
      columns = frame.dim(graph::getDims(table).getSymbols().back());
    else
      columns = constant(table.getDimSize(1));
    Value place =
        add(arith::MulIOp::create(b, slot, columns), frame.floorDiv(position, cache.getPageSize()));
    Type element = table.getElementType();
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    Value index =
        load(b, element, address(b, frame.buffer(argument.getArgNumber()), place, bytes), bytes);
    if (bytes < 8)
      index = arith::ExtSIOp::create(b, b.getI64Type(), index);
    Value base = frame.buffer(cast<BlockArgument>(op.getCache()).getArgNumber());
    return address(b, base, index, cache.getLayerPageBytes());
  }
  /// A head's keys and values in a page.
  Value keysOf(Value page, Value kvHead) {
    return address(b, page, kvHead, cache.getHeadPageBytes());
  }
  Value valuesOf(Value page, Value kvHead) {
    return address(b, page, kvHead, cache.getHeadPageBytes(), cache.getLayerPageBytes() / 2);
  }
  /// Where [d][place] of a head's keys, [place][d] of its values, [place] of the scales of either
  /// lies.
  Value keyAddress(Value keys, Value d, Value place) {
    return address(b, keys, add(mul(d, cache.getPageSize()), place), elementBytes);
  }
  Value valueAddress(Value values, Value d, Value place) {
    return address(b, values, add(mul(place, cache.getHeadDim()), d), elementBytes);
  }
  Value scaleAddress(Value codes, Value place) {
    return address(b, codes, place, 4, cache.getPageSize() * cache.getHeadDim() * elementBytes);
  }
  /// An element of `codes` (keys or values of a head) of position `place`.
  Value loadCached(Value address, Value codes, Value place) {
    if (cache.getElementType().isF32())
      return load(b, b.getF32Type(), address, 4);
    if (cache.getElementType().isF16())
      return emitHalfToFloat(b, load(b, b.getI16Type(), address, 2));
    Value code = arith::SIToFPOp::create(b, b.getF32Type(), load(b, b.getI8Type(), address, 1));
    return arith::MulFOp::create(b, code, load(b, b.getF32Type(), scaleAddress(codes, place), 4));
  }
  /// `factor`: 1 / scale where the cache has scales.
  void storeCached(Value value, Value address, Value factor) {
    if (cache.getElementType().isF32())
      return store(b, value, address, 4);
    if (cache.getElementType().isF16())
      return store(b, emitFloatToHalf(b, value), address, 2);
    Value rounded = math::RoundEvenOp::create(b, arith::MulFOp::create(b, value, factor));
    store(b, arith::FPToSIOp::create(b, b.getI8Type(), rounded), address, 1);
  }
  /// Stores max|x| / 127 over the head's elements of a row and returns its inverse; nothing where
  /// the cache has no scales.
  Value storeScale(Value row, Value first, Value address) {
    if (!cache.hasScales())
      return {};
    Value peak =
        loop(b, constant(0), constant(cache.getHeadDim()), 1, ValueRange{frame.constantF32(0)},
             [&](Value d, ValueRange carried) -> SmallVector<Value> {
               Value size = math::AbsFOp::create(b, element(row, add(first, d)));
               return {arith::MaximumFOp::create(b, carried[0], size)};
             })[0];
    store(b, arith::MulFOp::create(b, peak, frame.constantF32(1.0 / 127)), address, 4);
    Value positive =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, peak, frame.constantF32(0x1p-100));
    return arith::SelectOp::create(
        b, positive, arith::DivFOp::create(b, frame.constantF32(127), peak), frame.constantF32(0));
  }
  Value placeInPage(Value position) {
    return arith::RemUIOp::create(b, position, constant(cache.getPageSize()));
  }

  void append(Value kvHead, Value row) {
    OneRow rows(frame, kernel);
    Value position = indexOf(rows, op.getPositions(), row);
    Value slot = indexOf(rows, op.getSlots(), row);
    Value key = rowOf(rows, op.getKey(), row), value = rowOf(rows, op.getValue(), row);
    Value target = page(slot, position), place = placeInPage(position);
    Value first = mul(kvHead, cache.getHeadDim());
    Value keys = keysOf(target, kvHead), values = valuesOf(target, kvHead);
    Value keyFactor = storeScale(key, first, scaleAddress(keys, place));
    Value valueFactor = storeScale(value, first, scaleAddress(values, place));
    loop(b, constant(0), constant(cache.getHeadDim()), 1, [&](Value d) {
      Value column = add(first, d);
      storeCached(element(key, column), keyAddress(keys, d, place), keyFactor);
      storeCached(element(value, column), valueAddress(values, d, place), valueFactor);
    });
  }

  Value scoreAddress(Value position) { return address(b, scores, position, 4); }

  /// The slope of a query head's linear bias.
  Value slopeOf(Value head) {
    SmallVector<float> slopes(*op.getSlopes());
    auto type = RankedTensorType::get({int64_t(slopes.size())}, b.getF32Type());
    Value table =
        arith::ConstantOp::create(b, DenseElementsAttr::get(type, ArrayRef<float>(slopes)));
    Value index = arith::IndexCastOp::create(b, b.getIndexType(), head);
    return tensor::ExtractOp::create(b, table, ValueRange{index});
  }

  /// scores[p] = scale * q . k[p], limited and biased, for `from` <= p < `count`; returns the
  /// maximum.
  Value score(Value query, Value first, Value kvHead, Value head, Value slot, Value from,
              Value count) {
    Value lowest = frame.constantF32(-std::numeric_limits<float>::infinity());
    return loop(b, from, count, 1, ValueRange{lowest},
                [&](Value position, ValueRange carried) -> SmallVector<Value> {
                  Value keys = keysOf(page(slot, position), kvHead), place = placeInPage(position);
                  Value dot = loop(b, constant(0), constant(cache.getHeadDim()), 1,
                                   ValueRange{frame.constantF32(0)},
                                   [&](Value d, ValueRange sum) -> SmallVector<Value> {
                                     Value q = element(query, add(first, d));
                                     Value k = loadCached(keyAddress(keys, d, place), keys, place);
                                     Value product = arith::MulFOp::create(b, q, k);
                                     return {arith::AddFOp::create(b, sum[0], product)};
                                   })[0];
                  Value scale = frame.constantF32(op.getScale().convertToDouble());
                  Value scaled = arith::MulFOp::create(b, dot, scale);
                  if (std::optional<APFloat> limit = op.getSoftcap()) {
                    double size = limit->convertToDouble();
                    scaled = arith::MulFOp::create(b, scaled, frame.constantF32(1 / size));
                    scaled = math::TanhOp::create(b, scaled);
                    scaled = arith::MulFOp::create(b, scaled, frame.constantF32(size));
                  }
                  if (op.getSlopes()) {
                    Value last = arith::SubIOp::create(b, count, constant(1));
                    Value apart = arith::SubIOp::create(b, position, last);
                    Value bias = arith::MulFOp::create(
                        b, slopeOf(head), arith::SIToFPOp::create(b, b.getF32Type(), apart));
                    scaled = arith::AddFOp::create(b, scaled, bias);
                  }
                  store(b, scaled, scoreAddress(position), 4);
                  return {arith::MaximumFOp::create(b, carried[0], scaled)};
                })[0];
  }

  /// scores[p] = exp(scores[p] - maximum); returns their sum.
  Value exponentiate(Value maximum, Value from, Value count) {
    return loop(b, from, count, 1, ValueRange{frame.constantF32(0)},
                [&](Value position, ValueRange sum) -> SmallVector<Value> {
                  Value score = load(b, b.getF32Type(), scoreAddress(position), 4);
                  Value difference = arith::SubFOp::create(b, score, maximum);
                  Value weight = math::ExpOp::create(b, difference);
                  store(b, weight, scoreAddress(position), 4);
                  return {arith::AddFOp::create(b, sum[0], weight)};
                })[0];
  }

  void attend(Value kvHead, Value row) {
    OneRow rows(frame, kernel);
    Value position = indexOf(rows, op.getPositions(), row);
    Value slot = indexOf(rows, op.getSlots(), row);
    Value query = rowOf(rows, op.getQuery(), row);
    Value count = add(position, constant(1)), from = constant(0);
    if (op.getLengths())
      count = indexOf(rows, op.getLengths(), slot);
    if (op.getWindow())
      from = arith::MaxSIOp::create(
          b, arith::SubIOp::create(b, count, constant(int64_t(*op.getWindow()))), from);
    int64_t sharing = op.getHeads() / op.getKvHeads(), headDim = cache.getHeadDim();
    int64_t stride = kernel.getRowStrides()[kernel.getBody().getNumArguments()];
    Value output = address(b, frame.writeBuffer(0), row,
                           (stride ? stride : int64_t(op.getHeads()) * headDim) * 4);
    loop(b, constant(0), constant(sharing), 1, [&](Value share) {
      Value head = add(mul(kvHead, sharing), share), first = mul(head, headDim);
      Value maximum = score(query, first, kvHead, head, slot, from, count);
      Value sum = exponentiate(maximum, from, count);
      loop(b, constant(0), constant(headDim), 1, [&](Value d) {
        Value total = loop(b, from, count, 1, ValueRange{frame.constantF32(0)},
                           [&](Value position, ValueRange carried) -> SmallVector<Value> {
                             Value weight = load(b, b.getF32Type(), scoreAddress(position), 4);
                             Value values = valuesOf(page(slot, position), kvHead);
                             Value place = placeInPage(position);
                             Value v = loadCached(valueAddress(values, d, place), values, place);
                             Value product = arith::MulFOp::create(b, weight, v);
                             return {arith::AddFOp::create(b, carried[0], product)};
                           })[0];
        Value mean = arith::DivFOp::create(b, total, sum);
        store(b, mean, address(b, output, add(first, d), 4), 4);
      });
    });
  }

  KernelFrame &frame;
  ImplicitLocOpBuilder &b;
  exec::KernelOp kernel;
  graph::AttentionOp op;
  graph::CacheType cache;
  Value scores;
  int64_t elementBytes;
  bool failed = false;
};

} // namespace

LogicalResult kiln::emitReferenceAttention(KernelFrame &frame, exec::KernelOp kernel,
                                           Value scores) {
  return Attention(frame, kernel, scores).emit();
}
