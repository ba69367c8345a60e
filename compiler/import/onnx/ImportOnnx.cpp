#include "compiler/import/onnx/ImportOnnx.h"
#include "compiler/import/onnx/DimExpression.h"
#include "compiler/import/onnx/NodeImport.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

/// Names every node whose operator is not supported, in sub-graphs too.
static void findUnsupported(const OnnxModel &model, const OnnxGraph &graph,
                            std::vector<std::string> &problems) {
  for (const OnnxNode &node : graph.nodes) {
    int64_t version = std::max<int64_t>(node.opset, 1);
    if (!findOnnxOperator(node.domain, node.type, version))
      problems.push_back(llvm::formatv("{0}: operator {1}{2}{3} of opset {4} is not supported",
                                       node.name, node.domain, node.domain.empty() ? "" : ".",
                                       node.type, version));
    for (const OnnxAttribute &attribute : node.attributes)
      if (attribute.graph)
        findUnsupported(model, *attribute.graph, problems);
  }
}

namespace {

class OnnxImport {
public:
  OnnxImport(ImportedOnnx &result, ArrayRef<DimBounds> bounds, MLIRContext &context)
      : result(result), model(*result.model), bounds(bounds), context(context) {}
  llvm::Error run();

private:
  llvm::Error fail(const std::vector<std::string> &problems) {
    return llvm::createStringError(model.file + ": " +
                                   llvm::join(problems, "\n" + model.file + ": "));
  }
  std::optional<Array> declareTensor(const OnnxValue &input, const std::string &name,
                                     ArrayBuilder &a);
  std::optional<Array> declareInput(const OnnxValue &input, ArrayBuilder &a);
  void deriveDims(const OnnxValue &input, Array &array, ArrayBuilder &a);
  void addFacts(ModuleOp module);
  llvm::Error checkModule(ModuleOp module);

  ImportedOnnx &result;
  const OnnxModel &model;
  ArrayRef<DimBounds> bounds;
  MLIRContext &context;
};

} // namespace

/// Whether a dim's name may be an expression of other dims, and its user has not bounded it.
static bool mayBeExpression(const OnnxDim &dim, ArrayRef<DimBounds> bounds) {
  return StringRef(dim.param).find_first_of("+-*/") != StringRef::npos &&
         llvm::none_of(bounds, [&](const DimBounds &given) { return given.name == dim.param; });
}

static std::string describe(const std::string &input, size_t dim) {
  return "dim " + std::to_string(dim) + " of input " + input;
}

/// An input's type and dims; the value is the function's argument. Sizes that may follow from
/// others are left null: deriveDims.
std::optional<Array> OnnxImport::declareTensor(const OnnxValue &input, const std::string &name,
                                               ArrayBuilder &a) {
  Array array;
  array.element = elementTypeOf(input.type, &context);
  if (!array.element) {
    a.fail(llvm::formatv("input {0}: elements of type {1} are not supported", name,
                         nameOf(input.type)));
    return std::nullopt;
  }
  if (!input.hasShape) {
    a.fail("input " + name + ": its rank is not declared");
    return std::nullopt;
  }
  for (auto [position, dim] : llvm::enumerate(input.shape)) {
    std::string size = nameOfDim(dim, name, position);
    if (dim.extent >= 0) {
      array.shape.push_back(a.number(dim.extent));
    } else if (!a.findDim(size) && mayBeExpression(dim, bounds)) {
      array.shape.push_back({});
    } else {
      DimBounds found = a.boundsOf(size, describe(name, position));
      if (AffineExpr known = a.findDim(size)) {
        array.shape.push_back(known);
        continue;
      }
      array.shape.push_back(found.min == found.max ? a.number(found.min)
                                                   : a.declareDim(size, found.min, found.max));
    }
  }
  return array;
}

/// A sequence is as many tensors as "<its name>.length" says, an optional one or none. What its
/// type calls a dim is another size in each of them.
std::optional<Array> OnnxImport::declareInput(const OnnxValue &input, ArrayBuilder &a) {
  constexpr int64_t mostItems = 1024;
  if (input.kind == OnnxValue::Tensor)
    return declareTensor(input, input.name, a);
  if (input.kind == OnnxValue::Other) {
    a.fail("input " + input.name +
           ": only tensors, and sequences and optionals of them, are taken");
    return std::nullopt;
  }
  std::string wanted = input.name + ".length";
  a.namedDims.push_back({wanted, "how many tensors input " + input.name + " has"});
  const DimBounds *length =
      llvm::find_if(bounds, [&](const DimBounds &given) { return given.name == wanted; });
  int64_t most = input.kind == OnnxValue::Optional ? 1 : mostItems;
  if (length == bounds.end() || length->min != length->max || length->min < 0 ||
      length->max > most) {
    a.fail(llvm::formatv("input {0}: how many tensors it has is part of the program: expected "
                         "--dim {1}=N with N from 0 to {2}",
                         input.name, wanted, most));
    return std::nullopt;
  }
  OnnxValue item = input;
  for (OnnxDim &dim : item.shape)
    dim.param.clear();
  Array list;
  list.isList = true;
  for (int64_t i = 0; i < length->min; ++i) {
    std::optional<Array> tensor = declareTensor(item, input.name + "." + std::to_string(i), a);
    if (!tensor)
      return std::nullopt;
    list.items.push_back(std::move(*tensor));
  }
  if (input.kind != OnnxValue::OptionalSequence || list.items.empty())
    return list;
  Array present; // an optional that holds a sequence
  present.isList = true;
  present.items.push_back(std::move(list));
  return present;
}

/// The tensors of a value, by the names that callers see: "x", of a list "x.0", "x.1", …
static void forTensors(Array &array, const std::string &name,
                       llvm::function_ref<void(Array &, const std::string &)> visit) {
  if (!array.isList)
    return visit(array, name);
  for (auto [i, item] : llvm::enumerate(array.items))
    forTensors(item, name + "." + std::to_string(i), visit);
}

/// Sizes written as expressions of free dims; names that only look so are free dims.
void OnnxImport::deriveDims(const OnnxValue &input, Array &array, ArrayBuilder &a) {
  for (auto [position, dim] : llvm::enumerate(input.shape)) {
    AffineExpr &size = array.shape[position];
    if (size)
      continue;
    size = a.findDim(dim.param);
    if (!size)
      size =
          parseDimExpression(dim.param, &context, [&](StringRef name) { return a.findDim(name); });
    if (!size) {
      DimBounds found = a.boundsOf(dim.param, describe(input.name, position));
      size = a.declareDim(dim.param, found.min, found.max);
    }
  }
}

void OnnxImport::addFacts(ModuleOp module) {
  Builder b(&context);
  NamedAttrList facts;
  facts.set("format", b.getStringAttr("onnx"));
  if (!model.graph.name.empty())
    facts.set("name", b.getStringAttr(model.graph.name));
  if (!model.producer.empty())
    facts.set("producer", b.getStringAttr(model.producer));
  for (const auto &[key, value] : model.metadata)
    if (!key.empty() && value.size() <= 4096)
      facts.set("onnx." + key, b.getStringAttr(value));
  module->setAttr("graph.facts", facts.getDictionary(&context));
}

/// What operators do not take (a type, a rank, a number of operands), the graph's verifiers tell.
llvm::Error OnnxImport::checkModule(ModuleOp module) {
  std::vector<std::string> problems;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    auto named = dyn_cast<NameLoc>(diagnostic.getLocation());
    problems.push_back((named ? named.getName().str() + ": " : "") + diagnostic.str());
    return success();
  });
  return succeeded(verify(module)) ? llvm::Error::success() : fail(problems);
}

llvm::Error OnnxImport::run() {
  std::vector<std::string> unsupported;
  findUnsupported(model, model.graph, unsupported);
  if (!unsupported.empty())
    return fail(unsupported);

  result.module = ModuleOp::create(NameLoc::get(StringAttr::get(&context, model.file)));
  ModuleOp module = *result.module;
  addFacts(module);
  OpBuilder top = OpBuilder::atBlockEnd(module.getBody());
  auto func = graph::FuncOp::create(top, module.getLoc(), "main",
                                    FunctionType::get(&context, {}, {}), ArrayAttr(), ArrayAttr());
  Block *body = new Block();
  func.getBody().push_back(body);
  ArrayBuilder a(module, body, model, result.kept);
  a.wantedBounds.assign(bounds.begin(), bounds.end());

  GraphImport graph(a, model, model.graph);
  SmallVector<Attribute> argumentNames, resultNames;
  auto named = [&](StringRef name) {
    return top.getDictionaryAttr(top.getNamedAttr("graph.name", top.getStringAttr(name)));
  };
  // All free dims are declared before anything is derived from them.
  SmallVector<Array> inputs;
  for (const OnnxValue &input : model.graph.inputs) {
    std::optional<Array> array = declareInput(input, a);
    if (!array)
      return fail(a.problems);
    inputs.push_back(*array);
  }
  for (auto [input, array] : llvm::zip(model.graph.inputs, inputs))
    forTensors(array, input.name,
               [&](Array &tensor, const std::string &) { deriveDims(input, tensor, a); });
  for (auto [input, array] : llvm::zip(model.graph.inputs, inputs)) {
    forTensors(array, input.name, [&](Array &tensor, const std::string &name) {
      tensor.value = body->addArgument(a.typeOf(tensor), NameLoc::get(top.getStringAttr(name)));
      argumentNames.push_back(named(name));
    });
    graph.values[input.name] = array;
  }
  graph.run();

  // Every result is a value of its own.
  SmallVector<Value> results;
  if (!a.failed())
    for (auto [declared, array] : llvm::zip(model.graph.outputs, graph.outputs()))
      forTensors(array, declared.name, [&](Array &tensor, const std::string &name) {
        a.location = NameLoc::get(top.getStringAttr(name));
        if (!tensor)
          return;
        results.push_back(a.compute("identity", tensor, tensor.element, tensor.shape).value);
        resultNames.push_back(named(name));
      });
  if (!a.failed())
    a.problems = findUnknownDims(model.graph, a.namedDims, bounds);
  if (a.failed())
    return fail(a.problems);
  graph::ReturnOp::create(a.b, a.location, results);
  func.setFunctionType(
      FunctionType::get(&context, body->getArgumentTypes(), ValueRange(results).getTypes()));
  func.setArgAttrsAttr(top.getArrayAttr(argumentNames));
  func.setResAttrsAttr(top.getArrayAttr(resultNames));
  SmallVector<Attribute> requirements;
  for (const ArrayBuilder::Requirement &requirement : a.requirements) {
    if (a.dependsOnComputed(requirement.left) || a.dependsOnComputed(requirement.right))
      continue; // reads stay inside; only callers can be told
    auto map = [&](AffineExpr size) {
      return AffineMapAttr::get(AffineMap::get(0, a.dimCount(), size));
    };
    requirements.push_back(top.getArrayAttr(
        {map(requirement.left), map(requirement.right), top.getStringAttr(requirement.text)}));
  }
  if (!requirements.empty())
    func->setAttr("requirements", top.getArrayAttr(requirements));
  result.sources = std::move(a.sources);
  return checkModule(module);
}

llvm::Expected<ImportedOnnx> kiln::importOnnx(std::unique_ptr<OnnxModel> model,
                                              ArrayRef<DimBounds> bounds, MLIRContext &context) {
  ImportedOnnx result;
  result.model = std::move(model);
  llvm::Error error = OnnxImport(result, bounds, context).run();
  if (error)
    return error;
  return result;
}
