// Dot products of prepared activation rows with a panel of a stored weight: the layout of prepared
// rows, the strategy that works everywhere (widen to f32, multiply-add), and the skeleton that the
// targets' integer strategies share.
#include "codegen/DotStrategy.h"
#include "codegen/EmitSupport.h"
#include "codegen/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;

const DotStrategy *kiln::findDot(const Format &format, const Target &target) {
  for (const DotStrategy *dot : target.dots)
    if (!dot->refuse(format, target))
      return dot;
  return nullptr;
}

PreparedRows::PreparedRows(RowKind kind, const PanelLayout &layout)
    : kind(kind), sumKind(SumKind::None), depth(layout.paddedDepth()), groups(depth / kGroup),
      sumGroup(std::min<int64_t>(kGroup, layout.getFormat().group)), scales(0), sums(0) {
  int64_t bytes = depth * 4;
  if (kind != RowKind::F32) {
    sumKind = layout.getFormat().hasMin ? SumKind::Value : SumKind::Offset;
    scales = depth;
    sums = scales + groups * 4;
    bytes = sums + depth / sumGroup * 4;
  }
  lower = llvm::alignTo(bytes, 64) + 64;
  stride = kind == RowKind::Int15 ? 2 * lower : lower;
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
      fetch(address(b, panel, group,
                    layout.scaleRecordBytes() * 32 / layout.getFormat().scaleDepth(),
                    layout.scalesOffset()));
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

/// Adds the products of one group of a panel to `sums`, one per row. Without mins the scale waits
/// until the group's codes are summed.
static void addWidenedGroup(ImplicitLocOpBuilder &b, const DotRequest &request,
                            const PreparedRows &rows, Value panel, Value group,
                            MutableArrayRef<Value> sums) {
  const Format &format = request.layout.getFormat();
  PanelVectors vectors(b, request.layout, lanes, request.lookUp);
  PanelVectors::Part part{0, /*fetchesAhead=*/true};
  VectorType codeType = vectorOf(lanes, b.getI32Type()), f32Type = vectorOf(lanes, b.getF32Type());
  Value byte = splatConstant(b, codeType, 255), zero = splatConstant(b, codeType, format.zero);
  Value k = arith::MulIOp::create(b, group, i64(b, 32));
  Value quads[8];
  vectors.forQuads(panel, group, part, [&](int64_t quad, Value codes) { quads[quad] = codes; });
  int64_t perScale = 8 / vectors.scalesPerGroup();
  for (int64_t scaled = 0; scaled < vectors.scalesPerGroup(); ++scaled) {
    PanelVectors::Scales scales = vectors.scales(panel, group, scaled, part);
    SmallVector<Value> partial = zeroAccumulators(b, request.rowCount);
    MutableArrayRef<Value> target = scales.min ? sums : MutableArrayRef<Value>(partial);
    for (int64_t quad = scaled * perScale; quad < (scaled + 1) * perScale; ++quad)
      for (int64_t i = 0; i < 4; ++i) {
        Value code = arith::AndIOp::create(
            b, arith::ShRUIOp::create(b, quads[quad], splatConstant(b, codeType, double(8 * i))),
            byte);
        Value weight = arith::SIToFPOp::create(b, f32Type, arith::SubIOp::create(b, code, zero));
        if (scales.min)
          weight = math::FmaOp::create(b, weight, scales.scale, scales.min);
        for (int64_t r = 0; r < request.rowCount; ++r)
          target[r] = math::FmaOp::create(
              b, weight, loadActivation(b, request, rows.stride, r, k, quad * 4 + i), target[r]);
      }
    for (int64_t r = 0; r < request.rowCount && !scales.min; ++r)
      sums[r] = math::FmaOp::create(b, partial[r], scales.scale, sums[r]);
  }
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

static std::optional<std::string> refuseCodes(const Format &format, const Target &) {
  if (format.kind != FormatKind::Codes)
    return std::nullopt;
  return "weights are codes, not numbers";
}

const DotStrategy kiln::fmaDot = {"fma", RowKind::F32, false, refuseCodes, emitWidenedDot};

// ---- Integers -------------------------------------------------------------------------------

Value kiln::joinPlanes(ImplicitLocOpBuilder &b, Value upper, Value lower) {
  Value bits =
      splatConstant(b, cast<VectorType>(upper.getType()), llvm::Log2_64(PreparedRows::kUpperCode));
  return arith::AddIOp::create(b, arith::ShLIOp::create(b, upper, bits), lower);
}

namespace {

/// The loop of an integer dot product in registers of the target's width: a panel's 16 outputs are
/// `parts` registers. A code vector meets all rows before the next is loaded, so that sums and one
/// or two codes are all that lives at a time.
class GroupedIntegerDot {
public:
  GroupedIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request, RowKind kind,
                    bool unsignedWeights, QuadDot dot)
      : b(b), request(request), format(request.layout.getFormat()), rows(kind, request.layout),
        planes(kind == RowKind::Int15 ? 2 : 1), unsignedWeights(unsignedWeights), dot(dot),
        width(std::min<int64_t>(lanes, request.vectorBits / 32)), parts(lanes / width),
        vectors(b, request.layout, width, request.lookUp, /*signedCodes=*/!unsignedWeights),
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
  void addGroup(Value rowsBase, Value panel, Value group, int64_t partIndex,
                MutableArrayRef<Value> sums) {
    base = rowsBase;
    PanelVectors::Part part{partIndex, /*fetchesAhead=*/request.upcoming.empty()};
    int64_t scaleCount = vectors.scalesPerGroup(), count = request.rowCount;
    SmallVector<Value> partial; // [scale][row]
    for (int64_t scaled = 0; scaled < scaleCount; ++scaled)
      for (int64_t r = 0; r < count; ++r)
        partial.push_back(unsignedWeights && rows.sumKind == SumKind::Offset
                              ? loadSplat(b, b.getI32Type(), sumOf(r, group, scaled), width)
                              : splatConstant(b, intType, 0));
    SmallVector<Value> upper(planes > 1 ? partial.size() : 0, splatConstant(b, intType, 0));
    vectors.forQuads(panel, group, part, [&](int64_t quad, Value codes) {
      size_t from = size_t(quad * scaleCount / 8 * count);
      if (planes > 1)
        addQuad(codes, group, quad, 0, MutableArrayRef(upper).slice(from, size_t(count)));
      addQuad(codes, group, quad, planes > 1 ? rows.lower : 0,
              MutableArrayRef(partial).slice(from, size_t(count)));
    });
    for (auto [sum, high] : llvm::zip(partial, upper)) // nothing where there is one plane
      sum = joinPlanes(b, high, sum);
    SmallVector<PanelVectors::Scales> scales;
    for (int64_t scaled = 0; scaled < scaleCount; ++scaled)
      scales.push_back(vectors.scales(panel, group, scaled, part));
    for (int64_t r = 0; r < count; ++r) {
      Value &sum = sums[r * parts + partIndex];
      addScaled(ArrayRef(partial).drop_front(r), count, scales,
                loadSplat(b, b.getF32Type(), ofRow(r, group, 4, rows.scales), width), sum);
      for (int64_t scaled = 0; scaled < scaleCount && format.hasMin; ++scaled)
        sum =
            math::FmaOp::create(b, scales[scaled].min,
                                loadSplat(b, b.getF32Type(), sumOf(r, group, scaled), width), sum);
    }
  }

  /// Adds a row's products of a group, whose codes are summed for each scale: every `step`-th of
  /// `partial`.
  void addScaled(ArrayRef<Value> partial, int64_t step, ArrayRef<PanelVectors::Scales> scales,
                 Value rowScale, Value &sum) {
    auto number = [&](size_t i) {
      return arith::SIToFPOp::create(b, f32Type, partial[i * size_t(step)]);
    };
    if (scales.size() == 1) {
      Value scale = arith::MulFOp::create(b, scales.front().scale, rowScale);
      sum = math::FmaOp::create(b, number(0), scale, sum);
      return;
    }
    Value product = arith::MulFOp::create(b, number(0), scales[0].scale);
    for (size_t i = 1; i < scales.size(); ++i)
      product = math::FmaOp::create(b, number(i), scales[i].scale, product);
    sum = math::FmaOp::create(b, product, rowScale, sum);
  }

  /// Adds the products of one code vector with each row's activations, from one plane of them.
  void addQuad(Value codes, Value group, int64_t quad, int64_t plane,
               MutableArrayRef<Value> partial) {
    for (int64_t r = 0; r < request.rowCount; ++r)
      partial[r] = dot(b, partial[r], codes,
                       load(b, b.getI32Type(), ofRow(r, group, 32, plane + quad * 4), 4));
  }

  /// Address of the sum of prepared row r for the i-th scale of a group.
  Value sumOf(int64_t r, Value group, int64_t i) {
    return ofRow(r, group, 4 * vectors.scalesPerGroup(), rows.sums + 4 * i);
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
  int64_t planes; // of activation codes
  bool unsignedWeights;
  QuadDot dot;
  int64_t width, parts; // i32 lanes of a register; registers of a panel's 16 outputs
  PanelVectors vectors;
  VectorType intType, f32Type;
  Value base; // the first prepared row, by the name of the panel at hand
};

} // namespace

SmallVector<Value> kiln::emitGroupedIntegerDot(ImplicitLocOpBuilder &b, const DotRequest &request,
                                               RowKind kind, bool unsignedWeights, QuadDot dot) {
  return GroupedIntegerDot(b, request, kind, unsignedWeights, dot).emit();
}
