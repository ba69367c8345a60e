// AMX by tile number (Intel SDM volume 1, chapter 18): kernels choose their eight registers
// themselves, so no register allocator can spill a tile. The tile configuration is 64 bytes:
// palette 1, bytes per line as u16 from byte 16, lines as u8 from byte 48.
#include "targets/x86_64/AmxTiles.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "targets/x86_64/Intrinsics.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t tileCount = 8;

static Value tileNumber(ImplicitLocOpBuilder &b, int64_t tile) {
  return arith::ConstantOp::create(b, b.getI8IntegerAttr(tile));
}

static constexpr int64_t configBytes = 64;
static_assert(MatrixUnit::kConfigBytes == configBytes && ByteTiles::kConfigBytes == configBytes);

struct TileShape {
  int64_t lines, lineBytes;
};

static void configure(ImplicitLocOpBuilder &b, Value config,
                      llvm::function_ref<TileShape(int64_t tile)> shapeOf) {
  SmallVector<int8_t> bytes(configBytes, 0);
  bytes[0] = 1;
  for (int64_t tile = 0; tile < tileCount; ++tile) {
    bytes[16 + 2 * tile] = int8_t(shapeOf(tile).lineBytes);
    bytes[48 + tile] = int8_t(shapeOf(tile).lines);
  }
  VectorType type = vectorOf(configBytes, b.getI8Type());
  Value constant =
      arith::ConstantOp::create(b, DenseElementsAttr::get(type, ArrayRef<int8_t>(bytes)));
  store(b, constant, config, 64);
  callIntrinsic(b, "llvm.x86.ldtilecfg", config);
}

static void emitBegin(ImplicitLocOpBuilder &b, Value config) {
  configure(b, config, [](int64_t) { return TileShape{MatrixUnit::kRows, 64}; });
}

static void emitBeginBytes(ImplicitLocOpBuilder &b, Value config, int64_t rows) {
  configure(b, config, [&](int64_t tile) {
    if (tile >= ByteTiles::kFirstColumns)
      return TileShape{8, 64};
    return TileShape{rows, tile >= ByteTiles::kFirstRows ? 32 : 64};
  });
}

static void emitEnd(ImplicitLocOpBuilder &b) { callIntrinsic(b, "llvm.x86.tilerelease", {}); }

static void emitZero(ImplicitLocOpBuilder &b, int64_t tile) {
  callIntrinsic(b, "llvm.x86.tilezero", tileNumber(b, tile));
}

static void emitLoad(ImplicitLocOpBuilder &b, int64_t tile, Value address, int64_t stride) {
  callIntrinsic(b, "llvm.x86.tileloadd64", {tileNumber(b, tile), address, i64(b, stride)});
}

static void emitStore(ImplicitLocOpBuilder &b, int64_t tile, Value address, int64_t stride) {
  callIntrinsic(b, "llvm.x86.tilestored64", {tileNumber(b, tile), address, i64(b, stride)});
}

static void emitMultiply(ImplicitLocOpBuilder &b, int64_t sums, int64_t rows, int64_t columns) {
  callIntrinsic(b, "llvm.x86.tdpbf16ps",
                {tileNumber(b, sums), tileNumber(b, rows), tileNumber(b, columns)});
}

static void emitMultiplyBytes(ImplicitLocOpBuilder &b, int64_t sums, int64_t rows, int64_t columns,
                              bool unsignedColumns) {
  callIntrinsic(b, unsignedColumns ? "llvm.x86.tdpbsud" : "llvm.x86.tdpbssd",
                {tileNumber(b, sums), tileNumber(b, rows), tileNumber(b, columns)});
}

static Value emitPackRow(ImplicitLocOpBuilder &b, Value low, Value high) {
  return callIntrinsic(b, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", vectorOf(32, b.getBF16Type()),
                       {high, low});
}

static Value emitPackPairs(ImplicitLocOpBuilder &b, Value even, Value odd) {
  Value split = emitPackRow(b, even, odd);
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < 16; ++i) {
    order.push_back(i);
    order.push_back(i + 16);
  }
  return vector::ShuffleOp::create(b, split, split, order);
}

const MatrixUnit kiln::amxBf16 = {"amx-bf16",   tileCount,     /*minimumRows=*/24, emitBegin,
                                  emitEnd,      emitZero,      emitLoad,           emitStore,
                                  emitMultiply, emitPackPairs, emitPackRow};

const ByteTiles kiln::amxBytes = {emitBeginBytes, emitEnd,   emitZero,
                                  emitLoad,       emitStore, emitMultiplyBytes};
