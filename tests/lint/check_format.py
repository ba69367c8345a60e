#!/usr/bin/env python3
"""Checks that C and C++ files are formatted as .clang-format says; --fix formats them."""
import subprocess
import sys

from sources import CXX, ROOT, finish, tracked


def main():
    fix = sys.argv[1:] == ["--fix"]
    files = [str(path) for path in tracked() if path.suffix in CXX]
    if not files:
        return finish("format", [], 0)
    action = ["-i"] if fix else ["--dry-run", "-Werror", "-ferror-limit=1"]
    problems = []
    for at in range(0, len(files), 16):
        run = subprocess.run(["clang-format-22", "--style=file", *action, *files[at:at + 16]], cwd=ROOT,
                             stderr=subprocess.PIPE, text=True)
        errors = [line for line in run.stderr.splitlines() if "error:" in line]
        problems += errors or ([run.stderr.strip()] if run.returncode else [])
    if problems:
        problems.append("`make format` mends this")
    return finish("format", problems, len(files))


if __name__ == "__main__":
    sys.exit(main())
