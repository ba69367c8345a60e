#!/usr/bin/env python3
"""ONNX models through Kiln and ONNX Runtime, on random and on real inputs.

    compare_with_onnxruntime.py [--kiln build/release/bin/kiln] [--folder FOLDER]... [--only mnist,…]

Models are looked for in ../shared/models and in the folders given (minilm-eager.onnx,
minilm-sdpa.onnx, and what tests/bench/make_onnx_models.py writes). Two errors of every output are
printed, both relative: `error` is the largest difference divided by the largest magnitude of the
output; `elements` is the largest difference of an element divided by that element, over elements of
at least a tenth of the largest magnitude (smaller ones are differences of larger ones, and carry
their rounding). Both must stay within 1e-4. In a quantized model a value that lies between two steps
may be rounded either way, and later layers spread that: there ONNX Runtime runs the model as it
stands, without its optimizations, and Kiln's errors must stay within 1.5 times those that its
optimizations make. Planned bytes of activations must stay within 1.10 times the least possible.

Needs the PyPI packages numpy and onnxruntime; without them, or without any model, it says so and
exits with 77.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import onnxruntime
except ImportError as problem:
    print(f"SKIP: {problem}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "models"
LIMIT = 1e-4
PLANNED = 1.10


# ---- The two engines: both take a dict of inputs and return a dict of outputs ----

class Peer:
    def __init__(self, path, optimize=True):
        options = onnxruntime.SessionOptions()
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, feeds):
        return dict(zip(self.outputs, self.session.run(None, feeds)))


class Kiln:
    def __init__(self, program, model, folder, dims, outputs):
        self.program, self.folder, self.outputs = program, pathlib.Path(folder), outputs
        self.artifact = self.folder / "model.kiln"
        start = time.perf_counter()
        flags = [part for dim in dims for part in ("--dim", dim)]
        self.call("compile", model, "-o", self.artifact, "--quiet", *flags)
        self.seconds = time.perf_counter() - start

    def call(self, *arguments):
        done = subprocess.run([str(a) for a in (self.program, *arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"kiln {arguments[0]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def run(self, feeds):
        flags, files = [], {}
        for i, (name, array) in enumerate(feeds.items()):
            np.save(self.folder / f"in{i}.npy", array)
            flags += ["--input", f"{name}=@{self.folder}/in{i}.npy"]
        for i, name in enumerate(self.outputs):
            files[name] = self.folder / f"out{i}.npy"
            flags += ["--output", f"{name}=@{files[name]}"]
        self.call("run", self.artifact, "--quiet", "--threads", "2", *flags)
        return {name: np.load(path) for name, path in files.items()}

    def planned(self, sizes):
        """Planned bytes of activations, and the least possible: the largest sum that lives at once."""
        flags = [part for name, size in sizes.items() for part in ("--dim", f"{name}={size}")]
        found = json.loads(self.call("bench", self.artifact, "--json", "--quiet", "--repeat", "1", *flags))
        return found["planned_bytes"], found["lower_bound_bytes"]


# ---- Inputs. A case is a label and a function that gets an engine's run() and yields its outputs ----

def once(feeds):
    def calls(run):
        yield run(feeds)
    return calls


def random_inputs(inputs, seed, sizes):
    """Normal floats; small whole numbers."""
    random, feeds = np.random.default_rng(seed), {}
    for value in inputs.values():
        shape = [d if isinstance(d, int) else sizes[d] for d in value.shape]
        feeds[value.name] = (random.normal(size=shape).astype(np.float32) if value.type == "tensor(float)"
                             else random.integers(0, 2, shape))
    return feeds


def random_cases(inputs, choices=({},)):
    return [(f"random, seed {seed}" + "".join(f", {k} {v}" for k, v in sizes.items()),
             once(random_inputs(inputs, seed, sizes)))
            for seed, sizes in enumerate(list(choices) * (3 if len(choices) == 1 else 1))]


def stroke(points, size=28):
    """A polyline of round brush strokes on a square: points within [0, 1]."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    image = np.zeros((size, size))
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        image = np.maximum(image, np.clip((0.07 - distance) / 0.03, 0, 1))
    return (255 * image).astype(np.float32)


def mnist(inputs):
    circle = [(0.5 + 0.2 * np.cos(t), 0.5 + 0.3 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 24)]
    digits = {"0": circle, "1": [(0.5, 0.2), (0.5, 0.8)], "7": [(0.3, 0.22), (0.7, 0.22), (0.45, 0.8)],
              "4": [(0.4, 0.2), (0.3, 0.55), (0.7, 0.55), (0.65, 0.3), (0.6, 0.85)]}
    (name,) = inputs
    return random_cases(inputs) + [(f"digit {digit}", once({name: stroke(points)[None, None]}))
                                   for digit, points in digits.items()]


def speech(samples, rate, seed=3):
    """Sounds like speech to a detector: bursts of a pulse train with three resonances, and noise."""
    random, t = np.random.default_rng(seed), np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 2.1 * t)) / rate
    voice = sum(np.sin(k * phase) * sum(np.exp(-(((k * 120) - f) / w) ** 2) for f, w in
                                        ((600, 150), (1200, 200), (2500, 300))) for k in range(1, 28))
    burst = np.clip(np.sin(2 * np.pi * 1.5 * t), 0, 1)
    return (0.2 * burst * voice + 0.003 * random.normal(size=samples)).astype(np.float32)


def voice(inputs, window, rate, batch=1, steps=6):
    """Windows of audio with their context before them; the state is carried from call to call."""
    context = window // 8

    def calls(run):
        audio = np.stack([speech(context + steps * window, rate, seed=3 + b) for b in range(batch)])
        state = np.zeros((2, batch, 128), np.float32)
        for step in range(steps):
            feeds = {"input": audio[:, step * window:step * window + window + context], "state": state}
            if "sr" in inputs:
                feeds["sr"] = np.array(rate, np.int64)
            outputs = run(feeds)
            state = outputs["stateN"]
            yield outputs
    return f"speech at {rate} Hz, batch {batch}, {steps} calls", calls


def silero_static(inputs):
    return random_cases(inputs) + [voice(inputs, 512, 16000)]


def silero_if(inputs):
    # Its branches of one window and of one row of a batch differ in rank, so one of both is taken.
    cases = [(label, calls) for label, calls in
             random_cases(inputs, [dict(batch=1, sequence=576), dict(batch=3, sequence=576)])]
    return cases + [voice(inputs, 512, 16000), voice(inputs, 512, 16000, batch=2)]


def ultraface(inputs):
    y, x = np.mgrid[:240, :320].astype(np.float32)
    picture = np.stack([x * 0.6 + 30, y * 0.8 + 20, (x + y) * 0.4])
    face = ((x - 160) / 50) ** 2 + ((y - 120) / 65) ** 2 < 1
    picture[:, face] = np.array([205, 170, 150])[:, None] - (x[face] - 160) * 0.4
    for cx, cy in ((140, 105), (180, 105)):
        picture[:, ((x - cx) / 9) ** 2 + ((y - cy) / 5) ** 2 < 1] = 40
    picture[:, (abs(x - 160) < 20) & (abs(y - 150) < 4)] = 90
    return random_cases(inputs) + [("picture with a face", once({"input": ((picture - 127) / 128)[None]}))]


def minilm(inputs):
    cases = [(label, calls) for label, calls in random_cases(
        inputs, [dict(batch=1, seq=1), dict(batch=2, seq=16), dict(batch=3, seq=61), dict(batch=1, seq=128)])]
    folder = next((f for f in FOLDERS if (f / "all-MiniLM-L6-v2" / "tokenizer.json").exists()), None)
    try:
        from tokenizers import Tokenizer
    except ImportError:
        folder = None
    if folder:
        tokenizer = Tokenizer.from_file(str(folder / "all-MiniLM-L6-v2" / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.enable_padding()
        found = tokenizer.encode_batch(["The cat sits on the mat.", "Compilers turn a description of what is "
                                        "wanted into a program that does it, ahead of time."])
        cases.append(("two sentences, padded", once({
            "input_ids": np.array([f.ids for f in found]),
            "attention_mask": np.array([f.attention_mask for f in found]),
            "token_type_ids": np.array([f.type_ids for f in found])})))
    return cases


def image_network(inputs):
    (name,) = inputs
    y, x = np.mgrid[:224, :224].astype(np.float32) / 224
    picture = np.stack([x, y, np.sin(9 * x) * np.cos(7 * y)])[None].astype(np.float32)
    return random_cases(inputs)[:2] + [("picture of waves", once({name: picture}))]


def capp_gpt(inputs):
    """A decoder with its KV cache among inputs and outputs, which is fed back."""
    heads, width = 4, 16

    def prompt(ids, past, steps=6, batch=1, seed=0):
        def calls(run):
            random = np.random.default_rng(seed)
            cache = {n: random.normal(size=(batch, heads, past, width)).astype(np.float32)
                     for n in inputs if n.startswith("past")}
            tokens, position = np.array([ids] * batch), past
            for _ in range(steps):
                count = tokens.shape[1]
                outputs = run({"input_ids": tokens, **cache,
                               "attention_mask": np.ones((batch, position + count), np.int64),
                               "position_ids": np.tile(np.arange(position, position + count), (batch, 1))})
                cache = {n: outputs[n.replace("past_key_values", "present")] for n in cache}
                position += count
                yield outputs
                tokens = outputs["logits"][:, -1:].argmax(-1)
        return calls
    return [("prompt and its greedy continuation", prompt([0, 7, 14, 16, 20, 24, 49], 0)),
            ("random cache of 9, one token", prompt([5], 9, 2, seed=1)),
            ("random cache of 33, batch of 3", prompt([5, 6, 7, 8], 33, 2, 3, seed=2))]


class Model:
    """`dims`: bounds for the compiler; `sizes`: what the plan is looked at with."""

    def __init__(self, file, cases, dims=(), sizes=None, quantized=False):
        self.file, self.cases, self.dims = file, cases, dims
        self.sizes, self.quantized = sizes or {}, quantized


MODELS = {
    "mnist": Model("onnx/mnist.onnx", mnist),
    "silero-vad-static": Model("onnx/silero-vad-static.onnx", silero_static),
    "silero-vad-if-lstm": Model("onnx/silero-vad-if-lstm.onnx", silero_if, ("batch=1..8", "sequence=576"),
                                {"batch": 1}),
    "ultraface-slim": Model("onnx/ultraface-slim.onnx", ultraface),
    "ultraface-slim-simplified": Model("onnx/ultraface-slim-simplified.onnx", ultraface),
    "capp-gpt": Model("capp-gpt/model.onnx", capp_gpt,
                      ("batch_size=1..4", "past_sequence_length=0..256", "sequence_length=1..256"),
                      {"batch_size": 1, "past_sequence_length": 128, "sequence_length": 1}),
    "minilm-eager": Model("minilm-eager.onnx", minilm, ("batch=1..4", "seq=1..256"), {"batch": 1, "seq": 128}),
    "minilm-sdpa": Model("minilm-sdpa.onnx", minilm, ("batch=1..4", "seq=1..256"), {"batch": 1, "seq": 128}),
    "mobilenet_v2": Model("mobilenet_v2.onnx", image_network),
    "mobilenet_v2_int8": Model("mobilenet_v2_int8.onnx", image_network, quantized=True),
    "resnet50": Model("resnet50.onnx", image_network),
    "vit_b_16": Model("vit_b_16.onnx", image_network),
}
FOLDERS = [SHARED]


# ---- Comparison ----

def errors(expected, found):
    """The two errors of the opening comment; infinite where shapes, types or what is finite differ."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return np.inf, np.inf
    if expected.dtype.kind != "f":
        return (0.0, 0.0) if (expected == found).all() else (np.inf, np.inf)
    if not (np.isfinite(expected) == np.isfinite(found)).all():
        return np.inf, np.inf
    expected, found = (v[np.isfinite(v)].astype(np.float64) for v in (expected, found))
    if not expected.size:
        return 0.0, 0.0
    largest = max(abs(expected).max(), 1e-30)
    difference, large = abs(expected - found), abs(expected) >= 0.1 * largest
    return difference.max() / largest, (difference[large] / abs(expected[large])).max(initial=0)


def largest_errors(expected, found):
    return [max(pair) for pair in zip(*(errors(expected[name], found[name]) for name in expected))]


def compare_case(calls, peer, kiln, optimized):
    """The largest errors of a case's calls, and what is wrong, if anything. `optimized`: None, or
    the engine whose errors are the limit."""
    worst, limits, problem = [0.0, 0.0], [LIMIT, LIMIT], ""
    try:
        engines = [calls(engine.run) for engine in (peer, kiln, optimized) if engine]
        for call, (expected, given, *other) in enumerate(zip(*engines)):
            found = largest_errors(expected, given)
            if other:
                limits = [1.5 * e for e in largest_errors(expected, other[0])]
            if any(f > l for f, l in zip(found, limits)) and not problem:
                shapes = "; ".join(f"{n} {list(given[n].shape)} for {list(expected[n].shape)}" for n in expected)
                problem = f"call {call}, limits {limits[0]:.1e} {limits[1]:.1e}: {shapes}"
            worst = [max(pair) for pair in zip(worst, found)]
    except RuntimeError as refused:
        problem = str(refused)
    return worst, problem


def compare(name, model, path, program, plans):
    peer, wrong = Peer(path, optimize=not model.quantized), 0
    optimized = Peer(path) if model.quantized else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            kiln = Kiln(program, path, folder, model.dims, peer.outputs)
        except RuntimeError as problem:
            print(f"{name:<26} FAIL {problem}", flush=True)
            return 1
        worst = [0.0, 0.0]
        for label, calls in model.cases(peer.inputs):
            found, problem = compare_case(calls, peer, kiln, optimized)
            wrong += bool(problem)
            worst = [max(pair) for pair in zip(worst, found)]
            print(f"{name:<26} {'FAIL' if problem else 'ok  '} error {found[0]:.1e} elements {found[1]:.1e}  "
                  f"{label}{' : ' + problem if problem else ''}", flush=True)
        planned, least = kiln.planned(model.sizes)
        wrong += plans and planned > PLANNED * max(least, 1)
        print(f"{name:<26} error {worst[0]:.1e}, elements {worst[1]:.1e}; activations {planned} bytes, "
              f"{planned / max(least, 1):.3f} x the least; compiled in {kiln.seconds:.1f} s", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", default=ROOT / "build" / "release" / "bin" / "kiln")
    parser.add_argument("--folder", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--only", help="names, comma-separated; of " + ", ".join(MODELS))
    parser.add_argument("--outputs-only", action="store_true", help="planned bytes are printed and not judged")
    args = parser.parse_args()
    FOLDERS.extend(args.folder)
    chosen = args.only.split(",") if args.only else list(MODELS)
    ran = wrong = 0
    for name in chosen:
        if name not in MODELS:
            parser.error(f"--only: {name} is none of {', '.join(MODELS)}")
        path = next((f / MODELS[name].file for f in FOLDERS if (f / MODELS[name].file).exists()), None)
        if not path:
            print(f"{name:<26} absent: {MODELS[name].file}")
            continue
        ran += 1
        wrong += compare(name, MODELS[name], path, args.kiln, not args.outputs_only)
    if not ran:
        print("SKIP: none of the models is there")
        return 77
    print(f"{ran} models, {wrong} comparisons failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
