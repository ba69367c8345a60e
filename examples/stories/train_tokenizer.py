#!/usr/bin/env python3
"""Trains the byte-level BPE tokenizer of the stories model and writes it in Hugging Face form.

usage: train_tokenizer.py [--out model] [--stories 20000] [--seed 1]

Writes tokenizer.json and tokenizer_config.json: GPT-2's pre-tokenization, 1024 entries, of which
entry 0 is <|endoftext|>, entries 1 to 256 are the bytes, and the rest are learned merges. The
begin token is put before every encoded text. Needs the `tokenizers` package.
"""
import argparse
import json
import pathlib

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

import stories_grammar

VOCAB_SIZE = 1024


def train(count, seed):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[stories_grammar.BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories_grammar.stories(count, seed), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{stories_grammar.BEGIN} $A",
        pair=f"{stories_grammar.BEGIN} $A {stories_grammar.BEGIN} $B:1",
        special_tokens=[(stories_grammar.BEGIN, tokenizer.token_to_id(stories_grammar.BEGIN))],
    )
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"expected {VOCAB_SIZE} entries, found {tokenizer.get_vocab_size()}: train on more stories")
    return tokenizer


def config():
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            "0": {
                "content": stories_grammar.BEGIN,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
        },
        "bos_token": stories_grammar.BEGIN,
        "eos_token": stories_grammar.BEGIN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("model"))
    parser.add_argument("--stories", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train(args.stories, args.seed)
    tokenizer.save(str(args.out / "tokenizer.json"))
    (args.out / "tokenizer_config.json").write_text(json.dumps(config(), indent=2) + "\n", encoding="utf-8")
    print(f"{tokenizer.get_vocab_size()} entries in {args.out / 'tokenizer.json'}")


if __name__ == "__main__":
    main()
