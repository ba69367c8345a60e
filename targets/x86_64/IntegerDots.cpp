// Integer dot products of x86-64: u8 weight codes times s8 activations.
//
// vpmaddubsw adds two neighbouring products into a saturating i16. A 4-bit code cannot saturate it
// (2 * 15 * 127 = 3810). An 8-bit code can, so it is split into its low seven bits and its top bit:
// 2 * 127 * 127 and 2 * 128 * 127 both stay below 2^15.
#include "targets/x86_64/IntegerDots.h"
#include "codegen/EmitSupport.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "targets/x86_64/Intrinsics.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = 16;

static Value asBytes(ImplicitLocOpBuilder &b, Value ints) {
  int64_t count = cast<VectorType>(ints.getType()).getNumElements();
  return vector::BitCastOp::create(b, vectorOf(count * 4, b.getI8Type()), ints);
}

/// Applies `part` to registers of `width` i32 lanes of (sum, codes, activations splat).
static Value byRegister(ImplicitLocOpBuilder &b, int64_t width, Value sum, Value codes,
                        Value activations, llvm::function_ref<Value(Value, Value, Value)> part) {
  Value splat = broadcast(b, activations, width);
  if (width == lanes)
    return part(sum, codes, splat);
  Value result = sum;
  for (int64_t at = 0; at < lanes; at += width) {
    auto slice = [&](Value v) -> Value {
      return vector::ExtractStridedSliceOp::create(b, v, ArrayRef<int64_t>{at},
                                                   ArrayRef<int64_t>{width}, ArrayRef<int64_t>{1});
    };
    result = vector::InsertStridedSliceOp::create(b, part(slice(sum), slice(codes), splat), result,
                                                  ArrayRef<int64_t>{at}, ArrayRef<int64_t>{1});
  }
  return result;
}

static bool has(const Target &target, StringRef feature) {
  return llvm::is_contained(target.requiredFeatures, feature);
}

static std::optional<std::string> refuseFloats(const Format &format) {
  if (format.kind == FormatKind::SymmetricInt && format.group == PreparedRows::kGroup)
    return std::nullopt;
  return ("weights are " + format.name + ", not integers in groups of 32").str();
}

// ---- vpdpbusd -------------------------------------------------------------------------------

template <int64_t width>
static Value dotVnni(ImplicitLocOpBuilder &b, Value sum, Value codes, Value activations) {
  StringRef name = width == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
  return byRegister(b, width, sum, codes, activations, [&](Value s, Value c, Value a) {
    return callIntrinsic(b, name, s.getType(), {s, asBytes(b, c), asBytes(b, a)});
  });
}

static std::optional<std::string> refuseVnni(const Format &format, const Target &target) {
  if (!has(target, "avx512vnni") && !has(target, "avxvnni"))
    return "the target has no vpdpbusd";
  return refuseFloats(format);
}

static SmallVector<Value> emitVnni(ImplicitLocOpBuilder &b, const DotRequest &request) {
  return emitGroupedIntegerDot(b, request, true,
                               request.vectorBits >= 512 ? dotVnni<16> : dotVnni<8>);
}

const DotStrategy kiln::vpdpbusdDot = {"vpdpbusd", RowKind::Int8, true, refuseVnni, emitVnni};

// ---- vpmaddubsw -----------------------------------------------------------------------------

template <int64_t width, bool splitCodes>
static Value dotMadd(ImplicitLocOpBuilder &b, Value sum, Value codes, Value activations) {
  StringRef pairs = width == 16 ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw";
  StringRef quads = width == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  VectorType wide = vectorOf(width * 2, b.getI16Type());
  Value ones = splatConstant(b, wide, 1);
  return byRegister(b, width, sum, codes, activations, [&](Value s, Value c, Value a) {
    auto accumulate = [&](Value part) {
      Value products = callIntrinsic(b, pairs, wide, {asBytes(b, part), asBytes(b, a)});
      s = arith::AddIOp::create(b, s, callIntrinsic(b, quads, s.getType(), {products, ones}));
    };
    auto mask = [&](int64_t byte) -> Value {
      return arith::AndIOp::create(
          b, c, splatConstant(b, cast<VectorType>(c.getType()), double(byte * 0x01010101)));
    };
    if (splitCodes) {
      accumulate(mask(0x7f));
      accumulate(mask(0x80));
    } else {
      accumulate(c);
    }
    return s;
  });
}

static std::optional<std::string> refuseMadd(const Format &format, const Target &) {
  return refuseFloats(format);
}

static SmallVector<Value> emitMadd(ImplicitLocOpBuilder &b, const DotRequest &request) {
  bool wide = request.vectorBits >= 512, split = request.layout.getFormat().bits > 7;
  QuadDot dot = wide ? (split ? dotMadd<16, true> : dotMadd<16, false>)
                     : (split ? dotMadd<8, true> : dotMadd<8, false>);
  return emitGroupedIntegerDot(b, request, true, dot);
}

const DotStrategy kiln::pmaddubswDot = {"pmaddubsw", RowKind::Int8, true, refuseMadd, emitMadd};
