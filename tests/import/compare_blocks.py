#!/usr/bin/env python3
"""Compares the values of every type of GGUF blocks with those of the `gguf` package, bit for bit.

usage: compare_blocks.py DECODE_BLOCKS           random blocks and blocks of extreme scales, through the program
       compare_blocks.py --golden > gguf_blocks.txt   a few blocks and the package's values, for BlockTypesTest.cpp

Exit status 77 where the packages `gguf` and `numpy` are absent.
"""
import subprocess
import sys

try:
    import gguf
    import numpy as np
except ImportError:
    print("SKIP: the Python packages gguf and numpy are absent")
    sys.exit(77)

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "MXFP4"]
# Where a block's f16 scales lie.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
# Zeros, subnormals, the smallest and largest normal, infinities, NaNs.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]


def spelled(name):
    return name.lower() if name in ("F32", "F16", "BF16") else "gguf." + name.lower()


def make_blocks(name, count, random):
    """[count, bytes]: a third random, a third with scales as models have them, the rest with extreme ones."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in SCALES.get(name, []):
        usual = (random.standard_normal(count) * 0.02).astype(np.float16).view(np.uint16)
        extreme = random.choice(np.array(EXTREMES, np.uint16), count)
        kind = np.arange(count) % 3
        scales = np.where(kind == 1, usual, extreme)
        bytes_ = scales.astype("<u2")[:, None].view(np.uint8)
        blocks[kind > 0, at:at + 2] = bytes_[kind > 0]
    return blocks


def reference(name, blocks):
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
    return np.ascontiguousarray(values, dtype="<f4").reshape(-1)


def compare(program):
    random = np.random.default_rng(1)
    for name in TYPES:
        blocks = make_blocks(name, 30000, random)
        out = subprocess.run([program, spelled(name)], input=blocks.tobytes(), stdout=subprocess.PIPE, check=True)
        found, expected = np.frombuffer(out.stdout, "<f4"), reference(name, blocks)
        assert found.shape == expected.shape, name
        same = (found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(found) & np.isnan(expected))
        if not same.all():
            at = int(np.argmin(same))
            sys.exit(f"{name}: value {at}: expected {expected[at]!r}, found {found[at]!r}")
        print(f"{name}: {same.size} values of {len(blocks)} blocks are equal")


def write_golden():
    random = np.random.default_rng(2)
    for name in TYPES:
        for block in make_blocks(name, 3, random):
            values = reference(name, block[None])
            print(spelled(name), block.tobytes().hex(), values.tobytes().hex())


def main():
    if sys.argv[1:] == ["--golden"]:
        return write_golden()
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    return compare(sys.argv[1])


if __name__ == "__main__":
    main()
