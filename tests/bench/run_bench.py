#!/usr/bin/env python3
"""Speed and memory of the example model, or of any model folder, at each quantization.

usage: run_bench.py --kiln build/release/bin/kiln --work build/bench [--model FOLDER] [--quant none,q8,q4]

Prints what `kiln compile` and `kiln bench --profile` report. compare_llama_cpp.py measures larger models, and
llama.cpp beside them.
"""
import argparse
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command):
    print("$", " ".join(map(str, command)), flush=True)
    started = time.monotonic()
    subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


def measure(args, model, quant):
    artifact = args.work / f"{model.resolve().name}-{quant}.kiln"
    print(f"\n== {model.name}, {quant}")
    seconds = run(args.kiln, "compile", model, "-o", artifact, "--quant", quant)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"compiled in {seconds:.1f} s, largest child so far {peak:.0f} MiB, {artifact.stat().st_size} bytes")
    run(args.kiln, "bench", artifact, "--profile")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "examples/stories/model")
    parser.add_argument("--quant", default="none,q8,q4")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for quant in args.quant.split(","):
        measure(args, args.model, quant)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(f"run_bench.py: {failure}")
