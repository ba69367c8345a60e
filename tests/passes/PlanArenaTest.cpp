// The memory planner on plain numbers: plans of random buffers never overlap, whatever the dims,
// and plans of decoder layers stay within a tenth of the lower bound.
#include "passes/PlanArena.h"
#include "gtest/gtest.h"
#include <random>

using namespace kiln;

/// Fails where two buffers that are live together overlap, or one leaves the arena, at a point.
static void expectSound(llvm::ArrayRef<ArenaBuffer> buffers, const ArenaPlan &plan,
                        llvm::ArrayRef<int64_t> dims) {
  int64_t arena = evaluateMax(plan.arenaBytes, dims);
  EXPECT_GE(arena, evaluateMax(plan.lowerBounds, dims));
  for (size_t i = 0; i < buffers.size(); ++i) {
    int64_t start = evaluate(plan.offsets[i], dims), end = start + evaluate(buffers[i].bytes, dims);
    EXPECT_EQ(start % 64, 0);
    EXPECT_LE(end, arena);
    for (size_t j = 0; j < i; ++j) {
      if (buffers[i].last < buffers[j].first || buffers[j].last < buffers[i].first)
        continue;
      int64_t other = evaluate(plan.offsets[j], dims);
      EXPECT_TRUE(end <= other || other + evaluate(buffers[j].bytes, dims) <= start)
          << "buffers " << i << " and " << j << " at arena " << arena;
    }
  }
}

TEST(PlanArena, NothingToPlaceNeedsNothing) {
  ArenaPlan plan = llvm::cantFail(planArena({}, {{1, 8}}));
  EXPECT_EQ(evaluateMax(plan.arenaBytes, {8}), 0);
}

TEST(PlanArena, BuffersOfDifferentTimesShareTheirPlace) {
  std::vector<ArenaBuffer> buffers = {{{0, 64}, 0, 1}, {{0, 64}, 2, 3}};
  ArenaPlan plan = llvm::cantFail(planArena(buffers, {{1, 8}}));
  EXPECT_EQ(evaluateMax(plan.arenaBytes, {8}), 512);
}

TEST(PlanArena, SizesOfDifferentDimsNeverOverlap) {
  // n * 64 may be above or below m * 128: neither may be put into the other's gap.
  std::vector<ArenaBuffer> buffers = {{{0, 64, 0}, 0, 1}, {{0, 0, 128}, 1, 2}, {{0, 64, 64}, 0, 2}};
  ArenaPlan plan = llvm::cantFail(planArena(buffers, {{1, 512}, {0, 512}}));
  for (int64_t n : {1, 2, 511, 512})
    for (int64_t m : {0, 1, 512})
      expectSound(buffers, plan, {n, m});
}

TEST(PlanArena, SizesBeyondReasonAreRefused) {
  std::vector<ArenaBuffer> buffers = {{{0, int64_t(1) << 61}, 0, 1}};
  llvm::Expected<ArenaPlan> plan = planArena(buffers, {{1, 512}});
  ASSERT_FALSE(bool(plan));
  EXPECT_NE(llvm::toString(plan.takeError()).find("2^62"), std::string::npos);
}

TEST(PlanArena, RandomPlansAreSound) {
  std::mt19937 random(7);
  auto upTo = [&](int64_t limit) { return int64_t(random() % (limit + 1)); };
  for (int round = 0; round < 100; ++round) {
    std::vector<DimRange> dims = {{1, 1 + upTo(600)}, {upTo(1), 1 + upTo(600)}, {0, upTo(3)}};
    std::vector<ArenaBuffer> buffers;
    for (int i = 0, count = 1 + upTo(24); i < count; ++i) {
      int64_t first = upTo(20);
      buffers.push_back({{upTo(3) ? 0 : upTo(5000), upTo(40) * 60, upTo(2) ? 0 : upTo(2000),
                          upTo(3) ? 0 : upTo(999)},
                         first,
                         first + upTo(6)});
    }
    ArenaPlan plan = llvm::cantFail(planArena(buffers, dims));
    for (int sample = 0; sample < 20; ++sample) {
      std::vector<int64_t> point;
      for (DimRange dim : dims)
        point.push_back(sample == 0   ? dim.min
                        : sample == 1 ? dim.max
                                      : dim.min + upTo(dim.max - dim.min));
      expectSound(buffers, plan, point);
    }
  }
}

/// The buffers of a decoder: five launches a layer, each behind a barrier.
static std::vector<ArenaBuffer> makeDecoder(int layers, int64_t width, int64_t qkv,
                                            int64_t attended, int64_t inner) {
  std::vector<ArenaBuffer> buffers;
  auto add = [&](int64_t columns, int64_t first, int64_t last) {
    buffers.push_back({{0, (columns + 15) / 16 * 64, 0}, first, last});
  };
  add(width, 0, 4); // the embedding, read by the first layer's residual
  for (int64_t layer = 0, start = 1; layer < layers; ++layer, start += 5) {
    add(qkv, start, start + 1);
    add(attended, start + 1, start + 2);
    add(width, start + 2, start + 4);
    add(inner, start + 3, start + 4);
    add(width, start + 4, layer + 1 == layers ? start + 5 : start + 7);
  }
  return buffers;
}

TEST(PlanArena, DecodersStayWithinATenthOfTheBound) {
  std::mt19937 random(11);
  auto check = [&](int layers, int64_t width, int64_t qkv, int64_t attended, int64_t inner) {
    std::vector<ArenaBuffer> buffers = makeDecoder(layers, width, qkv, attended, inner);
    ArenaPlan plan = llvm::cantFail(planArena(buffers, {{1, 512}, {0, 512}}));
    for (int64_t n : {1, 512})
      for (int64_t m : {0, 1, 512}) {
        expectSound(buffers, plan, {n, m});
        EXPECT_LE(evaluateMax(plan.arenaBytes, {n, m}),
                  1.10 * evaluateMax(plan.lowerBounds, {n, m}))
            << layers << " layers of " << width << " " << qkv << " " << attended << " " << inner;
      }
  };
  check(5, 64, 128, 64, 172);         // stories260K
  check(30, 576, 960, 576, 1536);     // SmolLM-135M
  check(22, 2048, 2560, 2048, 5632);  // TinyLlama-1.1B
  check(12, 768, 2304, 768, 3072);    // GPT-2
  check(32, 4096, 6144, 4096, 14336); // Llama-3-8B
  check(1, 16, 48, 16, 64);
  for (int i = 0; i < 40; ++i) {
    int64_t head = 16 * (1 + random() % 8), kvHeads = 1 + random() % 4,
            heads = kvHeads * (1 + random() % 4);
    int64_t width = heads * head;
    check(1 + random() % 12, width, width + 2 * kvHeads * head, width, width * (2 + random() % 3));
  }
}
