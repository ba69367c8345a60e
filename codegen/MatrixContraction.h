// Multiplies many rows by a matrix unit: a block of rows as bf16 tiles in scratch, panels of
// weights expanded to bf16 tiles a step ahead of their use.
#ifndef KILN_CODEGEN_MATRIXCONTRACTION_H
#define KILN_CODEGEN_MATRIXCONTRACTION_H

#include "codegen/ContractionKernel.h"
#include "codegen/ExpandPanel.h"
#include "codegen/MatrixUnit.h"

namespace kiln {

class MatrixContraction {
public:
  /// `scratch`: address of scratchBytes() of the worker's own memory.
  MatrixContraction(ContractionKernel &kernel, mlir::Value scratch);

  /// Why the matrix unit does not take the region; nullopt where it does.
  static std::optional<std::string> refuse(const ContractionShape &shape, const Target &target);

  int64_t scratchBytes() const { return bytes; }
  mlir::Value configuration(); // MatrixUnit::kConfigBytes
  /// Most rows of a block; a multiple of 32.
  int64_t largestBlock() const { return blockRows; }
  /// Rows of all blocks but the last when `rows` (i64) are cut into as few blocks as possible.
  mlir::Value rowsPerBlock(mlir::Value rows);
  /// An item is two tiles of columns: the same panel of two matmuls, or two panels of one.
  int64_t panelsPerItem() const { return 2 / int64_t(k.shape.matmuls.size()); }
  int64_t itemsPerBlock() const;

  /// Brings the rows [first, first + count) into scratch, where all of their depth fits.
  void prepare(mlir::Value first, mlir::Value count);
  /// Multiplies the prepared rows with the items [from, to) and finishes the results.
  void multiply(mlir::Value first, mlir::Value count, mlir::Value from, mlir::Value to);

private:
  /// A chunk of an item's depth. Values are i64, the buffer an address.
  struct Step {
    mlir::Value item, chunk, firstGroup, groups, buffer, number; // the item's, of its sweep
  };
  /// An eighth of the work of expanding a step's columns.
  struct Piece {
    mlir::Value panel, tiles, part, soon;
  };

  Step stepAt(mlir::Value index, mlir::Value from, mlir::Value chunk);
  Piece pieceOf(const Step &step, const Step &later, mlir::Value index);
  void expandPiece(const Step &step, const Piece &piece, mlir::Value i);
  void expandFrom(mlir::Value from, const Step &step, const Step &later);
  mlir::Value panelOf(mlir::Value item, int64_t column);
  mlir::Value weightsOf(mlir::Value item, int64_t column);
  mlir::Value sumsOf(mlir::Value rowPair, const Step &step);
  void multiplySteps(mlir::Value first, mlir::Value count, mlir::Value from, mlir::Value steps,
                     mlir::Value chunk);
  void multiplyRows(mlir::Value rowPair, const Step &step, int64_t rowTiles,
                    llvm::function_ref<void(mlir::Value i)> meanwhile);
  void finish(mlir::Value rowPair, const Step &step, mlir::Value firstRow, mlir::Value left);
  mlir::Value at(int64_t offset);
  /// Groups of depth that lie prepared of a row.
  int64_t groupsAtOnce() const { return sweepItems ? chunkGroups : groups; }

  ContractionKernel &k;
  KernelFrame &frame;
  mlir::ImplicitLocOpBuilder &b;
  const MatrixUnit &unit;
  mlir::Value scratch;
  ExpandPanel expand;
  int64_t parts;       // of a number: tiles of a group
  int64_t groups;      // of 32 depths: steps of a product
  int64_t chunkGroups; // of them in a chunk
  int64_t chunks;      // of an item
  int64_t bufferBytes; // of a chunk's expanded columns; 0 where panels are tiles already
  int64_t blockRows;   // most rows of a block
  int64_t sweepItems;  // items that a chunk of rows meets before the next; 0: rows are prepared
                       // once, in all their depth
  int64_t configOffset = 0, sumsOffset = 0, rowsOffset = 0, columnsOffset = 0, bytes = 0;
};

} // namespace kiln

#endif
