// Losses: the class that a label names is found by comparing it with the classes' numbers, so that
// a label out of range adds nothing.
#include "compiler/import/onnx/NodeImport.h"

using namespace mlir;
using namespace kiln;

/// Minus the logarithms [N, C, …] of the labelled classes, weighted, as `reduction` says.
static void addLogLoss(NodeImport &n, const Array &logarithms, const Array &labels,
                       const Array &weights) {
  ArrayBuilder &a = n.a;
  if (logarithms.rank() < 2 || labels.rank() != logarithms.rank() - 1)
    return n.fail("takes [N, C, dims] and labels [N, dims]");
  if (!logarithms.isFloat() || labels.isFloat() || (weights && weights.rank() != 1))
    return n.fail("takes floats, labels that are integers, and a vector of weights");
  Shape single = logarithms.shape;
  single[1] = a.number(1);
  Array label = a.reshape(labels, single);
  Array number = a.compute("iota", {}, labels.element, logarithms.shape,
                           a.params({{"axis", a.attr(int64_t(1))}}));
  Type truth = a.b.getI1Type(), type = logarithms.element;
  Array isClass = a.map("equal", {number, label}, truth);
  if (n.hasAttribute("ignore_index")) {
    Array ignored = a.scalar(labels.element, double(n.integer("ignore_index", 0)));
    Array counts = a.map("not", a.map("equal", {label, ignored}, truth));
    isClass = a.map("and", {isClass, counts});
  }
  Array zero = a.scalar(type, 0), weight = a.scalar(type, 1);
  if (weights) {
    Shape shape(logarithms.rank(), a.number(1));
    shape[1] = weights.shape[0];
    weight = a.reshape(weights, shape);
  }
  auto pick = [&](const Array &values) {
    Array chosen = a.map("where", {isClass, values, zero}, type);
    return a.reduce("sum", chosen, int64_t(1), /*keepDims=*/false);
  };
  Array share = pick(a.broadcast(weight, logarithms.shape));
  Array loss = a.unary("neg", a.mul(pick(logarithms), share));
  std::string reduction = n.text("reduction", "mean");
  if (reduction == "none")
    return n.results.push_back(loss);
  SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(0, loss.rank()));
  Array sum = a.reduce("sum", loss, all, false);
  n.results.push_back(reduction == "sum" ? sum : a.div(sum, a.reduce("sum", share, all, false)));
}

static void importNegativeLogLikelihoodLoss(NodeImport &n) {
  if (n.input(0) && n.input(1))
    addLogLoss(n, n.inputs[0], n.inputs[1], n.has(2) ? n.inputs[2] : Array());
}

static void importSoftmaxCrossEntropyLoss(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  const Array &x = n.inputs[0];
  if (x.rank() < 2)
    return n.fail("takes [N, C, dims]");
  Array logarithms = n.a.compute("log_softmax", x, x.element, x.shape,
                                 n.a.params({{"axis", n.a.attr(int64_t(1))}}));
  addLogLoss(n, logarithms, n.inputs[1], n.has(2) ? n.inputs[2] : Array());
  n.results.push_back(logarithms);
}

ArrayRef<OnnxOperator> kiln::onnxLosses() {
  static const OnnxOperator table[] = {
      {"", "NegativeLogLikelihoodLoss", 12, importNegativeLogLikelihoodLoss},
      {"", "SoftmaxCrossEntropyLoss", 12, importSoftmaxCrossEntropyLoss},
  };
  return table;
}
