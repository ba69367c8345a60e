// Dot products of prepared activation rows with a panel of a stored weight: the layout of prepared
// rows, the strategy that works everywhere (widen to f32, multiply-add), and the skeleton that the
// targets' integer strategies share.
#include "codegen/DotStrategy.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

PreparedRows::PreparedRows(RowKind kind, const PanelLayout &layout)
    : kind(kind), depth(layout.paddedDepth()), groups(depth / kGroup), scales(0), offsets(0) {
  int64_t bytes = depth * 4;
  if (kind == RowKind::Int8) {
    scales = depth;
    offsets = scales + groups * 4;
    bytes = offsets + groups * 4;
  }
  stride = llvm::alignTo(bytes, 64) + 64;
}

/// Loads from a panel, and asks for the line that will be needed `prefetchBytes` later, across the
/// page boundaries at which hardware prefetchers stop: the panels of a range lie one after the
/// other, and with few rows their loops are bound by memory.
static constexpr int64_t prefetchBytes = 2048;
static Value loadWeights(ImplicitLocOpBuilder &b, Type type, Value address, unsigned alignment) {
  LLVM::Prefetch::create(b, emit::address(b, address, prefetchBytes), /*rw=*/0, /*hint=*/3,
                         /*cache=*/1);
  return load(b, type, address, alignment);
}

/// The eight code vectors of a group of 32: vector<16xi32>, four unsigned 8-bit codes per lane.
static SmallVector<Value> loadCodes(ImplicitLocOpBuilder &b, const Format &format, Value panel,
                                    Value group) {
  VectorType type = vectorOf(lanes, b.getI32Type());
  SmallVector<Value> codes;
  if (format.bits == 8) {
    for (int64_t quad = 0; quad < 8; ++quad)
      codes.push_back(loadWeights(b, type, address(b, panel, group, 512, quad * 64), 64));
    return codes;
  }
  Value nibbles = splatConstant(b, type, 0x0f0f0f0f), four = splatConstant(b, type, 4);
  SmallVector<Value> high;
  for (int64_t quad = 0; quad < 4; ++quad) {
    Value both = loadWeights(b, type, address(b, panel, group, 256, quad * 64), 64);
    codes.push_back(arith::AndIOp::create(b, both, nibbles));
    high.push_back(arith::AndIOp::create(b, arith::ShRUIOp::create(b, both, four), nibbles));
  }
  codes.append(high);
  return codes;
}

/// The 16 scales of a group as f32.
static Value loadScales(ImplicitLocOpBuilder &b, const PanelLayout &layout, Value panel,
                        Value group) {
  Value halves = loadWeights(b, vectorOf(lanes, b.getF16Type()),
                             address(b, panel, group, 32, layout.scalesOffset()), 32);
  return arith::ExtFOp::create(b, vectorOf(lanes, b.getF32Type()), halves);
}

static SmallVector<Value> zeroAccumulators(ImplicitLocOpBuilder &b, int64_t count) {
  return SmallVector<Value>(count, splatConstant(b, vectorOf(lanes, b.getF32Type()), 0));
}

// ---- Widen to f32 ---------------------------------------------------------------------------

/// The f32 weights of `count` neighbouring depths from `k`, for the float formats.
static SmallVector<Value> loadFloats(ImplicitLocOpBuilder &b, FormatId format, Value panel, Value k,
                                     int64_t count) {
  VectorType f32Type = vectorOf(lanes, b.getF32Type());
  SmallVector<Value> values;
  switch (format) {
  case FormatId::F32:
    for (int64_t i = 0; i < count; ++i)
      values.push_back(loadWeights(b, f32Type, address(b, panel, k, 64, i * 64), 64));
    break;
  case FormatId::F16:
    for (int64_t i = 0; i < count; ++i)
      values.push_back(arith::ExtFOp::create(
          b, f32Type,
          load(b, vectorOf(lanes, b.getF16Type()), address(b, panel, k, 32, i * 32), 32)));
    break;
  case FormatId::BF16: {
    VectorType pairs = vectorOf(lanes, b.getI32Type());
    Value sixteen = splatConstant(b, pairs, 16), upper = splatConstant(b, pairs, 0xffff0000u);
    for (int64_t i = 0; i < count; i += 2) {
      Value both = loadWeights(b, pairs, address(b, panel, k, 32, i * 32), 64);
      values.push_back(
          arith::BitcastOp::create(b, f32Type, arith::ShLIOp::create(b, both, sixteen)));
      values.push_back(arith::BitcastOp::create(b, f32Type, arith::AndIOp::create(b, both, upper)));
    }
    break;
  }
  default:
    llvm_unreachable("integer formats have a loop of their own");
  }
  return values;
}

static Value loadActivation(ImplicitLocOpBuilder &b, const DotRequest &request, int64_t stride,
                            int64_t row, Value k, int64_t i) {
  return loadSplat(b, b.getF32Type(), address(b, request.rows, k, 4, row * stride + i * 4), lanes);
}

static SmallVector<Value> emitFloatDot(ImplicitLocOpBuilder &b, const DotRequest &request) {
  PreparedRows rows(RowKind::F32, request.layout);
  constexpr int64_t unroll = 4;
  int64_t count = request.rowCount;
  return loop(b, i64(b, 0), i64(b, rows.depth), unroll,
              zeroAccumulators(b, count * request.panels.size()), [&](Value k, ValueRange carried) {
                SmallVector<Value> sums(carried);
                for (auto [p, panel] : llvm::enumerate(request.panels)) {
                  auto weights = loadFloats(b, request.layout.getFormat().id, panel, k, unroll);
                  for (auto [i, weight] : llvm::enumerate(weights))
                    for (int64_t r = 0; r < count; ++r) {
                      Value &sum = sums[p * count + r];
                      Value x = loadActivation(b, request, rows.stride, r, k, i);
                      sum = math::FmaOp::create(b, weight, x, sum);
                    }
                }
                return sums;
              });
}

/// Adds the products of one group of a panel to `sums`, one per row.
static void addWidenedGroup(ImplicitLocOpBuilder &b, const DotRequest &request,
                            const PreparedRows &rows, Value panel, Value group,
                            MutableArrayRef<Value> sums) {
  const Format &format = request.layout.getFormat();
  VectorType codeType = vectorOf(lanes, b.getI32Type()), f32Type = vectorOf(lanes, b.getF32Type());
  Value byte = splatConstant(b, codeType, 255), zero = splatConstant(b, codeType, format.zero);
  SmallVector<Value> partial = zeroAccumulators(b, request.rowCount);
  Value k = arith::MulIOp::create(b, group, i64(b, 32));
  for (auto [quad, codes] : llvm::enumerate(loadCodes(b, format, panel, group)))
    for (int64_t i = 0; i < 4; ++i) {
      Value code = arith::AndIOp::create(
          b, arith::ShRUIOp::create(b, codes, splatConstant(b, codeType, double(8 * i))), byte);
      Value weight = arith::SIToFPOp::create(b, f32Type, arith::SubIOp::create(b, code, zero));
      for (int64_t r = 0; r < request.rowCount; ++r)
        partial[r] = math::FmaOp::create(
            b, weight, loadActivation(b, request, rows.stride, r, k, int64_t(quad) * 4 + i),
            partial[r]);
    }
  Value scales = loadScales(b, request.layout, panel, group);
  for (int64_t r = 0; r < request.rowCount; ++r)
    sums[r] = math::FmaOp::create(b, partial[r], scales, sums[r]);
}

using AddGroup = llvm::function_ref<void(Value panel, Value group, MutableArrayRef<Value> sums)>;

/// The loop over groups of 32, panels side by side.
static SmallVector<Value> loopOverGroups(ImplicitLocOpBuilder &b, const DotRequest &request,
                                         int64_t groups, AddGroup addGroup) {
  return loop(b, i64(b, 0), i64(b, groups), 1,
              zeroAccumulators(b, request.rowCount * request.panels.size()),
              [&](Value group, ValueRange carried) {
                SmallVector<Value> sums(carried);
                for (auto [p, panel] : llvm::enumerate(request.panels))
                  addGroup(panel, group,
                           MutableArrayRef(sums).slice(p * request.rowCount, request.rowCount));
                return sums;
              });
}

static SmallVector<Value> emitWidenedDot(ImplicitLocOpBuilder &b, const DotRequest &request) {
  if (request.layout.getFormat().kind == FormatKind::Float)
    return emitFloatDot(b, request);
  PreparedRows rows(RowKind::F32, request.layout);
  return loopOverGroups(b, request, rows.groups,
                        [&](Value panel, Value group, MutableArrayRef<Value> sums) {
                          addWidenedGroup(b, request, rows, panel, group, sums);
                        });
}

static std::optional<std::string> acceptEverything(const Format &, const Target &) {
  return std::nullopt;
}

const DotStrategy kiln::fmaDot = {"fma", RowKind::F32, false, acceptEverything, emitWidenedDot};

// ---- Integers -------------------------------------------------------------------------------

/// Codes minus zero as signed bytes, four at once: exact because no byte borrows.
static void makeSigned(ImplicitLocOpBuilder &b, MutableArrayRef<Value> codes, int64_t zero) {
  VectorType bytes = vectorOf(lanes * 4, b.getI8Type());
  Value splat = splatConstant(b, bytes, double(int8_t(zero)));
  for (Value &code : codes) {
    Type type = code.getType();
    Value split = vector::BitCastOp::create(b, bytes, code);
    code = vector::BitCastOp::create(b, type, arith::SubIOp::create(b, split, splat));
  }
}

SmallVector<Value> kiln::emitGroupedIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request,
                                               bool unsignedWeights, QuadDot dot) {
  PreparedRows rows(RowKind::Int8, request.layout);
  const Format &format = request.layout.getFormat();
  VectorType intType = vectorOf(lanes, b.getI32Type()), f32Type = vectorOf(lanes, b.getF32Type());
  Type i32 = b.getI32Type();
  auto addGroup = [&](Value panel, Value group, MutableArrayRef<Value> sums) {
    SmallVector<Value> codes = loadCodes(b, format, panel, group);
    if (!unsignedWeights)
      makeSigned(b, codes, format.zero);
    Value scales = loadScales(b, request.layout, panel, group);
    for (int64_t r = 0; r < request.rowCount; ++r) {
      int64_t row = r * rows.stride;
      Value sum =
          unsignedWeights
              ? loadSplat(b, i32, address(b, request.rows, group, 4, row + rows.offsets), lanes)
              : splatConstant(b, intType, 0);
      for (auto [quad, code] : llvm::enumerate(codes)) {
        Value activations =
            load(b, i32, address(b, request.rows, group, 32, row + int64_t(quad) * 4), 4);
        sum = dot(b, sum, code, activations);
      }
      Value scale = arith::MulFOp::create(
          b, scales,
          loadSplat(b, b.getF32Type(), address(b, request.rows, group, 4, row + rows.scales),
                    lanes));
      sums[r] = math::FmaOp::create(b, arith::SIToFPOp::create(b, f32Type, sum), scale, sums[r]);
    }
  };
  return loopOverGroups(b, request, rows.groups, addGroup);
}
