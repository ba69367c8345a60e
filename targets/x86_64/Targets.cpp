// The x86-64 targets: AVX2 (v3) and AVX-512 (v4), each with and without VNNI, as data; and Sapphire
// Rapids for AMX.
#include "codegen/Attention.h"
#include "codegen/Contraction.h"
#include "codegen/Target.h"
#include "codegen/array/ArrayKernel.h"
#include "codegen/array/PackedMatmul.h"
#include "codegen/attention/DenseAttention.h"
#include "codegen/conv/Convolution.h"
#include "codegen/reference/Reference.h"
#include "targets/x86_64/AmxTiles.h"
#include "targets/x86_64/IntegerDots.h"
#include "llvm/BinaryFormat/ELF.h"

namespace kiln {

static constexpr KernelEmitter contractionVnni =
    contractionEmitter<vpdpbusdDot>("contraction-vpdpbusd");
static constexpr KernelEmitter contractionMadd =
    contractionEmitter<pmaddubswDot>("contraction-pmaddubsw");
static constexpr KernelEmitter contractionFma = contractionEmitter<fmaDot>("contraction-fma");

static llvm::ArrayRef<const KernelEmitter *> kernelList() {
  // Best first, the reference last.
  static const KernelEmitter *const kernels[] = {&matrixAttentionEmitter(),
                                                 &attentionEmitter(),
                                                 &matrixContractionEmitter(),
                                                 &contractionVnni,
                                                 &contractionMadd,
                                                 &contractionFma,
                                                 &expertsContractionEmitter(),
                                                 &depthwiseCodesEmitter(),
                                                 &depthwiseConvolutionEmitter(),
                                                 &matrixConvolutionEmitter(),
                                                 &directConvolutionEmitter(),
                                                 &denseAttentionEmitter(),
                                                 &packedMatmulEmitter(),
                                                 &loopsEmitter(),
                                                 &arrayEmitter(),
                                                 &referenceEmitter()};
  return kernels;
}

static const DotStrategy *const dots[] = {&amxInt8Dot, &vpdpbusdDot, &pmaddubswDot, &fmaDot};

static Target makeTarget(std::string name, std::string cpu, unsigned vectorBits,
                         llvm::ArrayRef<int64_t> rowTiles, std::vector<std::string> required) {
  Target target;
  target.name = std::move(name);
  target.triple = "x86_64-unknown-linux-gnu";
  target.cpu = std::move(cpu);
  target.elfMachine = llvm::ELF::EM_X86_64;
  target.vectorBits = vectorBits;
  target.vectorRegisters = vectorBits >= 512 ? 32 : 16;
  target.rowTiles.assign(rowTiles.begin(), rowTiles.end());
  target.rowBlock = 64;
  target.requiredFeatures = std::move(required);
  target.kernels = kernelList();
  target.dots = dots;
  if (vectorBits >= 512) // the generic model lets sums go to memory
    target.tuneFor = "sapphirerapids";
  bool hasVnni = llvm::is_contained(target.requiredFeatures, "avx512vnni") ||
                 llvm::is_contained(target.requiredFeatures, "avxvnni");
  if (vectorBits >= 512)
    target.byteDot = hasVnni ? &vnniBytes512 : &maddBytes512;
  else
    target.byteDot = hasVnni ? &vnniBytes256 : &maddBytes256;
  target.lookUpBytes = vectorBits >= 512 ? lookUpBytes512 : lookUpBytes256;
  return target;
}

static const std::vector<std::string> v3Features = {"avx2", "bmi2", "f16c", "fma"};
static const std::vector<std::string> v4Features = {
    "avx2", "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl", "bmi2", "f16c", "fma"};

static std::vector<std::string> with(std::vector<std::string> features, const char *extra) {
  features.push_back(extra);
  return features;
}

const Target &x86_64V3() {
  static const Target target = makeTarget("x86-64-v3", "x86-64-v3", 256, {4, 2, 1}, v3Features);
  return target;
}

const Target &x86_64V3Vnni() {
  static const Target target = [] {
    Target t =
        makeTarget("x86-64-v3-vnni", "x86-64-v3", 256, {4, 2, 1}, with(v3Features, "avxvnni"));
    t.extraFeatures = {"avxvnni"};
    return t;
  }();
  return target;
}

const Target &x86_64V4() {
  static const Target target = makeTarget("x86-64-v4", "x86-64-v4", 512, {8, 4, 2, 1}, v4Features);
  return target;
}

const Target &x86_64V4Vnni() {
  static const Target target = [] {
    Target t = makeTarget("x86-64-v4-vnni", "x86-64-v4", 512, {8, 4, 2, 1},
                          with(v4Features, "avx512vnni"));
    t.extraFeatures = {"avx512vnni"};
    return t;
  }();
  return target;
}

const Target &sapphireRapids() {
  static const Target target = [] {
    std::vector<std::string> required = v4Features;
    required.insert(required.end(),
                    {"amx-bf16", "amx-int8", "amx-tile", "avx512bf16", "avx512vnni"});
    Target t = makeTarget("sapphirerapids", "x86-64-v4", 512, {8, 4, 2, 1}, required);
    t.extraFeatures = {"avx512vnni", "avx512bf16", "amx-tile", "amx-bf16", "amx-int8"};
    t.matrix = &amxBf16;
    t.l2Bytes = 2 << 20;
    return t;
  }();
  return target;
}

} // namespace kiln
