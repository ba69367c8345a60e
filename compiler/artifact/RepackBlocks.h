// Quantized blocks of GGUF files to a panel of "panel16" that holds the same values exactly.
#ifndef KILN_COMPILER_ARTIFACT_REPACKBLOCKS_H
#define KILN_COMPILER_ARTIFACT_REPACKBLOCKS_H

#include "compiler/artifact/BlockTypes.h"
#include "ir/PanelLayout.h"
#include <optional>

namespace kiln {

/// An element of a panel.
struct PanelElement {
  int64_t lane, k;
};

/// Packs `rowCount` (at most 16) rows of blocks, `rowBytes` apart, as `panel`, which gets all of
/// layout.panelBytes(). The layout's format must be the one that keeps `type`, its depth a multiple
/// of the type's blocks. Gives the first element of a block whose scale is not finite, which no
/// kernel can multiply; nullopt where all went well.
std::optional<PanelElement> repackPanel(const PanelLayout &layout, const BlockType &type,
                                        const uint8_t *rows, int64_t rowBytes, int64_t rowCount,
                                        uint8_t *panel);

} // namespace kiln

#endif
