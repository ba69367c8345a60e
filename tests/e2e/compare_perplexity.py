#!/usr/bin/env python3
"""Compares the perplexity of a GGUF model compiled by Kiln with llama.cpp's on the same file and text.

usage: compare_perplexity.py --kiln KILN --llama-perplexity PROGRAM [--chunks N] [--context N] MODEL.gguf TEXT...

Both cut the text into chunks of --context tokens and judge the second half of each (tools/perplexity of llama.cpp).
Prints perplexity with its standard error, the difference in percent and the seconds of each; fails where a difference
exceeds --tolerance percent. Exit status 77 where model, text or llama-perplexity is absent.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ESTIMATE = re.compile(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)")


def run(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:300]}\n  exit {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def own(args, artifact, text):
    flags = ["--chunks", args.chunks] if args.chunks else []
    out, _ = run(args.kiln, "quality", artifact, text, "--context", args.context, "--threads", args.threads, "--json", *flags)
    found = json.loads(out)
    return found["perplexity"], found["perplexity_standard_error"], found["chunks"], found["seconds"]


def peer(args, text):
    flags = ["--chunks", args.chunks] if args.chunks else []
    started = time.monotonic()
    streams = run(args.llama_perplexity, "-m", args.peer_model or args.model, "-f", text, "-c", args.context, "-t", args.threads,
                  *flags)
    found = ESTIMATE.search("\n".join(streams))
    if not found:
        sys.exit(f"llama-perplexity printed no final estimate: {streams[1][-1000:]}")
    return float(found[1]), float(found[2]), time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--llama-perplexity", type=pathlib.Path, required=True)
    parser.add_argument("--peer-model", type=pathlib.Path, help="what llama.cpp runs; default: the same file")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--chunks", type=int, help="only so many of each text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=0.5, help="percent")
    parser.add_argument("--compile-flag", action="append", default=[], help="passed to kiln compile")
    parser.add_argument("--json", action="store_true", help="the last line is the result as JSON")
    args = parser.parse_args()
    for path in (args.model, args.llama_perplexity, *args.texts):
        if not path.exists():
            print(f"SKIP: {path} is absent")
            return 77
    results = []
    with tempfile.TemporaryDirectory() as folder:
        artifact = pathlib.Path(folder, "model.kiln")
        run(args.kiln, "compile", args.model, "-o", artifact, *args.compile_flag)
        for text in args.texts:
            found, error, chunks, seconds = own(args, artifact, text)
            expected, expected_error, peer_seconds = peer(args, text)
            difference = 100 * (found / expected - 1)
            print(f"{args.model.name}, {text.name}, {chunks} chunks of {args.context}: Kiln {found:.4f} +/- {error:.4f} in "
                  f"{seconds:.1f} s, llama.cpp {expected:.4f} +/- {expected_error:.4f} in {peer_seconds:.1f} s, "
                  f"difference {difference:+.3f} %", flush=True)
            results.append({"text": text.name, "chunks": chunks, "kiln": found, "llama_cpp": expected,
                            "difference_percent": difference, "seconds": seconds, "peer_seconds": peer_seconds})
    if args.json:
        print(json.dumps(results))
    return 0 if all(abs(result["difference_percent"]) <= args.tolerance for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
