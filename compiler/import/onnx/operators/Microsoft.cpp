// Operators of the domain com.microsoft that exporters emit; attention is in
// MicrosoftAttention.cpp.
//
// Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
#include "compiler/import/onnx/operators/Attend.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Norms ------------------------------------------------------------------------------------

static Array normalize(ArrayBuilder &a, StringRef kind, ArrayRef<Array> operands, int64_t axis,
                       double eps) {
  return a.compute(kind, operands, operands[0].element, operands[0].shape,
                   a.params({{"axis", a.attr(axis)}, {"eps", a.attr(eps)}}));
}

/// input, skip, gamma, beta (not simplified), bias; outputs: the norm, two statistics, the sum.
static void addSkipNorm(NodeImport &n, bool simplified) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  if (n.wants(1) || n.wants(2))
    return n.fail("mean and deviation are not supported as outputs");
  Array sum = a.add(n.inputs[0], n.inputs[1]);
  size_t bias = simplified ? 3 : 4;
  if (n.has(bias))
    sum = a.add(sum, n.inputs[bias]);
  SmallVector<Array> operands{sum, n.inputs[2]};
  if (!simplified && n.has(3))
    operands.push_back(n.inputs[3]);
  if (a.failed())
    return;
  n.results.push_back(normalize(a, simplified ? "rms_norm" : "layer_norm", operands, sum.rank() - 1,
                                n.real("epsilon", 1e-12)));
  n.results.append({Array(), Array(), sum});
}

static void importSimplifiedLayerNormalization(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  if (n.wants(1))
    return n.fail("the deviation is not supported as an output");
  if (auto axis = n.axis(n.integer("axis", -1), n.inputs[0].rank()))
    n.results.push_back(
        normalize(n.a, "rms_norm", {n.inputs[0], n.inputs[1]}, *axis, n.real("epsilon", 1e-5)));
}

/// Rows of a table by the numbers in `ids` [batch, rows].
static Array lookUp(ArrayBuilder &a, const Array &table, const Array &ids) {
  if (table.rank() != 2)
    return a.fail(llvm::formatv("expected a table of 2 dims, found {0}", table.rank()));
  Shape shape = ids.shape;
  shape.push_back(table.shape[1]);
  return a.compute("gather", {table, ids}, table.element, shape,
                   a.params({{"axis", a.attr(int64_t(0))}}));
}

/// ids, segments, tables of words, positions and segments, gamma, beta, mask, positions.
static void importEmbedLayerNormalization(NodeImport &n) {
  for (size_t i : {0, 2, 3, 5, 6})
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  const Array &ids = n.inputs[0];
  if (ids.rank() != 2)
    return n.fail("takes ids [batch, rows]");
  Array sum = lookUp(a, n.inputs[2], ids);
  if (n.has(8)) {
    sum = a.add(sum, lookUp(a, n.inputs[3], n.inputs[8]));
  } else if (n.inputs[3].rank() != 2) {
    return n.fail("takes positions of 2 dims");
  } else {
    Shape rows{ids.shape[1], n.inputs[3].shape[1]};
    sum = a.add(sum, a.slice(n.inputs[3], {0, 0}, rows));
  }
  if (n.has(1) && n.has(4))
    sum = a.add(sum, lookUp(a, n.inputs[4], n.inputs[1]));
  if (a.failed())
    return;
  n.results.push_back(
      normalize(a, "layer_norm", {sum, n.inputs[5], n.inputs[6]}, 2, n.real("epsilon", 1e-12)));
  // Keys that count of each sequence.
  Type i32 = a.b.getI32Type();
  if (n.has(7))
    n.results.push_back(a.reduce("sum", a.cast(n.inputs[7], i32), int64_t(1), false));
  else
    n.results.push_back(a.broadcast(a.scalar(i32, 0), ids.shape[0]));
  n.results.push_back(sum);
}

// ---- Products ---------------------------------------------------------------------------------

static Array swapLast(ArrayBuilder &a, const Array &x) {
  if (x.rank() < 2)
    return x;
  SmallVector<int64_t> perm = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  std::swap(perm[x.rank() - 1], perm[x.rank() - 2]);
  return a.transpose(x, perm);
}

static void importFusedMatMul(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  if (n.integer("transBatchA", 0) || n.integer("transBatchB", 0))
    return n.fail("transposed batch dims are not supported");
  Array x = n.inputs[0], y = n.inputs[1];
  if (n.integer("transA", 0))
    x = swapLast(a, x);
  if (n.integer("transB", 0))
    y = swapLast(a, y);
  Array product = a.matmul(x, y);
  double alpha = n.real("alpha", 1);
  if (product && alpha != 1)
    product = a.mul(product, a.scalar(product.element, alpha));
  n.results.push_back(product);
}

/// B [N, blocks, bytes] of `bits` bits, scales and zero points of each block of a row: as constants
/// they become the floats that they stand for, which --quant may quantize again.
static void importMatMulNBits(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  int64_t depth = n.integer("K", 0), rows = n.integer("N", 0), bits = n.integer("bits", 4),
          block = n.integer("block_size", 0);
  if (depth < 1 || rows < 1 || block < 1 || (bits != 2 && bits != 4 && bits != 8) ||
      depth > int64_t(1) << 24 || rows > int64_t(1) << 24)
    return n.fail("K, N, bits or block_size are out of range");
  int64_t blocks = llvm::divideCeil(depth, block), blockBytes = block * bits / 8;
  int64_t zeroBytes = llvm::divideCeil(blocks * bits, 8);
  auto codes = a.valuesOf(n.inputs[1]), scales = a.valuesOf(n.inputs[2]);
  std::optional<std::vector<double>> zeros;
  bool packedZeros = n.has(3) && !n.inputs[3].isFloat();
  if (n.has(3))
    zeros = a.valuesOf(n.inputs[3]);
  if (!codes || !scales || (n.has(3) && !zeros) || n.has(4))
    return n.fail("takes constant weights, without order of columns");
  if (int64_t(codes->size()) != rows * blocks * blockBytes ||
      int64_t(scales->size()) != rows * blocks ||
      (zeros && int64_t(zeros->size()) != rows * (packedZeros ? zeroBytes : blocks)))
    return n.fail(llvm::formatv("{0} bytes, {1} scales for {2} x {3}", codes->size(),
                                scales->size(), rows, depth));
  auto codeAt = [&](const std::vector<double> &bytes, int64_t base, int64_t i) {
    unsigned byte = unsigned(bytes[base + i * bits / 8]);
    return double(byte >> (i * bits % 8) & ((1u << bits) - 1));
  };
  std::vector<uint8_t> bytes(size_t(rows * depth) * sizeof(float));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t k = 0; k < depth; ++k) {
      int64_t number = k / block;
      double zero = double(1u << (bits - 1));
      if (zeros)
        zero =
            packedZeros ? codeAt(*zeros, row * zeroBytes, number) : (*zeros)[row * blocks + number];
      double code = codeAt(*codes, (row * blocks + number) * blockBytes, k % block);
      float value = float((code - zero) * (*scales)[row * blocks + number]);
      std::memcpy(bytes.data() + size_t(row * depth + k) * sizeof(float), &value, sizeof(float));
    }
  const Array &x = n.inputs[0];
  std::string name = n.inputs[1].constant ? n.inputs[1].constant->name : n.node.name;
  Array weight =
      a.transpose(a.fromBytes(a.b.getF32Type(), {rows, depth}, std::move(bytes), name), {1, 0});
  Array product = a.cast(a.matmul(a.cast(x, a.b.getF32Type()), weight), x.element);
  if (n.has(5))
    product = a.add(product, n.inputs[5]);
  n.results.push_back(product);
}

// ---- Activations ------------------------------------------------------------------------------

static void addActivation(NodeImport &n, StringRef kind) {
  Array x = n.input(0);
  if (!x)
    return;
  if (n.has(1))
    x = n.a.add(x, n.inputs[1]);
  n.results.push_back(n.a.unary(kind, x));
}

static void importQuickGelu(NodeImport &n) {
  if (n.input(0))
    n.results.push_back(n.a.map("silu", n.inputs[0], {},
                                n.a.params({{"alpha", n.a.attr(n.real("alpha", 1.702))}})));
}

/// A convolution, an optional summand and an activation.
static void importFusedConv(NodeImport &n) {
  Array summand = n.has(3) ? n.inputs[3] : Array();
  n.inputs.resize(std::min<size_t>(n.inputs.size(), 3));
  findOnnxOperator("", "Conv", 1)->import(n);
  if (n.a.failed())
    return;
  ArrayBuilder &a = n.a;
  Array &y = n.results[0];
  if (summand)
    y = a.add(y, summand);
  std::string activation = n.text("activation", "");
  const OnnxAttribute *given = n.attribute("activation_params");
  auto param = [&](size_t i, double otherwise) {
    return given && i < given->floats.size() ? given->floats[i] : otherwise;
  };
  if (activation == "Relu")
    y = a.unary("relu", y);
  else if (activation == "Sigmoid")
    y = a.unary("sigmoid", y);
  else if (activation == "Tanh")
    y = a.unary("tanh", y);
  else if (activation == "LeakyRelu")
    y = a.map("leaky_relu", y, {}, a.params({{"alpha", a.attr(param(0, 0.01))}}));
  else if (activation == "Clip")
    y = a.map(
        "clamp", y, {},
        a.params({{"low", a.attr(param(0, -INFINITY))}, {"high", a.attr(param(1, INFINITY))}}));
  else if (activation == "HardSigmoid")
    y = a.map("hard_sigmoid", y, {},
              a.params({{"alpha", a.attr(param(0, 0.2))}, {"beta", a.attr(param(1, 0.5))}}));
  else if (!activation.empty())
    n.fail("activation " + activation + " is not supported");
}

ArrayRef<OnnxOperator> kiln::onnxMicrosoft() {
#define MICROSOFT(type, function)                                                                  \
  OnnxOperator { "com.microsoft", type, 1, function }
  static const OnnxOperator table[] = {
      MICROSOFT("SkipLayerNormalization", [](NodeImport &n) { addSkipNorm(n, false); }),
      MICROSOFT("SkipSimplifiedLayerNormalization", [](NodeImport &n) { addSkipNorm(n, true); }),
      MICROSOFT("SimplifiedLayerNormalization", importSimplifiedLayerNormalization),
      // Models of ONNX Runtime have it in ONNX's own domain.
      {"", "SimplifiedLayerNormalization", 1, importSimplifiedLayerNormalization},
      MICROSOFT("EmbedLayerNormalization", importEmbedLayerNormalization),
      MICROSOFT("FusedMatMul", importFusedMatMul),
      MICROSOFT("TransposeMatMul", importFusedMatMul),
      MICROSOFT("MatMulNBits", importMatMulNBits),
      MICROSOFT("Gelu", [](NodeImport &n) { addActivation(n, "gelu"); }),
      MICROSOFT("BiasGelu", [](NodeImport &n) { addActivation(n, "gelu"); }),
      MICROSOFT("FastGelu", [](NodeImport &n) { addActivation(n, "gelu_tanh"); }),
      MICROSOFT("QuickGelu", importQuickGelu),
      MICROSOFT("FusedConv", importFusedConv),
  };
  return table;
#undef MICROSOFT
}
