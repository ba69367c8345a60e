// Constants of an ArrayBuilder: their elements while the model is imported, and how they become
// values of the graph.
#include "compiler/import/onnx/ArrayBuilder.h"
#include "compiler/import/onnx/KnownElements.h"
#include "compiler/import/onnx/NodeImport.h"
#include "compiler/values/FloatBits.h"
#include "ir/PanelLayout.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;

static bool holdsIntegers(Type element) { return isa<IntegerType>(element); }

/// A number as an integer: the nearest that there is, 0 for NaN.
static int64_t wholeOf(double value) {
  constexpr double most = 9223372036854775808.0; // 2^63
  if (std::isnan(value))
    return 0;
  return value >= most    ? std::numeric_limits<int64_t>::max()
         : value <= -most ? std::numeric_limits<int64_t>::min()
                          : int64_t(value);
}

Array ArrayBuilder::constant(Type element, ArrayRef<int64_t> shape, ArrayRef<double> values) {
  Array array;
  array.element = element;
  array.shape = numbers(shape);
  Contents contents;
  for (double value : values)
    if (holdsIntegers(element))
      contents.integers.push_back(number(wholeOf(value)));
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
    std::memcpy(&raw, bytes, std::max(bits / 8, 1u));
    return fromFloatBits(raw, floating.getFloatSemantics());
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

/// The bytes of a tensor as code reads its elements: those of fewer than 8 bits a byte each.
static std::vector<uint8_t> spread(std::vector<uint8_t> bytes, Type element, int64_t count) {
  unsigned bits = element.getIntOrFloatBitWidth();
  if (bits >= 8 || bits == 1)
    return bytes;
  std::vector<uint8_t> result(count);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t code = bytes[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    result[i] = uint8_t(element.isSignlessInteger() ? llvm::SignExtend64(code, bits) : code);
  }
  return result;
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
    return toFloatBits(value, llvm::cast<FloatType>(element).getFloatSemantics());
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
  // Elements of fewer than 8 bits take a byte each in the artifact.
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
