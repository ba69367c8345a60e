// Reads a model's rope scaling.
#ifndef KILN_COMPILER_IMPORT_ROTARYCONFIG_H
#define KILN_COMPILER_IMPORT_ROTARYCONFIG_H

#include "compiler/import/DecoderConfig.h"

namespace kiln {

/// Positions that some scalings depend on.
struct RotaryContext {
  int64_t used, model;             // what is compiled for; what the model declares
  std::optional<int64_t> original; // before scaling, where it is said outside the scaling
};

/// Sets the frequencies and the magnitude of `rotary`, whose theta and rotaryDim are known, from a
/// `rope_scaling` or `rope_parameters` object.
void readRotaryScaling(const ConfigObject &scaling, const RotaryContext &context,
                       RotaryConfig &rotary);

} // namespace kiln

#endif
