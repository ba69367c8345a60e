// The reference attention against a direct computation on unpaged keys and values: sequences of
// different lengths in one batch, prefill then decode, pages out of order, all cache formats.
#include "KernelHarness.h"
#include "codegen/reference/Reference.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::test;

namespace {

constexpr int64_t heads = 6, kvHeads = 3, dim = 10, pageSize = 8, pages = 7, slots = 2, columns = 3;
constexpr int64_t width = (heads + 2 * kvHeads) * dim; // q, k, v side by side

struct AttentionCase : testing::TestWithParam<const char *> {};
INSTANTIATE_TEST_SUITE_P(Caches, AttentionCase, testing::Values("f32", "f16", "i8"));

/// Keys and values of one sequence as the cache holds them.
struct Sequence {
  std::vector<std::vector<float>> keys, values;
};

} // namespace

TEST_P(AttentionCase, AttendsToItsOwnSequence) {
  bool halves = std::string(GetParam()) == "f16", codes = std::string(GetParam()) == "i8";
  auto type = [](int64_t size) {
    return "tensor<?x" + std::to_string(size) + "xf32, #graph.dims<@n>>";
  };
  std::string index = "tensor<?xi32, #graph.dims<@n>>";
  std::string table = "tensor<?x?xi32, #graph.dims<@s, @b>>";
  std::string cache =
      "!graph.cache<layers = 1, kv_heads = 3, head_dim = 10, page_size = 8, pages = @p, " +
      std::string(GetParam()) + ">";
  std::string rope = " {head_dim = 10, rotary_dim = 10, theta = 1.0e4} : ";
  std::string body =
      "^bb0(%x: " + type(width) + ", %pos: " + index + ", %slots: " + index + ", %table: " + table +
      ", %cache: " + cache + "):\n" + "%q = graph.slice %x[0, 60] : " + type(width) + " -> " +
      type(60) + "\n%k = graph.slice %x[60, 30] : " + type(width) + " -> " + type(30) +
      "\n%v = graph.slice %x[90, 30] : " + type(width) + " -> " + type(30) +
      "\n%qr = graph.rope %q, %pos" + rope + type(60) + ", " + index +
      "\n%kr = graph.rope %k, %pos" + rope + type(30) + ", " + index +
      "\n%a = graph.attention %qr, %kr, %v at %pos, %slots, %table in %cache {layer = 0, heads = "
      "6, "
      "kv_heads = 3, head_dim = 10, scale = 0.3} : " +
      type(60) + ", " + type(30) + ", " + type(30) + ", " + index + ", " + index + ", " + table +
      ", " + cache + " -> " + type(60) + "\ngraph.yield %a : " + type(60);
  Kernel kernel(referenceEmitter(), body, {128, 1, 1, 0, 0, 64}, {"n", "m", "s", "b", "p"});
  ASSERT_TRUE(kernel.compiled()) << kernel.refusal();

  Buffer<int32_t> blockTable(slots * columns);
  int32_t tableValues[] = {4, 1, 6, 0, 5, 2};
  std::memcpy(blockTable.data(), tableValues, sizeof tableValues);
  Buffer<uint8_t> pool(pages * 2 * kvHeads * pageSize * (codes ? dim + 4 : dim * (halves ? 2 : 4)));
  Sequence sequences[slots];
  unsigned seed = 20;

  // Each batch: how many tokens every sequence gets, interleaved.
  for (auto [first, second] :
       {std::pair(5, 1), std::pair(9, 0), std::pair(1, 1), std::pair(3, 12)}) {
    std::vector<int> slotOf;
    for (int i = 0; i < std::max(first, second); ++i) {
      if (i < second)
        slotOf.push_back(1);
      if (i < first)
        slotOf.push_back(0);
    }
    int64_t rows = int64_t(slotOf.size());
    Buffer<float> x(rows * 128), out(rows * 64);
    auto random = randomFloats(x.size(), ++seed);
    std::memcpy(x.data(), random.data(), random.size() * 4);
    Buffer<int32_t> positions(rows), slotIds(rows);
    auto rotate = [&](const float *in, int64_t position) {
      std::vector<float> head(dim);
      for (int64_t i = 0; i < dim; ++i) {
        int64_t pair = i % (dim / 2);
        double angle = double(position) * std::pow(1e4, -2.0 * double(pair) / dim);
        double a = in[pair], b = in[pair + dim / 2];
        head[i] = float(i < dim / 2 ? a * std::cos(angle) - b * std::sin(angle)
                                    : b * std::cos(angle) + a * std::sin(angle));
      }
      return head;
    };
    // A head's elements as the cache holds them.
    auto stored = [&](std::vector<float> head) {
      float peak = 0;
      for (float value : head)
        peak = std::max(peak, std::abs(value));
      for (float &value : head) {
        if (halves)
          value = halfValue(halfBits(value));
        if (codes)
          value = std::nearbyint(value * (127 / peak)) * (peak / 127);
      }
      return head;
    };
    for (int64_t row = 0; row < rows; ++row) {
      Sequence &sequence = sequences[slotOf[row]];
      positions[row] = int32_t(sequence.keys.size());
      slotIds[row] = slotOf[row];
      std::vector<float> keys, values;
      for (int64_t head = 0; head < kvHeads; ++head) {
        const float *value = x.data() + row * 128 + 90 + head * dim;
        for (float element : stored(rotate(x.data() + row * 128 + 60 + head * dim, positions[row])))
          keys.push_back(element);
        for (float element : stored({value, value + dim}))
          values.push_back(element);
      }
      sequence.keys.push_back(keys);
      sequence.values.push_back(values);
    }
    kernel.run(
        {x.data(), positions.data(), slotIds.data(), blockTable.data(), pool.data(), out.data()},
        {rows, 0, slots, columns, pages});
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t head = 0; head < heads; ++head) {
        const Sequence &sequence = sequences[slotOf[row]];
        int64_t offset = head / (heads / kvHeads) * dim;
        std::vector<float> query = rotate(x.data() + row * 128 + head * dim, positions[row]);
        std::vector<double> weights;
        double sum = 0;
        for (int64_t p = 0; p <= positions[row]; ++p) {
          double dot = 0;
          for (int64_t i = 0; i < dim; ++i)
            dot += double(query[i]) * sequence.keys[p][offset + i];
          weights.push_back(std::exp(0.3 * dot));
          sum += weights.back();
        }
        for (int64_t i = 0; i < dim; ++i) {
          double expected = 0;
          for (int64_t p = 0; p <= positions[row]; ++p)
            expected += weights[p] / sum * sequence.values[p][offset + i];
          // A rounded-up key may be the neighbouring half; 1e-3 of one key is 3e-4 of a weight. For
          // a code it is 8e-3 of the largest.
          EXPECT_NEAR(out[row * 64 + head * dim + i], expected,
                      codes    ? 2e-3
                      : halves ? 1e-4
                               : 2e-6)
              << "row " << row << " head " << head;
        }
      }
  }
}
