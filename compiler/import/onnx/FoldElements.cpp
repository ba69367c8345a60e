// Elementwise operators on known elements, at once while the model is imported.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "compiler/import/onnx/KnownElements.h"
#include "compiler/values/FloatBits.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

std::string kiln::describe(ArrayRef<AffineExpr> shape) {
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

void kiln::forIndices(ArrayRef<int64_t> shape, llvm::function_ref<void(ArrayRef<int64_t>)> body) {
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

SmallVector<int64_t> kiln::fixedShape(ArrayRef<AffineExpr> shape) {
  return llvm::map_to_vector(shape, [](AffineExpr size) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    return constant ? constant.getValue() : int64_t(-1);
  });
}

int64_t kiln::flatIndex(ArrayRef<int64_t> shape, ArrayRef<int64_t> indices) {
  int64_t place = 0;
  for (auto [extent, index] : llvm::zip(shape, indices))
    place = place * extent + index;
  return place;
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
  const llvm::fltSemantics &format = llvm::cast<FloatType>(element).getFloatSemantics();
  return fromFloatBits(toFloatBits(value, format), format);
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
  if (isa<Float8E8M0FNUType>(element))
    return std::nullopt; // rounded as the operator says
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
