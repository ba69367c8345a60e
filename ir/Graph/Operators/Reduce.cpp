// Sums, extremes and norms along axes.
//
// A reduction tells an element of its result from a box of its operand. What needs a reduction for
// every element of a row (softmax, norms) writes the row instead, in a few passes over it. Sums are
// taken in any order, so that LLVM makes vectors of them; narrow floats are summed in f32.
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Reductions -------------------------------------------------------------------------------

namespace {

/// The part of an operand that one element of a reduction is made of.
struct Box {
  SmallVector<Value> first; // its corner
  SmallVector<Value> counts;
  SmallVector<unsigned> dims; // those that `counts` are along

  SmallVector<Value> at(ElementBuilder &e, ValueRange inner) const {
    SmallVector<Value> place(first);
    for (auto [dim, index] : llvm::zip_equal(dims, inner))
      place[dim] = place[dim] ? e.add(place[dim], index) : index;
    return place;
  }
};

enum class Reduction { Sum, Mean, Prod, Max, Min, SumSquare, L1, L2, LogSum, LogSumExp };

} // namespace

/// Whether `dim` is among the elements of `axes`, which may count from the end.
static Value isAmong(ElementBuilder &e, Value axes, unsigned dim, unsigned rank) {
  Value no = e.integer(e.b.getI1Type(), 0);
  return e.loop(e.extent(axes, 0), no, [&](Value i, ValueRange found) {
    Value axis = e.toIndex(e.read(axes, i), elementOf(axes));
    Value here = e.any(e.equal(axis, e.index(dim)), e.equal(axis, e.index(int64_t(dim) - rank)));
    return SmallVector<Value>{e.any(found[0], here)};
  })[0];
}

/// Reduction of operand 0 along `axes`, which operand 1 gives where there is one. A result that
/// keeps its dims has one element along each axis.
static Box boxOf(ElementBuilder &e, ComputeOp op, ValueRange indices) {
  Value x = op.getOperand(0);
  unsigned rank = tensorOf(x).getRank();
  bool keep = intParam(op, "keep_dims") != 0;
  Box box;
  box.first.resize(rank);
  if (op.getNumOperands() == 1) {
    ArrayRef<int64_t> axes = intsParam(op, "axes");
    unsigned next = 0;
    for (unsigned dim = 0; dim < rank; ++dim) {
      bool reduced = llvm::is_contained(axes, int64_t(dim));
      if (!reduced)
        box.first[dim] = indices[next];
      next += keep || !reduced;
      if (!reduced)
        continue;
      box.dims.push_back(dim);
      box.counts.push_back(e.extent(x, dim));
    }
    return box;
  }
  Value next = e.index(0), zero = e.index(0), one = e.index(1);
  for (unsigned dim = 0; dim < rank; ++dim) {
    Value reduced = isAmong(e, op.getOperand(1), dim, rank);
    if (hasParam(op, "none_is_all"))
      reduced = e.any(reduced, e.equal(e.extent(op.getOperand(1), 0), zero));
    Value here = zero;
    if (keep) {
      here = indices[dim];
    } else { // the next index that no kept dim has had
      for (auto [i, index] : llvm::enumerate(indices))
        here = e.select(e.equal(next, e.index(i)), index, here);
      next = e.add(next, e.select(reduced, zero, one));
    }
    // Axes that do not fit the result's shape stay inside the operand all the same.
    Value extent = e.extent(x, dim);
    here = e.max(e.min(here, e.sub(extent, one)), zero);
    box.first[dim] = e.select(reduced, zero, here);
    box.dims.push_back(dim);
    box.counts.push_back(e.select(reduced, extent, e.min(one, extent)));
  }
  return box;
}

static Value countOf(ElementBuilder &e, const Box &box) {
  Value count = e.index(1);
  for (Value extent : box.counts)
    count = e.mul(count, extent);
  return count;
}

/// An infinite number as 0: what may be subtracted from it.
static Value finite(const Arithmetic &a, Value x) {
  Value infinite = arith::CmpFOp::create(a.b, arith::CmpFPredicate::OEQ, a.abs(x), a.greatest());
  return a.e.select(infinite, a.constant(0), x);
}

template <Reduction kind>
static Value reduce(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0);
  Type type = elementOf(x);
  bool isInteger = !isa<FloatType>(type);
  // Logarithms and roots of integers are taken of floats.
  Type inner = isInteger && kind == Reduction::LogSumExp ? e.b.getF32Type() : type;
  Arithmetic a(e, inner);
  Box box = boxOf(e, op, indices);
  auto fold = [&](Value init, llvm::function_ref<Value(Value, Value)> step) {
    return e.loops(box.counts, init, [&](ValueRange place, ValueRange state) {
      return SmallVector<Value>{step(state[0], a.read(x, box.at(e, place)))};
    })[0];
  };
  auto sum = [&](Value s, Value v) { return a.addTerm(s, v); };
  auto sumOfSquares = [&](Value s, Value v) { return a.addProduct(s, v, v); };
  /// A function of a float, of whatever the sum is.
  auto through = [&](Type floating, Value value, auto function) {
    Value result = function(e.convert(value, inner, floating));
    return e.convert(result, floating, type);
  };
  Value zero = a.constant(0);
  switch (kind) {
  case Reduction::Sum:
    return fold(zero, sum);
  case Reduction::Mean:
    return a.div(fold(zero, sum), e.fromIndex(countOf(e, box), a.code));
  case Reduction::Prod:
    return fold(a.constant(1), [&](Value s, Value v) { return a.mulFactor(s, v); });
  case Reduction::Max:
    return fold(a.least(), [&](Value s, Value v) { return a.max(s, v); });
  case Reduction::Min:
    return fold(a.greatest(), [&](Value s, Value v) { return a.min(s, v); });
  case Reduction::SumSquare:
    return fold(zero, sumOfSquares);
  case Reduction::L1:
    return fold(zero, [&](Value s, Value v) { return a.addTerm(s, a.abs(v)); });
  case Reduction::L2:
    return through(isInteger ? e.b.getF64Type() : type, fold(zero, sumOfSquares),
                   [&](Value s) { return math::SqrtOp::create(e.b, s).getResult(); });
  case Reduction::LogSum:
    return through(isInteger ? e.b.getF32Type() : type, fold(zero, sum),
                   [&](Value s) { return math::LogOp::create(e.b, s).getResult(); });
  case Reduction::LogSumExp: {
    Value most = fold(a.least(), [&](Value s, Value v) { return a.max(s, v); });
    Value base = finite(a, most);
    Value total = fold(zero, [&](Value s, Value v) { return a.addTerm(s, a.exp(a.sub(v, base))); });
    return e.convert(a.add(a.log(total), base), inner, type);
  }
  }
  llvm_unreachable("all kinds are above");
}

static LogicalResult verifyReduction(ComputeOp op) {
  if (failed(verifyCounts(op, 1, 2)) || failed(verifyInt(op, "keep_dims", 0, 1)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0)), result = tensorOf(op.getResult(0));
  bool keep = intParam(op, "keep_dims") != 0;
  if (op.getNumOperands() == 2) {
    if (tensorOf(op.getOperand(1)).getRank() != 1)
      return op.emitOpError() << "takes the axes as a vector";
    if (keep ? result.getRank() != x.getRank() : result.getRank() > x.getRank())
      return op.emitOpError() << "expected a result of the operand's rank, found " << result;
    return success();
  }
  auto axes = op.getParams().getAs<DenseI64ArrayAttr>("axes");
  if (!axes || llvm::any_of(axes.asArrayRef(),
                            [&](int64_t axis) { return axis < 0 || axis >= x.getRank(); }))
    return op.emitOpError() << "needs 'axes' of " << x;
  SmallVector<int64_t> sorted(axes.asArrayRef());
  llvm::sort(sorted);
  if (std::unique(sorted.begin(), sorted.end()) != sorted.end())
    return op.emitOpError() << "names an axis twice";
  if (result.getRank() != x.getRank() - (keep ? 0 : axes.size()))
    return op.emitOpError() << "expected a result of rank "
                            << x.getRank() - (keep ? 0 : axes.size()) << ", found " << result;
  return success();
}

/// The place of the greatest element along `axis` (the least: "least"), of equal ones the first or
/// the last ("last").
static Value extremePlace(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0);
  Arithmetic a(e, elementOf(x));
  int64_t axis = intParam(op, "axis");
  SmallVector<Value> place(indices);
  if (!intParam(op, "keep_dims"))
    place.insert(place.begin() + axis, Value());
  auto at = [&](Value i) {
    place[axis] = i;
    return e.read(x, place);
  };
  Value zero = e.index(0);
  Value best = e.loop(e.extent(x, axis), {at(zero), zero}, [&](Value i, ValueRange state) {
    Value element = at(i);
    Value left = state[0], right = element;
    if (intParam(op, "least"))
      std::swap(left, right);
    Value better = intParam(op, "last") ? arith::XOrIOp::create(e.b, a.less(right, left),
                                                                e.integer(e.b.getI1Type(), 1))
                                              .getResult()
                                        : a.less(left, right);
    return SmallVector<Value>{e.select(better, element, state[0]), e.select(better, i, state[1])};
  })[1];
  return e.fromIndex(best, elementOf(op.getResult(0)));
}

static LogicalResult verifyExtremePlace(ComputeOp op) {
  RankedTensorType x = tensorOf(op.getOperand(0));
  if (failed(verifyCounts(op, 1, 1)) || failed(verifyInt(op, "axis", 0, x.getRank() - 1)) ||
      failed(verifyInt(op, "keep_dims", 0, 1)) || failed(verifyInt(op, "least", 0, 1)) ||
      failed(verifyInt(op, "last", 0, 1)))
    return failure();
  if (tensorOf(op.getResult(0)).getRank() != x.getRank() - (intParam(op, "keep_dims") ? 0 : 1))
    return op.emitOpError() << "has a result of another rank";
  return success();
}

// ---- Rows -------------------------------------------------------------------------------------

static SmallVector<unsigned> dimsBut(ComputeOp op, int64_t axis) {
  SmallVector<unsigned> dims;
  for (int64_t dim = 0; dim < tensorOf(op.getResult(0)).getRank(); ++dim)
    if (dim != axis)
      dims.push_back(unsigned(dim));
  return dims;
}
static SmallVector<unsigned> dimsButAxis(ComputeOp op) { return dimsBut(op, intParam(op, "axis")); }

/// e^x over the sum of e^x along `axis`, or its logarithm.
template <bool logarithm> static void softmax(FillBuilder &f, ComputeOp op, ValueRange outer) {
  Value x = op.getOperand(0);
  Arithmetic a(f, elementOf(x));
  int64_t axis = intParam(op, "axis");
  Value count = f.extent(x, axis);
  auto at = [&](Value i) {
    SmallVector<Value> place(outer);
    place.insert(place.begin() + axis, i);
    return place;
  };
  Value most = f.loop(count, a.least(), [&](Value i, ValueRange state) {
    return SmallVector<Value>{a.max(state[0], f.read(x, at(i)))};
  })[0];
  // A narrow float's e^x is made twice, rather than rounded in between.
  bool keeps = !logarithm && !a.isNarrowFloat();
  Value sum = f.loop(count, a.constant(0), [&](Value i, ValueRange state) {
    Value power = a.exp(a.sub(f.read(x, at(i)), most));
    if (keeps)
      f.write(0, power, at(i));
    return SmallVector<Value>{a.addTerm(state[0], power)};
  })[0];
  Value last = logarithm ? a.log(sum) : a.div(a.constant(1), sum);
  f.loop(count, {}, [&](Value i, ValueRange) {
    Value result;
    if (keeps)
      result = a.mul(f.readBack(0, at(i)), last);
    else if (logarithm)
      result = a.sub(a.sub(f.read(x, at(i)), most), last);
    else
      result = a.mul(a.exp(a.sub(f.read(x, at(i)), most)), last);
    f.write(0, result, at(i));
    return SmallVector<Value>();
  });
}

static LogicalResult verifySoftmax(ComputeOp op) {
  RankedTensorType x = tensorOf(op.getOperand(0));
  if (failed(verifyCounts(op, 1, 1)) || failed(verifyInt(op, "axis", 0, x.getRank() - 1)))
    return failure();
  RankedTensorType result = tensorOf(op.getResult(0)); // of a constant, x has an encoding more
  if (!isa<FloatType>(x.getElementType()) || result.getElementType() != x.getElementType() ||
      result.getShape() != x.getShape())
    return op.emitOpError() << "has a result of the type of its operand, floats";
  return success();
}

static SmallVector<unsigned> dimsBeforeAxis(ComputeOp op) {
  return llvm::to_vector(llvm::seq<unsigned>(0, unsigned(intParam(op, "axis"))));
}

/// (x - mean) / sqrt(variance + eps), or without `centred` x / sqrt(mean of squares + eps), over
/// the dims from `axis` on, times operand 1, plus operand 2, both broadcast. Results: that, the
/// means and the reciprocal roots, dims of extent 1 from `axis` on.
template <bool centred> static void normalize(FillBuilder &f, ComputeOp op, ValueRange outer) {
  Value x = op.getOperand(0);
  RankedTensorType shape = tensorOf(x);
  Arithmetic a(f, elementOf(x));
  SmallVector<Value> counts;
  Value number = f.index(1);
  for (int64_t dim = outer.size(); dim < shape.getRank(); ++dim) {
    counts.push_back(f.extent(x, dim));
    number = f.mul(number, counts.back());
  }
  auto at = [&](ValueRange inner) {
    SmallVector<Value> place(outer);
    llvm::append_range(place, inner);
    return place;
  };
  Value count = f.fromIndex(number, a.code);
  Value mean;
  if (centred) {
    Value sum = f.loops(counts, a.constant(0), [&](ValueRange inner, ValueRange state) {
      return SmallVector<Value>{a.addTerm(state[0], f.read(x, at(inner)))};
    })[0];
    mean = a.div(sum, count);
  }
  auto centre = [&](ValueRange inner) {
    Value element = f.read(x, at(inner));
    return centred ? a.sub(element, mean) : element;
  };
  Value squares = f.loops(counts, a.constant(0), [&](ValueRange inner, ValueRange state) {
    Value element = centre(inner);
    return SmallVector<Value>{a.addProduct(state[0], element, element)};
  })[0];
  Value root = a.sqrt(a.add(a.div(squares, count), a.constant(floatParam(op, "eps"))));
  Value factor = a.div(a.constant(1), root);
  auto parameter = [&](unsigned operand, ValueRange inner) {
    Value tensor = op.getOperand(operand);
    return a.read(tensor, broadcastIndices(f, tensor, shape, at(inner)));
  };
  f.loops(counts, {}, [&](ValueRange inner, ValueRange) {
    Value element = a.mul(centre(inner), factor);
    if (op.getNumOperands() > 1)
      element = a.mul(element, parameter(1, inner));
    if (op.getNumOperands() > 2)
      element = a.add(element, parameter(2, inner));
    f.write(0, element, at(inner));
    return SmallVector<Value>();
  });
  SmallVector<Value> corner(counts.size(), f.index(0));
  for (unsigned result = 1; result < op.getNumResults(); ++result) {
    Value value = result == 1 ? mean : factor;
    f.write(result, f.convert(value, a.code, elementOf(op.getResult(result))), at(corner));
  }
}

template <bool centred> static LogicalResult verifyNormalization(ComputeOp op) {
  RankedTensorType x = tensorOf(op.getOperand(0));
  if (failed(verifyCounts(op, 1, 3, centred ? 3 : 1)) ||
      failed(verifyInt(op, "axis", 0, x.getRank() - 1)) || failed(verifyFloat(op, "eps")))
    return failure();
  if (!isa<FloatType>(x.getElementType()) || tensorOf(op.getResult(0)).getShape() != x.getShape())
    return op.emitOpError() << "has a result of its operand's shape, floats";
  for (Value operand : op.getOperands().drop_front())
    if (tensorOf(operand).getRank() > x.getRank())
      return op.emitOpError() << "a factor or summand has more dims than what is normalized";
  for (Value result : op.getResults().drop_front())
    if (tensorOf(result).getRank() != x.getRank())
      return op.emitOpError() << "means have the rank of what is normalized";
  return success();
}

/// x / (bias + alpha/size * sum of squares of `size` neighbours along `axis`)^beta.
static Value localResponse(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0);
  Arithmetic a(e, elementOf(x));
  int64_t axis = intParam(op, "axis"), size = intParam(op, "size");
  Value first = e.max(e.sub(indices[axis], e.index((size - 1) / 2)), e.index(0));
  Value last = e.min(e.add(indices[axis], e.index(size / 2)), e.sub(e.extent(x, axis), e.index(1)));
  Value count = e.add(e.sub(last, first), e.index(1));
  Value squares = e.loop(count, a.constant(0), [&](Value i, ValueRange state) {
    SmallVector<Value> place(indices);
    place[axis] = e.add(first, i);
    Value element = e.read(x, place);
    return SmallVector<Value>{a.addProduct(state[0], element, element)};
  })[0];
  Value base = a.add(a.mul(squares, a.constant(floatParam(op, "alpha") / double(size))),
                     a.constant(floatParam(op, "bias")));
  Value power = a.exp(a.mul(a.log(base), a.constant(-floatParam(op, "beta"))));
  return a.mul(e.read(x, indices), power);
}

static LogicalResult verifyLocalResponse(ComputeOp op) {
  RankedTensorType x = tensorOf(op.getOperand(0));
  if (failed(verifyCounts(op, 1, 1)) || failed(verifyInt(op, "axis", 0, x.getRank() - 1)) ||
      failed(verifyInt(op, "size", 1, INT32_MAX)) || failed(verifyFloat(op, "alpha")) ||
      failed(verifyFloat(op, "beta")) || failed(verifyFloat(op, "bias")))
    return failure();
  return success();
}

ArrayRef<Operator> graph::reduceOperators() {
#define REDUCTION(name, kind)                                                                      \
  Operator{name,    Cost::Once, nullptr, reduce<Reduction::kind>, nullptr, nullptr,                \
           nullptr, false,      false,   verifyReduction}
#define ROWS(name, function, items, verify)                                                        \
  Operator { name, Cost::Fill, nullptr, nullptr, function, items, nullptr, false, false, verify }
  static const Operator table[] = {
      REDUCTION("reduce_sum", Sum),
      REDUCTION("reduce_mean", Mean),
      REDUCTION("reduce_prod", Prod),
      REDUCTION("reduce_max", Max),
      REDUCTION("reduce_min", Min),
      REDUCTION("reduce_sum_square", SumSquare),
      REDUCTION("reduce_l1", L1),
      REDUCTION("reduce_l2", L2),
      REDUCTION("reduce_log_sum", LogSum),
      Operator{"reduce_log_sum_exp", Cost::Many, nullptr, reduce<Reduction::LogSumExp>, nullptr,
               nullptr, nullptr, false, false, verifyReduction},
      Operator{"arg_extreme", Cost::Many, nullptr, extremePlace, nullptr, nullptr, nullptr, false,
               false, verifyExtremePlace},
      Operator{"lrn", Cost::Many, nullptr, localResponse, nullptr, nullptr, nullptr, false, false,
               verifyLocalResponse},
      ROWS("softmax", softmax<false>, dimsButAxis, verifySoftmax),
      ROWS("log_softmax", softmax<true>, dimsButAxis, verifySoftmax),
      ROWS("layer_norm", normalize<true>, dimsBeforeAxis, verifyNormalization<true>),
      ROWS("rms_norm", normalize<false>, dimsBeforeAxis, verifyNormalization<false>),
  };
  return table;
#undef REDUCTION
#undef ROWS
}
