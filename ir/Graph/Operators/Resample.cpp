// Images at other places than their elements' own: resizing, sampling by a grid, regions.
//
// Resizing works along one dim at a time, which for the kinds of interpolation there are is the
// same as along all at once. All that follows from the place in the result alone is computed
// outside of the loop over channels by LLVM, since channels come last and nothing here branches on
// them.
#include "ir/Graph/Operators.h"
#include "ir/Graph/Operators/Arithmetic.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {

/// Arithmetic on the places between elements.
class Places : public Arithmetic {
public:
  Places(ElementBuilder &e, Type type) : Arithmetic(e, type) {}
  Value floor(Value x) const { return math::FloorOp::create(b, x); }
  Value ceil(Value x) const { return math::CeilOp::create(b, x); }
  Value roundEven(Value x) const { return math::RoundEvenOp::create(b, x); }
  Value clamp(Value x, Value low, Value high) const { return min(max(x, low), high); }
  Value toIndex(Value whole) const {
    // What is no number at all lies at the front.
    Value sound = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, abs(whole), constant(1e15));
    Value safe = e.select(sound, whole, constant(0));
    Value wide = arith::FPToSIOp::create(b, b.getI64Type(), safe);
    return arith::IndexCastOp::create(b, b.getIndexType(), wide);
  }
  Value fromIndex(Value index) const { return e.fromIndex(index, type); }
  Value convert(Value x, Type to) const { return e.convert(x, type, to); }

  /// Weight of a tap at a distance: 1 - |d|, not below 0.
  Value linearWeight(Value distance) const {
    return max(sub(constant(1), abs(distance)), constant(0));
  }
  /// Keys' cubic, zero from 2 on.
  Value cubicWeight(Value distance, double a) const {
    Value d = abs(distance);
    Value near = add(mul(mul(sub(mul(d, constant(a + 2)), constant(a + 3)), d), d), constant(1));
    Value far =
        mul(sub(mul(add(mul(sub(d, constant(5)), d), constant(8)), d), constant(4)), constant(a));
    return e.select(less(constant(1), d), e.select(less(d, constant(2)), far, constant(0)), near);
  }
};

} // namespace

static Value inRange(ElementBuilder &e, Value place, Value extent) {
  return arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, place, extent);
}
static Value clampIndex(ElementBuilder &e, Value place, Value extent) {
  return e.max(e.min(place, e.sub(extent, e.index(1))), e.index(0));
}

// ---- Resizing ---------------------------------------------------------------------------------

/// Where element `o` of the result lies in the operand: (o + c0) * c1 / c2 + c3, with c the
/// elements of operand 1 (f64).
static Value originalPlace(const Places &p, ComputeOp op, Value o) {
  auto coefficient = [&](int64_t i) { return p.e.read(op.getOperand(1), p.e.index(i)); };
  Value moved = p.mul(p.add(p.fromIndex(o), coefficient(0)), coefficient(1));
  return p.add(p.div(moved, coefficient(2)), coefficient(3));
}

/// An element, or `extrapolation` for places outside of the operand where the op has that.
static Value orOutside(const Places &p, ComputeOp op, Value place, Value extent, Value element,
                       const Arithmetic &a) {
  if (!hasParam(op, "extrapolation"))
    return element;
  Value last = p.sub(p.fromIndex(extent), p.constant(1));
  Value outside = p.e.any(p.less(place, p.constant(0)), p.less(last, place));
  return p.e.select(outside, a.constant(floatParam(op, "extrapolation")), element);
}

static Value resizeNearest(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Places p(e, e.b.getF64Type());
  Value x = op.getOperand(0);
  int64_t axis = intParam(op, "axis");
  Value extent = e.extent(x, axis), place = originalPlace(p, op, indices[axis]);
  StringRef rounding = textParam(op, "rounding");
  Value half = p.constant(0.5), whole;
  if (rounding == "floor")
    whole = p.floor(place);
  else if (rounding == "ceil")
    whole = p.ceil(place);
  else if (rounding == "round_prefer_floor")
    whole = p.ceil(p.sub(place, half));
  else
    whole = p.floor(p.add(place, half));
  SmallVector<Value> source(indices);
  source[axis] = clampIndex(e, p.toIndex(whole), extent);
  return orOutside(p, op, place, extent, e.read(x, source),
                   Arithmetic(e, elementOf(op.getResult(0))));
}

/// Interpolation between 2 (linear) or 4 (cubic) neighbours; "antialias" between as many as one
/// element of the result covers, c4 being its size in elements of the operand, inverted.
static Value resize(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Places p(e, e.b.getF64Type());
  Value x = op.getOperand(0);
  Arithmetic a(e, elementOf(x));
  int64_t axis = intParam(op, "axis");
  bool cubic = textParam(op, "mode") == "cubic", antialias = intParam(op, "antialias") != 0,
       exclude = intParam(op, "exclude_outside") != 0;
  Value extent = e.extent(x, axis), place = originalPlace(p, op, indices[axis]);
  Value whole = p.floor(place), ratio = p.sub(place, whole), base = p.toIndex(whole);
  int64_t reach = cubic ? 2 : 1; // taps on each side
  Value first = e.index(1 - reach), count = e.index(2 * reach), scale;
  if (antialias) {
    scale = p.min(e.read(op.getOperand(1), e.index(4)), p.constant(1));
    first = e.add(p.toIndex(p.floor(p.div(p.constant(-double(reach)), scale))), e.index(1));
    count = e.sub(e.index(2), e.mul(first, e.index(2)));
  }
  auto weigh = [&](Value tap) {
    Value distance = p.sub(p.fromIndex(tap), ratio);
    if (antialias)
      distance = p.mul(distance, scale);
    Value weight =
        cubic ? p.cubicWeight(distance, floatParam(op, "cubic_a")) : p.linearWeight(distance);
    Value at = e.add(base, tap);
    if (exclude)
      weight = e.select(inRange(e, at, extent), weight, p.constant(0));
    return std::pair(weight, clampIndex(e, at, extent));
  };
  auto element = [&](Value at) {
    SmallVector<Value> source(indices);
    source[axis] = at;
    return e.read(x, source);
  };
  Value total, result;
  if (!antialias) {
    SmallVector<std::pair<Value, Value>> taps;
    for (int64_t tap = 1 - reach; tap <= reach; ++tap) {
      taps.push_back(weigh(e.index(tap)));
      Value weight = taps.back().first;
      total = total ? p.add(total, weight) : weight;
    }
    for (auto [weight, at] : taps) {
      Value share = exclude ? p.div(weight, total) : weight;
      Value term = a.mul(p.convert(share, a.code), element(at));
      result = result ? a.add(result, term) : term;
    }
  } else {
    SmallVector<Value> sums =
        e.loop(count, {p.constant(0), a.constant(0)}, [&](Value i, ValueRange state) {
          auto [weight, at] = weigh(e.add(first, i));
          Value term = a.mul(p.convert(weight, a.code), element(at));
          return SmallVector<Value>{p.add(state[0], weight), a.add(state[1], term)};
        });
    result = a.div(sums[1], p.convert(sums[0], a.code));
  }
  return orOutside(p, op, place, extent, result, a);
}

static LogicalResult verifyResize(ComputeOp op) {
  RankedTensorType x = tensorOf(op.getOperand(0));
  if (failed(verifyCounts(op, 2, 2)) || failed(verifyInt(op, "axis", 0, x.getRank() - 1)))
    return failure();
  RankedTensorType places = tensorOf(op.getOperand(1));
  if (!places.getElementType().isF64() || places.getRank() != 1 || places.getDimSize(0) != 5)
    return op.emitOpError() << "takes 5 numbers of f64, found " << places;
  if (tensorOf(op.getResult(0)).getRank() != x.getRank())
    return op.emitOpError() << "has a result of its operand's rank";
  if (op.getKind() == "resize_nearest")
    return verifyText(op, "rounding", {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"});
  if (!isa<FloatType>(x.getElementType()))
    return op.emitOpError() << "interpolates floats, found " << x;
  if (failed(verifyText(op, "mode", {"linear", "cubic"})) ||
      failed(verifyInt(op, "antialias", 0, 1)) || failed(verifyInt(op, "exclude_outside", 0, 1)))
    return failure();
  return verifyFloat(op, "cubic_a");
}

// ---- Sampling by a grid -----------------------------------------------------------------------

/// A place mirrored at `low` and `high` until it is between them.
static Value reflect(const Places &p, Value place, Value low, Value high) {
  Value range = p.sub(high, low), zero = p.constant(0);
  Value empty = arith::CmpFOp::create(p.b, arith::CmpFPredicate::OLE, range, zero);
  Value safe = p.e.select(empty, p.constant(1), range);
  Value way = p.abs(p.sub(place, low));
  Value turns = p.floor(p.div(way, safe));
  Value rest = p.sub(way, p.mul(turns, safe));
  Value half = p.floor(p.mul(turns, p.constant(0.5)));
  Value odd = p.less(p.mul(half, p.constant(2)), turns);
  Value mirrored = p.e.select(odd, p.sub(high, rest), p.add(low, rest));
  return p.e.select(empty, low, mirrored);
}

/// x [N, spatial..., C] at the places of grid [N, places..., D], -1 .. 1 from the first to the last
/// element of each spatial dim, the last dim first.
static Value gridSample(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), grid = op.getOperand(1);
  Arithmetic a(e, elementOf(x));
  Places p(e, isa<Float64Type>(elementOf(grid)) ? elementOf(grid) : e.b.getF32Type());
  StringRef mode = textParam(op, "mode"), padding = textParam(op, "padding");
  bool corners = intParam(op, "align_corners") != 0;
  unsigned spatial = unsigned(tensorOf(x).getRank()) - 2;
  struct Tap {
    Value place, inside, weight; // in the image, of one dim
  };
  SmallVector<SmallVector<Tap>> taps(spatial);
  for (unsigned dim = 0; dim < spatial; ++dim) {
    SmallVector<Value> at(indices.drop_back());
    at.push_back(e.index(spatial - 1 - dim));
    Value given = e.convert(e.read(grid, at), elementOf(grid), p.type);
    Value extent = e.extent(x, dim + 1), size = p.fromIndex(extent);
    Value half = p.constant(0.5), one = p.constant(1);
    Value low = corners ? p.constant(0) : p.constant(-0.5);
    Value high = corners ? p.sub(size, one) : p.sub(size, half);
    Value place = corners ? p.mul(p.mul(p.add(given, one), half), p.sub(size, one))
                          : p.mul(p.sub(p.mul(p.add(given, one), size), one), half);
    if (padding == "border")
      place = p.clamp(place, p.constant(0), p.sub(size, one));
    else if (padding == "reflection")
      place = reflect(p, place, low, high);
    Value whole = mode == "nearest" ? p.roundEven(place) : p.floor(place);
    Value ratio = p.sub(place, whole), base = p.toIndex(whole);
    auto addTap = [&](int64_t number, Value weight) {
      Value at = e.add(base, e.index(number)), inside = inRange(e, at, extent);
      if (padding == "reflection")
        at = p.toIndex(reflect(p, p.fromIndex(at), low, high));
      taps[dim].push_back({clampIndex(e, at, extent), inside, weight});
    };
    if (mode == "nearest")
      addTap(0, Value());
    for (int64_t tap = 0; tap < 2 && mode == "linear"; ++tap)
      addTap(tap, p.linearWeight(p.sub(p.constant(double(tap)), ratio)));
    for (int64_t tap = -1; tap < 3 && mode == "cubic"; ++tap)
      addTap(tap, p.cubicWeight(p.sub(p.constant(double(tap)), ratio), -0.75));
  }
  SmallVector<Value> source{indices.front()};
  std::function<Value(unsigned, Value)> sample = [&](unsigned dim, Value inside) -> Value {
    if (dim == spatial) {
      SmallVector<Value> place(source);
      place.push_back(indices.back());
      Value element = e.read(x, place);
      return padding == "zeros" ? e.select(inside, element, a.constant(0)) : element;
    }
    Value sum;
    for (const Tap &tap : taps[dim]) {
      source.push_back(tap.place);
      Value element = sample(dim + 1, inside ? e.all(inside, tap.inside) : tap.inside);
      source.pop_back();
      Value term = tap.weight ? a.mul(p.convert(tap.weight, a.code), element) : element;
      sum = sum ? a.add(sum, term) : term;
    }
    return sum;
  };
  return sample(0, Value());
}

static LogicalResult verifyGridSample(ComputeOp op) {
  if (failed(verifyCounts(op, 2, 2)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0)), grid = tensorOf(op.getOperand(1));
  int64_t rank = x.getRank();
  if (rank < 3 || rank > 5 || grid.getRank() != rank || grid.getShape().back() != rank - 2 ||
      tensorOf(op.getResult(0)).getRank() != rank || !isa<FloatType>(grid.getElementType()))
    return op.emitOpError() << "samples [N, spatial dims, C] by a grid of its rank, found " << x
                            << " and " << grid;
  if (failed(verifyText(op, "mode", {"nearest", "linear", "cubic"})) ||
      failed(verifyText(op, "padding", {"zeros", "border", "reflection"})))
    return failure();
  return verifyInt(op, "align_corners", 0, 1);
}

// ---- Regions ----------------------------------------------------------------------------------

/// Means (or greatest parts) of samples in the bins of regions of x [N, H, W, C]: rois [R, 4] (x1,
/// y1, x2, y2), batches [R] -> [R, rows, columns, C].
static Value roiAlign(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), rois = op.getOperand(1), batches = op.getOperand(2);
  Arithmetic a(e, elementOf(x));
  Places p(e, a.code);
  bool largest = textParam(op, "mode") == "max", half = intParam(op, "half_pixel") != 0;
  int64_t ratio = intParam(op, "sampling_ratio");
  Value region = indices[0];
  auto corner = [&](int64_t i) {
    Value given = a.read(rois, {region, e.index(i)});
    return p.sub(p.mul(given, p.constant(floatParam(op, "spatial_scale"))),
                 p.constant(half ? 0.5 : 0));
  };
  Value starts[2], sizes[2], counts[2];
  for (unsigned dim = 0; dim < 2; ++dim) { // rows, columns
    starts[dim] = corner(1 - dim);
    Value size = p.sub(corner(3 - dim), starts[dim]);
    if (!half)
      size = p.max(size, p.constant(1));
    sizes[dim] = p.div(size, p.fromIndex(e.extent(op.getResult(0), dim + 1)));
    counts[dim] = ratio > 0 ? e.index(ratio) : e.max(p.toIndex(p.ceil(sizes[dim])), e.index(0));
  }
  Value batch =
      clampIndex(e, e.toIndex(e.read(batches, region), elementOf(batches)), e.extent(x, 0));
  Value init = largest ? a.least() : a.constant(0);
  Value sum = e.loops(counts, init, [&](ValueRange number, ValueRange state) {
    Value low[2], high[2], weight[2], inside;
    for (unsigned dim = 0; dim < 2; ++dim) {
      Value extent = e.extent(x, dim + 1), size = p.fromIndex(extent);
      Value share = p.div(p.mul(p.add(p.fromIndex(number[dim]), p.constant(0.5)), sizes[dim]),
                          p.fromIndex(counts[dim]));
      Value place =
          p.add(p.add(starts[dim], p.mul(p.fromIndex(indices[dim + 1]), sizes[dim])), share);
      Value here =
          e.all(arith::CmpFOp::create(e.b, arith::CmpFPredicate::OGE, place, p.constant(-1)),
                arith::CmpFOp::create(e.b, arith::CmpFPredicate::OLE, place, size));
      inside = inside ? e.all(inside, here) : here;
      place = p.clamp(place, p.constant(0), p.sub(size, p.constant(1)));
      Value whole = p.floor(place);
      weight[dim] = p.sub(place, whole);
      low[dim] = clampIndex(e, p.toIndex(whole), extent);
      high[dim] = clampIndex(e, e.add(low[dim], e.index(1)), extent);
    }
    Value total = state[0];
    Value best;
    for (unsigned tap = 0; tap < 4; ++tap) {
      Value row = tap & 2 ? high[0] : low[0], column = tap & 1 ? high[1] : low[1];
      auto part = [&](unsigned dim, bool upper) {
        return upper ? weight[dim] : p.sub(p.constant(1), weight[dim]);
      };
      Value share = p.mul(part(0, tap & 2), part(1, tap & 1));
      Value term = a.mul(share, e.read(x, {batch, row, column, indices[3]}));
      term = e.select(inside, term, a.constant(0));
      best = !best ? term : largest ? a.max(best, term) : a.add(best, term);
    }
    return SmallVector<Value>{largest ? a.max(total, best) : a.add(total, best)};
  })[0];
  Value samples = e.mul(counts[0], counts[1]);
  if (largest) // of no samples at all: 0
    return e.select(e.equal(samples, e.index(0)), a.constant(0), sum);
  return a.div(sum, p.fromIndex(e.max(samples, e.index(1))));
}

static LogicalResult verifyRegions(ComputeOp op, unsigned operands, int64_t columns) {
  if (failed(verifyCounts(op, operands, operands)))
    return failure();
  RankedTensorType x = tensorOf(op.getOperand(0)), rois = tensorOf(op.getOperand(1));
  if (x.getRank() != 4 || rois.getRank() != 2 || rois.getDimSize(1) != columns ||
      tensorOf(op.getResult(0)).getRank() != 4 || !isa<FloatType>(x.getElementType()))
    return op.emitOpError() << "takes [N, H, W, C] and regions of " << columns << " numbers, found "
                            << x << " and " << rois;
  return verifyFloat(op, "spatial_scale");
}
static LogicalResult verifyRoiAlign(ComputeOp op) {
  if (failed(verifyRegions(op, 3, 4)) || failed(verifyText(op, "mode", {"avg", "max"})) ||
      failed(verifyInt(op, "half_pixel", 0, 1)))
    return failure();
  return verifyInt(op, "sampling_ratio", 0, 1 << 20);
}

/// The greatest elements in the bins of regions of x [N, H, W, C]: rois [R, 5] (batch, x1, y1, x2,
/// y2) -> [R, rows, columns, C]; 0 where a bin is empty.
static Value maxRoiPool(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Value x = op.getOperand(0), rois = op.getOperand(1);
  Arithmetic a(e, elementOf(x));
  Places p(e, a.code);
  auto number = [&](int64_t i) { return a.read(rois, {indices[0], e.index(i)}); };
  auto corner = [&](int64_t i) {
    Value scaled = p.mul(number(i), p.constant(floatParam(op, "spatial_scale")));
    Value size = p.floor(p.add(p.abs(scaled), p.constant(0.5))); // halves away from zero
    return p.toIndex(math::CopySignOp::create(e.b, size, scaled));
  };
  Value batch = clampIndex(e, p.toIndex(number(0)), e.extent(x, 0));
  SmallVector<Value> firsts, counts;
  for (unsigned dim = 0; dim < 2; ++dim) {
    Value start = corner(2 - dim), extent = e.extent(x, dim + 1);
    Value size = e.max(e.add(e.sub(corner(4 - dim), start), e.index(1)), e.index(1));
    Value bin = p.div(p.fromIndex(size), p.fromIndex(e.extent(op.getResult(0), dim + 1)));
    Value place = p.fromIndex(indices[dim + 1]);
    auto inside = [&](Value at) { return e.max(e.min(e.add(at, start), extent), e.index(0)); };
    Value first = inside(p.toIndex(p.floor(p.mul(place, bin))));
    Value last = inside(p.toIndex(p.ceil(p.mul(p.add(place, p.constant(1)), bin))));
    firsts.push_back(first);
    counts.push_back(e.max(e.sub(last, first), e.index(0)));
  }
  Value most = e.loops(counts, a.least(), [&](ValueRange inner, ValueRange state) {
    Value element =
        e.read(x, {batch, e.add(firsts[0], inner[0]), e.add(firsts[1], inner[1]), indices[3]});
    return SmallVector<Value>{a.max(state[0], element)};
  })[0];
  Value empty = e.equal(e.mul(counts[0], counts[1]), e.index(0));
  return e.select(empty, a.constant(0), most);
}
static LogicalResult verifyMaxRoiPool(ComputeOp op) { return verifyRegions(op, 2, 5); }

ArrayRef<Operator> graph::resampleOperators() {
#define SAMPLED(name, function, verify)                                                            \
  Operator { name, Cost::Many, nullptr, function, nullptr, nullptr, nullptr, false, false, verify }
  static const Operator table[] = {
      Operator{"resize_nearest", Cost::Index, nullptr, resizeNearest, nullptr, nullptr, nullptr,
               false, true, verifyResize},
      SAMPLED("resize", resize, verifyResize),
      SAMPLED("grid_sample", gridSample, verifyGridSample),
      SAMPLED("roi_align", roiAlign, verifyRoiAlign),
      SAMPLED("max_roi_pool", maxRoiPool, verifyMaxRoiPool),
  };
  return table;
#undef SAMPLED
}
