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

/// As many lines for each group as there are panels at hand, evenly from all upcoming ones.
void DotRequest::fetchUpcoming(ImplicitLocOpBuilder &b, Value group) const {
  auto fetch = [&](Value line) {
    LLVM::Prefetch::create(b, line, /*rw=*/0, /*hint=*/2, /*cache=*/1);
  };
  int64_t part = layout.getFormat().bits * 64 / shares, start = share * layout.groupCount() * part;
  for (auto [i, panel] : llvm::enumerate(upcoming)) {
    for (int64_t at = 0; at < part; at += 64)
      fetch(address(b, panel, group, part, start + at));
    if (int64_t(i) % shares == share)
      fetch(address(b, panel, group, 32, layout.scalesOffset()));
  }
}

Value kiln::anotherName(ImplicitLocOpBuilder &b, Value pointer) {
  return LLVM::InlineAsmOp::create(b, pointer.getType(), pointer, "", "=r,0",
                                   /*has_side_effects=*/false, /*is_align_stack=*/false,
                                   LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
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

static SmallVector<Value> emitWidenedDot(ImplicitLocOpBuilder &b, const DotRequest &request) {
  if (request.layout.getFormat().kind == FormatKind::Float)
    return emitFloatDot(b, request);
  PreparedRows rows(RowKind::F32, request.layout);
  size_t count = size_t(request.rowCount);
  return loop(b, i64(b, 0), i64(b, rows.groups), 1,
              zeroAccumulators(b, int64_t(count * request.panels.size())),
              [&](Value group, ValueRange carried) {
                SmallVector<Value> sums(carried);
                for (auto [p, panel] : llvm::enumerate(request.panels))
                  addWidenedGroup(b, request, rows, panel, group,
                                  MutableArrayRef(sums).slice(p * count, count));
                return sums;
              });
}

static std::optional<std::string> acceptEverything(const Format &, const Target &) {
  return std::nullopt;
}

const DotStrategy kiln::fmaDot = {"fma", RowKind::F32, false, acceptEverything, emitWidenedDot};

// ---- Integers -------------------------------------------------------------------------------

namespace {

/// The loop of an integer dot product in registers of the target's width: a panel's 16 outputs are
/// `parts` registers. A code vector meets all rows before the next is loaded, so that sums and one
/// or two codes are all that lives at a time.
class GroupedIntegerDot {
public:
  GroupedIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request, bool unsignedWeights,
                    QuadDot dot)
      : b(b), request(request), format(request.layout.getFormat()),
        rows(RowKind::Int8, request.layout), unsignedWeights(unsignedWeights), dot(dot),
        width(std::min<int64_t>(lanes, request.vectorBits / 32)), parts(lanes / width),
        intType(vectorOf(width, b.getI32Type())), f32Type(vectorOf(width, b.getF32Type())) {}

  SmallVector<Value> emit() {
    int64_t perPanel = request.rowCount * parts;
    SmallVector<Value> rowsFor;
    for (size_t i = 0; i < request.panels.size() * parts; ++i)
      rowsFor.push_back(i == 0 ? request.rows : anotherName(b, request.rows));
    SmallVector<Value> initial(request.panels.size() * perPanel, splatConstant(b, f32Type, 0));
    SmallVector<Value> sums =
        loop(b, i64(b, 0), i64(b, rows.groups), 1, initial, [&](Value group, ValueRange carried) {
          SmallVector<Value> next(carried);
          request.fetchUpcoming(b, group);
          for (auto [p, panel] : llvm::enumerate(request.panels))
            for (int64_t part = 0; part < parts; ++part)
              addGroup(rowsFor[p * parts + part], panel, group, part,
                       MutableArrayRef(next).drop_front(p * perPanel));
          return next;
        });
    return joinParts(sums);
  }

private:
  /// Adds a group's products to the sums of one part: sums[row * parts + part].
  void addGroup(Value rowsBase, Value panel, Value group, int64_t part,
                MutableArrayRef<Value> sums) {
    base = rowsBase;
    SmallVector<Value> partial;
    for (int64_t r = 0; r < request.rowCount; ++r)
      partial.push_back(unsignedWeights
                            ? loadSplat(b, b.getI32Type(), ofRow(r, group, 4, rows.offsets), width)
                            : splatConstant(b, intType, 0));
    bool nibbles = format.bits == 4;
    Value mask = splatConstant(b, intType, 0x0f0f0f0f), four = splatConstant(b, intType, 4);
    for (int64_t quad = 0; quad < (nibbles ? 4 : 8); ++quad) {
      Value line = address(b, panel, group, nibbles ? 256 : 512, quad * 64);
      Value codes = loadPart(intType, line, part, width * 4);
      if (!nibbles) {
        addQuad(codes, group, quad, partial);
        continue;
      }
      addQuad(arith::AndIOp::create(b, codes, mask), group, quad, partial);
      Value high = arith::AndIOp::create(b, arith::ShRUIOp::create(b, codes, four), mask);
      addQuad(high, group, quad + 4, partial);
    }
    Value halves =
        loadPart(vectorOf(width, b.getF16Type()),
                 address(b, panel, group, 32, request.layout.scalesOffset()), part, width * 2);
    Value scales = arith::ExtFOp::create(b, f32Type, halves);
    for (int64_t r = 0; r < request.rowCount; ++r) {
      Value scale = arith::MulFOp::create(
          b, scales, loadSplat(b, b.getF32Type(), ofRow(r, group, 4, rows.scales), width));
      Value &sum = sums[r * parts + part];
      sum = math::FmaOp::create(b, arith::SIToFPOp::create(b, f32Type, partial[r]), scale, sum);
    }
  }

  /// Adds the products of one code vector with each row's activations.
  void addQuad(Value codes, Value group, int64_t quad, MutableArrayRef<Value> partial) {
    if (!unsignedWeights) {
      // Codes minus zero as signed bytes, four at once: exact because no byte borrows.
      VectorType bytes = vectorOf(width * 4, b.getI8Type());
      Value zero = splatConstant(b, bytes, double(int8_t(format.zero)));
      Value split = vector::BitCastOp::create(b, bytes, codes);
      codes = vector::BitCastOp::create(b, intType, arith::SubIOp::create(b, split, zero));
    }
    for (int64_t r = 0; r < request.rowCount; ++r)
      partial[r] =
          dot(b, partial[r], codes, load(b, b.getI32Type(), ofRow(r, group, 32, quad * 4), 4));
  }

  /// Part of a line of weights; the first part asks for the line that comes later.
  Value loadPart(Type type, Value line, int64_t part, int64_t partBytes) {
    if (part == 0 && request.upcoming.empty())
      return loadWeights(b, type, line, partBytes);
    return load(b, type, address(b, line, part * partBytes), partBytes);
  }

  /// Address in prepared row r: base of the row + offset + group * scale.
  Value ofRow(int64_t r, Value group, int64_t scale, int64_t offset) {
    return address(b, base, group, scale, r * rows.stride + offset);
  }

  SmallVector<Value> joinParts(ArrayRef<Value> sums) {
    if (parts == 1)
      return SmallVector<Value>(sums);
    SmallVector<Value> joined;
    for (; !sums.empty(); sums = sums.drop_front(parts)) {
      Value whole = splatConstant(b, vectorOf(lanes, b.getF32Type()), 0);
      for (int64_t part = 0; part < parts; ++part)
        whole = vector::InsertStridedSliceOp::create(
            b, sums[part], whole, ArrayRef<int64_t>{part * width}, ArrayRef<int64_t>{1});
      joined.push_back(whole);
    }
    return joined;
  }

  ImplicitLocOpBuilder &b;
  const DotRequest &request;
  const Format &format;
  PreparedRows rows;
  bool unsignedWeights;
  QuadDot dot;
  int64_t width, parts; // i32 lanes of a register; registers of a panel's 16 outputs
  VectorType intType, f32Type;
  Value base; // the first prepared row, by the name of the panel at hand
};

} // namespace

SmallVector<Value> kiln::emitGroupedIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request,
                                               bool unsignedWeights, QuadDot dot) {
  return GroupedIntegerDot(b, request, unsignedWeights, dot).emit();
}
