// Attention of a few rows by vectors. For each page up to the last row's position:
//
//   scores of 16 * chunks positions for stepRows rows at a time, keys lying position-contiguous
//   online softmax: running maximum and sum, older output rescaled (Milakov, Gimelshein 2018)
//   probabilities times values, added to the outputs
//
// Rows that see all of their sequence see alike, as far as it is long.
//
// With a window, what lies before it is masked and pages wholly before it are not visited. A row
// that has seen nothing yet collects weights of 1; the first score it sees, 1e30 above, takes them
// back to exactly nothing.
//
// Keys and values are read once for all query heads of the group. Where there are several steps of
// rows, a page of narrow elements is widened to f32 once. Scores are in units of log2 e.
#include "codegen/attention/VectorAttention.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = AttentionFrame::kLanes;
static constexpr double lowest = -1e30;

/// One page for one step of rows.
struct VectorAttention::Page {
  Value keys, values;           // as stored
  Value nextKeys, nextValues;   // of the next page, to be asked for; null where not worth it
  Value wideKeys, wideValues;   // as f32, where expanded
  Value keyScales, valueScales; // null without scales
  Value left;                   // positions of this page and later ones the last row sees
  Value firstSeen;              // of which the first row of the page sees as many; both may be < 0
  Value distance;               // of the page's first position from the first row's; <= 0
  Value firstRow;               // of the step
  Value seen;                   // positions of this page some row of the step sees
  Value head;                   // kv head
  Value state;
};

/// The largest power of two that divides `extent` and is at most `limit`.
static int64_t powerWithin(int64_t extent, int64_t limit) {
  int64_t power = 1;
  while (power * 2 <= limit && extent % (power * 2) == 0)
    power *= 2;
  return power;
}

VectorAttention::VectorAttention(AttentionFrame &frame, Rotation &rotation, const Target &target,
                                 int64_t maxTokens)
    : f(frame), rotation(rotation), b(frame.b), maxTokens(maxTokens) {
  // Sums of 16 lanes that registers hold beside operands.
  int64_t accumulators = target.vectorBits >= 512 ? 24 : 6,
          mostRows = target.vectorBits >= 512 ? 8 : 6;
  int64_t rows = maxTokens * f.group;
  stepRows = llvm::divideCeil(rows, llvm::divideCeil(rows, mostRows));
  paddedRows = llvm::alignTo(rows, stepRows);
  chunks = powerWithin(f.pageSize / lanes, accumulators / stepRows);
  dimChunks = powerWithin(f.headDim / f.headLanes, accumulators / stepRows);
  expands = paddedRows > stepRows && !f.cache.getElementType().isF32();
  queryOffset = f.reserve(paddedRows * f.headDim * 4);
  scoreOffset = f.reserve(stepRows * f.pageSize * 4);
  laneSumOffset = f.reserve(paddedRows * lanes * 4);
  partOffset = f.reserve(stateBytes());
  wholeOffset = f.reserve(stateBytes());
  if (expands) {
    keyOffset = f.reserve(f.headDim * f.pageSize * 4);
    valueOffset = f.reserve(f.headDim * f.pageSize * 4);
  }
}

void VectorAttention::emitQueries(const Rows &rows) {
  double scale = f.shape.op.getScale().convertToDouble() * M_LOG2E;
  Value firstHead = f.frame.mul(rows.head, i64(b, f.group));
  loop(b, i64(b, 0), rows.count, 1, [&](Value token) {
    Value first = address(b, f.scratch(queryOffset), token, f.group * f.headDim * 4);
    loop(b, i64(b, 0), i64(b, f.group), 1, [&](Value g) {
      rotation.emitRow(f.shape.query, f.frame.add(rows.token, token), f.frame.add(firstHead, g),
                       address(b, first, g, f.headDim * 4), scale);
    });
  });
  // Rows past the last keep a step whole.
  loop(b, f.frame.mul(rows.count, i64(b, f.group)), i64(b, paddedRows), 1, [&](Value row) {
    Value query = address(b, f.scratch(queryOffset), row, f.headDim * 4);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes)
      store(b, splatConstant(b, f.vector(f.headLanes), 0), address(b, query, at * 4), 4);
  });
}

void VectorAttention::emitInitial(Value state) {
  loop(b, i64(b, 0), i64(b, paddedRows), 1, [&](Value row) {
    Value output = address(b, state, row, f.headDim * 4);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes)
      store(b, splatConstant(b, f.vector(f.headLanes), 0), address(b, output, at * 4), 4);
    store(b, f32(b, lowest), address(b, maxima(state), row, 4), 4);
    store(b, f32(b, 0), address(b, sums(state), row, 4), 4);
    store(b, splatConstant(b, f.vector(lanes), 0),
          address(b, f.scratch(laneSumOffset), row, lanes * 4), 64);
  });
}

void VectorAttention::emitAttend(const Rows &rows) {
  Value count = f.endSeen(rows.slot, rows.position, rows.count);
  Value segments = f.frame.ceilDiv(count, kSegmentPages * f.pageSize);
  emitInitial(f.scratch(wholeOffset));
  Value first = f.frame.floorDiv(f.firstSeen(rows.position), kSegmentPages * f.pageSize);
  loop(b, f.window ? first : i64(b, 0), segments, 1, [&](Value segment) {
    emitSegment(rows, segment, f.scratch(partOffset));
    emitMerge(f.scratch(partOffset));
  });
  emitResult(rows);
}

void VectorAttention::emitMergeStates(const Rows &rows, Value states, Value count) {
  emitInitial(f.scratch(wholeOffset));
  loop(b, i64(b, 0), count, 1,
       [&](Value index) { emitMerge(address(b, states, index, stateBytes())); });
  emitResult(rows);
}

void VectorAttention::emitSegment(const Rows &rows, Value segment, Value state) {
  KernelFrame &k = f.frame;
  emitInitial(state);
  Value count = f.endSeen(rows.slot, rows.position, rows.count);
  Value firstPage = k.mul(segment, i64(b, kSegmentPages));
  Value lastPage = k.min(k.ceilDiv(count, f.pageSize), k.add(firstPage, i64(b, kSegmentPages)));
  if (f.window) // pages that no row sees
    firstPage = k.max(firstPage, k.floorDiv(f.firstSeen(rows.position), f.pageSize));
  Value usedRows = k.mul(rows.count, i64(b, f.group));
  loop(b, firstPage, lastPage, 1, [&](Value index) {
    Page page;
    Value base = f.pageAddress(rows.slot, index), start = k.mul(index, i64(b, f.pageSize));
    page.keys = f.keysOf(base, rows.head);
    page.values = f.valuesOf(base, rows.head);
    if (!expands) {
      Value next = k.min(k.add(index, i64(b, 1)), k.sub(lastPage, i64(b, 1)));
      Value nextBase = f.pageAddress(rows.slot, next);
      page.nextKeys = f.keysOf(nextBase, rows.head);
      page.nextValues = f.valuesOf(nextBase, rows.head);
    }
    if (f.hasScales()) {
      page.keyScales = f.scalesOf(page.keys);
      page.valueScales = f.scalesOf(page.values);
    }
    page.left = k.sub(count, start);
    page.firstSeen = k.sub(k.add(rows.position, i64(b, 1)), start);
    page.distance = k.sub(start, rows.position);
    page.head = rows.head;
    page.state = state;
    if (expands) {
      page.wideKeys = f.scratch(keyOffset);
      page.wideValues = f.scratch(valueOffset);
      emitExpand(page);
    }
    loop(b, i64(b, 0), usedRows, stepRows, [&](Value firstRow) {
      page.firstRow = firstRow;
      Value seen = page.left;
      if (rowsDiffer()) // the step's last row sees most
        seen = k.min(seen, k.add(page.firstSeen,
                                 k.floorDiv(k.add(firstRow, i64(b, stepRows - 1)), f.group)));
      page.seen = k.max(k.min(seen, i64(b, f.pageSize)), i64(b, 0));
      emitScores(page);
      emitSoftmax(page);
      emitWeightedValues(page);
    });
  });
  loop(b, i64(b, 0), i64(b, paddedRows), 1, [&](Value row) {
    Value place = address(b, f.scratch(laneSumOffset), row, lanes * 4);
    store(b, f.reduceAdd(load(b, f.vector(lanes), place, 64)), address(b, sums(state), row, 4), 4);
  });
}

/// The page's elements as f32.
void VectorAttention::emitExpand(const Page &page) {
  Value seen = f.frame.min(page.left, i64(b, f.pageSize));
  Value keyChunks = f.frame.ceilDiv(seen, lanes);
  loop(b, i64(b, 0), i64(b, f.headDim), 1, [&](Value d) {
    Value from = address(b, page.keys, d, f.pageSize * f.elementBytes());
    Value to = address(b, page.wideKeys, d, f.pageSize * 4);
    loop(b, i64(b, 0), keyChunks, 1, [&](Value chunk) {
      Value x = f.loadElements(address(b, from, chunk, lanes * f.elementBytes()), lanes);
      store(b, x, address(b, to, chunk, lanes * 4), 64);
    });
  });
  loop(b, i64(b, 0), seen, 1, [&](Value position) {
    Value from = address(b, page.values, position, f.headDim * f.elementBytes());
    Value to = address(b, page.wideValues, position, f.headDim * 4);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes)
      store(b, f.loadElements(address(b, from, at * f.elementBytes()), f.headLanes),
            address(b, to, at * 4), 4);
  });
}

/// Asks for the cache lines of `bytes` at `address`.
static void prefetch(ImplicitLocOpBuilder &b, Value at, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64)
    LLVM::Prefetch::create(b, address(b, at, line), /*rw=*/0, /*hint=*/3, /*cache=*/1);
}

/// Scores of the step, 16 * chunks positions at a time; what a row does not see is lowest.
void VectorAttention::emitScores(const Page &page) {
  int64_t step = lanes * chunks, bytes = expands ? 4 : f.elementBytes();
  VectorType type = f.vector(lanes);
  SmallVector<int64_t> iota = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(lanes, b.getI64Type()), ArrayRef<int64_t>(iota)));
  Value queries = address(b, f.scratch(queryOffset), page.firstRow, f.headDim * 4);
  loop(b, i64(b, 0), page.seen, step, [&](Value first) {
    Value column = address(b, expands ? page.wideKeys : page.keys, first, bytes);
    SmallVector<Value> zeros(stepRows * chunks, splatConstant(b, type, 0));
    SmallVector<Value> scores =
        loop(b, i64(b, 0), i64(b, f.headDim), 1, zeros, [&](Value d, ValueRange carried) {
          SmallVector<Value> next(carried), keys;
          Value row = address(b, column, d, f.pageSize * bytes);
          if (page.nextKeys)
            prefetch(b, address(b, address(b, page.nextKeys, first, bytes), d, f.pageSize * bytes),
                     step * bytes);
          for (int64_t c = 0; c < chunks; ++c)
            keys.push_back(expands ? load(b, type, address(b, row, c * lanes * 4), 64)
                                   : f.loadElements(address(b, row, c * lanes * bytes), lanes));
          for (int64_t r = 0; r < stepRows; ++r) {
            Value query =
                loadSplat(b, f.f32Type, address(b, queries, d, 4, r * f.headDim * 4), lanes);
            for (int64_t c = 0; c < chunks; ++c)
              next[r * chunks + c] = math::FmaOp::create(b, query, keys[c], next[r * chunks + c]);
          }
          return next;
        });
    for (int64_t c = 0; c < chunks; ++c) {
      Value position = f.frame.add(first, i64(b, c * lanes));
      Value scale =
          page.keyScales ? load(b, type, address(b, page.keyScales, position, 4), 64) : Value();
      for (int64_t r = 0; r < stepRows; ++r) {
        auto tokenOfRow = [&] { // among the block's
          return f.frame.floorDiv(f.frame.add(page.firstRow, i64(b, r)), f.group);
        };
        Value seen = page.left;
        if (rowsDiffer())
          seen = f.frame.min(seen, f.frame.add(page.firstSeen, tokenOfRow()));
        Value mask = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lane,
                                           broadcast(b, f.frame.sub(seen, position), lanes));
        Value score = scores[r * chunks + c];
        if (scale)
          score = arith::MulFOp::create(b, score, scale);
        if (f.changesScores() || f.window) {
          Value distance = f.frame.add(page.distance, position);
          if (maxTokens > 1)
            distance = f.frame.sub(distance, tokenOfRow());
          score = f.changeScores(score, queryHead(page, r), distance);
          if (f.window) {
            Value hidden = f.frame.sub(i64(b, -f.window), distance); // lanes up to it
            mask = arith::AndIOp::create(b, mask,
                                         arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, lane,
                                                               broadcast(b, hidden, lanes)));
          }
        }
        score = arith::SelectOp::create(b, mask, score, splatConstant(b, type, lowest));
        store(b, score, address(b, f.scratch(scoreOffset + r * f.pageSize * 4), position, 4), 64);
      }
    }
  });
}

/// The query head of row `r` of the step.
Value VectorAttention::queryHead(const Page &page, int64_t r) {
  KernelFrame &k = f.frame;
  Value row = k.add(page.firstRow, i64(b, r));
  Value inGroup = k.sub(row, k.mul(k.floorDiv(row, f.group), i64(b, f.group)));
  return k.add(k.mul(page.head, i64(b, f.group)), inGroup);
}

/// Turns the step's scores into probabilities relative to the new maximum; rescales its outputs.
void VectorAttention::emitSoftmax(const Page &page) {
  VectorType type = f.vector(lanes), headType = f.vector(f.headLanes);
  loop(b, i64(b, 0), i64(b, stepRows), 1, [&](Value r) {
    Value row = f.frame.add(page.firstRow, r);
    Value scores = address(b, f.scratch(scoreOffset), r, f.pageSize * 4);
    Value peaks = loop(b, i64(b, 0), page.seen, lanes, ValueRange{splatConstant(b, type, lowest)},
                       [&](Value position, ValueRange carried) {
                         Value x = load(b, type, address(b, scores, position, 4), 64);
                         return SmallVector<Value>{f.max(carried[0], x)};
                       })[0];
    Value maximum = loadScalar(maxima(page.state), row);
    Value larger = f.max(f.reduceMax(peaks), maximum);
    store(b, larger, address(b, maxima(page.state), row, 4), 4);
    Value shift = broadcast(b, larger, lanes);
    Value sum = loop(b, i64(b, 0), page.seen, lanes, ValueRange{splatConstant(b, type, 0)},
                     [&](Value position, ValueRange carried) {
                       Value at = address(b, scores, position, 4);
                       Value p = f.exp2(arith::SubFOp::create(b, load(b, type, at, 64), shift), 5);
                       Value total = arith::AddFOp::create(b, carried[0], p);
                       if (page.valueScales)
                         p = arith::MulFOp::create(
                             b, p, load(b, type, address(b, page.valueScales, position, 4), 64));
                       store(b, p, at, 64);
                       return SmallVector<Value>{total};
                     })[0];
    Value change = broadcast(b, arith::SubFOp::create(b, maximum, larger), lanes);
    Value keep = vector::ExtractOp::create(b, f.exp2(change, 5), ArrayRef<int64_t>{0});
    Value place = address(b, f.scratch(laneSumOffset), row, lanes * 4);
    Value old = load(b, type, place, 64);
    store(b, math::FmaOp::create(b, old, broadcast(b, keep, lanes), sum), place, 64);
    Value output = address(b, page.state, row, f.headDim * 4);
    Value factor = broadcast(b, keep, f.headLanes);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes) {
      Value chunk = address(b, output, at * 4);
      store(b, arith::MulFOp::create(b, load(b, headType, chunk, 4), factor), chunk, 4);
    }
  });
}

/// Adds probability times value over the page's seen positions to the step's outputs.
void VectorAttention::emitWeightedValues(const Page &page) {
  VectorType type = f.vector(f.headLanes);
  int64_t bytes = expands ? 4 : f.elementBytes();
  Value outputs = address(b, page.state, page.firstRow, f.headDim * 4);
  loop(b, i64(b, 0), i64(b, f.headDim), f.headLanes * dimChunks, [&](Value at) {
    auto place = [&](int64_t r, int64_t c) {
      return address(b, outputs, at, 4, (r * f.headDim + c * f.headLanes) * 4);
    };
    SmallVector<Value> initial;
    for (int64_t r = 0; r < stepRows; ++r)
      for (int64_t c = 0; c < dimChunks; ++c)
        initial.push_back(load(b, type, place(r, c), 4));
    Value column = address(b, expands ? page.wideValues : page.values, at, bytes);
    SmallVector<Value> sums =
        loop(b, i64(b, 0), page.seen, 1, initial, [&](Value position, ValueRange carried) {
          SmallVector<Value> next(carried), values;
          Value row = address(b, column, position, f.headDim * bytes);
          if (page.nextValues)
            prefetch(
                b, address(b, address(b, page.nextValues, at, bytes), position, f.headDim * bytes),
                f.headLanes * dimChunks * bytes);
          for (int64_t c = 0; c < dimChunks; ++c)
            values.push_back(
                expands ? load(b, type, address(b, row, c * f.headLanes * 4), 4)
                        : f.loadElements(address(b, row, c * f.headLanes * bytes), f.headLanes));
          for (int64_t r = 0; r < stepRows; ++r) {
            Value weight = loadSplat(
                b, f.f32Type, address(b, f.scratch(scoreOffset + r * f.pageSize * 4), position, 4),
                f.headLanes);
            for (int64_t c = 0; c < dimChunks; ++c)
              next[r * dimChunks + c] =
                  math::FmaOp::create(b, weight, values[c], next[r * dimChunks + c]);
          }
          return next;
        });
    for (int64_t r = 0; r < stepRows; ++r)
      for (int64_t c = 0; c < dimChunks; ++c)
        store(b, sums[r * dimChunks + c], place(r, c), 4);
  });
}

/// whole = whole and `state`, both relative to the larger maximum.
void VectorAttention::emitMerge(Value state) {
  VectorType type = f.vector(f.headLanes);
  Value whole = f.scratch(wholeOffset);
  loop(b, i64(b, 0), i64(b, paddedRows), 1, [&](Value row) {
    Value old = loadScalar(maxima(whole), row), added = loadScalar(maxima(state), row);
    Value larger = f.max(old, added);
    store(b, larger, address(b, maxima(whole), row, 4), 4);
    auto factorOf = [&](Value maximum) -> Value {
      Value change = broadcast(b, arith::SubFOp::create(b, maximum, larger), lanes);
      return vector::ExtractOp::create(b, f.exp2(change, 5), ArrayRef<int64_t>{0});
    };
    Value keep = factorOf(old), take = factorOf(added);
    Value sum =
        arith::AddFOp::create(b, arith::MulFOp::create(b, loadScalar(sums(whole), row), keep),
                              arith::MulFOp::create(b, loadScalar(sums(state), row), take));
    store(b, sum, address(b, sums(whole), row, 4), 4);
    Value to = address(b, whole, row, f.headDim * 4), from = address(b, state, row, f.headDim * 4);
    Value keeps = broadcast(b, keep, f.headLanes), takes = broadcast(b, take, f.headLanes);
    for (int64_t at = 0; at < f.headDim; at += f.headLanes) {
      Value x = load(b, type, address(b, from, at * 4), 4);
      Value y = load(b, type, address(b, to, at * 4), 4);
      store(b,
            arith::AddFOp::create(b, arith::MulFOp::create(b, y, keeps),
                                  arith::MulFOp::create(b, x, takes)),
            address(b, to, at * 4), 4);
    }
  });
}

void VectorAttention::emitResult(const Rows &rows) {
  VectorType type = f.vector(f.headLanes);
  Value whole = f.scratch(wholeOffset), firstHead = f.frame.mul(rows.head, i64(b, f.group));
  loop(b, i64(b, 0), rows.count, 1, [&](Value token) {
    loop(b, i64(b, 0), i64(b, f.group), 1, [&](Value g) {
      Value row = f.frame.add(f.frame.mul(token, i64(b, f.group)), g);
      Value factor = broadcast(b, arith::DivFOp::create(b, f32(b, 1), loadScalar(sums(whole), row)),
                               f.headLanes);
      Value from = address(b, whole, row, f.headDim * 4);
      Value to = f.resultRow(f.frame.add(rows.token, token), f.frame.add(firstHead, g));
      for (int64_t at = 0; at < f.headDim; at += f.headLanes)
        store(b, arith::MulFOp::create(b, load(b, type, address(b, from, at * 4), 4), factor),
              address(b, to, at * 4), 4);
    });
  });
}
