// Rows times the weights of their experts. An expert's weight is a run of panels of the one weight;
// what a row and one of its experts give is a pair, numbered row * used + rank:
//
//   for each block of rows                          items are (row block, panel of every expert)
//     sort the block's pairs by expert              counts, then places; once per launch and worker
//     prepare the pairs' rows in that order         codegen/PrepareRows.cpp
//     for each expert that has pairs
//       for each few panels in the range
//         exec.tile_dot over tiles of its rows -> a strip of results -> where the pairs' lie
//
// so that an expert's weights stream once for all rows of a block that chose it, as many of them as
// a tile has, and experts that nobody chose are not read. A row that several experts share is
// prepared once for each, which costs little beside the panels that it meets.
#include "codegen/Contraction.h"
#include "codegen/EmitSupport.h"
#include "codegen/PrepareRows.h"
#include "codegen/RowBlocks.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

static constexpr int64_t lanes = PanelLayout::kPanelRows;
// Panels that are walked side by side where an expert has one row.
static constexpr int64_t panelsAtOnce = 4;
// Prepared rows stay within about this, in the second-level cache.
static constexpr int64_t preparedBytes = 1 << 20;

namespace {

struct ExpertsShape {
  graph::ExpertsMatmulOp op;
  const Format *format = nullptr;
  int64_t outputs = 0, depth = 0; // of an expert
  bool isShared = false;          // whether a row's experts get the same columns
  RowSource rows;                 // of `depth` columns

  static std::optional<ExpertsShape> match(exec::KernelOp kernel, std::string &reason);
};

std::optional<ExpertsShape> ExpertsShape::match(exec::KernelOp kernel, std::string &reason) {
  ExpertsShape shape;
  Block &body = kernel.getBody().front();
  shape.op = dyn_cast<graph::ExpertsMatmulOp>(body.front());
  if (!shape.op || shape.op->getNextNode() != body.getTerminator()) {
    reason = "no experts_matmul by itself";
    return std::nullopt;
  }
  graph::StoredAttr stored = graph::getStored(shape.op.getWeight().getType());
  if (!stored || stored.getLayout() != kPanelLayoutName) {
    reason = "the weight is not stored as panel16";
    return std::nullopt;
  }
  auto weight = cast<RankedTensorType>(shape.op.getWeight().getType());
  shape.format = findFormat(stored.getFormat());
  shape.outputs = weight.getDimSize(0) / shape.op.getExperts();
  shape.depth = weight.getDimSize(1);
  std::optional<RowSource> rows = RowSource::match(shape.op.getInput(), kernel, reason);
  if (!rows)
    return std::nullopt;
  shape.isShared = rows->columns == shape.depth;
  if (shape.outputs % lanes || (!shape.isShared && shape.depth % lanes)) {
    reason = "experts do not begin at multiples of 16";
    return std::nullopt;
  }
  shape.rows = *rows;
  shape.rows.columns = shape.depth;
  return shape;
}

class ExpertsEmitter {
public:
  ExpertsEmitter(exec::KernelOp kernel, const Target &target, OpBuilder &builder,
                 ExpertsShape shape, const DotStrategy &dot)
      : kernel(kernel), target(target), shape(shape), frame(kernel, builder), b(frame.builder()),
        blocks(frame), dot(dot),
        layout(*shape.format, cast<RankedTensorType>(shape.op.getWeight().getType()).getDimSize(0),
               shape.depth),
        prepared(dot.rowKind, layout), experts(int64_t(shape.op.getExperts())),
        used(int64_t(shape.op.getUsed())), panels(shape.outputs / lanes),
        blockRows(
            std::clamp<int64_t>(preparedBytes / (used * prepared.stride), 1, target.rowBlock)) {
    int64_t at = dot.scratchBytes;
    auto reserve = [&](int64_t bytes) {
      int64_t offset = at;
      at += int64_t(llvm::alignTo(bytes, 64));
      return offset;
    };
    endsOffset = reserve(4 * (experts + 1));
    pairsOffset = reserve(4 * blockRows * used);
    stripOffset = reserve(blockRows * used * panelsAtOnce * lanes * 4);
    rowsOffset = reserve(blockRows * used * prepared.stride);
    bytes = at;
  }

  KernelCode emit() {
    blocks.begin();
    blocks.forEach(
        frame.rowsOf(shape.op.getType()), i64(b, blockRows), panels,
        [&](Value first, Value count) { prepare(first, count); },
        [&](Value first, Value, Value from, Value to) { multiply(first, from, to); });
    auto map = [&](AffineExpr expr) {
      return AffineMap::get(0, kernel.getDims().size(), expr, b.getContext());
    };
    AffineExpr count = frame.rowsExprOf(shape.op.getType()).ceilDiv(blockRows);
    return {map(count * panels),
            map(getAffineConstantExpr(RowBlocks::kNumberBytes + bytes, b.getContext()))};
  }

private:
  Value at(int64_t offset) { return address(b, blocks.scratch(), offset); }
  unsigned parameter(Value value) { return cast<BlockArgument>(value).getArgNumber(); }

  Value loadWord(Value base, Value index) {
    return arith::ExtSIOp::create(b, b.getI64Type(),
                                  load(b, b.getI32Type(), address(b, base, index, 4), 4));
  }
  void storeWord(Value value, Value base, Value index) {
    Value word = arith::TruncIOp::create(b, b.getI32Type(), value);
    store(b, word, address(b, base, index, 4), 4);
  }

  /// (row, rank) of a pair, i64 both.
  std::pair<Value, Value> split(Value pair) {
    Value row = frame.floorDiv(pair, used);
    return {row, frame.sub(pair, frame.mul(row, i64(b, used)))};
  }

  /// The expert of a pair of the block. Numbers that are none, of logits that were no numbers,
  /// become the nearest that is one.
  Value expertOf(Value first, Value pair) {
    auto [row, rank] = split(pair);
    unsigned routes = parameter(shape.op.getRoutes());
    Value line =
        address(b, frame.buffer(routes), frame.add(first, row), kernel.getRowStrides()[routes] * 4);
    Value number = load(b, b.getF32Type(), address(b, line, rank, 4), 4);
    Value known = arith::MinNumFOp::create(b, arith::MaxNumFOp::create(b, number, f32(b, 0)),
                                           f32(b, double(experts - 1)));
    return arith::FPToSIOp::create(b, b.getI64Type(), known);
  }

  /// Sorts the block's pairs: ends[e + 1] is where expert e's run of `pairs` ends, ends[0] is 0.
  void sortPairs(Value first, Value count) {
    Value ends = at(endsOffset), one = i64(b, 1), zero = i64(b, 0);
    loop(b, zero, i64(b, experts + 1), 1, [&](Value e) { storeWord(zero, ends, e); });
    loop(b, zero, count, 1, [&](Value pair) {
      Value next = frame.add(expertOf(first, pair), one);
      storeWord(frame.add(loadWord(ends, next), one), ends, next);
    });
    // From counts to where runs begin, which placing the pairs makes where they end.
    loop(b, zero, i64(b, experts), 1, ValueRange{zero}, [&](Value e, ValueRange carried) {
      Value next = frame.add(e, one), size = loadWord(ends, next);
      storeWord(carried[0], ends, next);
      return SmallVector<Value>{frame.add(carried[0], size)};
    });
    loop(b, zero, count, 1, [&](Value pair) {
      Value next = frame.add(expertOf(first, pair), one), place = loadWord(ends, next);
      storeWord(pair, at(pairsOffset), place);
      storeWord(frame.add(place, one), ends, next);
    });
  }

  void prepare(Value first, Value rows) {
    Value count = frame.mul(rows, i64(b, used));
    sortPairs(first, count);
    loop(b, i64(b, 0), count, 1, [&](Value place) {
      auto [row, rank] = split(loadWord(at(pairsOffset), place));
      Value line = address(b, frame.buffer(shape.rows.parameter), frame.add(first, row),
                           shape.rows.stride * 4);
      if (!shape.isShared)
        line = address(b, line, rank, shape.depth * 4);
      emitPrepareRow(frame, shape.rows, prepared, dot.unsignedWeights ? shape.format->zero : 0,
                     line, address(b, at(rowsOffset), place, prepared.stride));
    });
  }

  void multiply(Value first, Value from, Value to) {
    loop(b, i64(b, 0), i64(b, experts), 1, [&](Value expert) {
      Value begin = loadWord(at(endsOffset), expert);
      Value count = frame.sub(loadWord(at(endsOffset), frame.add(expert, i64(b, 1))), begin);
      Value chosen = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, count, i64(b, 0));
      branch(b, chosen, [&] {
        Value whole =
            frame.mul(frame.floorDiv(frame.sub(to, from), panelsAtOnce), i64(b, panelsAtOnce));
        Value rest = frame.add(from, whole);
        loop(b, from, rest, panelsAtOnce, [&](Value panel) {
          multiplyPanels(first, expert, begin, count, panel, panelsAtOnce);
        });
        loop(b, rest, to, 1,
             [&](Value panel) { multiplyPanels(first, expert, begin, count, panel, 1); });
      });
    });
  }

  /// A few neighbouring panels of an expert for its run of pairs.
  void multiplyPanels(Value first, Value expert, Value begin, Value count, Value panel,
                      int64_t some) {
    Value strip = at(stripOffset), base = frame.add(frame.mul(expert, i64(b, panels)), panel);
    Value rows = address(b, at(rowsOffset), begin, prepared.stride);
    forTiles(b, target, count, blockRows * used, [&](Value tileRow, RankedTensorType type) {
      SmallVector<Value> addresses;
      for (int64_t i = 0; i < some; ++i)
        addresses.push_back(address(b, frame.buffer(parameter(shape.op.getWeight())), base,
                                    layout.panelBytes(), i * layout.panelBytes()));
      SmallVector<Type> types(addresses.size(), type);
      auto dots = exec::TileDotOp::create(b, types, rows, tileRow, blocks.scratch(), addresses,
                                          shape.format->name, dot.name, shape.depth,
                                          /*ahead=*/some * layout.panelBytes());
      for (int64_t i = 0; i < some; ++i)
        exec::TileStoreOp::create(b, dots.getResult(i), strip, tileRow,
                                  arith::ConstantIndexOp::create(b, i * lanes), some * lanes,
                                  some * lanes);
    });
    int64_t stride = kernel.getRowStrides().back() * 4;
    VectorType line = vectorOf(lanes, b.getF32Type());
    loop(b, i64(b, 0), count, 1, [&](Value i) {
      auto [row, rank] = split(loadWord(at(pairsOffset), frame.add(begin, i)));
      Value result = address(b, frame.writeBuffer(0), frame.add(first, row), stride);
      Value column =
          frame.add(frame.mul(rank, i64(b, shape.outputs)), frame.mul(panel, i64(b, lanes)));
      for (int64_t p = 0; p < some; ++p)
        store(b, load(b, line, address(b, strip, i, some * lanes * 4, p * lanes * 4), 64),
              address(b, result, column, 4, p * lanes * 4), 4);
    });
  }

  exec::KernelOp kernel;
  const Target &target;
  ExpertsShape shape;
  KernelFrame frame;
  ImplicitLocOpBuilder &b;
  RowBlocks blocks;
  const DotStrategy &dot;
  PanelLayout layout; // of all experts
  PreparedRows prepared;
  int64_t experts, used;
  int64_t panels; // of an expert
  int64_t blockRows;
  int64_t endsOffset, pairsOffset, stripOffset, rowsOffset, bytes; // in scratch
};

} // namespace

static std::optional<std::string> refuseExperts(exec::KernelOp kernel, const Target &target) {
  std::string reason;
  std::optional<ExpertsShape> shape = ExpertsShape::match(kernel, reason);
  if (!shape)
    return reason;
  if (!findDot(*shape->format, target))
    return ("the target cannot multiply " + shape->format->name).str();
  return std::nullopt;
}

static FailureOr<KernelCode> emitExperts(exec::KernelOp kernel, const Target &target,
                                         OpBuilder &builder) {
  std::string reason;
  std::optional<ExpertsShape> shape = ExpertsShape::match(kernel, reason);
  if (!shape)
    return kernel.emitOpError() << "has no experts: " << reason;
  const DotStrategy *dot = findDot(*shape->format, target);
  if (target.fineActivations && dot->fine)
    dot = dot->fine;
  return ExpertsEmitter(kernel, target, builder, *shape, *dot).emit();
}

const KernelEmitter &kiln::expertsContractionEmitter() {
  static constexpr KernelEmitter emitter = {"contraction-experts", refuseExperts, emitExperts};
  return emitter;
}
