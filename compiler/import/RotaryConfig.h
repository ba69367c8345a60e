// Reads a model's rope scaling.
#ifndef KILN_COMPILER_IMPORT_ROTARYCONFIG_H
#define KILN_COMPILER_IMPORT_ROTARYCONFIG_H

#include "compiler/import/DecoderConfig.h"

namespace kiln {

/// Sets the frequencies of `rotary`, whose theta and rotaryDim are known, from a `rope_scaling` or
/// `rope_parameters` object.
void readRotaryScaling(const ConfigObject &scaling, RotaryConfig &rotary);

} // namespace kiln

#endif
