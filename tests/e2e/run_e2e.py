#!/usr/bin/env python3
"""End-to-end cases: each runs the programs as a user would and checks what they print.

usage: run_e2e.py --list
       run_e2e.py --kiln build/release/bin/kiln --runner build/release/bin/kiln_runner [...] CASE...

Standard library only. Exit status 77 means skipped. Cases that need the reference models are
skipped where their folder is absent.
"""
import argparse
import pathlib
import sys

import cases_arrays  # noqa: F401  the modules register their cases
import cases_artifact  # noqa: F401
import cases_bench  # noqa: F401
import cases_chat  # noqa: F401
import cases_embed  # noqa: F401
import cases_errors  # noqa: F401
import cases_executable  # noqa: F401
import cases_gguf  # noqa: F401
import cases_install  # noqa: F401
import cases_logits  # noqa: F401
import cases_quality  # noqa: F401
import cases_quantized  # noqa: F401
import cases_real_models  # noqa: F401
import cases_recognition  # noqa: F401
import cases_text  # noqa: F401
from harness import CASES, Tools, fail_usage, run_case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--kiln", type=pathlib.Path)
    parser.add_argument("--runner", type=pathlib.Path)
    parser.add_argument("--qemu", type=pathlib.Path)
    parser.add_argument("--runner-aarch64", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, help="the build folder; artifacts are cached under it")
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path("../shared"))
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    if args.list:
        print("\n".join(CASES))
        return 0
    if not args.kiln or not args.build or not args.cases:
        fail_usage("--kiln, --build and a case are required")
    unknown = [name for name in args.cases if name not in CASES]
    if unknown:
        fail_usage(f"no such case: {', '.join(unknown)}; --list shows them")
    tools = Tools(args)
    return max(run_case(name, tools) for name in args.cases)


if __name__ == "__main__":
    sys.exit(main())
