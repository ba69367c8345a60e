// Attention and rotary embedding of opset 23 and later, and what Microsoft's older operators share
// with them.
#include "compiler/import/onnx/operators/Attend.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

SmallVector<Array> kiln::attend(ArrayBuilder &a, const Attend &x) {
  if (!a.failed() && (x.query.rank() != 4 || x.key.rank() != 4 || x.value.rank() != 4))
    a.fail("attention: expected queries, keys and values of 3 or 4 dims");
  if (a.failed())
    return SmallVector<Array>(x.scores >= 0 ? 2 : 1);
  SmallVector<Array> operands{x.query, x.key, x.value};
  auto optional = [&](const Array &operand) -> Attribute {
    if (!operand)
      return a.attr(int64_t(-1));
    operands.push_back(operand);
    return a.attr(int64_t(operands.size() - 1));
  };
  Attribute mask = optional(x.mask), offsets = optional(x.offsets), lengths = optional(x.lengths);
  unsigned queryRow = x.queryHeadsFirst ? 2 : 1, queryHead = x.queryHeadsFirst ? 1 : 2;
  AffineExpr rows = x.query.shape[queryRow], heads = x.query.shape[queryHead];
  Shape shape{x.query.shape[0], rows, heads, x.value.shape[3]};
  if (x.resultHeadsFirst)
    std::swap(shape[1], shape[2]);
  SmallVector<Type> elements{x.query.element};
  SmallVector<Shape> shapes{shape};
  if (x.scores >= 0) {
    elements.push_back(x.query.element);
    shapes.push_back({x.query.shape[0], heads, rows, x.key.shape[x.keyHeadsFirst ? 2 : 1]});
  }
  auto flag = [&](bool value) { return a.attr(int64_t(value)); };
  return a.compute("attention", operands, elements, shapes,
                   a.params({{"q_heads_first", flag(x.queryHeadsFirst)},
                             {"kv_heads_first", flag(x.keyHeadsFirst)},
                             {"y_heads_first", flag(x.resultHeadsFirst)},
                             {"mask", mask},
                             {"offsets", offsets},
                             {"lengths", lengths},
                             {"scale", a.attr(x.scale)},
                             {"softcap", a.attr(x.softcap)},
                             {"causal", flag(x.causal)},
                             {"left", a.attr(x.left)},
                             {"right", a.attr(x.right)},
                             {"scores", a.attr(std::max<int64_t>(x.scores, 0))}}));
}

Array kiln::splitHeads(NodeImport &n, const Array &x, int64_t heads) {
  int64_t width = x.rank() == 3 ? x.extent(2) : -1;
  if (width < 0 || heads < 1 || width % heads)
    return n.a.fail(llvm::formatv("{0} heads of {1} columns", heads, width));
  return n.a.reshape(x, {x.shape[0], x.shape[1], n.a.number(heads), n.a.number(width / heads)});
}

Array kiln::joinHeads(ArrayBuilder &a, const Array &x) {
  if (a.failed())
    return {};
  return a.reshape(x, {x.shape[0], x.shape[1], a.simplify(x.shape[2] * x.shape[3])});
}

Array kiln::swapHeads(ArrayBuilder &a, const Array &x) { return a.transpose(x, {0, 2, 1, 3}); }

void kiln::putKeyHeadsFirst(ArrayBuilder &a, Attend &operands) {
  if (operands.keyHeadsFirst)
    return;
  operands.key = swapHeads(a, operands.key);
  operands.value = swapHeads(a, operands.value);
  operands.keyHeadsFirst = true;
}

void kiln::prependPast(ArrayBuilder &a, Attend &operands, const Array &keys, const Array &values) {
  if (keys.rank() != 4 || values.rank() != 4) {
    a.fail(llvm::formatv("expected past keys and values of 4 dims, found {0} and {1}", keys.rank(),
                         values.rank()));
    return;
  }
  operands.offsets = a.integers(keys.shape[2]);
  operands.key = a.concat({keys, operands.key}, 2);
  operands.value = a.concat({values, operands.value}, 2);
}

Array kiln::withFourDims(ArrayBuilder &a, const Array &x) {
  Shape shape(4 - std::min<int64_t>(x.rank(), 4), a.number(1));
  llvm::append_range(shape, x.shape);
  return a.reshape(x, shape);
}

Array kiln::fittedMask(ArrayBuilder &a, const Array &mask, AffineExpr keys) {
  if (mask.rank() != 4)
    return a.failed() ? Array() : a.fail("expected a mask of 4 dims at most");
  AffineExpr own = mask.shape.back();
  if (a.same(own, keys) || a.boundsOf(a.simplify(keys - own)).first < 0)
    return mask;
  Shape shape = mask.shape;
  shape.back() = keys;
  double nothing = mask.isFloat() ? -INFINITY : 0;
  SmallVector<int64_t> none(mask.rank(), 0);
  return a.compute("pad", {mask, a.scalar(mask.element, nothing)}, mask.element, shape,
                   a.params({{"mode", a.attr("constant")},
                             {"before", a.attr(ArrayRef<int64_t>(none))},
                             {"pads_given", a.attr(int64_t(0))}}));
}

Array kiln::rotate(ArrayBuilder &a, const Array &x, const Array &cosines, const Array &sines,
                   const Array &positions, bool interleaved, bool headsFirst) {
  SmallVector<Array> operands{x, cosines, sines};
  if (positions)
    operands.push_back(positions);
  return a.compute("rotate", operands, x.element, x.shape,
                   a.params({{"interleaved", a.attr(int64_t(interleaved))},
                             {"heads_first", a.attr(int64_t(headsFirst))}}));
}

/// Inputs: Q, K, V, mask, past keys and values, numbers of keys that are no padding. Outputs: Y,
/// all keys and values, scores.
static void importAttention(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  Attend x;
  x.query = n.inputs[0];
  x.key = n.inputs[1];
  x.value = n.inputs[2];
  bool flat = x.query.rank() == 3;
  if (flat) {
    x.query = splitHeads(n, x.query, n.integer("q_num_heads", 0));
    x.key = splitHeads(n, x.key, n.integer("kv_num_heads", 0));
    x.value = splitHeads(n, x.value, n.integer("kv_num_heads", 0));
    if (a.failed())
      return;
  }
  if (x.query.rank() != 4 || x.key.rank() != 4 || x.value.rank() != 4)
    return n.fail("takes queries, keys and values of 3 or 4 dims");
  x.queryHeadsFirst = x.keyHeadsFirst = x.resultHeadsFirst = !flat;
  int64_t depth = x.query.extent(3);
  if (depth < 1)
    return n.fail("the depth of a head is not fixed");
  bool past = n.has(4) && n.has(5);
  if (past || n.wants(1) || n.wants(2))
    putKeyHeadsFirst(a, x);
  if (past)
    prependPast(a, x, n.inputs[4], n.inputs[5]);
  if (a.failed())
    return;
  if (n.has(6)) {
    x.lengths = a.cast(n.inputs[6], a.b.getI64Type());
    if (!past)
      x.offsets = a.sub(x.lengths, a.integer(x.query.shape[flat ? 1 : 2]));
  }
  if (n.has(3)) {
    if (n.inputs[3].rank() > 4 || n.inputs[3].rank() < 1)
      return n.fail("takes a mask of 4 dims at most");
    x.mask = fittedMask(a, withFourDims(a, n.inputs[3]), x.key.shape[x.keyHeadsFirst ? 2 : 1]);
  }
  x.scale = n.real("scale", 1 / std::sqrt(double(depth)));
  x.softcap = n.real("softcap", 0);
  x.causal = n.integer("is_causal", 0) != 0;
  x.left = n.integer("left_window_size", -1);
  x.right = n.integer("right_window_size", -1);
  if (n.wants(3))
    x.scores = n.integer("qk_matmul_output_mode", 0);
  if (x.scores > 3)
    return n.fail("qk_matmul_output_mode is not in 0 .. 3");
  SmallVector<Array> results = attend(a, x);
  n.results.push_back(flat ? joinHeads(a, results[0]) : results[0]);
  n.results.push_back(x.key);
  n.results.push_back(x.value);
  if (x.scores >= 0)
    n.results.push_back(results[1]);
}

static void importRotaryEmbedding(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  Array x = n.inputs[0];
  bool flat = x.rank() == 3;
  if (flat)
    x = splitHeads(n, x, n.integer("num_heads", 0));
  if (a.failed())
    return;
  Array positions = n.has(3) ? n.inputs[3] : Array();
  if (x.rank() != 4 || n.inputs[1].rank() != (positions ? 2 : 3))
    return n.fail("takes 3 or 4 dims, and cosines of 3 dims, or with positions of 2");
  x = rotate(a, x, n.inputs[1], n.inputs[2], positions, n.integer("interleaved", 0) != 0, !flat);
  n.results.push_back(flat ? joinHeads(a, x) : x);
}

/// Inputs: Q, K, V [batch, rows, heads * depth], state, decay, beta. Outputs: Y and the state.
static void importLinearAttention(NodeImport &n) {
  if (!n.input(0) || !n.input(1) || !n.input(2))
    return;
  ArrayBuilder &a = n.a;
  int64_t heads = n.integer("q_num_heads", 0), keyHeads = n.integer("kv_num_heads", 0);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads)
    return n.fail(llvm::formatv("{0} heads on {1} key heads", heads, keyHeads));
  SmallVector<Array> operands{splitHeads(n, n.inputs[0], heads),
                              splitHeads(n, n.inputs[1], keyHeads),
                              splitHeads(n, n.inputs[2], keyHeads)};
  if (a.failed())
    return;
  Shape state{operands[0].shape[0], a.number(keyHeads), operands[1].shape[3], operands[2].shape[3]};
  auto optional = [&](const Array &operand) -> Attribute {
    if (!operand)
      return a.attr(int64_t(-1));
    operands.push_back(operand);
    return a.attr(int64_t(operands.size() - 1));
  };
  std::string rule = n.text("update_rule", "gated_delta");
  bool gated = rule == "gated" || rule == "gated_delta";
  bool delta = rule == "delta" || rule == "gated_delta";
  if ((!gated && rule != "linear" && !delta) || gated != n.has(4) || delta != n.has(5))
    return n.fail("update_rule " + rule + " does not fit the inputs");
  Array decay, beta;
  if (gated)
    decay = splitHeads(n, n.inputs[4], keyHeads);
  if (delta && n.inputs[5].rank() == 3)
    beta = a.reshape(n.inputs[5], {n.inputs[5].shape[0], n.inputs[5].shape[1], n.inputs[5].shape[2],
                                   a.number(1)});
  if (a.failed())
    return;
  Attribute past = optional(n.has(3) ? n.inputs[3] : Array());
  Attribute decayed = optional(decay), shared = optional(beta);
  double scale = n.real("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(double(std::max<int64_t>(operands[0].extent(3), 1)));
  Shape result = operands[0].shape;
  result[3] = state[3];
  Type stateType = n.has(3) ? n.inputs[3].element : operands[0].element;
  SmallVector<Array> results = a.compute(
      "linear_attention", operands, {stateType, operands[0].element}, {state, result},
      a.params({{"state", past}, {"decay", decayed}, {"beta", shared}, {"scale", a.attr(scale)}}));
  n.results.push_back(joinHeads(a, results[1]));
  n.results.push_back(results[0]);
}

ArrayRef<OnnxOperator> kiln::onnxAttention() {
  static const OnnxOperator table[] = {
      {"", "LinearAttention", 1, importLinearAttention},
      {"", "Attention", 23, importAttention},
      {"", "RotaryEmbedding", 23, importRotaryEmbedding},
  };
  return table;
}
