#!/usr/bin/env python3
"""Runs every fuzzer of a build for a while, from its seed corpus, and says what came of it.

usage: run_fuzzers.py [--build build/fuzz] [--seconds 20] [NAME...]

A fuzzer is a program bin/fuzz_NAME of the build; its seeds lie in tests/fuzz/seeds/NAME. Inputs that
it finds are kept in the build's corpus/NAME for the next run, and a crash in crashes/NAME-….
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
USES_LLVM = {"onnx_import"}


def fuzz(program, build, seconds):
    """(name, passed, line) of one fuzzer."""
    name = program.name.removeprefix("fuzz_")
    corpus, crashes = build / "corpus" / name, build / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    seeds = HERE / "seeds" / name
    command = [program, corpus, *([seeds] if seeds.is_dir() else []), f"-max_total_time={seconds}", "-timeout=10",
               "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={crashes}/{name}-"]
    # LLVM's libraries are not instrumented: what its allocators poison cannot be followed.
    environment = {"ASAN_OPTIONS": "allow_user_poisoning=0:detect_leaks=0", **os.environ} if name in USES_LLVM else None
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds * 3 + 300,
                          env=environment)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    coverage = re.findall(r"cov: (\d+)", done.stderr)
    line = f"{runs[1] if runs else '?':>10} runs, coverage {coverage[-1] if coverage else '?'}"
    if done.returncode != 0:
        log = crashes / f"{name}.log"
        log.write_text(done.stderr)
        line += f", FAILED with {done.returncode}; see {log}\n" + "\n".join(done.stderr.splitlines()[-25:])
    return name, done.returncode == 0, line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/fuzz"))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    build = args.build.resolve()
    programs = sorted(p for p in (build / "bin").glob("fuzz_*") if os.access(p, os.X_OK) and not p.suffix)
    programs = [p for p in programs if not args.names or p.name.removeprefix("fuzz_") in args.names]
    if not programs:
        sys.exit(f"run_fuzzers.py: no fuzzers in {build / 'bin'}")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in concurrent.futures.as_completed([pool.submit(fuzz, p, build, args.seconds) for p in programs]):
            name, passed, line = future.result()
            failed += not passed
            print(f"{name:24} {line}", flush=True)
    print(f"{len(programs) - failed} fuzzers passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
