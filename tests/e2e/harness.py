"""What every end-to-end case uses: the programs, a cache of compiled artifacts, and expectations."""
import array
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORIES = ROOT / "examples/stories/model"
SKIPPED = 77
CASES = {}


class Skip(Exception):
    pass


class Failure(Exception):
    pass


def case(name, shared=None):
    """Registers a case; `shared` names the reference model it needs."""
    def register(function):
        assert name not in CASES, name
        CASES[name] = (function, shared)
        return function
    return register


def expect(condition, text):
    if not condition:
        raise Failure(text)


def expect_equal(found, expected, what):
    expect(found == expected, f"{what}:\n  expected {expected!r}\n  found    {found!r}")


class Tools:
    """The programs under test and the folders to work in."""

    def __init__(self, args):
        self.kiln, self.runner = args.kiln, args.runner
        self.qemu, self.runner_aarch64 = args.qemu, args.runner_aarch64
        self.build, self.shared = args.build, args.shared
        self.work = args.build / "tests/e2e/work"
        self.work.mkdir(parents=True, exist_ok=True)

    def run(self, *command, good=True, exit_code=None, **options):
        """Runs a program; `good` is the expected outcome: success, or a clean refusal (with `exit_code`)."""
        command = [str(part) for part in command]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              **{"timeout": 600, **options})
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        shown = f"{' '.join(command)}\n  exit {done.returncode}\n  stdout: {out[-2000:]}\n  stderr: {err[-2000:]}"
        if good and not exit_code:
            expect(done.returncode == 0, shown)
        elif exit_code:
            expect(done.returncode == exit_code and err.strip(), f"expected exit code {exit_code} and a message: {shown}")
        else:
            expect(0 < done.returncode < 126, f"expected an error, not success or a crash: {shown}")
            expect(err.strip(), f"expected a message on stderr: {shown}")
        return out, err

    def survive(self, *command):
        """Runs a program that may succeed or refuse, but not crash."""
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=120)
        expect(0 <= done.returncode < 126, f"crashed with {done.returncode}: {done.stderr[-2000:]!r}")

    def model(self, name):
        return STORIES if name == "stories" else self.shared / "models" / name

    def compile(self, model, *flags):
        """The artifact of a model, compiled once per build of the compiler and set of flags."""
        folder = self.model(model) if isinstance(model, str) else model
        stat = os.stat(self.kiln)
        key = json.dumps([str(folder), flags, stat.st_mtime_ns, stat.st_size])
        file = self.work / f"{folder.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.kiln"
        with open(file.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                self.run(self.kiln, "compile", folder, "-o", file, *flags)
        return file

    def generate(self, artifact, *flags, output="text"):
        out, _ = self.run(self.kiln, "run", artifact, "--greedy", "--output", output, *flags)
        return out

    def logits(self, artifact, ids, *flags, runner=None):
        """Rows of logits, one per prompt token."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            file = pathlib.Path(folder, "logits.npy")
            program = [self.kiln, "run", artifact, "--greedy"] if runner is None else [*runner, artifact]
            self.run(*program, "--prompt-ids", ",".join(map(str, ids)), "--max-tokens", "0", "--logits", file, *flags)
            return read_npy(file)

    def scratch(self):
        """A folder of the case's own, removed at its end."""
        return tempfile.TemporaryDirectory(dir=self.work)


def read_npy(path):
    data = path.read_bytes()
    expect(data[:6] == b"\x93NUMPY", f"{path}: not an .npy file")
    length, = struct.unpack_from("<H", data, 8)
    header = eval(data[10:10 + length].decode(), {"__builtins__": {}})  # a literal dict, by the format
    expect_equal(header["descr"], "<f4", "dtype of the logits")
    rows, columns = header["shape"]
    values = array.array("f", data[10 + length:])
    expect_equal(len(values), rows * columns, "elements in the .npy file")
    return [values[i * columns:(i + 1) * columns] for i in range(rows)]


def largest_difference(a, b):
    expect_equal((len(a), len(a[0])), (len(b), len(b[0])), "shape of the logits")
    return max(abs(x - y) for left, right in zip(a, b) for x, y in zip(left, right))


def expect_close(a, b, tolerance, what):
    difference = largest_difference(a, b)
    print(f"{what}: largest difference {difference:.3g} (allowed {tolerance:g})")
    expect(difference <= tolerance, f"{what}: logits differ by {difference:.3g}, allowed {tolerance:g}")


def read_safetensors(path):
    """(header, body) of a safetensors file; the header without its metadata."""
    data = path.read_bytes()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return header, data[8 + length:]


def write_safetensors(path, header, body, length=None):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def copy_model(source, folder):
    """A copy whose files may be spoiled."""
    folder = pathlib.Path(folder, "model")
    shutil.copytree(source, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)
    return folder


def run_case(name, tools):
    function, shared = CASES[name]
    try:
        if shared and not (tools.shared / "models" / shared).is_dir():
            raise Skip(f"reference models are absent ({tools.shared / 'models'})")
        function(tools)
    except Skip as reason:
        print(f"SKIP: {reason}")
        return SKIPPED
    except Failure as failure:
        print(f"FAIL: {failure}")
        return 1
    print(f"ok: {name}")
    return 0


def cpu_has(*flags):
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("flags"):
            return set(flags) <= set(line.split())
    return False


def fail_usage(text):
    sys.exit(f"run_e2e.py: {text}")
