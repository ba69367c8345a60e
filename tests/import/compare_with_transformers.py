#!/usr/bin/env python3
"""Compares every model family with Hugging Face transformers, on tiny models of random weights.

usage: compare_with_transformers.py --kiln build/release/bin/kiln [--target NAME] [--cache f32] [FAMILY...]

For each family transformers makes a tiny model, whose parameters (norms and biases too) are made random and
saved; `kiln compile --quant none` compiles it, and the logits of a prompt as a whole and token by token are
compared with transformers' in f32. One line per family: the largest difference as a share of the largest
logit. Of encoders it is the last hidden states of a long and of a short text, as a share of the largest. Exit
status 77 where transformers is absent, 1 where a family is off by more than 1e-3.
"""
import argparse
import array
import pathlib
import struct
import subprocess
import sys
import tempfile

ALLOWED = 1e-3
SHORT = 17  # tokens of an encoder's second text
TOKENS = 150  # more than two pages of the cache, and several windows
VOCABULARY = 96

SMALL = dict(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, intermediate_size=96, max_position_embeddings=256, pad_token_id=0,
             bos_token_id=1, eos_token_id=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)
SLIDING = "sliding_attention"
FULL = "full_attention"


def long_rope(original):
    return dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + i / 8 for i in range(8)],
                long_factor=[1.5 + i for i in range(8)], original_max_position_embeddings=original)


# name: (class prefix in transformers, changes to SMALL)
FAMILIES = {
    "llama": ("Llama", {}),
    "llama-biases": ("Llama", dict(attention_bias=True, mlp_bias=True, head_dim=24)),
    "llama3": ("Llama", dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama-linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "llama-dynamic": ("Llama", dict(rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=4.0))),
    "llama-yarn": ("Llama", dict(rope_parameters=YARN)),
    "llama-yarn-mscale": ("Llama", dict(rope_parameters=dict(YARN, mscale=0.8, mscale_all_dim=0.5, beta_fast=16.0))),
    "mistral": ("Mistral", dict(sliding_window=24)),
    "mistral-long-window": ("Mistral", dict(sliding_window=100, num_key_value_heads=1)),
    "qwen2": ("Qwen2", {}),
    "qwen2-window": ("Qwen2", dict(use_sliding_window=True, sliding_window=20, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(head_dim=32)),
    "gemma2": ("Gemma2", dict(head_dim=32, query_pre_attn_scalar=24, sliding_window=24, num_hidden_layers=4,
                              attn_logit_softcapping=5.0, final_logit_softcapping=3.0)),
    "gemma3": ("Gemma3Text", dict(head_dim=32, query_pre_attn_scalar=40, sliding_window=24, num_hidden_layers=7)),
    "gemma3-scaled": ("Gemma3Text", dict(head_dim=32, sliding_window=70, num_hidden_layers=2, rope_parameters={
        FULL: dict(rope_type="linear", rope_theta=1e6, factor=8.0), SLIDING: dict(rope_type="default", rope_theta=1e4)},
        layer_types=[SLIDING, FULL])),
    "phi3": ("Phi3", dict(original_max_position_embeddings=256, sliding_window=40)),
    "phi3-longrope-long": ("Phi3", dict(original_max_position_embeddings=64, rope_parameters=long_rope(64))),
    "phi3-longrope-short": ("Phi3", dict(original_max_position_embeddings=200, rope_parameters=long_rope(200)),
                            "--context", "180"),
    "olmo2": ("Olmo2", {}),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=5)),
    "starcoder2": ("Starcoder2", dict(sliding_window=30)),
    "stablelm": ("StableLm", dict(partial_rotary_factor=0.25, use_qkv_bias=True)),
    "stablelm-parallel": ("StableLm", dict(use_parallel_residual=True, num_key_value_heads=4)),
    "gpt2": ("GPT2", dict(n_embd=64, n_layer=3, n_head=4, n_positions=256)),
    "pythia": ("GPTNeoX", dict(hidden_act="gelu")),
    "gpt-neox-sequential": ("GPTNeoX", dict(use_parallel_residual=False, hidden_act="gelu_new")),
    "mixtral": ("Mixtral", dict(num_local_experts=5, num_experts_per_tok=2, sliding_window=40)),
    "qwen3-moe": ("Qwen3Moe", dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=48, head_dim=16,
                                   norm_topk_prob=True, mlp_only_layers=[1])),
    "qwen3-moe-plain-sum": ("Qwen3Moe", dict(num_experts=7, num_experts_per_tok=2, moe_intermediate_size=40,
                                             head_dim=32, norm_topk_prob=False, decoder_sparse_step=2)),
    "bloom": ("Bloom", dict(n_layer=3, n_head=4, seq_length=256)),
    "bloom-six-heads": ("Bloom", dict(n_layer=2, n_head=6, hidden_size=96, seq_length=256)),
}

VISION = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28,
              patch_size=14)
# Models whose text part is compiled: name: (class prefix, changes to SMALL for the text part, other parts).
MULTIMODAL = {
    "gemma3-multimodal": ("Gemma3", dict(head_dim=32, query_pre_attn_scalar=40, sliding_window=24, num_hidden_layers=7),
                          dict(vision_config=VISION, mm_tokens_per_image=4)),
}
ENCODERS = {
    "bert": ("BertModel", {}),
    "bert-with-head": ("BertForMaskedLM", dict(hidden_act="relu", layer_norm_eps=1e-5)),
    "roberta": ("RobertaModel", dict(pad_token_id=1, type_vocab_size=1)),
    "xlm-roberta": ("XLMRobertaModel", dict(pad_token_id=1, num_attention_heads=2, hidden_act="gelu_new")),
    "distilbert": ("DistilBertModel", dict(dim=64, n_layers=3, n_heads=4, hidden_dim=96)),
}
ALL = [*FAMILIES, *MULTIMODAL, *ENCODERS]


def randomize(torch, model):
    """Parameters of a size at which every one matters, norms and biases too."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, (1 if "embed" in name or "wte" in name else 1.5) / parameter.shape[-1] ** 0.5)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.2)


def build_model(torch, transformers, name):
    if name in MULTIMODAL:
        prefix, changes, others = MULTIMODAL[name]
        config = getattr(transformers, prefix + "Config")(text_config=dict(SMALL, **changes), **others)
        model_class = getattr(transformers, prefix + "ForConditionalGeneration")
    elif name in ENCODERS:
        class_name, changes = ENCODERS[name]
        model_class = getattr(transformers, class_name)
        config = model_class.config_class(**dict(SMALL, **changes))
    else:
        prefix, changes, *_ = FAMILIES[name]
        config = getattr(transformers, prefix + "Config")(**dict(SMALL, **changes))
        model_class = getattr(transformers, ("Gemma3" if prefix == "Gemma3Text" else prefix) +
                              ("LMHeadModel" if prefix == "GPT2" else "ForCausalLM"))
    config._attn_implementation = "eager"  # the one that knows every variant
    return model_class(config).to(torch.float32).eval()


def make_model(torch, transformers, name, folder):
    """Saves the model; the ids of a text and its logits, or of an encoder its last hidden states."""
    torch.manual_seed(sum(map(ord, name)))
    model = build_model(torch, transformers, name)
    with torch.no_grad():
        randomize(torch, model)
        model.save_pretrained(folder)
        ids = torch.randint(3, VOCABULARY, (1, TOKENS))
        if name not in ENCODERS:
            return ids[0].tolist(), model(ids, use_cache=False).logits[0]
        encoder = model.base_model
        return ids[0].tolist(), [encoder(ids[:, :count]).last_hidden_state[0] for count in (TOKENS, SHORT)]


def read_npy(path):
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<H", data, 8)
    return array.array("f", data[10 + length:])


def check(torch, transformers, name, args, work):
    folder = pathlib.Path(work, name)
    ids, expected = make_model(torch, transformers, name, folder)
    artifact, values = folder / "model.kiln", folder / "values.npy"
    flags = ["--quant", "none", *FAMILIES.get(name, ())[2:]]
    if args.target:
        flags += ["--target", args.target]
    if args.cache:
        flags += ["--kv-cache", args.cache]

    def run(*command):
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command[1]}: exit {done.returncode}: {done.stderr.strip()}")
    run(args.kiln, "compile", folder, "-o", artifact, *flags)
    def error(expected):
        found = torch.tensor(read_npy(values)).reshape(expected.shape)
        return float((found - expected).abs().max() / expected.abs().max())
    errors = []
    if name in ENCODERS:
        for states in expected:
            run(args.kiln, "embed", artifact, "--hidden-states", "-o", values, "--ids",
                ",".join(map(str, ids[:len(states)])))
            errors.append(error(states))
        return errors
    for chunk in (TOKENS, 1):
        run(args.kiln, "run", artifact, "--greedy", "--max-tokens", 0, "--chunk", chunk, "--logits", values,
            "--prompt-ids", ",".join(map(str, ids)))
        errors.append(error(expected))
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--target", help="the target to compile for (default: this machine)")
    parser.add_argument("--cache", help="elements of the KV cache")
    parser.add_argument("families", nargs="*")
    args = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    unknown = [name for name in args.families if name not in ALL]
    if unknown:
        parser.error(f"no such family: {', '.join(unknown)}; there are {', '.join(ALL)}")
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for name in args.families or ALL:
            try:
                first, second = check(torch, transformers, name, args, work)
                good = max(first, second) <= ALLOWED
                what = ("long text", "short text") if name in ENCODERS else ("whole prompt", "token by token")
                print(f"{name:22} {what[0]} {first:.1e}  {what[1]} {second:.1e}  {'ok' if good else 'OFF'}", flush=True)
            except (RuntimeError, ValueError) as error:
                good = False
                print(f"{name:22} FAILED: {error}", flush=True)
            failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
