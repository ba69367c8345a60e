// Values of an ArrayBuilder: arrays as values of the graph, and ops of it. Dims, constants, views
// and operators that compute have files of their own.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "ir/PanelLayout.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;

int64_t Array::count() const {
  int64_t product = 1;
  for (int64_t dim = 0; dim < rank(); ++dim) {
    int64_t size = extent(dim);
    if (size < 0 || llvm::MulOverflow(product, size, product))
      return -1;
  }
  return product;
}

ArrayBuilder::ArrayBuilder(ModuleOp module, Block *block, const OnnxModel &model,
                           std::vector<ConstantTensor> &kept)
    : b(OpBuilder::atBlockEnd(block)), location(UnknownLoc::get(module.getContext())),
      module(module), model(model), kept(kept) {}

Array ArrayBuilder::fail(const llvm::Twine &message) {
  std::string where;
  if (auto named = dyn_cast<NameLoc>(location))
    where = (named.getName().getValue() + ": ").str();
  problems.push_back(where + message.str());
  return {};
}

RankedTensorType ArrayBuilder::typeOf(Type element, ArrayRef<AffineExpr> shape) {
  SmallVector<int64_t> extents;
  SmallVector<FlatSymbolRefAttr> symbols;
  for (AffineExpr given : shape) {
    AffineExpr size = simplify(given);
    if (auto constant = dyn_cast<AffineConstantExpr>(size)) {
      extents.push_back(std::max<int64_t>(constant.getValue(), 0));
      continue;
    }
    extents.push_back(ShapedType::kDynamic);
    symbols.push_back(nameOf(size));
  }
  graph::DimsAttr encoding =
      symbols.empty() ? graph::DimsAttr() : graph::DimsAttr::get(b.getContext(), symbols);
  return RankedTensorType::get(extents, element, encoding);
}

RankedTensorType ArrayBuilder::typeOf(const Array &array) {
  return typeOf(array.element, array.shape);
}

Array ArrayBuilder::fromValue(Value value) {
  RankedTensorType type = graph::tensorOf(value);
  Array array;
  array.value = value;
  array.element = type.getElementType();
  graph::DimsAttr symbols = graph::getDims(type);
  unsigned dynamic = 0;
  for (int64_t extent : type.getShape()) {
    if (!ShapedType::isDynamic(extent)) {
      array.shape.push_back(number(extent));
      continue;
    }
    FlatSymbolRefAttr symbol = symbols.getSymbols()[dynamic++];
    for (auto [i, dim] : llvm::enumerate(dims))
      if (dim.name == symbol.getValue())
        array.shape.push_back(getAffineSymbolExpr(i, b.getContext()));
  }
  return array;
}

Value ArrayBuilder::symbolicValue(const Array &array) {
  SmallVector<AffineExpr> used, renamed;
  llvm::DenseMap<AffineExpr, AffineExpr> places;
  SmallVector<Attribute> symbols;
  for (AffineExpr value : array.contents->integers)
    value.walk([&](AffineExpr part) {
      if (isa<AffineSymbolExpr>(part) && !places.count(part)) {
        places[part] = getAffineSymbolExpr(symbols.size(), b.getContext());
        symbols.push_back(nameOf(part));
      }
    });
  for (AffineExpr value : array.contents->integers)
    renamed.push_back(value.replace(places));
  auto map = AffineMap::get(0, symbols.size(), renamed, b.getContext());
  Array flat =
      compute("dims", {}, array.element, numbers({int64_t(renamed.size())}),
              params({{"values", AffineMapAttr::get(map)}, {"dims", b.getArrayAttr(symbols)}}));
  if (array.rank() == 1)
    return flat.value;
  return compute("reshape", flat, array.element, array.shape).value;
}

Value ArrayBuilder::valueOf(const Array &array) {
  if (array.value)
    return array.value;
  if (!array.element) { // the import ends with a problem; callers need not look at every step
    if (!failed())
      fail("a tensor is expected, not a sequence");
    return valueOf(scalar(b.getF32Type(), 0));
  }
  if (isConstant(array))
    return constantValue(array);
  return symbolicValue(array);
}

DictionaryAttr ArrayBuilder::params(ArrayRef<Param> entries) const {
  SmallVector<NamedAttribute> named;
  for (const Param &entry : entries)
    named.emplace_back(StringAttr::get(b.getContext(), entry.first), entry.second);
  return DictionaryAttr::get(b.getContext(), named);
}

SmallVector<Array> ArrayBuilder::compute(StringRef kind, ArrayRef<Array> operands,
                                         ArrayRef<Type> elements, ArrayRef<Shape> shapes,
                                         DictionaryAttr given) {
  bool sound = llvm::all_of(operands, [](const Array &x) { return bool(x.element); }) &&
               llvm::all_of(elements, [](Type type) { return bool(type); });
  for (const Shape &shape : shapes)
    sound = sound && !llvm::is_contained(shape, AffineExpr());
  if (!sound) {
    if (!failed())
      fail(kind + ": an operand is no tensor");
    return SmallVector<Array>(elements.size());
  }
  SmallVector<Value> values;
  for (const Array &operand : operands)
    values.push_back(valueOf(operand));
  SmallVector<Type> types;
  for (auto [element, shape] : llvm::zip(elements, shapes))
    types.push_back(typeOf(element, shape));
  if (!given)
    given = b.getDictionaryAttr({});
  auto op = graph::ComputeOp::create(b, location, types, b.getStringAttr(kind), values, given);
  SmallVector<Array> results;
  for (auto [value, element, shape] : llvm::zip(op.getResults(), elements, shapes)) {
    Array array;
    array.value = value;
    array.element = element;
    array.shape = llvm::map_to_vector(shape, [&](AffineExpr size) { return simplify(size); });
    results.push_back(array);
  }
  return results;
}
