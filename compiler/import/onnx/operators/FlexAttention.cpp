// Attention whose scores and probabilities go through graphs of the model (ai.onnx.preview):
// written out, since anything may be between the two products.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

/// The array after the graph of an attribute, which has one input and one output; itself where
/// there is none.
static Array modified(NodeImport &n, StringRef name, const Array &x) {
  const OnnxAttribute *attribute = n.attribute(name);
  if (!attribute || !attribute->graph || n.a.failed())
    return x;
  const OnnxGraph &graph = *attribute->graph;
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1)
    return n.a.fail(name + ": a graph of one input and one output is expected");
  auto names = n.a.modelDims; // sizes in the graph have names of their own
  GraphImport inner(n.a, n.graph.model, graph, &n.graph);
  inner.values[graph.inputs[0].name] = x;
  inner.run();
  SmallVector<Array> outputs = inner.outputs();
  n.a.modelDims = std::move(names);
  if (n.a.failed())
    return {};
  const Array &result = outputs[0];
  bool fits = result.element == x.element && result.rank() == x.rank();
  for (int64_t dim = 0; fits && dim < x.rank(); ++dim)
    fits = n.a.sameOrRequired(result.shape[dim], x.shape[dim], name);
  return fits ? result : n.a.fail(name + ": its result is not of its input's type");
}

static void importFlexAttention(NodeImport &n) {
  for (size_t i : {0, 1, 2})
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  const Array &query = n.inputs[0], &key = n.inputs[1], &value = n.inputs[2];
  if (query.rank() != 4 || key.rank() != 4 || value.rank() != 4 || !query.isFloat() ||
      key.element != query.element || value.element != query.element)
    return n.fail("three tensors of 4 dims of one type of floats are expected");
  int64_t heads = query.extent(1), own = key.extent(1), depth = query.extent(3);
  if (heads < 1 || own < 1 || heads % own || depth < 1)
    return n.fail(
        llvm::formatv("{0} heads of {1} columns on {2} of keys: fixed numbers of them, and "
                      "multiples, are expected",
                      heads, depth, own));
  int64_t told = n.integer("softmax_precision", query.element.isF64() ? 11 : 1);
  Type precision = told == 1 || told == 10 || told == 11 || told == 16
                       ? elementTypeOf(OnnxType(told), a.b.getContext())
                       : Type();
  if (!precision)
    return n.fail(llvm::formatv("softmax_precision {0} is no type of floats", told));
  // Heads of keys and values as often as queries share them.
  auto shared = [&](const Array &x) {
    if (heads == own)
      return x;
    Shape one{x.shape[0], a.number(own), a.number(1), x.shape[2], x.shape[3]}, all = one;
    all[2] = a.number(heads / own);
    return a.reshape(a.broadcast(a.reshape(x, one), all),
                     {x.shape[0], a.number(heads), x.shape[2], x.shape[3]});
  };
  auto wide = [&](const Array &x) { return a.cast(x, precision); };
  Array scores = a.matmul(wide(query), a.transpose(wide(shared(key)), {0, 1, 3, 2}));
  scores = a.mul(scores, a.scalar(precision, n.real("scale", 1 / std::sqrt(double(depth)))));
  scores = modified(n, "score_mod", scores);
  if (!scores)
    return;
  Array shares = a.compute("softmax", scores, precision, scores.shape,
                           a.params({{"axis", a.attr(int64_t(3))}}));
  shares = modified(n, "prob_mod", shares);
  if (!shares)
    return;
  n.results.push_back(a.cast(a.matmul(shares, wide(shared(value))), query.element));
}

ArrayRef<OnnxOperator> kiln::onnxFlexAttention() {
  static const OnnxOperator table[] = {
      {"ai.onnx.preview", "FlexAttention", 1, importFlexAttention},
  };
  return table;
}
