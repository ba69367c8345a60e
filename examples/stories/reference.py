#!/usr/bin/env python3
"""Greedy decoding of the stories model by a slow, plain forward pass: the oracle of its tests.

usage: reference.py [--model model] [--prompt TEXT] [--tokens 60] [--logits]
       reference.py --write        writes expected.json and expected.txt

Standard library only; shares no code with the compiler, the runtime or the training. The F16 (or
F32) weights are widened exactly and all arithmetic is in double precision. Every case records the
margins, the lead of each chosen token's logit over the second best: a forward pass that rounds more
must choose the same tokens while its errors stay below half of the least one.
"""
import argparse
import json
import math
import pathlib
import re
import struct
from operator import mul

HERE = pathlib.Path(__file__).parent
PROMPTS = ["", "Long ago, a young boy named Theo lived beside", "Coco was a little rabbit who lived at the edge of"]
# GPT-2's pre-tokenization; \w and \d stand in for \p{L} and \p{N}, which `re` lacks.
WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_letters():
    """GPT-2's alphabet: the printable bytes stand for themselves, the others for U+0100 and up."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in own else chr(next(spare)) for b in range(256)]


class Tokenizer:
    def __init__(self, path):
        spec = json.loads(path.read_text(encoding="utf-8"))
        self.vocab = spec["model"]["vocab"]
        merges = (m.split(" ") if isinstance(m, str) else m for m in spec["model"]["merges"])
        self.rank = {tuple(pair): i for i, pair in enumerate(merges)}
        self.letters = byte_letters()
        self.begin = [x["ids"][0] for x in spec["post_processor"]["special_tokens"].values()]
        self.special = {t["id"] for t in spec["added_tokens"]}

    def encode(self, text):
        ids = list(self.begin)
        for word in WORDS.findall(text):
            parts = [self.letters[b] for b in word.encode()]
            while pairs := [(self.rank[p], i) for i, p in enumerate(zip(parts, parts[1:])) if p in self.rank]:
                _, i = min(pairs)
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
            ids += [self.vocab[p] for p in parts]
        return ids

    def decode(self, ids):
        pieces, byte = {i: p for p, i in self.vocab.items()}, {c: b for b, c in enumerate(self.letters)}
        return bytes(byte[c] for i in ids if i not in self.special for c in pieces[i]).decode("utf-8", "replace")


def read_safetensors(path):
    """Tensors by name, each a list of rows (a vector is one row)."""
    blob = path.read_bytes()
    size, = struct.unpack_from("<Q", blob)
    header, out = json.loads(blob[8:8 + size]), {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        letter = {"F16": "e", "F32": "f"}[t["dtype"]]
        count, width = math.prod(t["shape"]), t["shape"][-1]
        values = struct.unpack_from(f"<{count}{letter}", blob, 8 + size + t["data_offsets"][0])
        out[name] = [values[i:i + width] for i in range(0, count, width)]
    return out


def dot(a, b):
    return math.fsum(map(mul, a, b))


def matvec(weight, x):
    return [dot(row, x) for row in weight]


def softmax(scores):
    top = max(scores)
    powers = [math.exp(s - top) for s in scores]
    total = math.fsum(powers)
    return [p / total for p in powers]


class Llama:
    """One sequence; step() takes the next token and returns the logits after it."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights = read_safetensors(folder / "model.safetensors")
        # Keys and values of every layer: [tokens][kv_heads][head].
        self.cache = [([], []) for _ in range(self.config["num_hidden_layers"])]

    def step(self, token):
        x = list(self.weights["model.embed_tokens.weight"][token])
        for number, cache in enumerate(self.cache):
            prefix = f"model.layers.{number}."
            y = self.attention(prefix + "self_attn.", cache, self.norm(prefix + "input_layernorm", x))
            x = [a + b for a, b in zip(x, y)]
            y = self.mlp(prefix + "mlp.", self.norm(prefix + "post_attention_layernorm", x))
            x = [a + b for a, b in zip(x, y)]
        return matvec(self.weights["model.embed_tokens.weight"], self.norm("model.norm", x))

    def norm(self, name, x):
        scale = 1.0 / math.sqrt(dot(x, x) / len(x) + self.config["rms_norm_eps"])
        return [v * scale * g for v, g in zip(x, self.weights[name + ".weight"][0])]

    def heads(self, x, position=None):
        """Splits x into heads, and with a position turns each by RoPE (first half with second half)."""
        size = self.config["head_dim"]
        out = [x[i:i + size] for i in range(0, len(x), size)]
        if position is None:
            return out
        half = size // 2
        angles = [position * self.config["rope_theta"] ** (-j / half) for j in range(half)]
        cos, sin = [math.cos(a) for a in angles], [math.sin(a) for a in angles]
        return [[h[j] * cos[j] - h[j + half] * sin[j] for j in range(half)]
                + [h[j + half] * cos[j] + h[j] * sin[j] for j in range(half)] for h in out]

    def attention(self, prefix, cache, x):
        keys, values = cache
        position = len(keys)
        project = {t: matvec(self.weights[f"{prefix}{t}_proj.weight"], x) for t in "qkv"}
        keys.append(self.heads(project["k"], position))
        values.append(self.heads(project["v"]))
        group = self.config["num_attention_heads"] // self.config["num_key_value_heads"]
        out = []
        for number, query in enumerate(self.heads(project["q"], position)):
            kv = number // group
            weights = softmax([dot(query, key[kv]) / math.sqrt(len(query)) for key in keys])
            out += [dot(weights, column) for column in zip(*(value[kv] for value in values))]
        return matvec(self.weights[prefix + "o_proj.weight"], out)

    def mlp(self, prefix, x):
        gate = matvec(self.weights[prefix + "gate_proj.weight"], x)
        up = matvec(self.weights[prefix + "up_proj.weight"], x)
        y = [g / (1.0 + math.exp(-g)) * u for g, u in zip(gate, up)]
        return matvec(self.weights[prefix + "down_proj.weight"], y)


def greedy(folder, tokenizer, prompt, count):
    """The case of one prompt: `count` tokens, or fewer where the story ends."""
    model, prompt_ids, ids, margins = Llama(folder), tokenizer.encode(prompt), [], []
    for token in prompt_ids:
        logits = model.step(token)
    first = logits
    while len(ids) < count:
        order = sorted(range(len(logits)), key=logits.__getitem__, reverse=True)
        ids.append(order[0])
        margins.append(logits[order[0]] - logits[order[1]])
        if order[0] == model.config["eos_token_id"]:
            break
        logits = model.step(order[0])
    best = sorted(range(len(first)), key=first.__getitem__, reverse=True)[:5]
    return {
        "prompt": prompt,
        "prompt_ids": prompt_ids,
        "first_logits": [[i, round(first[i], 5)] for i in best],
        "ids": ids,
        "text": tokenizer.decode(ids),
        "margins": [round(m, 4) for m in margins],
    }, first


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=HERE / "model")
    parser.add_argument("--prompt", default="", help="empty: the begin token alone")
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--logits", action="store_true", help="print all logits after the prompt instead")
    parser.add_argument("--write", action="store_true", help="write expected.json and expected.txt")
    args = parser.parse_args()
    tokenizer = Tokenizer(args.model / "tokenizer.json")

    if not args.write:
        case, logits = greedy(args.model, tokenizer, args.prompt, 1 if args.logits else args.tokens)
        print(" ".join(f"{v:.6f}" for v in logits) if args.logits else json.dumps(case, indent=1, ensure_ascii=False))
        return
    cases = [greedy(args.model, tokenizer, prompt, args.tokens)[0] for prompt in PROMPTS]
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "expected.json").write_text(f'{{"tokens": {args.tokens}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    (HERE / "expected.txt").write_text("\n".join(f"{c['prompt']}{c['text']}\n" for c in cases), encoding="utf-8")


if __name__ == "__main__":
    main()
