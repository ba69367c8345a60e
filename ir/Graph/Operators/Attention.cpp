// Attention over whole sequences, and the rotation of heads.
//
// An item is one query of one head: its scores are kept in the worker's scratch memory, so nothing
// of the size of all scores is ever written. Keys are read row by row, values eight rows at a time.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

static constexpr int64_t kValuesAtOnce = 8;

// attention(q, k, v, …): [batch, heads, rows, depth] each, or with `q_heads_first` (`kv_`, `y_`) of
// 0 [batch, rows, heads, depth]; query head h reads key head h / (heads / key heads).
//   score = scale q . k, then with `softcap` L > 0: L tanh(score / L), plus the mask.
// Optional operands, by their positions (-1: absent):
//   `mask`     [batch, heads, rows, keys], dims of 1 broadcast: summands, or truths that let a key
//   be `offsets`  [batch] or [1]: query i is the key of number i + offset (0 without) `lengths`
//   [batch]: keys from there on do not count
// `causal` 1: no key behind the query; `left`, `right` >= 0: none farther away to that side.
// A query that sees no key gives zeros. Result 1, if there is one: scores [batch, heads, rows,
// keys]; `scores` says which: 0 products, 1 capped, 2 masked, 3 their softmax.

namespace {

class QueryAttention {
public:
  QueryAttention(FillBuilder &f, ComputeOp op, ValueRange item);
  void run();

private:
  /// Score of a key; stores what the second result wants of it on the way.
  Value score(Value key);
  void storeScore(int64_t stage, Value key, Value value) {
    if (op.getNumResults() > 1 && intParam(op, "scores") == stage)
      f.write(1, value, {batch, head, row, key});
  }
  SmallVector<Value> place(StringRef layout, Value head, Value row, Value column) const {
    if (intParam(op, layout))
      return {batch, head, row, column};
    return {batch, row, head, column};
  }
  Value optional(StringRef name) const {
    int64_t position = intParam(op, name);
    return position < 0 ? Value() : op.getOperand(unsigned(position));
  }
  Value perBatch(Value vector) const {
    Value at = tensorOf(vector).getDimSize(0) == 1 ? f.index(0) : batch;
    return f.toIndex(f.read(vector, at), elementOf(vector));
  }
  void addValues(Value first, int64_t count);
  /// Scratch memory as an array of the scores' type.
  Value bytesTo(Value place) const {
    return f.mul(place, f.index(a.code.getIntOrFloatBitWidth() / 8));
  }
  Value load(Value place) const { return f.loadScratch(a.code, bytesTo(place)); }
  void store(Value element, Value place) const { f.storeScratch(element, bytesTo(place)); }

  FillBuilder &f;
  mutable ComputeOp op;
  Arithmetic a; // of the scores
  Value batch, head, row, keyHead;
  Value keys, first, last; // keys first .. last - 1 may be seen
  Value own;               // the query's number among the keys
  Value depth, width;      // of a query, of a value
  Value accumulator;       // where in scratch the result's row is
};

Type scoreType(ComputeOp op) { return ElementBuilder::codeType(elementOf(op.getOperand(0))); }

} // namespace

QueryAttention::QueryAttention(FillBuilder &f, ComputeOp op, ValueRange item)
    : f(f), op(op), a(f, scoreType(op)) {
  bool outer = intParam(op, "y_heads_first") != 0, keyOuter = intParam(op, "kv_heads_first") != 0;
  Value k = op.getOperand(1);
  batch = item[0];
  head = outer ? item[1] : item[2];
  row = outer ? item[2] : item[1];
  Value heads = f.extent(op.getResult(0), outer ? 1 : 2), keyHeads = f.extent(k, keyOuter ? 1 : 2);
  Value group = arith::DivUIOp::create(f.b, heads, f.max(keyHeads, f.index(1)));
  keyHead = arith::DivUIOp::create(f.b, head, f.max(group, f.index(1)));
  keys = accumulator = f.extent(k, keyOuter ? 2 : 1);
  depth = f.extent(op.getOperand(0), 3);
  width = f.extent(op.getOperand(2), 3);
  own = row;
  if (Value offsets = optional("offsets"))
    own = f.add(row, perBatch(offsets));
  first = f.index(0);
  last = keys;
  if (Value lengths = optional("lengths"))
    last = f.min(last, perBatch(lengths));
  int64_t left = intParam(op, "left"), right = intParam(op, "right");
  if (intParam(op, "causal"))
    right = 0;
  if (right >= 0)
    last = f.min(last, f.add(own, f.index(right + 1)));
  if (left >= 0)
    first = f.max(first, f.sub(own, f.index(left)));
  last = f.max(last, f.index(0));
  first = f.min(first, last);
}

Value QueryAttention::score(Value key) {
  Value q = op.getOperand(0), k = op.getOperand(1);
  Value product = f.loop(depth, a.constant(0), [&](Value i, ValueRange state) {
    return SmallVector<Value>{a.addProduct(state[0],
                                           a.read(q, place("q_heads_first", head, row, i)),
                                           a.read(k, place("kv_heads_first", keyHead, key, i)))};
  })[0];
  Value score = a.mul(product, a.constant(floatParam(op, "scale")));
  storeScore(0, key, score);
  if (double cap = floatParam(op, "softcap"); cap > 0) {
    Value squashed = math::TanhOp::create(f.b, a.mul(score, a.constant(1 / cap)));
    score = a.mul(squashed, a.constant(cap));
  }
  storeScore(1, key, score);
  if (Value mask = optional("mask")) {
    SmallVector<Value> at{batch, head, row, key};
    for (int64_t dim = 0; dim < 4; ++dim)
      if (tensorOf(mask).getDimSize(dim) == 1)
        at[dim] = f.index(0);
    score = elementOf(mask).isInteger(1) ? f.select(f.read(mask, at), score, a.least())
                                         : a.add(score, a.read(mask, at));
  }
  return score;
}

/// Adds the values of keys first .. first + count - 1 to the accumulator.
void QueryAttention::addValues(Value from, int64_t count) {
  SmallVector<Value> numbers, weights;
  for (int64_t i = 0; i < count; ++i) {
    numbers.push_back(i ? f.add(from, f.index(i)) : from);
    weights.push_back(load(numbers.back()));
  }
  f.loop(width, {}, [&](Value column, ValueRange) {
    Value to = f.add(accumulator, column);
    Value sum = load(to);
    for (auto [number, weight] : llvm::zip_equal(numbers, weights))
      sum = a.multiplyAdd(
          weight, a.read(op.getOperand(2), place("kv_heads_first", keyHead, number, column)), sum);
    store(sum, to);
    return SmallVector<Value>();
  });
}

void QueryAttention::run() {
  auto noValues = [] { return SmallVector<Value>(); };
  bool wantsAll = op.getNumResults() > 1;
  if (wantsAll) { // what no key of the range stores
    f.loop(keys, {}, [&](Value key, ValueRange) {
      Value seen = f.all(f.less(key, last), f.less(f.index(-1), f.sub(key, first)));
      if (intParam(op, "scores") < 2)
        f.either(seen, {}, noValues, [&] {
          score(key);
          return SmallVector<Value>();
        });
      else
        f.write(1, intParam(op, "scores") == 2 ? a.least() : a.constant(0),
                {batch, head, row, key});
      return SmallVector<Value>();
    });
  }
  Value count = f.sub(last, first);
  Value most = f.loop(count, a.least(), [&](Value i, ValueRange state) {
    Value key = f.add(first, i), value = score(key);
    storeScore(2, key, value);
    store(value, key);
    return SmallVector<Value>{a.max(state[0], value)};
  })[0];
  Value unseen = arith::CmpFOp::create(f.b, arith::CmpFPredicate::OEQ, most, a.least());
  Value base = f.select(unseen, a.constant(0), most);
  Value sum = f.loop(count, a.constant(0), [&](Value i, ValueRange state) {
    Value key = f.add(first, i);
    Value power = a.exp(a.sub(load(key), base));
    store(power, key);
    return SmallVector<Value>{a.addTerm(state[0], power)};
  })[0];
  Value inverse = f.select(unseen, a.constant(0), a.div(a.constant(1), sum));
  if (wantsAll && intParam(op, "scores") == 3)
    f.loop(count, {}, [&](Value i, ValueRange) {
      Value key = f.add(first, i);
      storeScore(3, key, a.mul(load(key), inverse));
      return SmallVector<Value>();
    });
  f.loop(width, {}, [&](Value column, ValueRange) {
    store(a.constant(0), f.add(accumulator, column));
    return SmallVector<Value>();
  });
  Value step = f.index(kValuesAtOnce), blocks = arith::DivUIOp::create(f.b, count, step);
  f.loop(blocks, {}, [&](Value block, ValueRange) {
    addValues(f.add(first, f.mul(block, step)), kValuesAtOnce);
    return SmallVector<Value>();
  });
  Value done = f.mul(blocks, step);
  f.loop(f.sub(count, done), {}, [&](Value rest, ValueRange) {
    addValues(f.add(first, f.add(done, rest)), 1);
    return SmallVector<Value>();
  });
  f.loop(width, {}, [&](Value column, ValueRange) {
    Value value = a.mul(load(f.add(accumulator, column)), inverse);
    f.write(0, value, place("y_heads_first", head, row, column));
    return SmallVector<Value>();
  });
}

static AffineExpr attentionScratch(ComputeOp op) {
  RankedTensorType k = tensorOf(op.getOperand(1)), v = tensorOf(op.getOperand(2));
  AffineExpr keys = extentExpr(op, k, intParam(op, "kv_heads_first") ? 2 : 1);
  return (keys + extentExpr(op, v, 3)) * int64_t(scoreType(op).getIntOrFloatBitWidth() / 8);
}

static LogicalResult verifyAttention(ComputeOp op) {
  if (failed(verifyCounts(op, 3, 6, 2)))
    return failure();
  for (StringRef name : {"q_heads_first", "kv_heads_first", "y_heads_first", "causal"})
    if (failed(verifyInt(op, name, 0, 1)))
      return failure();
  for (StringRef name : {"mask", "offsets", "lengths"})
    if (failed(verifyInt(op, name, -1, int64_t(op.getNumOperands()) - 1)))
      return failure();
  if (failed(verifyInt(op, "left", -1, INT32_MAX)) ||
      failed(verifyInt(op, "right", -1, INT32_MAX)) || failed(verifyFloat(op, "scale")) ||
      failed(verifyFloat(op, "softcap")) || failed(verifyInt(op, "scores", 0, 3)))
    return failure();
  for (Value operand : op.getOperands().take_front(3))
    if (tensorOf(operand).getRank() != 4 || !isa<FloatType>(elementOf(operand)))
      return op.emitOpError() << "takes queries, keys and values of 4 dims, found "
                              << tensorOf(operand);
  for (Value result : op.getResults())
    if (tensorOf(result).getRank() != 4)
      return op.emitOpError() << "has results of 4 dims";
  int64_t mask = intParam(op, "mask");
  if (mask >= 0 && tensorOf(op.getOperand(mask)).getRank() != 4)
    return op.emitOpError() << "takes a mask of 4 dims";
  for (StringRef name : {"offsets", "lengths"})
    if (int64_t position = intParam(op, name);
        position >= 0 && tensorOf(op.getOperand(position)).getRank() != 1)
      return op.emitOpError() << "takes '" << name << "' as a vector";
  return success();
}

// ---- Rotation ---------------------------------------------------------------------------------

/// Pairs of elements of the last dim of x [batch, rows, heads, depth] turned by angles whose
/// cosines and sines are operands 1 and 2, [positions, pairs] picked by operand 3 [batch, rows], or
/// without it [batch, rows, pairs]. The first 2 pairs elements are turned, the others stay. A pair
/// is elements i and i + pairs, or ("interleaved") 2 i and 2 i + 1. "heads_first": x is [batch,
/// heads, rows, depth].
static Value rotate(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), cosines = op.getOperand(1);
  Arithmetic a(e, elementOf(x));
  Value row = intParam(op, "heads_first") ? indices[2] : indices[1], column = indices[3];
  Value pairs = e.extent(cosines, tensorOf(cosines).getRank() - 1), zero = e.index(0);
  Value depth = e.extent(x, 3), last = e.sub(depth, e.index(1));
  Value pair, partner, second;
  if (intParam(op, "interleaved")) {
    Value one = e.index(1), two = e.index(2);
    pair = arith::DivUIOp::create(e.b, column, two);
    second = e.equal(arith::RemUIOp::create(e.b, column, two), one);
    partner = e.select(second, e.sub(column, one), e.add(column, one));
  } else {
    second = e.less(e.sub(pairs, e.index(1)), column);
    pair = e.select(second, e.sub(column, pairs), column);
    partner = e.select(second, pair, e.add(column, pairs));
  }
  Value turned = e.less(column, e.mul(pairs, e.index(2)));
  pair = e.max(e.min(pair, e.sub(pairs, e.index(1))), zero);
  partner = e.max(e.min(partner, last), zero);
  SmallVector<Value> angle{indices[0], row, pair};
  if (op.getNumOperands() > 3) {
    Value positions = op.getOperand(3);
    Value position = e.toIndex(e.read(positions, {indices[0], row}), elementOf(positions));
    Value limit = e.sub(e.extent(cosines, 0), e.index(1));
    angle = {e.max(e.min(position, limit), zero), pair};
  } else if (tensorOf(cosines).getDimSize(0) == 1) {
    angle[0] = zero;
  }
  SmallVector<Value> other(indices);
  other[3] = partner;
  Value element = e.read(x, indices), sine = a.read(op.getOperand(2), angle);
  sine = e.select(second, sine, arith::NegFOp::create(e.b, sine));
  Value result = a.add(a.mul(element, a.read(cosines, angle)), a.mul(e.read(x, other), sine));
  return e.select(turned, result, element);
}

static LogicalResult verifyRotation(ComputeOp op) {
  if (failed(verifyCounts(op, 3, 4)) || failed(verifyInt(op, "interleaved", 0, 1)) ||
      failed(verifyInt(op, "heads_first", 0, 1)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0));
  int64_t angles = op.getNumOperands() > 3 ? 2 : 3;
  if (x.getRank() != 4 || !isa<FloatType>(x.getElementType()) ||
      tensorOf(op.getResult(0)).getShape() != x.getShape())
    return op.emitOpError() << "turns floats of 4 dims, found " << x;
  for (Value operand : op.getOperands().slice(1, 2))
    if (tensorOf(operand).getRank() != angles)
      return op.emitOpError() << "takes cosines and sines of " << angles << " dims";
  if (op.getNumOperands() > 3 && tensorOf(op.getOperand(3)).getRank() != 2)
    return op.emitOpError() << "takes positions of 2 dims";
  return success();
}

ArrayRef<Operator> graph::attentionOperators() {
  static const Operator table[] = {
      Operator{
          "attention", Cost::Fill, nullptr, nullptr,
          [](FillBuilder &f, ComputeOp op, ValueRange item) { QueryAttention(f, op, item).run(); },
          [](ComputeOp) { return SmallVector<unsigned>{0, 1, 2}; }, attentionScratch, false, false,
          verifyAttention},
      Operator{"rotate", Cost::Many, nullptr, rotate, nullptr, nullptr, nullptr, false, false,
               verifyRotation},
      linearAttentionOperator(),
  };
  return table;
}
