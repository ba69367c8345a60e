// Elements found by what other tensors hold: gather and its relatives, reversed sequences, cache
// updates, n-grams. Places that a model gives are data: what lies outside a dim is brought to the
// nearest place inside, so that memory is never left.
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// operand 0 at `source`; 0 where a call gives a dim that is looked into no elements
/// (`maybe_empty`).
static Value readPlace(ElementBuilder &e, ComputeOp op, ValueRange source,
                       ArrayRef<unsigned> lookedInto) {
  Value data = op.getOperand(0);
  if (!hasParam(op, "maybe_empty"))
    return e.read(data, source);
  Value filled;
  for (unsigned dim : lookedInto) {
    Value some = e.less(e.index(0), e.extent(data, dim));
    filled = filled ? e.all(filled, some) : some;
  }
  Type element = tensorOf(data).getElementType();
  return e.either(
      filled, e.codeType(element), [&] { return SmallVector<Value>{e.read(data, source)}; },
      [&] { return SmallVector<Value>{e.constant(element, 0)}; })[0];
}

/// data, indices: dim `axis` of data is replaced by the dims of indices.
static Value gatherElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value data = op.getOperand(0), places = op.getOperand(1);
  int64_t axis = intParam(op, "axis"), inserted = tensorOf(places).getRank();
  Value given = e.readIndex(places, indices.slice(axis, inserted));
  SmallVector<Value> source(indices.take_front(axis));
  source.push_back(e.placeIn(given, e.extent(data, axis)));
  llvm::append_range(source, indices.drop_front(axis + inserted));
  return readPlace(e, op, source, unsigned(axis));
}

/// data, indices of the same rank: the element of data whose index along `axis` indices gives.
static Value gatherElementsElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value data = op.getOperand(0);
  int64_t axis = intParam(op, "axis");
  SmallVector<Value> source(indices);
  source[axis] = e.placeIn(e.readIndex(op.getOperand(1), indices), e.extent(data, axis));
  // Other dims of the indices are no larger than the data's; where that is only said, it is made
  // so.
  for (int64_t dim : intsParam(op, "bounded"))
    source[dim] = e.placeIn(source[dim], e.extent(data, dim));
  return readPlace(e, op, source, unsigned(axis));
}

/// data, indices [batch…, outer…, k]: k indices of the dims of data behind `batch_dims` shared
/// ones.
static Value gatherNdElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value data = op.getOperand(0), places = op.getOperand(1);
  int64_t batch = intParam(op, "batch_dims"), outer = tensorOf(places).getRank() - 1;
  int64_t depth = tensorOf(places).getDimSize(outer);
  SmallVector<Value> source(indices.take_front(batch));
  SmallVector<unsigned> lookedInto;
  for (int64_t i = 0; i < depth; ++i) {
    SmallVector<Value> place(indices.take_front(outer));
    place.push_back(e.index(i));
    lookedInto.push_back(unsigned(batch + i));
    source.push_back(e.placeIn(e.readIndex(places, place), e.extent(data, batch + i)));
  }
  llvm::append_range(source, indices.drop_front(outer));
  return readPlace(e, op, source, lookedInto);
}

/// data, lengths [batch]: the first lengths[b] elements along `time_axis` backwards.
static Value reverseSequenceElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value data = op.getOperand(0);
  int64_t time = intParam(op, "time_axis");
  Value extent = e.extent(data, time);
  Value length = e.readIndex(op.getOperand(1), indices[intParam(op, "batch_axis")]);
  length = e.max(e.min(length, extent), e.index(0));
  SmallVector<Value> source(indices);
  Value mirrored = e.sub(e.sub(length, e.index(1)), indices[time]);
  source[time] = e.select(e.less(indices[time], length), mirrored, indices[time]);
  return e.read(data, source);
}

/// past, update, starts [batch]: past with update from starts[b] on along `axis`; with `circular`
/// what goes over the end comes at the front.
static Value tensorScatterElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value past = op.getOperand(0), update = op.getOperand(1);
  int64_t axis = intParam(op, "axis");
  Value place = indices[axis];
  if (op.getNumOperands() > 2)
    place = e.sub(place, e.readIndex(op.getOperand(2), indices[0]));
  if (hasParam(op, "circular")) {
    Value extent = e.extent(past, axis), rest = arith::RemSIOp::create(e.b, place, extent);
    place = e.select(e.less(rest, e.index(0)), e.add(rest, extent), rest);
  }
  Value inside = e.all(e.less(e.index(-1), place), e.less(place, e.extent(update, axis)));
  SmallVector<Value> source(indices);
  source[axis] = place;
  return e.either(
      inside, e.codeType(tensorOf(past).getElementType()),
      [&] { return SmallVector<Value>{e.read(update, source)}; },
      [&] { return SmallVector<Value>{e.read(past, indices)}; })[0];
}

/// How often n-grams occur in rows of tokens [rows, n]. Operands: tokens; the n-grams' tokens, one
/// behind the other; of each n-gram the first of its tokens in there, their number, its column of
/// the result and its weight. Between tokens of an n-gram up to `max_skip` others may lie, always
/// as many. mode "tf": the number; "idf": the weight where there is one; "tfidf": the number times
/// the weight.
static void countNgrams(FillBuilder &f, ComputeOp op, ValueRange item) {
  Value tokens = op.getOperand(0), pool = op.getOperand(1), starts = op.getOperand(2);
  Value lengths = op.getOperand(3), columns = op.getOperand(4), weights = op.getOperand(5);
  StringRef mode = textParam(op, "mode");
  Type real = f.b.getF32Type(), poolType = tensorOf(pool).getElementType();
  Type tokenType = tensorOf(tokens).getElementType();
  Value row = item[0], one = f.index(1), zero = f.index(0);
  Value width = f.extent(op.getResult(0), 1), count = f.extent(tokens, 1);
  f.loop(width, {}, [&](Value column, ValueRange) {
    f.write(0, f.constant(real, 0), {row, column});
    return SmallVector<Value>();
  });
  f.loop(f.extent(starts, 0), {}, [&](Value gram, ValueRange) {
    Value first = f.readIndex(starts, gram), length = f.readIndex(lengths, gram);
    Value column = f.placeIn(f.readIndex(columns, gram), width);
    // A single token has nothing between its tokens.
    Value steps = f.select(f.equal(length, one), one, f.index(intParam(op, "max_skip") + 1));
    Value found = f.loop(steps, f.constant(real, 0), [&](Value skip, ValueRange outer) {
      Value step = f.add(skip, one);
      Value reach = f.mul(step, f.sub(length, one));
      return f.loop(f.max(f.sub(count, reach), zero), outer, [&](Value at, ValueRange inner) {
        Value yes = f.integer(f.b.getI1Type(), 1);
        Value all = f.loop(length, yes, [&](Value i, ValueRange so) {
          Value token = f.read(tokens, {row, f.add(at, f.mul(i, step))});
          Value wanted = f.read(pool, f.add(first, i));
          Value same = f.equal(f.convert(token, tokenType, poolType), wanted);
          return SmallVector<Value>{f.all(so[0], same)};
        })[0];
        Value more = arith::AddFOp::create(f.b, inner[0], f.constant(real, 1));
        return SmallVector<Value>{f.select(all, more, inner[0])};
      });
    })[0];
    Value weight = f.read(weights, gram), score = found;
    if (mode == "idf")
      score = f.select(
          arith::CmpFOp::create(f.b, arith::CmpFPredicate::OGT, found, f.constant(real, 0)), weight,
          f.constant(real, 0));
    else if (mode == "tfidf")
      score = arith::MulFOp::create(f.b, found, weight);
    f.write(0, arith::AddFOp::create(f.b, f.readBack(0, {row, column}), score), {row, column});
    return SmallVector<Value>();
  });
}

static SmallVector<unsigned> rowsOf(ComputeOp) { return {0}; }

#define LOOK_UP(name, function)                                                                    \
  Operator { name, Cost::Index, nullptr, function, nullptr, nullptr, nullptr, false, true }

ArrayRef<Operator> graph::lookUpOperators() {
  static const Operator table[] = {
      LOOK_UP("gather", gatherElement),
      LOOK_UP("gather_elements", gatherElementsElement),
      LOOK_UP("gather_nd", gatherNdElement),
      LOOK_UP("reverse_sequence", reverseSequenceElement),
      LOOK_UP("tensor_scatter", tensorScatterElement),
      Operator{"count_ngrams", Cost::Fill, nullptr, nullptr, countNgrams, rowsOf},
  };
  return table;
}
