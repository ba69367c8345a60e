// The layout "panel16": the one packed weight layout of the CPU targets, written by the packer and
// read by every kernel, so both take their offsets from here.
//
// A matrix w [rows, depth] is cut into panels of 16 rows (the outputs of a matmul). Rows are padded
// to a multiple of 16 and depth to a multiple of 32, with zeros (code `zero` for integers), so that
// kernels have no tails. A panel is contiguous and starts at a multiple of 64 bytes:
//
//   f32        [depth][16] f32
//   f16        [depth][16] f16
//   bf16       [depth/2][16][2] bf16: pairs of neighbouring depth (vdpbf16ps, AMX bf16)
//   q8_sym_*   [depth/4][16][4] u8 codes: the operand of vpdpbusd, sdot and an AMX B tile;
//              then scales [depth/group][16] f16
//   q4_sym_*   [depth/32][4][16][4] u8: byte (g, j, lane, i) holds depth 32g + 4j + i in its
//              low nibble and depth 32g + 4(j+4) + i in its high one, so an `and` and a shift
//              unpack two q8 vectors; then scales [depth/group][16] f16
//
// The layout "rows" is row-major without padding inside a row; it is for rank-1 weights, which are
// stored as f32 padded with zeros to a multiple of 16 elements.
#ifndef KILN_IR_PANELLAYOUT_H
#define KILN_IR_PANELLAYOUT_H

#include "ir/Formats.h"
#include <cstdint>

namespace kiln {

inline constexpr llvm::StringLiteral kPanelLayoutName = "panel16";
inline constexpr llvm::StringLiteral kRowsLayoutName = "rows";

/// Byte offsets inside a weight of `format` stored as "panel16". All sizes are in bytes; rows and
/// depth are the logical extents. Valid for rows and depth up to 2^31 (no overflow).
class PanelLayout {
public:
  static constexpr int64_t kPanelRows = 16;
  static constexpr int64_t kDepthMultiple = 32;
  static constexpr int64_t kAlignment = 64;

  PanelLayout(const Format &format, int64_t rows, int64_t depth);

  int64_t paddedRows() const { return panels * kPanelRows; }
  int64_t paddedDepth() const { return depthPadded; }
  int64_t panelCount() const { return panels; }
  /// Bytes from one panel to the next.
  int64_t panelBytes() const { return panelSize; }
  int64_t totalBytes() const { return panels * panelSize; }
  /// Bytes of elements in a panel; its scales follow at once.
  int64_t scalesOffset() const { return elementBytes; }
  int64_t groupCount() const { return depthPadded / format.group; }

  /// Where element (lane, k) of a panel lies: byte from the panel's start, and for 4-bit formats
  /// whether it is the high nibble.
  struct Place {
    int64_t byte;
    bool highNibble;
  };
  Place place(int64_t lane, int64_t k) const;
  /// Byte from the panel's start of the f16 scale of (lane, group).
  int64_t scalePlace(int64_t lane, int64_t group) const;

  const Format &getFormat() const { return format; }

private:
  const Format &format;
  int64_t panels, depthPadded, elementBytes, panelSize;
};

/// Bytes of a rank-1 weight of `elements` stored as "rows".
int64_t rowVectorBytes(int64_t elements);

} // namespace kiln

#endif
