// Puts the bodies of a model's functions in the place of their calls, so that nobody else has to
// know of functions. Values of a body get names that the model has nowhere else, attributes that
// refer to the call's get their values or their defaults, and calls within bodies are replaced in
// turn. A body is copied once per call: how much that makes is limited, since a chain of functions
// that call the next one twice doubles it with every link.
#include "compiler/import/onnx/ReadProto.h"
#include "llvm/ADT/StringSet.h"

using namespace llvm;
using namespace kiln;

namespace {
/// What the names in a body mean at a call: of its values and those of graphs around a graph in it.
struct Names {
  StringMap<std::string> meanings;
  const Names *outer = nullptr;

  const std::string *find(StringRef name) const {
    for (const Names *names = this; names; names = names->outer)
      if (auto known = names->meanings.find(name); known != names->meanings.end())
        return &known->second;
    return nullptr;
  }
};

struct Call {
  const OnnxNode &node;
  const OnnxFunction &function;
};

class Inliner {
public:
  Inliner(OnnxModel &model, std::vector<OnnxFunction> functions, OnnxReading &reading)
      : model(model), functions(std::move(functions)), reading(reading) {
    for (const OnnxFunction &function : this->functions)
      if (!byName.try_emplace(nameOf(function.domain, function.name, function.overload), &function)
               .second)
        reading.fail(describeFunction(function), "is there twice");
    if (!byName.empty())
      collectNames(model.graph);
  }

  void run() { replaceCalls(model.graph, model.opsets); }

private:
  static std::string nameOf(StringRef domain, StringRef name, StringRef overload) {
    return (domain + Twine('\0') + name + Twine('\0') + overload).str();
  }
  static std::string describeFunction(const OnnxFunction &function) {
    return "function '" + printable(function.name) + "'";
  }

  void collectNames(const OnnxGraph &graph) {
    for (const OnnxValue &value : graph.inputs)
      taken.insert(value.name);
    for (const std::shared_ptr<OnnxTensor> &tensor : graph.initializerOrder)
      taken.insert(tensor->name);
    for (const OnnxNode &node : graph.nodes) {
      for (const std::string &name : node.outputs)
        taken.insert(name);
      for (const OnnxAttribute &attribute : node.attributes)
        if (attribute.graph)
          collectNames(*attribute.graph);
    }
  }

  std::string makeName(StringRef name) {
    for (;;) {
      std::string made = (name + "_" + Twine(++lastNumber)).str();
      if (taken.insert(made).second)
        return made;
    }
  }

  // ---- Calls ------------------------------------------------------------------------------------

  void replaceCalls(OnnxGraph &graph, const std::map<std::string, int64_t> &opsets) {
    std::vector<OnnxNode> nodes;
    nodes.reserve(graph.nodes.size());
    for (OnnxNode &node : graph.nodes)
      if (!reading.isFull() && !stopped)
        place(std::move(node), opsets, nodes);
    graph.nodes = std::move(nodes);
  }

  /// Appends the node, or the nodes of the function that it calls.
  void place(OnnxNode node, const std::map<std::string, int64_t> &opsets,
             std::vector<OnnxNode> &nodes) {
    for (OnnxAttribute &attribute : node.attributes) {
      if (!attribute.ref.empty())
        reading.fail(describe(node), "attribute '" + printable(attribute.name) +
                                         "' refers to an attribute of a function, outside of any");
      if (attribute.graph)
        replaceCalls(*attribute.graph, opsets);
    }
    auto known = byName.find(nameOf(node.domain, node.type, node.overload));
    if (known == byName.end()) {
      auto opset = opsets.find(node.domain);
      node.opset = opset == opsets.end() ? 0 : opset->second;
      nodes.push_back(std::move(node));
      return;
    }
    expand({node, *known->second}, nodes);
  }

  void expand(Call call, std::vector<OnnxNode> &nodes) {
    const OnnxFunction &function = call.function;
    std::string what = describe(call.node);
    if (is_contained(active, &function)) {
      stop(what, "calls " + describeFunction(function) + " within itself");
      return;
    }
    if (active.size() >= OnnxLimits::functionDepth) {
      stop(what,
           "expected at most " + Twine(OnnxLimits::functionDepth) + " functions inside each other");
      return;
    }
    if (call.node.inputs.size() > function.inputs.size() ||
        call.node.outputs.size() > function.outputs.size()) {
      reading.fail(what, "expected at most " + Twine(function.inputs.size()) + " inputs and " +
                             Twine(function.outputs.size()) + " outputs of " +
                             describeFunction(function) + ", found " +
                             Twine(call.node.inputs.size()) + " and " +
                             Twine(call.node.outputs.size()));
      return;
    }
    Names names;
    for (size_t i = 0; i < function.inputs.size(); ++i)
      if (!names.meanings
               .try_emplace(function.inputs[i],
                            i < call.node.inputs.size() ? call.node.inputs[i] : std::string())
               .second) {
        reading.fail(describeFunction(function),
                     "input '" + printable(function.inputs[i]) + "' is there twice");
        return;
      }
    std::vector<OnnxNode> copies; // of results that are inputs or are given out twice
    for (size_t i = 0; i < call.node.outputs.size(); ++i) {
      const std::string &given = call.node.outputs[i];
      if (given.empty())
        continue;
      auto [known, isNew] = names.meanings.try_emplace(function.outputs[i], given);
      if (isNew)
        continue;
      OnnxNode copy;
      copy.name = call.node.name + "/Identity_" + std::to_string(i);
      copy.type = "Identity";
      copy.inputs = {known->second};
      copy.outputs = {given};
      copies.push_back(std::move(copy));
    }
    std::map<std::string, int64_t> opsets = model.opsets;
    for (const auto &[domain, version] : function.opsets)
      opsets[domain] = version;
    active.push_back(&function);
    nameResults(function.nodes, names);
    for (const OnnxNode &node : function.nodes)
      if (!reading.isFull() && !stopped)
        place(copyNode(node, names, call), opsets, nodes);
    for (OnnxNode &copy : copies)
      place(std::move(copy), opsets, nodes);
    active.pop_back();
  }

  // ---- Copies -----------------------------------------------------------------------------------

  void nameResults(ArrayRef<OnnxNode> nodes, Names &names) {
    for (const OnnxNode &node : nodes)
      for (const std::string &output : node.outputs)
        if (!output.empty() && !names.meanings.count(output) && charge(output.size() * 2 + 64))
          names.meanings.try_emplace(output, makeName(output));
  }

  /// What nothing in the body computes keeps its name, which checking the graph then reports.
  static std::string meaning(const std::string &name, const Names &names) {
    const std::string *known = name.empty() ? nullptr : names.find(name);
    return known ? *known : name;
  }

  OnnxNode copyNode(const OnnxNode &node, const Names &names, Call call) {
    OnnxNode copy;
    if (++reading.nodes > OnnxLimits::nodes) {
      stop("graph", "expected at most " + Twine(OnnxLimits::nodes) +
                        " nodes in all with those of functions in the place of their calls");
      return copy;
    }
    charge(sizeof(OnnxNode) + call.node.name.size() + node.name.size() + node.type.size());
    if (stopped)
      return copy;
    copy.name = call.node.name + "/" + node.name;
    copy.domain = node.domain, copy.type = node.type, copy.overload = node.overload;
    for (const std::string &input : node.inputs)
      if (charge(input.size() + sizeof(std::string)))
        copy.inputs.push_back(meaning(input, names));
    for (const std::string &output : node.outputs)
      if (charge(output.size() + sizeof(std::string)))
        copy.outputs.push_back(meaning(output, names));
    for (const OnnxAttribute &attribute : node.attributes)
      copyAttribute(attribute, names, call, copy);
    return copy;
  }

  void copyAttribute(const OnnxAttribute &attribute, const Names &names, Call call,
                     OnnxNode &node) {
    const OnnxAttribute *source = &attribute;
    if (!attribute.ref.empty()) {
      auto named = [&](const OnnxAttribute &other) { return other.name == attribute.ref; };
      const auto &given = call.node.attributes;
      const auto &defaults = call.function.defaults;
      auto found = find_if(given, named);
      if (found != given.end()) {
        source = &*found;
      } else {
        auto fallback = find_if(defaults, named);
        if (fallback == defaults.end())
          return; // the node has the operator's own default
        source = &*fallback;
      }
      if (attribute.kind != 0 && source->kind != attribute.kind) {
        reading.fail(describe(call.node), "attribute '" + printable(source->name) +
                                              "': expected kind " + Twine(int(attribute.kind)) +
                                              ", found " + Twine(int(source->kind)));
        return;
      }
    }
    size_t bytes = sizeof(OnnxAttribute) + source->s.size() + 8 * source->ints.size() +
                   8 * source->floats.size();
    for (const std::string &text : source->strings)
      bytes += sizeof(std::string) + text.size();
    if (!charge(bytes))
      return;
    OnnxAttribute copy = *source;
    copy.name = attribute.name;
    // A graph of the call itself has the call's names already.
    if (copy.graph && source == &attribute)
      copy.graph = copyGraph(*copy.graph, names, call);
    node.attributes.push_back(std::move(copy));
  }

  /// All that is defined in a graph of a body gets names of its own too: a name of the caller that
  /// comes in must not meet one that hides it.
  std::shared_ptr<OnnxGraph> copyGraph(const OnnxGraph &graph, const Names &outer, Call call) {
    auto copy = std::make_shared<OnnxGraph>();
    Names names;
    names.outer = &outer;
    copy->name = graph.name;
    copy->inputs = graph.inputs, copy->outputs = graph.outputs;
    charge((graph.inputs.size() + graph.outputs.size()) * sizeof(OnnxValue));
    for (OnnxValue &input : copy->inputs)
      if (charge(2 * input.name.size() + input.shape.size() * sizeof(OnnxDim))) {
        auto [known, isNew] = names.meanings.try_emplace(input.name, makeName(input.name));
        if (!isNew)
          reading.fail("input '" + printable(input.name) + "'", "is there twice");
        input.name = known->second;
      }
    for (const std::shared_ptr<OnnxTensor> &tensor : graph.initializerOrder) {
      if (!charge(sizeof(OnnxTensor) + tensor->bytes.size() + 2 * tensor->name.size()))
        return copy;
      auto renamed = std::make_shared<OnnxTensor>(*tensor);
      renamed->name =
          names.meanings.try_emplace(tensor->name, makeName(tensor->name)).first->second;
      copy->initializers.try_emplace(renamed->name, renamed);
      copy->initializerOrder.push_back(std::move(renamed));
    }
    nameResults(graph.nodes, names);
    for (const OnnxNode &node : graph.nodes) {
      if (stopped)
        return copy;
      copy->nodes.push_back(copyNode(node, names, call));
    }
    for (OnnxValue &output : copy->outputs)
      output.name = meaning(output.name, names);
    for (const auto &entry : graph.values)
      if (const std::string *name = names.find(entry.getKey());
          name && charge(2 * name->size() + sizeof(OnnxValue))) {
        OnnxValue value = entry.getValue();
        value.name = *name;
        copy->values.try_emplace(*name, std::move(value));
      }
    return copy;
  }

  bool charge(size_t bytes) {
    copied += bytes;
    if (copied > OnnxLimits::copied)
      stop("functions", "in the place of their calls they take more than " +
                            Twine(OnnxLimits::copied >> 20) + " MiB");
    return !stopped;
  }

  void stop(const Twine &what, const Twine &text) {
    if (!stopped)
      reading.fail(what, text);
    stopped = true;
  }

  OnnxModel &model;
  std::vector<OnnxFunction> functions;
  OnnxReading &reading;
  StringMap<const OnnxFunction *> byName;
  StringSet<> taken;
  uint64_t lastNumber = 0;
  std::vector<const OnnxFunction *> active;
  uint64_t copied = 0;
  bool stopped = false;
};
} // namespace

void kiln::inlineFunctions(OnnxModel &model, std::vector<OnnxFunction> functions,
                           OnnxReading &reading) {
  Inliner(model, std::move(functions), reading).run();
}
