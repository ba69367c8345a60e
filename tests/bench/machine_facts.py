"""What a figure means depends on where it was taken: the facts of this machine and of what was built."""
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Those that decide which kernels run.
FEATURES = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
            "amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16", "sve"]


def read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def output(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, check=False)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def from_cpuinfo(text, key):
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1) if found else ""


def commit():
    name = output("git", "rev-parse", "--short=12", "HEAD")
    return name + " with changes" if name and output("git", "status", "--porcelain", "-uno") else name


def machine_facts():
    cpuinfo = read("/proc/cpuinfo")
    flags = set((from_cpuinfo(cpuinfo, "flags") or from_cpuinfo(cpuinfo, "Features")).split())
    memory = re.search(r"MemTotal:\s+(\d+) kB", read("/proc/meminfo"))
    caches = {}
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if read(index / "type").strip() != "Instruction":
            caches["L" + read(index / "level").strip()] = read(index / "size").strip()
    return {"cpu": from_cpuinfo(cpuinfo, "model name") or platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)), "virtual": "hypervisor" in flags,
            "features": [name for name in FEATURES if name in flags], "caches": caches,
            "memory_bytes": int(memory.group(1)) * 1024 if memory else 0, "kernel": platform.release(),
            "system": platform.machine(), "kiln_commit": commit()}


def slug(facts):
    """A name for files: "intel-xeon-processor-2-cores"."""
    cpu = re.sub(r"\((?:R|TM)\)", "", facts["cpu"])
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu} {facts['cores']} cores".lower()).strip("-")
