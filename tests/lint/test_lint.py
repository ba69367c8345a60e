#!/usr/bin/env python3
"""The lint scripts find what they are there to find: each case plants one fault in an empty tree."""
import pathlib
import subprocess
import tempfile
import unittest

import check_files
import check_includes


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        subprocess.run(["git", "init", "-q", "."], cwd=self.root, check=True)
        self.write("README.md", "make demo\nmake test\n|---|\n")
        for name in check_files.FOLDERS:
            self.write(f"{name}/README.md", "purpose\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def expect(self, check, *parts):
        problems, _ = check(self.root)
        self.assertEqual(len(problems), 1 if parts else 0, problems)
        for part in parts:
            self.assertIn(part, problems[0])


class Files(Tree):
    def test_clean_tree_passes(self):
        self.expect(check_files.check)

    def test_large_file(self):
        self.write("model.bin", "x" * (check_files.LARGEST_BYTES + 1))
        self.expect(check_files.check, "model.bin", "limit")

    def test_long_file(self):
        self.write("ir/Long.cpp", "\n" * (check_files.MOST_LINES + 1))
        self.expect(check_files.check, "ir/Long.cpp", "lines")

    def test_machine_path(self):
        self.write("ir/A.cpp", "x\nopen(\"" + "/wor" + "k/main\");\n")
        self.expect(check_files.check, "ir/A.cpp:2", "machine")

    def test_unfinished(self):
        self.write("ir/A.cpp", "// " + "TO" + "DO: later\n")
        self.expect(check_files.check, "ir/A.cpp:1", "unfinished")

    def test_readme_without_table(self):
        self.write("README.md", "make demo\nmake test\n" + "\n" * 40 + "|---|\n")
        self.expect(check_files.check, "README.md", "|---")

    def test_folder_without_readme(self):
        (self.root / "ir/README.md").unlink()
        self.expect(check_files.check, "ir/README.md", "missing")


class Includes(Tree):
    def test_allowed(self):
        self.write("runtime/core/error.h", "")
        self.write("runtime/core/a.cpp", '#include "core/error.h"\n#include "kiln/kiln.h"\n#include <stdint.h>\n')
        self.write("passes/A.cpp", '#include "ir/Graph/GraphOps.h"\n#include "mlir/Pass/Pass.h"\n')
        self.expect(check_includes.check)

    def test_llvm_in_runtime(self):
        self.write("runtime/core/a.cpp", '#include "llvm/ADT/StringRef.h"\n')
        self.expect(check_includes.check, "runtime/core/a.cpp:1", "llvm")

    def test_cxx_library_in_runtime(self):
        self.write("runtime/core/a.cpp", "#include <vector>\n")
        self.expect(check_includes.check, "<vector>")

    def test_runtime_internals_in_compiler(self):
        self.write("runtime/core/error.h", "")
        self.write("compiler/A.cpp", '#include "core/error.h"\n')
        self.expect(check_includes.check, "compiler/ may not include runtime")

    def test_target_in_codegen(self):
        self.write("codegen/A.cpp", '#include "targets/x86_64/X.h"\n')
        self.expect(check_includes.check, "codegen/ may not include targets")

    def test_another_target(self):
        self.write("targets/aarch64/A.cpp", '#include "targets/x86_64/X.h"\n')
        self.expect(check_includes.check, "another target")

    def test_internals_in_examples(self):
        self.write("examples/c/a.c", '#include "runtime/core/error.h"\n')
        self.write("runtime/core/error.h", "")
        self.expect(check_includes.check, "examples/ may not include runtime")


if __name__ == "__main__":
    unittest.main()
