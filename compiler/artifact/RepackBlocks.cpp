// Takes blocks apart into codes and scales as they are stored (ggml-common.h; their values are in
// DecodeBlocks.cpp and DecodeSuperblocks.cpp), and puts those where ir/PanelLayout.h says. Nothing
// is rounded: codes keep their bits, f16 scales theirs, and scales of runs become bytes.
#include "compiler/artifact/RepackBlocks.h"
#include "llvm/Support/ErrorHandling.h"
#include <cassert>
#include <cstring>

using namespace kiln;

static constexpr int64_t kLanes = PanelLayout::kPanelRows, kGroup = 32, kQuads = kGroup / 4;

namespace {

/// A block of 32 or 256 elements.
struct Block {
  uint8_t codes[256];
  uint16_t scale, min; // f16, or bf16 for MXFP4
  int8_t steps[16], minSteps[16];
};

using TakeApart = void (*)(const uint8_t *bytes, Block &block);

} // namespace

static uint16_t halfAt(const uint8_t *bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return half;
}

// ---- Blocks of 32: the low nibbles are the first 16 elements ----------------------------------

static void splitNibbles(const uint8_t *bytes, int64_t chunk, int64_t count, uint8_t *codes) {
  for (; count > 0; count -= 2 * chunk, bytes += chunk, codes += 2 * chunk)
    for (int64_t i = 0; i < chunk; ++i) {
      codes[i] = bytes[i] & 15;
      codes[i + chunk] = bytes[i] >> 4;
    }
}

static void addFifthBits(const uint8_t *bytes, uint8_t *codes) {
  for (int64_t i = 0; i < 32; ++i)
    codes[i] |= uint8_t((bytes[i / 8] >> (i % 8) & 1) << 4);
}

static void takeQ4_0(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  splitNibbles(bytes + 2, 16, 32, block.codes);
}

static void takeQ4_1(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  block.min = halfAt(bytes + 2);
  splitNibbles(bytes + 4, 16, 32, block.codes);
}

static void takeQ5_0(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  splitNibbles(bytes + 6, 16, 32, block.codes);
  addFifthBits(bytes + 2, block.codes);
}

static void takeQ5_1(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  block.min = halfAt(bytes + 2);
  splitNibbles(bytes + 8, 16, 32, block.codes);
  addFifthBits(bytes + 4, block.codes);
}

static void takeQ8_0(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  for (int64_t i = 0; i < 32; ++i)
    block.codes[i] = uint8_t(bytes[2 + i] ^ 0x80); // signed to 128 more
}

static void takeMXFP4(const uint8_t *bytes, Block &block) {
  // 2^(e - 128), half of what the exponent says because the table holds doubles: as bf16.
  block.scale = uint16_t(bytes[0] < 2 ? 0x20 << bytes[0] : (bytes[0] - 1) << 7);
  splitNibbles(bytes + 1, 16, 32, block.codes);
}

// ---- Blocks of 256 ----------------------------------------------------------------------------

/// Codes of two bits: the lowest bits of 32 bytes are 32 elements, the next the 32 after those.
static void splitPairs(const uint8_t *bytes, uint8_t *codes) {
  for (int64_t i = 0; i < 256; ++i)
    codes[i] = bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

static void takeQ2_K(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes + 80);
  block.min = halfAt(bytes + 82);
  splitPairs(bytes + 16, block.codes);
  for (int64_t run = 0; run < 16; ++run) {
    block.steps[run] = int8_t(bytes[run] & 15);
    block.minSteps[run] = int8_t(bytes[run] >> 4);
  }
}

static void takeQ3_K(const uint8_t *bytes, Block &block) {
  const uint8_t *scales = bytes + 96;
  block.scale = halfAt(bytes + 108);
  splitPairs(bytes + 32, block.codes);
  for (int64_t i = 0; i < 256; ++i)
    block.codes[i] |= uint8_t((bytes[i % 32] >> (i / 32) & 1) << 2);
  for (int64_t run = 0; run < 16; ++run) {
    int low = run < 8 ? scales[run] & 15 : scales[run - 8] >> 4;
    int high = scales[8 + run % 4] >> (run / 4 * 2) & 3;
    block.steps[run] = int8_t((low | high << 4) - 32);
  }
}

/// Eight scales and eight mins of six bits in 12 bytes.
static void takeSixBitScales(const uint8_t *packed, Block &block) {
  for (int64_t run = 0; run < 4; ++run) {
    block.steps[run] = int8_t(packed[run] & 63);
    block.minSteps[run] = int8_t(packed[run + 4] & 63);
    block.steps[run + 4] = int8_t((packed[run + 8] & 15) | (packed[run] >> 6 << 4));
    block.minSteps[run + 4] = int8_t((packed[run + 8] >> 4) | (packed[run + 4] >> 6 << 4));
  }
}

static void takeQ4_K(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  block.min = halfAt(bytes + 2);
  takeSixBitScales(bytes + 4, block);
  splitNibbles(bytes + 16, 32, 256, block.codes);
}

static void takeQ5_K(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  block.min = halfAt(bytes + 2);
  takeSixBitScales(bytes + 4, block);
  splitNibbles(bytes + 48, 32, 256, block.codes);
  for (int64_t i = 0; i < 256; ++i)
    block.codes[i] |= uint8_t((bytes[16 + i % 32] >> (i / 32) & 1) << 4);
}

static void takeQ6_K(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes + 208);
  splitNibbles(bytes, 64, 256, block.codes);
  for (int64_t i = 0; i < 256; ++i) {
    int high = bytes[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    block.codes[i] |= uint8_t(high << 4);
  }
  std::memcpy(block.steps, bytes + 192, 16);
}

static void takeIQ4_XS(const uint8_t *bytes, Block &block) {
  block.scale = halfAt(bytes);
  int high = halfAt(bytes + 2);
  for (int64_t run = 0; run < 8; ++run) {
    int low = bytes[4 + run / 2] >> (run % 2 * 4) & 15;
    block.steps[run] = int8_t((low | (high >> (2 * run) & 3) << 4) - 32);
  }
  for (int64_t run = 0; run < 8; ++run)
    splitNibbles(bytes + 8 + run * 16, 16, 32, block.codes + run * 32);
}

static TakeApart takeApartOf(BlockTypeId type) {
  switch (type) {
  case BlockTypeId::Q4_0:
  case BlockTypeId::IQ4_NL:
    return takeQ4_0;
  case BlockTypeId::Q4_1:
    return takeQ4_1;
  case BlockTypeId::Q5_0:
    return takeQ5_0;
  case BlockTypeId::Q5_1:
    return takeQ5_1;
  case BlockTypeId::Q8_0:
    return takeQ8_0;
  case BlockTypeId::Q2_K:
    return takeQ2_K;
  case BlockTypeId::Q3_K:
    return takeQ3_K;
  case BlockTypeId::Q4_K:
    return takeQ4_K;
  case BlockTypeId::Q5_K:
    return takeQ5_K;
  case BlockTypeId::Q6_K:
    return takeQ6_K;
  case BlockTypeId::IQ4_XS:
    return takeIQ4_XS;
  case BlockTypeId::MXFP4:
    return takeMXFP4;
  case BlockTypeId::F32:
  case BlockTypeId::F16:
  case BlockTypeId::BF16:
    break;
  }
  llvm_unreachable("floats are no blocks");
}

// ---- Panels -----------------------------------------------------------------------------------

using Line = uint32_t[kLanes];

/// The lines of one group from its quads: the low `bits` of each byte.
static void packLines(unsigned bits, const Line *quads, Line *lines) {
  auto put = [&](int64_t line, int64_t quad, int64_t from, uint32_t byte, int64_t to) {
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lines[line][lane] |= (quads[quad][lane] >> from & byte * 0x01010101u) << to;
  };
  std::memset(lines, 0, bits * sizeof(Line));
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    int64_t half = quad / 4, inHalf = quad % 4;
    if (bits == 8)
      put(quad, quad, 0, 255, 0);
    else if (bits >= 4)
      put(inHalf, quad, 0, 15, 4 * half);
    else
      put(half, quad, 0, 3, 2 * inHalf);
    if (bits == 3)
      put(2, quad, 2, 1, quad);
    if (bits == 5)
      put(4, quad, 4, 1, quad);
    if (bits == 6)
      put(4 + half, quad, 4, 3, 2 * inHalf);
  }
}

namespace {

/// Sixteen rows of blocks, and the panel they become.
class Repacking {
public:
  Repacking(const PanelLayout &layout, const BlockType &type, uint8_t *panel)
      : layout(layout), format(layout.getFormat()), take(takeApartOf(type.id)),
        elements(type.elements), panel(panel) {}

  /// The blocks of all rows from depth `k` on. Gives the lane of a scale that is not finite.
  std::optional<int64_t> pack(const uint8_t *rows, int64_t rowBytes, int64_t rowCount, int64_t k) {
    std::memset(quads, 0, sizeof quads);
    for (int64_t lane = 0; lane < rowCount; ++lane) {
      take(rows + lane * rowBytes, block);
      if (!isFinite(block.scale) || (format.hasMin && !isFinite(block.min)))
        return lane;
      storeScales(lane, k / format.group);
      for (int64_t quad = 0; quad < elements / 4; ++quad)
        std::memcpy(&quads[quad][lane], block.codes + 4 * quad, 4);
    }
    for (int64_t group = 0; group < elements / kGroup; ++group) {
      packLines(format.bits, quads + group * kQuads, lines);
      size_t bytes = format.bits * sizeof(Line);
      std::memcpy(panel + (k / kGroup + group) * int64_t(bytes), lines, bytes);
    }
    return std::nullopt;
  }

private:
  bool isFinite(uint16_t scale) const {
    uint16_t exponent = format.scales == ScaleKind::Brain ? 0x7f80 : 0x7c00;
    return (scale & exponent) != exponent;
  }

  void storeScales(int64_t lane, int64_t firstGroup) {
    auto store = [&](int64_t place, uint16_t scale) { std::memcpy(panel + place, &scale, 2); };
    if (format.scales != ScaleKind::Super) {
      store(layout.scalePlace(lane, firstGroup), block.scale);
      if (format.hasMin)
        store(layout.minPlace(lane, firstGroup), block.min);
      return;
    }
    store(layout.superScalePlace(lane, firstGroup), block.scale);
    if (format.hasMin)
      store(layout.superMinPlace(lane, firstGroup), block.min);
    for (int64_t i = 0; i < elements / format.group; ++i) {
      panel[layout.scalePlace(lane, firstGroup + i)] = uint8_t(block.steps[i]);
      if (format.hasMin)
        panel[layout.minPlace(lane, firstGroup + i)] = uint8_t(block.minSteps[i]);
    }
  }

  const PanelLayout &layout;
  const Format &format;
  TakeApart take;
  int64_t elements;
  uint8_t *panel;
  Block block;
  Line quads[256 / 4], lines[8];
};

} // namespace

std::optional<PanelElement> kiln::repackPanel(const PanelLayout &layout, const BlockType &type,
                                              const uint8_t *rows, int64_t rowBytes,
                                              int64_t rowCount, uint8_t *panel) {
  assert(layout.getFormat().keeps == type.name && layout.paddedDepth() % type.elements == 0);
  std::memset(panel + layout.scalesOffset(), 0,
              size_t(layout.panelBytes() - layout.scalesOffset()));
  Repacking repacking(layout, type, panel);
  for (int64_t block = 0; block < layout.paddedDepth() / type.elements; ++block) {
    int64_t k = block * type.elements;
    if (auto lane = repacking.pack(rows + block * type.bytes, rowBytes, rowCount, k))
      return PanelElement{*lane, k};
  }
  return std::nullopt;
}
