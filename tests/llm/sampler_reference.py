#!/usr/bin/env python3
"""The sampler written down a second time, from its description in runtime/llm/sampler.cpp. Prints the
sequences that SamplerTest.cpp expects."""

import math
import struct

MASK = (1 << 64) - 1


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


class Xoshiro:
    def __init__(self, seed):
        self.s = []
        for _ in range(4):  # SplitMix64
            seed = (seed + 0x9E3779B97F4A7C15) & MASK
            z = seed
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
            self.s.append(z ^ (z >> 31))

    def unit(self):
        rotate = lambda x, k: ((x << k) | (x >> (64 - k))) & MASK
        s = self.s
        result = (rotate((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return (result >> 11) * 2.0 ** -53


def sample(logits, temperature, top_k, top_p, random):
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if top_k:
        order = order[:top_k]
    weights = [math.exp((logits[i] - logits[order[0]]) / temperature) for i in order]
    total, mass, kept = sum(weights), 0.0, 0
    for w in weights:
        mass += w
        kept += 1
        if top_p < 1 and mass >= top_p * total:
            break
    left = random.unit() * mass
    for i, w in zip(order[:kept], weights):
        left -= w
        if left < 0:
            return i
    return order[kept - 1]


LOGITS = [f32((i * 7919) % 1000 / 125) for i in range(1000)]
for top_k, top_p in [(0, 1.0), (50, f32(0.9))]:
    random = Xoshiro(42)
    print(", ".join(str(sample(LOGITS, f32(0.8), top_k, top_p, random)) for _ in range(12)))
