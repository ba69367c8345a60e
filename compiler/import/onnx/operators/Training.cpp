// Steps of optimizers (ai.onnx.preview.training): plain arithmetic on each tensor with its gradient
// and its running sums. An operator takes any number of tensors: all of them, then all gradients,
// then the sums of each kind.
#include "compiler/import/onnx/NodeImport.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

namespace {

/// The inputs of a step and arithmetic with numbers.
class Step {
public:
  Step(NodeImport &n, unsigned sums) : n(n), a(n.a), sums(sums) {}

  /// Reads rate and steps; false after a failure.
  bool begin();
  /// Calls body(tensor, gradient, running sums) for each tensor; it returns the new tensor and
  /// sums.
  void
  run(llvm::function_ref<SmallVector<Array>(const Array &, const Array &, ArrayRef<Array>)> body);

  Array number(double value) { return a.scalar(type, value); }
  Array scaled(const Array &x, double factor) { return a.mul(x, number(factor)); }
  /// x where the number of steps taken is positive, else y.
  Array whenUpdated(const Array &x, const Array &y) {
    Array isLater = a.map("greater", {steps, a.scalar(steps.element, 0)}, a.b.getI1Type());
    return a.map("where", {isLater, x, y}, type);
  }
  Array steps, rate; // scalars

private:
  NodeImport &n;
  ArrayBuilder &a;
  unsigned sums;
  Type type; // of all tensors: that of the rate
};

} // namespace

bool Step::begin() {
  rate = n.scalarInput(0);
  steps = n.scalarInput(1);
  if (!rate || !steps)
    return false;
  type = rate.element;
  if (!rate.isFloat() || !isa<IntegerType>(steps.element)) {
    n.fail("a rate of floats and a number of steps of integers are expected");
    return false;
  }
  if (n.inputs.size() > 2 && (n.inputs.size() - 2) % (2 + sums) == 0)
    return true;
  n.fail(llvm::formatv("{0} inputs: tensors, gradients and {1} sums are expected", n.inputs.size(),
                       sums));
  return false;
}

void Step::run(
    llvm::function_ref<SmallVector<Array>(const Array &, const Array &, ArrayRef<Array>)> body) {
  size_t tensors = (n.inputs.size() - 2) / (2 + sums);
  n.results.resize(tensors * (1 + sums));
  for (size_t i = 0; i < tensors; ++i) {
    SmallVector<Array> own;
    for (size_t part = 0; part < 2 + sums; ++part) {
      const Array &input = n.input(2 + part * tensors + i);
      if (!input)
        return;
      if (input.element != type)
        return n.fail("a tensor has other elements than the rate");
      own.push_back(input);
    }
    double decay = n.real("norm_coefficient", 0);
    Array gradient = decay == 0 ? own[1] : a.add(scaled(own[0], decay), own[1]);
    SmallVector<Array> results = body(own[0], gradient, ArrayRef(own).drop_front(2));
    for (auto [part, result] : llvm::enumerate(results))
      n.results[part * tensors + i] = result;
  }
}

static void importAdagrad(NodeImport &n) {
  Step step(n, 1);
  if (!step.begin())
    return;
  ArrayBuilder &a = n.a;
  Array steps = a.cast(step.steps, step.rate.element);
  Array rate =
      a.div(step.rate, a.add(step.number(1), step.scaled(steps, n.real("decay_factor", 0))));
  step.run([&](const Array &x, const Array &gradient, ArrayRef<Array> sums) {
    Array squares = a.add(sums[0], a.mul(gradient, gradient));
    Array root = a.add(a.unary("sqrt", squares), step.number(n.real("epsilon", 1e-6)));
    return SmallVector<Array>{a.sub(x, a.div(a.mul(rate, gradient), root)), squares};
  });
}

static void importMomentum(NodeImport &n) {
  Step step(n, 1);
  if (!step.begin())
    return;
  std::string mode = n.text("mode", "standard");
  if (mode != "standard" && mode != "nesterov")
    return n.fail("mode '" + mode + "' is unknown");
  ArrayBuilder &a = n.a;
  double alpha = n.real("alpha", 0);
  Array beta = step.whenUpdated(step.number(n.real("beta", 0)), step.number(1));
  step.run([&](const Array &x, const Array &gradient, ArrayRef<Array> sums) {
    Array momentum = a.add(step.scaled(sums[0], alpha), a.mul(beta, gradient));
    Array direction = mode == "standard" ? momentum : a.add(gradient, step.scaled(momentum, alpha));
    return SmallVector<Array>{a.sub(x, a.mul(step.rate, direction)), momentum};
  });
}

static void importAdam(NodeImport &n) {
  Step step(n, 2);
  if (!step.begin())
    return;
  ArrayBuilder &a = n.a;
  double alpha = n.real("alpha", 0.9), beta = n.real("beta", 0.999);
  // What the sums lack of a mean in the first steps: near 0, so in f64.
  Type f64 = a.b.getF64Type();
  Array steps = a.cast(step.steps, f64);
  auto lacking = [&](double factor) {
    return a.sub(a.scalar(f64, 1), a.map("pow", {a.scalar(f64, factor), steps}));
  };
  Array factor = a.div(a.unary("sqrt", lacking(beta)), lacking(alpha));
  Array corrected = a.mul(step.rate, a.cast(factor, step.rate.element));
  Array rate = step.whenUpdated(corrected, step.rate);
  step.run([&](const Array &x, const Array &gradient, ArrayRef<Array> sums) {
    Array mean = a.add(step.scaled(sums[0], alpha), step.scaled(gradient, 1 - alpha));
    Array squares =
        a.add(step.scaled(sums[1], beta), step.scaled(a.mul(gradient, gradient), 1 - beta));
    Array root = a.add(a.unary("sqrt", squares), step.number(n.real("epsilon", 1e-6)));
    Array result = a.sub(x, a.div(a.mul(rate, mean), root));
    double decay = n.real("norm_coefficient_post", 0);
    return SmallVector<Array>{step.scaled(result, 1 - decay), mean, squares};
  });
}

ArrayRef<OnnxOperator> kiln::onnxTraining() {
  static const OnnxOperator table[] = {
      {"ai.onnx.preview.training", "Adagrad", 1, importAdagrad},
      {"ai.onnx.preview.training", "Adam", 1, importAdam},
      {"ai.onnx.preview.training", "Momentum", 1, importMomentum},
  };
  return table;
}
