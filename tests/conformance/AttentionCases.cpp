// Cases of attention over the paged cache: group sizes, head sizes, all element types, with and
// without (partial) rotation; sequences that alternate in a batch or follow each other, positions
// that cross pages, pages out of order, and a cache that already holds tokens; windows, limits and
// linear biases of scores, norms of heads; sequences seen as a whole. What has no token yet, and
// what lies four pages and more before every window, holds NaN, which no result may show.
//
// Through a matrix unit probabilities and values are rounded to bf16, 0.16 % RMS each and 0.20 % of
// the result together (codegen/attention/MatrixAttention.cpp); few rows scatter around that.
#include "Conformance.h"
#include <algorithm>
#include <cmath>

using namespace kiln;
using namespace kiln::test;

namespace {
struct AttentionShape {
  int64_t heads, kvHeads, dim, rotary; // rotary 0: no rope
  const char *element;
  int64_t window = 0;
  double softcap = 0;
  bool slopes = false, norms = false; // linear biases; norms of query and key heads
  bool seesAll = false;               // tokens see all of their sequence
};
} // namespace

static constexpr int64_t pageSize = 64, slots = 3, columns = 17, pages = slots * columns + 1;

/// How the tokens of a call belong to sequences.
enum class Batch { Alternating, Runs };

namespace {
/// The tokens of a call, and how many each sequence then has.
struct Tokens {
  std::vector<int32_t> positions, slots;
  int32_t lengths[3];
};
} // namespace

static Tokens tokensOf(Batch batch, int64_t count) {
  Tokens tokens;
  int32_t next[] = {batch == Batch::Runs ? 200 : 61, 0, batch == Batch::Runs ? 530 : 130};
  for (int64_t i = 0; i < count; ++i) {
    int32_t slot = batch == Batch::Alternating ? (i % 3 ? 2 : 0) : i < count - count / 4 ? 0 : 2;
    tokens.slots.push_back(slot);
    tokens.positions.push_back(next[slot]++);
  }
  std::copy(next, next + 3, tokens.lengths);
  return tokens;
}

static std::vector<int32_t> blockTable() {
  std::vector<int32_t> table;
  for (int64_t i = 0; i < slots * columns; ++i)
    table.push_back(int32_t((i * 7 + 3) % (slots * columns)));
  return table;
}

namespace {
/// Writes keys and values as a cache holds them.
class Pool {
public:
  explicit Pool(const AttentionShape &s)
      : s(s), bytes(s.element[0] == 'i'   ? 1
                    : s.element[1] == '1' ? 2
                                          : 4),
        headBytes(pageSize * (s.dim * bytes + (bytes == 1 ? 4 : 0))),
        memory(size_t(pages * 2 * s.kvHeads * headBytes)) {
    // NaN as f32 and as f16; codes may be anything, their scales are NaN.
    std::memset(memory.data(), 0xff, memory.size());
  }

  /// The first `length` positions of a sequence, at random, but for those that no later token sees.
  void fill(int32_t slot, int64_t length) {
    int64_t firstSeen = s.window ? std::max<int64_t>(0, length - s.window + 1) : 0;
    int64_t begin = firstSeen / (4 * pageSize) * (4 * pageSize);
    std::vector<int32_t> table = blockTable();
    std::vector<float> values = randomFloats(size_t(length * 2 * s.kvHeads * s.dim), 33 + slot);
    size_t next = 0;
    for (int64_t position = begin; position < length; ++position) {
      int64_t page = table[size_t(slot * columns + position / pageSize)], at = position % pageSize;
      for (int64_t half : {0, 1})
        for (int64_t head = 0; head < s.kvHeads; ++head) {
          uint8_t *codes = memory.data() + ((page * 2 + half) * s.kvHeads + head) * headBytes;
          for (int64_t d = 0; d < s.dim; ++d)
            write(codes + (half ? at * s.dim + d : d * pageSize + at) * bytes, values[next++]);
          float scale = 0.004f + 0.004f * float((position + head) % 3);
          if (bytes == 1)
            std::memcpy(codes + s.dim * pageSize + at * 4, &scale, 4);
        }
    }
  }
  Buffer<uint8_t> take() { return std::move(memory); }

private:
  void write(uint8_t *to, float value) {
    uint16_t half = halfBits(value);
    int8_t code = int8_t(std::lrint(value * 127));
    if (bytes == 4)
      std::memcpy(to, &value, 4);
    else if (bytes == 2)
      std::memcpy(to, &half, 2);
    else
      std::memcpy(to, &code, 1);
  }

  const AttentionShape &s;
  int64_t bytes, headBytes;
  Buffer<uint8_t> memory;
};
} // namespace

static ConformanceCase attention(const AttentionShape &s, Batch batch) {
  int64_t q = s.heads * s.dim, kv = s.kvHeads * s.dim, width = q + 2 * kv;
  int64_t group = s.heads / s.kvHeads;
  auto number = [](int64_t value) { return std::to_string(value); };
  std::string table = "tensor<?x?xi32, #graph.dims<@s, @b>>";
  std::string cache = "!graph.cache<layers = 1, kv_heads = " + number(s.kvHeads) +
                      ", head_dim = " + number(s.dim) + ", page_size = " + number(pageSize) +
                      ", pages = @p, " + s.element + ">";
  auto slice = [&](const std::string &name, int64_t offset, int64_t size) {
    return "%" + name + " = graph.slice %x[" + number(offset) + ", " + number(size) +
           "] : " + rowsType(width) + " -> " + rowsType(size) + "\n";
  };
  auto rope = [&](const std::string &name, const std::string &from, int64_t size) {
    return "%" + name + " = graph.rope %" + from + ", %pos {head_dim = " + number(s.dim) +
           ", rotary_dim = " + number(s.rotary) + ", theta = 1.0e4} : " + rowsType(size) + ", " +
           indexType() + "\n";
  };
  // States of segments of the context (passes/FormKernels).
  int64_t stateColumns = paddedColumns(group * (s.dim + 2) * 8);
  std::string workspace = rowsType(stateColumns, "b");
  std::string body =
      "^bb0(%x: " + rowsType(width) + ", %pos: " + indexType() + ", %slots: " + indexType() +
      ", %table: " + table + ", %cache: " + cache +
      (s.norms ? ", %wq: " + vectorType(s.dim) + ", %wk: " + vectorType(s.dim) : "") +
      (s.seesAll ? ", %lengths: " + indexType("s") : "") + "):\n" + slice("q", 0, q) +
      slice("k", q, kv) + slice("v", q + kv, kv);
  std::string variants;
  if (s.window)
    variants += ", window = " + number(s.window);
  if (s.softcap)
    variants += ", softcap = " + std::to_string(s.softcap);
  if (s.slopes) {
    variants += ", slopes = array<f64: ";
    for (int64_t head = 0; head < s.heads; ++head)
      variants += (head ? ", " : "") + std::to_string(std::exp2(-8.0 * double(head + 1) / s.heads));
    variants += ">";
  }
  std::string query = "q", key = "k";
  if (s.norms) {
    for (auto [name, size] : {std::pair<const char *, int64_t>("q", q), {"k", kv}})
      body += std::string("%") + name + "n = graph.rms_norm %" + name + ", %w" + name +
              " eps = 1.0e-5 : " + rowsType(size) + ", " + vectorType(s.dim) + "\n";
    query = "qn";
    key = "kn";
  }
  if (s.rotary) {
    body += rope("qr", query, q) + rope("kr", key, kv);
    query = "qr";
    key = "kr";
  }
  body +=
      "%a = graph.attention %" + query + ", %" + key + ", %v at %pos, %slots, %table in %cache" +
      (s.seesAll ? " of %lengths : " + indexType("s") : "") +
      " {layer = 0, heads = " + number(s.heads) + ", kv_heads = " + number(s.kvHeads) +
      ", head_dim = " + number(s.dim) + ", scale = 0.35" + variants + "} : " + rowsType(q) + ", " +
      rowsType(kv) + ", " + rowsType(kv) + ", " + indexType() + ", " + indexType() + ", " + table +
      ", " + cache + " -> " + rowsType(q) + "\n%w = graph.workspace : " + workspace +
      "\ngraph.yield %a, %w : " + rowsType(q) + ", " + workspace;
  bool codes = s.element[0] == 'i';
  int64_t out = paddedColumns(q);
  // Where a matrix unit takes the first sequence (MatrixAttention::minTokens).
  int64_t many = 1, fewest = std::max<int64_t>(2, (16 + group - 1) / group);
  while (batch == Batch::Runs && many - many / 4 < fewest)
    ++many;
  std::string name = s.window ? " window " + number(s.window) : "";
  name += s.softcap ? " softcap" : "";
  name += s.slopes ? " slopes" : "";
  name += s.norms ? " norms" : "";
  name += s.seesAll ? " whole" : "";
  std::vector<int64_t> strides = {paddedColumns(width), 1, 1, 0, 0};
  if (s.norms)
    strides.insert(strides.end(), {0, 0});
  if (s.seesAll)
    strides.push_back(1);
  size_t result = strides.size();
  strides.insert(strides.end(), {out, stateColumns});
  return {"attention " + number(s.heads) + "/" + number(s.kvHeads) + "x" + number(s.dim) +
              " rotary " + number(s.rotary) + " " + s.element + name +
              (batch == Batch::Runs ? " runs" : " alternating"),
          body,
          strides,
          {"n", "m", "s", "b", "p"},
          [=](int64_t count) {
            Tokens tokens = tokensOf(batch, count), before = tokensOf(batch, 0);
            Pool pool(s);
            for (int32_t slot : {0, 1, 2})
              pool.fill(slot, before.lengths[slot]);
            Call call;
            call.buffers = {randomRows(count, width, 34), indices(tokens.positions),
                            indices(tokens.slots), indices(blockTable()), pool.take()};
            for (int64_t i = 0; i < (s.norms ? 2 : 0); ++i)
              call.buffers.push_back(randomVector(s.dim, unsigned(35 + i)));
            if (s.seesAll)
              call.buffers.push_back(
                  indices(std::vector<int32_t>(tokens.lengths, tokens.lengths + slots)));
            call.buffers.push_back(emptyRows(count, out));
            call.buffers.push_back(emptyRows(columns, stateColumns));
            call.dims = {count, 0, slots, columns, pages};
            call.results = {{result, q, out}};
            if (!codes) // a code may fall to either side of a rounding boundary
              call.results.push_back({4, 1, 1, s.element[1] == '1', /*nan=*/true});
            return call;
          },
          3e-3,
          batch == Batch::Runs ? many : 1,
          /*rowsMatter=*/s.seesAll};
}

std::vector<ConformanceCase> kiln::test::attentionCases() {
  std::vector<ConformanceCase> cases;
  for (const char *element : {"f32", "f16", "i8"})
    for (AttentionShape shape : {AttentionShape{8, 4, 8, 8, element},
                                 {4, 4, 16, 0, element},
                                 {9, 3, 64, 64, element},
                                 {16, 2, 32, 16, element},
                                 {12, 1, 20, 20, element}})
      cases.push_back(attention(shape, Batch::Alternating));
  for (AttentionShape shape : {AttentionShape{8, 1, 64, 64, "f32"},
                               {8, 1, 64, 64, "f16"},
                               {8, 1, 64, 64, "i8"},
                               {9, 3, 64, 64, "f16"},
                               {2, 2, 16, 16, "f16"},
                               {4, 1, 48, 48, "i8"},
                               {10, 2, 80, 40, "f16"},
                               {4, 2, 96, 96, "f16"},
                               {9, 1, 128, 128, "f16"},
                               {4, 2, 256, 64, "i8"},
                               {12, 1, 20, 20, "f16"}})
    cases.push_back(attention(shape, Batch::Runs));
  for (Batch batch : {Batch::Alternating, Batch::Runs})
    for (AttentionShape shape : {AttentionShape{4, 2, 64, 64, "f32", 100}, // slot 2 is past page 4
                                 {4, 2, 64, 64, "f16", 70},
                                 {9, 3, 32, 16, "i8", 20},
                                 {4, 1, 256, 256, "f16", 300, 0, false, true},
                                 {4, 1, 64, 64, "f32", 24, 0, false, true},
                                 {4, 2, 16, 16, "f16", 1},
                                 {8, 4, 64, 64, "f16", 0, 1.5},
                                 {8, 4, 32, 32, "f32", 130, 1.5},
                                 {6, 6, 32, 0, "f16", 0, 0, true},
                                 {12, 3, 20, 0, "f32", 90, 0, true},
                                 {4, 2, 64, 64, "i8", 0, 0, false, true},
                                 {4, 2, 96, 48, "f16", 90, 2, true, true},
                                 {12, 12, 32, 0, "f32", 0, 0, false, false, true},
                                 {12, 12, 32, 0, "f16", 0, 0, false, false, true},
                                 {4, 2, 64, 64, "i8", 0, 1.5, false, false, true}})
      cases.push_back(attention(shape, batch));
  return cases;
}
