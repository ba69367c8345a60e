// Integer dot products of x86-64.
#ifndef KILN_TARGETS_X86_64_INTEGERDOTS_H
#define KILN_TARGETS_X86_64_INTEGERDOTS_H

#include "codegen/ByteDot.h"
#include "codegen/DotStrategy.h"

namespace kiln {

/// vpdpbusd: four u8 x s8 products added to an i32 lane. AVX512-VNNI or AVX-VNNI.
extern const DotStrategy vpdpbusdDot;
/// The same through tiles of bytes where there are several rows: AMX-INT8.
extern const DotStrategy amxInt8Dot;
/// vpmaddubsw, vpmaddwd: the same sum in three instructions (six for 8-bit codes). AVX2 or
/// AVX-512BW.
extern const DotStrategy pmaddubswDot;

/// vpshufb: Target::lookUpBytes in registers of 256 (AVX2) and of 512 bits (AVX-512BW).
mlir::Value lookUpBytes256(mlir::ImplicitLocOpBuilder &b, mlir::Value codes,
                           llvm::ArrayRef<uint8_t> table);
mlir::Value lookUpBytes512(mlir::ImplicitLocOpBuilder &b, mlir::Value codes,
                           llvm::ArrayRef<uint8_t> table);

/// Products of codes: vpdpbusd, or vpmaddwd of widened bytes.
extern const ByteDot vnniBytes512, vnniBytes256, maddBytes512, maddBytes256;

} // namespace kiln

#endif
