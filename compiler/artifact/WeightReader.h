// A weight's logical values, read block by block from its sources.
#ifndef KILN_COMPILER_ARTIFACT_WEIGHTREADER_H
#define KILN_COMPILER_ARTIFACT_WEIGHTREADER_H

#include "compiler/artifact/BlockTypes.h"
#include "compiler/artifact/SourceFiles.h"
#include "ir/Graph/GraphDialect.h"
#include <vector>

namespace kiln {

/// Buffers of one thread that reads; reused from block to block.
struct ReadScratch {
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};

/// Sources and transforms of a weight, resolved to segments of one matrix [rows, depth]. A tensor
/// of another rank counts as [dim 0, product of the rest].
class WeightReader {
public:
  /// Opens the sources and checks that they lie inside their files and make up the weight.
  static llvm::Expected<WeightReader> create(graph::WeightOp weight, SourceFiles &files);

  llvm::StringRef getName() const { return name; }
  int64_t getRows() const { return rows; }
  int64_t getDepth() const { return depth; }
  /// Some source's rows lie across the weight's rows: reading wide blocks costs fewer reads.
  bool isTransposed() const;
  /// The tensor (and its file) that holds element (row, k), for messages.
  std::string describePlace(int64_t row, int64_t k) const;

  /// The type of all sources, where their rows can be had as the files store them: one type, no
  /// transposition, and no transform that changes values. Null otherwise.
  const BlockType *getBlockType() const;
  /// Bytes of a row of blocks; getBlockType() must give one.
  int64_t getBlockRowBytes() const;
  /// Reads rows [first, first + count) as they are stored: `bytes` becomes
  /// [count][getBlockRowBytes()], rows in the weight's order. getBlockType() must give a type.
  llvm::Error readBlockRows(int64_t first, int64_t count, uint8_t *bytes) const;

  /// Reads `count` panels of 16 rows: `values` becomes [count][depthPadded][16], zero where padded.
  llvm::Error readPanels(int64_t firstPanel, int64_t count, int64_t depthPadded, float *values,
                         ReadScratch &scratch) const;
  /// Reads rows [first, first + count): `values` becomes [count][depth].
  llvm::Error readRows(int64_t first, int64_t count, float *values, ReadScratch &scratch) const;

private:
  /// A source's part of the matrix.
  struct Segment {
    const SourceFile *file;
    std::string tensor;
    uint64_t offset;
    const BlockType *type;
    int64_t interleaved = 0;       // rows of a run (graph.source), 0: in order
    int64_t row = 0, column = 0;   // of its first element in the matrix
    int64_t rows = 0, columns = 0; // in the matrix, after transposition
    bool transposed = false;       // in the file it is [columns, rows]

    /// Bytes of `elements` elements, which are whole blocks.
    int64_t bytesOf(int64_t elements) const { return elements / type->elements * type->bytes; }
    /// The row of the file that holds row `row` of the segment.
    int64_t rowInFile(int64_t row) const;
  };

  /// Reads rows [first, first + count) of a segment that is not transposed.
  llvm::Error readFileRows(const Segment &segment, int64_t first, int64_t count,
                           uint8_t *bytes) const;

  /// Calls place(row, column, rows, columns, values) for pieces [rows, columns] (row-major, or
  /// [columns, rows] where the segment is transposed) that cover rows [first, last).
  template <typename Place>
  llvm::Error readPieces(const Segment &segment, int64_t first, int64_t last, int64_t alignRows,
                         ReadScratch &scratch, Place place) const;

  std::string name;
  int64_t rows = 0, depth = 0;
  float offset = 0; // added to every value
  std::vector<Segment> segments;
};

} // namespace kiln

#endif
