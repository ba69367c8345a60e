// The formulas, with their sources:
//
// - Operations of a token: two for each parameter of a matrix that it meets (a multiply and an
// add),
//   and 4 x layers x heads x head size for each position attended to (scores and their use).
//   Kaplan et al., "Scaling Laws for Neural Language Models" (2020), table 1; Chen, "Transformer
//   Inference Arithmetic" (2022).
// - Bytes of a decoded token: every matrix that it meets, once, and the keys and values of every
//   position attended to. Pope et al., "Efficiently Scaling Transformer Inference" (2022),
//   section 2.
// - Attainable speed: the smaller of peak operations, and bandwidth times operations per byte.
//   Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model" (2009).
#include "compiler/estimate/Estimate.h"
#include <algorithm>

using namespace kiln;

static constexpr double kGiga = 1e9, kGibi = 1024.0 * 1024.0 * 1024.0;

llvm::ArrayRef<DeviceProfile> kiln::getDeviceProfiles() {
  static const DeviceProfile profiles[] = {
#define KILN_DEVICE(name, memory, bandwidth, cores, gigahertz, f32, i8, source)                    \
  {name,                                                                                           \
   memory * kGibi,                                                                                 \
   bandwidth * kGiga,                                                                              \
   cores * gigahertz * kGiga * f32,                                                                \
   cores * gigahertz * kGiga * i8,                                                                 \
   source},
#include "targets/DeviceProfiles.def"
#undef KILN_DEVICE
  };
  return profiles;
}

const WeightFormat *kiln::findWeightFormat(llvm::StringRef name) {
  static const WeightFormat formats[] = {{"stored", 0, true},
                                         {"f32", 32, false},
                                         {"f16", 16, false},
                                         {"q8", 8.5, true},
                                         {"q4", 4.5, true}};
  for (const WeightFormat &format : formats)
    if (format.name == name)
      return &format;
  return nullptr;
}

/// Positions that all layers together attend to, for a token with `context` before it.
static double attendedPositions(const ModelShape &shape, double context) {
  double windowed = double(shape.windowedLayers), full = double(shape.layers) - windowed;
  return full * context + windowed * std::min(context, double(shape.window));
}

Estimate kiln::estimateModel(const ModelShape &shape, const EstimateOptions &options) {
  Estimate result = {};
  result.parameters = shape.getParameters();
  double expertShare = shape.experts > 0 ? double(shape.expertsUsed) / double(shape.experts) : 1.0;
  double head = double(shape.headParameters ? shape.headParameters : shape.embeddingParameters);
  double multiplied =
      double(shape.matrixParameters) + expertShare * double(shape.expertParameters) + head;
  result.activeParameters = uint64_t(multiplied) + shape.otherParameters;

  double matrices = double(result.parameters - shape.otherParameters);
  double bytesPerWeight = options.format->bits / 8;
  if (options.format->bits == 0)
    bytesPerWeight = result.parameters ? double(shape.storedBytes) / double(result.parameters) : 0;
  double otherBytes =
      double(shape.otherParameters) * (options.format->bits == 0 ? bytesPerWeight : 4);
  result.weightBytes = matrices * bytesPerWeight + otherBytes;
  result.weightBytesPerToken = multiplied * bytesPerWeight + otherBytes;

  double positionBytes =
      2.0 * double(shape.kvHeads * shape.headDim) * options.cacheElementBytes; // of one layer
  result.cacheBytesPerToken = positionBytes * double(shape.layers);
  result.cacheBytes = result.cacheBytesPerToken * double(options.context);
  result.cacheBytesRead = positionBytes * attendedPositions(shape, double(options.context));

  double attention = 4.0 * double(shape.heads * shape.headDim);
  result.decodeOperations =
      2.0 * multiplied + attention * attendedPositions(shape, double(options.context));
  // The token at position i attends to i + 1 positions: half of the prompt on average, and the head
  // is needed for the last token only.
  double prompt = double(options.prompt);
  result.prefillOperations = 2.0 * (multiplied - head) * prompt + 2.0 * head +
                             attention * prompt * attendedPositions(shape, (prompt + 1) / 2);
  // Residual, normalized input, and the widest pair of what stands between: in f32.
  double width =
      double(std::max((shape.heads + 2 * shape.kvHeads) * shape.headDim, 2 * shape.intermediate));
  result.activationBytes =
      4.0 * (prompt * (2.0 * double(shape.hidden) + width) + double(shape.vocabulary));
  result.intensity = result.decodeOperations / (result.weightBytesPerToken + result.cacheBytesRead);
  return result;
}

DeviceBound kiln::boundOf(const Estimate &estimate, const EstimateOptions &options,
                          const DeviceProfile &device) {
  DeviceBound bound = {};
  bound.fits =
      estimate.weightBytes + estimate.cacheBytes + estimate.activationBytes <= device.memoryBytes;
  double peak = options.format->integers ? device.i8Operations : device.f32Operations;
  double memory = (estimate.weightBytesPerToken + estimate.cacheBytesRead) / device.bandwidth;
  double compute = estimate.decodeOperations / peak;
  bound.decodePerSecond = 1 / std::max(memory, compute);
  bound.decodeIsMemoryBound = memory >= compute;
  double prompt = double(options.prompt);
  double prefillMemory =
      (estimate.weightBytesPerToken + estimate.cacheBytesPerToken * prompt) / device.bandwidth;
  double prefillCompute = estimate.prefillOperations / peak;
  bound.prefillPerSecond = prompt / std::max(prefillMemory, prefillCompute);
  bound.prefillIsMemoryBound = prefillMemory >= prefillCompute;
  return bound;
}
