// The layout "panel16": the one packed weight layout of the CPU targets, written by the packer and
// read by every kernel, so both take their offsets from here.
//
// A matrix w [rows, depth] is cut into panels of 16 rows (the outputs of a matmul). Rows are padded
// to a multiple of 16 and depth to a multiple of 32 (256 for Super scales, 4 for s8), with what has
// the value 0, so that kernels have no tails. A panel is contiguous and starts at a multiple of 64
// bytes:
//
//   f32        [depth][16] f32
//   f16        [depth][16] f16
//   bf16       [depth/2][16][2] bf16: pairs of neighbouring depth (vdpbf16ps, AMX bf16)
//   integers   [depth/32][bits] lines of 64 bytes, then scales
//   s8         [depth/4] lines of 64 bytes, then [16] i32: the sum of each row's codes
//
// A line is [16][4] u8: four neighbouring depths, a quad, of 16 outputs, the operand of vpdpbusd,
// sdot and an AMX B tile. The eight quads of a group of 32 depths take as many lines as elements
// have bits:
//
//   8 bits     line q holds quad q
//   4 bits     line j (0..3) holds quad j in its low nibbles and j+4 in its high ones, so an `and`
//              and a shift unpack two vectors
//   2 bits     line h (0, 1) holds quad 4h + p in the bits 2p of its bytes
//   5 bits     four lines as for 4 bits, then one with the upper bits: of quad q in bit q
//   6 bits     four lines as for 4 bits, then two as for 2 bits with the upper bits
//   3 bits     two lines as for 2 bits, then one with the upper bits: of quad q in bit q
//
// All of them are as dense as the elements: at decode, time is bytes. Scales are records:
//
//   Half, Brain   for each 32 depths [16] f16 or bf16 scales, then [16] mins where there are any
//   Super         for each 256 depths [16] f16, [16] f16 for mins, then for each group
//                 [16] s8 scales, [16] s8 mins
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
/// The format of weights whose elements, of any type, are stored as code reads them (Operators.h):
/// in rows, in row-major order.
inline constexpr llvm::StringLiteral kRawFormatName = "raw";

/// Byte offsets inside a weight of `format` stored as "panel16". All sizes are in bytes; rows and
/// depth are the logical extents. Valid for rows and depth up to 2^31 (no overflow).
class PanelLayout {
public:
  static constexpr int64_t kPanelRows = 16;
  static constexpr int64_t kDepthMultiple = 32; // at least, but for s8
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
  /// Of s8: where the sums of the rows' codes lie.
  int64_t sumsOffset() const { return elementBytes; }
  /// Bytes of a record of scales, which covers Format::scaleDepth() elements of each row.
  int64_t scaleRecordBytes() const { return recordBytes; }
  int64_t groupCount() const { return depthPadded / format.group; }

  /// Where bits of element (lane, k) of a panel lie: from bit `shift` of a byte on, counted from
  /// the panel's start.
  struct Place {
    int64_t byte;
    unsigned shift = 0;
  };
  Place place(int64_t lane, int64_t k) const;
  /// How many bits of an element are at `place`; the others are at `upperPlace`.
  unsigned lowerBits() const;
  Place upperPlace(int64_t lane, int64_t k) const;

  /// Byte from the panel's start of the scale of (lane, group), and of its min: an f16 or a bf16,
  /// or under Super an s8.
  int64_t scalePlace(int64_t lane, int64_t group) const { return numberPlace(lane, group, 0); }
  int64_t minPlace(int64_t lane, int64_t group) const { return numberPlace(lane, group, 1); }
  /// Byte of the f16 that multiplies the s8 scale of (lane, group), and of its min's.
  int64_t superScalePlace(int64_t lane, int64_t group) const { return superPlace(lane, group, 0); }
  int64_t superMinPlace(int64_t lane, int64_t group) const { return superPlace(lane, group, 1); }

  /// The stored code of (lane, k) of the panel at `panel`, below 2^bits; for integers.
  unsigned loadCode(const uint8_t *panel, int64_t lane, int64_t k) const;
  /// Sets it in a panel whose bits there are zero.
  void storeCode(uint8_t *panel, int64_t lane, int64_t k, unsigned code) const;

  const Format &getFormat() const { return format; }

private:
  int64_t numberPlace(int64_t lane, int64_t group, int64_t which) const;
  int64_t superPlace(int64_t lane, int64_t group, int64_t which) const;

  const Format &format;
  int64_t panels, depthPadded, elementBytes, recordBytes, panelSize;
};

/// Bytes of a rank-1 weight of `elements` stored as "rows".
int64_t rowVectorBytes(int64_t elements);

} // namespace kiln

#endif
