"""Trained models from the Hub, where they have been fetched (`make demo MODEL=smollm2`, `make bench`): known tokens.

The tokens are what llama.cpp chooses greedily with the same file's weights expanded to F32, so that it rounds nothing
(tests/e2e/compare_gguf.py compares twenty prompts). With 8-bit activations both programs now and then choose otherwise.
"""
import os
import pathlib

from harness import ROOT, Skip, case, expect_equal

KNOWN = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": [
        ("The capital of France is",
         "7042 30 198 198 504 2988 314 42 216 34 32 33 40 29 32 33 29 34 34 216 33 34 42 33"),
        ("Water boils at a temperature of",
         "1130 216 33 28 32 32 32 4742 51 28 527 314 3571 2061 670 260 16891 1225 282 913 30 669 314 1568")],
    "gemma-3-270m-q4_k_m.gguf": [
        ("The capital of France is",
         "506 5279 529 506 2891 529 7001 236761 1030 563 506 7488 3207 528 7001 532 506 1855 7488 3207 528 3879 236761 1030"),
        ("Water boils at a temperature of",
         "236743 236770 236771 236771 10674 57356 236761 108 818 31476 1523 529 1813 563 236743 236770 236771 236771 10674 "
         "57356 236761 108 818 31476")],
}


def fetched(name):
    for folder in filter(None, (os.environ.get("KILN_MODELS"), ROOT / "build/models", ROOT / "build/bench")):
        if pathlib.Path(folder, name).exists():
            return pathlib.Path(folder, name)
    raise Skip(f"{name} is absent from build/models, build/bench and KILN_MODELS; tests/bench/real_models.py fetches it")


def known_tokens(name, title):
    @case(f"real-models/{title}")
    def known(tools):
        artifact = tools.compile(fetched(name), "--activations", "fine", "--context", "512")
        for prompt, ids in KNOWN[name]:
            found = tools.generate(artifact, "--quiet", "--max-tokens", len(ids.split()), "--prompt", prompt, output="ids")
            expect_equal(found.split(), ids.split(), prompt)


known_tokens("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2")
known_tokens("gemma-3-270m-q4_k_m.gguf", "gemma3")
