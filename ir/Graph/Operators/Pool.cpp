// Pooling of images, channels last: a window's greatest elements, means and norms.
//
// An item is a position with all its channels. The channels of the window's taps are gathered in
// the result's row, so that the innermost loop runs along memory; where that cannot be (floats too
// narrow to gather in, or two results) each channel goes through the window by itself.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/Window.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

// ---- Windows ----------------------------------------------------------------------------------

Window::Window(ElementBuilder &e, ComputeOp op, ValueRange position)
    : e(e), op(op), batch(position.front()) {
  for (unsigned dim = 0; dim + 1 < position.size(); ++dim) {
    Value step = e.mul(position[dim + 1], e.index(intsParam(op, "strides")[dim]));
    starts.push_back(e.sub(step, e.index(intsParam(op, "pads_begin")[dim])));
    auto [first, count] = range(dim, e.index(0), e.extent(op.getOperand(0), dim + 1));
    firsts.push_back(first);
    counts.push_back(count);
  }
}

std::pair<Value, Value> Window::range(unsigned dim, Value low, Value high) const {
  Value zero = e.index(0), dilation = e.index(intsParam(op, "dilations")[dim]);
  Value kernel = e.index(intsParam(op, "kernel")[dim]);
  // Taps to go until `place`, rounded up; what lies behind it already is cut off below.
  auto tapsTo = [&](Value place) {
    Value way = e.add(e.sub(place, starts[dim]), e.sub(dilation, e.index(1)));
    return arith::DivSIOp::create(e.b, e.max(way, zero), dilation).getResult();
  };
  Value first = e.min(tapsTo(low), kernel);
  return {first, e.max(e.sub(e.min(tapsTo(high), kernel), first), zero)};
}

SmallVector<Value> Window::at(ValueRange taps, Value channel) const {
  SmallVector<Value> place{batch};
  for (auto [dim, tap] : llvm::enumerate(taps)) {
    Value way = e.mul(e.add(firsts[dim], tap), e.index(intsParam(op, "dilations")[dim]));
    place.push_back(e.add(starts[dim], way));
  }
  place.push_back(channel);
  return place;
}

Value Window::size(bool withPadding) const {
  Value size = e.index(1);
  for (unsigned dim = 0; dim < counts.size(); ++dim) {
    Value count = counts[dim];
    if (withPadding) {
      Value low = e.index(-intsParam(op, "pads_begin")[dim]);
      Value high =
          e.add(e.extent(op.getOperand(0), dim + 1), e.index(intsParam(op, "pads_end")[dim]));
      count = range(dim, low, high).second;
    }
    size = e.mul(size, count);
  }
  return size;
}

Value graph::groupExtent(ElementBuilder &e, ComputeOp op, Value channels) {
  int64_t groups = intParam(op, "groups");
  return groups == 1 ? channels
                     : arith::DivUIOp::create(e.b, channels, e.index(groups)).getResult();
}

SmallVector<unsigned> graph::dimsButLast(ComputeOp op) {
  return llvm::to_vector(llvm::seq<unsigned>(0, tensorOf(op.getResult(0)).getRank() - 1));
}

LogicalResult graph::verifyWindowParams(ComputeOp op) {
  if (op.getNumOperands() == 0)
    return op.emitOpError() << "takes an image";
  RankedTensorType x = tensorOf(op.getOperand(0)), result = tensorOf(op.getResult(0));
  if (x.getRank() < 3 || result.getRank() != x.getRank())
    return op.emitOpError() << "takes and gives [N, spatial dims, C], found " << x << " and "
                            << result;
  size_t spatial = size_t(x.getRank()) - 2;
  for (auto [name, least] : {std::pair<StringRef, int64_t>("kernel", 1),
                             {"strides", 1},
                             {"pads_begin", 0},
                             {"pads_end", 0},
                             {"dilations", 1}})
    if (failed(verifyInts(op, name, spatial, least)))
      return failure();
  return success();
}

// ---- Pools ------------------------------------------------------------------------------------

namespace {

/// A row of the result, channel by channel, from the window's taps.
class PooledRow {
public:
  PooledRow(FillBuilder &f, ComputeOp op, ValueRange position)
      : f(f), op(op), position(position), window(f, op, position),
        a(f, elementOf(op.getOperand(0))),
        channels(f.extent(op.getOperand(0), tensorOf(op.getOperand(0)).getRank() - 1)) {}

  FillBuilder &f;
  ComputeOp op;
  ValueRange position;
  Window window;
  Arithmetic a;
  Value channels;

  SmallVector<Value> target(Value channel) const {
    SmallVector<Value> place(position);
    place.push_back(channel);
    return place;
  }
  /// result = last(step(… step(init, tap) …, tap))
  void fold(Value init, llvm::function_ref<Value(Value, Value)> step,
            llvm::function_ref<Value(Value)> last);
};

} // namespace

void PooledRow::fold(Value init, llvm::function_ref<Value(Value, Value)> step,
                     llvm::function_ref<Value(Value)> last) {
  Value x = op.getOperand(0);
  auto forChannels = [&](llvm::function_ref<Value(Value)> make) {
    f.loop(channels, {}, [&](Value channel, ValueRange) {
      f.write(0, make(channel), target(channel));
      return SmallVector<Value>();
    });
  };
  if (a.isNarrowFloat()) {
    forChannels([&](Value channel) {
      return last(f.loops(window.counts, init, [&](ValueRange taps, ValueRange state) {
        return SmallVector<Value>{step(state[0], f.read(x, window.at(taps, channel)))};
      })[0]);
    });
    return;
  }
  forChannels([&](Value) { return init; });
  f.loops(window.counts, {}, [&](ValueRange taps, ValueRange) {
    forChannels([&](Value channel) {
      return step(f.readBack(0, target(channel)), f.read(x, window.at(taps, channel)));
    });
    return SmallVector<Value>();
  });
  if (last)
    forChannels([&](Value channel) { return last(f.readBack(0, target(channel))); });
}

/// The number that an element of x [N, spatial..., C] has in [N, C, spatial...]; "column": with the
/// first spatial dim fastest.
static Value numberOf(FillBuilder &f, Value x, ValueRange place, bool column) {
  unsigned spatial = unsigned(place.size()) - 2;
  Value number = f.add(f.mul(place.front(), f.extent(x, spatial + 1)), place.back());
  for (unsigned i = 0; i < spatial; ++i) {
    unsigned dim = column ? spatial - i : i + 1;
    number = f.add(f.mul(number, f.extent(x, dim)), place[dim]);
  }
  return number;
}

/// The greatest elements; with two results also their numbers in [N, C, spatial...].
static void maxPool(FillBuilder &f, ComputeOp op, ValueRange position) {
  PooledRow row(f, op, position);
  const Arithmetic &a = row.a;
  Value x = op.getOperand(0);
  if (op.getNumResults() == 1) {
    auto largest = [&](Value most, Value element) { return a.max(most, element); };
    if (a.isNarrowFloat())
      row.fold(a.least(), largest, [](Value most) { return most; });
    else
      row.fold(a.least(), largest, nullptr);
    return;
  }
  f.loop(row.channels, {}, [&](Value channel, ValueRange) {
    SmallVector<Value> best = f.loops(
        row.window.counts, {a.least(), f.index(-1)}, [&](ValueRange taps, ValueRange state) {
          SmallVector<Value> place = row.window.at(taps, channel);
          Value element = f.read(x, place);
          Value better = f.any(a.less(state[0], element), f.less(state[1], f.index(0)));
          Value number = numberOf(f, x, place, intParam(op, "column") != 0);
          return SmallVector<Value>{f.select(better, element, state[0]),
                                    f.select(better, number, state[1])};
        });
    f.write(0, best[0], row.target(channel));
    f.write(1, f.fromIndex(best[1], elementOf(op.getResult(1))), row.target(channel));
    return SmallVector<Value>();
  });
}

/// Means of the taps inside the image, or ("count_padding") inside the image with its padding.
static void averagePool(FillBuilder &f, ComputeOp op, ValueRange position) {
  PooledRow row(f, op, position);
  const Arithmetic &a = row.a;
  Value size = f.max(row.window.size(intParam(op, "count_padding") != 0), f.index(1));
  Value count = f.fromIndex(size, a.code);
  row.fold(
      a.constant(0), [&](Value sum, Value element) { return a.add(sum, element); },
      [&](Value sum) { return a.div(sum, count); });
}

/// The p-th root of the sum of p-th powers of sizes.
static void normPool(FillBuilder &f, ComputeOp op, ValueRange position) {
  PooledRow row(f, op, position);
  const Arithmetic &a = row.a;
  int64_t p = intParam(op, "p");
  auto power = [&](Value x, double exponent) {
    Value size = a.exp(a.mul(a.log(x), a.constant(exponent)));
    Value zero = arith::CmpFOp::create(f.b, arith::CmpFPredicate::OEQ, x, a.constant(0));
    return f.select(zero, x, size);
  };
  row.fold(
      a.constant(0),
      [&](Value sum, Value element) {
        Value size = a.abs(element);
        return a.add(sum, p == 1 ? size : p == 2 ? a.mul(size, size) : power(size, double(p)));
      },
      [&](Value sum) { return p == 1   ? sum
                              : p == 2 ? a.sqrt(sum)
                                       : power(sum, 1.0 / double(p)); });
}

/// Zeros, with the elements of operand 0 at the places that operand 1 tells; all are vectors.
static void scatterFlat(FillBuilder &f, ComputeOp op, ValueRange) {
  Value x = op.getOperand(0), places = op.getOperand(1);
  Arithmetic a(f, elementOf(x));
  Value size = f.extent(op.getResult(0), 0);
  f.loop(size, {}, [&](Value i, ValueRange) {
    f.write(0, a.constant(0), i);
    return SmallVector<Value>();
  });
  f.loop(f.extent(x, 0), {}, [&](Value i, ValueRange) {
    Value place = f.toIndex(f.read(places, i), elementOf(places));
    Value inside = arith::CmpIOp::create(f.b, arith::CmpIPredicate::ult, place, size);
    f.either(
        inside, {},
        [&] {
          f.write(0, f.read(x, i), place);
          return SmallVector<Value>();
        },
        [] { return SmallVector<Value>(); });
    return SmallVector<Value>();
  });
}

static LogicalResult verifyMaxPool(ComputeOp op) {
  if (failed(verifyCounts(op, 1, 1, 2)) || failed(verifyWindowParams(op)))
    return failure();
  return op.getNumResults() == 1 ? success() : verifyInt(op, "column", 0, 1);
}
static LogicalResult verifyAveragePool(ComputeOp op) {
  if (failed(verifyCounts(op, 1, 1)) || failed(verifyWindowParams(op)))
    return failure();
  return verifyInt(op, "count_padding", 0, 1);
}
static LogicalResult verifyNormPool(ComputeOp op) {
  if (failed(verifyCounts(op, 1, 1)) || failed(verifyWindowParams(op)))
    return failure();
  return verifyInt(op, "p", 1, 1 << 20);
}
static LogicalResult verifyScatterFlat(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 2)))
    return failure();
  for (Type type : llvm::concat<Type>(SmallVector<Type>(op->getOperandTypes()),
                                      SmallVector<Type>(op->getResultTypes())))
    if (cast<RankedTensorType>(type).getRank() != 1)
      return op.emitOpError() << "takes and gives vectors, found " << type;
  return success();
}

ArrayRef<Operator> graph::poolOperators() {
#define POOL(name, function, verify)                                                               \
  Operator {                                                                                       \
    name, Cost::Fill, nullptr, nullptr, function, dimsButLast, nullptr, false, false, verify       \
  }
  static const Operator table[] = {
      POOL("max_pool", maxPool, verifyMaxPool),
      POOL("average_pool", averagePool, verifyAveragePool),
      POOL("lp_pool", normPool, verifyNormPool),
      Operator{"scatter_flat", Cost::Fill, nullptr, nullptr, scatterFlat, nullptr, nullptr, false,
               false, verifyScatterFlat},
  };
  return table;
#undef POOL
}
