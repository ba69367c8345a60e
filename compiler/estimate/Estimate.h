// The arithmetic of transformer inference: how many bytes and operations a token takes, and how
// fast a device could be at best. Nothing is run.
#ifndef KILN_COMPILER_ESTIMATE_ESTIMATE_H
#define KILN_COMPILER_ESTIMATE_ESTIMATE_H

#include "compiler/estimate/ModelShape.h"
#include "llvm/ADT/ArrayRef.h"

namespace kiln {

/// A device as targets/DeviceProfiles.def describes it.
struct DeviceProfile {
  const char *name;
  double memoryBytes, bandwidth;      // bytes, bytes per second
  double f32Operations, i8Operations; // per second; a multiply-add is two
  const char *source;
};
llvm::ArrayRef<DeviceProfile> getDeviceProfiles();

/// How matrices are stored. Bits per weight, scales included; 0: as the files have them.
struct WeightFormat {
  const char *name;
  double bits;
  bool integers; // multiplied as 8-bit integers
};
/// "stored", "f32", "f16", "q8", "q4"; null where there is no such format.
const WeightFormat *findWeightFormat(llvm::StringRef name);

struct EstimateOptions {
  const WeightFormat *format;
  int64_t context; // tokens in the cache when the token is decoded
  int64_t prompt;  // tokens of the prompt that is prefilled
  double cacheElementBytes;
};

struct Estimate {
  uint64_t parameters, activeParameters; // active: that a token meets
  double weightBytes;                    // in memory
  double weightBytesPerToken;            // read to decode one token
  double cacheBytesPerToken;             // added to the cache by one token
  double cacheBytes;                     // at `context`
  double cacheBytesRead;                 // to decode one token at `context`
  double activationBytes;                // live at once in a prefill of `prompt` tokens
  double decodeOperations;               // to decode one token at `context`
  double prefillOperations;              // of the whole prompt
  double intensity;                      // operations per byte read when decoding
};
Estimate estimateModel(const ModelShape &shape, const EstimateOptions &options);

/// The roofline's bounds for one device.
struct DeviceBound {
  bool fits;              // weights, cache and activations in memory
  double decodePerSecond; // tokens
  bool decodeIsMemoryBound;
  double prefillPerSecond; // tokens
  bool prefillIsMemoryBound;
};
DeviceBound boundOf(const Estimate &estimate, const EstimateOptions &options,
                    const DeviceProfile &device);

} // namespace kiln

#endif
