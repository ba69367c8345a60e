// Dims of an ArrayBuilder: declared, compared, bounded.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;

std::string ArrayBuilder::freshName(StringRef wanted) {
  std::string name;
  for (char c : wanted)
    name += llvm::isAlnum(c) || c == '_' || c == '.' || c == '-' ? c : '_';
  if (name.empty())
    name = "_";
  unsigned &count = usedNames[name];
  if (count++ == 0)
    return name;
  std::string unique;
  do
    unique = name + "_" + std::to_string(usedNames[name]++);
  while (usedNames.count(unique));
  usedNames[unique] = 1;
  return unique;
}

AffineExpr ArrayBuilder::addDim(StringRef wanted, int64_t min, int64_t max, AffineMapAttr value,
                                bool computed) {
  std::string name = freshName(wanted);
  OpBuilder::InsertionGuard guard(b);
  if (lastDim)
    b.setInsertionPointAfter(lastDim);
  else
    b.setInsertionPointToStart(module.getBody());
  lastDim = graph::DimOp::create(b, location, StringRef(name), uint64_t(min), uint64_t(max), value,
                                 computed);
  AffineExpr symbol = getAffineSymbolExpr(dims.size(), b.getContext());
  dims.push_back({name, min, max, value ? value.getValue() : AffineMap(), computed});
  names[symbol] = FlatSymbolRefAttr::get(b.getContext(), name);
  return symbol;
}

AffineExpr ArrayBuilder::declareDim(StringRef name, int64_t min, int64_t max) {
  return modelDims[name] = addDim(name, min, max, {}, false);
}
AffineExpr ArrayBuilder::declareComputedDim(StringRef name, int64_t min, int64_t max) {
  return modelDims[name] = addDim(name, min, max, {}, true);
}

AffineExpr ArrayBuilder::findDim(StringRef name) const { return modelDims.lookup(name); }

DimBounds ArrayBuilder::boundsOf(StringRef name, const Twine &owner, int64_t least, int64_t most) {
  namedDims.push_back({name.str(), owner.str()});
  for (const DimBounds &wanted : wantedBounds)
    if (wanted.name == name)
      return wanted;
  return {name.str(), least, most};
}

void ArrayBuilder::setDims(ArrayRef<AffineExpr> computed, const Array &values) {
  SmallVector<Attribute> symbols;
  for (AffineExpr dim : computed)
    symbols.push_back(nameOf(dim));
  if (!values.element) {
    if (!failed())
      fail("sizes are expected to be a tensor");
    return;
  }
  // Constants too are computed: the values lie in the call's memory.
  Array known = values;
  if (!known.value)
    known = compute("identity", values, values.element, values.shape);
  graph::SetDimsOp::create(b, location, known.value, b.getArrayAttr(symbols));
}

bool ArrayBuilder::dependsOnComputed(AffineExpr size, unsigned first) const {
  bool depends = false;
  size.walk([&](AffineExpr part) {
    auto symbol = dyn_cast<AffineSymbolExpr>(part);
    if (!symbol || depends)
      return;
    const Dim &dim = dims[symbol.getPosition()];
    depends = dim.computed && symbol.getPosition() >= first;
    if (dim.value)
      for (AffineExpr source : dim.value.getResults())
        depends = depends || dependsOnComputed(source, first);
  });
  return depends;
}

void ArrayBuilder::limit(AffineExpr size, int64_t max) {
  auto symbol = dyn_cast<AffineSymbolExpr>(simplify(size));
  if (!symbol)
    return;
  Dim &dim = dims[symbol.getPosition()];
  bool wanted = llvm::any_of(wantedBounds, [&](const DimBounds &w) { return w.name == dim.name; });
  if (dim.value || dim.computed || wanted || dim.max <= max || max < dim.min)
    return;
  dim.max = max;
  for (auto op : module.getOps<graph::DimOp>())
    if (op.getSymName() == dim.name)
      op.setMax(uint64_t(max));
}

AffineExpr ArrayBuilder::simplify(AffineExpr expr) const {
  return simplifyAffineExpr(expr, 0, dims.size());
}

AffineExpr ArrayBuilder::product(ArrayRef<AffineExpr> sizes) const {
  AffineExpr result = number(1);
  for (AffineExpr size : sizes)
    result = result * size;
  return simplify(result);
}

static int64_t saturated(__int128 value) {
  constexpr __int128 most = int64_t(1) << 62;
  return int64_t(std::max<__int128>(std::min(value, most), -most));
}

std::pair<int64_t, int64_t> ArrayBuilder::boundsOf(AffineExpr expr) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return {constant.getValue(), constant.getValue()};
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return {dims[symbol.getPosition()].min, dims[symbol.getPosition()].max};
  auto binary = llvm::cast<AffineBinaryOpExpr>(expr);
  auto [low, high] = boundsOf(binary.getLHS());
  auto [least, most] = boundsOf(binary.getRHS());
  auto corners = [&](auto apply) {
    int64_t values[] = {saturated(apply(low, least)), saturated(apply(low, most)),
                        saturated(apply(high, least)), saturated(apply(high, most))};
    return std::pair(*std::min_element(values, values + 4), *std::max_element(values, values + 4));
  };
  auto floorOf = [](__int128 x, __int128 y) { return x / y - (x % y != 0 && (x < 0) != (y < 0)); };
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return {saturated(__int128(low) + least), saturated(__int128(high) + most)};
  case AffineExprKind::Mul:
    return corners([](__int128 x, __int128 y) { return x * y; });
  case AffineExprKind::Mod:
    return {0, std::max<int64_t>(most - 1, 0)};
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv: {
    least = std::max<int64_t>(least, 1);
    most = std::max(most, least);
    auto [floorLow, floorHigh] = corners(floorOf);
    return {floorLow, floorHigh + (expr.getKind() == AffineExprKind::CeilDiv)};
  }
  default:
    return {0, int64_t(1) << 62};
  }
}

FlatSymbolRefAttr ArrayBuilder::nameOf(AffineExpr size) {
  if (auto found = names.find(size); found != names.end())
    return found->second;
  auto [low, high] = boundsOf(size);
  low = std::max<int64_t>(low, 0);
  auto map = AffineMap::get(0, dims.size(), size);
  AffineExpr symbol = addDim("size", low, std::max(low, high), AffineMapAttr::get(map), false);
  return names[size] = names[symbol];
}

AffineExpr ArrayBuilder::largest(AffineExpr x, AffineExpr y) {
  x = simplify(x);
  y = simplify(y);
  auto [low, high] = boundsOf(x);
  auto [least, most] = boundsOf(y);
  if (x == y || low >= most)
    return x;
  if (least >= high)
    return y;
  AffineExpr &known = maxima[{x.getAsOpaquePointer(), y.getAsOpaquePointer()}];
  if (!known) {
    auto map = AffineMap::get(0, dims.size(), {x, y}, b.getContext());
    known = addDim("size", std::max({low, least, int64_t(0)}), std::max({high, most, int64_t(0)}),
                   AffineMapAttr::get(map), false);
  }
  return known;
}

bool ArrayBuilder::sameOrRequired(AffineExpr x, AffineExpr y, const llvm::Twine &what) {
  AffineExpr difference = simplify(x - y);
  if (auto constant = dyn_cast<AffineConstantExpr>(difference))
    return constant.getValue() == 0;
  auto [low, high] = boundsOf(x);
  auto [least, most] = boundsOf(y);
  if (low > most || least > high)
    return false;
  requirements.push_back({simplify(x), simplify(y), what.str()});
  return true;
}
