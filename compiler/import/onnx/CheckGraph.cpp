// Holds the names of a graph against each other: every value has one producer, every name that is
// read or given out has a producer in this graph or in one around it, and nodes come after those
// whose values they read. Files are mostly sorted, and their order is kept; others are sorted, and
// where that is impossible the cycle is named.
#include "compiler/import/onnx/ReadProto.h"
#include "llvm/ADT/StringSet.h"

using namespace llvm;
using namespace kiln;

namespace {
/// The names that one graph defines: its inputs and initializers, and what its nodes compute.
struct Scope {
  static constexpr size_t noNode = SIZE_MAX;
  StringMap<size_t> producers; // the node that computes a value, or noNode
  const Scope *outer = nullptr;

  bool sees(StringRef name) const {
    for (const Scope *scope = this; scope; scope = scope->outer)
      if (scope->producers.count(name))
        return true;
    return false;
  }
};

class GraphChecker {
public:
  GraphChecker(OnnxGraph &graph, const Scope *outer, OnnxReading &reading)
      : graph(graph), reading(reading) {
    scope.outer = outer;
  }

  void check() {
    define();
    reads.resize(graph.nodes.size());
    for (size_t i = 0; i < graph.nodes.size() && !reading.isFull(); ++i)
      resolveNode(i);
    checkOutputs();
    if (!reading.isFull())
      sort();
  }

private:
  void define() {
    for (const OnnxValue &input : graph.inputs)
      if (!scope.producers.try_emplace(input.name, Scope::noNode).second)
        reading.fail("input '" + printable(input.name) + "'", "is there twice");
    for (const std::shared_ptr<OnnxTensor> &tensor : graph.initializerOrder)
      scope.producers.try_emplace(tensor->name, Scope::noNode);
    for (size_t i = 0; i < graph.nodes.size() && !reading.isFull(); ++i)
      for (const std::string &output : graph.nodes[i].outputs) {
        if (output.empty())
          continue;
        auto [known, isNew] = scope.producers.try_emplace(output, i);
        if (!isNew)
          reading.fail(describe(graph.nodes[i]),
                       "computes '" + printable(output) + "', which is also " +
                           (known->second == Scope::noNode
                                ? std::string("an input or initializer of the graph")
                                : "computed by " + describe(graph.nodes[known->second])));
      }
  }

  /// Notes on which nodes of this graph `name` makes the reader depend; false if it is unknown.
  bool resolve(const std::string &name, std::vector<size_t> *producers) {
    auto known = scope.producers.find(name);
    if (known != scope.producers.end()) {
      if (producers && known->second != Scope::noNode)
        producers->push_back(known->second);
      return true;
    }
    if (!scope.outer || !scope.outer->sees(name))
      return false;
    if (captured.insert(name).second)
      graph.captures.push_back(name);
    return true;
  }

  void resolveNode(size_t i) {
    OnnxNode &node = graph.nodes[i];
    auto read = [&](const std::string &name, StringRef how) {
      if (!resolve(name, &reads[i]))
        reading.fail(describe(node), how + " '" + printable(name) + "', which nothing computes");
    };
    for (const std::string &input : node.inputs)
      if (!input.empty())
        read(input, "reads");
    for (OnnxAttribute &attribute : node.attributes) {
      if (!attribute.graph)
        continue;
      GraphChecker(*attribute.graph, &scope, reading).check();
      for (const std::string &name : attribute.graph->captures)
        read(name, "captures");
    }
  }

  void checkOutputs() {
    StringSet<> names;
    for (const OnnxValue &output : graph.outputs) {
      if (!resolve(output.name, nullptr))
        reading.fail("output '" + printable(output.name) + "'",
                     "is neither computed by a node nor an input or initializer");
      else if (!scope.outer && !names.insert(output.name).second)
        reading.fail("output '" + printable(output.name) + "'", "is there twice");
    }
  }

  /// Puts producers before readers and keeps the order of the file otherwise.
  void sort() {
    enum State : uint8_t { Waiting, Open, Placed };
    std::vector<State> states(graph.nodes.size(), Waiting);
    std::vector<size_t> order;
    order.reserve(graph.nodes.size());
    struct Visit {
      size_t node, next;
    };
    std::vector<Visit> stack;
    for (size_t first = 0; first < graph.nodes.size(); ++first) {
      if (states[first] == Waiting)
        stack.push_back({first, 0}), states[first] = Open;
      while (!stack.empty()) {
        auto &[node, next] = stack.back();
        if (next == reads[node].size()) {
          states[node] = Placed;
          order.push_back(node);
          stack.pop_back();
          continue;
        }
        size_t producer = reads[node][next++];
        if (states[producer] == Open)
          return failCycle(node, producer);
        if (states[producer] == Waiting)
          stack.push_back({producer, 0}), states[producer] = Open;
      }
    }
    if (std::is_sorted(order.begin(), order.end()))
      return;
    std::vector<OnnxNode> sorted;
    sorted.reserve(order.size());
    for (size_t node : order)
      sorted.push_back(std::move(graph.nodes[node]));
    graph.nodes = std::move(sorted);
  }

  void failCycle(size_t reader, size_t producer) {
    const OnnxNode &node = graph.nodes[reader];
    std::string through;
    for (const std::string &output : graph.nodes[producer].outputs)
      if (is_contained(node.inputs, output))
        through = " '" + printable(output) + "'";
    reading.fail(describe(node), "reads" + (through.empty() ? " a value" : through) + " of " +
                                     describe(graph.nodes[producer]) +
                                     ", which depends on it: the graph has a cycle");
  }

  OnnxGraph &graph;
  OnnxReading &reading;
  Scope scope;
  std::vector<std::vector<size_t>> reads; // by node: the nodes whose values it reads
  StringSet<> captured;
};
} // namespace

void kiln::checkGraph(OnnxGraph &graph, OnnxReading &reading) {
  GraphChecker(graph, nullptr, reading).check();
}
