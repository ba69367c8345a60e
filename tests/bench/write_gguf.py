#!/usr/bin/env python3
"""Writes the weights of a Llama folder (config.json, F16 or BF16 safetensors) as a GGUF file for llama.cpp.

usage: write_gguf.py FOLDER FILE.gguf

For comparing speed on the same weights: no tokenizer is written, so the file runs in llama-bench and
nowhere else. Rows of q and k change places within each head, because ggml turns neighbouring pairs where
Hugging Face turns halves. Needs the packages `gguf` and `numpy`.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

KINDS = {"F16": (np.float16, None), "BF16": (np.uint8, gguf.GGMLQuantizationType.BF16), "F32": (np.float32, None)}
BYTES = {"F16": 2, "BF16": 2, "F32": 4}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}
INNER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name in OUTER:
        return OUTER[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{INNER[rest.removesuffix('.weight')]}.weight"


def tensors(folder):
    """(name, dtype, shape, its bytes as a memory map) of every tensor of the folder's files."""
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            length, = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        body = np.memmap(path, np.uint8, "r", 8 + length)
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                yield name, entry["dtype"], entry["shape"], body[begin:end]


def swap_halves_for_pairs(rows, heads):
    """[heads, 2, half, bytes of a row] to [heads, half, 2, bytes of a row]."""
    count, size = rows.shape
    return rows.reshape(heads, 2, count // heads // 2, size).swapaxes(1, 2).reshape(count, size)


def prepare(name, dtype, shape, data, config):
    """The tensor as GGUF wants it: norms in f32, q and k permuted, the rest as it is."""
    if len(shape) == 1:
        if dtype == "BF16":
            return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32), None
        return data.view(KINDS[dtype][0]).astype(np.float32), None
    rows = data.reshape(shape[0], shape[1] * BYTES[dtype])
    if ".q_proj." in name:
        rows = swap_halves_for_pairs(rows, config["num_attention_heads"])
    if ".k_proj." in name:
        rows = swap_halves_for_pairs(rows, config["num_key_value_heads"])
    element, raw = KINDS[dtype]
    return np.ascontiguousarray(rows).view(element), raw


def write(folder, out):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    bf16 = config["torch_dtype"] == "bfloat16"
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if bf16 else gguf.LlamaFileType.MOSTLY_F16)
    for name, dtype, shape, data in tensors(folder):
        values, raw = prepare(name, dtype, shape, data, config)
        writer.add_tensor(gguf_name(name), values, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[2])
    unfinished = out.with_name(out.name + ".part")
    write(pathlib.Path(sys.argv[1]), unfinished)
    unfinished.rename(out)


if __name__ == "__main__":
    main()
