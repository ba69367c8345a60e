// What the functions of operators ask of a node, and the walk over the nodes of a graph.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

Type kiln::elementTypeOf(OnnxType type, MLIRContext *context) {
  Builder b(context);
  auto integer = [&](unsigned bits, bool isUnsigned) {
    return IntegerType::get(context, bits,
                            isUnsigned ? IntegerType::Unsigned : IntegerType::Signless);
  };
  switch (type) {
  case OnnxType::Float:
    return b.getF32Type();
  case OnnxType::Float16:
    return b.getF16Type();
  case OnnxType::BFloat16:
    return b.getBF16Type();
  case OnnxType::Double:
    return b.getF64Type();
  case OnnxType::Bool:
    return b.getI1Type();
  case OnnxType::Int8:
    return integer(8, false);
  case OnnxType::Int16:
    return integer(16, false);
  case OnnxType::Int32:
    return integer(32, false);
  case OnnxType::Int64:
    return integer(64, false);
  case OnnxType::UInt8:
    return integer(8, true);
  case OnnxType::UInt16:
    return integer(16, true);
  case OnnxType::UInt32:
    return integer(32, true);
  case OnnxType::UInt64:
    return integer(64, true);
  case OnnxType::Int4:
    return integer(4, false);
  case OnnxType::UInt4:
    return integer(4, true);
  case OnnxType::Int2:
    return integer(2, false);
  case OnnxType::UInt2:
    return integer(2, true);
  case OnnxType::Float4E2M1:
    return Float4E2M1FNType::get(context);
  case OnnxType::Float8E8M0:
    return Float8E8M0FNUType::get(context);
  case OnnxType::Float8E4M3FN:
    return Float8E4M3FNType::get(context);
  case OnnxType::Float8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case OnnxType::Float8E5M2:
    return Float8E5M2Type::get(context);
  case OnnxType::Float8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  default:
    return {};
  }
}

// ---- Operators --------------------------------------------------------------------------------

const OnnxOperator *kiln::findOnnxOperator(StringRef domain, StringRef type, int64_t version) {
  static const auto *table = [] {
    auto *map = new llvm::StringMap<SmallVector<const OnnxOperator *>>();
    for (ArrayRef<OnnxOperator> family :
         {onnxElementwise(),   onnxShapes(),     onnxSlices(),
          onnxReductions(),    onnxProducts(),   onnxImages(),
          onnxPools(),         onnxResampling(), onnxSignals(),
          onnxLosses(),        onnxTraining(),   onnxQuantization(),
          onnxLookUps(),       onnxOrder(),      onnxControl(),
          onnxSequences(),     onnxRecurrent(),  onnxAttention(),
          onnxFlexAttention(), onnxMicrosoft(),  onnxMicrosoftAttention(),
          onnxQuantizedMaps()})
      for (const OnnxOperator &record : family)
        (*map)[(record.domain + "." + record.type).str()].push_back(&record);
    return map;
  }();
  if (domain == "ai.onnx")
    domain = "";
  const OnnxOperator *best = nullptr;
  for (const OnnxOperator *record : table->lookup((domain + "." + type).str()))
    if (record->since <= version && (!best || record->since > best->since))
      best = record;
  return best;
}

// ---- A node -----------------------------------------------------------------------------------

void NodeImport::fail(const llvm::Twine &message) { a.fail(message); }

const Array &NodeImport::input(size_t i) {
  static const Array none;
  if (has(i))
    return inputs[i];
  if (!a.failed())
    fail(llvm::formatv("input {0} is missing", i));
  return none;
}

Array NodeImport::scalarInput(size_t i) {
  const Array &given = input(i);
  if (!given.element)
    return {};
  for (AffineExpr size : given.shape)
    if (!a.sameOrRequired(size, a.number(1), "an input of one element"))
      return a.fail(llvm::formatv("input {0} is expected to have one element", i));
  return given.rank() ? a.reshapeUnchecked(given, {}) : given;
}

const OnnxAttribute *NodeImport::attribute(StringRef name) const {
  for (const OnnxAttribute &attribute : node.attributes)
    if (attribute.name == name)
      return &attribute;
  return nullptr;
}

int64_t NodeImport::integer(StringRef name, int64_t otherwise) const {
  const OnnxAttribute *found = attribute(name);
  return found && found->kind == OnnxAttribute::Int ? found->i : otherwise;
}

double NodeImport::real(StringRef name, double otherwise) const {
  const OnnxAttribute *found = attribute(name);
  return found && found->kind == OnnxAttribute::Float ? found->f : otherwise;
}

std::string NodeImport::text(StringRef name, StringRef otherwise) const {
  const OnnxAttribute *found = attribute(name);
  return found && found->kind == OnnxAttribute::String ? found->s : otherwise.str();
}

SmallVector<int64_t> NodeImport::integers(StringRef name, ArrayRef<int64_t> otherwise) const {
  const OnnxAttribute *found = attribute(name);
  if (found && found->kind == OnnxAttribute::Ints)
    return SmallVector<int64_t>(found->ints.begin(), found->ints.end());
  return SmallVector<int64_t>(otherwise);
}

std::optional<int64_t> NodeImport::axis(int64_t value, int64_t rank) {
  if (value < -rank || value >= std::max<int64_t>(rank, 1)) {
    fail(llvm::formatv("axis {0} of {1} dims", value, rank));
    return std::nullopt;
  }
  return value < 0 ? value + rank : value;
}

std::optional<SmallVector<int64_t>> NodeImport::axes(StringRef name, size_t position,
                                                     int64_t rank) {
  SmallVector<int64_t> values;
  if (attribute(name)) {
    values = integers(name);
  } else if (has(position)) {
    auto known = a.integersOf(inputs[position]);
    if (!known) {
      fail("axes that are computed while the model runs are not supported");
      return std::nullopt;
    }
    values = *known;
  } else {
    return std::nullopt;
  }
  SmallVector<int64_t> result;
  for (int64_t value : values) {
    std::optional<int64_t> inside = axis(value, rank);
    if (!inside)
      return std::nullopt;
    if (!llvm::is_contained(result, *inside))
      result.push_back(*inside);
  }
  return result;
}

const OnnxValue *NodeImport::declared(size_t i) const {
  if (!wants(i))
    return nullptr;
  StringRef name = node.outputs[i];
  auto sound = [](const OnnxValue &value) {
    return value.kind == OnnxValue::Tensor && value.hasShape;
  };
  for (const OnnxValue &value : graph.graph.outputs)
    if (value.name == name && sound(value))
      return &value;
  auto found = graph.graph.values.find(name);
  return found != graph.graph.values.end() && sound(found->second) ? &found->second : nullptr;
}

std::optional<Shape> NodeImport::declaredShape(size_t i) {
  const OnnxValue *value = declared(i);
  if (!value)
    return std::nullopt;
  Shape shape;
  for (auto [position, dim] : llvm::enumerate(value->shape))
    shape.push_back(graph.sizeOf(dim, node.outputs[i], position));
  return shape;
}

Array NodeImport::sizesInput(size_t i) {
  Array sizes = a.cast(input(i), a.b.getI64Type());
  if (!sizes.element || sizes.rank() != 1) {
    if (!a.failed())
      fail(llvm::formatv("input {0} is no vector of sizes", i));
    return {};
  }
  constexpr int64_t mostDims = 64;
  if (sizes.extent(0) > mostDims) {
    fail(llvm::formatv("input {0} gives the sizes of {1} dims", i, sizes.extent(0)));
    return {};
  }
  if (sizes.extent(0) >= 0)
    return sizes;
  const OnnxValue *value = declared(0);
  if (!value) {
    fail(llvm::formatv("the length of input {0}, and with it the number of dims, is not known", i));
    return {};
  }
  AffineExpr rank = a.number(int64_t(value->shape.size()));
  a.sameOrRequired(sizes.shape[0], rank, "the number of sizes that " + node.name + " is given");
  return a.sliceAt(sizes, a.number(0), rank);
}

std::optional<Shape> NodeImport::runtimeShape(size_t i, const Array &sizes) {
  if (!sizes.element)
    return std::nullopt;
  int64_t rank = sizes.rank() == 1 ? sizes.extent(0) : -1;
  const OnnxValue *value = declared(i);
  if (rank < 0 || (value && int64_t(value->shape.size()) != rank)) {
    fail(llvm::formatv("output {0}: the number of dims is not known", i));
    return std::nullopt;
  }
  Shape shape;
  SmallVector<AffineExpr> computed;
  SmallVector<Array> given;
  for (int64_t dim = 0; dim < rank; ++dim) {
    unsigned before = a.dimCount();
    OnnxDim none;
    AffineExpr size = graph.sizeOf(value ? value->shape[dim] : none, node.outputs[i], dim);
    if (a.dimCount() > before) {
      computed.push_back(size);
      given.push_back(a.slice(sizes, dim, a.number(1)));
    }
    shape.push_back(size);
  }
  if (!computed.empty())
    a.setDims(computed, a.concat(given, 0));
  return shape;
}

// ---- A graph ----------------------------------------------------------------------------------

AffineExpr GraphImport::sizeOf(const OnnxDim &dim, StringRef value, size_t position) {
  if (dim.extent >= 0)
    return a.number(dim.extent);
  std::string name = nameOfDim(dim, value, position);
  if (!dim.param.empty())
    if (AffineExpr known = a.findDim(name))
      return known;
  DimBounds bounds = a.boundsOf(name, "dim " + Twine(position) + " of " + value);
  if (bounds.min == bounds.max)
    return a.number(bounds.min);
  return a.declareComputedDim(name, bounds.min, bounds.max);
}

const Array *GraphImport::find(StringRef name) const {
  for (const GraphImport *scope = this; scope; scope = scope->outer)
    if (auto found = scope->values.find(name); found != scope->values.end())
      return &found->second;
  return nullptr;
}

void GraphImport::run() {
  for (const auto &tensor : graph.initializerOrder)
    values[tensor->name] = a.fromTensor(tensor);
  Location before = a.location;
  for (const OnnxNode &node : graph.nodes) {
    if (a.failed())
      break;
    if (llvm::all_of(node.outputs, [](const std::string &name) { return name.empty(); }))
      continue; // nobody can read what it computes
    int64_t version = std::max<int64_t>(node.opset, 1);
    const OnnxOperator *record = findOnnxOperator(node.domain, node.type, version);
    a.location = NameLoc::get(a.b.getStringAttr(node.name));
    if (!record) { // the model's operators have been looked at before; functions may bring others
      a.fail("operator " + node.type + " is not supported");
      break;
    }
    NodeImport import(*this, a, node, version);
    for (const std::string &name : node.inputs) {
      const Array *found = name.empty() ? nullptr : find(name);
      import.inputs.push_back(found ? *found : Array());
    }
    record->import(import);
    if (a.failed())
      break;
    for (auto [i, name] : llvm::enumerate(node.outputs)) {
      if (name.empty())
        continue;
      if (i >= import.results.size() || !import.results[i]) {
        a.fail(llvm::formatv("operator {0} gives no output {1}", node.type, i));
        break;
      }
      values[name] = import.results[i];
    }
  }
  a.location = before;
}

SmallVector<Array> GraphImport::outputs() {
  SmallVector<Array> results;
  for (const OnnxValue &value : graph.outputs) {
    const Array *found = find(value.name);
    if (!found && !a.failed())
      a.fail("output " + value.name + " is computed by no node");
    results.push_back(found ? *found : Array());
  }
  return results;
}
