#!/usr/bin/env python3
"""Checks the include table of the architecture: which folder may include what.

usage: check_includes.py [ROOT]

A folder's row names the groups that its files may include. A group is a top-level folder of the
tree, `public` (runtime/include), `llvm` (MLIR, LLVM and their tools), or `format` (the two
header-only libraries that the runtime reads artifacts with). Everything else is the system's and
free, except in the runtime, whose allowance of C++ headers is `HEADER_ONLY`.
"""
import pathlib
import re
import sys

from sources import ROOT, finish, tracked

TABLE = {
    "runtime": {"runtime", "public", "format"},
    "ir": {"ir", "llvm"},
    "passes": {"passes", "ir", "llvm"},
    "codegen": {"codegen", "ir", "llvm", "public"},
    "targets": {"targets", "codegen", "ir", "llvm", "public"},
    "compiler": {"compiler", "passes", "codegen", "targets", "ir", "llvm", "public", "format"},
    "examples": {"public"},
}
SUFFIXES = {".h", ".hpp", ".c", ".cpp", ".inc", ".def", ".td"}
INCLUDE = re.compile(r'^\s*#?\s*include\s+([<"])([^">]+)[">]')
LLVM = {"mlir", "mlir-c", "llvm", "llvm-c", "lld", "clang"}
FORMAT = {"flatbuffers", "xxhash.h"}
# C++ headers whose contents are all inline: they need no C++ library at link time.
HEADER_ONLY = {"atomic", "new", "type_traits", "cstddef", "cstdint", "cstring", "utility", "limits", "initializer_list"}


def group(root, path, target):
    """The group of an included file, or None where it is the system's."""
    first = target.split("/")[0]
    if first in LLVM:
        return "llvm"
    if first in FORMAT:
        return "format"
    if first == "kiln" or target.startswith("runtime/include/"):
        return "public"
    for base in (path.parent, pathlib.PurePosixPath("."), pathlib.PurePosixPath("runtime")):
        candidate = pathlib.Path(root / base / target)
        if candidate.is_file():
            inside = candidate.resolve().relative_to(root.resolve())
            return "public" if inside.parts[:2] == ("runtime", "include") else inside.parts[0]
    return first if first in TABLE else None  # a header that the build writes


def problem_of(root, path, bracket, target):
    folder, found = path.parts[0], group(root, path, target)
    if found is None:
        # A C++ library header has no suffix: the runtime links none.
        # A .hpp is compiled by those who include it.
        if folder == "runtime" and path.suffix != ".hpp" and bracket == "<" and "." not in target \
                and target not in HEADER_ONLY:
            return f"the runtime links no C++ library: <{target}>"
        return None
    if found not in TABLE[folder]:
        return f"{folder}/ may not include {found}: {target}"
    if folder == found == "targets" and len(path.parts) > 2:
        mine, other = path.parts[1], target.split("/")
        if other[0] == "targets" and len(other) > 2 and other[1] != mine:
            return f"targets/{mine} may not include another target: {target}"
    return None


def check(root):
    problems, count = [], 0
    for path in tracked(root):
        if path.suffix not in SUFFIXES or path.parts[0] not in TABLE:
            continue
        count += 1
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            problem = match and problem_of(root, path, *match.groups())
            if problem:
                problems.append(f"{path}:{number}: {problem}")
    return problems, count


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    return finish("includes", *check(root))


if __name__ == "__main__":
    sys.exit(main())
