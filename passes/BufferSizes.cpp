// The planner places buffers whose sizes are linear in variables. A size of an array is a product
// of dims, some of them quotients; here it becomes a sum of products, and each product of more than
// one factor a variable of its own, as is a number of lines of 64 bytes: parts that are no multiple
// of an alignment are rounded up together, so 4 * n bytes are 64 * (n ceildiv 16), not 64 * n. How
// variables hang together the planner learns from polynomials of the dims that they lie between;
// m * n and a dim that is m * n are the same polynomial, and one variable.
//
// A dim that follows from computed dims is like a dim of its own, for the runtime plans with the
// largest that it can be.
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

/// A sum of products with their coefficients.
struct Sum {
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
} // namespace

SizeVariables::SizeVariables(exec::FuncOp func) : context(func.getContext()) {
  SmallVector<bool> fixed;
  for (auto [i, dim] : llvm::enumerate(func.getDims().getAsRange<exec::DimBoundsAttr>())) {
    bool isFixed = !dim.getComputed();
    AffineMap value = dim.getValue() ? dim.getValue().getValue() : AffineMap();
    if (value)
      for (AffineExpr result : value.getResults())
        result.walk([&](AffineExpr part) {
          if (auto used = dyn_cast<AffineSymbolExpr>(part))
            isFixed &= used.getPosition() < fixed.size() && fixed[used.getPosition()];
        });
    fixed.push_back(isFixed);
    dims.push_back({{dim.getMin(), dim.getMax()}, value, isFixed, dim.getComputed()});
    AffineExpr symbol = getAffineSymbolExpr(i, context);
    Bounds bounds = getBounds(symbol);
    exact.try_emplace(bounds.low, i);
    expressions.push_back(symbol);
    described.push_back({dims.back().range, bounds.low, bounds.high, 1});
  }
}

SizeDomain SizeVariables::getDomain() const {
  std::vector<DimRange> box;
  for (const Dim &dim : dims)
    box.push_back(dim.range);
  return SizeDomain(described, box);
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
    if (symbol.getPosition() >= dims.size())
      return {0, kLargest};
    const DimRange &range = dims[symbol.getPosition()].range;
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

int64_t SizeVariables::evaluate(AffineExpr expr, ArrayRef<int64_t> values) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return saturate(constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbol.getPosition() < values.size() ? values[symbol.getPosition()] : 0;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t left = evaluate(binary.getLHS(), values), right = evaluate(binary.getRHS(), values);
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

/// Polynomials that the value lies between; unknown ones where nothing is known.
SizeVariables::Bounds SizeVariables::getBounds(AffineExpr expr) const {
  auto exactly = [](SizePolynomial value) { return Bounds{value, value}; };
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return exactly(SizePolynomial::constant(saturate(constant.getValue())));
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    unsigned position = symbol.getPosition();
    if (position >= dims.size())
      return exactly(SizePolynomial::unknown());
    const Dim &dim = dims[position];
    if (dim.isFixed && dim.value && dim.value.getNumResults() == 1)
      if (Bounds value = getBounds(dim.value.getResult(0)); value.isExact())
        return value;
    return exactly(SizePolynomial::dim(position));
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return exactly(SizePolynomial::unknown());
  Bounds left = getBounds(binary.getLHS()), right = getBounds(binary.getRHS());
  auto divisor = dyn_cast<AffineConstantExpr>(binary.getRHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    left.low.add(right.low);
    left.high.add(right.high);
    return left;
  case AffineExprKind::Mul:
    if (divisor && divisor.getValue() < 0)
      std::swap(left.low, left.high);
    else if (!divisor && (!left.isExact() || !right.isExact()) &&
             (!isNonNegative(left.low) || !isNonNegative(right.low)))
      return exactly(SizePolynomial::unknown());
    left.low.multiply(right.low);
    left.high.multiply(right.high);
    return left;
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv: {
    if (!divisor || divisor.getValue() <= 0)
      return exactly(SizePolynomial::unknown());
    SizePolynomial rest = SizePolynomial::constant(divisor.getValue() - 1);
    if (expr.getKind() == AffineExprKind::CeilDiv)
      left.high.add(rest);
    else
      left.low.add(rest, -1);
    left.low.divide(divisor.getValue());
    left.high.divide(divisor.getValue());
    // Products need what is never negative.
    if (!isNonNegative(left.low))
      if (int64_t least = getRange(expr).first; least >= 0)
        left.low = SizePolynomial::constant(least);
    return left;
  }
  default:
    return exactly(SizePolynomial::unknown());
  }
}

bool SizeVariables::isNonNegative(const SizePolynomial &polynomial) const {
  SmallVector<DimRange> box;
  for (const Dim &dim : dims)
    box.push_back(dim.range);
  return polynomial.isNonNegative(box);
}

// ---- Points -----------------------------------------------------------------------------------

/// Values of all variables where a free dim is at the given step of so many that lead, by equal
/// factors, from the least to the greatest.
SmallVector<int64_t> SizeVariables::getPoint(llvm::function_ref<double(size_t)> stepOf) const {
  SmallVector<int64_t> values;
  for (auto [i, dim] : llvm::enumerate(dims)) {
    int64_t value = dim.range.max;
    if (dim.value) {
      value = dim.range.min;
      for (AffineExpr result : dim.value.getResults())
        value = std::max(value, evaluate(result, values));
    } else if (!dim.isComputed) {
      double step = stepOf(i), least = double(std::max<int64_t>(dim.range.min, 1));
      if (step <= 0)
        value = dim.range.min;
      else if (step < 1)
        value = int64_t(least * std::pow(double(dim.range.max) / least, step));
    }
    values.push_back(std::clamp(value, dim.range.min, dim.range.max));
  }
  for (size_t i = dims.size(); i < expressions.size(); ++i) {
    DimRange range = described[i].range;
    values.push_back(std::clamp(evaluate(expressions[i], ArrayRef(values).take_front(dims.size())),
                                range.min, range.max));
  }
  return values;
}

std::vector<SmallVector<int64_t>> SizeVariables::getPoints(size_t most) const {
  SmallVector<size_t> free; // dims that callers choose
  for (auto [i, dim] : llvm::enumerate(dims))
    if (!dim.value && !dim.isComputed && dim.range.min != dim.range.max)
      free.push_back(i);
  std::vector<SmallVector<int64_t>> points;
  auto add = [&](llvm::function_ref<double(size_t)> stepOf) {
    SmallVector<int64_t> point = getPoint(stepOf);
    if (points.size() < most && !llvm::is_contained(points, point))
      points.push_back(std::move(point));
  };
  add([](size_t) { return 0.0; });
  add([](size_t) { return 1.0; });
  // A grid, as fine as the number of points allows.
  size_t steps = free.empty() ? 1 : most / 4, count;
  auto getCount = [&] { return std::pow(double(steps), double(free.size())); };
  while (steps > 1 && getCount() > double(most))
    --steps;
  count = size_t(getCount());
  for (size_t number = 0; steps > 2 && number < count; ++number)
    add([&](size_t dim) {
      size_t rest = number;
      for (size_t other : free) {
        if (other == dim)
          return double(rest % steps) / double(steps - 1);
        rest /= steps;
      }
      return 0.0;
    });
  // Each dim alone, and all dims but one.
  for (double others : {0.0, 1.0, 0.5})
    for (size_t alone : free)
      for (double step : {1.0, 0.5, 0.0})
        add([&](size_t dim) { return dim == alone ? step : others; });
  return points;
}

int64_t SizeVariables::getLargest(AffineExpr expr) const { return getRange(expr).second; }

// ---- Sizes ------------------------------------------------------------------------------------

/// Adds an expression to a sum; fails where that has too many terms or overflows.
static bool expand(AffineExpr expr, Sum &sum) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return sum.add({}, constant.getValue());
  if (binary && expr.getKind() == AffineExprKind::Add)
    return expand(binary.getLHS(), sum) && expand(binary.getRHS(), sum);
  if (!binary || expr.getKind() != AffineExprKind::Mul)
    return sum.add({expr}, 1);
  Sum left, right;
  if (!expand(binary.getLHS(), left) || !expand(binary.getRHS(), right))
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

static unsigned countOperations(AffineExpr expr) {
  unsigned count = 0;
  expr.walk([&](AffineExpr part) { count += part.getKind() == AffineExprKind::Mod ? 6 : 1; });
  return count;
}

/// The variable of that value, by the shortest expression met.
size_t SizeVariables::getVariable(AffineExpr expr) {
  Bounds bounds = getBounds(expr);
  size_t next = expressions.size(), variable;
  bool isNew;
  if (bounds.isExact() && bounds.low.isKnown()) {
    auto [entry, inserted] = exact.try_emplace(bounds.low, next);
    std::tie(variable, isNew) = std::pair(entry->second, inserted);
  } else {
    auto [entry, inserted] = others.try_emplace(expr, next);
    std::tie(variable, isNew) = std::pair(entry->second, inserted);
  }
  unsigned length = countOperations(expr);
  if (isNew) {
    auto [low, high] = getRange(expr);
    expressions.push_back(expr);
    described.push_back(
        {{std::max<int64_t>(low, 0), std::max<int64_t>(high, 0)}, bounds.low, bounds.high, length});
  } else if (length < described[variable].length) {
    expressions[variable] = expr;
    described[variable].length = length;
  }
  return variable;
}

/// The variable that counts the lines of 64 bytes that so many bytes take.
size_t SizeVariables::getLines(AffineExpr bytes) {
  AffineExpr expr = bytes.ceilDiv(kAlignment);
  Bounds bounds = getBounds(bytes);
  if (!bounds.isExact() || !bounds.low.isKnown())
    return getVariable(expr);
  auto [entry, isNew] = lines.try_emplace(bounds.low, expressions.size());
  if (isNew)
    entry->second = getVariable(expr);
  return entry->second;
}

static void setTerm(LinearBytes &linear, size_t variable, int64_t coefficient) {
  if (linear.size() < variable + 2)
    linear.resize(variable + 2, 0);
  linear[variable + 1] += coefficient;
}

LinearBytes SizeVariables::getLinear(AffineExpr bytes) {
  LinearBytes linear = {0};
  Sum sum;
  if (!expand(bytes, sum) ||
      llvm::any_of(sum.terms, [](const auto &term) { return term.second < 0; })) {
    setTerm(linear, getLines(bytes), kAlignment);
    return linear;
  }
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
    setTerm(linear, getLines(rest), kAlignment);
  return linear;
}

// ---- Back to expressions ----------------------------------------------------------------------

size_t SizeVariables::getLength() const {
  return getDomain().getLength(LinearBytes(expressions.size() + 1, 1));
}

AffineMapAttr SizeVariables::getMap(const LargestBytes &functions) const {
  SmallVector<AffineExpr> results;
  for (const LinearBytes &function : functions) {
    AffineExpr expr = getAffineConstantExpr(function.front(), context);
    for (size_t i = 1; i < function.size(); ++i)
      if (function[i] != 0)
        expr = expr + expressions[i - 1] * function[i];
    results.push_back(expr);
  }
  return AffineMapAttr::get(AffineMap::get(0, dims.size(), results, context));
}
