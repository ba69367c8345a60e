#!/usr/bin/env python3
"""Writes a Llama with random weights as a Hugging Face folder: config.json and F16 or BF16 safetensors.

For measuring compile time, memory and decode speed at sizes nobody would put into a repository; the text
it generates is noise. Needs the standard library only. The default is the shape of TinyLlama
(1.1 billion parameters, 2.2 GB, sharded); --shape smollm2-135m is SmolLM2's. No tokenizer is written.

    make_random_llama.py /tmp/tiny-llama
    make_random_llama.py /tmp/smollm --shape smollm2-135m --dtype bf16
"""
import argparse
import json
import math
import os
import random
import struct
import sys

SHAPES = {
    "tinyllama-1.1b": dict(hidden=2048, layers=22, heads=32, kv_heads=4, ffn=5632, vocab=32000,
                           context=2048, tied=False),
    "smollm2-135m": dict(hidden=576, layers=30, heads=9, kv_heads=3, ffn=1536, vocab=49152,
                         context=8192, tied=True),
}
POOL_BYTES = 32 << 20


def tensors(shape):
    """Names and shapes of every tensor, in the order of the file."""
    hidden, ffn = shape["hidden"], shape["ffn"]
    kv = hidden // shape["heads"] * shape["kv_heads"]
    yield "model.embed_tokens.weight", [shape["vocab"], hidden]
    for layer in range(shape["layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", [hidden]
        yield prefix + "self_attn.q_proj.weight", [hidden, hidden]
        yield prefix + "self_attn.k_proj.weight", [kv, hidden]
        yield prefix + "self_attn.v_proj.weight", [kv, hidden]
        yield prefix + "self_attn.o_proj.weight", [hidden, hidden]
        yield prefix + "post_attention_layernorm.weight", [hidden]
        yield prefix + "mlp.gate_proj.weight", [ffn, hidden]
        yield prefix + "mlp.up_proj.weight", [ffn, hidden]
        yield prefix + "mlp.down_proj.weight", [hidden, ffn]
    yield "model.norm.weight", [hidden]
    if not shape["tied"]:
        yield "lm_head.weight", [shape["vocab"], hidden]


def f16_table(exponent_low):
    """A table for bytes.translate: the high byte of an F16 keeps its sign and has one of four
    exponents, the ones that a bell-shaped distribution would mostly have."""
    table = bytearray(256)
    for byte in range(256):
        sign, level, mantissa = byte & 0x80, (byte >> 2) & 0x1F, byte & 0x03
        # Half of the values in the top binade, a quarter in the next, and so on.
        step = 0 if level < 16 else 1 if level < 24 else 2 if level < 28 else 3
        table[byte] = sign | ((exponent_low + 3 - step) << 2) | mantissa
    return bytes(table)


def bf16_table(exponent):
    """The same for BF16, whose lowest exponent bit lies in the low byte and stays random: the high byte
    keeps its sign and has one of two values, the larger one three times out of four."""
    high = (exponent + 2) >> 1
    return bytes((byte & 0x80) | (high if byte & 3 else high - 1) for byte in range(256))


def random_pool(seed, deviation, dtype):
    """Random values of about that standard deviation, finite and neither zero nor denormal."""
    if dtype == "bf16":
        table = bf16_table(124 + round(math.log2(deviation)))
    else:
        table = f16_table(max(1, min(26, 12 + round(math.log2(deviation)))))
    generator = random.Random(seed)
    values = bytearray(POOL_BYTES)
    for start in range(0, POOL_BYTES, 1 << 20):
        values[start:start + (1 << 20)] = generator.randbytes(1 << 20)
    values[1::2] = values[1::2].translate(table)
    return bytes(values)


def write_tensor(file, pool, generator, elements):
    """Pieces of the pool from random places on: fast, and no two tensors are alike."""
    left = 2 * elements
    while left:
        start = 2 * generator.randrange(POOL_BYTES // 2)
        piece = memoryview(pool)[start:start + left]
        file.write(piece)
        left -= len(piece)


ONE = {"f16": struct.pack("<e", 1.0), "bf16": struct.pack("<f", 1.0)[2:]}


def write_shard(path, entries, pool, generator, dtype):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dims in entries:
        size = 2 * math.prod(dims)
        header[name] = {"dtype": dtype.upper(), "shape": dims, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, dims in entries:
            if len(dims) == 1:  # norms scale by about one
                file.write(ONE[dtype] * dims[0])
            else:
                write_tensor(file, pool, generator, math.prod(dims))


def cut_into_shards(entries, limit):
    shards, size = [[]], 0
    for name, dims in entries:
        bytes_needed = 2 * math.prod(dims)
        if shards[-1] and size + bytes_needed > limit:
            shards.append([])
            size = 0
        shards[-1].append((name, dims))
        size += bytes_needed
    return shards


def write_model(folder, shape, seed, shard_bytes, dtype="f16"):
    os.makedirs(folder, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": shape["hidden"], "intermediate_size": shape["ffn"],
        "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"], "vocab_size": shape["vocab"],
        "max_position_embeddings": shape["context"], "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": shape["tied"], "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": {"f16": "float16", "bf16": "bfloat16"}[dtype],
    }
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    pool = random_pool(seed, 1 / math.sqrt(shape["hidden"]), dtype)
    generator = random.Random(seed + 1)
    shards = cut_into_shards(list(tensors(shape)), shard_bytes)
    weight_map, total = {}, 0
    for number, entries in enumerate(shards, 1):
        name = "model.safetensors" if len(shards) == 1 else \
            f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_shard(os.path.join(folder, name), entries, pool, generator, dtype)
        for tensor, dims in entries:
            weight_map[tensor] = name
            total += 2 * math.prod(dims)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        path = os.path.join(folder, "model.safetensors.index.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(index, file, indent=1)
    return total // 2, len(shards)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tinyllama-1.1b")
    for key in ("hidden", "layers", "heads", "kv-heads", "ffn", "vocab", "context"):
        parser.add_argument("--" + key, type=int, help="instead of the shape's")
    parser.add_argument("--tied", action=argparse.BooleanOptionalAction)
    parser.add_argument("--dtype", choices=sorted(ONE), default="f16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard-bytes", type=int, default=1000 << 20)
    arguments = vars(parser.parse_args())
    shape = dict(SHAPES[arguments["shape"]])
    shape.update({key: arguments[key] for key in shape if arguments[key] is not None})
    count, shards = write_model(arguments["folder"], shape, arguments["seed"],
                                arguments["shard_bytes"], arguments["dtype"])
    print(f"{arguments['folder']}: {count / 1e6:.1f} M parameters in {shards} file(s)",
          file=sys.stderr)


if __name__ == "__main__":
    main()
