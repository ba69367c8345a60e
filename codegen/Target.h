// A target as data: what code generation may know of a machine. The table of targets is in
// targets/; nothing here or in codegen/ asks which target it is.
#ifndef KILN_CODEGEN_TARGET_H
#define KILN_CODEGEN_TARGET_H

#include "codegen/ByteDot.h"
#include "codegen/KernelEmitter.h"
#include "codegen/PanelVectors.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <string>
#include <vector>

namespace kiln {

struct DotStrategy;
struct MatrixUnit;

struct Target {
  std::string name;                       // as --target spells it: "x86-64-v4"
  std::string triple;                     // of LLVM: "x86_64-unknown-linux-gnu"
  std::string cpu;                        // of LLVM, for scheduling and base features: "x86-64-v4"
  std::string tuneFor;                    // of LLVM, for kernels whose sums fill the registers
  std::vector<std::string> extraFeatures; // of LLVM beyond the cpu's: "avx512vnni"
  std::vector<std::string> requiredFeatures; // what the loader must find, artifact spelling
  uint16_t elfMachine;                       // e_machine of its images
  unsigned vectorBits;                       // widest vector the code should use
  int64_t vectorRegisters;                   // of that width
  llvm::SmallVector<int64_t> rowTiles;       // rows a contraction computes at once, descending to 1
  int64_t rowBlock; // rows whose activations are prepared in scratch before panels pass
  /// Contractions of few rows (up to 4, or those that the matrix unit leaves) take activations in
  /// the finer of two forms (DotStrategy::fine).
  bool fineActivations = false;
  llvm::ArrayRef<const KernelEmitter *> kernels; // best first, the reference last
  llvm::ArrayRef<const DotStrategy *> dots;      // ways to multiply, best first
  const MatrixUnit *matrix = nullptr;            // for many rows; none on most
  int64_t l2Bytes = 1 << 20;                     // of a core's own second-level cache
  const ByteDot *byteDot = &plainByteDot;        // products of codes
  LookUpBytes lookUpBytes = nullptr;             // an instruction for tables of 16 bytes; on most
};

} // namespace kiln

#endif
