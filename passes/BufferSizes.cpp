// The planner places buffers whose sizes are linear in variables that lie in a box. A size of an
// array is a product of dims, some of them quotients; here it becomes a sum of products, and each
// product of more than one factor a variable of its own, bounded by interval arithmetic. So nothing
// is known of how products hang together, and what the planner proves holds whatever they are.
// Parts that are no multiple of an alignment are rounded up together: 4 * n bytes are 64 * (n
// ceildiv 16), not 64 * n.
//
// A dim that follows from free dims stands for its value; one that depends on a computed dim is a
// variable, for the runtime plans with the largest that it can be.
#include "passes/BufferSizes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace kiln;

static constexpr int64_t kAlignment = 64;
static constexpr int64_t kLargest = int64_t(1) << 62;
static constexpr size_t kMaxTerms = 32;
static constexpr size_t kMaxLength = 200; // operations; the artifact allows 256

namespace {
/// Factors in a fixed order, whatever the order in which they were met.
using Factors = std::vector<AffineExpr>;
struct LessFactors {
  static std::string textOf(AffineExpr expr) {
    std::string text;
    llvm::raw_string_ostream(text) << expr;
    return text;
  }
  static bool less(AffineExpr a, AffineExpr b) {
    auto left = dyn_cast<AffineSymbolExpr>(a), right = dyn_cast<AffineSymbolExpr>(b);
    if (left && right)
      return left.getPosition() < right.getPosition();
    return left || right ? bool(left) : textOf(a) < textOf(b);
  }
  bool operator()(const Factors &a, const Factors &b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), less);
  }
};
} // namespace

/// A sum of products with their coefficients.
struct SizeVariables::Sum {
  std::map<Factors, int64_t, LessFactors> terms;

  bool add(const Factors &factors, int64_t coefficient) {
    int64_t &sum = terms[factors];
    if (llvm::AddOverflow(sum, coefficient, sum))
      return false;
    if (sum == 0)
      terms.erase(factors);
    return terms.size() <= kMaxTerms;
  }
};

SizeVariables::SizeVariables(exec::FuncOp func) : context(func.getContext()) {
  SmallVector<bool> fixed;
  for (auto [i, dim] : llvm::enumerate(func.getDims().getAsRange<exec::DimBoundsAttr>())) {
    AffineExpr symbol = getAffineSymbolExpr(i, context), value;
    bool isFixed = !dim.getComputed();
    if (AffineMapAttr map = dim.getValue()) {
      for (AffineExpr result : map.getValue().getResults())
        result.walk([&](AffineExpr part) {
          if (auto used = dyn_cast<AffineSymbolExpr>(part))
            isFixed &= used.getPosition() < fixed.size() && fixed[used.getPosition()];
        });
      if (map.getValue().getNumResults() == 1) // the larger of several is a variable of its own
        value = map.getValue().getResult(0);
    }
    fixed.push_back(isFixed);
    derived.push_back(isFixed ? value : AffineExpr());
    numbers[symbol] = i;
    variables.push_back(symbol);
    ranges.push_back({dim.getMin(), dim.getMax()});
  }
  dimCount = variables.size();
}

// ---- Ranges -----------------------------------------------------------------------------------

static int64_t saturate(__int128 value) {
  return int64_t(std::clamp<__int128>(value, -__int128(kLargest), kLargest));
}

std::pair<int64_t, int64_t> SizeVariables::getRange(AffineExpr expr) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    int64_t value = saturate(constant.getValue());
    return {value, value};
  }
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    if (symbol.getPosition() >= dimCount)
      return {0, kLargest};
    const DimRange &range = ranges[symbol.getPosition()];
    return {range.min, range.max};
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return {0, kLargest};
  auto [leftLow, leftHigh] = getRange(binary.getLHS());
  auto [rightLow, rightHigh] = getRange(binary.getRHS());
  bool divides = expr.getKind() != AffineExprKind::Add && expr.getKind() != AffineExprKind::Mul;
  if (divides && rightLow <= 0) {
    if (rightHigh <= 0)
      return {0, 0}; // of no meaning
    rightLow = 1;
  }
  if (expr.getKind() == AffineExprKind::Mod)
    return {0, leftLow >= 0 ? std::min(leftHigh, rightHigh - 1) : rightHigh - 1};
  int64_t low = kLargest, high = -kLargest;
  for (int64_t left : {leftLow, leftHigh})
    for (int64_t right : {rightLow, rightHigh}) {
      int64_t at;
      if (expr.getKind() == AffineExprKind::Add)
        at = saturate(__int128(left) + right);
      else if (expr.getKind() == AffineExprKind::Mul)
        at = saturate(__int128(left) * right);
      else if (expr.getKind() == AffineExprKind::FloorDiv)
        at = llvm::divideFloorSigned(left, right);
      else
        at = llvm::divideCeilSigned(left, right);
      low = std::min(low, at);
      high = std::max(high, at);
    }
  return {low, high};
}

int64_t SizeVariables::evaluate(AffineExpr expr, ArrayRef<int64_t> dims) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return saturate(constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbol.getPosition() < dims.size() ? dims[symbol.getPosition()] : 0;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t left = evaluate(binary.getLHS(), dims), right = evaluate(binary.getRHS(), dims);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return saturate(__int128(left) + right);
  case AffineExprKind::Mul:
    return saturate(__int128(left) * right);
  case AffineExprKind::FloorDiv:
    return llvm::divideFloorSigned(left, std::max<int64_t>(right, 1));
  case AffineExprKind::CeilDiv:
    return llvm::divideCeilSigned(left, std::max<int64_t>(right, 1));
  default:
    return llvm::mod(left, std::max<int64_t>(right, 1));
  }
}

std::vector<SmallVector<int64_t>> SizeVariables::getPoints() const {
  // 0: small, 1: between, 2: large.
  auto valueAt = [&](size_t dim, int level) {
    const DimRange &range = ranges[dim];
    if (level != 1)
      return level ? range.max : range.min;
    int64_t between =
        int64_t(std::sqrt(double(std::max<int64_t>(range.min, 1)) * double(range.max)));
    return std::clamp(between, range.min, range.max);
  };
  std::vector<SmallVector<int64_t>> points;
  auto add = [&](int others, size_t alone, int level) {
    SmallVector<int64_t> dims, values;
    for (size_t i = 0; i < dimCount; ++i)
      dims.push_back(derived[i]
                         ? std::clamp(evaluate(derived[i], dims), ranges[i].min, ranges[i].max)
                         : valueAt(i, i == alone ? level : others));
    for (auto [i, variable] : llvm::enumerate(variables))
      values.push_back(i < dimCount
                           ? dims[i]
                           : std::clamp(evaluate(variable, dims), ranges[i].min, ranges[i].max));
    points.push_back(std::move(values));
  };
  add(0, dimCount, 0);
  add(2, dimCount, 0);
  add(1, dimCount, 0);
  for (size_t i = 0; i < dimCount; ++i)
    if (!derived[i] && ranges[i].min != ranges[i].max)
      for (int level : {1, 2})
        add(0, i, level);
  return points;
}

int64_t SizeVariables::getLargest(AffineExpr expr) const { return getRange(expr).second; }

// ---- Sizes ------------------------------------------------------------------------------------

/// Adds an expression to a sum; fails where that has too many terms or overflows.
bool SizeVariables::expand(AffineExpr expr, bool replaceDerived, Sum &sum) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return sum.add({}, constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    unsigned position = symbol.getPosition();
    if (replaceDerived && position < dimCount && derived[position])
      return expand(derived[position], true, sum);
    return sum.add({expr}, 1);
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (binary && expr.getKind() == AffineExprKind::Add)
    return expand(binary.getLHS(), replaceDerived, sum) &&
           expand(binary.getRHS(), replaceDerived, sum);
  if (!binary || expr.getKind() != AffineExprKind::Mul)
    return sum.add({expr}, 1);
  Sum left, right;
  if (!expand(binary.getLHS(), replaceDerived, left) ||
      !expand(binary.getRHS(), replaceDerived, right))
    return false;
  for (const auto &[leftFactors, a] : left.terms)
    for (const auto &[rightFactors, b] : right.terms) {
      Factors factors(leftFactors);
      llvm::append_range(factors, rightFactors);
      llvm::sort(factors, LessFactors::less);
      int64_t coefficient;
      if (factors.size() > kMaxTerms || llvm::MulOverflow(a, b, coefficient) ||
          !sum.add(factors, coefficient))
        return false;
    }
  return true;
}

size_t SizeVariables::getVariable(AffineExpr expr) {
  auto [entry, isNew] = numbers.insert({expr, variables.size()});
  if (isNew) {
    auto [low, high] = getRange(expr);
    variables.push_back(expr);
    ranges.push_back({std::max<int64_t>(low, 0), std::max<int64_t>(high, 0)});
  }
  return entry->second;
}

static void setTerm(LinearBytes &linear, size_t variable, int64_t coefficient) {
  if (linear.size() < variable + 2)
    linear.resize(variable + 2, 0);
  linear[variable + 1] += coefficient;
}

bool SizeVariables::split(AffineExpr bytes, bool replaceDerived, LinearBytes &linear) {
  Sum sum;
  if (!expand(bytes, replaceDerived, sum) ||
      llvm::any_of(sum.terms, [](const auto &term) { return term.second < 0; }))
    return false;
  linear = {0};
  AffineExpr rest;
  for (const auto &[factors, coefficient] : sum.terms) {
    if (factors.empty()) {
      linear[0] = coefficient;
      continue;
    }
    AffineExpr product = factors.front();
    for (AffineExpr factor : ArrayRef(factors).drop_front())
      product = product * factor;
    if (coefficient % kAlignment == 0)
      setTerm(linear, getVariable(product), coefficient);
    else
      rest = rest ? rest + product * coefficient : product * coefficient;
  }
  if (rest && linear[0] % kAlignment) { // together
    rest = rest + linear[0] % kAlignment;
    linear[0] -= linear[0] % kAlignment;
  }
  if (rest)
    setTerm(linear, getVariable(rest.ceilDiv(kAlignment)), kAlignment);
  return true;
}

LinearBytes SizeVariables::getLinear(AffineExpr bytes) {
  LinearBytes linear;
  if (!split(bytes, /*replaceDerived=*/true, linear) &&
      !split(bytes, /*replaceDerived=*/false, linear)) {
    linear = {0};
    setTerm(linear, getVariable(bytes.ceilDiv(kAlignment)), kAlignment);
  }
  return linear;
}

// ---- Back to expressions ----------------------------------------------------------------------

static size_t countOperations(AffineExpr expr) {
  size_t count = 0;
  expr.walk([&](AffineExpr part) { count += part.getKind() == AffineExprKind::Mod ? 6 : 1; });
  return count;
}

size_t SizeVariables::getLength() const {
  size_t length = 1;
  for (AffineExpr variable : variables)
    length += countOperations(variable) + 3; // times a coefficient, plus
  return length;
}

AffineMapAttr SizeVariables::getMap(ArrayRef<LinearBytes> functions) const {
  SmallVector<AffineExpr> results;
  size_t length = 0;
  auto add = [&](const LinearBytes &function) {
    AffineExpr expr = getAffineConstantExpr(function.front(), context);
    for (size_t i = 1; i < function.size(); ++i)
      if (function[i] != 0)
        expr = expr + variables[i - 1] * function[i];
    results.push_back(expr);
    length += countOperations(expr) + 1;
  };
  for (const LinearBytes &function : functions)
    add(function);
  if (length > kMaxLength && functions.size() > 1) {
    LinearBytes largest(variables.size() + 1, 0);
    for (const LinearBytes &function : functions)
      for (auto [i, term] : llvm::enumerate(function))
        largest[i] = std::max(largest[i], term);
    results.clear();
    add(largest);
  }
  return AffineMapAttr::get(AffineMap::get(0, dimCount, results, context));
}
