// Any bytes as an ONNX model, and as a tensor: an answer or an error. In a model that is taken
// every value is computed before it is read, names are unique, attributes refer to nothing outside,
// and every tensor has the bytes that its dims ask for.
#include "compiler/import/onnx/OnnxModel.h"
#include "llvm/ADT/StringSet.h"

using namespace kiln;

static void require(bool condition) {
  if (!condition)
    __builtin_trap();
}

static void checkTensor(const OnnxTensor &tensor) {
  require(tensor.file.empty()); // there is no folder
  int64_t elements = 1;
  for (int64_t extent : tensor.dims)
    elements = extent == 0 ? 0 : elements * extent;
  require(elements == tensor.elements);
  if (tensor.type == OnnxType::String)
    require(tensor.strings.size() == size_t(elements));
  else
    require(tensor.bytes.size() == (uint64_t(elements) * bitsOf(tensor.type) + 7) / 8 &&
            tensor.bytes.size() == tensor.sizeBytes);
}

/// `visible`: the names of the graphs around.
static void checkGraph(const OnnxGraph &graph, llvm::StringSet<> visible, bool inner) {
  llvm::StringSet<> own;
  for (const std::string &name : graph.captures)
    require(inner && visible.contains(name));
  auto define = [&](const std::string &name) {
    require(own.insert(name).second);
    visible.insert(name);
  };
  for (const OnnxValue &input : graph.inputs)
    define(input.name);
  for (const auto &tensor : graph.initializerOrder) {
    define(tensor->name);
    checkTensor(*tensor);
  }
  for (const OnnxNode &node : graph.nodes) {
    require(!node.type.empty() && !node.name.empty());
    for (const std::string &input : node.inputs)
      require(input.empty() || visible.contains(input));
    for (const OnnxAttribute &attribute : node.attributes) {
      require(attribute.ref.empty());
      if (attribute.tensor)
        checkTensor(*attribute.tensor);
      if (attribute.graph)
        checkGraph(*attribute.graph, visible, true);
    }
    for (const std::string &output : node.outputs)
      if (!output.empty())
        define(output);
  }
  for (const OnnxValue &output : graph.outputs)
    require(visible.contains(output.name));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::ArrayRef<uint8_t> bytes(data, size);
  if (auto model = readOnnxModel(bytes, "", "m.onnx"))
    checkGraph((*model)->graph, {}, false);
  else
    require(!llvm::toString(model.takeError()).empty());
  if (auto tensor = readOnnxTensor(bytes, "t.pb"))
    checkTensor(*tensor);
  else
    require(!llvm::toString(tensor.takeError()).empty());
  return 0;
}
