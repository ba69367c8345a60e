// The aarch64 targets: base ARMv8-A and with dot products, as data; and their integer dot product.
#include "codegen/Attention.h"
#include "codegen/Contraction.h"
#include "codegen/EmitSupport.h"
#include "codegen/Target.h"
#include "codegen/array/ArrayKernel.h"
#include "codegen/array/PackedMatmul.h"
#include "codegen/attention/DenseAttention.h"
#include "codegen/conv/Convolution.h"
#include "codegen/reference/Reference.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/BinaryFormat/ELF.h"

using namespace mlir;
using namespace kiln::emit;

namespace kiln {

// ---- sdot -----------------------------------------------------------------------------------

/// Lane i adds the products of four s8 codes and the four activations.
static Value dotSdot(ImplicitLocOpBuilder &b, Value sum, Value codes, Value activations) {
  constexpr int64_t width = 4;
  VectorType bytes = vectorOf(width * 4, b.getI8Type());
  Value splat = vector::BitCastOp::create(b, bytes, broadcast(b, activations, width));
  Value split = vector::BitCastOp::create(b, bytes, codes);
  return LLVM::CallIntrinsicOp::create(b, sum.getType(),
                                       b.getStringAttr("llvm.aarch64.neon.sdot.v4i32.v16i8"),
                                       ValueRange{sum, split, splat})
      .getResult(0);
}

static std::optional<std::string> refuseSdot(const Format &format, const Target &target) {
  if (!llvm::is_contained(target.requiredFeatures, "dotprod"))
    return "the target has no sdot";
  if (format.kind == FormatKind::Integer)
    return std::nullopt;
  return ("weights are " + format.name + ", not integers").str();
}

template <RowKind kind>
static SmallVector<Value> emitSdot(ImplicitLocOpBuilder &b, const DotRequest &request) {
  return emitGroupedIntegerDot(b, request, kind, false, dotSdot);
}

static const DotStrategy sdotFine = {"sdot-fine", RowKind::Int15, false, refuseSdot,
                                     emitSdot<RowKind::Int15>};
extern const DotStrategy sdotDot;
const DotStrategy sdotDot = {"sdot",
                             RowKind::Int8,
                             false,
                             refuseSdot,
                             emitSdot<RowKind::Int8>,
                             /*registersPerSum=*/4,
                             /*scratchBytes=*/0,
                             &sdotFine};

static Value byteSdot(ImplicitLocOpBuilder &b, Value sum, Value x, Value w) {
  VectorType bytes = vectorOf(16, b.getI8Type());
  Value left = vector::BitCastOp::create(b, bytes, w);
  Value right = vector::BitCastOp::create(b, bytes, x);
  return LLVM::CallIntrinsicOp::create(b, sum.getType(),
                                       b.getStringAttr("llvm.aarch64.neon.sdot.v4i32.v16i8"),
                                       ValueRange{sum, left, right})
      .getResult(0);
}

static const ByteDot sdotBytes = {"sdot", /*isUnsigned=*/false, /*width=*/4, byteSdot};

// ---- tbl ------------------------------------------------------------------------------------

static Value lookUpBytes(ImplicitLocOpBuilder &b, Value codes, ArrayRef<uint8_t> table) {
  constexpr int64_t width = 4;
  VectorType bytes = vectorOf(16, b.getI8Type());
  SmallVector<int8_t> entries(table.begin(), table.end());
  Value constant =
      arith::ConstantOp::create(b, DenseElementsAttr::get(bytes, ArrayRef<int8_t>(entries)));
  return inPieces(b, codes, width, [&](Value piece) -> Value {
    Value found = LLVM::CallIntrinsicOp::create(
                      b, bytes, b.getStringAttr("llvm.aarch64.neon.tbl1.v16i8"),
                      ValueRange{constant, vector::BitCastOp::create(b, bytes, piece)})
                      .getResult(0);
    return vector::BitCastOp::create(b, vectorOf(width, b.getI32Type()), found);
  });
}

// ---- Targets --------------------------------------------------------------------------------

static constexpr KernelEmitter contractionSdot = contractionEmitter<sdotDot>("contraction-sdot");
static constexpr KernelEmitter contractionFma = contractionEmitter<fmaDot>("contraction-fma");

static llvm::ArrayRef<const KernelEmitter *> kernelList() {
  // Best first, the reference last.
  static const KernelEmitter *const kernels[] = {&attentionEmitter(),
                                                 &contractionSdot,
                                                 &contractionFma,
                                                 &expertsContractionEmitter(),
                                                 &depthwiseConvolutionEmitter(),
                                                 &directConvolutionEmitter(),
                                                 &denseAttentionEmitter(),
                                                 &packedMatmulEmitter(),
                                                 &loopsEmitter(),
                                                 &arrayEmitter(),
                                                 &referenceEmitter()};
  return kernels;
}

static const DotStrategy *const dots[] = {&sdotDot, &fmaDot};

static Target makeTarget(std::string name, std::vector<std::string> features,
                         std::vector<std::string> required) {
  Target target;
  target.name = std::move(name);
  target.triple = "aarch64-unknown-linux-gnu";
  target.cpu = "generic";
  target.extraFeatures = std::move(features);
  target.requiredFeatures = std::move(required);
  target.elfMachine = llvm::ELF::EM_AARCH64;
  target.vectorBits = 128;
  target.vectorRegisters = 32;
  target.rowTiles = {4, 2, 1};
  target.rowBlock = 64;
  target.kernels = kernelList();
  target.dots = dots;
  target.lookUpBytes = lookUpBytes;
  return target;
}

const Target &aarch64Base() {
  static const Target target = makeTarget("aarch64", {"neon"}, {"neon"});
  return target;
}

const Target &aarch64Dotprod() {
  static const Target target = [] {
    Target t = makeTarget("aarch64-dotprod", {"neon", "dotprod"}, {"neon", "dotprod"});
    t.byteDot = &sdotBytes;
    return t;
  }();
  return target;
}

} // namespace kiln
