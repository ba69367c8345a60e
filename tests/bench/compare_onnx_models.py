#!/usr/bin/env python3
"""Whole ONNX models: Kiln beside ONNX Runtime in one run, alternating.

usage: compare_onnx_models.py --kiln build/release/bin/kiln --work build/bench [--rounds 3]
                              [--threads 1,2] [MODEL.onnx...]

Without models: mnist, ultraface, silero-vad (both exports) and capp-gpt of ../shared/models where that
folder is, all-MiniLM-L6-v2 (built from the Hugging Face folder that real_models.py fetches), and MobileNetV2,
ResNet-50, ViT-B/16 and an int8 MobileNetV2 with random weights (make_onnx_models.py). numpy, onnx and
onnxruntime come from PyPI into a private environment in the work folder. Each round runs every model in
both programs, one after the other; ratios are of medians, above 1 where Kiln is faster. Inputs are the same
for both, states and caches too, and so are the outputs within 1e-3 of the largest, or the model is marked.

"planned / bound": bytes of the plan over the largest sum of buffers that are live at once, for the call that
is timed, and where a model has dynamic dims the worst on a grid of them (`kiln inspect`).
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared/models"
BUILT = ["mobilenet_v2", "resnet50", "vit_b_16", "mobilenet_v2_int8"]
# Of dynamic dims, by name; others are 1.
SIZES = {"seq": 128, "sequence": 576, "past_sequence_length": 128}
# Dims of models that the compiler is told about; others are 1 to 4096 or as far as the model's tables go.
BOUNDS = {"silero-vad-if-lstm": ["batch=1..8", "sequence=576"],
          "model": ["batch_size=1..4", "past_sequence_length=0..256", "sequence_length=1..256"]}  # capp-gpt
SECONDS = 1.5


def prepare(work):
    """A Python with the packages: this one, or that of a private environment."""
    try:
        import numpy, onnx, onnxruntime  # noqa: F401
        return sys.executable
    except ImportError:
        pass
    venv = work / "venv-onnx"
    python = venv / "bin/python"
    if not (venv / "ready").exists():
        print("installing numpy, onnx and onnxruntime into", venv, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", "onnx", "onnxruntime"],
                       check=True)
        (venv / "ready").touch()
    return str(python)


def gather(work):
    """The models, built where they are not there yet."""
    models = [p for name in ("mnist", "ultraface-slim-simplified", "silero-vad-static", "silero-vad-if-lstm")
              if (p := SHARED / "onnx" / f"{name}.onnx").exists()]
    decoder = SHARED / "capp-gpt/model.onnx"
    models += [decoder] if decoder.exists() else []
    folder = work / "onnx"
    missing = [name for name in BUILT if not (folder / f"{name}.onnx").exists()]
    if missing:
        subprocess.run([sys.executable, HERE / "make_onnx_models.py", folder, *missing], check=True)
    encoder = folder / "minilm.onnx"
    if not encoder.exists():
        found = subprocess.run([sys.executable, HERE / "real_models.py", work.parent / "models", "minilm"],
                               stdout=subprocess.PIPE, text=True)
        if found.returncode == 0:
            source = found.stdout.split(" ", 1)[1].strip()
            subprocess.run([sys.executable, HERE / "make_onnx_models.py", folder, f"minilm={source}"], check=True)
    return models + ([encoder] if encoder.exists() else []) + [folder / f"{name}.onnx" for name in BUILT]


class Peer:
    def __init__(self, model, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def measure(self, feeds):
        """Milliseconds of a call, without what Python does to arrays."""
        bound = self.session.io_binding()
        for name, array in feeds.items():
            bound.bind_cpu_input(name, array)
        for output in self.session.get_outputs():
            bound.bind_output(output.name)
        times, end = [], time.perf_counter() + SECONDS
        while len(times) < 5 or time.perf_counter() < end:
            start = time.perf_counter()
            self.session.run_with_iobinding(bound)
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e3


def size_of(dim):
    """Of a dim as ONNX Runtime tells it: a number, a name, a sum of names, or nothing."""
    if isinstance(dim, int):
        return dim
    return sum(int(part) if part.strip().isdigit() else SIZES.get(part.strip(), 1) for part in (dim or "").split("+"))


def make_feeds(session, folder):
    """Inputs of every kind, the same for both programs; files for Kiln."""
    import numpy
    random = numpy.random.default_rng(5)
    feeds, arguments = {}, []
    for value in session.get_inputs():
        shape = [size_of(d) for d in value.shape]
        if "float" in value.type:
            array = random.normal(0, 1, shape).astype(numpy.float32)
        elif value.name == "sr":
            array = numpy.full(shape, 16000, numpy.int64)
        else:
            array = numpy.ones(shape, numpy.int64)
        feeds[value.name] = array
        path = folder / f"{len(feeds)}.npy"
        numpy.save(path, array)
        arguments += ["--input", f"{value.name}=@{path}"]
    return feeds, arguments


def run_json(*command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
    return json.loads(done.stdout)


def agree(kiln, artifact, session, feeds, arguments, folder):
    """The largest difference of an output, relative to its largest magnitude."""
    import numpy
    names = [o.name for o in session.get_outputs()]
    wanted = dict(zip(names, session.run(None, feeds)))
    outputs = [part for i, name in enumerate(names) for part in ("--output", f"{name}=@{folder}/out{i}.npy")]
    subprocess.run([kiln, "run", artifact, *arguments, *outputs, "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    worst = 0.0
    for i, name in enumerate(names):
        found = numpy.load(folder / f"out{i}.npy")
        scale = max(float(numpy.abs(wanted[name]).max()), 1e-30)
        worst = max(worst, float(numpy.abs(found - wanted[name]).max()) / scale)
    return worst


def compare(kiln, model, threads, rounds, work):
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = pathlib.Path(name)
        artifact = folder / "model.kiln"
        start = time.perf_counter()
        bounds = [part for bound in BOUNDS.get(model.stem, []) for part in ("--dim", bound)]
        done = subprocess.run([kiln, "compile", model, "-o", artifact, "--quiet", *bounds], stderr=subprocess.PIPE,
                              text=True)
        if done.returncode:
            return {"model": model.stem, "problem": done.stderr.strip().splitlines()[-1]}
        row = {"model": model.stem, "name": model.parent.name if model.stem == "model" else model.stem,
               "compile_s": time.perf_counter() - start,
               "artifact_bytes": artifact.stat().st_size, "ratios": {}}
        peers = {count: Peer(model, count) for count in threads}
        first = peers[threads[0]].session
        feeds, arguments = make_feeds(first, folder)
        row["error"] = agree(kiln, artifact, first, feeds, arguments, folder)
        for count in threads:
            ours, theirs = [], []
            for _ in range(rounds):
                bench = run_json(kiln, "bench", artifact, *arguments, "--threads", count, "--repeat", 1, "--json", "--quiet")
                ours.append(bench["median_milliseconds"])
                theirs.append(peers[count].measure(feeds))
            row["planned"] = bench["planned_bytes"] / max(bench["lower_bound_bytes"], 1)
            worst = run_json(kiln, "inspect", artifact, "--json")["functions"][0]["worst_plan"]
            row["worst"] = worst and worst["ratio"]
            row["ratios"][count] = (statistics.median(ours), statistics.median(theirs),
                                    statistics.median(t / o for o, t in zip(ours, theirs)))
        return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", default="build/release/bin/kiln")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    o = parser.parse_args()
    o.work.mkdir(parents=True, exist_ok=True)
    python = prepare(o.work.resolve())
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])
    threads = [int(part) for part in o.threads.split(",")]
    print("| model | " + " | ".join(f"{t} thread{'s' * (t > 1)}: Kiln, ONNX Runtime, ms; ratio" for t in threads) +
          " | error | planned / bound; worst | compile, s | artifact |")
    print("|---|" + "---|" * (len(threads) + 4))
    logs = {t: [] for t in threads}
    for model in o.models or gather(o.work.resolve()):
        row = compare(o.kiln, model, threads, o.rounds, o.work)
        if "problem" in row:
            print(f"| {row['model']} | {row['problem']} |", flush=True)
            continue
        cells = []
        for t in threads:
            ours, theirs, ratio = row["ratios"][t]
            cells.append(f"{ours:.3g}, {theirs:.3g}; **{ratio:.2f}×**")
            if row["model"] not in ("mobilenet_v2_int8", "model"):
                logs[t].append(math.log(ratio))
        error = f"{row['error']:.1e}" + ("" if row["error"] < 1e-3 else " (!)")
        plans = f"{row['planned']:.3f}" + (f"; {row['worst']:.3f}" if row["worst"] else "")
        print(f"| {row['name']} | " + " | ".join(cells) + f" | {error} | {plans} | "
              f"{row['compile_s']:.1f} | {row['artifact_bytes'] / 1e3:.0f} kB |", flush=True)
    for t in threads:
        if logs[t]:
            print(f"geometric mean, {t} thread{'s' * (t > 1)}, without int8 and decoders: "
                  f"{math.exp(sum(logs[t]) / len(logs[t])):.2f}×")


if __name__ == "__main__":
    main()
