"""What a developer does with an installation: find_package(Kiln), link, run."""
import pathlib

from harness import ROOT, case, expect


@case("install/cmake-example")
def cmake_example(tools):
    with tools.scratch() as folder:
        prefix, build = pathlib.Path(folder, "prefix"), pathlib.Path(folder, "build")
        tools.run("cmake", "--install", tools.build, "--prefix", prefix)
        tools.run("cmake", "-S", ROOT / "examples/cmake", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
                  f"-DMODEL={ROOT / 'examples/stories/model'}")
        tools.run("cmake", "--build", build, "-j", "2")
        out, _ = tools.run(build / "tell", build / "model.kiln", "Once upon a time")
        expect(len(out.split()) > 5, f"expected a story, found {out!r}")


@case("install/c-example")
def c_example(tools):
    """The C example needs a C compiler and two archives: no C++ library."""
    artifact = tools.compile("stories")
    with tools.scratch() as folder:
        prefix, program = pathlib.Path(folder, "prefix"), pathlib.Path(folder, "generate")
        tools.run("cmake", "--install", tools.build, "--prefix", prefix)
        libraries = [next(prefix.glob(f"lib*/**/libkiln_{name}.a")) for name in ("llm", "runtime")]
        tools.run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{prefix}/include", ROOT / "examples/c/generate.c",
                  *libraries, "-lpthread", "-lm", "-o", program)
        out, _ = tools.run(program, artifact, "Once upon a time")
        expect(len(out.split()) > 5, f"expected a story, found {out!r}")
        tools.run(program, "/dev/null", "Once upon a time", good=False)
