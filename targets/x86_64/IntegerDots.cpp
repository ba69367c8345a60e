// Integer dot products of x86-64: u8 weight codes times s8 activations.
//
// vpmaddubsw adds two neighbouring products into a saturating i16. A code below 128 cannot saturate
// it (2 * 127 * 127 = 32258). A larger one can, so it is split into its low seven bits and its top
// bit: 2 * 127 * 127 and 2 * 128 * 127 both stay below 2^15.
#include "targets/x86_64/IntegerDots.h"
#include "codegen/EmitSupport.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "targets/x86_64/AmxTiles.h"
#include "targets/x86_64/Intrinsics.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static Value asBytes(ImplicitLocOpBuilder &b, Value ints) {
  int64_t count = cast<VectorType>(ints.getType()).getNumElements();
  return vector::BitCastOp::create(b, vectorOf(count * 4, b.getI8Type()), ints);
}

static bool has(const Target &target, StringRef feature) {
  return llvm::is_contained(target.requiredFeatures, feature);
}

static std::optional<std::string> refuseFloats(const Format &format) {
  if (format.kind == FormatKind::Integer)
    return std::nullopt;
  return ("weights are " + format.name + ", not integers").str();
}

// ---- vpshufb --------------------------------------------------------------------------------

template <int64_t width> static Value lookUp(ImplicitLocOpBuilder &b, Value codes, Value table) {
  StringRef name = width == 16 ? "llvm.x86.avx512.pshuf.b.512" : "llvm.x86.avx2.pshuf.b";
  VectorType bytes = vectorOf(width * 4, b.getI8Type());
  return vector::BitCastOp::create(b, vectorOf(width, b.getI32Type()),
                                   callIntrinsic(b, name, bytes, {table, asBytes(b, codes)}));
}

/// Looks up `width` lanes at once.
template <int64_t width>
static Value lookUpBytes(ImplicitLocOpBuilder &b, Value codes, ArrayRef<uint8_t> table) {
  SmallVector<int8_t> entries; // each 128 bits of a register look up their own
  for (int64_t i = 0; i < width * 4; ++i)
    entries.push_back(int8_t(table[i % 16]));
  Value constant = arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(width * 4, b.getI8Type()), ArrayRef<int8_t>(entries)));
  return inPieces(b, codes, width, [&](Value piece) { return lookUp<width>(b, piece, constant); });
}

Value kiln::lookUpBytes256(ImplicitLocOpBuilder &b, Value codes, ArrayRef<uint8_t> table) {
  return lookUpBytes<8>(b, codes, table);
}
Value kiln::lookUpBytes512(ImplicitLocOpBuilder &b, Value codes, ArrayRef<uint8_t> table) {
  return lookUpBytes<16>(b, codes, table);
}

// ---- vpdpbusd -------------------------------------------------------------------------------

static Value dotVnni(ImplicitLocOpBuilder &b, Value sum, Value codes, Value activations) {
  int64_t width = cast<VectorType>(sum.getType()).getNumElements();
  StringRef name = width == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
  Value splat = broadcast(b, activations, width);
  return callIntrinsic(b, name, sum.getType(), {sum, asBytes(b, codes), asBytes(b, splat)});
}

static std::optional<std::string> refuseVnni(const Format &format, const Target &target) {
  if (!has(target, "avx512vnni") && !has(target, "avxvnni"))
    return "the target has no vpdpbusd";
  return refuseFloats(format);
}

template <RowKind kind>
static SmallVector<Value> emitVnni(ImplicitLocOpBuilder &b, const DotRequest &request) {
  return emitGroupedIntegerDot(b, request, kind, true, dotVnni);
}

static const DotStrategy vpdpbusdFine = {"vpdpbusd-fine", RowKind::Int15, true, refuseVnni,
                                         emitVnni<RowKind::Int15>};
const DotStrategy kiln::vpdpbusdDot = {"vpdpbusd",
                                       RowKind::Int8,
                                       true,
                                       refuseVnni,
                                       emitVnni<RowKind::Int8>,
                                       /*registersPerSum=*/4,
                                       /*scratchBytes=*/0,
                                       &vpdpbusdFine};

// ---- Tiles of bytes --------------------------------------------------------------------------

/// Fewer rows leave the tile unit idle for longer than they gain.
static constexpr int64_t fewestTiledRows = 4;

static std::optional<std::string> refuseTiles(const Format &format, const Target &target) {
  if (!has(target, "amx-int8"))
    return "the target has no tiles of bytes";
  if (!format.isPlain())
    return ("tiles of bytes take no " + format.name).str();
  return refuseVnni(format, target);
}

template <RowKind kind>
static SmallVector<Value> emitTiles(ImplicitLocOpBuilder &b, const DotRequest &request) {
  if (request.rowCount < fewestTiledRows)
    return emitVnni<kind>(b, request);
  return emitTiledIntegerDot(b, request, kind, amxBytes);
}

static const DotStrategy amxInt8Fine = {"amx-int8-fine",
                                        RowKind::Int15,
                                        true,
                                        refuseTiles,
                                        emitTiles<RowKind::Int15>,
                                        /*registersPerSum=*/2,
                                        /*scratchBytes=*/kTiledIntegerDotScratch};
const DotStrategy kiln::amxInt8Dot = {"amx-int8",
                                      RowKind::Int8,
                                      true,
                                      refuseTiles,
                                      emitTiles<RowKind::Int8>,
                                      /*registersPerSum=*/2,
                                      /*scratchBytes=*/kTiledIntegerDotScratch,
                                      &amxInt8Fine};

// ---- vpmaddubsw -----------------------------------------------------------------------------

template <bool splitCodes>
static Value dotMadd(ImplicitLocOpBuilder &b, Value sum, Value codes, Value activations) {
  int64_t width = cast<VectorType>(sum.getType()).getNumElements();
  StringRef pairs = width == 16 ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw";
  StringRef quads = width == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  VectorType wide = vectorOf(width * 2, b.getI16Type());
  Value ones = splatConstant(b, wide, 1), splat = asBytes(b, broadcast(b, activations, width));
  auto accumulate = [&](Value part) {
    Value products = callIntrinsic(b, pairs, wide, {asBytes(b, part), splat});
    sum = arith::AddIOp::create(b, sum, callIntrinsic(b, quads, sum.getType(), {products, ones}));
  };
  auto mask = [&](int64_t byte) -> Value {
    auto type = cast<VectorType>(codes.getType());
    return arith::AndIOp::create(b, codes, splatConstant(b, type, double(byte * 0x01010101)));
  };
  if (splitCodes) {
    accumulate(mask(0x7f));
    accumulate(mask(0x80));
  } else {
    accumulate(codes);
  }
  return sum;
}

static std::optional<std::string> refuseMadd(const Format &format, const Target &) {
  return refuseFloats(format);
}

template <RowKind kind>
static SmallVector<Value> emitMadd(ImplicitLocOpBuilder &b, const DotRequest &request) {
  bool split = request.layout.getFormat().largestCode() > 127;
  return emitGroupedIntegerDot(b, request, kind, true, split ? dotMadd<true> : dotMadd<false>);
}

static const DotStrategy pmaddubswFine = {"pmaddubsw-fine", RowKind::Int15, true, refuseMadd,
                                          emitMadd<RowKind::Int15>};
const DotStrategy kiln::pmaddubswDot = {
    "pmaddubsw",           RowKind::Int8, true, refuseMadd, emitMadd<RowKind::Int8>,
    /*registersPerSum=*/4,
    /*scratchBytes=*/0,    &pmaddubswFine};

// ---- Products of codes ----------------------------------------------------------------------

template <int64_t width>
static Value byteVnni(ImplicitLocOpBuilder &b, Value sum, Value x, Value w) {
  StringRef name = width == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
  return callIntrinsic(b, name, sum.getType(), {sum, asBytes(b, x), asBytes(b, w)});
}

/// Bytes as words, even and odd ones apart, whose products in pairs are exact.
template <int64_t width>
static Value byteMadd(ImplicitLocOpBuilder &b, Value sum, Value x, Value w) {
  StringRef name = width == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  VectorType words = vectorOf(width * 2, b.getI16Type());
  Value eight = splatConstant(b, words, 8);
  auto oddOf = [&](Value bytes) -> Value { return arith::ShRSIOp::create(b, bytes, eight); };
  auto evenOf = [&](Value bytes) { return oddOf(arith::ShLIOp::create(b, bytes, eight)); };
  Value left = vector::BitCastOp::create(b, words, x),
        right = vector::BitCastOp::create(b, words, w);
  for (auto [a, c] : {std::pair(evenOf(left), evenOf(right)), {oddOf(left), oddOf(right)}})
    sum = arith::AddIOp::create(b, sum, callIntrinsic(b, name, sum.getType(), {a, c}));
  return sum;
}

const ByteDot kiln::vnniBytes512 = {"vpdpbusd", /*isUnsigned=*/true, 16, byteVnni<16>};
const ByteDot kiln::vnniBytes256 = {"vpdpbusd", /*isUnsigned=*/true, 8, byteVnni<8>};
const ByteDot kiln::maddBytes512 = {"vpmaddwd", /*isUnsigned=*/false, 16, byteMadd<16>};
const ByteDot kiln::maddBytes256 = {"vpmaddwd", /*isUnsigned=*/false, 8, byteMadd<8>};
