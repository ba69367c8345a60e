// Bounds are for dims of a model by name; a name that no dim has is a mistake, mostly of spelling,
// which would leave the dim that was meant with the bounds of any dim. The dims that a model has
// are those that its values declare, those of graphs inside of nodes too, and those whose sizes
// follow from data, which get their names while the model is translated.
#include "compiler/import/onnx/DimNames.h"
#include "llvm/ADT/StringSet.h"

using namespace kiln;
using llvm::StringRef;

static constexpr size_t kMaxListed = 16;

std::string kiln::nameOfDim(const OnnxDim &dim, StringRef value, size_t position) {
  return dim.param.empty() ? (value + "_" + llvm::Twine(position)).str() : dim.param;
}

static void collectDeclared(const OnnxGraph &graph, llvm::StringSet<> &names) {
  auto collect = [&](const OnnxValue &value) {
    for (size_t i = 0; i < value.shape.size(); ++i)
      if (value.shape[i].extent < 0)
        names.insert(nameOfDim(value.shape[i], value.name, i));
  };
  for (const OnnxValue &input : graph.inputs)
    collect(input);
  for (const OnnxValue &output : graph.outputs)
    collect(output);
  for (const auto &entry : graph.values)
    collect(entry.getValue());
  for (const OnnxNode &node : graph.nodes)
    for (const OnnxAttribute &attribute : node.attributes)
      if (attribute.graph)
        collectDeclared(*attribute.graph, names);
}

/// "it has N (dim 0 of input x, dim 1 of input y), M (…)"
static std::string describeDims(llvm::ArrayRef<NamedDim> dims) {
  std::vector<NamedDim> merged;
  for (const NamedDim &dim : dims) {
    auto same =
        llvm::find_if(merged, [&](const NamedDim &other) { return other.name == dim.name; });
    if (same == merged.end())
      merged.push_back(dim);
    else if (same->owner != dim.owner)
      same->owner += ", " + dim.owner;
  }
  if (merged.empty())
    return "all its dims are fixed";
  std::string text = "it has ";
  for (size_t i = 0; i < std::min(merged.size(), kMaxListed); ++i)
    text += (i ? ", " : "") + merged[i].name + " (" + merged[i].owner + ")";
  if (merged.size() > kMaxListed)
    text += " and " + std::to_string(merged.size() - kMaxListed) + " others";
  return text;
}

std::vector<std::string> kiln::findUnknownDims(const OnnxGraph &graph,
                                               llvm::ArrayRef<NamedDim> asked,
                                               llvm::ArrayRef<DimBounds> bounds) {
  if (bounds.empty())
    return {};
  llvm::StringSet<> names;
  collectDeclared(graph, names);
  for (const NamedDim &dim : asked)
    names.insert(dim.name);
  std::vector<std::string> problems;
  for (const DimBounds &given : bounds)
    if (!names.contains(given.name))
      problems.push_back("--dim " + given.name + ": the model has no dim of that name; " +
                         describeDims(asked));
  return problems;
}
