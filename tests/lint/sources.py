"""The files that the lint scripts look at: those that git tracks or would track."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CXX = {".h", ".hpp", ".c", ".cpp"}


def tracked(root=ROOT):
    """Paths relative to `root`, sorted; deleted files that git still lists are left out."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, stdout=subprocess.PIPE).stdout
    paths = {pathlib.PurePosixPath(name.decode()) for name in listing.split(b"\0") if name}
    return sorted(path for path in paths if (root / path).is_file())


def finish(what, problems, count):
    """Prints the outcome of one lint script and returns its exit status."""
    for problem in problems:
        print(problem)
    print(f"{what}: {count} files, {len(problems)} problems")
    return 1 if problems else 0
