// Attention and rotation of the domain com.microsoft.
//
// Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
#include "compiler/import/onnx/operators/Attend.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace kiln;

/// Masks of integers: of [batch, keys], [batch, rows, keys] or [batch, 1, rows, keys] 1 lets a key
/// be; of [batch] the numbers of keys that count. False after fail().
static bool addKeyMask(NodeImport &n, const Array &mask, Attend &x) {
  ArrayBuilder &a = n.a;
  if (a.failed())
    return false;
  if (x.key.rank() != 4) {
    n.fail("takes keys of 3 or 4 dims");
    return false;
  }
  AffineExpr keys = x.key.shape[x.keyHeadsFirst ? 2 : 1];
  if (mask.rank() == 1) {
    if (!a.same(mask.shape[0], x.query.shape[0])) {
      n.fail("masks of first and last positions are not supported");
      return false;
    }
    x.lengths = mask;
    return true;
  }
  if (mask.rank() < 1 || mask.rank() > 4) {
    n.fail("takes a mask of 1 to 4 dims");
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
  if (a.failed())
    return;
  if (x.key.rank() != 4) {
    a.fail("expected keys of 3 or 4 dims");
    return;
  }
  AffineExpr keys = x.key.shape[x.keyHeadsFirst ? 2 : 1];
  Array summand = fittedMask(a, withFourDims(a, bias), keys);
  if (a.failed())
    return;
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

/// Attends with the mask of keys and the summands of the scores that the inputs of these numbers
/// may be, and gives the first result; false after fail().
static bool attendMasked(NodeImport &n, Attend &x, size_t mask, size_t summands) {
  if (n.has(mask) && !addKeyMask(n, n.inputs[mask], x))
    return false;
  if (n.has(summands))
    addBias(n.a, n.inputs[summands], x);
  if (n.a.failed())
    return false;
  x.scale = scaleOf(n, x.query);
  x.causal = n.integer("unidirectional", 0) != 0;
  n.results.push_back(joinHeads(n.a, attend(n.a, x)[0]));
  return true;
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
    putKeyHeadsFirst(a, x);
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
      prependPast(a, x, half(0), half(1));
    }
    auto one = [&](const Array &part) {
      Shape shape{a.number(1)};
      llvm::append_range(shape, part.shape);
      return a.reshape(part, shape);
    };
    if (n.wants(1))
      present = a.concat({one(x.key), one(x.value)}, 0);
  }
  if (!attendMasked(n, x, 3, 5))
    return;
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
  if (past || n.wants(1) || n.wants(2))
    putKeyHeadsFirst(a, x);
  if (past)
    prependPast(a, x, n.inputs[6], n.inputs[7]);
  if (!attendMasked(n, x, 4, 5))
    return;
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
  if (n.has(3) && n.inputs[3].rank() != 4)
    return n.fail("takes past keys of 4 dims");
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
  putKeyHeadsFirst(a, x);
  if (n.has(3) && n.has(4))
    prependPast(a, x, n.inputs[3], n.inputs[4]);
  if (a.failed())
    return;
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

ArrayRef<OnnxOperator> kiln::onnxMicrosoftAttention() {
  static const OnnxOperator table[] = {
      {"com.microsoft", "Attention", 1, importMicrosoftAttention},
      {"com.microsoft", "MultiHeadAttention", 1, importMultiHeadAttention},
      {"com.microsoft", "GroupQueryAttention", 1, importGroupQueryAttention},
      {"com.microsoft", "RotaryEmbedding", 1, importMicrosoftRotary},
  };
  return table;
}
