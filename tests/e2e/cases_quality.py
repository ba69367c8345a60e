"""kiln quality: perplexity, divergence and agreement equal what their definitions give for the logits of `kiln run`."""
import json
import math
import pathlib

from harness import STORIES, case, expect, expect_equal

CONTEXT, CHUNKS = 64, 5


def sample_text():
    """The known stories, and then the same words in another order: what the model expects, and what it does not."""
    cases = json.loads((STORIES.parent / "expected.json").read_text(encoding="utf-8"))["cases"]
    stories = " ".join(entry["prompt"] + entry["text"] for entry in cases)
    return stories + " " + " ".join(reversed(stories.split()))


def chunk_ids(tools, artifact, text, begin):
    """The ids of each chunk, the begin token in the first place where texts begin with one."""
    out, _ = tools.run(tools.kiln, "tokenize", artifact, "--ids", text)
    ids = [int(word) for word in out.split()]
    chunks = [ids[at:at + CONTEXT] for at in range(0, len(ids) - CONTEXT + 1, CONTEXT)][:CHUNKS]
    if begin:
        config = json.loads((STORIES / "config.json").read_text(encoding="utf-8"))
        for chunk in chunks:
            chunk[0] = config["bos_token_id"]
    return chunks


def log_softmax(row):
    peak = max(row)
    total = peak + math.log(sum(math.exp(x - peak) for x in row))
    return [x - total for x in row]


def mean_and_error(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((x - mean) ** 2 for x in values) / len(values) / (len(values) - 1))


def percentile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def expect_near(found, expected, what, relative=2e-5, absolute=2e-6):
    print(f"{what}: {found:.8g}, expected {expected:.8g}")
    expect(abs(found - expected) <= max(relative * abs(expected), absolute), f"{what}: expected {expected}, found {found}")


def expect_estimate(found, values, what):
    mean, error = mean_and_error(values)
    expect_near(found["mean"], mean, what)
    expect_near(found["standard_error"], error, f"{what}, standard error", relative=1e-3)


@case("quality/equals-its-definition")
def definition(tools):
    """Of q4 against f32; the second half of each chunk counts."""
    artifacts = [tools.compile("stories", "--quant", quant) for quant in ("q4", "none")]
    with tools.scratch() as folder:
        text = pathlib.Path(folder, "text.txt")
        text.write_text(sample_text() + "\n", encoding="utf-8")
        flags = ["--context", CONTEXT, "--chunks", CHUNKS, "--json"]
        out, _ = tools.run(tools.kiln, "quality", artifacts[0], text, "--reference", artifacts[1], *flags)
        found = json.loads(out)
        out, _ = tools.run(tools.kiln, "quality", artifacts[0], text, *flags)
        alone = json.loads(out)
    chunks = chunk_ids(tools, artifacts[0], sample_text(), found["begin_tokens"])
    expect_equal((found["chunks"], len(chunks)), (CHUNKS, CHUNKS), "chunks")
    losses, divergences, same = ([], []), [], []
    for ids in chunks:
        rows = [[log_softmax(row) for row in tools.logits(artifact, ids[:-1])] for artifact in artifacts]
        for at in range(CONTEXT // 2, CONTEXT - 1):
            q, p = rows[0][at], rows[1][at]
            losses[0].append(-q[ids[at + 1]])
            losses[1].append(-p[ids[at + 1]])
            divergences.append(sum(math.exp(x) * (x - y) for x, y in zip(p, q)))
            same.append(float(q.index(max(q)) == p.index(max(p))))
    expect_equal(found["predictions"], len(divergences), "predictions")
    expect_estimate(found["negative_log_likelihood"], losses[0], "negative log-likelihood")
    expect_near(found["perplexity"], math.exp(mean_and_error(losses[0])[0]), "perplexity")
    expect_near(found["reference_perplexity"], math.exp(mean_and_error(losses[1])[0]), "perplexity of the reference")
    expect_estimate(found["log_perplexity_ratio"], [x - y for x, y in zip(*losses)], "ln of the perplexities' ratio")
    expect_estimate(found["kl_divergence"], divergences, "divergence")
    for key, share in (("median", 0.5), ("percentile_99", 0.99), ("percentile_99_9", 0.999), ("maximum", 1)):
        expect_near(found["kl_divergence"][key], percentile(divergences, share), f"divergence, {key}", relative=1e-3)
    expect_estimate(found["top1_agreement"], same, "agreement")
    expect_equal(alone["perplexity"], found["perplexity"], "perplexity without a reference")
    expect("kl_divergence" not in alone, "a divergence from nothing")


@case("quality/of-itself")
def itself(tools):
    artifact = tools.compile("stories", "--quant", "q8")
    with tools.scratch() as folder:
        text = pathlib.Path(folder, "text.txt")
        text.write_text(sample_text(), encoding="utf-8")
        out, err = tools.run(tools.kiln, "quality", artifact, text, "--reference", artifact, "--context", CONTEXT, "--json")
        found = json.loads(out)
        expect_equal(err, "", "stderr with --json")
        expect_equal(found["chunks"], found["text_tokens"] // CONTEXT, "chunks of the whole text")
        expect(found["kl_divergence"]["maximum"] < 1e-6, f"an artifact diverges from itself: {found['kl_divergence']}")
        expect_equal((found["top1_agreement"]["mean"], found["log_perplexity_ratio"]["mean"]), (1, 0), "agreement, ln of ratio")
        out, err = tools.run(tools.kiln, "quality", artifact, text, "--context", CONTEXT, "--chunks", "1", "--quiet")
        expect(out.startswith("perplexity ") and err == "", f"expected a table and no progress, found {out!r}, {err!r}")


@case("quality/errors-name-the-thing")
def errors(tools):
    artifact = tools.compile("stories", "--quant", "q8")
    with tools.scratch() as folder:
        short, missing = pathlib.Path(folder, "short.txt"), pathlib.Path(folder, "missing.txt")
        short.write_text("Once upon a time", encoding="utf-8")
        for arguments, wanted in (([artifact, missing], str(missing)), ([artifact, short], "expected at least 512 tokens"),
                                  ([artifact, short, "--context", "513"], "context_length"),
                                  ([missing, short], str(missing)),
                                  ([artifact, short, "--reference", missing], str(missing))):
            _, err = tools.run(tools.kiln, "quality", *arguments, good=False)
            expect(wanted in err, f"expected {wanted!r} in {err!r}")
