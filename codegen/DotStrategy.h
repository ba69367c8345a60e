// How a target multiplies prepared activation rows with a panel of a stored weight: an entry of its
// ordered list of dot products, and the form in which activations are prepared for it.
#ifndef KILN_CODEGEN_DOTSTRATEGY_H
#define KILN_CODEGEN_DOTSTRATEGY_H

#include "codegen/PanelVectors.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>
#include <string>

namespace kiln {

struct Target;

/// How a row of activations lies in scratch. Depth is padded as the weight's is.
enum class RowKind {
  F32,  // [depth] f32
  Int8, // [depth] i8 codes, [groups] f32 scales, [sums] of 4 bytes: value = scale * code
  // The same with codes of 15 bits, as two rows of bytes `lower` bytes apart: 128 * [depth] i8 and
  // [depth] i8, the first -127 .. 127, the second -64 .. 63.
  Int15,
};

/// What is kept of the sums of codes, one sum for each group of the weight.
enum class SumKind {
  None,
  Offset, // i32, -zero * sum: what unsigned codes of the weight add too much
  Value,  // f32, scale * sum: what the weight's mins are multiplied with
};

/// Byte offsets inside a prepared row.
struct PreparedRows {
  PreparedRows(RowKind kind, const PanelLayout &layout);

  RowKind kind;
  SumKind sumKind;
  int64_t depth;    // padded
  int64_t groups;   // of 32 elements
  int64_t sumGroup; // elements of a sum: 16 or 32
  int64_t scales;   // byte offset of the scales
  int64_t sums;     // byte offset of the sums
  int64_t lower;    // byte offset of the lower codes of Int15, half of the stride
  int64_t stride; // bytes from row to row; not a power of two, so that rows spread over cache sets
  static constexpr int64_t kGroup = 32;
  static constexpr int64_t kUpperCode = 128; // what an upper code of Int15 counts
};

/// Dot products of `rowCount` prepared rows with the 16 rows of each of a few panels. The panels
/// are walked side by side: each is one more sequential stream, and memory gives more to several.
/// Where registers do not suffice for that, panels are walked one after the other, and what is
/// fetched meanwhile for later is walked side by side instead: `upcoming`.
struct DotRequest {
  mlir::Value rows; // address of the first prepared row
  int64_t rowCount;
  mlir::Value scratch;                   // address of DotStrategy::scratchBytes, aligned to 64
  llvm::SmallVector<mlir::Value> panels; // addresses
  const PanelLayout &layout;
  unsigned vectorBits; // the target's
  LookUpBytes lookUp;  // the target's; may be null
  /// Panels to fetch into the second-level cache, and which of `shares` equal parts of each this
  /// request should fetch. None: the lines that this request itself will need are asked for.
  llvm::SmallVector<mlir::Value> upcoming = {};
  int64_t share = 0, shares = 1;

  /// Asks for what lies as far into this request's share of the upcoming panels as `group` (i64) is
  /// into the panels at hand.
  void fetchUpcoming(mlir::ImplicitLocOpBuilder &b, mlir::Value group) const;
};

struct DotStrategy {
  llvm::StringLiteral name;
  RowKind rowKind;
  /// Whether SumKind::Offset is needed, or codes are made signed first.
  bool unsignedWeights;
  /// Why the strategy does not take a weight of that format on that target.
  std::optional<std::string> (*refuse)(const Format &format, const Target &target);
  /// One vector<16xf32> per panel and row, panel by panel. Sums over depth in the same order
  /// whatever the counts, so that a row's result does not depend on its neighbours.
  llvm::SmallVector<mlir::Value> (*emit)(mlir::ImplicitLocOpBuilder &b, const DotRequest &request);
  /// Vector registers for each sum that is carried: for itself, for codes, and for what the
  /// scheduler loads early. Limits the panels of a request to what stays in registers.
  int64_t registersPerSum = 4;
  int64_t scratchBytes = 0; // a multiple of 64
  /// The same products of activations in a finer form, for few rows; null where this is as fine as
  /// it gets.
  const DotStrategy *fine = nullptr;
};

/// The first of the target's dots that takes weights of the format; null where none does.
const DotStrategy *findDot(const Format &format, const Target &target);

/// The same address, which the optimizer cannot know: what is read by it for one panel is then read
/// again for the next, as operands, instead of being kept in more registers than there are.
mlir::Value anotherName(mlir::ImplicitLocOpBuilder &b, mlir::Value pointer);

/// Works on every target and for every format: weights are widened to f32, activations stay f32.
extern const DotStrategy fmaDot;

/// Sums of i32 of both planes of Int15 as one: for a group of 32 and weights' codes of 8 bits below
/// 2^28, exact.
mlir::Value joinPlanes(mlir::ImplicitLocOpBuilder &b, mlir::Value upper, mlir::Value lower);

/// The skeleton of an integer dot product: for each group of 32 (or 16), `dot` adds the products of
/// code vectors (a register of i32, four 8-bit codes of one output per lane) with activation quads
/// (i32 scalars, four i8 codes) to a register of i32, exactly; the sum is scaled and added in f32,
/// and so are the mins times the group's sum of activations. `kind` is Int8 or Int15; of the latter
/// upper and lower codes are summed apart, and joined exactly.
using QuadDot = mlir::Value (*)(mlir::ImplicitLocOpBuilder &b, mlir::Value sum, mlir::Value codes,
                                mlir::Value activations);
llvm::SmallVector<mlir::Value> emitGroupedIntegerDot(mlir::ImplicitLocOpBuilder &b,
                                                     const DotRequest &request, RowKind kind,
                                                     bool unsignedWeights, QuadDot dot);

} // namespace kiln

#endif
