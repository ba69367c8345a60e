# Configuration of the lit tests: textual IR through kiln-opt, checked by FileCheck. The build passes
# the paths as parameters (see tests/passes/CMakeLists.txt).
import os

import lit.formats

config.name = "kiln"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = lit_config.params["exec_root"]
config.environment["PATH"] = os.pathsep.join(
    [lit_config.params["kiln_tools"], lit_config.params["llvm_tools"], os.environ["PATH"]]
)
