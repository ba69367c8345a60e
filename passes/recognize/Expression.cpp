// Array ops read as formulas. Exporters write one formula in many ways: factors before or after,
// x * x or x^2, a division or a product with the reciprocal. Numbers are therefore collected along
// a value's expression, as a polynomial in what the expression starts from, and compared at its
// end.
#include "passes/recognize/Expression.h"
#include <cmath>

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;
using namespace kiln::recognize;

ComputeOp recognize::definedBy(Value value, StringRef kind) {
  auto op = value.getDefiningOp<ComputeOp>();
  return op && op.getKind() == kind ? op : ComputeOp();
}

ComputeOp recognize::onlyUser(Value value) {
  return value.hasOneUse() ? dyn_cast<ComputeOp>(*value.user_begin()) : ComputeOp();
}

std::optional<double> recognize::scalarOf(Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  auto splat = constant ? dyn_cast<SplatElementsAttr>(constant.getValue()) : SplatElementsAttr();
  if (!splat)
    return std::nullopt;
  Type element = splat.getElementType();
  if (isa<FloatType>(element)) {
    APFloat number = splat.getSplatValue<APFloat>();
    bool loses;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
    return number.convertToDouble();
  }
  if (auto integer = dyn_cast<IntegerType>(element); integer && integer.getWidth() > 1)
    return integer.isUnsigned() ? double(splat.getSplatValue<APInt>().getZExtValue())
                                : double(splat.getSplatValue<APInt>().getSExtValue());
  return std::nullopt;
}

bool recognize::isNumber(double value, double wanted, Type element) {
  double tolerance = element.isBF16() ? 0x1p-7 : element.isF16() ? 0x1p-10 : 0x1p-20;
  return std::abs(value - wanted) <= tolerance * std::abs(wanted);
}

bool recognize::sameShape(Type left, Type right) {
  return cast<RankedTensorType>(left).getShape() == cast<RankedTensorType>(right).getShape() &&
         getDims(left) == getDims(right);
}

bool recognize::isFloat(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa<FloatType>(type.getElementType());
}

SmallVector<FlatSymbolRefAttr> recognize::dimNames(RankedTensorType type) {
  SmallVector<FlatSymbolRefAttr> names(type.getRank());
  unsigned next = 0;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      names[dim] = getDims(type).getSymbols()[next++];
  return names;
}

RankedTensorType recognize::tensorType(Type element, ArrayRef<int64_t> shape,
                                       ArrayRef<FlatSymbolRefAttr> names) {
  SmallVector<FlatSymbolRefAttr> symbols;
  for (auto [extent, name] : llvm::zip_equal(shape, names))
    if (ShapedType::isDynamic(extent))
      symbols.push_back(name);
  DimsAttr dims = symbols.empty() ? DimsAttr() : DimsAttr::get(element.getContext(), symbols);
  return RankedTensorType::get(shape, element, dims);
}

bool recognize::broadcastsTo(Value value, RankedTensorType type) {
  RankedTensorType own = tensorOf(value);
  int64_t lead = type.getRank() - own.getRank();
  if (lead < 0)
    return false;
  SmallVector<FlatSymbolRefAttr> names = dimNames(own), wanted = dimNames(type);
  for (int64_t dim = 0; dim < own.getRank(); ++dim)
    if (own.getDimSize(dim) != 1 &&
        (own.getDimSize(dim) != type.getDimSize(lead + dim) || names[dim] != wanted[lead + dim]))
      return false;
  return true;
}

bool recognize::isConstantLike(Value value, unsigned depth) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<ConstantOp, WeightRefOp>(op))
    return true;
  return isa<ComputeOp>(op) && depth > 0 && op->getNumOperands() > 0 &&
         llvm::all_of(op->getOperands(),
                      [&](Value operand) { return isConstantLike(operand, depth - 1); });
}

// ---- Polynomials ------------------------------------------------------------------------------

static std::optional<Polynomial> product(const Polynomial &left, const Polynomial &right) {
  Polynomial result{};
  for (size_t i = 0; i < left.size(); ++i)
    for (size_t j = 0; j < right.size(); ++j) {
      if (left[i] == 0 || right[j] == 0)
        continue;
      if (i + j >= result.size())
        return std::nullopt;
      result[i + j] += left[i] * right[j];
    }
  return result;
}

std::optional<Polynomial> recognize::polynomialIn(Value value, Value x, unsigned depth) {
  if (value == x)
    return Polynomial{0, 1, 0, 0};
  if (std::optional<double> number = scalarOf(value))
    return Polynomial{*number, 0, 0, 0};
  auto op = value.getDefiningOp<ComputeOp>();
  if (!op || depth == 0 || !sameShape(value.getType(), x.getType()))
    return std::nullopt;
  SmallVector<Polynomial> terms;
  StringRef kind = op.getKind();
  if (!llvm::is_contained({"add", "sub", "mul", "div", "neg", "pow"}, kind))
    return std::nullopt;
  for (Value operand : op.getOperands()) {
    std::optional<Polynomial> term = polynomialIn(operand, x, depth - 1);
    if (!term)
      return std::nullopt;
    terms.push_back(*term);
  }
  auto isConstant = [](const Polynomial &p) { return p[1] == 0 && p[2] == 0 && p[3] == 0; };
  Polynomial result = terms[0];
  if (kind == "neg")
    return product(result, {-1, 0, 0, 0});
  if (kind == "mul")
    return product(result, terms[1]);
  if (kind == "div")
    return isConstant(terms[1]) && terms[1][0] != 0 ? product(result, {1 / terms[1][0], 0, 0, 0})
                                                    : std::nullopt;
  if (kind == "pow") {
    double power = terms[1][0];
    if (!isConstant(terms[1]) || (power != 2 && power != 3))
      return std::nullopt;
    std::optional<Polynomial> square = product(result, result);
    return power == 2 || !square ? square : product(*square, result);
  }
  for (size_t i = 0; i < result.size(); ++i)
    result[i] += kind == "add" ? terms[1][i] : -terms[1][i];
  return result;
}

SmallVector<Value> recognize::basesOf(Value value) {
  constexpr size_t kMost = 24;
  llvm::SetVector<Value> bases;
  bases.insert(value);
  for (size_t i = 0; i < bases.size() && bases.size() < kMost; ++i) {
    auto op = bases[i].getDefiningOp<ComputeOp>();
    if (!op || !llvm::is_contained({"add", "sub", "mul", "div", "neg", "pow"}, op.getKind()))
      continue;
    for (Value operand : op.getOperands())
      if (!scalarOf(operand) && sameShape(operand.getType(), value.getType()))
        bases.insert(operand);
  }
  return bases.takeVector();
}

std::optional<double> recognize::multipleOf(Value value, Value x) {
  std::optional<Polynomial> p = polynomialIn(value, x);
  if (!p || (*p)[0] != 0 || (*p)[2] != 0 || (*p)[3] != 0 || (*p)[1] == 0)
    return std::nullopt;
  return (*p)[1];
}

std::optional<std::pair<Value, double>> recognize::scaledOf(ComputeOp op) {
  StringRef kind = op.getKind();
  if (kind != "mul" && kind != "div")
    return std::nullopt;
  for (auto [number, other] : {std::pair(1, 0), std::pair(0, 1)}) {
    std::optional<double> factor = scalarOf(op.getOperand(number));
    Value x = op.getOperand(other);
    if (factor && *factor != 0 && (kind == "mul" || number == 1) &&
        sameShape(x.getType(), op.getResult(0).getType()))
      return std::pair(x, kind == "mul" ? *factor : 1 / *factor);
  }
  return std::nullopt;
}

Value recognize::otherOperand(ComputeOp op, StringRef kind, Value one) {
  if (!op || op.getKind() != kind || op.getNumOperands() != 2)
    return {};
  if (op.getOperand(0) == one)
    return op.getOperand(1);
  return op.getOperand(1) == one ? op.getOperand(0) : Value();
}

Value recognize::squareOf(Value value) {
  if (ComputeOp mul = definedBy(value, "mul"); mul && mul.getOperand(0) == mul.getOperand(1))
    return mul.getOperand(0);
  if (ComputeOp pow = definedBy(value, "pow"))
    if (scalarOf(pow.getOperand(1)) == 2.0)
      return pow.getOperand(0);
  return {};
}

// ---- Making ops -------------------------------------------------------------------------------

Value recognize::makeCompute(PatternRewriter &b, Location loc, StringRef kind, ValueRange operands,
                             RankedTensorType type, ArrayRef<NamedAttribute> params) {
  return ComputeOp::create(b, loc, TypeRange(type), b.getStringAttr(kind), operands,
                           b.getDictionaryAttr(params))
      .getResult(0);
}

Value recognize::makeReshape(PatternRewriter &b, Location loc, Value value, ArrayRef<int64_t> shape,
                             ArrayRef<FlatSymbolRefAttr> names) {
  RankedTensorType own = tensorOf(value), type = tensorType(own.getElementType(), shape, names);
  return sameShape(own, type) ? value : makeCompute(b, loc, "reshape", value, type);
}

Value recognize::makeTranspose(PatternRewriter &b, Location loc, Value value,
                               ArrayRef<int64_t> perm) {
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return value;
  RankedTensorType own = tensorOf(value);
  SmallVector<FlatSymbolRefAttr> names = dimNames(own), moved;
  SmallVector<int64_t> shape;
  for (int64_t from : perm) {
    shape.push_back(own.getDimSize(from));
    moved.push_back(names[from]);
  }
  return makeCompute(b, loc, "transpose", value, tensorType(own.getElementType(), shape, moved),
                     b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm)));
}
