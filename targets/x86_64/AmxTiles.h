// The tiles of Intel AMX.
#ifndef KILN_TARGETS_X86_64_AMXTILES_H
#define KILN_TARGETS_X86_64_AMXTILES_H

#include "codegen/MatrixUnit.h"
#include "codegen/TiledIntegerDot.h"

namespace kiln {

/// tdpbf16ps on eight tiles; needs amx-tile, amx-bf16 and avx512bf16.
extern const MatrixUnit amxBf16;

/// tdpbssd and tdpbsud; needs amx-tile and amx-int8.
extern const ByteTiles amxBytes;

} // namespace kiln

#endif
