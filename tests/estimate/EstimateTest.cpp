// The estimate's figures for a small model, against figures computed by hand.

#include "compiler/estimate/Estimate.h"

#include <gtest/gtest.h>

using namespace kiln;

namespace {

/// 2 layers, 4 heads of 8 (2 of keys and values), a head of its own.
ModelShape smallShape() {
  ModelShape shape;
  shape.hidden = 32, shape.layers = 2, shape.heads = 4, shape.kvHeads = 2, shape.headDim = 8;
  shape.intermediate = 64, shape.vocabulary = 100, shape.contextLength = 128;
  shape.matrixParameters = 10000, shape.embeddingParameters = 3200, shape.headParameters = 3200;
  shape.otherParameters = 160, shape.storedBytes = 2 * 16560;
  return shape;
}

EstimateOptions optionsFor(const char *format) {
  EstimateOptions options;
  options.format = findWeightFormat(format);
  options.context = 100;
  options.prompt = 9;
  options.cacheElementBytes = 2;
  return options;
}

TEST(Estimate, CountsBytesAndOperations) {
  Estimate estimate = estimateModel(smallShape(), optionsFor("q4"));
  EXPECT_EQ(estimate.parameters, 16560u);
  EXPECT_EQ(estimate.activeParameters, 13360u); // without the embedding
  EXPECT_DOUBLE_EQ(estimate.weightBytes, 16400 * 4.5 / 8 + 160 * 4);
  EXPECT_DOUBLE_EQ(estimate.weightBytesPerToken, 13200 * 4.5 / 8 + 160 * 4);
  EXPECT_DOUBLE_EQ(estimate.cacheBytesPerToken,
                   2 * 2 * 2 * 8 * 2); // K and V, layers, heads, size, f16
  EXPECT_DOUBLE_EQ(estimate.cacheBytes, 12800);
  EXPECT_DOUBLE_EQ(estimate.decodeOperations, 2 * 13200 + 4 * 2 * 32 * 100);
  // 9 tokens attend to 5 positions on average; the head sees one of them.
  EXPECT_DOUBLE_EQ(estimate.prefillOperations, 2 * 10000 * 9 + 2 * 3200 + 4 * 2 * 32 * 9 * 5);
  EXPECT_DOUBLE_EQ(estimateModel(smallShape(), optionsFor("stored")).weightBytes, 2 * 16560);
}

TEST(Estimate, WindowsAndExpertsSaveWork) {
  ModelShape shape = smallShape();
  shape.window = 10, shape.windowedLayers = 1;
  shape.expertParameters = 8000, shape.experts = 8, shape.expertsUsed = 2;
  Estimate estimate = estimateModel(shape, optionsFor("f32"));
  EXPECT_DOUBLE_EQ(estimate.decodeOperations, 2 * (13200 + 2000) + 4 * 32 * (100 + 10));
  EXPECT_DOUBLE_EQ(estimate.cacheBytesRead, 64 * (100 + 10));
  EXPECT_DOUBLE_EQ(estimate.weightBytesPerToken, (13200 + 2000 + 160) * 4);
}

TEST(Estimate, TheSlowerOfMemoryAndComputeBounds) {
  EstimateOptions options = optionsFor("q8");
  Estimate estimate = estimateModel(smallShape(), options);
  DeviceProfile device = {"test", 1e9, 1e6, 1e12, 1e12, ""};
  DeviceBound bound = boundOf(estimate, options, device);
  EXPECT_TRUE(bound.fits && bound.decodeIsMemoryBound && bound.prefillIsMemoryBound);
  EXPECT_DOUBLE_EQ(bound.decodePerSecond,
                   1e6 / (estimate.weightBytesPerToken + estimate.cacheBytesRead));
  device.i8Operations = 1000;
  bound = boundOf(estimate, options, device);
  EXPECT_FALSE(bound.decodeIsMemoryBound || bound.prefillIsMemoryBound);
  EXPECT_DOUBLE_EQ(bound.prefillPerSecond, 9 / (estimate.prefillOperations / 1000));
  device.memoryBytes = 1000;
  EXPECT_FALSE(boundOf(estimate, options, device).fits);
}

TEST(Estimate, ProfilesAreInOrder) {
  double last = 0;
  for (const DeviceProfile &device : getDeviceProfiles()) {
    EXPECT_GE(device.bandwidth, last) << device.name;
    last = device.bandwidth;
  }
}

} // namespace
