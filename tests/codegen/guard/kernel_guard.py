#!/usr/bin/env python3
"""Holds the kernels' inner loops to what they were, without a clock: counted in the disassembly.

A small model is compiled for every target and quantization below. Of every kernel that does a matmul
or an attention, the innermost loops with multiply-adds of vectors or tiles are counted:
instructions, products, and vectors that pass through the stack frame, which are spills. The counts
are compared with those kept in kernel_counts.csv:

- instructions of a loop and of a whole kernel within 3 %, fewer as well as more (the file must stay
  true), where a few instructions are always allowed;
- spills no more than before.

Two rules hold whatever the file says: on targets with 32 vector registers of 512 bits no such loop
spills, but for those in SPILLS_ALLOWED; and no such kernel may be left to the lowering to loops or to
the reference.

    kernel_guard.py --kiln build/release/bin/kiln            # compares
    kernel_guard.py --kiln build/release/bin/kiln --update   # keeps what is found

Standard library only.
"""
import argparse
import concurrent.futures
import csv
import fnmatch
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "bench"))
from innermost_loops import count_stack_vectors, disassemble, innermost_loops, name_products  # noqa: E402
from make_random_llama import write_model  # noqa: E402

COUNTS = HERE / "kernel_counts.csv"
COLUMNS = ["variant", "target", "kernel", "implementation", "instructions", "loops"]
SHAPE = dict(hidden=512, layers=1, heads=8, kv_heads=4, ffn=512, vocab=512, context=512, tied=False)
TARGETS = ["sapphirerapids", "x86-64-v4-vnni", "x86-64-v4", "x86-64-v3", "aarch64-dotprod"]
# Both formats of the KV cache that have kernels of their own, at no further compilation.
VARIANTS = {"q4": ["--quant", "q4", "--kv-cache", "f16"],
            "q8": ["--quant", "q8", "--kv-cache", "q8"]}
TOLERANCE = 0.03
FEW = 2  # instructions: what moves when the register allocator breaks a tie in another way
SLOW = {"reference", "loops"}
WIDE = ["sapphirerapids", "x86-64-v4-vnni", "x86-64-v4"]
# Patterns of (variant, target, kernel, products of the loop) that may spill on a wide target, and why.
SPILLS_ALLOWED = {
    ("*", "sapphirerapids", "*_silu_*", "fma64"):
        "the exponentials of an epilogue's activation, eight rows at once: once per block of outputs",
    ("*", "sapphirerapids", "*_attention_*", "fma20"):
        "the exponentials that merge two segments of a context: once per segment of keys",
    ("q8", "sapphirerapids", "*_silu_*", "tile2+fma16"):
        "two matmuls of eight rows whose panels to come are fetched meanwhile: eight of 143 instructions",
    ("q4", "x86-64-v4", "*", "dot64+fma8"):
        "the same without dot products of four bytes: ten of 316 instructions, in one of the loops over panels",
    ("*", "x86-64-v4", "*", "dot128+*"):
        "eight rows of q8 without dot products of four bytes: at most eight of 510 instructions, in one of "
        "the four loops over panels",
}


def run(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n  exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def compile_images(args, folder, variant):
    """The facts of an artifact for all targets, and for each the file that its image was copied to. One
    artifact, because `inspect` needs an image that this machine could run; the code is the same as alone."""
    artifact = folder / f"{variant}.kiln"
    run(args.kiln, "compile", folder / "model", "-o", artifact, "--target", ",".join(TARGETS), *VARIANTS[variant],
        "--threads", 1, "--quiet")
    facts = json.loads(run(args.kiln, "inspect", "--json", artifact))
    sections = [section for section in facts["sections"] if section["kind"] == "code"]
    found = [image["target"] for image in facts["images"]]
    if found != TARGETS or len(sections) != len(TARGETS):
        sys.exit(f"{variant}: images: expected {TARGETS}, found {found} in {len(sections)} code sections")
    files = []
    with open(artifact, "rb") as file:
        for target, section in zip(TARGETS, sections):
            files.append(folder / f"{variant}-{target}.so")
            file.seek(section["offset"])
            files[-1].write_bytes(file.read(section["bytes"]))
    return facts, files


def count_kernels(args, folder, variant):
    """Rows of the table: the kernels of one artifact that do a matmul or an attention."""
    facts, files = compile_images(args, folder, variant)
    operations = {region["kernel"]: {operation.split()[0] for operation in region["operations"].split(", ")}
                  for region in facts["functions"][0]["schedule"]["regions"]}  # "matmul x2" is two of them
    rows = []
    for image, file in zip(facts["images"], files):
        arch = "aarch64" if image["target"].startswith("aarch64") else "x86_64"
        code = disassemble(args.objdump, file)
        for kernel in image["kernels"]:
            name = kernel["kernel"]
            if not operations[name] & {"matmul", "attention"}:
                continue
            loops = []
            for loop in innermost_loops(code[name], arch):
                if products := name_products(loop, arch):
                    loops.append((products, len(loop), count_stack_vectors(loop, code[name], arch)))
            rows.append({"variant": variant, "target": image["target"], "kernel": name,
                         "implementation": kernel["implementation"], "instructions": len(code[name]),
                         "loops": loops})
    return rows


def measure(args):
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor() as workers:
        folder = pathlib.Path(folder)
        write_model(folder / "model", SHAPE, seed=1, shard_bytes=1 << 30)
        work = [workers.submit(count_kernels, args, folder, variant) for variant in VARIANTS]
        return [row for done in work for row in done.result()]


def read_counts():
    """The table as it is kept: a loop is its products:instructions:spills."""
    with open(COUNTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["instructions"] = int(row["instructions"])
        loops = [loop.split(":") for loop in row["loops"].split()]
        row["loops"] = [(products, int(size), int(spills)) for products, size, spills in loops]
    return rows


def write_counts(rows):
    with open(COUNTS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "loops": " ".join(":".join(map(str, loop)) for loop in row["loops"])})


def place(row):
    return f"{row['variant']}, {row['target']}, {row['kernel']}"


def check_rules(rows):
    """What no kernel may do, whatever was kept."""
    for row in rows:
        if row["implementation"] in SLOW:
            yield f"{place(row)}: expected a kernel of an emitter, found the implementation '{row['implementation']}'"
        if not row["loops"]:
            yield f"{place(row)}: expected an inner loop with vector multiply-adds, found none"
        for number, (products, _, spills) in enumerate(row["loops"]):
            key = (row["variant"], row["target"], row["kernel"], products)
            allowed = any(all(map(fnmatch.fnmatch, key, pattern)) for pattern in SPILLS_ALLOWED)
            if row["target"] in WIDE and spills and not allowed:
                yield (f"{place(row)}: loop {number} ({products}): expected no vector on the stack, "
                       f"found {spills}")


def differs(kept, found):
    return abs(found - kept) > max(FEW, TOLERANCE * kept)


def compare(kept_rows, rows):
    kept = {place(row): row for row in kept_rows}
    found = {place(row): row for row in rows}
    for name in kept.keys() - found.keys():
        yield f"{name}: kept, but no such kernel is compiled"
    for name, row in found.items():
        if name not in kept:
            yield f"{name}: a kernel that is not in the file"
            continue
        before = kept[name]
        for column, is_other in (("implementation", str.__ne__), ("instructions", differs)):
            if is_other(before[column], row[column]):
                yield f"{name}: {column}: expected {before[column]}, found {row[column]}"
        products = [[loop[0] for loop in each["loops"]] for each in (before, row)]
        if products[0] != products[1]:
            yield f"{name}: products of the inner loops: expected {products[0]}, found {products[1]}"
            continue
        for number, (was, now) in enumerate(zip(before["loops"], row["loops"])):
            loop = f"{name}: loop {number} ({now[0]})"
            if differs(was[1], now[1]):
                yield f"{loop}: expected {was[1]} instructions, found {now[1]}"
            if now[2] > was[2]:
                yield f"{loop}: expected at most {was[2]} vectors on the stack, found {now[2]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kiln", required=True, type=pathlib.Path)
    parser.add_argument("--objdump", default="llvm-objdump-22")
    parser.add_argument("--update", action="store_true", help=f"write {COUNTS.name} instead of comparing with it")
    args = parser.parse_args()
    rows = measure(args)
    problems = list(check_rules(rows))
    if args.update:
        write_counts(rows)
    else:
        problems += compare(read_counts(), rows)
    for problem in problems:
        print(problem)
    print(f"{len(rows)} kernels, {sum(len(row['loops']) for row in rows)} inner loops, {len(problems)} problems")
    if problems and not args.update:
        print("if this is meant, keep the new counts: kernel_guard.py --kiln KILN --update")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
