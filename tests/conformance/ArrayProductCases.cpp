// Cases around products of arrays that are both computed: attention in either layout, groups of
// query heads, masks, windows; and products of matrices of any size.
#include "Conformance.h"

using namespace kiln;
using namespace kiln::test;

namespace {

struct AttentionShape {
  int64_t batch, heads, keyHeads, depth, width;
  bool headsFirst;
  std::string params;    // scale, softcap, causal, left, right
  std::string mask = ""; // its shape, with ? for rows (n) and keys (m), and its type
  bool hasOffsets = false, hasLengths = false;
};

std::string number(int64_t value) { return std::to_string(value); }

Buffer<uint8_t> dense(int64_t count, unsigned seed) {
  std::vector<float> values = randomFloats(size_t(count), seed);
  Buffer<uint8_t> buffer(values.size() * 4);
  std::memcpy(buffer.data(), values.data(), values.size() * 4);
  return buffer;
}

Buffer<uint8_t> integers(const std::vector<int64_t> &values) {
  Buffer<uint8_t> buffer(values.size() * 8);
  std::memcpy(buffer.data(), values.data(), values.size() * 8);
  return buffer;
}

ConformanceCase attention(const std::string &name, const AttentionShape &s) {
  auto typeOf = [&](const std::string &dim, int64_t heads, int64_t columns) {
    std::string first = s.headsFirst ? number(heads) + "x?" : "?x" + number(heads);
    return "tensor<" + number(s.batch) + "x" + first + "x" + number(columns) +
           "xf32, #graph.dims<@" + dim + ">>";
  };
  std::string q = typeOf("n", s.heads, s.depth), k = typeOf("m", s.keyHeads, s.depth),
              v = typeOf("m", s.keyHeads, s.width), y = typeOf("n", s.heads, s.width);
  std::string arguments = "%q: " + q + ", %k: " + k + ", %v: " + v, operands = "%q, %k, %v",
              types = q + ", " + k + ", " + v;
  int64_t position = 3;
  auto add = [&](bool exists, const std::string &operand, const std::string &type) -> int64_t {
    if (!exists)
      return -1;
    arguments += ", %" + operand + ": " + type;
    operands += ", %" + operand;
    types += ", " + type;
    return position++;
  };
  int64_t mask = add(!s.mask.empty(), "mask", s.mask);
  std::string vector = "tensor<" + number(s.batch) + "xi64>";
  int64_t offsets = add(s.hasOffsets, "offsets", vector),
          lengths = add(s.hasLengths, "lengths", vector);
  std::string layout = number(s.headsFirst) + " : i64";
  std::string body = "^bb0(" + arguments + "):\n%y = graph.compute \"attention\"(" + operands +
                     ") {q_heads_first = " + layout + ", kv_heads_first = " + layout +
                     ", y_heads_first = " + layout + ", mask = " + number(mask) +
                     " : i64, offsets = " + number(offsets) +
                     " : i64, lengths = " + number(lengths) + " : i64, scores = 0 : i64, " +
                     s.params + "} : (" + types + ") -> " + y + "\ngraph.yield %y : " + y;
  bool isOfRows = s.mask.find("#graph.dims<@n, @m>") != std::string::npos;
  bool isOfTruths = s.mask.find("i1") != std::string::npos;
  ConformanceCase made{
      name, body, std::vector<int64_t>(size_t(position) + 1, 0), {"n", "m"}, [=](int64_t rows) {
        int64_t keys = 3 * rows + 5;
        Call call;
        call.buffers = {dense(s.batch * rows * s.heads * s.depth, 71),
                        dense(s.batch * keys * s.keyHeads * s.depth, 72),
                        dense(s.batch * keys * s.keyHeads * s.width, 73)};
        if (isOfTruths) {
          Buffer<uint8_t> truths(size_t(s.batch * rows * keys));
          for (size_t i = 0; i < truths.size(); ++i)
            truths.data()[i] = i % 3 != 0;
          call.buffers.push_back(std::move(truths));
        } else if (!s.mask.empty()) {
          call.buffers.push_back(dense((isOfRows ? rows : 1) * keys, 74));
        }
        std::vector<int64_t> from, to;
        for (int64_t i = 0; i < s.batch; ++i) {
          from.push_back(i + 2);
          to.push_back(keys - 2 * i - 1);
        }
        if (s.hasOffsets)
          call.buffers.push_back(integers(from));
        if (s.hasLengths)
          call.buffers.push_back(integers(to));
        call.results = {{call.buffers.size(), s.width, s.width}};
        call.buffers.push_back(emptyRows(s.batch * rows * s.heads, s.width));
        call.dims = {rows, keys};
        return call;
      }};
  made.reference = "array";
  made.rowsMatter = true; // keys are as many as rows
  made.counts = {1, 18, 100};
  return made;
}

/// x [3, 1, n, depth] times y [2, depth, columns].
ConformanceCase product(const std::string &name, int64_t depth, int64_t columns) {
  std::string x = "tensor<3x1x?x" + number(depth) + "xf32, #graph.dims<@n>>",
              y = "tensor<2x" + number(depth) + "x" + number(columns) + "xf32>",
              z = "tensor<3x2x?x" + number(columns) + "xf32, #graph.dims<@n>>";
  std::string body = "^bb0(%x: " + x + ", %y: " + y +
                     "):\n%z = graph.compute \"matmul\"(%x, %y) {} : (" + x + ", " + y + ") -> " +
                     z + "\ngraph.yield %z : " + z;
  ConformanceCase made{name, body, {0, 0, 0}, {"n"}, [=](int64_t rows) {
                         Call call;
                         call.buffers = {dense(3 * rows * depth, 75),
                                         dense(2 * depth * columns, 76),
                                         emptyRows(6 * rows, columns)};
                         call.dims = {rows};
                         call.results = {{2, columns, columns}};
                         return call;
                       }};
  made.reference = "array";
  made.counts = {1, 13, 131};
  return made;
}

} // namespace

std::vector<ConformanceCase> kiln::test::arrayProductCases() {
  std::string plain = "scale = 2.500000e-01 : f64, softcap = 0.000000e+00 : f64, causal = 0 : i64, "
                      "left = -1 : i64, right = -1 : i64";
  std::string capped = "scale = 1.000000e+00 : f64, softcap = 2.000000e+00 : f64, causal = 1 : "
                       "i64, left = -1 : i64, right = -1 : i64";
  std::string window = "scale = 5.000000e-01 : f64, softcap = 0.000000e+00 : f64, causal = 0 : "
                       "i64, left = 20 : i64, right = 3 : i64";
  std::string keysMask = "tensor<1x1x1x?xf32, #graph.dims<@m>>",
              rowsMask = "tensor<1x1x?x?xf32, #graph.dims<@n, @m>>",
              truths = "tensor<2x1x?x?xi1, #graph.dims<@n, @m>>";
  return {
      attention("attention of arrays", {2, 6, 2, 40, 24, false, plain, keysMask, false, true}),
      attention("attention of arrays, capped", {1, 3, 3, 16, 64, true, capped, rowsMask, true}),
      attention("attention of arrays, truths", {2, 2, 1, 20, 9, true, plain, truths}),
      attention("attention of arrays, window", {1, 2, 2, 32, 33, false, window, "", true, true}),
      product("product of arrays", 70, 96),
      product("product of arrays, odd", 33, 53),
      product("product of arrays, narrow", 18, 5),
  };
}
