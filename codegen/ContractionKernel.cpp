// Tiles of results: what happens to them after the multiplication.
#include "codegen/ContractionKernel.h"
#include "codegen/EmitSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::emit;

Type ContractionKernel::resultType() {
  return kernel.getBody().front().getTerminator()->getOperand(0).getType();
}

Value ContractionKernel::toIndex(Value i64) {
  return arith::IndexCastOp::create(b, b.getIndexType(), i64);
}

Value ContractionKernel::panelAddress(graph::MatmulOp matmul, Value panel) {
  unsigned weight = cast<BlockArgument>(matmul.getWeight()).getArgNumber();
  return address(b, frame.buffer(weight), panel, layout.panelBytes());
}

void ContractionKernel::emitEpilogue(IRMapping &tiles, RankedTensorType type, Value row,
                                     Value column) {
  auto loadOperand = [&](BlockArgument argument) -> Value {
    Value base = frame.buffer(argument.getArgNumber());
    if (cast<RankedTensorType>(argument.getType()).getRank() == 1)
      return exec::TileBroadcastOp::create(b, type, base, column);
    return exec::TileLoadOp::create(b, type, base, row, column,
                                    kernel.getRowStrides()[argument.getArgNumber()], shape.outputs);
  };
  for (Operation *op : shape.epilogue) {
    for (Value operand : op->getOperands()) {
      if (tiles.contains(operand))
        continue;
      if (auto argument = dyn_cast<BlockArgument>(operand))
        tiles.map(operand, loadOperand(argument));
      else
        b.clone(*operand.getDefiningOp(), tiles); // a constant
    }
    Operation *clone = b.clone(*op, tiles);
    clone->getResult(0).setType(type);
    tiles.map(op->getResult(0), clone->getResult(0));
  }
  size_t reads = kernel.getBody().getNumArguments();
  for (auto [i, result] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
    exec::TileStoreOp::create(b, tiles.lookup(result), frame.writeBuffer(i), row, column,
                              kernel.getRowStrides()[reads + i], shape.outputs);
}
