// Operators of com.microsoft on quantized tensors: what they are on numbers, between codes that are
// taken as numbers and a result that is rounded to codes.
#include "compiler/import/onnx/operators/CodeProducts.h"
#include "compiler/import/onnx/operators/Quantize.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace kiln;

static Array optional(NodeImport &n, size_t i) { return n.has(i) ? n.inputs[i] : Array(); }

/// A scale or zero point of a whole tensor, which may be absent.
static Array ofTensor(NodeImport &n, size_t i) {
  Array parameter = optional(n, i);
  return parameter && parameter.rank() == 1 ? n.a.reshape(parameter, {}) : parameter;
}

/// Input i as numbers; its scale and zero point follow it.
static Array numbersOf(NodeImport &n, size_t i) {
  if (!n.input(i) || !n.input(i + 1))
    return {};
  return dequantize(n.a, n.inputs[i], ofTensor(n, i + 1), ofTensor(n, i + 2), n.a.b.getF32Type());
}

/// Appends numbers as codes of the scale at input i, which a zero point follows.
static void addCodes(NodeImport &n, const Array &numbers, size_t i, Type element) {
  if (numbers && n.input(i))
    n.results.push_back(quantize(n.a, numbers, ofTensor(n, i), ofTensor(n, i + 1), element));
}

/// An operator between two quantized tensors: A, its scale and zero point, B, its, the result's.
static void addQuantizedPair(NodeImport &n, StringRef kind) {
  Array x = numbersOf(n, 0), y = numbersOf(n, 3);
  if (x && y)
    addCodes(n, n.a.map(kind, {x, y}), 6, n.inputs[0].element);
}

/// A function of one quantized tensor: X, its scale and zero point, the result's.
static void addQuantizedMap(NodeImport &n, llvm::function_ref<Array(const Array &)> function) {
  if (Array x = numbersOf(n, 0))
    addCodes(n, function(x), 3, n.inputs[0].element);
}

static void importSigmoid(NodeImport &n) {
  addQuantizedMap(n, [&](const Array &x) { return n.a.unary("sigmoid", x); });
}

static void importLeakyRelu(NodeImport &n) {
  addQuantizedMap(n, [&](const Array &x) {
    return n.a.map("leaky_relu", x, {}, n.a.params({{"alpha", n.a.attr(n.real("alpha", 0.01))}}));
  });
}

static void importSoftmax(NodeImport &n) {
  addQuantizedMap(n, [&](const Array &given) -> Array {
    ArrayBuilder &a = n.a;
    std::optional<int64_t> axis = n.axis(n.integer("axis", -1), given.rank());
    if (!axis)
      return {};
    // Before opset 13 all dims from the axis on are one.
    Array x = given;
    if (n.integer("opset", 13) < 13) {
      x = a.reshape(x, {a.product(ArrayRef(given.shape).take_front(*axis)),
                        a.product(ArrayRef(given.shape).drop_front(*axis))});
      axis = 1;
    }
    Array y = a.compute("softmax", x, x.element, x.shape, a.params({{"axis", a.attr(*axis)}}));
    return a.reshape(y, given.shape);
  });
}

static void importGlobalAveragePool(NodeImport &n) {
  addQuantizedMap(n, [&](const Array &x) {
    int64_t first = n.integer("channels_last", 0) ? 1 : 2;
    int64_t last = n.integer("channels_last", 0) ? x.rank() - 1 : x.rank();
    return n.a.reduce("mean", x, llvm::to_vector(llvm::seq<int64_t>(first, last)), true);
  });
}

static void importAveragePool(NodeImport &n) {
  addQuantizedMap(n, [&](const Array &given) -> Array {
    ArrayBuilder &a = n.a;
    bool isLast = n.integer("channels_last", 0) != 0;
    Array x = isLast ? channelsFirst(a, given) : given;
    std::optional<ImageWindow> window = ImageWindow::of(n, x);
    if (!window)
      return {};
    bool counts = n.integer("count_include_pad", 0) != 0;
    Array y =
        a.compute("average_pool", channelsLast(a, x), x.element, window->resultShape(x, x.shape[1]),
                  window->params(a, {{"count_padding", a.attr(int64_t(counts))}}));
    return isLast ? y : channelsFirst(a, y);
  });
}

/// The result's scale and zero point, then each operand with its.
static void importConcat(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  SmallVector<Array> parts;
  for (size_t i = 2; i < n.inputs.size(); i += 3) {
    parts.push_back(numbersOf(n, i));
    if (!parts.back())
      return;
  }
  if (std::optional<int64_t> axis = n.axis(n.integer("axis", 1), parts[0].rank()))
    addCodes(n, n.a.concat(parts, *axis), 0, n.inputs[1].element);
}

/// A, B, each with scale and zero point, C of i32, the result's scale and zero point: without them
/// the result is f32.
static void importGemm(NodeImport &n) {
  ArrayBuilder &a = n.a;
  for (size_t i : {0, 1, 2, 3, 4, 5})
    if (!n.input(i))
      return;
  if (n.inputs[0].rank() != 2 || n.inputs[3].rank() != 2)
    return n.fail("takes matrices");
  bool transposed = n.integer("transB", 0) != 0, moves = n.integer("transA", 0) != 0;
  double alpha = n.real("alpha", 1);
  Array bias = optional(n, 6), y;
  auto x = makeCodes(a, n.inputs[0], n.inputs[1], n.inputs[2], 0),
       matrix = makeCodes(a, n.inputs[3], n.inputs[4], n.inputs[5], transposed ? 0 : 1);
  if (x && matrix && alpha == 1 && !moves)
    y = multiplyCodes(a, *x, *matrix, transposed, bias);
  if (!y) {
    Type f32 = a.b.getF32Type(), i32 = a.b.getI32Type();
    // Parameters of B's columns.
    auto spread = [&](const Array &parameter) {
      if (parameter.rank() == 0 || parameter.extent(0) == 1)
        return a.reshape(parameter, {});
      return transposed ? a.reshape(parameter, {parameter.shape[0], a.number(1)}) : parameter;
    };
    Array left = a.sub(a.cast(n.inputs[0], i32), a.cast(ofTensor(n, 2), i32));
    Array right = a.sub(a.cast(n.inputs[3], i32), a.cast(spread(n.inputs[5]), i32));
    Array sum = a.matmul(moves ? a.transpose(left, {1, 0}) : left,
                         transposed ? a.transpose(right, {1, 0}) : right);
    if (bias)
      sum = a.add(sum, bias);
    Array ofColumns = n.inputs[4].extent(0) == 1 || n.inputs[4].rank() == 0
                          ? a.reshape(n.inputs[4], {})
                          : n.inputs[4];
    Array scale = a.mul(a.mul(ofTensor(n, 1), ofColumns), a.scalar(f32, alpha));
    y = a.mul(a.cast(sum, f32), scale);
  }
  if (n.has(7))
    addCodes(n, y, 7, n.has(8) ? n.inputs[8].element : n.inputs[0].element);
  else
    n.results.push_back(y);
}

ArrayRef<OnnxOperator> kiln::onnxQuantizedMaps() {
  static const OnnxOperator table[] = {
      {"com.microsoft", "QLinearAdd", 1, [](NodeImport &n) { addQuantizedPair(n, "add"); }},
      {"com.microsoft", "QLinearMul", 1, [](NodeImport &n) { addQuantizedPair(n, "mul"); }},
      {"com.microsoft", "QLinearSigmoid", 1, importSigmoid},
      {"com.microsoft", "QLinearLeakyRelu", 1, importLeakyRelu},
      {"com.microsoft", "QLinearSoftmax", 1, importSoftmax},
      {"com.microsoft", "QLinearGlobalAveragePool", 1, importGlobalAveragePool},
      {"com.microsoft", "QLinearAveragePool", 1, importAveragePool},
      {"com.microsoft", "QLinearConcat", 1, importConcat},
      {"com.microsoft", "QGemm", 1, importGemm},
  };
  return table;
}
