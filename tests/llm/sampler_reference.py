#!/usr/bin/env python3
"""The sampler written down a second time, from its description in runtime/llm/sampler.cpp: sorted lists and
double precision, no partial selection and no vectors. Prints the cases that SamplerTest.cpp reads:

    tests/llm/sampler_reference.py > tests/llm/sampler_cases.inc
"""

import math
import struct

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
VOCABULARY, DRAWS = 3000, 16
DEFAULTS = dict(repetition=1.0, presence=0.0, frequency=0.0, window=0, temperature=1.0, top_k=0, top_p=1.0,
                min_p=0.0, typical_p=1.0, seed=42, bias=())
CASES = [
    dict(temperature=0.0),
    dict(temperature=0.0, repetition=1.5),
    dict(temperature=0.8),
    dict(temperature=2.5, seed=7),
    dict(top_k=1), dict(top_k=5), dict(top_k=50, temperature=1.5), dict(top_k=2999, temperature=4.0), dict(top_k=9000),
    dict(top_p=0.0), dict(top_p=0.3, temperature=2.0), dict(top_p=0.9), dict(top_p=0.95, temperature=3.0),
    dict(top_p=0.999, temperature=5.0), dict(top_k=40, top_p=0.9, temperature=2.0),
    dict(min_p=0.05, temperature=2.0), dict(min_p=0.5), dict(min_p=1.0), dict(top_p=0.9, min_p=0.02, temperature=3.0),
    dict(top_k=200, top_p=0.95, min_p=0.01, temperature=3.0),
    dict(typical_p=0.2, temperature=2.0), dict(typical_p=0.9, temperature=3.0), dict(typical_p=0.0),
    dict(top_k=100, top_p=0.95, typical_p=0.5, temperature=2.0),
    dict(repetition=1.3, temperature=0.7), dict(presence=2.0, temperature=0.5), dict(frequency=1.5, temperature=0.5),
    dict(repetition=1.2, presence=0.5, frequency=0.7, window=4, top_p=0.9, temperature=0.6),
    dict(presence=40.0, window=2, temperature=0.0),
    dict(bias=((17, 20.0), (18, 19.0)), temperature=1.0), dict(bias=((3, 100.0),), temperature=0.0),
    dict(bias=((5, -math.inf),), temperature=1.0, top_k=3), dict(temperature=1e-30), dict(temperature=1e30),
    dict(seed=0), dict(seed=MASK),
]


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def mix(z):
    z &= MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unit(seed, accepted):
    return (mix(mix(seed + STEP) + (accepted + 1) * STEP) >> 11) * 2.0 ** -53


def row(step):
    """Few large numbers and many small ones; SamplerTest.cpp makes the same."""
    result = []
    for i in range(VOCABULARY):
        u = ((i * 7919 + step * 104729) % 4093) / 4096
        result.append(f32(16 * u * u * u * u - 4))
    return result


def penalized(logits, o, text):
    logits = list(logits)
    for token, bias in o["bias"]:
        logits[token] = f32(logits[token] + bias)
    recent = text[-o["window"]:] if o["window"] else text
    for token in set(recent):
        value = logits[token]
        value = f32(value / f32(o["repetition"])) if value > 0 else f32(value * f32(o["repetition"]))
        value = f32(value - f32(recent.count(token) * f32(o["frequency"])))
        logits[token] = f32(value - f32(o["presence"]))
    return logits


def prefix(tokens, weights, mass):
    """The fewest of the first tokens whose weights reach `mass`."""
    kept, sum_ = [], 0.0
    for token in tokens:
        kept.append(token)
        sum_ += weights[token]
        if sum_ >= mass:
            break
    return kept


def choose(logits, o, text):
    logits = penalized(logits, o, text)
    order = sorted((i for i in range(len(logits)) if logits[i] > -math.inf), key=lambda i: (-logits[i], i))
    if o["temperature"] == 0:
        return order[0]
    largest, temperature = logits[order[0]], f32(o["temperature"])
    exponent = {i: (logits[i] - largest) / temperature for i in order}
    weights = {i: math.exp(max(exponent[i], -700.0)) for i in order}
    if o["top_k"]:
        order = order[:o["top_k"]]
    total = lambda: math.fsum(weights[i] for i in order)
    if o["top_p"] < 1:
        order = prefix(order, weights, f32(o["top_p"]) * total())
    order = [i for i in order if weights[i] >= f32(o["min_p"])]
    if o["typical_p"] < 1:
        mass = total()
        information = {i: math.log(mass) - exponent[i] for i in order}
        entropy = math.fsum(weights[i] / mass * information[i] for i in order)
        order.sort(key=lambda i: (f32(abs(information[i] - entropy)), i))
        order = prefix(order, weights, f32(o["typical_p"]) * mass)
    order.sort()
    left = unit(o["seed"], len(text)) * total()
    for i in order:
        left -= weights[i]
        if left < 0:
            return i
    return order[-1]


def number(x):
    return "-INFINITY" if x == -math.inf else f"{x!r}f"


def main():
    rows = [row(step) for step in range(DRAWS)]
    for case in CASES:
        o = {**DEFAULTS, **case}
        text = []
        for logits in rows:
            text.append(choose(logits, o, text))
        bias = ", ".join(f"{{{token}, {number(value)}}}" for token, value in o["bias"])
        numbers = [o["repetition"], o["presence"], o["frequency"], o["window"], o["temperature"], o["top_k"], o["top_p"],
                   o["min_p"], o["typical_p"]]
        fields = ", ".join(str(x) if isinstance(x, int) else number(x) for x in numbers)
        print(f"{{{{{bias}}}, {fields}, {o['seed']}u,\n {{{', '.join(map(str, text))}}}}},")


main()
