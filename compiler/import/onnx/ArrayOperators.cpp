// Operators of an ArrayBuilder: shapes are inferred, known elements are computed at once.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "ir/Graph/Operators/MapOperands.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

/// Elements of a result that is still computed while the model is imported.
static constexpr int64_t kMaxKnown = 4096;

static std::string describe(ArrayRef<AffineExpr> shape) {
  std::string text = "[";
  llvm::raw_string_ostream out(text);
  llvm::interleaveComma(shape, out, [&](AffineExpr size) {
    if (auto constant = dyn_cast<AffineConstantExpr>(size))
      out << constant.getValue();
    else
      out << "(" << size << ")";
  });
  return text + "]";
}

// ---- Known elements ---------------------------------------------------------------------------

/// Calls body for every index of a fixed shape, the last fastest.
static void forIndices(ArrayRef<int64_t> shape, llvm::function_ref<void(ArrayRef<int64_t>)> body) {
  SmallVector<int64_t> indices(shape.size());
  if (llvm::is_contained(shape, 0))
    return;
  while (true) {
    body(indices);
    size_t dim = shape.size();
    while (dim > 0 && ++indices[dim - 1] == shape[dim - 1])
      indices[--dim] = 0;
    if (dim == 0)
      return;
  }
}

static SmallVector<int64_t> fixedShape(ArrayRef<AffineExpr> shape) {
  return llvm::map_to_vector(shape, [](AffineExpr size) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    return constant ? constant.getValue() : int64_t(-1);
  });
}

static int64_t flatIndex(ArrayRef<int64_t> shape, ArrayRef<int64_t> indices) {
  int64_t place = 0;
  for (auto [extent, index] : llvm::zip(shape, indices))
    place = place * extent + index;
  return place;
}

Array ArrayBuilder::rearranged(const Array &x, ArrayRef<AffineExpr> shape,
                               llvm::function_ref<int64_t(ArrayRef<int64_t>)> source) const {
  Array result;
  result.element = x.element;
  result.shape.assign(shape.begin(), shape.end());
  Contents contents;
  bool whole = !x.contents->integers.empty();
  forIndices(fixedShape(shape), [&](ArrayRef<int64_t> indices) {
    int64_t from = source(indices);
    if (whole)
      contents.integers.push_back(x.contents->integers[from]);
    else
      contents.reals.push_back(x.contents->reals[from]);
  });
  result.contents = std::make_shared<Contents>(std::move(contents));
  return result;
}

/// A view: at once where the operand is known and the result small, else an op of the graph.
/// `source` is the place in the operand of an element of the result.
Array ArrayBuilder::view(StringRef kind, const Array &x, ArrayRef<AffineExpr> shape,
                         DictionaryAttr given,
                         llvm::function_ref<int64_t(ArrayRef<int64_t>)> source) {
  Array shaped;
  shaped.shape.assign(shape.begin(), shape.end());
  int64_t count = shaped.count();
  if (x.contents && count >= 0 && count <= kMaxKnown)
    return rearranged(x, shape, source);
  // Constants of the model are rearranged here too: their elements are bytes.
  if (x.constant && !x.value && count >= 0 && count <= x.count() &&
      x.element.getIntOrFloatBitWidth() >= 8 && x.count() <= (int64_t(1) << 24)) {
    if (auto bytes = readBytes(*x.constant, &model)) {
      int64_t size = x.element.getIntOrFloatBitWidth() / 8;
      auto made = std::make_shared<OnnxTensor>();
      made->name = x.constant->name;
      made->type = x.constant->type;
      SmallVector<int64_t> extents_ = fixedShape(shape);
      made->dims.assign(extents_.begin(), extents_.end());
      made->elements = count;
      made->sizeBytes = uint64_t(count * size);
      made->bytes.resize(made->sizeBytes);
      int64_t to = 0;
      forIndices(made->dims, [&](ArrayRef<int64_t> indices) {
        std::memcpy(made->bytes.data() + to, bytes->data() + source(indices) * size, size);
        to += size;
      });
      Array result = shaped;
      result.element = x.element;
      result.constant = made;
      return result;
    } else {
      llvm::consumeError(bytes.takeError());
    }
  }
  return compute(kind, x, x.element, shape, given);
}

/// Integers of known arrays, as expressions; null where an operation has no expression.
static AffineExpr foldInteger(const ArrayBuilder &a, StringRef kind, ArrayRef<AffineExpr> x,
                              bool isTruth) {
  MLIRContext *context = a.b.getContext();
  auto truth = [&](bool value) { return getAffineConstantExpr(value, context); };
  auto constantOf = [](AffineExpr e) -> std::optional<int64_t> {
    auto constant = dyn_cast<AffineConstantExpr>(e);
    return constant ? std::optional(constant.getValue()) : std::nullopt;
  };
  std::optional<int64_t> first = constantOf(x[0]);
  std::optional<int64_t> second;
  if (x.size() > 1)
    second = constantOf(x[1]);
  auto [low, high] = a.boundsOf(x[0]);
  std::pair<int64_t, int64_t> other = x.size() > 1 ? a.boundsOf(x[1]) : std::pair(low, high);
  bool differs = false, equal = false;
  if (x.size() > 1) {
    equal = a.same(x[0], x[1]);
    auto [least, most] = a.boundsOf(a.simplify(x[0] - x[1]));
    differs = least > 0 || most < 0;
  }
  if (kind == "identity" || kind == "cast")
    return isTruth && !first ? AffineExpr() : isTruth ? truth(*first != 0) : x[0];
  if (kind == "add")
    return x[0] + x[1];
  if (kind == "sub")
    return x[0] - x[1];
  if (kind == "mul")
    return x[0] * x[1];
  if (kind == "neg")
    return -x[0];
  if (kind == "div") {
    if (first && second && *second != 0 && *second != -1)
      return getAffineConstantExpr(*first / *second, context);
    if (low >= 0 && other.first > 0)
      return x[0].floorDiv(x[1]);
    return {};
  }
  if (kind == "mod") {
    if (other.first > 0 && (low >= 0 || (first && second)))
      return x[0] % x[1];
    return {};
  }
  if (kind == "abs")
    return low >= 0 ? x[0] : high <= 0 ? -x[0] : AffineExpr();
  if (kind == "sign")
    return low > 0 ? truth(1)
           : first ? getAffineConstantExpr((*first > 0) - (*first < 0), context)
                   : AffineExpr();
  if (kind == "floor" || kind == "ceil" || kind == "round")
    return x[0];
  if (kind == "min" || kind == "max") {
    bool wantsLess = kind == "min";
    if (low >= other.second)
      return wantsLess ? x[1] : x[0];
    if (high <= other.first)
      return wantsLess ? x[0] : x[1];
    return {};
  }
  if (kind == "equal")
    return equal                                                 ? truth(true)
           : differs || other.first > high || low > other.second ? truth(false)
                                                                 : AffineExpr();
  if (kind == "less")
    return high < other.first ? truth(true) : low >= other.second ? truth(false) : AffineExpr();
  if (kind == "less_equal")
    return high <= other.first ? truth(true) : low > other.second ? truth(false) : AffineExpr();
  if (kind == "greater")
    return low > other.second ? truth(true) : high <= other.first ? truth(false) : AffineExpr();
  if (kind == "greater_equal")
    return low >= other.second ? truth(true) : high < other.first ? truth(false) : AffineExpr();
  if (kind == "where")
    return first ? (*first ? x[1] : x[2]) : equal && a.same(x[1], x[2]) ? x[1] : AffineExpr();
  if (kind == "and" && isTruth)
    return first && second                              ? truth(*first && *second)
           : (first && !*first) || (second && !*second) ? truth(false)
                                                        : AffineExpr();
  if (kind == "or" && isTruth)
    return first && second                            ? truth(*first || *second)
           : (first && *first) || (second && *second) ? truth(true)
                                                      : AffineExpr();
  if (kind == "xor" && isTruth)
    return first && second ? truth(bool(*first) != bool(*second)) : AffineExpr();
  if (kind == "not" && isTruth)
    return first ? truth(!*first) : AffineExpr();
  return {};
}

static std::optional<double> foldReal(StringRef kind, ArrayRef<double> x) {
  if (kind == "identity" || kind == "cast")
    return x[0];
  if (kind == "add")
    return x[0] + x[1];
  if (kind == "sub")
    return x[0] - x[1];
  if (kind == "mul")
    return x[0] * x[1];
  if (kind == "div")
    return x[0] / x[1];
  if (kind == "neg")
    return -x[0];
  if (kind == "abs")
    return std::fabs(x[0]);
  if (kind == "floor")
    return std::floor(x[0]);
  if (kind == "ceil")
    return std::ceil(x[0]);
  if (kind == "round")
    return std::nearbyint(x[0]);
  if (kind == "sqrt")
    return std::sqrt(x[0]);
  if (kind == "reciprocal")
    return 1 / x[0];
  if (kind == "pow")
    return std::pow(x[0], x[1]);
  if (kind == "exp")
    return std::exp(x[0]);
  if (kind == "log")
    return std::log(x[0]);
  if (kind == "min")
    return std::min(x[0], x[1]);
  if (kind == "max")
    return std::max(x[0], x[1]);
  return std::nullopt;
}

static double rounded(double value, Type element) {
  if (!isa<FloatType>(element) || element.isF64())
    return value;
  APFloat exact(value);
  bool lossy;
  exact.convert(llvm::cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven,
                &lossy);
  exact.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
  return exact.convertToDouble();
}

std::optional<Array> ArrayBuilder::foldMap(StringRef kind, ArrayRef<Array> operands, Type element,
                                           ArrayRef<AffineExpr> shape) {
  Array result;
  result.element = element;
  result.shape.assign(shape.begin(), shape.end());
  int64_t count = result.count();
  if (count < 0 || count > kMaxKnown)
    return std::nullopt;
  bool whole = isa<IntegerType>(element) || kind == "where" || kind == "cast";
  for (const Array &operand : operands) {
    if (!operand.contents)
      return std::nullopt;
    whole = whole && operand.contents->reals.empty();
  }
  bool allWhole = llvm::all_of(operands, [](const Array &x) { return x.contents->reals.empty(); });
  if (allWhole && isa<FloatType>(element) &&
      llvm::is_contained({"add", "sub", "mul", "neg", "floor", "ceil", "round", "identity", "cast"},
                         kind))
    whole = true; // sums and products of whole numbers are whole
  unsigned bits = element.getIntOrFloatBitWidth();
  if (isa<IntegerType>(element) && bits < 32 && bits != 1 && kind != "identity")
    return std::nullopt; // they may wrap
  Contents contents;
  bool known = true;
  SmallVector<int64_t> extents = fixedShape(shape);
  forIndices(extents, [&](ArrayRef<int64_t> indices) {
    SmallVector<AffineExpr> integers;
    SmallVector<double> reals;
    for (const Array &operand : operands) {
      SmallVector<int64_t> own = fixedShape(operand.shape), place;
      for (size_t i = 0; i < own.size(); ++i)
        place.push_back(own[i] == 1 ? 0 : indices[indices.size() - own.size() + i]);
      int64_t flat = flatIndex(own, place);
      if (!operand.contents->reals.empty())
        reals.push_back(operand.contents->reals[flat]);
      else {
        integers.push_back(operand.contents->integers[flat]);
        auto constant = dyn_cast<AffineConstantExpr>(integers.back());
        if (!whole && constant)
          reals.push_back(double(constant.getValue()));
      }
    }
    if (!known)
      return;
    if (whole) {
      AffineExpr value = foldInteger(*this, kind, integers, element.isInteger(1));
      known = bool(value);
      if (known)
        contents.integers.push_back(simplify(value));
      return;
    }
    // Reals, or a mixture with constants; comparisons of reals stay in the graph.
    std::optional<double> value;
    if (reals.size() == operands.size() && isa<FloatType>(element))
      value = foldReal(kind, reals);
    else if (reals.size() == 1 && kind == "cast" && isa<IntegerType>(element) &&
             std::isfinite(reals[0]) && std::fabs(reals[0]) < 9e18)
      value = element.isInteger(1) ? double(reals[0] != 0) : std::trunc(reals[0]);
    known = value.has_value();
    if (known && isa<IntegerType>(element))
      contents.integers.push_back(number(int64_t(*value)));
    else if (known)
      contents.reals.push_back(rounded(*value, element));
  });
  if (!known)
    return std::nullopt;
  result.contents = std::make_shared<Contents>(std::move(contents));
  return result;
}

// ---- Elementwise ------------------------------------------------------------------------------

std::optional<Shape> ArrayBuilder::broadcastShapes(ArrayRef<AffineExpr> x, ArrayRef<AffineExpr> y) {
  if (x.size() < y.size())
    std::swap(x, y);
  Shape result(x);
  size_t skipped = x.size() - y.size();
  for (size_t i = 0; i < y.size(); ++i) {
    AffineExpr left = simplify(x[skipped + i]), right = simplify(y[i]);
    AffineExpr &size = result[skipped + i];
    auto fixedLeft = dyn_cast<AffineConstantExpr>(left),
         fixedRight = dyn_cast<AffineConstantExpr>(right);
    if (left == right || (fixedRight && fixedRight.getValue() == 1))
      size = left;
    else if (fixedLeft && fixedLeft.getValue() == 1)
      size = right;
    else if (fixedLeft && fixedRight)
      return std::nullopt;
    else if (fixedLeft || fixedRight)
      size = fixedLeft ? left : right; // the other one is the same, or 1
    else
      size = largest(left, right);
  }
  return result;
}

Array ArrayBuilder::map(StringRef kind, ArrayRef<Array> operands, Type element,
                        DictionaryAttr given) {
  for (const Array &operand : operands)
    if (!operand.element)
      return failed() ? Array() : fail(kind + ": an operand is no tensor");
  if (operands.size() != graph::mapOperands(kind))
    return fail(llvm::formatv("{0} takes {1} operands, found {2}", kind, graph::mapOperands(kind),
                              operands.size()));
  if (!element)
    element = operands[0].element;
  Shape shape = operands[0].shape;
  for (const Array &operand : operands.drop_front()) {
    std::optional<Shape> joined = broadcastShapes(shape, operand.shape);
    if (!joined)
      return fail(llvm::formatv("{0}: shapes {1} and {2} do not broadcast", kind, describe(shape),
                                describe(operand.shape)));
    shape = std::move(*joined);
  }
  if (!given || given.empty() || kind == "mod")
    if (std::optional<Array> folded = foldMap(kind, operands, element, shape))
      return *folded;
  if (kind == "cast" && operands[0].element == element)
    return operands[0];
  return compute(kind, operands, element, shape, given);
}

Array ArrayBuilder::cast(const Array &x, Type element) {
  if (x.element == element)
    return x;
  return map("cast", x, element);
}

// ---- Views ------------------------------------------------------------------------------------

Array ArrayBuilder::reshape(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  AffineExpr have = product(x.shape), want = product(shape);
  bool zero = false;
  for (AffineExpr size : x.shape)
    if (auto constant = dyn_cast<AffineConstantExpr>(size))
      zero = zero || constant.getValue() == 0;
  if (have != want && !zero &&
      !sameOrRequired(have, want, "the number of elements that a reshape takes and gives"))
    return fail(llvm::formatv("reshape of {0} to {1}", describe(x.shape), describe(shape)));
  return reshapeUnchecked(x, shape);
}

Array ArrayBuilder::reshapeUnchecked(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  if (x.shape.size() == shape.size() && llvm::all_of(llvm::zip(x.shape, shape), [&](auto pair) {
        return same(std::get<0>(pair), std::get<1>(pair));
      }))
    return x;
  Shape simple = llvm::map_to_vector(shape, [&](AffineExpr size) { return simplify(size); });
  if (!x.value && x.constant && !x.contents) { // the same bytes
    auto made = std::make_shared<OnnxTensor>(*x.constant);
    SmallVector<int64_t> extents_ = fixedShape(simple);
    made->dims.assign(extents_.begin(), extents_.end());
    Array result;
    result.element = x.element;
    result.shape = simple;
    result.constant = made;
    return result;
  }
  SmallVector<int64_t> extents = fixedShape(simple);
  return view("reshape", x, simple, {},
              [&](ArrayRef<int64_t> indices) { return flatIndex(extents, indices); });
}

Array ArrayBuilder::transpose(const Array &x, ArrayRef<int64_t> perm) {
  if (!x.element)
    return {};
  Shape shape;
  bool same = true;
  for (auto [to, from] : llvm::enumerate(perm)) {
    shape.push_back(x.shape[from]);
    same = same && int64_t(to) == from;
  }
  if (same)
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("transpose", x, shape, params({{"perm", attr(perm)}}),
              [&](ArrayRef<int64_t> indices) {
                SmallVector<int64_t> source(indices.size());
                for (auto [to, from] : llvm::enumerate(perm))
                  source[from] = indices[to];
                return flatIndex(own, source);
              });
}

Array ArrayBuilder::broadcast(const Array &x, ArrayRef<AffineExpr> shape) {
  if (!x.element)
    return {};
  if (x.shape.size() == shape.size() && llvm::all_of(llvm::zip(x.shape, shape), [&](auto pair) {
        return same(std::get<0>(pair), std::get<1>(pair));
      }))
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("broadcast", x, shape, {}, [&](ArrayRef<int64_t> indices) {
    SmallVector<int64_t> source;
    for (size_t i = 0; i < own.size(); ++i)
      source.push_back(own[i] == 1 ? 0 : indices[indices.size() - own.size() + i]);
    return flatIndex(own, source);
  });
}

Array ArrayBuilder::slice(const Array &x, ArrayRef<int64_t> starts, ArrayRef<AffineExpr> sizes,
                          ArrayRef<int64_t> steps) {
  if (!x.element)
    return {};
  SmallVector<int64_t> ones(starts.size(), 1);
  if (steps.empty())
    steps = ones;
  bool whole = llvm::all_equal(llvm::concat<const int64_t>(ArrayRef<int64_t>{1}, steps));
  for (auto [dim, start] : llvm::enumerate(starts))
    whole = whole && start == 0 && same(sizes[dim], x.shape[dim]);
  if (whole)
    return x;
  SmallVector<int64_t> own = fixedShape(x.shape);
  return view("slice", x, sizes, params({{"starts", attr(starts)}, {"steps", attr(steps)}}),
              [&](ArrayRef<int64_t> indices) {
                SmallVector<int64_t> source;
                for (auto [dim, index] : llvm::enumerate(indices))
                  source.push_back(starts[dim] + index * steps[dim]);
                return flatIndex(own, source);
              });
}

Array ArrayBuilder::sliceAt(const Array &x, ArrayRef<AffineExpr> starts, ArrayRef<AffineExpr> sizes,
                            ArrayRef<int64_t> steps) {
  if (!x.element)
    return {};
  if (llvm::all_of(starts, llvm::IsaPred<AffineConstantExpr>)) {
    SmallVector<int64_t> fixed = llvm::map_to_vector(
        starts, [](AffineExpr e) { return llvm::cast<AffineConstantExpr>(e).getValue(); });
    return slice(x, fixed, sizes, steps);
  }
  SmallVector<int64_t> ones(starts.size(), 1);
  return compute("slice", {x, integers(starts), integers(numbers(steps.empty() ? ones : steps))},
                 x.element, sizes);
}

Array ArrayBuilder::sliceAt(const Array &x, const Array &starts, ArrayRef<AffineExpr> sizes) {
  if (!x.element || !starts.element)
    return {};
  if (const SmallVector<AffineExpr> *known = expressionsOf(starts))
    return sliceAt(x, *known, sizes);
  SmallVector<int64_t> ones(x.rank(), 1);
  return compute("slice", {x, starts, integers(numbers(ones))}, x.element, sizes);
}

/// Constants of the model one behind the other (gates of a recurrent operator in another order);
/// nothing where some are none, or they are too large to be copied.
static std::optional<ConstantTensor> joinConstants(const OnnxModel &model, ArrayRef<Array> parts,
                                                   int64_t axis, int64_t count) {
  unsigned bits = parts[0].element.getIntOrFloatBitWidth();
  if (count < 0 || count > int64_t(1) << 24 || bits < 8)
    return std::nullopt;
  auto made = std::make_shared<OnnxTensor>();
  std::vector<std::vector<uint8_t>> bytes;
  for (const Array &part : parts) {
    if (!part.constant || part.value || part.constant->type != parts[0].constant->type)
      return std::nullopt;
    auto own = readBytes(*part.constant, &model);
    if (!own) {
      llvm::consumeError(own.takeError());
      return std::nullopt;
    }
    bytes.push_back(std::move(*own));
  }
  int64_t outer = 1, inner = bits / 8, extent = 0;
  for (int64_t dim = 0; dim < parts[0].rank(); ++dim)
    if (dim != axis)
      (dim < axis ? outer : inner) *= parts[0].extent(dim);
  for (int64_t i = 0; i < outer; ++i)
    for (auto [part, own] : llvm::zip(parts, bytes)) {
      int64_t run = part.extent(axis) * inner;
      made->bytes.insert(made->bytes.end(), own.begin() + i * run, own.begin() + (i + 1) * run);
    }
  for (const Array &part : parts)
    extent += part.extent(axis);
  made->name = parts[0].constant->name;
  made->type = parts[0].constant->type;
  made->dims = parts[0].constant->dims;
  made->dims[axis] = extent;
  made->elements = count;
  made->sizeBytes = made->bytes.size();
  return made;
}

Array ArrayBuilder::concat(ArrayRef<Array> parts, int64_t axis) {
  for (const Array &part : parts)
    if (!part.element)
      return {};
  if (parts.size() == 1)
    return parts[0];
  Shape shape = parts[0].shape;
  bool known = true;
  SmallVector<int64_t> ends;
  int64_t end = 0;
  for (auto [i, part] : llvm::enumerate(parts)) {
    if (part.rank() != parts[0].rank() || part.element != parts[0].element)
      return fail("concat: operands differ in rank or type");
    for (int64_t dim = 0; dim < part.rank(); ++dim)
      if (dim != axis && !sameOrRequired(shape[dim], part.shape[dim], "operands of a concat"))
        return fail(llvm::formatv("concat along {0}: shapes {1} and {2}", axis, describe(shape),
                                  describe(part.shape)));
    if (i > 0)
      shape[axis] = shape[axis] + part.shape[axis];
    known = known && part.contents;
    end += part.extent(axis);
    ends.push_back(end);
  }
  for (AffineExpr &size : shape)
    size = simplify(size);
  Array result;
  result.element = parts[0].element;
  result.shape = shape;
  int64_t count = result.count();
  if (known && count >= 0 && count <= kMaxKnown) {
    bool whole = llvm::all_of(parts, [](const Array &x) { return x.contents->reals.empty(); });
    bool reals = llvm::all_of(parts, [](const Array &x) { return x.contents->integers.empty(); });
    if (whole || reals) {
      Contents contents;
      forIndices(fixedShape(shape), [&](ArrayRef<int64_t> indices) {
        size_t part = 0;
        while (indices[axis] >= ends[part])
          ++part;
        SmallVector<int64_t> source(indices);
        source[axis] -= part ? ends[part - 1] : 0;
        int64_t flat = flatIndex(fixedShape(parts[part].shape), source);
        if (whole)
          contents.integers.push_back(parts[part].contents->integers[flat]);
        else
          contents.reals.push_back(parts[part].contents->reals[flat]);
      });
      result.contents = std::make_shared<Contents>(std::move(contents));
      return result;
    }
  }
  if (std::optional<ConstantTensor> joined = joinConstants(model, parts, axis, count)) {
    result.constant = *joined;
    return result;
  }
  return compute("concat", parts, result.element, shape, params({{"axis", attr(axis)}}));
}

// ---- Reductions and products ------------------------------------------------------------------

Array ArrayBuilder::reduce(StringRef kind, const Array &x, ArrayRef<int64_t> axes, bool keepDims) {
  if (!x.element)
    return {};
  Shape shape;
  for (auto [dim, size] : llvm::enumerate(x.shape)) {
    bool reduced = llvm::is_contained(axes, int64_t(dim));
    if (!reduced || keepDims)
      shape.push_back(reduced ? number(1) : size);
  }
  // Products and sums of known integers: sizes that a model computes from shapes.
  const SmallVector<AffineExpr> *known = expressionsOf(x);
  if (known && axes.size() == x.shape.size() && isa<IntegerType>(x.element) &&
      (kind == "prod" || kind == "sum")) {
    AffineExpr total = number(kind == "prod");
    for (AffineExpr value : *known)
      total = kind == "prod" ? total * value : total + value;
    Array result = integer(simplify(total), x.element);
    result.shape = shape;
    return result;
  }
  return compute(("reduce_" + kind).str(), x, x.element, shape,
                 params({{"axes", attr(axes)}, {"keep_dims", attr(int64_t(keepDims))}}));
}

Array ArrayBuilder::matmul(const Array &x, const Array &y) {
  if (!x.element || !y.element)
    return {};
  if (x.rank() == 0 || y.rank() == 0)
    return fail("matmul: a scalar is no matrix");
  Array left = x, right = y;
  if (x.rank() == 1)
    left = reshape(x, {number(1), x.shape[0]});
  if (y.rank() == 1)
    right = reshape(y, {y.shape[0], number(1)});
  AffineExpr depth = left.shape.back(), columns = right.shape.back();
  if (!sameOrRequired(depth, right.shape[right.rank() - 2], "the depth of a matmul"))
    return fail(llvm::formatv("matmul of {0} and {1}", describe(x.shape), describe(y.shape)));
  Shape batch(ArrayRef(left.shape).drop_back(2));
  std::optional<Shape> joined = broadcastShapes(batch, ArrayRef(right.shape).drop_back(2));
  if (!joined)
    return fail(llvm::formatv("matmul of {0} and {1}", describe(x.shape), describe(y.shape)));
  Shape shape = *joined;
  shape.push_back(left.shape[left.rank() - 2]);
  shape.push_back(columns);
  Array result;
  // Kernels with weights prepare their rows, which are no constants.
  Value weight =
      right.rank() == 2 && left.element.isF32() && !isConstant(left) && right.extent(0) > 0
          ? weightOf(right, /*transpose=*/true)
          : Value();
  if (weight) {
    AffineExpr rows = product(ArrayRef(left.shape).drop_back());
    Array flat = reshapeUnchecked(left, {rows, right.shape[0]});
    RankedTensorType type = typeOf(left.element, {rows, columns});
    result =
        fromValue(graph::MatmulOp::create(b, location, type, valueOf(flat), weight).getResult());
    result.shape = {simplify(rows), columns};
    result = reshape(result, shape);
  } else {
    result = compute("matmul", {left, right}, left.element, shape);
  }
  Shape wanted = *joined;
  if (x.rank() > 1)
    wanted.push_back(left.shape[left.rank() - 2]);
  if (y.rank() > 1)
    wanted.push_back(columns);
  return wanted.size() == shape.size() ? result : reshape(result, wanted);
}
