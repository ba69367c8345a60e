// Cases of attention over the paged cache: group sizes, head sizes, both element types, with and
// without (partial) rotation; two sequences in one batch, positions that cross pages, pages out of
// order, and a cache that already holds tokens.
#include "Conformance.h"

using namespace kiln;
using namespace kiln::test;

namespace {
struct AttentionShape {
  int64_t heads, kvHeads, dim, rotary; // rotary 0: no rope
  const char *element;
};
} // namespace

static ConformanceCase attention(const AttentionShape &s) {
  constexpr int64_t pageSize = 64, slots = 3, columns = 5, pages = slots * columns + 1;
  int64_t q = s.heads * s.dim, kv = s.kvHeads * s.dim, width = q + 2 * kv;
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
  std::string body = "^bb0(%x: " + rowsType(width) + ", %pos: " + indexType() +
                     ", %slots: " + indexType() + ", %table: " + table + ", %cache: " + cache +
                     "):\n" + slice("q", 0, q) + slice("k", q, kv) + slice("v", q + kv, kv);
  std::string query = "q", key = "k";
  if (s.rotary) {
    body += rope("qr", "q", q) + rope("kr", "k", kv);
    query = "qr";
    key = "kr";
  }
  body += "%a = graph.attention %" + query + ", %" + key +
          ", %v at %pos, %slots, %table in %cache {layer = 0, heads = " + number(s.heads) +
          ", kv_heads = " + number(s.kvHeads) + ", head_dim = " + number(s.dim) +
          ", scale = 0.35} : " + rowsType(q) + ", " + rowsType(kv) + ", " + rowsType(kv) + ", " +
          indexType() + ", " + indexType() + ", " + table + ", " + cache + " -> " + rowsType(q) +
          "\ngraph.yield %a : " + rowsType(q);
  bool half = std::string(s.element) == "f16";
  int64_t out = paddedColumns(q);
  return {"attention " + number(s.heads) + "/" + number(s.kvHeads) + "x" + number(s.dim) +
              " rotary " + number(s.rotary) + " " + s.element,
          body,
          {paddedColumns(width), 1, 1, 0, 0, out},
          {"n", "m", "s", "b", "p"},
          [=](int64_t count) {
            // Tokens alternate between two slots, each from a position of its own.
            std::vector<int32_t> positions, slotOf, block;
            int32_t next[] = {61, 0, 130};
            for (int64_t i = 0; i < count; ++i) {
              int32_t slot = i % 3 ? 2 : 0;
              slotOf.push_back(slot);
              positions.push_back(next[slot]++);
            }
            for (int64_t i = 0; i < slots * columns; ++i)
              block.push_back(int32_t((i * 7 + 3) % (slots * columns)));
            size_t elements = size_t(pages * 2 * s.kvHeads * s.dim * pageSize);
            Buffer<uint8_t> pool(elements * (half ? 2 : 4));
            std::vector<float> old = randomFloats(elements, 33);
            for (size_t i = 0; i < elements; ++i) {
              uint16_t bits = halfBits(old[i]);
              if (half)
                std::memcpy(pool.data() + i * 2, &bits, 2);
              else
                std::memcpy(pool.data() + i * 4, &old[i], 4);
            }
            Call call;
            call.buffers = {randomRows(count, width, 34),
                            indices(positions),
                            indices(slotOf),
                            indices(block),
                            std::move(pool),
                            emptyRows(count, out)};
            call.dims = {count, 0, slots, columns, pages};
            call.results = {{5, q, out}, {4, 1, 1, half}};
            return call;
          }};
}

std::vector<ConformanceCase> kiln::test::attentionCases() {
  std::vector<ConformanceCase> cases;
  for (const char *element : {"f32", "f16"})
    for (AttentionShape shape : {AttentionShape{8, 4, 8, 8, element},
                                 {4, 4, 16, 0, element},
                                 {9, 3, 64, 64, element},
                                 {16, 2, 32, 16, element},
                                 {12, 1, 20, 20, element}})
      cases.push_back(attention(shape));
  return cases;
}
