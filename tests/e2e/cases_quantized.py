"""Quantized kernels against the same quantized weights computed in f32: only rounded activations may differ.

The reference lowering dequantizes to f32 and rounds no activation. The fast kernels round, once per
operand of a product:

- integer dot products round the activations of a group of 32 to 8 bits by the group's largest
  magnitude, which for a normal distribution has an RMS of 2.4 deviations. A rounding error is uniform
  in a step of largest / 127, so its RMS relative to the activations is 2.4 / (127 sqrt(12)) = 0.55 %;
- tiles of bf16 round activations and weights to 8 significant bits: errors uniform in
  2^-7 of the power of two below the value. With mantissas spread as 1/m the mean square of a value is
  3 / (2 ln 2) of that power's square, so each operand's relative RMS is
  2^-7 / sqrt(12) / sqrt(2.16) = 0.153 %, and 0.217 % for both together.

The errors of the terms of a dot product are independent, so the product's relative RMS error is its
operands'. A model of L layers has 4 L + 1 products with weights (q/k/v, output, gate/up, down; the
head) one after another, and 2 L more in the attention where that uses tiles. Each adds an independent
error, relative to a part of the residual stream, hence at most to the whole: together at most
sqrt(products) times the error of one, relative to the RMS of the logits. That is what is allowed, with
nothing added; the models here lie between a fifth and two thirds of it.
"""
import json
import math

from cases_logits import prompt_ids
from harness import case, cpu_has, expect, expect_equal

ERROR_OF_DOT = 2.4 / (127 * math.sqrt(12))
ERROR_OF_FINE_DOT = ERROR_OF_DOT / 128  # --activations fine: codes 128 times as fine
ERROR_OF_TILES = math.sqrt(2) * 2**-7 / math.sqrt(12) / math.sqrt(3 / (2 * math.log(2)))
TOKENS = 128  # whole tiles, so that no row is left over for the dot products
STEPS = [0, 1, 5]  # tokens of a call; 0 is the whole prompt
LEVELS = {"host": [], "x86-64-v4-vnni": ["avx512f", "avx512bw", "avx512vl", "avx512_vnni"],
          "x86-64-v4": ["avx512f", "avx512bw", "avx512vl"], "x86-64-v3": ["avx2", "fma"]}


def relative_rms_error(found, reference):
    expect_equal(len(found), len(reference), "rows of logits")
    error = math.fsum((x - y) ** 2 for a, b in zip(found, reference) for x, y in zip(a, b))
    return math.sqrt(error / math.fsum(y * y for row in reference for y in row))


def uses_tiles(tools, artifact):
    out, _ = tools.run(tools.kiln, "inspect", "--json", artifact)
    image, = json.loads(out)["images"]
    return any(kernel["implementation"] == "contraction-matrix" for kernel in image["kernels"])


def check_activation_rounding(tools, model, quant):
    config = json.loads((tools.model(model) / "config.json").read_text(encoding="utf-8"))
    layers = config["num_hidden_layers"]
    ids = prompt_ids(TOKENS, config["vocab_size"])
    # Keys and values are kept alike: their rounding is the cache's, not the kernels'.
    flags = ["--quant", quant, "--kv-cache", "f16"]
    reference = tools.logits(tools.compile(model, *flags, "--only-kernel", "reference"), ids)
    for target, needed in LEVELS.items():
        if not cpu_has(*needed):
            print(f"{target}: this CPU lacks it")
            continue
        artifact = tools.compile(model, *flags, "--target", target)
        tiles = uses_tiles(tools, artifact)
        for step in STEPS:
            allowed = math.sqrt(4 * layers + 1) * ERROR_OF_DOT
            if tiles and step == 0:
                allowed = math.sqrt(6 * layers + 1) * ERROR_OF_TILES
            error = relative_rms_error(tools.logits(artifact, ids, *(["--chunk", step] if step else [])), reference)
            what = f"{quant}, {target}, steps of {step or TOKENS} tokens"
            print(f"{what}: relative RMS error {error:.3%} (allowed {allowed:.3%})")
            expect(error <= allowed, f"{what}: expected an error of at most {allowed:.3%}, found {error:.3%}")
            expect(error > 1e-6, f"{what}: the kernels under test round nothing: are they the reference's?")


@case("quantization/stories-fine-activations")
def fine_activations(tools):
    config = json.loads((tools.model("stories") / "config.json").read_text(encoding="utf-8"))
    ids = prompt_ids(32, config["vocab_size"])
    for quant in ("q4", "q8"):
        # Keys and values in f32: in f16 a small error may become one of a whole step.
        flags = ["--quant", quant, "--kv-cache", "f32"]
        reference = tools.logits(tools.compile("stories", *flags, "--only-kernel", "reference"), ids)
        for target, needed in LEVELS.items():
            if not cpu_has(*needed):
                continue
            artifact = tools.compile("stories", *flags, "--activations", "fine", "--target", target)
            error = relative_rms_error(tools.logits(artifact, ids, "--chunk", 1), reference)
            allowed = math.sqrt(4 * config["num_hidden_layers"] + 1) * ERROR_OF_FINE_DOT
            print(f"{quant}, {target}: relative RMS error {error:.5%} (allowed {allowed:.5%})")
            expect(error <= allowed, f"{quant}, {target}: expected an error of at most {allowed:.5%}, found {error:.5%}")


@case("quantization/stories-activation-rounding")
def own_rounding(tools):
    for quant in ("q4", "q8"):
        check_activation_rounding(tools, "stories", quant)


@case("quantization/stories260K-activation-rounding", shared="stories260K")
def shared_rounding(tools):
    for quant in ("q4", "q8"):
        check_activation_rounding(tools, "stories260K", quant)
