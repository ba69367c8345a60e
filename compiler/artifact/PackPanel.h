// One panel of a weight, from f32 to the bytes of "panel16".
#ifndef KILN_COMPILER_ARTIFACT_PACKPANEL_H
#define KILN_COMPILER_ARTIFACT_PACKPANEL_H

#include "compiler/artifact/QuantizeSymmetric.h"
#include "ir/PanelLayout.h"

namespace kiln {

/// Whether values can be packed into the format, or only blocks that hold it already
/// (RepackBlocks.h).
inline bool canQuantizeTo(const Format &format) {
  return format.kind == FormatKind::Float || format.isPlain();
}

/// Packs `values` [paddedDepth][16] into `panel`, layout.panelBytes() bytes, and adds what was lost
/// to `sums`. False where the format cannot hold a value: for integers one that is not finite or is
/// too large, for floats a finite one that would become infinite.
bool packPanel(const PanelLayout &layout, const float *values, ScaleChoice choice, uint8_t *panel,
               ErrorSums *sums);

/// Stores `count` elements of a float format one after another; false as above.
bool packElements(FormatId format, const float *values, int64_t count, uint8_t *result,
                  ErrorSums *sums);

/// Whether the format can hold the value.
bool canHold(const Format &format, float value);

/// One panel of the format s8: `codes` [rows][depth] of i8, at most 16 rows, into `panel`,
/// layout.panelBytes() bytes, with the sums of the rows behind them.
void packCodesPanel(const PanelLayout &layout, const uint8_t *codes, int64_t rows, int64_t depth,
                    uint8_t *panel);

} // namespace kiln

#endif
