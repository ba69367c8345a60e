"""The example model as a GGUF file, written here: the folder's tokens and text, its blocks kept, bad files refused."""
import array
import json
import pathlib
import struct

from harness import STORIES, case, expect, expect_close, expect_equal, read_safetensors

OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
INNER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
F32, F16, Q8_0 = 0, 1, 8  # types of tensors
U32, FLOAT, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9  # types of metadata
NORMAL_TOKEN, CONTROL_TOKEN, ALIGNMENT = 1, 3, 32
PROMPT = "Lily and Tom went to the zoo"


def text_of(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def metadata(name, kind, value):
    def element(of, one):
        return text_of(one) if of == STRING else struct.pack({U32: "<I", FLOAT: "<f", BOOL: "<?"}[of], one)
    body = (struct.pack("<IQ", kind[1], len(value)) + b"".join(element(kind[1], one) for one in value)
            if isinstance(kind, tuple) else element(kind, value))
    return text_of(name) + struct.pack("<I", kind[0] if isinstance(kind, tuple) else kind) + body


def gguf_name(name):
    base = name.removesuffix(".weight")
    if base in OUTER:
        return OUTER[base] + ".weight"
    _, _, layer, rest = base.split(".", 3)
    return f"blk.{layer}.{INNER[rest]}.weight"


def pairs_from_halves(data, heads, width):
    """Rows of q and k in GGUF's order: the pairs that turn together lie side by side."""
    rows = [data[i:i + width] for i in range(0, len(data), width)]
    size = len(rows) // heads
    order = [head * size + half * (size // 2) + i for head in range(heads) for i in range(size // 2) for half in (0, 1)]
    return b"".join(rows[i] for i in order)


def q8_blocks(data):
    """f16 elements as blocks of 32: an f16 scale, max|x| / 127, and signed codes."""
    values = struct.unpack(f"<{len(data) // 2}e", data)
    blocks = bytearray()
    for i in range(0, len(values), 32):
        block = values[i:i + 32]
        scale = max(map(abs, block)) / 127
        codes = array.array("b", (round(x / scale) if scale else 0 for x in block))
        blocks += struct.pack("<e", scale) + codes.tobytes()
    return bytes(blocks)


def write_gguf(path, quantized):
    config = json.loads((STORIES / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((STORIES / "tokenizer.json").read_text(encoding="utf-8"))
    header, body = read_safetensors(STORIES / "model.safetensors")
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["id"] for token in tokenizer["added_tokens"]}
    facts = [
        ("general.architecture", STRING, "llama"), ("llama.context_length", U32, config["max_position_embeddings"]),
        ("llama.embedding_length", U32, config["hidden_size"]), ("llama.block_count", U32, config["num_hidden_layers"]),
        ("llama.feed_forward_length", U32, config["intermediate_size"]),
        ("llama.attention.head_count", U32, config["num_attention_heads"]),
        ("llama.attention.head_count_kv", U32, config["num_key_value_heads"]),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT, config["rms_norm_eps"]),
        ("llama.rope.dimension_count", U32, config["head_dim"]), ("llama.rope.freq_base", FLOAT, config["rope_theta"]),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", (ARRAY, STRING), vocabulary),
        ("tokenizer.ggml.token_type", (ARRAY, U32),
         [CONTROL_TOKEN if i in special else NORMAL_TOKEN for i in range(len(vocabulary))]),
        ("tokenizer.ggml.merges", (ARRAY, STRING), [" ".join(merge) for merge in tokenizer["model"]["merges"]]),
        ("tokenizer.ggml.bos_token_id", U32, config["bos_token_id"]),
        ("tokenizer.ggml.eos_token_id", U32, config["eos_token_id"]), ("tokenizer.ggml.add_bos_token", BOOL, True)]
    infos, data = b"", b""
    for name, entry in header.items():
        expect_equal(entry["dtype"], "F16", name)
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        values, kind = body[begin:end], F16
        if len(shape) == 1:
            values, kind = struct.pack(f"<{shape[0]}f", *struct.unpack(f"<{shape[0]}e", values)), F32
        elif ".q_proj." in name or ".k_proj." in name:
            heads = config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"]
            values = pairs_from_halves(values, heads, 2 * shape[1])
        if quantized and kind == F16:
            values, kind = q8_blocks(values), Q8_0
        infos += text_of(gguf_name(name)) + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, len(data))
        data += values + bytes(-len(values) % ALIGNMENT)
    start = b"GGUF" + struct.pack("<IQQ", 3, len(header), len(facts)) + b"".join(metadata(*fact) for fact in facts) + infos
    path.write_bytes(start + bytes(-len(start) % ALIGNMENT) + data)
    return path


def model_file(tools, quantized=False):
    file = tools.work / f"stories-{'q8_0' if quantized else 'f16'}.gguf"
    if not file.exists():
        write_gguf(file.with_suffix(".part"), quantized).rename(file)
    return file


@case("gguf/same-tokens-and-text-as-the-folder")
def same_text(tools):
    folder, file = (tools.compile(model, "--quant", "none") for model in ("stories", model_file(tools)))
    text = 'Once upon a time, "Lily" saw  12 tiny caf\u00e9s!\n'
    ids = [tools.run(tools.kiln, "tokenize", "--ids", source, text)[0] for source in (folder, file, model_file(tools))]
    expect(ids[0] == ids[1] == ids[2], f"expected the same ids, found {ids}")
    expect_equal(tools.generate(file, "--prompt", PROMPT), tools.generate(folder, "--prompt", PROMPT), "text")
    numbers = [int(word) for word in ids[0].split()]
    # Rows in another order are summed in the same one: only q and k, turned in pairs, are read elsewhere.
    expect_close(tools.logits(file, numbers), tools.logits(folder, numbers), 1e-4, "logits")


@case("gguf/blocks-are-kept")
def kept_blocks(tools):
    """By default quantized blocks become the artifact's codes: as many bytes, and the values that they stand for."""
    file = model_file(tools, quantized=True)
    artifact = tools.compile(file)
    weights = json.loads(tools.run(tools.kiln, "inspect", "--json", artifact)[0])["weights"]
    expect_equal({entry["format"] for entry in weights}, {"f32, rows", "q8_sym_g32, panel16"}, "formats")
    expect_equal(max(entry["worst_relative_rms_error"] for entry in weights), 0, "error of the blocks' values")
    exact = tools.compile(file, "--only-kernel", "reference", "--kv-cache", "f32")
    ids = list(range(1, 40))
    widened = tools.compile(file, "--quant", "none", "--kv-cache", "f32")
    expect_close(tools.logits(exact, ids), tools.logits(widened, ids), 2e-3, "kept blocks and the same in f32")


@case("gguf/bad-files")
def bad_files(tools):
    good = model_file(tools).read_bytes()
    with tools.scratch() as folder:
        def refused(data, *words):
            file = pathlib.Path(folder, "bad.gguf")
            file.write_bytes(data)
            _, err = tools.run(tools.kiln, "compile", file, "-o", pathlib.Path(folder, "bad.kiln"), good=False)
            expect("bad.gguf" in err and all(word in err for word in words), f"expected {words}, found {err!r}")
            expect(not pathlib.Path(folder, "bad.kiln").exists(), "an artifact was left behind")
        for size in (0, 3, 4, 20, 24, 1000, len(good) // 2, len(good) - 1):
            refused(good[:size])
        refused(b"GGML" + good[4:])
        refused(good[:4] + struct.pack("<I", 99) + good[8:], "99")
        refused(good.replace(text_of("llama"), text_of("lhama"), 1), "lhama")
        refused(good.replace(b"blk.4.attn_q.weight", b"blk.4.attn_x.weight"), "blk.4.attn_x.weight", "q_proj")
