// Attention of many rows through a matrix unit of bf16 tiles (after FlashAttention: Dao et al.
// 2022). For a block of rows, queries are rotated and packed once. For each step of the context:
//
//   keys and values of its pages become right operands in scratch, once for all rows of the block
//   for each pair of 16-row tiles:
//     scores = queries x keys in f32 tiles, two by two
//     online softmax by vectors, row by row; probabilities packed to bf16
//     outputs (f32 tiles in scratch, rescaled) += probabilities x values
//
// Accuracy. Scores are what exp magnifies, so queries and keys are cut into two bf16 parts, a = top
// 8 bits and the rest: Qt*Kt + Qr*Kt + Qt*Kr has an error near 2^-16 of |q||k|. Keys of f16 are cut
// exactly, 8-bit codes need no second part. Probabilities and values are rounded to bf16 once, 0.16
// % RMS each at most (2^-8 / sqrt(3), less within a binade), independently. Measured over random
// values: 0.20 % of the result; 0.16 % for codes, which are exact. Sums are of unrounded
// probabilities. A cache of f32 asks for more and is refused.
//
// With a window, what lies before it is masked like what is yet to come, and steps wholly before it
// are not visited.
//
// A row's result depends on its own queries and positions alone: steps begin at multiples of a step
// whatever the block, and what a row does not see has probability 0.
#include "codegen/attention/MatrixAttention.h"
#include "codegen/MatrixUnit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = 16, tileBytes = MatrixUnit::kTileBytes,
                         tileRows = MatrixUnit::kRows, depth = MatrixUnit::kDepth;
static constexpr int64_t pairRows = 2 * tileRows;
static constexpr int64_t line = 64;
static constexpr double lowest = -1e30;

/// A pair of row tiles against a step of the context.
struct MatrixAttention::Step {
  Value pair;     // i64
  Value firstRow; // pair * 32
  Value pages;    // of the step that some row of the pair sees
  Value start;    // first position of the step
  Value position; // of the block's first token
  Value end;      // what follows the last position that the block sees
  Value head;     // kv head
};

std::optional<std::string> MatrixAttention::refuse(const AttentionShape &shape) {
  graph::AttentionOp op = shape.op;
  if (op.getCache().getType().getElementType().isF32())
    return "the cache holds f32: probabilities and values are not to be rounded to bf16";
  if (op.getHeadDim() % 16)
    return "head_dim is no multiple of 16";
  if (op.getCache().getType().getPageSize() % 32)
    return "the page size is no multiple of 32";
  if (shape.group > kMostRows / 2)
    return "too many query heads share a kv head";
  return std::nullopt;
}

MatrixAttention::MatrixAttention(AttentionFrame &frame, Rotation &rotation, const MatrixUnit &unit)
    : f(frame), rotation(rotation), unit(unit), b(frame.b),
      pairs(llvm::divideCeil(maxTokens() * frame.group, pairRows)),
      depthSteps(llvm::divideCeil(frame.headDim, depth)), dimTiles(frame.headDim / lanes),
      keyParts(frame.hasScales() ? 1 : 2), positions(kStepPages * frame.pageSize) {
  configOffset = f.reserve(MatrixUnit::kConfigBytes);
  rowOffset = f.reserve(depthSteps * depth * 4);
  queryOffset = f.reserve(pairs * depthSteps * 2 * 2 * tileBytes);
  outputOffset = f.reserve(pairs * 2 * dimTiles * tileBytes);
  maximumOffset = f.reserve(pairs * pairRows * 4);
  sumOffset = f.reserve(pairs * pairRows * line);
  keyOffset = f.reserve(positions / lanes * depthSteps * keyParts * tileBytes);
  valueOffset = f.reserve(positions / depth * dimTiles * tileBytes);
  keyScaleOffset = f.reserve(f.hasScales() ? positions * 4 : 0);
  valueScaleOffset = f.reserve(f.hasScales() ? positions * 4 : 0);
  scoreOffset = f.reserve(2 * positions / lanes * tileBytes);
  weightOffset = f.reserve(2 * positions / depth * tileBytes);
}

Value MatrixAttention::top(Value x) {
  auto type = cast<VectorType>(x.getType());
  VectorType bits = type.clone(b.getI32Type());
  Value mask = splatConstant(b, bits, int32_t(0xffff0000));
  return arith::BitcastOp::create(
      b, type, arith::AndIOp::create(b, arith::BitcastOp::create(b, bits, x), mask));
}

Value MatrixAttention::packExact(Value even, Value odd) {
  VectorType bits = vectorOf(lanes, b.getI32Type());
  Value low = arith::ShRUIOp::create(b, arith::BitcastOp::create(b, bits, even),
                                     splatConstant(b, bits, 16));
  Value high = arith::AndIOp::create(b, arith::BitcastOp::create(b, bits, odd),
                                     splatConstant(b, bits, int32_t(0xffff0000)));
  return arith::OrIOp::create(b, low, high);
}

Value MatrixAttention::outputsOf(Value pair) {
  return address(b, f.scratch(outputOffset), pair, 2 * dimTiles * tileBytes);
}

/// Positions that a token of the block sees from the step's first on; may be < 0.
Value MatrixAttention::seenOf(const Step &step, Value token) {
  KernelFrame &k = f.frame;
  Value end = f.seesAll() ? step.end : k.add(k.add(step.position, token), i64(b, 1));
  return k.sub(end, step.start);
}

void MatrixAttention::emitAttend(const Rows &rows) {
  KernelFrame &k = f.frame;
  unit.begin(b, f.scratch(configOffset));
  Value count = k.mul(rows.count, i64(b, f.group));
  Value usedPairs = k.ceilDiv(count, pairRows);
  emitQueries(rows, usedPairs);
  Value end = f.endSeen(rows.slot, rows.position, rows.count);
  Value begin = i64(b, 0);
  if (f.window) // steps that no row sees are not visited
    begin = k.mul(k.floorDiv(f.firstSeen(rows.position), positions), i64(b, positions));
  loop(b, begin, end, positions, [&](Value start) {
    Value pages = k.min(k.ceilDiv(k.sub(end, start), f.pageSize), i64(b, kStepPages));
    Value firstPage = k.floorDiv(start, f.pageSize);
    loop(b, i64(b, 0), pages, 1, [&](Value page) {
      Value base = f.pageAddress(rows.slot, k.add(firstPage, page));
      emitExpandKeys(f.keysOf(base, rows.head), page);
      emitExpandValues(f.valuesOf(base, rows.head), page,
                       k.sub(k.sub(end, start), k.mul(page, i64(b, f.pageSize))));
    });
    loop(b, i64(b, 0), usedPairs, 1, [&](Value pair) {
      Step step{pair, k.mul(pair, i64(b, pairRows)), pages, start, rows.position, end, rows.head};
      // What the pair's last row sees of the step.
      Value lastToken = k.min(k.floorDiv(k.add(step.firstRow, i64(b, pairRows - 1)), f.group),
                              k.sub(rows.count, i64(b, 1)));
      Value seen = seenOf(step, lastToken);
      Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, seen, i64(b, 0));
      Value firstToken = k.floorDiv(step.firstRow, f.group);
      if (f.window) // what its first row sees begins before the step ends
        some = arith::AndIOp::create(
            b, some,
            arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                  f.firstSeen(k.add(rows.position, firstToken)),
                                  k.add(start, i64(b, positions))));
      branch(b, some, [&] {
        step.pages = k.min(k.ceilDiv(seen, f.pageSize), pages);
        emitScores(step);
        // Its first row may see less.
        Value firstSeen = seenOf(step, firstToken);
        Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, firstSeen,
                                            k.mul(step.pages, i64(b, f.pageSize)));
        if (f.window) // and its last row, from later on
          whole = arith::AndIOp::create(
              b, whole,
              arith::CmpIOp::create(b, arith::CmpIPredicate::sle,
                                    f.firstSeen(k.add(rows.position, lastToken)), start));
        branch(b, whole, [&] { emitSoftmax(step, false); }, [&] { emitSoftmax(step, true); });
        emitWeightedValues(step);
      });
    });
  });
  emitResult(rows);
  unit.end(b);
}

/// Rotates and packs the block's queries; clears outputs, maxima and sums. Tiles of a pair lie
/// [depth step][top, rest][tile].
void MatrixAttention::emitQueries(const Rows &rows, Value usedPairs) {
  KernelFrame &k = f.frame;
  double scale = f.shape.op.getScale().convertToDouble() * M_LOG2E;
  VectorType type = f.vector(lanes);
  Value zero = splatConstant(b, type, 0);
  Value row = f.scratch(rowOffset);
  for (int64_t at = f.headDim; at < depthSteps * depth; at += lanes)
    store(b, zero, address(b, row, at * 4), 64);
  auto lineOf = [&](Value index) {
    Value pair = k.floorDiv(index, pairRows);
    Value inPair = k.sub(index, k.mul(pair, i64(b, pairRows)));
    Value base = address(b, f.scratch(queryOffset), pair, depthSteps * 4 * tileBytes);
    return address(b, base, inPair, line);
  };
  Value firstHead = k.mul(rows.head, i64(b, f.group));
  loop(b, i64(b, 0), rows.count, 1, [&](Value token) {
    loop(b, i64(b, 0), i64(b, f.group), 1, [&](Value g) {
      rotation.emitRow(f.shape.query, k.add(rows.token, token), k.add(firstHead, g), row, scale);
      Value place = lineOf(k.add(k.mul(token, i64(b, f.group)), g));
      for (int64_t d = 0; d < depthSteps; ++d) {
        Value low = load(b, type, address(b, row, d * depth * 4), 64);
        Value high = load(b, type, address(b, row, (d * depth + lanes) * 4), 64);
        Value lowTop = top(low), highTop = top(high);
        store(b, unit.packRow(b, lowTop, highTop), address(b, place, d * 4 * tileBytes), 64);
        store(b,
              unit.packRow(b, arith::SubFOp::create(b, low, lowTop),
                           arith::SubFOp::create(b, high, highTop)),
              address(b, place, (d * 4 + 2) * tileBytes), 64);
      }
    });
  });
  Value allRows = k.mul(usedPairs, i64(b, pairRows));
  loop(b, k.mul(rows.count, i64(b, f.group)), allRows, 1, [&](Value index) {
    Value place = lineOf(index);
    for (int64_t d = 0; d < depthSteps; ++d)
      for (int64_t part : {0, 2})
        store(b, zero, address(b, place, (d * 4 + part) * tileBytes), 64);
  });
  loop(b, i64(b, 0), allRows, 1, [&](Value index) {
    store(b, f32(b, lowest), address(b, f.scratch(maximumOffset), index, 4), 4);
    store(b, zero, address(b, f.scratch(sumOffset), index, line), 64);
  });
  loop(b, i64(b, 0), k.mul(allRows, i64(b, dimTiles)), 1,
       [&](Value index) { store(b, zero, address(b, f.scratch(outputOffset), index, line), 64); });
}

/// Tiles lie [position / 16][depth step][part]; a line holds two dims of 16 positions.
void MatrixAttention::emitExpandKeys(Value keys, Value page) {
  int64_t bytes = f.elementBytes(), tilesOfPage = f.pageSize / lanes;
  int64_t columnBytes = depthSteps * keyParts * tileBytes;
  Value to = address(b, f.scratch(keyOffset), page, tilesOfPage * columnBytes);
  for (int64_t d = 0; d < depthSteps; ++d) {
    int64_t dims = std::min(depth, f.headDim - d * depth);
    Value from = address(b, keys, d * depth * f.pageSize * bytes);
    Value step = address(b, to, d * keyParts * tileBytes);
    loop(b, i64(b, 0), i64(b, dims / 2), 1, [&](Value pair) {
      Value source = address(b, from, pair, 2 * f.pageSize * bytes);
      Value target = address(b, step, pair, line);
      for (int64_t tile = 0; tile < tilesOfPage; ++tile) {
        Value even = f.loadElements(address(b, source, tile * lanes * bytes), lanes);
        Value odd = f.loadElements(address(b, source, (f.pageSize + tile * lanes) * bytes), lanes);
        Value place = address(b, target, tile * columnBytes);
        store(b, packExact(even, odd), place, 64);
        if (keyParts == 2)
          store(b,
                unit.packPairs(b, arith::SubFOp::create(b, even, top(even)),
                               arith::SubFOp::create(b, odd, top(odd))),
                address(b, place, tileBytes), 64);
      }
    });
    Value zero = splatConstant(b, f.vector(lanes), 0);
    loop(b, i64(b, dims / 2), i64(b, depth / 2), 1, [&](Value pair) {
      Value target = address(b, step, pair, line);
      for (int64_t tile = 0; tile < tilesOfPage; ++tile)
        for (int64_t part = 0; part < keyParts; ++part)
          store(b, zero, address(b, target, tile * columnBytes + part * tileBytes), 64);
    });
  }
  if (f.hasScales()) {
    Value scales = address(b, f.scratch(keyScaleOffset), page, f.pageSize * 4);
    for (int64_t at = 0; at < f.pageSize; at += lanes)
      store(b, load(b, f.vector(lanes), address(b, f.scalesOf(keys), at * 4), 64),
            address(b, scales, at * 4), 64);
  }
}

/// Tiles lie [position / 32][dim / 16]; a line holds two positions of 16 dims. Positions from
/// `left` on, which may hold anything, become zero.
void MatrixAttention::emitExpandValues(Value values, Value page, Value left) {
  int64_t bytes = f.elementBytes();
  Value zero = splatConstant(b, f.vector(lanes), 0);
  Value to = address(b, f.scratch(valueOffset), page, f.pageSize / depth * dimTiles * tileBytes);
  loop(b, i64(b, 0), i64(b, f.pageSize / depth), 1, [&](Value step) {
    Value stepTo = address(b, to, step, dimTiles * tileBytes);
    loop(b, i64(b, 0), i64(b, depth / 2), 1, [&](Value pair) {
      Value position = f.frame.add(f.frame.mul(step, i64(b, depth)), f.frame.mul(pair, i64(b, 2)));
      Value source = address(b, values, position, f.headDim * bytes);
      Value target = address(b, stepTo, pair, line);
      Value evenSeen = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, position, left);
      Value oddSeen = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                            f.frame.add(position, i64(b, 1)), left);
      for (int64_t tile = 0; tile < dimTiles; ++tile) {
        Value even = f.loadElements(address(b, source, tile * lanes * bytes), lanes);
        Value odd = f.loadElements(address(b, source, (f.headDim + tile * lanes) * bytes), lanes);
        even = arith::SelectOp::create(b, evenSeen, even, zero);
        odd = arith::SelectOp::create(b, oddSeen, odd, zero);
        store(b, f.hasScales() ? packExact(even, odd) : unit.packPairs(b, even, odd),
              address(b, target, tile * tileBytes), 64);
      }
    });
  });
  if (f.hasScales()) {
    SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
    Value lane = arith::ConstantOp::create(
        b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
    Value scales = address(b, f.scratch(valueScaleOffset), page, f.pageSize * 4);
    for (int64_t at = 0; at < f.pageSize; at += lanes) {
      Value seen = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane,
                                         broadcast(b, f.frame.sub(left, i64(b, at)), lanes));
      Value scale = load(b, f.vector(lanes), address(b, f.scalesOf(values), at * 4), 64);
      store(b, arith::SelectOp::create(b, seen, scale, zero), address(b, scales, at * 4), 64);
    }
  }
}

/// Score tiles lie [row tile][position / 16]. Tiles 0..3 sum, 4 and 5 are rows, 6 and 7 columns.
void MatrixAttention::emitScores(const Step &step) {
  int64_t columnBytes = depthSteps * keyParts * tileBytes;
  int64_t rowTileBytes = positions / lanes * tileBytes;
  Value queries = address(b, f.scratch(queryOffset), step.pair, depthSteps * 4 * tileBytes);
  Value count = f.frame.mul(step.pages, i64(b, f.pageSize / pairRows));
  auto loadRows = [&](int64_t d, int64_t part) {
    for (int64_t tile : {0, 1})
      unit.load(b, 4 + tile, address(b, queries, (d * 4 + part * 2 + tile) * tileBytes), line);
  };
  auto multiply = [&] {
    for (int64_t row : {0, 1})
      for (int64_t column : {0, 1})
        unit.multiply(b, row * 2 + column, 4 + row, 6 + column);
  };
  loop(b, i64(b, 0), count, 1, [&](Value columns) {
    Value keys = address(b, f.scratch(keyOffset), columns, 2 * columnBytes);
    auto loadColumns = [&](int64_t d, int64_t part) {
      for (int64_t tile : {0, 1})
        unit.load(b, 6 + tile,
                  address(b, keys, tile * columnBytes + (d * keyParts + part) * tileBytes), line);
    };
    for (int64_t tile = 0; tile < 4; ++tile)
      unit.zero(b, tile);
    for (int64_t d = 0; d < depthSteps; ++d) {
      loadRows(d, 1);
      loadColumns(d, 0);
      multiply();
      loadRows(d, 0);
      multiply();
      if (keyParts == 2) {
        loadColumns(d, 1);
        multiply();
      }
    }
    Value scores = address(b, f.scratch(scoreOffset), columns, 2 * tileBytes);
    for (int64_t row : {0, 1})
      for (int64_t column : {0, 1})
        unit.store(b, row * 2 + column, address(b, scores, row * rowTileBytes + column * tileBytes),
                   line);
  });
}

/// Probabilities of the pair relative to each row's new maximum, as rows [row tile][position / 32];
/// its outputs are rescaled.
void MatrixAttention::emitSoftmax(const Step &step, bool masked) {
  KernelFrame &k = f.frame;
  VectorType type = f.vector(lanes);
  int64_t vectors = f.pageSize / lanes;
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
  loop(b, i64(b, 0), i64(b, pairRows), 1, [&](Value inPair) {
    Value tile = k.floorDiv(inPair, tileRows);
    Value inTile = k.sub(inPair, k.mul(tile, i64(b, tileRows)));
    Value row = k.add(step.firstRow, inPair);
    Value scores = address(b, address(b, f.scratch(scoreOffset), inTile, line), tile,
                           positions / lanes * tileBytes);
    Value weights = address(b, address(b, f.scratch(weightOffset), inTile, line), tile,
                            positions / depth * tileBytes);
    Value token = k.floorDiv(row, f.group), seen, queryHead;
    if (masked)
      seen = seenOf(step, token);
    if (f.changesScores())
      queryHead =
          k.add(k.mul(step.head, i64(b, f.group)), k.sub(row, k.mul(token, i64(b, f.group))));
    SmallVector<Value> initial(vectors, splatConstant(b, type, lowest));
    SmallVector<Value> peaks =
        loop(b, i64(b, 0), step.pages, 1, initial, [&](Value page, ValueRange carried) {
          SmallVector<Value> next;
          Value from = address(b, scores, page, vectors * tileBytes);
          for (int64_t v = 0; v < vectors; ++v) {
            Value at = address(b, from, v * tileBytes);
            Value x = load(b, type, at, 64);
            if (f.hasScales())
              x = arith::MulFOp::create(
                  b, x,
                  load(b, type,
                       address(b, f.scratch(keyScaleOffset + v * line), page, f.pageSize * 4), 64));
            Value position = k.add(k.mul(page, i64(b, f.pageSize)), i64(b, v * lanes));
            if (f.changesScores())
              x = f.changeScores(x, queryHead,
                                 k.sub(k.add(step.start, position), k.add(step.position, token)));
            if (masked) {
              Value mask = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane,
                                                 broadcast(b, k.sub(seen, position), lanes));
              if (f.window) {
                Value hidden = k.sub(seen, k.add(position, i64(b, f.window + 1))); // lanes up to it
                mask =
                    arith::AndIOp::create(b, mask,
                                          arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, lane,
                                                                broadcast(b, hidden, lanes)));
              }
              x = arith::SelectOp::create(b, mask, x, splatConstant(b, type, lowest));
            }
            if (masked || f.hasScales() || f.changesScores())
              store(b, x, at, 64);
            next.push_back(f.max(carried[v], x));
          }
          return next;
        });
    while (peaks.size() > 1) {
      Value last = peaks.pop_back_val();
      peaks[(peaks.size() - 1) / 2] = f.max(peaks[(peaks.size() - 1) / 2], last);
    }
    Value place = address(b, f.scratch(maximumOffset), row, 4);
    Value maximum = load(b, f.f32Type, place, 4);
    Value larger = f.max(f.reduceMax(peaks[0]), maximum);
    store(b, larger, place, 4);
    Value shift = broadcast(b, larger, lanes);
    SmallVector<Value> zeros(2, splatConstant(b, type, 0));
    SmallVector<Value> sums =
        loop(b, i64(b, 0), step.pages, 1, zeros, [&](Value page, ValueRange carried) {
          SmallVector<Value> next(carried);
          Value from = address(b, scores, page, vectors * tileBytes);
          Value to = address(b, weights, page, vectors / 2 * tileBytes);
          for (int64_t v = 0; v < vectors; v += 2) {
            Value halves[2];
            for (int64_t i : {0, 1}) {
              Value x = load(b, type, address(b, from, (v + i) * tileBytes), 64);
              Value p = f.exp2(arith::SubFOp::create(b, x, shift), 3);
              next[i] = arith::AddFOp::create(b, next[i], p);
              if (f.hasScales())
                p = arith::MulFOp::create(
                    b, p,
                    load(b, type,
                         address(b, f.scratch(valueScaleOffset + (v + i) * line), page,
                                 f.pageSize * 4),
                         64));
              halves[i] = p;
            }
            store(b, unit.packRow(b, halves[0], halves[1]), address(b, to, v / 2 * tileBytes), 64);
          }
          return next;
        });
    Value keep = f.exp2(broadcast(b, arith::SubFOp::create(b, maximum, larger), lanes), 5);
    Value sumPlace = address(b, f.scratch(sumOffset), row, line);
    Value sum = math::FmaOp::create(b, load(b, type, sumPlace, 64), keep,
                                    arith::AddFOp::create(b, sums[0], sums[1]));
    store(b, sum, sumPlace, 64);
    Value outputs =
        address(b, address(b, outputsOf(step.pair), inTile, line), tile, dimTiles * tileBytes);
    for (int64_t m = 0; m < dimTiles; ++m) {
      Value at = address(b, outputs, m * tileBytes);
      store(b, arith::MulFOp::create(b, load(b, type, at, 64), keep), at, 64);
    }
  });
}

/// Output tiles lie [row tile][dim / 16].
void MatrixAttention::emitWeightedValues(const Step &step) {
  Value count = f.frame.mul(step.pages, i64(b, f.pageSize / depth));
  Value outputs = outputsOf(step.pair);
  for (int64_t first = 0; first < dimTiles; first += 2) {
    int64_t columns = std::min<int64_t>(2, dimTiles - first);
    auto eachSum = [&](llvm::function_ref<void(int64_t row, int64_t column)> body) {
      for (int64_t row : {0, 1})
        for (int64_t column = 0; column < columns; ++column)
          body(row, column);
    };
    auto place = [&](int64_t row, int64_t column) {
      return address(b, outputs, (row * dimTiles + first + column) * tileBytes);
    };
    eachSum([&](int64_t row, int64_t column) {
      unit.load(b, row * 2 + column, place(row, column), line);
    });
    loop(b, i64(b, 0), count, 1, [&](Value part) {
      Value weights = address(b, f.scratch(weightOffset), part, tileBytes);
      for (int64_t row : {0, 1})
        unit.load(b, 4 + row, address(b, weights, row * (positions / depth) * tileBytes), line);
      Value values = address(b, f.scratch(valueOffset), part, dimTiles * tileBytes);
      for (int64_t column = 0; column < columns; ++column)
        unit.load(b, 6 + column, address(b, values, (first + column) * tileBytes), line);
      eachSum([&](int64_t row, int64_t column) {
        unit.multiply(b, row * 2 + column, 4 + row, 6 + column);
      });
    });
    eachSum([&](int64_t row, int64_t column) {
      unit.store(b, row * 2 + column, place(row, column), line);
    });
  }
}

void MatrixAttention::emitResult(const Rows &rows) {
  KernelFrame &k = f.frame;
  VectorType type = f.vector(lanes);
  Value firstHead = k.mul(rows.head, i64(b, f.group));
  loop(b, i64(b, 0), rows.count, 1, [&](Value token) {
    loop(b, i64(b, 0), i64(b, f.group), 1, [&](Value g) {
      Value row = k.add(k.mul(token, i64(b, f.group)), g);
      Value tile = k.floorDiv(row, tileRows);
      Value inTile = k.sub(row, k.mul(tile, i64(b, tileRows)));
      Value from =
          address(b, address(b, f.scratch(outputOffset), inTile, line), tile, dimTiles * tileBytes);
      Value sum = f.reduceAdd(load(b, type, address(b, f.scratch(sumOffset), row, line), 64));
      Value factor = broadcast(b, arith::DivFOp::create(b, f32(b, 1), sum), lanes);
      Value to = f.resultRow(k.add(rows.token, token), k.add(firstHead, g));
      for (int64_t m = 0; m < dimTiles; ++m)
        store(b,
              arith::MulFOp::create(b, load(b, type, address(b, from, m * tileBytes), 64), factor),
              address(b, to, m * line), 4);
    });
  });
}
