"""kiln chat: turns through the template, commands, saved conversations, stdin that is no terminal, and Ctrl-C."""
import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import time

from harness import STORIES, case, expect, expect_equal

TEMPLATE = ("{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")


def chat_model(tools):
    """The example model with a template: what it says is a story, whatever is asked."""
    folder = tools.work / "chatting"
    if not (folder / "chat_template.jinja").exists():
        shutil.copytree(STORIES, folder, dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return tools.compile(folder, "--quant", "none")


def talk(tools, artifact, text, *flags):
    done = subprocess.run([str(tools.kiln), "chat", str(artifact), "--greedy", "--max-tokens", "12", *map(str, flags)],
                          input=text, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr, done.returncode


@case("chat/turns-and-commands")
def turns(tools):
    artifact = chat_model(tools)
    with tools.scratch() as folder:
        file = pathlib.Path(folder, "talk.json")
        out, err, status = talk(tools, artifact, f"Lily\n/save {file}\nAnd \\\nthen?\n", "--system", "Be kind.")
        expect_equal(status, 0, f"exit status; {err}")
        expect("tokens/s" in err, f"expected a rate on stderr, found {err!r}")
        saved = json.loads(file.read_text())
        expect_equal([turn["role"] for turn in saved], ["system", "user", "assistant"], "saved turns")
        # Saved and loaded, in another process, or all in one: the same answer, with and without the cache.
        for cached in (True, False):
            if not cached:
                os.remove(f"{file}.session")
            again, _, _ = talk(tools, artifact, "And \\\nthen?\n", "--load", file, "--quiet")
            expect(again.strip() and out.endswith(again), f"expected the end of {out!r}, found {again!r}")
        out, _, _ = talk(tools, artifact, 'Lily\n/reset\n"""Li\nly"""\n/reset\nLily\n/exit\nTom\n', "--quiet")
        expect(out.count(out.split("\n")[0]) >= 2, f"expected the same answer after /reset, found {out!r}")
        _, err, status = talk(tools, artifact, "/nonsense\n")
        expect(status == 1 and "/nonsense" in err, f"expected a refusal, found {status}: {err!r}")
        _, err, status = talk(tools, artifact, "/load /nowhere/at/all\n")
        expect(status == 1 and "/nowhere/at/all" in err, f"expected a refusal, found {status}: {err!r}")


@case("chat/without-a-template")
def no_template(tools):
    out, err, status = talk(tools, tools.compile("stories"), "Once upon a time\n")
    expect(status == 0 and len(out.split()) > 4, f"expected a story, found {out!r}, {err!r}")
    expect("no chat template" in err, f"expected a word about the template, found {err!r}")


class Terminal:
    """The program's terminal; `until` waits for a text behind the one that was waited for last."""

    def __init__(self, fd):
        self.fd, self.text = fd, ""

    def until(self, wanted, seconds=60):
        end = time.monotonic() + seconds
        while wanted not in self.text and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # the program has ended
                    break
        expect(wanted in self.text, f"expected {wanted!r} on the terminal, found {self.text[-400:]!r}")
        self.text = self.text.split(wanted, 1)[1]


@case("chat/ctrl-c-stops-the-answer")
def interrupt(tools):
    artifact = chat_model(tools)
    end_token = json.loads((STORIES / "config.json").read_text())["eos_token_id"]
    process, terminal = pty.fork()
    if process == 0:  # an answer without end
        os.execv(tools.kiln, ["kiln", "chat", str(artifact), "--logit-bias", str(end_token), "-1000"])
    shown = Terminal(terminal)
    shown.until("> ")
    os.write(terminal, b"\x03")
    shown.until("/exit")
    shown.until("> ")
    for _ in range(2):
        os.write(terminal, b"Tom\n")
        shown.until("Tom")  # the terminal's echo
        shown.until(" ")  # the answer has begun
        os.write(terminal, b"\x03")
        shown.until("stopped after")
        shown.until("> ")
    os.write(terminal, b"/exit\n")
    _, status = os.waitpid(process, 0)
    expect_equal(status, 0, "exit status")
