"""Logits against independent references, however the tokens were batched; and what quantization costs."""
import array
import importlib.util
import math
import pathlib
import platform
import struct

from cases_text import require_aarch64
from harness import (ROOT, STORIES, case, copy_model, expect, expect_close, expect_equal, read_safetensors,
                     write_safetensors)

LENGTHS = [1, 2, 3, 7, 8, 9, 31, 33, 64, 200]
FIRST_IDS = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267]


def prompt_ids(count, vocabulary):
    """A known beginning, then ids that no text would hold: the numbers must be right there, too."""
    ids, state = [i % vocabulary for i in FIRST_IDS], 12345
    while len(ids) < count:
        state = (state * 1103515245 + 12345) % (1 << 31)
        ids.append((state >> 8) % vocabulary)
    return ids[:count]


def llama_reference(tools, ids):
    """Every token's logits by the reference beside the shared models, which runs main() when imported."""
    source = (tools.shared / "tools/llama_reference.py").read_text(encoding="utf-8")
    names = {}
    exec(compile(source.rsplit("\nmain()", 1)[0], "llama_reference.py", "exec"), names)
    model = names["Llama"](str(tools.model("stories260K")))
    return [model.step(token, position) for position, token in enumerate(ids)]


def stories_reference(ids):
    spec = importlib.util.spec_from_file_location("reference", ROOT / "examples/stories/reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Llama(STORIES)
    return [model.step(token) for token in ids]


def check_prompts(tools, artifact, reference, ids, lengths):
    for length in lengths:
        found = tools.logits(artifact, ids[:length])
        expect_close(found, reference[:length], 1e-4, f"prompt of {length} tokens against the reference")


def check_batching(tools, artifact, ids, lengths, runner, allowed=1e-5):
    whole = tools.logits(artifact, ids, runner=runner)
    for length in lengths:
        expect_close(tools.logits(artifact, ids[:length], runner=runner), whole[:length], allowed,
                     f"prompt of {length} tokens against the first of {len(ids)}")
    for chunk in (1, 2, 5, 8, 32, 63):
        expect_close(tools.logits(artifact, ids, "--chunk", chunk, runner=runner), whole, allowed,
                     f"chunks of {chunk} tokens against the whole prompt")
    beside = ",".join(map(str, reversed(ids[:77])))
    for chunk in (0, 1, 7, 64):
        expect_close(tools.logits(artifact, ids, "--beside-ids", beside, "--chunk", chunk, runner=runner), whole, allowed,
                     f"interleaved with another sequence, chunks of {chunk or 'any number of'} tokens")
    expect_close(tools.logits(artifact, ids, "--threads", 2, runner=runner), whole, allowed, "two threads against one")


def target_without_matrix_unit():
    """A target of this machine whose kernels round few tokens and many alike. Where a matrix unit takes over from a
    number of rows on, it rounds otherwise, which the cases with references and cases_quantized.py bound."""
    return "x86-64-v3" if platform.machine() == "x86_64" else "host"


@case("logits/stories260K-prompts", shared="stories260K")
def shared_prompts(tools):
    ids = prompt_ids(max(LENGTHS), 512)
    check_prompts(tools, tools.compile("stories260K", "--quant", "none"), llama_reference(tools, ids), ids, LENGTHS)


@case("logits/stories260K-batching", shared="stories260K")
def shared_batching(tools):
    # A matrix unit sums parts of many rows' floats: as far from the kernels of few as both are from the reference.
    for target, allowed in ((target_without_matrix_unit(), 1e-5), ("host", 1e-4)):
        artifact = tools.compile("stories260K", "--quant", "none", "--target", target)
        check_batching(tools, artifact, prompt_ids(200, 512), LENGTHS, [tools.runner], allowed)


@case("logits/stories-prompts")
def own_prompts(tools):
    ids = prompt_ids(33, 1024)
    check_prompts(tools, tools.compile("stories", "--quant", "none"), stories_reference(ids), ids, [1, 2, 7, 8, 9, 33])


@case("logits/stories-batching")
def own_batching(tools):
    for quant in ("none", "q8", "q4"):
        print(f"quantization {quant}")
        target = "host" if quant == "none" else target_without_matrix_unit()
        check_batching(tools, tools.compile("stories", "--quant", quant, "--target", target), prompt_ids(130, 1024),
                       [1, 2, 3, 9, 64], [tools.runner])


@case("logits/stories-aarch64")
def own_aarch64(tools):
    require_aarch64(tools)
    ids = prompt_ids(33, 1024)
    reference = stories_reference(ids)
    artifact = tools.compile("stories", "--quant", "none", "--target", "aarch64")
    runner = [tools.qemu, tools.runner_aarch64]
    expect_close(tools.logits(artifact, ids, runner=runner), reference, 1e-4, "aarch64 against the reference")
    # Dot products of integers round activations as the ones here do; the base target keeps them in f32.
    for quant in ("q8", "q4"):
        here = tools.logits(tools.compile("stories", "--quant", quant, "--target", target_without_matrix_unit()), ids)
        for target, allowed in (("aarch64-dotprod", 1e-4), ("aarch64", 5e-3)):
            artifact = tools.compile("stories", "--quant", quant, "--target", target)
            divergence = mean_kl(here, tools.logits(artifact, ids, runner=runner))
            print(f"{quant}: mean KL divergence of {target} from the kernels here {divergence:.3g} (allowed {allowed:g})")
            expect(divergence < allowed, f"{quant}: {target} and the kernels here differ by {divergence:.3g}")


# ---- Quantization ------------------------------------------------------------------------------


def log_softmax(row):
    top = max(row)
    total = top + math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - total for x in row]


def mean_kl(reference, other):
    expect_equal(len(other), len(reference), "rows of logits")
    total = 0.0
    for p_row, q_row in zip(map(log_softmax, reference), map(log_softmax, other)):
        total += math.fsum(math.exp(p) * (p - q) for p, q in zip(p_row, q_row))
    return total / len(reference)


def round_absmax(values, largest, group=32):
    """Plain rounding with scale absmax / largest, group by group: what a searched scale must beat."""
    out = []
    for at in range(0, len(values), group):
        part = values[at:at + group]
        scale = max(map(abs, part)) / largest or 1.0
        out += [max(-largest - 1, min(largest, round(x / scale))) * scale for x in part]
    return out


def absmax_model(source, folder):
    """A copy of a model in F32 whose projections went through plain 4-bit rounding, and embedding and
    head through 8-bit, as --quant q4 chooses."""
    folder = copy_model(source, folder)
    file = pathlib.Path(folder, "model.safetensors")
    header, body = read_safetensors(file)
    out, blob = {}, b""
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        letter = {"F32": "f", "F16": "e"}[tensor["dtype"]]
        values = struct.unpack(f"<{(end - begin) // struct.calcsize(letter)}{letter}", body[begin:end])
        if len(tensor["shape"]) == 2:
            values = round_absmax(values, 127 if "embed" in name or "lm_head" in name else 7)
        data = array.array("f", values).tobytes()
        out[name] = {"dtype": "F32", "shape": tensor["shape"], "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    write_safetensors(file, out, blob)
    return folder


def check_quantization(tools, model, texts):
    """Mean KL divergence to f32 over the texts: q8 < q4 < plain absmax rounding, both the compiler's
    own and one done here."""
    exact = tools.compile(model, "--quant", "none")
    reference = [tools.logits(exact, ids) for ids in texts]

    def divergence(artifact):
        return sum(mean_kl(rows, tools.logits(artifact, ids)) for rows, ids in zip(reference, texts)) / len(texts)
    found = {quant: divergence(tools.compile(model, "--quant", quant)) for quant in ("q8", "q4")}
    found["q4 with plain scales"] = divergence(tools.compile(model, "--quant", "q4", "--plain-scales"))
    with tools.scratch() as folder:
        plain = absmax_model(tools.model(model), folder)
        artifact = pathlib.Path(folder, "plain.kiln")
        tools.run(tools.kiln, "compile", plain, "-o", artifact, "--quant", "none")
        found["plain absmax q4"] = divergence(artifact)
    for name, value in found.items():
        print(f"{name}: mean KL divergence to f32 {value:.6f}")
    expect(found["q8"] < found["q4"], "expected q8 to lie closer than q4")
    for plain in ("q4 with plain scales", "plain absmax q4"):
        expect(found["q4"] < found[plain], f"expected q4 to lie closer than {plain}")


@case("quantization/stories260K-divergence", shared="stories260K")
def shared_divergence(tools):
    text = (tools.shared / "models/text/wikitext2-test-400k.txt").read_text(encoding="utf-8")
    source = (tools.shared / "tools/llama_reference.py").read_text(encoding="utf-8")
    names = {}
    exec(compile(source.rsplit("\nmain()", 1)[0], "llama_reference.py", "exec"), names)
    table = names["json"].load(open(tools.model("stories260K") / "tokenizer.json", encoding="utf-8"))
    pieces = [text[at:at + 600] for at in (1000, 50_000, 150_000, 300_000)]
    check_quantization(tools, "stories260K", [names["encode"](table, piece)[:256] for piece in pieces])


@case("quantization/stories-divergence")
def own_divergence(tools):
    # About 2,700 tokens: the mean over a few hundred depends on which stories they are.
    exact = tools.compile("stories", "--quant", "none")
    texts = []
    for seed in range(24):
        out, _ = tools.run(tools.kiln, "run", exact, "--seed", seed, "--temperature", "1", "--max-tokens", 120,
                           "--output", "ids", "--quiet")
        texts.append([0] + [int(word) for word in out.split()])
    check_quantization(tools, "stories", texts)
