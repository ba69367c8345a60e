#!/usr/bin/env python3
"""Checks the rules that hold for every file, and those for READMEs.

usage: check_files.py [ROOT]

No file over 3 MB; no source over 1,000 lines (over 500: a warning); no path of somebody's machine; no
note of unfinished work; the README shows its first commands and its result table above line 30;
every top-level folder has a README of at most 80 lines.
"""
import pathlib
import re
import sys

from sources import ROOT, finish, tracked

LARGEST_BYTES = 3 << 20
MOST_LINES, MANY_LINES = 1000, 500
SOURCES = {".h", ".hpp", ".c", ".cpp", ".td", ".def", ".fbs", ".py", ".mlir", ".cmake", ".txt", ".md", ".sh"}
TEXT = SOURCES | {"", ".json", ".yml", ".yaml", ".inc", ".in", ".toml", ".gradle", ".swift", ".kt"}
FOLDERS = ["compiler", "ir", "passes", "codegen", "targets", "runtime", "tests", "examples"]
# Written so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(?:wor[k]|far[m]|roo[t]|home/\w+|tmp/\w*bas[h]_jobs|User[s]/\w+)/")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
GENERATED = re.compile(r"generated|(?:Unicode\w*\.inc)$|LICENSE$")


def check_lines(path, text, problems):
    lines = text.splitlines()
    if path.suffix in SOURCES and not GENERATED.search(path.name):
        if len(lines) > MOST_LINES:
            problems.append(f"{path}: {len(lines)} lines; past {MOST_LINES} there is a second idea in it")
        elif len(lines) > MANY_LINES:
            print(f"{path}: warning: {len(lines)} lines; look for the second idea past {MANY_LINES}")
    for number, line in enumerate(lines, 1):
        if MACHINE_PATH.search(line):
            problems.append(f"{path}:{number}: a path of one machine: {line.strip()[:80]}")
        if UNFINISHED.search(line):
            problems.append(f"{path}:{number}: a note of unfinished work: {line.strip()[:80]}")


def check_readmes(root, problems):
    readme = root / "README.md"
    head = readme.read_text(encoding="utf-8").splitlines()[:29] if readme.is_file() else []
    for wanted in ("make demo", "make test", "|---"):
        if not any(wanted in line for line in head):
            problems.append(f"README.md: expected `{wanted}` above line 30")
    for folder in FOLDERS:
        page = root / folder / "README.md"
        if not page.is_file():
            problems.append(f"{folder}/README.md: missing")
        elif len(page.read_text(encoding="utf-8").splitlines()) > 80:
            problems.append(f"{folder}/README.md: more than 80 lines")


def check(root):
    problems, files = [], tracked(root)
    for path in files:
        data = (root / path).read_bytes()
        if len(data) > LARGEST_BYTES:
            problems.append(f"{path}: {len(data)} bytes; the limit is {LARGEST_BYTES}")
        elif path.suffix in TEXT and b"\0" not in data:
            check_lines(path, data.decode("utf-8", errors="replace"), problems)
    check_readmes(root, problems)
    return problems, len(files)


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    return finish("files", *check(root))


if __name__ == "__main__":
    sys.exit(main())
