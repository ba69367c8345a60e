"""Greedy text: known answers, on every target level, with one thread and two, at every quantization."""
import json
import subprocess
import sys

from harness import ROOT, Skip, case, cpu_has, expect, expect_equal

KNOWN_TEXT = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.")
# The text is 61 tokens: the 61st is the full stop.
KNOWN_TOKENS = 61
KNOWN_IDS = [403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337,
             410, 408, 419, 292]
ZOO_PROMPT = "Lily and Tom went to the zoo"
ZOO_TEXT = " with their mom. They saw a big box with a big box. They wanted to play with it."
# Turning <EOC> SLM, Turning Secondary <EOC> Sand Casting, Turning Secondary <EOC>
CAPP_CHAIN = [29, 50, 32, 36, 50, 33, 36, 50]
CPU_FLAGS = {"host": [], "x86-64-v3": ["avx2", "fma"], "x86-64-v4": ["avx512f", "avx512bw", "avx512vl"]}


def require_cpu(target):
    if not cpu_has(*CPU_FLAGS[target]):
        raise Skip(f"this CPU does not run {target}")


def require_aarch64(tools):
    if not tools.qemu or not tools.runner_aarch64:
        raise Skip("no aarch64 cross compiler or no qemu-aarch64")


def expect_prefix(text, known, what):
    expect_equal(text[:len(known)], known, what)


def known_text(target, threads):
    @case(f"text/stories260K-{target}-{threads}-threads", shared="stories260K")
    def known(tools):
        require_cpu(target)
        artifact = tools.compile("stories260K", "--quant", "none", "--target", target)
        text = tools.generate(artifact, "--max-tokens", KNOWN_TOKENS, "--threads", threads).lstrip(" ")
        expect_prefix(text, KNOWN_TEXT, "greedy text from the begin token")


for each_target in CPU_FLAGS:
    for each_count in (1, 2):
        known_text(each_target, each_count)


@case("text/stories260K-aarch64", shared="stories260K")
def aarch64(tools):
    require_aarch64(tools)
    artifact = tools.compile("stories260K", "--quant", "none", "--target", "aarch64")
    for threads in (1, 2):
        text, _ = tools.run(tools.qemu, tools.runner_aarch64, artifact, "--max-tokens", KNOWN_TOKENS, "--threads", threads)
        expect_prefix(text.lstrip(" "), KNOWN_TEXT, f"greedy text on aarch64, {threads} threads")


@case("text/stories260K-ids", shared="stories260K")
def known_ids(tools):
    artifact = tools.compile("stories260K", "--quant", "none")
    out = tools.generate(artifact, "--max-tokens", len(KNOWN_IDS), output="ids")
    expect_equal([int(word) for word in out.split()], KNOWN_IDS, "greedy ids from the begin token")


@case("text/stories260K-prompt", shared="stories260K")
def prompt(tools):
    artifact = tools.compile("stories260K", "--quant", "none")
    text = tools.generate(artifact, "--prompt", ZOO_PROMPT, "--max-tokens", 40)
    expect(ZOO_TEXT in text, f"expected the continuation {ZOO_TEXT!r}, found {text!r}")
    ids = tools.generate(artifact, "--prompt-ids", "1,317,269,274,287,263,377,267,265,410,451,347",
                         "--max-tokens", 40)
    expect(ZOO_TEXT in ids, f"expected the continuation {ZOO_TEXT!r}, found {ids!r}")


@case("text/stories260K-q8-keeps-40-tokens", shared="stories260K")
def q8(tools):
    ids = [tools.generate(tools.compile("stories260K", "--quant", quant), "--max-tokens", 40, output="ids").split()
           for quant in ("none", "q8")]
    expect_equal(ids[1], ids[0], "first 40 greedy tokens with q8 and without quantization")


@case("text/capp-gpt-chain", shared="capp-gpt")
def gpt2(tools):
    artifact = tools.compile("capp-gpt", "--quant", "none")
    ids = [0, 7, 14, 16, 20, 24, 49]
    last = tools.logits(artifact, ids)[-1]
    best = max(range(len(last)), key=last.__getitem__)
    expect_equal(best, 29, "next id")
    expect(abs(last[best] - 8.10012) <= 0.001, f"its logit: expected 8.10012 ± 0.001, found {last[best]:.5f}")
    out = tools.generate(artifact, "--prompt-ids", ",".join(map(str, ids)), "--max-tokens", len(CAPP_CHAIN), output="ids")
    expect_equal([int(word) for word in out.split()], CAPP_CHAIN, "greedy ids")


def stories_text(target):
    @case(f"text/stories-{target}")
    def known(tools):
        require_cpu(target)
        expected = json.loads((ROOT / "examples/stories/expected.json").read_text(encoding="utf-8"))
        artifact = tools.compile("stories", "--quant", "none", "--target", target)
        for entry in expected["cases"]:
            flags = ["--prompt-ids", ",".join(map(str, entry["prompt_ids"])), "--max-tokens", len(entry["ids"])]
            for threads in (1, 2):
                out = tools.generate(artifact, *flags, "--threads", threads, output="ids")
                found = [int(word) for word in out.split()]
                wanted = [i for i in entry["ids"] if i != 0]  # the end token is not printed
                expect_equal([i for i in found if i != 0], wanted, f"ids after {entry['prompt']!r}, {threads} threads")


for each_target in CPU_FLAGS:
    stories_text(each_target)


@case("text/stories-aarch64")
def stories_aarch64(tools):
    require_aarch64(tools)
    expected = json.loads((ROOT / "examples/stories/expected.json").read_text(encoding="utf-8"))
    artifact = tools.compile("stories", "--quant", "none", "--target", "aarch64")
    entry = expected["cases"][0]
    out, _ = tools.run(tools.qemu, tools.runner_aarch64, artifact, "--prompt-ids", ",".join(map(str, entry["prompt_ids"])),
                       "--max-tokens", len(entry["ids"]), "--output", "ids")
    expect_equal([int(word) for word in out.split()], [i for i in entry["ids"] if i != 0], "greedy ids on aarch64")


@case("text/stories-are-grammatical")
def grammatical(tools):
    """What the demo prints: sampled, with default quantization, judged by the grammar it was trained on."""
    artifact = tools.compile("stories")
    texts = []
    for seed in range(8):
        out, _ = tools.run(tools.kiln, "run", artifact, "--seed", seed, "--max-tokens", 200, "--quiet")
        texts.append(out.strip())
    judge = [sys.executable, str(ROOT / "examples/stories/stories_grammar.py"), "check", "-"]
    judged = subprocess.run(judge, input="\n\n".join(whole_sentences(text) for text in texts), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    print(judged.stdout.strip())
    expect_equal(judged.returncode, 0, "exit status of the grammar's judge")


def whole_sentences(text):
    """Without the sentence that the token limit cut off."""
    ends = [text.rfind(mark) for mark in ('."', '!"', '?"', ".", "!", "?")]
    end = max(ends)
    return text[:end + (2 if text[end + 1:end + 2] == '"' else 1)] if end >= 0 else text


@case("text/stdout-holds-the-answer-alone")
def streams(tools):
    artifact = tools.compile("stories")
    flags = ["--greedy", "--max-tokens", 12, "--output", "ids"]
    loud = tools.run(tools.kiln, "run", artifact, *flags)
    quiet = tools.run(tools.kiln, "run", artifact, *flags, "--quiet")
    expect(loud[1], "expected statistics on stderr")
    expect_equal(quiet[1], "", "stderr with --quiet")
    expect_equal(loud[0], quiet[0], "stdout with and without --quiet")
    expect(all(word.isdigit() for word in loud[0].split()) and loud[0].split(), f"not ids: {loud[0]!r}")


@case("text/seed-decides-the-sample")
def seeds(tools):
    artifact = tools.compile("stories")

    def sample(seed):
        return tools.run(tools.kiln, "run", artifact, "--seed", seed, "--temperature", "1", "--max-tokens", 40,
                         "--output", "ids", "--quiet")[0]
    expect_equal(sample(7), sample(7), "two runs with one seed")
    expect(len({sample(seed) for seed in range(6)}) > 1, "six seeds gave the same text")


