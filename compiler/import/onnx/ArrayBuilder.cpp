// Dims, constants and values of an ArrayBuilder. Its operators are in ArrayOperators.cpp.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "ir/PanelLayout.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;

/// Elements of a tensor whose contents are looked at while the model is imported.
static constexpr int64_t kMaxKnown = 4096;

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

// ---- Dims -------------------------------------------------------------------------------------

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

DimBounds ArrayBuilder::boundsOf(StringRef name) const {
  constexpr int64_t most = 4096;
  for (const DimBounds &wanted : wantedBounds)
    if (wanted.name == name)
      return wanted;
  return {name.str(), 1, most};
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

// ---- Constants --------------------------------------------------------------------------------

static bool holdsIntegers(Type element) { return isa<IntegerType>(element); }

Array ArrayBuilder::constant(Type element, ArrayRef<int64_t> shape, ArrayRef<double> values) {
  Array array;
  array.element = element;
  array.shape = numbers(shape);
  Contents contents;
  for (double value : values)
    if (holdsIntegers(element))
      contents.integers.push_back(number(int64_t(value)));
    else
      contents.reals.push_back(value);
  array.contents = std::make_shared<Contents>(std::move(contents));
  return array;
}

Array ArrayBuilder::integers(ArrayRef<AffineExpr> values, Type element) {
  Array array;
  array.element = element ? element : b.getI64Type();
  array.shape = {number(int64_t(values.size()))};
  Contents contents;
  for (AffineExpr value : values)
    contents.integers.push_back(simplify(value));
  array.contents = std::make_shared<Contents>(std::move(contents));
  return array;
}

Array ArrayBuilder::integer(AffineExpr value, Type element) {
  Array array = integers(value, element);
  array.shape.clear();
  return array;
}

Array ArrayBuilder::scalar(Type element, double value) { return constant(element, {}, value); }

static double doubleOf(const uint8_t *bytes, Type element) {
  unsigned bits = element.getIntOrFloatBitWidth();
  if (auto floating = dyn_cast<FloatType>(element)) {
    uint64_t raw = 0;
    std::memcpy(&raw, bytes, bits / 8);
    APFloat value(floating.getFloatSemantics(), APInt(bits, raw));
    bool lossy;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
    return value.convertToDouble();
  }
  return 0;
}

static int64_t integerOf(const uint8_t *bytes, Type element) {
  unsigned bits = element.getIntOrFloatBitWidth();
  uint64_t raw = 0;
  std::memcpy(&raw, bytes, std::max(bits / 8, 1u));
  if (bits == 1)
    return raw != 0;
  return element.isUnsignedInteger() ? int64_t(raw) : llvm::SignExtend64(raw, bits);
}

/// The bytes of a tensor as code reads its elements: 4-bit ones a byte each.
static std::vector<uint8_t> spread(std::vector<uint8_t> bytes, Type element, int64_t count) {
  unsigned bits = element.getIntOrFloatBitWidth();
  if (bits >= 8 || bits == 1)
    return bytes;
  std::vector<uint8_t> result(count);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t code = bytes[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    result[i] = uint8_t(element.isUnsignedInteger() ? code : llvm::SignExtend64(code, bits));
  }
  return result;
}

namespace kiln {
Type elementTypeOf(OnnxType type, MLIRContext *context);
}

Array ArrayBuilder::fromTensor(const ConstantTensor &tensor) {
  Array array;
  array.element = elementTypeOf(tensor->type, b.getContext());
  if (!array.element)
    return fail(llvm::formatv("tensor {0}: elements of type {1} are not supported", tensor->name,
                              kiln::nameOf(tensor->type)));
  array.shape = numbers(tensor->dims);
  array.constant = tensor;
  if (tensor->elements > kMaxKnown)
    return array;
  auto bytes = readBytes(*tensor, &model);
  if (!bytes)
    return fail(llvm::toString(bytes.takeError()));
  std::vector<uint8_t> elements = spread(std::move(*bytes), array.element, tensor->elements);
  Contents contents;
  int64_t size = std::max<int64_t>(array.element.getIntOrFloatBitWidth() / 8, 1);
  for (int64_t i = 0; i < tensor->elements; ++i)
    if (holdsIntegers(array.element))
      contents.integers.push_back(number(integerOf(
          elements.data() + i * size,
          array.element.getIntOrFloatBitWidth() < 8 && array.element.getIntOrFloatBitWidth() > 1
              ? array.element.isUnsignedInteger()
                    ? Type(IntegerType::get(b.getContext(), 8, IntegerType::Unsigned))
                    : Type(b.getI8Type())
              : array.element)));
    else
      contents.reals.push_back(doubleOf(elements.data() + i * size, array.element));
  array.contents = std::make_shared<Contents>(std::move(contents));
  return array;
}

/// The ONNX type of an element type.
static OnnxType onnxTypeOf(Type element) {
  MLIRContext *context = element.getContext();
  for (int type = 1; type <= 26; ++type)
    if (elementTypeOf(OnnxType(type), context) == element)
      return OnnxType(type);
  return OnnxType::Undefined;
}

Array ArrayBuilder::fromBytes(Type element, ArrayRef<int64_t> shape, std::vector<uint8_t> bytes,
                              const llvm::Twine &name) {
  auto tensor = std::make_shared<OnnxTensor>();
  tensor->name = name.str();
  tensor->type = onnxTypeOf(element);
  tensor->dims.assign(shape.begin(), shape.end());
  tensor->elements = 1;
  for (int64_t extent : shape)
    tensor->elements *= extent;
  tensor->sizeBytes = bytes.size();
  tensor->bytes = std::move(bytes);
  return fromTensor(tensor);
}

bool ArrayBuilder::isConstant(const Array &array) const {
  if (array.constant)
    return true;
  return array.contents &&
         llvm::all_of(array.contents->integers, llvm::IsaPred<AffineConstantExpr>);
}

std::optional<std::vector<double>> ArrayBuilder::valuesOf(const Array &array) const {
  if (!isConstant(array))
    return std::nullopt;
  std::vector<double> values;
  if (array.contents) {
    for (AffineExpr value : array.contents->integers)
      values.push_back(double(llvm::cast<AffineConstantExpr>(value).getValue()));
    llvm::append_range(values, array.contents->reals);
    return values;
  }
  auto bytes = readBytes(*array.constant, &model);
  if (!bytes) {
    llvm::consumeError(bytes.takeError()); // reading it as a weight will tell
    return std::nullopt;
  }
  std::vector<uint8_t> elements =
      spread(std::move(*bytes), array.element, array.constant->elements);
  int64_t size = std::max<int64_t>(array.element.getIntOrFloatBitWidth() / 8, 1);
  for (int64_t i = 0; i < array.constant->elements; ++i)
    values.push_back(holdsIntegers(array.element)
                         ? double(integerOf(elements.data() + i * size, array.element))
                         : doubleOf(elements.data() + i * size, array.element));
  return values;
}

const SmallVector<AffineExpr> *ArrayBuilder::expressionsOf(const Array &array) const {
  if (!array.contents || !array.contents->reals.empty())
    return nullptr;
  return &array.contents->integers;
}

std::optional<SmallVector<int64_t>> ArrayBuilder::integersOf(const Array &array) const {
  const SmallVector<AffineExpr> *expressions = expressionsOf(array);
  if (!expressions || !isConstant(array) || !holdsIntegers(array.element))
    return std::nullopt;
  return llvm::map_to_vector(
      *expressions, [](AffineExpr e) { return llvm::cast<AffineConstantExpr>(e).getValue(); });
}

// ---- Values -----------------------------------------------------------------------------------

Value ArrayBuilder::useWeight(const OnnxTensor &tensor, RankedTensorType type, bool transpose,
                              StringRef format) {
  std::string &name = weights[{&tensor, (format + (transpose ? "t" : "")).str()}];
  if (name.empty()) {
    name = freshName(tensor.name);
    std::string file = tensor.file;
    uint64_t offset = tensor.offset;
    if (file.empty()) {
      file = "onnx:" + name;
      sources[file] = tensor.bytes;
      offset = 0;
    }
    StringRef dtype = tensor.type == OnnxType::Float16    ? "f16"
                      : tensor.type == OnnxType::BFloat16 ? "bf16"
                      : tensor.type == OnnxType::Float    ? "f32"
                                                          : kiln::nameOf(tensor.type);
    auto source = graph::SourceAttr::get(b.getContext(), file, tensor.name, int64_t(offset), dtype,
                                         tensor.dims);
    SmallVector<Attribute> transforms;
    if (transpose)
      transforms.push_back(graph::TransposeAttr::get(b.getContext()));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(*module.getOps<graph::FuncOp>().begin());
    graph::WeightOp::create(b, NameLoc::get(b.getStringAttr(tensor.name)), name, type,
                            b.getArrayAttr({source}), b.getArrayAttr(transforms), format,
                            kRowsLayoutName);
  }
  auto stored =
      RankedTensorType::get(type.getShape(), type.getElementType(),
                            graph::StoredAttr::get(b.getContext(), format, kRowsLayoutName));
  return graph::WeightRefOp::create(b, location, stored, name);
}

/// Elements of known contents in memory.
static std::vector<uint8_t> bytesOf(const Contents &contents, Type element) {
  unsigned bits = element.getIntOrFloatBitWidth();
  size_t size = std::max(bits / 8, 1u);
  std::vector<uint8_t> bytes;
  auto add = [&](uint64_t raw) {
    for (size_t i = 0; i < size; ++i)
      bytes.push_back(uint8_t(raw >> 8 * i));
  };
  auto floatBits = [&](double value) {
    APFloat exact(value);
    bool lossy;
    exact.convert(llvm::cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &lossy);
    return exact.bitcastToAPInt().getZExtValue();
  };
  for (AffineExpr value : contents.integers) {
    int64_t number = llvm::cast<AffineConstantExpr>(value).getValue();
    add(isa<FloatType>(element) ? floatBits(double(number)) : uint64_t(number));
  }
  for (double value : contents.reals)
    add(floatBits(value));
  return bytes;
}

Value ArrayBuilder::weightOf(const Array &matrix, bool transpose) {
  ConstantTensor tensor = matrix.constant;
  if (!tensor && !matrix.value && matrix.element.isF32() && isConstant(matrix)) {
    auto made = std::make_shared<OnnxTensor>();
    made->name = "weight";
    made->type = OnnxType::Float;
    for (int64_t dim = 0; dim < matrix.rank(); ++dim)
      made->dims.push_back(matrix.extent(dim));
    made->elements = matrix.count();
    made->bytes = bytesOf(*matrix.contents, matrix.element);
    tensor = made;
  }
  if (!tensor || tensor->dims.size() != 2 || tensor->elements == 0)
    return {};
  bool isFloat = tensor->type == OnnxType::Float || tensor->type == OnnxType::Float16 ||
                 tensor->type == OnnxType::BFloat16;
  if (!isFloat || !matrix.element.isF32())
    return {};
  kept.push_back(tensor);
  SmallVector<int64_t> shape(tensor->dims.begin(), tensor->dims.end());
  if (transpose)
    std::swap(shape[0], shape[1]);
  return useWeight(*tensor, RankedTensorType::get(shape, b.getF32Type()), transpose, "f32");
}

/// One value for all elements is part of the code; others are a weight.
Value ArrayBuilder::constantValue(const Array &array) {
  RankedTensorType type = typeOf(array);
  int64_t size = std::max<int64_t>(array.element.getIntOrFloatBitWidth() / 8, 1);
  ConstantTensor tensor = array.constant;
  if (array.contents) {
    std::vector<uint8_t> bytes = bytesOf(*array.contents, array.element);
    bool isSplat = !bytes.empty();
    for (size_t i = size; i < bytes.size(); ++i)
      isSplat = isSplat && bytes[i] == bytes[i - size];
    if (isSplat) {
      Attribute value;
      uint64_t raw = 0;
      std::memcpy(&raw, bytes.data(), size);
      unsigned bits = array.element.getIntOrFloatBitWidth();
      APInt word = APInt(64, raw).trunc(bits);
      if (auto floating = dyn_cast<FloatType>(array.element))
        value = FloatAttr::get(floating, APFloat(floating.getFloatSemantics(), word));
      else
        value = IntegerAttr::get(array.element, word);
      return graph::ConstantOp::create(b, location, DenseElementsAttr::get(type, value));
    }
    if (!tensor || bytes.size() != tensor->bytes.size()) {
      auto made = std::make_shared<OnnxTensor>();
      made->name = "constant";
      made->type = onnxTypeOf(array.element);
      made->dims.assign(type.getShape().begin(), type.getShape().end());
      made->bytes = std::move(bytes);
      tensor = made;
    }
  }
  kept.push_back(tensor);
  // Vectors of floats lie as those of other importers do, so that every kernel reads them.
  bool isVector = type.getRank() == 1 && array.element.isF32() && type.getDimSize(0) > 0;
  return useWeight(*tensor, type, false, isVector ? "f32" : StringRef(kRawFormatName));
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
  if (isConstant(array)) {
    // Four-bit elements take a byte each in the artifact.
    unsigned bits = array.element.getIntOrFloatBitWidth();
    if (!array.contents && bits < 8 && bits > 1) {
      auto bytes = readBytes(*array.constant, &model);
      if (!bytes) {
        fail(llvm::toString(bytes.takeError()));
        bytes = std::vector<uint8_t>((array.constant->elements * bits + 7) / 8);
      }
      auto spreadTensor = std::make_shared<OnnxTensor>(*array.constant);
      spreadTensor->file.clear();
      spreadTensor->bytes = spread(std::move(*bytes), array.element, array.constant->elements);
      kept.push_back(spreadTensor);
      return useWeight(*spreadTensor, typeOf(array), false, kRawFormatName);
    }
    return constantValue(array);
  }
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
