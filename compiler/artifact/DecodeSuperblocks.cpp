// Blocks of 256 elements to f32: ggml's K formats and IQ4_XS (ggml-common.h), whose blocks hold
// scales of 4 to 8 bits for runs of 16 or 32 elements under one or two f16 scales of the block. A
// value is code * (scale * scale of its run), less (minimum * minimum of its run) where the format
// has minima, in the order of ggml's reference. Codes are packed in chunks of bytes: the low bits
// of a chunk's bytes are its first elements, the next bits the elements after those.
#include "compiler/artifact/ConvertElements.h"
#include "compiler/artifact/DecodeBlocks.h"

using namespace kiln;

static constexpr int64_t kBlock = 256;

static float readScale(const uint8_t *bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return f16ToF32(half);
}

/// Code `i` of codes of `bits` bits packed in chunks of `chunk` bytes.
static int unpack(const uint8_t *codes, int64_t chunk, int bits, int64_t i) {
  int64_t perChunk = chunk * 8 / bits, inside = i % perChunk;
  return codes[i / perChunk * chunk + inside % chunk] >> (inside / chunk * bits) &
         ((1 << bits) - 1);
}

/// [scales, low nibble; minima, high nibble: 16 bytes][codes of 2 bits: 64][scale][minimum]
void kiln::decodeQ2_K(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 84, values += kBlock) {
    float scale = readScale(block + 80), minimum = readScale(block + 82);
    for (int64_t run = 0; run < 16; ++run) {
      float runScale = scale * float(block[run] & 15),
            runMinimum = minimum * float(block[run] >> 4);
      for (int64_t i = run * 16; i < run * 16 + 16; ++i)
        values[i] = runScale * float(unpack(block + 16, 32, 2, i)) - runMinimum;
    }
  }
}

/// [third bits, inverted: 32][codes of 2 bits: 64][scales of 6 bits: 12][scale]
void kiln::decodeQ3_K(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 110, values += kBlock) {
    const uint8_t *scales = block + 96;
    float scale = readScale(block + 108);
    for (int64_t run = 0; run < 16; ++run) {
      int low = run < 8 ? scales[run] & 15 : scales[run - 8] >> 4;
      int high = scales[8 + run % 4] >> (run / 4 * 2) & 3;
      float runScale = scale * float((low | high << 4) - 32);
      for (int64_t i = run * 16; i < run * 16 + 16; ++i) {
        int code = unpack(block + 32, 32, 2, i) - (unpack(block, 32, 1, i) ? 0 : 4);
        values[i] = runScale * float(code);
      }
    }
  }
}

namespace {
/// Scales and minima of the eight runs of Q4_K and Q5_K: 6 bits each in 12 bytes.
struct RunScales {
  float scale[8], minimum[8];

  explicit RunScales(const uint8_t *block) {
    float blockScale = readScale(block), blockMinimum = readScale(block + 2);
    const uint8_t *packed = block + 4;
    for (int64_t run = 0; run < 8; ++run) {
      int scaleBits = packed[run] & 63, minimumBits = packed[(run + 4) % 12] & 63;
      if (run >= 4) {
        scaleBits = (packed[run + 4] & 15) | (packed[run - 4] >> 6 << 4);
        minimumBits = (packed[run + 4] >> 4) | (packed[run] >> 6 << 4);
      }
      scale[run] = blockScale * float(scaleBits);
      minimum[run] = blockMinimum * float(minimumBits);
    }
  }
};
} // namespace

/// [scale][minimum][scales and minima: 12][codes of 4 bits: 128]
void kiln::decodeQ4_K(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 144, values += kBlock) {
    RunScales runs(block);
    for (int64_t run = 0; run < 8; ++run)
      for (int64_t i = run * 32; i < run * 32 + 32; ++i)
        values[i] = runs.scale[run] * float(unpack(block + 16, 32, 4, i)) - runs.minimum[run];
  }
}

/// [scale][minimum][scales and minima: 12][fifth bits: 32][codes of 4 bits: 128]
void kiln::decodeQ5_K(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 176, values += kBlock) {
    RunScales runs(block);
    for (int64_t run = 0; run < 8; ++run)
      for (int64_t i = run * 32; i < run * 32 + 32; ++i) {
        int code = unpack(block + 48, 32, 4, i) | unpack(block + 16, 32, 1, i) << 4;
        values[i] = runs.scale[run] * float(code) - runs.minimum[run];
      }
  }
}

/// [low 4 bits: 128][high 2 bits: 64][scales, i8: 16][scale]
void kiln::decodeQ6_K(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 210, values += kBlock) {
    float scale = readScale(block + 208);
    for (int64_t run = 0; run < 16; ++run) {
      float runScale = scale * float(int8_t(block[192 + run]));
      for (int64_t i = run * 16; i < run * 16 + 16; ++i) {
        int code = unpack(block, 64, 4, i) | unpack(block + 128, 32, 2, i) << 4;
        values[i] = runScale * float(code - 32);
      }
    }
  }
}

/// [scale][high 2 bits of the runs' scales: 2][their low 4 bits: 4][codes into IQ4_NL's table: 128]
void kiln::decodeIQ4_XS(const uint8_t *block, int64_t count, float *values) {
  for (; count; --count, block += 136, values += kBlock) {
    float scale = readScale(block);
    int high = block[2] | block[3] << 8;
    for (int64_t run = 0; run < 8; ++run) {
      int low = block[4 + run / 2] >> (run % 2 * 4) & 15;
      float runScale = scale * float((low | (high >> (2 * run) & 3) << 4) - 32);
      for (int64_t i = run * 32; i < run * 32 + 32; ++i)
        values[i] = runScale * float(kIQ4Values[unpack(block + 8, 16, 4, i)]);
    }
  }
}
