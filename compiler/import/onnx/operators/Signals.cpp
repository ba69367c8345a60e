// Fourier transforms and the windows of signals.
//
// A transform is a product with a matrix of cosines and sines: a constant one where the length is
// fixed, else computed by the graph. Lengths that speech models use are small.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Fourier transforms -----------------------------------------------------------------------

/// Rows of a matrix that is a constant, at most; longer transforms have it computed.
static constexpr int64_t kMostFixedLength = 2048;

namespace {

/// The matrix [n * parts, k * 2] that transforms rows of n numbers (parts 2: real, imaginary) to k
/// complex ones.
struct Fourier {
  AffineExpr length, frequencies;
  int64_t parts;
  bool inverse;
  Type element;
};

} // namespace

static Array fixedMatrix(ArrayBuilder &a, const Fourier &f, int64_t length, int64_t frequencies) {
  std::vector<uint8_t> bytes;
  bool isDouble = f.element.isF64();
  auto add = [&](double value) {
    float narrow = float(value);
    auto *from = isDouble ? reinterpret_cast<const uint8_t *>(&value)
                          : reinterpret_cast<const uint8_t *>(&narrow);
    bytes.insert(bytes.end(), from, from + (isDouble ? sizeof(double) : sizeof(float)));
  };
  double size = f.inverse ? 1.0 / double(length) : 1.0, sign = f.inverse ? 1 : -1;
  for (int64_t i = 0; i < length; ++i)
    for (int64_t part = 0; part < f.parts; ++part)
      for (int64_t k = 0; k < frequencies; ++k) {
        double angle = 2 * M_PI * double(i * k % length) / double(length);
        double real = size * std::cos(angle), imaginary = size * sign * std::sin(angle);
        add(part == 0 ? real : -imaginary);
        add(part == 0 ? imaginary : real);
      }
  return a.fromBytes(f.element, {length * f.parts, frequencies * 2}, std::move(bytes), "fourier");
}

static Array computedMatrix(ArrayBuilder &a, const Fourier &f) {
  Type i64 = a.b.getI64Type(), type = f.element;
  Shape grid{f.length, a.number(1), f.frequencies, a.number(1)};
  auto iota = [&](int64_t axis) {
    return a.compute("iota", {}, i64, grid, a.params({{"axis", a.attr(axis)}}));
  };
  Array count = a.integer(f.length);
  Array turn =
      a.map("mod", {a.mul(iota(0), iota(2)), count}, {}, a.params({{"fmod", a.attr(int64_t(0))}}));
  Array size = a.cast(count, type);
  Array angle = a.div(a.mul(a.cast(turn, type), a.scalar(type, 2 * M_PI)), size);
  Array real = a.unary("cos", angle), imaginary = a.unary("sin", angle);
  if (f.inverse) {
    real = a.div(real, size);
    imaginary = a.div(imaginary, size);
  } else {
    imaginary = a.unary("neg", imaginary);
  }
  Array rows = a.concat({real, imaginary}, 3);
  if (f.parts == 2)
    rows = a.concat({rows, a.concat({a.unary("neg", imaginary), real}, 3)}, 1);
  return a.reshape(rows, {a.simplify(f.length * f.parts), a.simplify(f.frequencies * 2)});
}

/// x [..., n, parts] -> [..., frequencies, 2]
static Array transform(ArrayBuilder &a, const Array &x, const Fourier &f) {
  auto length = dyn_cast<AffineConstantExpr>(f.length);
  auto frequencies = dyn_cast<AffineConstantExpr>(f.frequencies);
  bool fixed = length && frequencies && length.getValue() <= kMostFixedLength &&
               (f.element.isF32() || f.element.isF64());
  Array matrix =
      fixed ? fixedMatrix(a, f, length.getValue(), frequencies.getValue()) : computedMatrix(a, f);
  Shape flat(ArrayRef(x.shape).drop_back(2)), shape = flat;
  flat.push_back(a.simplify(f.length * f.parts));
  shape.push_back(f.frequencies);
  shape.push_back(a.number(2));
  return a.reshape(a.matmul(a.reshape(x, flat), matrix), shape);
}

/// The real signal of `length` that one-sided frequencies [..., k, 2] are of.
static Array invertReal(ArrayBuilder &a, const Array &x, int64_t length) {
  int64_t frequencies = x.extent(x.rank() - 2);
  std::vector<double> values;
  for (int64_t k = 0; k < frequencies; ++k)
    for (int64_t part = 0; part < 2; ++part)
      for (int64_t i = 0; i < length; ++i) {
        double twice = k == 0 || 2 * k == length ? 1 : 2;
        double angle = 2 * M_PI * double(i * k % length) / double(length);
        values.push_back(twice / double(length) * (part ? -std::sin(angle) : std::cos(angle)));
      }
  Array matrix = a.constant(x.element, {2 * frequencies, length}, values);
  Shape flat(ArrayRef(x.shape).drop_back(2)), shape = flat;
  flat.push_back(a.number(2 * frequencies));
  shape.append({a.number(length), a.number(1)});
  return a.reshape(a.matmul(a.reshape(x, flat), matrix), shape);
}

/// The first `length` elements of a dim, zeros behind the last.
static Array fitted(ArrayBuilder &a, const Array &x, int64_t dim, AffineExpr length) {
  if (a.same(x.shape[dim], length))
    return x;
  Shape shape = x.shape;
  shape[dim] = length;
  SmallVector<int64_t> none(x.rank(), 0);
  return a.compute("pad", {x, a.scalar(x.element, 0)}, x.element, shape,
                   a.params({{"mode", a.attr("constant")},
                             {"before", a.attr(ArrayRef<int64_t>(none))},
                             {"pads_given", a.attr(int64_t(0))}}));
}

/// Numbers whose last dim, of 1 or 2, is not known before a call: with an imaginary part of 0 where
/// they have none.
static Array asComplex(ArrayBuilder &a, const Array &x) {
  a.sameOrRequired(a.largest(x.shape.back(), a.number(2)), a.number(2), "the parts of a number");
  return fitted(a, x, x.rank() - 1, a.number(2));
}

/// The transform along one axis; empty after fail().
static Array transformAlong(NodeImport &n, Array x, int64_t axis) {
  ArrayBuilder &a = n.a;
  int64_t rank = x.rank(), parts = x.extent(rank - 1);
  bool inverse = n.integer("inverse", 0) != 0, half = n.integer("onesided", 0) != 0;
  AffineExpr length = x.shape[axis];
  if (inverse && half)
    length = a.simplify(length * 2 - 2);
  if (n.has(1)) {
    const SmallVector<AffineExpr> *known = a.expressionsOf(n.inputs[1]);
    if (known && known->size() == 1) {
      length = known->front();
    } else if (auto shape = n.declaredShape(0);
               shape && (inverse || !half) && int64_t(shape->size()) == rank) {
      length = (*shape)[axis];
    } else {
      return a.fail("the length of the transform is not known");
    }
  }
  SmallVector<int64_t> perm, back(rank);
  for (int64_t dim = 0; dim < rank; ++dim)
    if (dim != axis)
      perm.push_back(dim);
  perm.insert(perm.end() - 1, axis);
  for (auto [to, from] : llvm::enumerate(perm))
    back[from] = int64_t(to);
  // Sums of many terms that cancel: they are made in f64.
  Type element = x.element;
  x = a.cast(a.transpose(x, perm), a.b.getF64Type());
  Array y;
  if (inverse && half) {
    auto fixed = dyn_cast<AffineConstantExpr>(length);
    if (!fixed || parts != 2 || fixed.getValue() < 1 || fixed.getValue() > kMostFixedLength)
      return a.fail("a one-sided inverse needs complex numbers and a fixed length");
    x = fitted(a, x, rank - 2, a.number(fixed.getValue() / 2 + 1));
    y = invertReal(a, x, fixed.getValue());
  } else {
    AffineExpr frequencies = half ? a.simplify(length.floorDiv(2) + 1) : length;
    x = fitted(a, x, rank - 2, length);
    y = transform(a, x, {length, frequencies, parts, inverse, x.element});
  }
  return a.cast(a.transpose(y, back), element);
}

/// An axis that is computed: of the axes whose transforms have the declared shape, that one's.
static void transformAlongComputed(NodeImport &n, const Array &x) {
  ArrayBuilder &a = n.a;
  std::optional<Shape> declared = n.declaredShape(0);
  if (!declared || int64_t(declared->size()) != x.rank())
    return n.fail("an axis that is computed needs an output of declared shape");
  Array axis = a.reshape(a.cast(n.inputs[2], a.b.getI64Type()), {}), result;
  bool fromHalf = n.integer("inverse", 0) && n.integer("onesided", 0) && !n.has(1);
  for (int64_t dim = 0; dim + 1 < x.rank(); ++dim) {
    if (fromHalf && x.extent(dim) == 1)
      continue; // half of nothing
    Array y = transformAlong(n, x, dim);
    if (a.failed())
      return;
    if (!llvm::all_of(llvm::zip(y.shape, *declared),
                      [&](auto pair) { return a.same(std::get<0>(pair), std::get<1>(pair)); }))
      continue;
    if (!result) {
      result = y;
      continue;
    }
    auto is = [&](int64_t number) {
      return a.map("equal", {axis, a.scalar(axis.element, double(number))}, a.b.getI1Type());
    };
    Array here = a.map("or", {is(dim), is(dim - x.rank())});
    result = a.map("where", {here, y, result}, y.element);
  }
  if (!result)
    return n.fail("no axis has a transform of the declared shape");
  n.results.push_back(result);
}

static void importDft(NodeImport &n) {
  Array x = n.input(0);
  if (!x)
    return;
  if (x.rank() > 1 && x.extent(x.rank() - 1) < 0)
    x = asComplex(n.a, x);
  int64_t rank = x.rank(), parts = rank > 1 ? x.extent(rank - 1) : -1;
  if (parts != 1 && parts != 2)
    return n.fail("takes [..., 1] or [..., 2]");
  int64_t given = n.integer("axis", n.version < 20 ? 1 : -2);
  if (n.version >= 20 && n.has(2)) {
    auto known = n.a.integersOf(n.inputs[2]);
    if (!known || known->size() != 1)
      return transformAlongComputed(n, x);
    given = known->front();
  }
  std::optional<int64_t> axis = n.axis(given, rank);
  if (!axis)
    return;
  if (*axis + 1 == rank)
    return n.fail("transforms along an axis before the last");
  n.results.push_back(transformAlong(n, x, *axis));
}

/// As many frames of `length` as a signal of `size` has, each a step behind the one before, where
/// the step is given by the call: a computed dim.
static AffineExpr countFrames(NodeImport &n, AffineExpr size, AffineExpr length) {
  ArrayBuilder &a = n.a;
  Type i64 = a.b.getI64Type(), truth = a.b.getI1Type();
  Array zero = a.integers(a.number(0)), one = a.integers(a.number(1));
  Array step = a.map("max", {a.cast(a.reshape(n.inputs[1], a.number(1)), i64), one});
  Array rest = a.sub(a.integers(size), a.integers(length));
  Array some = a.add(a.div(rest, step), one);
  Array count = a.map("where", {a.map("less", {rest, zero}, truth), zero, some}, i64);
  AffineExpr frames = a.declareComputedDim(n.node.outputs[0] + "_frames", 0,
                                           std::max<int64_t>(a.boundsOf(size).second, 1));
  a.setDims(frames, count);
  return frames;
}

/// Transforms of overlapping frames [batch, frames, length, parts] of a signal.
static void importStft(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0];
  if (x.rank() == 2)
    x = a.reshape(x, {x.shape[0], x.shape[1], a.number(1)});
  if (x.rank() == 3 && x.extent(2) < 0)
    x = asComplex(a, x);
  int64_t parts = x.rank() == 3 ? x.extent(2) : -1;
  if (parts != 1 && parts != 2)
    return n.fail("takes [batch, length, 1] or [batch, length, 2]");
  bool half = n.integer("onesided", 1) != 0;
  std::optional<Shape> declared = n.declaredShape(0);
  // Sizes that nobody gives are no help.
  auto isComputed = [&](AffineExpr size) { return a.dependsOnComputed(size); };
  if (declared && (declared->size() != 4 || llvm::any_of(*declared, isComputed)))
    declared = std::nullopt;
  AffineExpr length;
  if (n.has(2)) {
    if (n.inputs[2].rank() != 1)
      return n.fail("takes a window of one dim");
    length = n.inputs[2].shape[0];
  } else if (!n.input(3)) {
    return;
  } else if (auto *known = a.expressionsOf(n.inputs[3]); known && known->size() == 1) {
    length = known->front();
  } else if (declared && !half) {
    length = (*declared)[2];
  } else {
    length = a.declareComputedDim(n.node.outputs[0] + "_length", 1,
                                  std::max<int64_t>(a.boundsOf(x.shape[1]).second, 1));
    a.setDims(length, a.cast(a.reshape(n.inputs[3], a.numbers({1})), a.b.getI64Type()));
  }
  auto step = a.integersOf(n.inputs[1]);
  AffineExpr frames, frequencies = half ? a.simplify(length.floorDiv(2) + 1) : length;
  if (step && step->size() == 1 && step->front() > 0)
    frames = a.simplify((x.shape[1] - length).floorDiv(step->front()) + 1);
  else if (declared)
    frames = (*declared)[1];
  else
    frames = countFrames(n, x.shape[1], length);
  if (declared && !isa<AffineConstantExpr>(frequencies))
    frequencies = (*declared)[2];
  Array framed =
      a.compute("frames", {x, n.inputs[1]}, x.element, {x.shape[0], frames, length, x.shape[2]});
  if (n.has(2))
    framed = a.mul(framed, a.reshape(a.cast(n.inputs[2], x.element), {length, a.number(1)}));
  n.results.push_back(transform(a, framed, {length, frequencies, parts, false, x.element}));
}

// ---- Windows ----------------------------------------------------------------------------------

/// first - second cos(2 pi i / n) + third cos(4 pi i / n), with n the size, or (not periodic) one
/// less.
static void addWindow(NodeImport &n, double first, double second, double third) {
  const Array &given = n.input(0);
  if (!given)
    return;
  ArrayBuilder &a = n.a;
  Type element = elementTypeOf(OnnxType(n.integer("output_datatype", 1)), a.b.getContext());
  if (!element || !isa<FloatType>(element))
    return n.fail("output_datatype is no float type");
  bool periodic = n.integer("periodic", 1) != 0;
  auto known = a.integersOf(given);
  if (known && known->size() == 1) {
    int64_t size = known->front();
    if (size < 0 || size > 1 << 20)
      return n.fail(llvm::formatv("a window of {0} elements", size));
    double period = double(periodic ? size : size - 1);
    std::vector<double> values;
    for (int64_t i = 0; i < size; ++i) {
      double angle = 2 * M_PI * double(i) / period;
      values.push_back(first - second * std::cos(angle) + third * std::cos(2 * angle));
    }
    return n.results.push_back(a.constant(element, size, values));
  }
  std::optional<Shape> shape =
      n.runtimeShape(0, a.cast(a.reshape(given, a.numbers({1})), a.b.getI64Type()));
  if (!shape)
    return;
  Type type = element.isF64() ? element : Type(a.b.getF32Type());
  Array place = a.cast(
      a.compute("iota", {}, a.b.getI64Type(), *shape, a.params({{"axis", a.attr(int64_t(0))}})),
      type);
  AffineExpr period = periodic ? shape->front() : a.simplify(shape->front() - 1);
  Array angle = a.div(a.mul(place, a.scalar(type, 2 * M_PI)), a.cast(a.integer(period), type));
  Array y = a.sub(a.scalar(type, first), a.mul(a.unary("cos", angle), a.scalar(type, second)));
  if (third != 0)
    y = a.add(y, a.mul(a.unary("cos", a.mul(angle, a.scalar(type, 2))), a.scalar(type, third)));
  n.results.push_back(a.cast(y, element));
}

/// A matrix [frequencies, mels] of triangles, whose corners are equally far apart on the mel scale.
/// Inputs: number of mels, length of the transform, sample rate, lowest and highest frequency.
static void importMelWeightMatrix(NodeImport &n) {
  for (size_t i = 0; i < 5; ++i)
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  Type element = elementTypeOf(OnnxType(n.integer("output_datatype", 1)), a.b.getContext());
  if (!element || !isa<FloatType>(element))
    return n.fail("output_datatype is no float type");
  Type i64 = a.b.getI64Type(), f32 = a.b.getF32Type();
  auto scalar = [&](size_t i, Type type) { return a.cast(a.reshape(n.inputs[i], {}), type); };
  auto vector = [&](const Array &x) { return a.reshape(x, a.numbers({1})); };
  Array one = a.scalar(i64, 1), length = scalar(1, i64);
  Array bins = a.add(a.div(length, a.scalar(i64, 2)), one);
  std::optional<Shape> shape =
      n.runtimeShape(0, a.concat({vector(bins), vector(scalar(0, i64))}, 0));
  if (!shape)
    return;
  // mel(f) = 2595 log10(1 + f / 700)
  auto constant = [&](double value) { return a.scalar(f32, value); };
  auto melOf = [&](const Array &hertz) {
    Array inner = a.add(a.div(hertz, constant(700)), constant(1));
    return a.mul(a.unary("log", inner), constant(2595 / M_LN10));
  };
  auto iota = [&](ArrayRef<AffineExpr> sizes, int64_t axis) {
    return a.cast(a.compute("iota", {}, i64, sizes, a.params({{"axis", a.attr(axis)}})), f32);
  };
  AffineExpr mels = (*shape)[1];
  Array low = melOf(scalar(3, f32)), high = melOf(scalar(4, f32));
  AffineExpr corners = a.simplify(mels + 2);
  Array step = a.div(a.sub(high, low), a.cast(a.integer(corners), f32));
  Array mel = a.add(a.mul(iota(corners, 0), step), low);
  Array hertz =
      a.mul(a.sub(a.unary("exp", a.mul(mel, constant(M_LN10 / 2595))), constant(1)), constant(700));
  Array place =
      a.unary("floor", a.div(a.mul(hertz, a.cast(a.add(length, one), f32)), scalar(2, f32)));
  auto corner = [&](int64_t first) {
    return a.reshape(a.slice(place, first, mels), {a.number(1), mels});
  };
  Array lower = corner(0), centre = corner(1), upper = corner(2);
  Array bin = iota({(*shape)[0], a.number(1)}, 0);
  Type truth = a.b.getI1Type();
  auto is = [&](StringRef kind, const Array &x, const Array &y) {
    return a.map(kind, {x, y}, truth);
  };
  auto both = [&](const Array &x, const Array &y) { return a.map("and", {x, y}); };
  auto choose = [&](const Array &condition, const Array &yes, const Array &no) {
    return a.map("where", {condition, yes, no}, f32);
  };
  Array zero = constant(0), rise = a.sub(centre, lower), fall = a.sub(upper, centre);
  Array isSteep = is("equal", rise, zero), isEnd = is("equal", fall, zero);
  Array up = a.div(a.sub(bin, lower), choose(isSteep, constant(1), rise));
  Array down = a.div(a.sub(upper, bin), choose(isEnd, constant(1), fall));
  Array onRise = both(is("greater_equal", bin, lower), is("less_equal", bin, centre));
  Array onFall = both(is("greater_equal", bin, centre), is("less", bin, upper));
  Array left = choose(isSteep, choose(is("equal", bin, centre), constant(1), zero),
                      choose(onRise, up, zero));
  n.results.push_back(a.cast(choose(onFall, down, left), element));
}

ArrayRef<OnnxOperator> kiln::onnxSignals() {
  static const OnnxOperator table[] = {
      {"", "DFT", 17, importDft},
      {"", "STFT", 17, importStft},
      {"", "HannWindow", 17, [](NodeImport &n) { addWindow(n, 0.5, 0.5, 0); }},
      {"", "HammingWindow", 17, [](NodeImport &n) { addWindow(n, 25.0 / 46, 21.0 / 46, 0); }},
      {"", "BlackmanWindow", 17, [](NodeImport &n) { addWindow(n, 0.42, 0.5, 0.08); }},
      {"", "MelWeightMatrix", 17, importMelWeightMatrix},
  };
  return table;
}
