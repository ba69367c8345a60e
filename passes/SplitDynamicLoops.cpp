// Replaces a loop over tiles of a dynamic extent by one loop for each tile size:
//
//   exec.tile_loop %lo to %hi tiles [8, 2, 1] {      scf.for %row = %lo to %a step 8 {
//   tensor<8x16xf32> } ^bb0(%row): … tensor<?x16xf32> … }          =>   scf.for %row = %a to %b
//   step 2 { tensor<2x16xf32> }
//                                                    scf.for %row = %b to %hi step 1 {
//                                                    tensor<1x16xf32> }
//
// with %a and %b as far as whole tiles reach, so no loop needs a predicate and every body is
// compiled for its own number of rows. Loops that a constant extent leaves nothing to do are not
// made. Inner tile loops are split first: the leading dims that are still dynamic in a body then
// belong to its own loop.
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"
#include "llvm/Support/MathExtras.h"

namespace kiln {
#define GEN_PASS_DEF_SPLITDYNAMICLOOPS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;

/// A tile's type with `rows` rows, or the type as it is where it is no tile.
static Type withRows(Type type, int64_t rows) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() == 0 || !tensor.isDynamicDim(0))
    return type;
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = rows;
  return RankedTensorType::get(shape, tensor.getElementType(), tensor.getEncoding());
}

/// Makes the types of tiles static in everything inside `block`.
static void setRows(Block &block, int64_t rows) {
  for (BlockArgument argument : block.getArguments())
    argument.setType(withRows(argument.getType(), rows));
  for (Operation &op : block) {
    for (Value result : op.getResults())
      result.setType(withRows(result.getType(), rows));
    for (Region &region : op.getRegions())
      for (Block &inner : region)
        setRows(inner, rows);
  }
}

static Value getConstant(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

/// lower + (upper - lower) rounded down to a multiple of `step`, for lower <= upper.
static Value getEndOfWholeTiles(OpBuilder &builder, Location loc, Value lower, Value upper,
                                int64_t step) {
  if (step == 1)
    return upper;
  Value extent = arith::SubIOp::create(builder, loc, upper, lower);
  Value whole;
  if (llvm::isPowerOf2_64(step)) {
    whole = arith::AndIOp::create(builder, loc, extent, getConstant(builder, loc, -step));
  } else {
    Value tile = getConstant(builder, loc, step);
    Value count = arith::DivSIOp::create(builder, loc, extent, tile);
    whole = arith::MulIOp::create(builder, loc, count, tile);
  }
  return arith::AddIOp::create(builder, loc, lower, whole);
}

/// Splits one tile loop whose body holds no other.
static void splitTileLoop(exec::TileLoopOp loop) {
  OpBuilder builder(loop);
  Location loc = loop.getLoc();
  Value lower = loop.getLower(), upper = loop.getUpper();
  std::optional<int64_t> first = getConstantIntValue(lower), last = getConstantIntValue(upper);
  bool isStatic = first && last;
  int64_t left = isStatic ? std::max<int64_t>(*last - *first, 0) : 0;
  if (!isStatic) // an extent below zero is an empty one
    upper = arith::MaxSIOp::create(builder, loc, lower, upper);
  for (int64_t tile : loop.getTiles()) {
    if (isStatic && left < tile)
      continue;
    Value end;
    if (isStatic) {
      *first += left / tile * tile;
      left %= tile;
      end = getConstant(builder, loc, *first);
    } else {
      end = getEndOfWholeTiles(builder, loc, lower, upper, tile);
    }
    auto whole = scf::ForOp::create(builder, loc, lower, end, getConstant(builder, loc, tile));
    OpBuilder inside(whole.getBody()->getTerminator());
    IRMapping mapping;
    mapping.map(loop.getBody().getArgument(0), whole.getInductionVar());
    for (Operation &op : loop.getBody().front().without_terminator())
      inside.clone(op, mapping);
    setRows(*whole.getBody(), tile);
    lower = end;
  }
  loop.erase();
}

namespace {
struct SplitDynamicLoops : kiln::impl::SplitDynamicLoopsBase<SplitDynamicLoops> {
  void runOnOperation() override {
    SmallVector<exec::TileLoopOp> loops;
    getOperation()->walk<WalkOrder::PostOrder>(
        [&](exec::TileLoopOp loop) { loops.push_back(loop); });
    for (exec::TileLoopOp loop : loops)
      splitTileLoop(loop);
  }
};
} // namespace
