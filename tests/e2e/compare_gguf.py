#!/usr/bin/env python3
"""Compares a GGUF model compiled by Kiln with llama.cpp on the same file: greedy tokens and divergence of logits.

usage: compare_gguf.py --kiln KILN --llama-logits PROGRAM MODEL.gguf [--peer-model FILE.gguf] [--ids FILE] [--json]

Kiln continues 20 prompts greedily; llama.cpp (the program of tests/bench/llama_logits.cpp) then says what it would
have chosen at each of those places. All its choices being Kiln's means that its own greedy text is the same one.
Where they differ first, both candidates and their distance in llama.cpp's logits are shown: a distance smaller than
the rounding of activations is a tie that either may win. Divergence is that of Kiln's distribution from llama.cpp's,
over every position of prompts and continuations. Prompts are tokenized by `kiln tokenize`, or `--ids` has a line of
token ids for each.

llama.cpp rounds activations to 8 bits in blocks of 32 before it multiplies quantized weights, Kiln rounds otherwise,
so the two differ by the sum of their roundings. `--peer-model` names the same weights expanded to F32 (llama-quantize
--allow-requantize MODEL.gguf FILE.gguf F32), with which llama.cpp rounds nothing: what is left is Kiln's own share;
compile with `--compile-flag=--activations --compile-flag=fine` for the least of it. `--noise` compares llama.cpp with
itself in the same way, the file's weights as they are and laid out anew (what llama-bench runs): how far two correct
programs are apart that round activations alike.

Needs the package `numpy`; exit status 77 without it.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("SKIP: the Python package numpy is absent")
    sys.exit(77)

PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "def fibonacci(n):\n",
    "The three laws of motion state that", "In 1969, humans first", "Water boils at a temperature of",
    "The recipe for a good bread begins with", "import numpy as np\n\ndef softmax(x):", "My favourite book is",
    "The difference between a virus and a bacterium is", "She opened the door and saw",
    "The president of the United States", "To sort a list in Python,", "The mitochondria is",
    "It was a dark and stormy night;", "The quick brown fox", "A good way to learn a new language is",
    "The stock market fell on Monday because", "Photosynthesis is the process by which",
    "List three colours:\n1.",
]


def run(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:300]}\n  exit {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode()


class Comparison:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.artifact = work / "model.kiln"
        run(args.kiln, "compile", args.model, "--quiet", "-o", self.artifact, "--context", args.context, *args.compile_flag)

    def prompts(self):
        if self.args.ids:
            lines = self.args.ids.read_text(encoding="utf-8").splitlines()
            return [[int(word) for word in line.replace(",", " ").split()] for line in lines if line.strip()]
        return [[int(word) for word in run(self.args.kiln, "tokenize", "--ids", self.artifact, text).split()]
                for text in PROMPTS]

    def continuation(self, ids):
        out = run(self.args.kiln, "run", self.artifact, "--greedy", "--output", "ids", "--quiet", "--max-tokens",
                  self.args.tokens, "--prompt-ids", ",".join(map(str, ids)))
        return [int(word) for word in out.split()]

    def own_logits(self, ids):
        file = self.work / "own.npy"
        run(self.args.kiln, "run", self.artifact, "--greedy", "--quiet", "--max-tokens", 0, "--logits", file,
            "--prompt-ids", ",".join(map(str, ids)))
        return np.load(file)

    def peer_logits(self, ids, model=None, weights=None):
        file = self.work / "peer.bin"
        run(self.args.llama_logits, model or self.args.peer_model or self.args.model, weights or self.args.weights,
            file, *ids)
        return np.fromfile(file, "<f4").reshape(len(ids), -1)


def log_softmax(rows):
    rows = rows.astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def divergences(reference, found):
    p, q = log_softmax(reference), log_softmax(found)
    return (np.exp(p) * (p - q)).sum(axis=1)


def compare_peer_with_itself(comparison, number, ids):
    """As `compare`, of llama.cpp's two layouts of the weights over the text that Kiln makes."""
    text = ids + comparison.continuation(ids)
    plain, other = (comparison.peer_logits(text, comparison.args.model, weights) for weights in ("plain", "repacked"))
    agreed = plain.argmax(axis=1) == other.argmax(axis=1)
    kl = divergences(plain, other)
    print(f"prompt {number:2}: llama.cpp with itself: mean KL {kl.mean():.2e}, {np.count_nonzero(~agreed)} choices differ",
          flush=True)
    return bool(agreed[len(ids) - 1:-1].all()), kl, agreed


def compare(comparison, number, ids):
    """(whether all tokens are equal, divergence at each position, whether the likeliest tokens agree)."""
    made = comparison.continuation(ids)
    text = ids + made
    peer, own = comparison.peer_logits(text), comparison.own_logits(text)
    choices = peer[len(ids) - 1:-1].argmax(axis=1)
    wrong = np.flatnonzero(choices != made)
    kl = divergences(peer, own)
    line = f"prompt {number:2}: {len(made)} tokens, mean KL {kl.mean():.2e}"
    if len(wrong):
        at = int(wrong[0])
        row = peer[len(ids) - 1 + at]
        line += (f"; first difference at token {at}: llama.cpp {choices[at]}, Kiln {made[at]}, whose logits there lie "
                 f"{row[choices[at]] - row[made[at]]:.4f} apart (standard deviation of the row {row.std():.2f})")
    print(line, flush=True)
    return not len(wrong), kl, own.argmax(axis=1) == peer.argmax(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--llama-logits", type=pathlib.Path, required=True)
    parser.add_argument("--weights", choices=["plain", "repacked"], default="plain", help="how llama.cpp lays them out")
    parser.add_argument("--peer-model", type=pathlib.Path, help="what llama.cpp runs; default: the same file")
    parser.add_argument("--prompts", type=int, help="only so many")
    parser.add_argument("--noise", action="store_true", help="compare llama.cpp with itself")
    parser.add_argument("--ids", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--compile-flag", action="append", default=[], help="passed to kiln compile")
    parser.add_argument("--json", action="store_true", help="the last line is the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(args, pathlib.Path(folder))
        way = compare_peer_with_itself if args.noise else compare
        results = [way(comparison, i + 1, ids) for i, ids in enumerate(comparison.prompts()[:args.prompts])]
    equal = sum(same for same, _, _ in results)
    kl, agreed = np.concatenate([kl for _, kl, _ in results]), np.concatenate([agree for _, _, agree in results])
    result = {"prompts": len(results), "equal": equal, "mean_kl": float(kl.mean()), "max_kl": float(kl.max()),
              "top1_agreement": float(agreed.mean()), "positions": len(kl)}
    print(f"{args.model.name}: equal tokens on {equal} of {len(results)} prompts, mean KL {kl.mean():.3e}, largest "
          f"{kl.max():.3e}, likeliest token agrees at {100 * agreed.mean():.2f} % of {len(kl)} positions")
    if args.json:
        print(json.dumps(result))
    return 0 if equal >= 0.9 * len(results) and kl.mean() <= 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
