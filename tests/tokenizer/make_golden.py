#!/usr/bin/env python3
"""Writes golden/NAME/tokenizer.json and golden/NAME/vectors.json with the Hugging Face `tokenizers`
library (pip install tokenizers; the committed files are of 0.23.3): small tokenizers of each supported
kind, and what that library answers.

usage: make_golden.py            (the output is deterministic)
"""

import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

CORPUS = """A kiln is an oven for clay. The potter shapes the clay, dries it, and fires it in the kiln.
Once the fire is hot enough, the clay turns into stone; it can't turn back. That's why potters
don't hurry: 24 hours of drying, 12 hours of fire, 36 hours of cooling. Über den Töpfern 日本語 wohnt
der Wind. "They've waited," she'd say, "and we'll wait, too." In 1999 there were 150 kilns.
The small fire grows slowly, the big fire eats the wood. Wood, water, clay and wind: what more?
""" * 3

TEXTS = [
    "", " ", "The potter's kiln", " The kiln ", "  two  spaces\n\n\tand tabs \r\n", "They'VE they've 'tis",
    "In 1999, 24 of 150 kilns; 3.14159", "Töpfer über 日本語 ñ", "👍🏽 👩‍👩‍👧 🇩🇪", "a<|end|>b <|end|> ",
    "the  <pad>  fire", "an oven  word here", "x\u00a0y\u3000z\u2028w", "e\u0301 \ufeff \x00\x7f",
    "fire!!! ((wood)) -- water...\n\n\nclay", "    def f(x):\n        return x**2\n", "▁▁a ▁", "<0x41><s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "KILN kiln Kiln kILN",
]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"
          r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

ADDED = [AddedToken("<|end|>", special=True, normalized=False),
         AddedToken("<pad>", special=True, normalized=False, lstrip=True, rstrip=True),
         AddedToken("oven  word", special=False, normalized=True)]


def byte_level(pre_tokenizer, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.add_tokens(ADDED)
    return tokenizer


def sentence_piece(metaspace):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, limit_alphabet=40,
                                  special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens)
    tokenizer.train_from_iterator([CORPUS], trainer)
    if metaspace:
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        tokenizer.pre_tokenizer = None
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                               decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    description = json.loads(tokenizer.to_str())
    description["model"]["byte_fallback"] = not metaspace
    description["added_tokens"] = [token for token in description["added_tokens"]
                                   if token["content"] not in byte_tokens]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_tokens(ADDED)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def main():
    level = lambda prefix, regex: pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    digits = pre_tokenizers.Digits(individual_digits=True)
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    kinds = {
        "gpt2": byte_level(level(True, True)),
        "smollm2": byte_level(pre_tokenizers.Sequence([digits, level(False, True)])),
        "llama3": byte_level(pre_tokenizers.Sequence([split, level(False, False)]),
                             ignore_merges=True),
        "llama2": sentence_piece(False),
        "metaspace": sentence_piece(True),
    }
    for name, tokenizer in kinds.items():
        folder = pathlib.Path(__file__).parent / "golden" / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        vectors = []
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            vectors.append({
                "text": text,
                "ids": ids,
                "with_template": tokenizer.encode(text).ids,
                "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True),
            })
        (folder / "vectors.json").write_text(json.dumps(vectors, indent=0, ensure_ascii=False)
                                             + "\n")


main()
