#!/usr/bin/env python3
"""Trains the stories model, a Llama decoder of about one million parameters, on one CPU thread.

usage: train_model.py [--out model] [--minutes 25] [--steps 4000] [--rate 0.003] [--length 256]
                      [--stories 200000] [--seed 2] [--compile] [--resume]
       train_model.py --sample [--out model] [--temperature 0.8] [--stories 100] [--prompts FILE]

Training needs the tokenizer of train_tokenizer.py in --out. It ends after --steps steps or --minutes
minutes, whichever is first, and the learning rate falls from --rate to zero by then. The folder is
written every five minutes and at the end: config.json, generation_config.json, model.safetensors
(F16). --resume starts from the weights in the folder; --compile is faster, and needs a C++ compiler.
--sample prints --stories stories for each prompt (for the begin token alone if there is no file),
drawn from the folder's F16 weights; temperature 0 is greedy.
Needs the packages `torch` and `tokenizers`.
"""
import argparse
import json
import math
import pathlib
import struct
import sys
import time

import tokenizers
import torch
import torch.nn.functional as F
from torch import nn

import stories_grammar

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "use_cache": True,
    "torch_dtype": "float16",
}
GENERATION = {"bos_token_id": 0, "eos_token_id": 0, "do_sample": True, "temperature": 0.8, "max_length": 512}
BATCH_TOKENS = 4096
HELD_OUT_SEED = 1_000_003
WARMUP = 0.02  # share of the training in which the learning rate rises


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.head, self.heads, self.kv_heads = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        self.q_proj = nn.Linear(c["hidden_size"], self.heads * self.head, bias=False)
        self.k_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.head, bias=False)
        self.v_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.head, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head, c["hidden_size"], bias=False)

    def forward(self, x, cos, sin, past):  # x: [batch, tokens, hidden]; past: keys and values so far, or None
        batch, tokens, _ = x.shape

        def split(y, heads):  # [batch, heads, tokens, head]
            return y.view(batch, tokens, heads, self.head).transpose(1, 2)

        def rotate(y):
            low, high = y.chunk(2, -1)
            return y * cos + torch.cat((-high, low), -1) * sin

        q, k = rotate(split(self.q_proj(x), self.heads)), rotate(split(self.k_proj(x), self.kv_heads))
        v = split(self.v_proj(x), self.kv_heads)
        if past is not None:
            past[:] = k, v = [torch.cat(pair, 2) for pair in zip(past, (k, v))] if past else (k, v)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=tokens > 1)
        return self.o_proj(y.transpose(1, 2).reshape(batch, tokens, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = MLP(c)

    def forward(self, x, cos, sin, past):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """The names of the parameters are those of the Hugging Face layout, less the leading "model."."""

    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * c["num_hidden_layers"]) if deep else 0.02)
        half = torch.arange(0, c["head_dim"], 2) / c["head_dim"]
        angles = torch.outer(torch.arange(c["max_position_embeddings"]), c["rope_theta"] ** -half)
        angles = torch.cat((angles, angles), -1)  # [positions, head]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, caches=None, start=0):  # [batch, tokens] at position start to [batch, tokens, vocab]
        x = self.embed_tokens(ids)
        cos, sin = (table[start:start + ids.shape[1]] for table in (self.cos, self.sin))
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, caches[i] if caches else None)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def save(model, folder):
    body, header = bytearray(), {"__metadata__": {"format": "pt"}}
    for name, p in sorted(model.state_dict().items()):
        data = p.detach().to(torch.float16).contiguous().numpy().tobytes()
        header["model." + name] = {
            "dtype": "F16", "shape": list(p.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + body)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")


def load(folder):
    blob = (folder / "model.safetensors").read_bytes()
    size, = struct.unpack("<Q", blob[:8])
    header, body = json.loads(blob[8:8 + size]), bytearray(blob[8 + size:])
    header.pop("__metadata__", None)
    model = Llama(json.loads((folder / "config.json").read_text()))
    model.load_state_dict({
        name.removeprefix("model."): torch.frombuffer(body[slice(*t["data_offsets"])], dtype=torch.float16)
        .float().view(t["shape"]) for name, t in header.items()})
    return model.eval()


def windows(tokenizer, length, count, seed):
    """Stories as token ids in rows of length + 1; every row opens with a begin token, as a prompt does."""
    rows, row = [], []
    texts = stories_grammar.stories(count, seed)
    while batch := [text for text, _ in zip(texts, range(10000))]:
        for story in tokenizer.encode_batch(batch):
            row += story.ids
            if len(row) > length:
                rows.append(torch.tensor(row[:length + 1], dtype=torch.int16))
                row = []
    return torch.stack(rows)


def batches(rows):
    """Batches without end; every row is used once before any is used again."""
    count = BATCH_TOKENS // (rows.shape[1] - 1)
    while True:
        for chosen in torch.randperm(len(rows)).split(count):
            if len(chosen) == count:
                yield rows[chosen].long()


def train(args, tokenizer):
    torch.manual_seed(args.seed)
    began = time.time()
    rows = windows(tokenizer, args.length, args.stories, args.seed)
    held_out = windows(tokenizer, args.length, 1000, HELD_OUT_SEED).long()
    model = load(args.out) if args.resume else Llama(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {rows.numel()} training tokens, "
          f"{time.time() - began:.0f} s to write them", flush=True)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.98))
    start = saved = time.time()
    forward = torch.compile(model) if args.compile else model
    step, progress = 0, 0.0
    for batch in batches(rows):
        progress = max(step / args.steps, (time.time() - start) / (args.minutes * 60))
        if progress >= 1.0:
            break
        rate = args.rate * min(progress / WARMUP, 1.0, (1.0 - progress) / (1.0 - WARMUP))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward(batch[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}, rate {rate:.5f}, {time.time() - start:.0f} s", flush=True)
        if time.time() - saved > 300:
            save(model, args.out)
            saved = time.time()
    save(model, args.out)
    print(f"{step} steps, {step * BATCH_TOKENS} tokens, {time.time() - start:.0f} s, "
          f"held-out loss {evaluate(load(args.out), held_out):.4f} nats a token with the F16 weights")


@torch.no_grad()
def evaluate(model, rows):
    losses = [F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten()).item() for r in rows.split(16)]
    return sum(losses) / len(losses)


@torch.no_grad()
def sample(args, tokenizer):
    torch.manual_seed(args.seed)
    model = load(args.out)
    for prompt in args.prompts.read_text(encoding="utf-8").splitlines() if args.prompts else [""]:
        ids = torch.tensor([tokenizer.encode(prompt).ids] * args.stories)
        begun, caches = ids.shape[1], [[] for _ in model.layers]
        logits = model(ids, caches)[:, -1]
        ended = torch.zeros(len(ids), 1, dtype=torch.bool)
        while ids.shape[1] < CONFIG["max_position_embeddings"] and not ended.all():
            if args.temperature:
                token = torch.multinomial((logits / args.temperature).softmax(-1), 1)
            else:
                token = logits.argmax(-1, keepdim=True)
            logits = model(token, caches, ids.shape[1])[:, -1]
            ids = torch.cat((ids, token), 1)
            ended |= token == CONFIG["eos_token_id"]
        for row in ids.tolist():
            end = row.index(CONFIG["eos_token_id"], begun) if CONFIG["eos_token_id"] in row[begun:] else len(row)
            print(tokenizer.decode(row[:end]), end="\n\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("model"))
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--length", type=int, default=256, help="tokens a window")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--stories", type=int, help="default: 200000 to train on, 100 to sample")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--prompts", type=pathlib.Path, help="a file with one prompt a line")
    args = parser.parse_args()
    args.stories = args.stories or (100 if args.sample else 200000)
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(args.out / "tokenizer.json"))
    (sample if args.sample else train)(args, tokenizer)


if __name__ == "__main__":
    sys.exit(main())
