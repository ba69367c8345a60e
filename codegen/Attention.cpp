// Emits kernels around attention over the paged KV cache. The region is, for each of query, key and
// value, [rope] [slice] of a parameter, then the attention. For each kv head:
//
//   for each token: rotate its key, append key and value of this head to the sequence's page
//   for each token: rotate the group's query heads; for each page up to the token's position
//     scores of 16 positions at a time, keys lying position-contiguous (ir/Graph: CacheType)
//     online softmax: running maximum and sum, older output rescaled (Milakov, Gimelshein 2018)
//     add probabilities times values
//
// Who attends with a head has appended all its tokens before, so no barrier is needed between them.
#include "codegen/Attention.h"
#include "codegen/EmitSupport.h"
#include "codegen/KernelFrame.h"
#include "codegen/SinCos.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = 16;
// Parts of the tokens of a head that workers may share out among them.
static constexpr int64_t tokenParts = 16;

namespace {

/// Where an operand of attention comes from: columns of a parameter, possibly rotated.
struct HeadSource {
  unsigned parameter = 0;
  int64_t offset = 0; // first column
  int64_t stride = 0; // elements from row to row
  graph::RopeOp rope;

  static std::optional<HeadSource> match(Value value, exec::KernelOp kernel, std::string &reason);
};

struct AttentionShape {
  graph::AttentionOp op;
  HeadSource query, key, value;
  int64_t group = 0;     // query heads that share a kv head
  int64_t headLanes = 0; // widest vector that divides head_dim

  static std::optional<AttentionShape> match(exec::KernelOp kernel, std::string &reason);
};

} // namespace

std::optional<HeadSource> HeadSource::match(Value value, exec::KernelOp kernel,
                                            std::string &reason) {
  HeadSource source;
  while (Operation *op = value.getDefiningOp()) {
    if (auto slice = dyn_cast<graph::SliceOp>(op)) {
      source.offset += slice.getOffset();
    } else if (auto rope = dyn_cast<graph::RopeOp>(op); rope && !source.rope && !source.offset) {
      source.rope = rope;
    } else {
      reason = ("an operand comes from " + op->getName().getStringRef()).str();
      return std::nullopt;
    }
    value = op->getOperand(0);
  }
  source.parameter = cast<BlockArgument>(value).getArgNumber();
  source.stride = kernel.getRowStrides()[source.parameter];
  if (source.rope && !isa<BlockArgument>(source.rope.getPositions())) {
    reason = "positions of rope are computed in the kernel";
    return std::nullopt;
  }
  return source;
}

/// The widest power of two up to 16 that divides `extent`.
static int64_t widestLanes(int64_t extent) { return std::min<int64_t>(lanes, extent & -extent); }

std::optional<AttentionShape> AttentionShape::match(exec::KernelOp kernel, std::string &reason) {
  AttentionShape shape;
  for (auto op : kernel.getBody().getOps<graph::AttentionOp>()) {
    if (shape.op) {
      reason = "more than one attention";
      return std::nullopt;
    }
    shape.op = op;
  }
  if (!shape.op) {
    reason = "no attention";
    return std::nullopt;
  }
  auto yield = kernel.getBody().front().getTerminator();
  if (yield->getNumOperands() != 1 || yield->getOperand(0) != shape.op.getResult()) {
    reason = "the attention's result is not the only result";
    return std::nullopt;
  }
  for (Value index : {shape.op.getPositions(), shape.op.getSlots(), shape.op.getBlockTable()})
    if (!isa<BlockArgument>(index) ||
        !cast<RankedTensorType>(index.getType()).getElementType().isInteger(32)) {
      reason = "positions, slots and block table are not i32 parameters";
      return std::nullopt;
    }
  for (auto [value, source] : {std::pair(shape.op.getQuery(), &shape.query),
                               {shape.op.getKey(), &shape.key},
                               {shape.op.getValue(), &shape.value}}) {
    std::optional<HeadSource> found = HeadSource::match(value, kernel, reason);
    if (!found)
      return std::nullopt;
    *source = *found;
  }
  if (shape.value.rope) {
    reason = "values are rotated";
    return std::nullopt;
  }
  graph::CacheType cache = shape.op.getCache().getType();
  if (cache.getPageSize() % lanes) {
    reason = "the page size is not a multiple of 16";
    return std::nullopt;
  }
  if (!cache.getElementType().isF32() && !cache.getElementType().isF16()) {
    reason = "the cache holds neither f32 nor f16";
    return std::nullopt;
  }
  shape.group = shape.op.getHeads() / shape.op.getKvHeads();
  shape.headLanes = widestLanes(shape.op.getHeadDim());
  return shape;
}

namespace {

class AttentionKernel {
public:
  AttentionKernel(exec::KernelOp kernel, OpBuilder &builder, AttentionShape matched)
      : kernel(kernel), shape(matched), frame(kernel, builder), b(frame.builder()),
        cache(shape.op.getCache().getType()), element(cache.getElementType()),
        elementBytes(element.getIntOrFloatBitWidth() / 8), headDim(shape.op.getHeadDim()),
        pageSize(cache.getPageSize()) {
    groupStep = shape.group;
    while (groupStep > 8 || shape.group % groupStep)
      --groupStep;
    chunks = 1;
    while (chunks * 2 * groupStep <= 8 && (pageSize / lanes) % (chunks * 2) == 0)
      chunks *= 2;
    f32Type = b.getF32Type();
    // Scratch: rotated queries and outputs of the group, scores of one page, sines and cosines.
    int64_t at = 0;
    auto reserve = [&](int64_t floats) {
      int64_t offset = at;
      at += llvm::alignTo(floats * 4, 64);
      return offset;
    };
    queryOffset = reserve(shape.group * headDim);
    outputOffset = reserve(shape.group * headDim);
    scoreOffset = reserve(shape.group * pageSize);
    sinOffset = reserve(headDim);
    cosOffset = reserve(headDim);
    scratchBytes = at;
  }

  KernelCode emit() {
    Value rows = frame.rowsOf(shape.op.getResult().getType());
    tableColumns =
        frame.dim(graph::getDims(shape.op.getBlockTable().getType()).getSymbols().back());
    // Items are (head, part of the tokens), parts fastest. A range appends all tokens of each head
    // it touches; two workers that share a head both do, and write the same bytes.
    Value firstHead = frame.floorDiv(frame.begin(), tokenParts);
    Value lastHead = frame.ceilDiv(frame.end(), tokenParts);
    loop(b, firstHead, lastHead, 1, [&](Value head) {
      Value firstItem = frame.mul(head, i64(b, tokenParts));
      auto tokenAt = [&](Value item) {
        Value part =
            frame.min(frame.max(frame.sub(item, firstItem), i64(b, 0)), i64(b, tokenParts));
        return frame.floorDiv(frame.mul(part, rows), tokenParts);
      };
      Value from = tokenAt(frame.begin()), to = tokenAt(frame.end());
      Value appended = arith::SelectOp::create(
          b, arith::CmpIOp::create(b, arith::CmpIPredicate::slt, from, to), rows, i64(b, 0));
      loop(b, i64(b, 0), appended, 1, [&](Value token) { emitAppend(head, token); });
      loop(b, from, to, 1, [&](Value token) { emitAttend(head, token); });
    });
    auto map = [&](int64_t value) {
      return AffineMap::get(0, kernel.getDims().size(),
                            getAffineConstantExpr(value, b.getContext()), b.getContext());
    };
    return {map(shape.op.getKvHeads() * tokenParts), map(scratchBytes)};
  }

private:
  Value argument(Value operand) {
    return frame.buffer(cast<BlockArgument>(operand).getArgNumber());
  }
  Value loadIndex(Value base, Value index) {
    return arith::ExtSIOp::create(b, b.getI64Type(),
                                  load(b, b.getI32Type(), address(b, base, index, 4), 4));
  }
  VectorType headVector() { return vectorOf(shape.headLanes, f32Type); }

  Value scratch(int64_t offset) { return address(b, frame.scratch(), offset); }

  /// Address of the page that holds positions page*pageSize… of the token's sequence.
  Value pageAddress(Value slot, Value page) {
    Value entry = frame.add(frame.mul(slot, tableColumns), page);
    Value id = loadIndex(argument(shape.op.getBlockTable()), entry);
    return address(b, argument(shape.op.getCache()), id, cache.getLayerPageBytes());
  }
  Value keysOf(Value page, Value head) {
    return address(b, page, head, headDim * pageSize * elementBytes);
  }
  Value valuesOf(Value page, Value head) {
    return address(b, page, head, headDim * pageSize * elementBytes,
                   shape.op.getKvHeads() * headDim * pageSize * elementBytes);
  }
  Value widen(Value loaded) {
    if (element.isF32())
      return loaded;
    auto type = cast<VectorType>(loaded.getType());
    return arith::ExtFOp::create(b, vectorOf(type.getNumElements(), f32Type), loaded);
  }

  // ---- Rotation ------------------------------------------------------------------------------

  /// Sines and cosines of the token's angles, to scratch.
  void emitAngles(graph::RopeOp rope, Value token) {
    int64_t half = rope.getRotaryDim() / 2, width = widestLanes(half);
    Value position = loadIndex(argument(rope.getPositions()), token);
    Value turns = broadcast(b, arith::SIToFPOp::create(b, b.getF64Type(), position), width);
    SmallVector<double> frequencies = rope.getFrequencies();
    for (int64_t at = 0; at < half; at += width) {
      SmallVector<double> chunk;
      for (double frequency : ArrayRef(frequencies).slice(at, width))
        chunk.push_back(frequency / (2 * M_PI));
      Value factor = arith::ConstantOp::create(
          b, DenseElementsAttr::get(vectorOf(width, b.getF64Type()), ArrayRef<double>(chunk)));
      auto [sin, cos] = emitSinCos(b, arith::MulFOp::create(b, turns, factor));
      store(b, sin, scratch(sinOffset + at * 4), 4);
      store(b, cos, scratch(cosOffset + at * 4), 4);
    }
  }

  /// Copies one head's row to `destination` (f32, scratch), rotated and scaled.
  void emitHeadRow(const HeadSource &source, Value row, Value destination, double scale) {
    auto scaled = [&](Value x) -> Value {
      if (scale == 1)
        return x;
      return arith::MulFOp::create(b, x, splatConstant(b, cast<VectorType>(x.getType()), scale));
    };
    int64_t rotated = 0;
    if (graph::RopeOp rope = source.rope) {
      rotated = rope.getRotaryDim();
      int64_t half = rotated / 2, width = widestLanes(half);
      VectorType type = vectorOf(width, f32Type);
      for (int64_t at = 0; at < half; at += width) {
        Value low = scaled(load(b, type, address(b, row, at * 4), 4));
        Value high = scaled(load(b, type, address(b, row, (at + half) * 4), 4));
        Value sin = load(b, type, scratch(sinOffset + at * 4), 4);
        Value cos = load(b, type, scratch(cosOffset + at * 4), 4);
        Value first = arith::SubFOp::create(b, arith::MulFOp::create(b, low, cos),
                                            arith::MulFOp::create(b, high, sin));
        Value second = arith::AddFOp::create(b, arith::MulFOp::create(b, high, cos),
                                             arith::MulFOp::create(b, low, sin));
        store(b, first, address(b, destination, at * 4), 4);
        store(b, second, address(b, destination, (at + half) * 4), 4);
      }
    }
    int64_t width = widestLanes(headDim - rotated ? headDim - rotated : 1);
    for (int64_t at = rotated; at < headDim; at += width) {
      VectorType type = vectorOf(width, f32Type);
      store(b, scaled(load(b, type, address(b, row, at * 4), 4)), address(b, destination, at * 4),
            4);
    }
  }

  Value sourceRow(const HeadSource &source, Value token, Value head) {
    Value row =
        address(b, frame.buffer(source.parameter), token, source.stride * 4, source.offset * 4);
    return address(b, row, head, headDim * 4);
  }

  // ---- Append ----------------------------------------------------------------------------------

  void emitAppend(Value head, Value token) {
    Value position = loadIndex(argument(shape.op.getPositions()), token);
    Value slot = loadIndex(argument(shape.op.getSlots()), token);
    Value page = pageAddress(slot, frame.floorDiv(position, pageSize));
    Value place = arith::RemUIOp::create(b, position, i64(b, pageSize));
    if (shape.key.rope)
      emitAngles(shape.key.rope, token);
    Value row = scratch(queryOffset);
    emitHeadRow(shape.key, sourceRow(shape.key, token, head), row, 1);
    Value keys = address(b, keysOf(page, head), place, elementBytes);
    loop(b, i64(b, 0), i64(b, headDim), 1, [&](Value d) {
      Value x = load(b, f32Type, address(b, row, d, 4), 4);
      if (!element.isF32())
        x = arith::TruncFOp::create(b, element, x);
      store(b, x, address(b, keys, d, pageSize * elementBytes), elementBytes);
    });
    Value values = address(b, valuesOf(page, head), place, headDim * elementBytes);
    Value source = sourceRow(shape.value, token, head);
    for (int64_t at = 0; at < headDim; at += shape.headLanes) {
      Value x = load(b, headVector(), address(b, source, at * 4), 4);
      if (!element.isF32())
        x = arith::TruncFOp::create(b, vectorOf(shape.headLanes, element), x);
      store(b, x, address(b, values, at * elementBytes), elementBytes);
    }
  }

  // ---- Attend ----------------------------------------------------------------------------------

  void emitAttend(Value head, Value token) {
    Value position = loadIndex(argument(shape.op.getPositions()), token);
    Value slot = loadIndex(argument(shape.op.getSlots()), token);
    Value count = frame.add(position, i64(b, 1));
    if (shape.query.rope)
      emitAngles(shape.query.rope, token);
    Value firstHead = frame.mul(head, i64(b, shape.group));
    Value zero = splatConstant(b, headVector(), 0);
    loop(b, i64(b, 0), i64(b, shape.group), 1, [&](Value g) {
      Value row = sourceRow(shape.query, token, frame.add(firstHead, g));
      emitHeadRow(shape.query, row, address(b, scratch(queryOffset), g, headDim * 4),
                  shape.op.getScale().convertToDouble());
      Value output = address(b, scratch(outputOffset), g, headDim * 4);
      for (int64_t at = 0; at < headDim; at += shape.headLanes)
        store(b, zero, address(b, output, at * 4), 4);
    });
    loop(b, i64(b, 0), i64(b, shape.group), groupStep, [&](Value firstOfStep) {
      queries = address(b, scratch(queryOffset), firstOfStep, headDim * 4);
      outputs = address(b, scratch(outputOffset), firstOfStep, headDim * 4);
      SmallVector<Value> initial(groupStep, f32(b, -1e30));
      initial.append(groupStep, f32(b, 0));
      Value pages = frame.ceilDiv(count, pageSize);
      SmallVector<Value> state =
          loop(b, i64(b, 0), pages, 1, initial, [&](Value page, ValueRange carried) {
            return emitPage(head, pageAddress(slot, page),
                            frame.sub(count, frame.mul(page, i64(b, pageSize))), carried);
          });
      for (int64_t g = 0; g < groupStep; ++g) {
        Value factor = broadcast(b, arith::DivFOp::create(b, f32(b, 1), state[groupStep + g]),
                                 shape.headLanes);
        Value row = address(b, frame.writeBuffer(0), token, kernel.getRowStrides().back() * 4,
                            g * headDim * 4);
        row = address(b, row, frame.add(firstHead, firstOfStep), headDim * 4);
        for (int64_t at = 0; at < headDim; at += shape.headLanes) {
          Value x = load(b, headVector(), address(b, outputs, (g * headDim + at) * 4), 4);
          store(b, arith::MulFOp::create(b, x, factor), address(b, row, at * 4), 4);
        }
      }
    });
  }

  /// One page of positions, of which `left` (>= 1, possibly more than a page) are the token's to
  /// see. Carried: running maxima, then running sums, of the heads of the step.
  SmallVector<Value> emitPage(Value head, Value page, Value left, ValueRange carried) {
    Value seen = frame.min(left, i64(b, pageSize));
    emitScores(keysOf(page, head), seen);
    SmallVector<Value> maxima, sums;
    for (int64_t g = 0; g < groupStep; ++g) {
      auto [maximum, sum] = emitSoftmax(g, seen, carried[g], carried[groupStep + g]);
      maxima.push_back(maximum);
      sums.push_back(sum);
    }
    emitWeightedValues(valuesOf(page, head), seen);
    maxima.append(sums);
    return maxima;
  }

  Value scoreAddress(int64_t g, Value position) {
    return address(b, scratch(scoreOffset + g * pageSize * 4), position, 4);
  }

  /// Scores of the page's positions, 16 * chunks at a time; what lies past `seen` is -1e30.
  void emitScores(Value keys, Value seen) {
    int64_t step = lanes * chunks;
    VectorType type = vectorOf(lanes, f32Type), keyType = vectorOf(lanes, element);
    SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
    Value lane = arith::ConstantOp::create(
        b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
    loop(b, i64(b, 0), seen, step, [&](Value first) {
      Value column = address(b, keys, first, elementBytes);
      SmallVector<Value> zeros(groupStep * chunks, splatConstant(b, type, 0));
      SmallVector<Value> scores =
          loop(b, i64(b, 0), i64(b, headDim), 1, zeros, [&](Value d, ValueRange carried) {
            SmallVector<Value> sums(carried);
            Value row = address(b, column, d, pageSize * elementBytes);
            for (int64_t c = 0; c < chunks; ++c) {
              Value key = widen(load(b, keyType, address(b, row, c * lanes * elementBytes),
                                     lanes * elementBytes));
              for (int64_t g = 0; g < groupStep; ++g) {
                Value query =
                    loadSplat(b, f32Type, address(b, queries, d, 4, g * headDim * 4), lanes);
                Value &sum = sums[g * chunks + c];
                sum = math::FmaOp::create(b, query, key, sum);
              }
            }
            return sums;
          });
      for (int64_t c = 0; c < chunks; ++c) {
        Value position = frame.add(first, i64(b, c * lanes));
        Value mask = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane,
                                           broadcast(b, frame.sub(seen, position), lanes));
        for (int64_t g = 0; g < groupStep; ++g) {
          Value masked = arith::SelectOp::create(b, mask, scores[g * chunks + c],
                                                 splatConstant(b, type, -1e30));
          store(b, masked, scoreAddress(g, position), 64);
        }
      }
    });
  }

  /// Turns head g's scores into probabilities relative to the new maximum; rescales its output.
  std::pair<Value, Value> emitSoftmax(int64_t g, Value seen, Value maximum, Value sum) {
    VectorType type = vectorOf(lanes, f32Type);
    Value peaks = loop(b, i64(b, 0), seen, lanes, ValueRange{splatConstant(b, type, -1e30)},
                       [&](Value position, ValueRange carried) {
                         Value x = load(b, type, scoreAddress(g, position), 64);
                         return SmallVector<Value>{arith::MaximumFOp::create(b, carried[0], x)};
                       })[0];
    Value peak = vector::ReductionOp::create(b, vector::CombiningKind::MAXIMUMF, peaks);
    Value newMaximum = arith::MaximumFOp::create(b, maximum, peak);
    Value shift = broadcast(b, newMaximum, lanes);
    Value total = loop(b, i64(b, 0), seen, lanes, ValueRange{splatConstant(b, type, 0)},
                       [&](Value position, ValueRange carried) {
                         Value at = scoreAddress(g, position);
                         Value x = arith::SubFOp::create(b, load(b, type, at, 64), shift);
                         Value p = math::ExpOp::create(b, x);
                         store(b, p, at, 64);
                         return SmallVector<Value>{arith::AddFOp::create(b, carried[0], p)};
                       })[0];
    Value added = vector::ReductionOp::create(b, vector::CombiningKind::ADD, total);
    Value change = arith::SubFOp::create(b, maximum, newMaximum);
    Value keep = vector::ExtractOp::create(b, math::ExpOp::create(b, broadcast(b, change, lanes)),
                                           ArrayRef<int64_t>{0});
    Value factor = broadcast(b, keep, shape.headLanes);
    for (int64_t at = 0; at < headDim; at += shape.headLanes) {
      Value place = address(b, outputs, (g * headDim + at) * 4);
      store(b, arith::MulFOp::create(b, load(b, headVector(), place, 4), factor), place, 4);
    }
    return {newMaximum, arith::AddFOp::create(b, arith::MulFOp::create(b, sum, keep), added)};
  }

  /// Adds probability times value over the page's seen positions to the outputs.
  void emitWeightedValues(Value values, Value seen) {
    loop(b, i64(b, 0), i64(b, headDim), shape.headLanes, [&](Value at) {
      SmallVector<Value> initial;
      for (int64_t g = 0; g < groupStep; ++g)
        initial.push_back(load(b, headVector(), address(b, outputs, at, 4, g * headDim * 4), 4));
      Value column = address(b, values, at, elementBytes);
      SmallVector<Value> sums =
          loop(b, i64(b, 0), seen, 1, initial, [&](Value position, ValueRange carried) {
            SmallVector<Value> next(carried);
            Value value =
                widen(load(b, vectorOf(shape.headLanes, element),
                           address(b, column, position, headDim * elementBytes), elementBytes));
            for (int64_t g = 0; g < groupStep; ++g)
              next[g] = math::FmaOp::create(
                  b, loadSplat(b, f32Type, scoreAddress(g, position), shape.headLanes), value,
                  next[g]);
            return next;
          });
      for (int64_t g = 0; g < groupStep; ++g)
        store(b, sums[g], address(b, outputs, at, 4, g * headDim * 4), 4);
    });
  }

  exec::KernelOp kernel;
  AttentionShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  graph::CacheType cache;
  Type element, f32Type;
  int64_t elementBytes, headDim, pageSize;
  int64_t groupStep; // query heads handled at once
  int64_t chunks;    // vectors of 16 positions scored at once
  int64_t queryOffset, outputOffset, scoreOffset, sinOffset, cosOffset, scratchBytes;
  Value tableColumns, queries, outputs;
};

} // namespace

const KernelEmitter &kiln::attentionEmitter() {
  static constexpr KernelEmitter emitter = {
      "attention-online-softmax",
      [](exec::KernelOp kernel, const Target &) -> std::optional<std::string> {
        std::string reason;
        if (AttentionShape::match(kernel, reason))
          return std::nullopt;
        return reason;
      },
      [](exec::KernelOp kernel, const Target &, OpBuilder &builder) -> FailureOr<KernelCode> {
        std::string reason;
        std::optional<AttentionShape> shape = AttentionShape::match(kernel, reason);
        if (!shape)
          return kernel.emitOpError() << "has no attention to emit: " << reason;
        return AttentionKernel(kernel, builder, *shape).emit();
      }};
  return emitter;
}
