// Blocks of rows and tiles of them: the loops around matmuls.
#include "codegen/RowBlocks.h"
#include "codegen/EmitSupport.h"
#include "ir/PanelLayout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

Value RowBlocks::scratch() { return address(b, frame.scratch(), kNumberBytes); }

void RowBlocks::begin() {
  Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, frame.range(), i64(b, 0));
  branch(b, first, [&] { store(b, i64(b, -1), frame.scratch(), 8); });
}

void RowBlocks::ifNotPrepared(Value block, llvm::function_ref<void()> prepare) {
  Value known = load(b, b.getI64Type(), frame.scratch(), 8);
  branch(b, arith::CmpIOp::create(b, arith::CmpIPredicate::ne, known, block), [&] {
    prepare();
    store(b, block, frame.scratch(), 8);
  });
}

void RowBlocks::forEach(Value rows, Value rowsPerBlock, int64_t items,
                        llvm::function_ref<void(Value, Value)> prepare,
                        llvm::function_ref<void(Value, Value, Value, Value)> body) {
  Value firstBlock = frame.floorDiv(frame.begin(), items);
  Value lastBlock = frame.ceilDiv(frame.end(), items);
  loop(b, firstBlock, lastBlock, 1, [&](Value block) {
    Value first = frame.mul(block, rowsPerBlock);
    Value count = frame.min(rowsPerBlock, frame.sub(rows, first));
    Value firstItem = frame.mul(block, i64(b, items));
    Value from = frame.sub(frame.max(frame.begin(), firstItem), firstItem);
    Value to = frame.sub(frame.min(frame.end(), frame.add(firstItem, i64(b, items))), firstItem);
    ifNotPrepared(block, [&] { prepare(first, count); });
    body(first, count, from, to);
  });
}

void kiln::forTiles(ImplicitLocOpBuilder &b, const Target &target, Value count, int64_t most,
                    llvm::function_ref<void(Value tileRow, RankedTensorType type)> body) {
  SmallVector<int64_t> heights;
  llvm::copy_if(target.rowTiles, std::back_inserter(heights),
                [&](int64_t height) { return height <= most; });
  forTiles(b, heights, count, body);
}

void kiln::forTiles(ImplicitLocOpBuilder &b, ArrayRef<int64_t> heights, Value count,
                    llvm::function_ref<void(Value tileRow, RankedTensorType type)> body) {
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value end = arith::IndexCastOp::create(b, b.getIndexType(), count);
  auto tileLoop = exec::TileLoopOp::create(b, zero, end, heights);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&tileLoop.getBody(), {}, {b.getIndexType()}, {b.getLoc()});
  body(block->getArgument(0),
       RankedTensorType::get({ShapedType::kDynamic, PanelLayout::kPanelRows}, b.getF32Type()));
  exec::TileYieldOp::create(b);
}
