// Operators of the domain com.microsoft that exporters emit.
//
// Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
#include "compiler/import/onnx/operators/Attend.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

// ---- Attention --------------------------------------------------------------------------------

/// Masks of integers: of [batch, keys], [batch, rows, keys] or [batch, 1, rows, keys] 1 lets a key
/// be; of [batch] the numbers of keys that count. False after fail().
static bool addKeyMask(NodeImport &n, const Array &mask, Attend &x) {
  ArrayBuilder &a = n.a;
  AffineExpr keys = x.key.shape[x.keyHeadsFirst ? 2 : 1];
  if (mask.rank() == 1) {
    if (!a.same(mask.shape[0], x.query.shape[0])) {
      n.fail("masks of first and last positions are not supported");
      return false;
    }
    x.lengths = mask;
    return true;
  }
  if (mask.rank() > 4) {
    n.fail("takes a mask of 4 dims at most");
    return false;
  }
  Shape shape = mask.shape;
  while (shape.size() < 4)
    shape.insert(shape.begin() + 1, a.number(1));
  x.mask = fittedMask(a, a.cast(a.reshape(mask, shape), a.b.getI1Type()), keys);
  return true;
}

/// Summands of the scores, together with a mask that is there already.
static void addBias(ArrayBuilder &a, const Array &bias, Attend &x) {
  AffineExpr keys = x.key.shape[x.keyHeadsFirst ? 2 : 1];
  Array summand = fittedMask(a, withFourDims(a, bias), keys);
  if (x.mask)
    summand =
        a.map("where", {x.mask, summand, a.scalar(summand.element, -INFINITY)}, summand.element);
  x.mask = summand;
}

static double scaleOf(NodeImport &n, const Array &query) {
  double scale = n.real("scale", 0);
  return scale != 0 ? scale : 1 / std::sqrt(double(std::max<int64_t>(query.extent(3), 1)));
}

/// Parts of the last dim of [batch, rows, columns].
static Array columns(ArrayBuilder &a, const Array &x, int64_t first, int64_t count) {
  Shape shape = x.shape;
  shape.back() = a.number(count);
  SmallVector<int64_t> starts(x.rank(), 0);
  starts.back() = first;
  return a.slice(x, starts, shape);
}

/// input, weights [columns, all heads of q, k, v], bias, mask, past [2, batch, heads, keys, depth],
/// summands of the scores. Outputs: result, present.
static void importMicrosoftAttention(NodeImport &n) {
  if (!n.input(0) || !n.input(1))
    return;
  ArrayBuilder &a = n.a;
  int64_t heads = n.integer("num_heads", 0), total = n.inputs[1].extent(1);
  SmallVector<int64_t> widths = n.integers("qkv_hidden_sizes", {total / 3, total / 3, total / 3});
  if (n.inputs[0].rank() != 3 || n.inputs[1].rank() != 2 || widths.size() != 3 ||
      widths[0] + widths[1] + widths[2] != total || n.integer("do_rotary", 0))
    return n.fail("widths of queries, keys and values do not fit the weights, or rotary is wanted");
  Array all = a.matmul(n.inputs[0], n.inputs[1]);
  if (n.has(2))
    all = a.add(all, n.inputs[2]);
  if (a.failed())
    return;
  Attend x;
  x.query = splitHeads(n, columns(a, all, 0, widths[0]), heads);
  x.key = splitHeads(n, columns(a, all, widths[0], widths[1]), heads);
  x.value = splitHeads(n, columns(a, all, widths[0] + widths[1], widths[2]), heads);
  if (a.failed())
    return;
  Array present;
  if (n.has(4) || n.wants(1)) {
    x.key = swapHeads(a, x.key);
    x.value = swapHeads(a, x.value);
    x.keyHeadsFirst = true;
    if (n.has(4)) {
      const Array &past = n.inputs[4];
      if (past.rank() != 5)
        return n.fail("takes a past of 5 dims");
      auto half = [&](int64_t i) {
        Shape shape = past.shape;
        shape[0] = a.number(1);
        Array part = a.slice(past, {i, 0, 0, 0, 0}, shape);
        return a.reshape(part, ArrayRef(past.shape).drop_front());
      };
      x.offsets = a.integers(past.shape[3]);
      x.key = a.concat({half(0), x.key}, 2);
      x.value = a.concat({half(1), x.value}, 2);
    }
    auto one = [&](const Array &part) {
      Shape shape{a.number(1)};
      llvm::append_range(shape, part.shape);
      return a.reshape(part, shape);
    };
    if (n.wants(1))
      present = a.concat({one(x.key), one(x.value)}, 0);
  }
  if (n.has(3) && !addKeyMask(n, n.inputs[3], x))
    return;
  if (n.has(5))
    addBias(a, n.inputs[5], x);
  x.scale = scaleOf(n, x.query);
  x.causal = n.integer("unidirectional", 0) != 0;
  n.results.push_back(joinHeads(a, attend(a, x)[0]));
  if (present)
    n.results.push_back(present);
}

/// query, key, value, bias of all three, mask of keys, summands of the scores, past keys and
/// values.
static void importMultiHeadAttention(NodeImport &n) {
  if (!n.input(0))
    return;
  ArrayBuilder &a = n.a;
  int64_t heads = n.integer("num_heads", 0);
  Attend x;
  auto packed = [&](const Array &array, int64_t part) { // [batch, rows, heads, parts, depth]
    Shape shape = array.shape;
    shape[3] = a.number(1);
    Array one = a.slice(array, {0, 0, 0, part, 0}, shape);
    return a.reshape(one, {shape[0], shape[1], shape[2], shape[4]});
  };
  const Array &query = n.inputs[0];
  if (query.rank() == 5) {
    x.query = packed(query, 0);
    x.key = packed(query, 1);
    x.value = packed(query, 2);
  } else {
    x.query = splitHeads(n, query, heads);
    if (!n.input(1))
      return;
    const Array &key = n.inputs[1];
    if (key.rank() == 5) {
      x.key = packed(key, 0);
      x.value = packed(key, 1);
    } else if (!n.input(2)) {
      return;
    } else if (key.rank() == 4) { // of another sequence, heads first
      x.key = key;
      x.value = n.inputs[2];
      x.keyHeadsFirst = true;
    } else {
      x.key = splitHeads(n, key, heads);
      x.value = splitHeads(n, n.inputs[2], heads);
    }
  }
  if (a.failed())
    return;
  if (n.has(3)) {
    int64_t first = 0;
    auto biased = [&](const Array &part) {
      int64_t width = part.extent(2) * part.extent(3);
      Array own = a.slice(n.inputs[3], first, a.number(width));
      first += width;
      return a.add(part, a.reshape(own, {part.shape[2], part.shape[3]}));
    };
    x.query = biased(x.query);
    if (!x.keyHeadsFirst) {
      x.key = biased(x.key);
      x.value = biased(x.value);
    }
  }
  bool past = n.has(6) && n.has(7);
  if (!x.keyHeadsFirst && (past || n.wants(1) || n.wants(2))) {
    x.key = swapHeads(a, x.key);
    x.value = swapHeads(a, x.value);
    x.keyHeadsFirst = true;
  }
  if (past) {
    x.offsets = a.integers(n.inputs[6].shape[2]);
    x.key = a.concat({n.inputs[6], x.key}, 2);
    x.value = a.concat({n.inputs[7], x.value}, 2);
  }
  if (n.has(4) && !addKeyMask(n, n.inputs[4], x))
    return;
  if (n.has(5))
    addBias(a, n.inputs[5], x);
  x.scale = scaleOf(n, x.query);
  x.causal = n.integer("unidirectional", 0) != 0;
  n.results.push_back(joinHeads(a, attend(a, x)[0]));
  n.results.push_back(x.key);
  n.results.push_back(x.value);
}

/// query (or all of q, k, v), key, value, past keys and values, last key of each sequence, number
/// of keys, cosines, sines, positions, summands of the scores. The cache is what came before, as
/// long as its dim says.
static void importGroupQueryAttention(NodeImport &n) {
  if (!n.input(0) || !n.input(5))
    return;
  ArrayBuilder &a = n.a;
  int64_t heads = n.integer("num_heads", 0), keyHeads = n.integer("kv_num_heads", 0);
  Attend x;
  const Array &query = n.inputs[0];
  if (heads < 1 || keyHeads < 1 || heads % keyHeads || query.rank() != 3)
    return n.fail(llvm::formatv("{0} heads on {1} key heads", heads, keyHeads));
  if (n.has(1) && n.has(2)) {
    x.query = splitHeads(n, query, heads);
    x.key = splitHeads(n, n.inputs[1], keyHeads);
    x.value = splitHeads(n, n.inputs[2], keyHeads);
  } else {
    int64_t width = query.extent(2), all = heads + 2 * keyHeads;
    if (width < 0 || width % all)
      return n.fail(llvm::formatv("{0} heads of {1} columns", all, width));
    int64_t depth = width / all;
    x.query = splitHeads(n, columns(a, query, 0, heads * depth), heads);
    x.key = splitHeads(n, columns(a, query, heads * depth, keyHeads * depth), keyHeads);
    x.value =
        splitHeads(n, columns(a, query, (heads + keyHeads) * depth, keyHeads * depth), keyHeads);
  }
  if (a.failed())
    return;
  if (n.integer("smooth_softmax", 0) || n.has(11))
    return n.fail("a softmax with sinks is not supported");
  Type i64 = a.b.getI64Type();
  AffineExpr before = n.has(3) ? n.inputs[3].shape[2] : a.number(0);
  if (n.integer("do_rotary", 0)) {
    if (!n.input(7) || !n.input(8))
      return;
    Array positions = n.has(9) ? n.inputs[9] : Array();
    if (!positions) {
      Array row = a.compute("iota", {}, i64, {x.query.shape[0], x.query.shape[1]},
                            a.params({{"axis", a.attr(int64_t(1))}}));
      positions = a.add(row, a.integer(before));
    }
    bool interleaved = n.integer("rotary_interleaved", 0) != 0;
    for (Array *part : {&x.query, &x.key})
      *part = rotate(a, *part, n.inputs[7], n.inputs[8], positions, interleaved, false);
  }
  x.key = swapHeads(a, x.key);
  x.value = swapHeads(a, x.value);
  x.keyHeadsFirst = true;
  if (n.has(3) && n.has(4)) {
    x.key = a.concat({n.inputs[3], x.key}, 2);
    x.value = a.concat({n.inputs[4], x.value}, 2);
  }
  x.offsets = a.integers(before);
  x.lengths = a.reshape(a.cast(n.inputs[5], i64), {x.query.shape[0]});
  x.lengths = a.add(x.lengths, a.scalar(i64, 1));
  if (n.has(10))
    addBias(a, n.inputs[10], x);
  x.scale = scaleOf(n, x.query);
  x.softcap = n.real("softcap", 0);
  x.causal = true;
  int64_t window = n.integer("local_window_size", -1);
  x.left = window > 0 ? window - 1 : -1; // the query's own key counts
  n.results.push_back(joinHeads(a, attend(a, x)[0]));
  n.results.push_back(x.key);
  n.results.push_back(x.value);
}

/// input, positions (of all tokens, or of the first), cosines, sines.
static void importMicrosoftRotary(NodeImport &n) {
  for (size_t i = 0; i < 4; ++i)
    if (!n.input(i))
      return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0], positions = n.inputs[1];
  bool flat = x.rank() == 3;
  if (flat) {
    int64_t heads = n.integer("num_heads", 0), depth = 2 * n.inputs[2].extent(1);
    if (heads == 0 && depth > 0 && x.extent(2) > 0)
      heads = x.extent(2) / depth;
    x = splitHeads(n, x, heads);
  }
  if (a.failed())
    return;
  if (x.rank() != 4 || n.inputs[2].rank() != 2 || positions.rank() > 2)
    return n.fail("takes 3 or 4 dims, and cosines of 2");
  if (positions.rank() < 2) {
    Array row = a.compute("iota", {}, positions.element, {x.shape[0], x.shape[flat ? 1 : 2]},
                          a.params({{"axis", a.attr(int64_t(1))}}));
    positions = a.add(row, a.reshape(positions, a.numbers({1})));
  }
  x = rotate(a, x, n.inputs[2], n.inputs[3], positions, n.integer("interleaved", 0) != 0, !flat);
  n.results.push_back(flat ? joinHeads(a, x) : x);
}

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
      MICROSOFT("Attention", importMicrosoftAttention),
      MICROSOFT("MultiHeadAttention", importMultiHeadAttention),
      MICROSOFT("GroupQueryAttention", importGroupQueryAttention),
      MICROSOFT("RotaryEmbedding", importMicrosoftRotary),
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
