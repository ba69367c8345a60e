"""kiln compile --emit executable: one file that runs by itself, says what `kiln run` and `kiln chat` say, and knows when
it has been damaged."""
import os
import pathlib
import pty
import stat
import struct
import subprocess

from cases_chat import Terminal, chat_model, talk
from harness import STORIES, Skip, case, copy_model, expect, expect_equal

PROMPT = "Once upon a time"
TRAILER_BYTES = 56


def executable(tools, model="stories", *flags):
    return tools.compile(model, "--emit", "executable", *flags)


def start(program, *arguments, text=None, root=None, **options):
    """(stdout, stderr, exit status) of the executable with nothing in its environment."""
    def enter():
        os.chroot(root)
        os.chdir("/")
    done = subprocess.run([str(part) for part in (program, *arguments)], input=text, capture_output=True, text=True,
                          env={}, timeout=300, preexec_fn=enter if root else None,
                          **({} if text is not None else {"stdin": subprocess.DEVNULL}), **options)
    return done.stdout, done.stderr, done.returncode


def said(program, *arguments, **options):
    out, err, status = start(program, *arguments, **options)
    expect_equal((status, err), (0, ""), "exit status and stderr")
    return out


def trailer(file):
    """(offset of the artifact, its size)"""
    return struct.unpack_from("<QQ", file.read_bytes(), file.stat().st_size - TRAILER_BYTES)


@case("executable/says-what-kiln-run-says")
def same_tokens(tools):
    artifact, program = tools.compile("stories", "--quant", "q8"), executable(tools, "stories", "--quant", "q8")
    for flags in (["--greedy"], ["--temperature", "0.8", "--top-k", "20", "--seed", "7"], ["--greedy", "--stop", "was"]):
        for output in ("ids", "text"):
            expected, _ = tools.run(tools.kiln, "run", artifact, "--prompt", PROMPT, "--max-tokens", 40, "--quiet",
                                    "--output", output, *flags)
            own = ["--ids"] if output == "ids" else []
            expect_equal(said(program, "--prompt", PROMPT, "-n", 40, "-q", *own, *flags), expected, f"{flags}, {output}")
    expected, _ = tools.run(tools.kiln, "run", artifact, "--prompt", PROMPT, "--greedy", "--quiet")
    expect_equal(said(program, "--greedy", "-q", text=PROMPT + "\n"), expected, "the prompt on stdin")
    expected, _ = tools.run(tools.kiln, "run", artifact, "--greedy", "--quiet", "--max-tokens", 9)
    expect_equal(said(program, "--greedy", "-q", "-n", 9), expected, "no prompt")
    _, err, status = start(program, "-p", PROMPT, "-n", 3)
    expect(status == 0 and "tokens/s" in err, f"expected statistics on stderr, found {err!r}")
    expect("usage:" in said(program, "--help") and "--prompt" in said(program, "-h"), "expected help")
    expect("kiln 0." in said(program, "--version") and "llama" in said(program, "--version"), "expected facts")


@case("executable/is-a-program-and-the-artifact")
def layout(tools):
    """The file is the launcher, the very artifact, and a trailer; its mode follows the umask, and nothing else is left."""
    artifact, program = tools.compile("stories", "--quant", "q8"), executable(tools, "stories", "--quant", "q8")
    data = program.read_bytes()
    offset, size = trailer(program)
    expect_equal(data[:4], b"\x7fELF", "the first bytes")
    expect_equal(data[offset:offset + size], artifact.read_bytes(), "the artifact inside")
    expect_equal(len(data), offset + size + TRAILER_BYTES, "bytes of the file")
    with tools.scratch() as folder:
        for umask, mode in ((0o022, 0o755), (0o077, 0o700)):
            file = pathlib.Path(folder, "chat")
            file.write_text("an older file")
            tools.run(tools.kiln, "compile", STORIES, "-o", file, "--emit", "executable", "--quant", "q8", umask=umask)
            expect_equal(stat.S_IMODE(file.stat().st_mode), mode, f"mode under umask {umask:o}")
            expect_equal(file.read_bytes(), data, "bytes of a second compile")
            expect_equal(os.listdir(folder), ["chat"], "files in the folder")


@case("executable/runs-alone")
def alone(tools):
    """In a root folder that holds nothing else: no library, no /proc, no environment."""
    program = executable(tools, "stories", "--quant", "q8")
    data = program.read_bytes()
    table, = struct.unpack_from("<Q", data, 32)
    entry, count = struct.unpack_from("<HH", data, 54)
    if 3 in [struct.unpack_from("<I", data, table + i * entry)[0] for i in range(count)]:  # PT_INTERP
        raise Skip("the launcher was linked with the system's shared libc: it has no static one")
    if os.geteuid() != 0:
        raise Skip("only root may change the root folder")
    expected = said(program, "-p", PROMPT, "--greedy", "-n", 20, "-q")
    with tools.scratch() as folder:
        copy = pathlib.Path(folder, "story")
        copy.write_bytes(data)
        copy.chmod(0o755)
        for name in ("/story", "./story"):
            expect_equal(said(name, "-p", PROMPT, "--greedy", "-n", 20, "-q", root=folder), expected, f"as {name}")


@case("executable/damage-is-noticed")
def damaged(tools):
    program = executable(tools, "stories", "--quant", "q8")
    data = program.read_bytes()
    offset, size = trailer(program)
    with tools.scratch() as folder:
        def refused(content, wanted, *flags):
            file = pathlib.Path(folder, "damaged")
            file.write_bytes(content)
            file.chmod(0o755)
            out, err, status = start(file, "-p", PROMPT, "-n", 2, "-q", *flags)
            file.unlink()
            expect(status == 1 and wanted in err and "damaged: error:" in err and not out,
                   f"expected a refusal that says {wanted!r}, found status {status}, {out!r}, {err!r}")

        def flipped(place):
            return data[:place] + bytes([data[place] ^ 4]) + data[place + 1:]

        for length in (offset, offset + 1, offset + size // 2, offset + size, len(data) - 1):
            refused(data[:length], "truncated")
        refused(data + b"\0", "truncated")
        refused(flipped(offset - 1), "launcher: expected checksum")  # the padding behind it
        refused(flipped(offset), "not a .kiln artifact")
        refused(flipped(offset + 64), "section table")
        refused(flipped(offset + 16384), "section 0 (program)")
        refused(flipped(len(data) - TRAILER_BYTES), "trailer: expected checksum")
        weights = flipped(offset + size - 100)
        refused(weights, "weights", "--verify")
    expect(said(program, "-p", PROMPT, "-n", 2, "-q", "--verify"), "expected text")


@case("executable/chats")
def chats(tools):
    folder = chat_model(tools).parent / "chatting"
    artifact, program = chat_model(tools), executable(tools, folder, "--quant", "none")
    flags = ["--system", "Be kind.", "--quiet"]
    turns = 'Lily\nAnd \\\nthen?\n/reset\n"""To\nm"""\n'
    expected, _, _ = talk(tools, artifact, turns, *flags)
    found = said(program, "--chat", "--greedy", "--max-tokens", 12, *flags, text=turns)
    expect_equal(found, expected, "a conversation on stdin")
    found = said(program, "--chat", "--prompt", "Lily", "--greedy", "--max-tokens", 12, *flags)
    expect_equal(found, expected.split("\n")[0] + "\n", "one turn")
    _, err, status = start(program, "--chat", "--quiet", text="/nonsense\n")
    expect(status == 1 and "/nonsense" in err, f"expected a refusal, found {status}: {err!r}")

    process, terminal = pty.fork()
    if process == 0:  # on a terminal it talks; Ctrl-C stops an answer without end
        os.execv(program, [str(program), "--logit-bias", "0", "-1000"])
    shown = Terminal(terminal)
    shown.until("/help")
    shown.until("> ")
    os.write(terminal, b"\x03")
    shown.until("/exit")
    shown.until("> ")
    os.write(terminal, b"Tom\n")
    shown.until("Tom")  # the terminal's echo
    shown.until(" ")  # the answer has begun
    os.write(terminal, b"\x03")
    shown.until("stopped after")
    shown.until("> ")
    os.write(terminal, b"/exit\n")
    _, status = os.waitpid(process, 0)
    expect_equal(status, 0, "exit status")


@case("executable/refusals-leave-no-file")
def refusals(tools):
    with tools.scratch() as folder:
        file, bare = pathlib.Path(folder, "chat"), copy_model(STORIES, folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (bare / name).unlink()
        for model, flags, wanted in ((STORIES, ["--target", "x86-64-v3,aarch64"], "targets of one architecture"),
                                     (bare, [], "has no tokenizer")):
            _, err = tools.run(tools.kiln, "compile", model, "-o", file, "--emit", "executable", "--quiet", *flags, good=False)
            expect(wanted in err, f"expected {wanted!r} in {err!r}")
            expect(not file.exists(), "a refused compile left a file")
        _, err = tools.run(tools.kiln, "compile", STORIES, "-o", file, "--emit", "library", good=False)
        expect("executable" in err, f"expected the choices, found {err!r}")
    program = executable(tools, "stories", "--quant", "q8")
    for arguments, status, wanted in ((["--colour"], 2, "--colour"), (["a prompt"], 2, "--prompt"), (["-n", "x"], 2, "max-tokens"),
                                      (["--system", "Hi"], 2, "--chat"), (["-p", "x", "-c", "99999"], 1, "context_length"),
                                      (["-p", "x", "--top-p", "2"], 1, "top_p")):
        out, err, found = start(program, *arguments)
        expect(found == status and wanted in err and not out, f"{arguments}: expected {wanted!r}, found {found}, {err!r}")


@case("executable/from-an-installation")
def installed(tools):
    with tools.scratch() as folder:
        prefix, file = pathlib.Path(folder, "prefix"), pathlib.Path(folder, "chat")
        tools.run("cmake", "--install", tools.build, "--prefix", prefix)
        tools.run(prefix / "bin/kiln", "compile", STORIES, "-o", file, "--emit", "executable", "--quant", "q8")
        expect_equal(file.read_bytes(), executable(tools, "stories", "--quant", "q8").read_bytes(), "bytes")
        for launcher in prefix.glob("lib*/**/launcher-*"):
            launcher.unlink()
        file.unlink()
        _, err = tools.run(prefix / "bin/kiln", "compile", STORIES, "-o", file, "--emit", "executable", good=False)
        expect("launcher-" in err and "cannot be read" in err and not file.exists(), f"expected what is missing, found {err!r}")


@case("executable/aarch64")
def other_architecture(tools):
    """Where this build has a launcher for it."""
    if not tools.qemu:
        raise Skip("no cross compiler for aarch64, or no qemu-aarch64")
    program = executable(tools, "stories", "--quant", "none", "--target", "aarch64")
    expected, _ = tools.run(tools.kiln, "run", tools.compile("stories", "--quant", "none"), "--prompt", PROMPT, "--greedy",
                            "--max-tokens", 20, "--quiet")
    expect_equal(said(tools.qemu, program, "-p", PROMPT, "--greedy", "-n", 20, "-q", "-t", 1), expected, "under qemu")
