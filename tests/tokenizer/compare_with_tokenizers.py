#!/usr/bin/env python3
"""Compares Kiln's tokenizer with the Hugging Face `tokenizers` library (pip install tokenizers).

Trains small tokenizers of several kinds on the texts, then compares ids and decoded text for whole
files, random pieces of them, random bytes, emoji, mixed white space and special tokens.

usage: compare_with_tokenizers.py KILN_TOKENIZE WORK_DIR TEXT_FILE... [--folder TOKENIZER_FOLDER]...
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"
          r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"
            r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
SPECIAL = [AddedToken("<|endoftext|>", special=True, normalized=False),
           AddedToken("<|im|>", special=True, normalized=False),
           AddedToken("<|im_start|>", special=True, normalized=False, rstrip=True),
           AddedToken("<mask>", special=True, normalized=False, lstrip=True),
           AddedToken("kiln word", special=False, normalized=True)]


def byte_level(files, splits, add_prefix_space, use_regex, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    last = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits + [last]) if splits else last
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train(files, trainer)
    tokenizer.add_tokens(SPECIAL)
    return tokenizer


def sentence_piece(files, metaspace, byte_fallback, fuse_unk):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse_unk))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=metaspace)
        tokenizer.decoder = decoders.Metaspace(prepend_scheme=metaspace)
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                               decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"]
    if byte_fallback:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special, show_progress=False,
                                  limit_alphabet=90)
    if not metaspace:  # train on words; the trainer needs a pre-tokenizer to be fast
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train(files, trainer)
    if not metaspace:
        tokenizer.pre_tokenizer = None
    description = json.loads(tokenizer.to_str())
    description["model"]["byte_fallback"] = byte_fallback
    description["added_tokens"] = [t for t in description["added_tokens"]
                                   if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def tokenizers(files):
    digits = pre_tokenizers.Digits(individual_digits=True)
    split = lambda pattern, behavior="isolated", invert=False: pre_tokenizers.Split(
        Regex(pattern), behavior, invert)
    yield "gpt2", lambda: byte_level(files, [], False, True)
    yield "gpt2-prefix-space", lambda: byte_level(files, [], True, True)
    yield "smollm2", lambda: byte_level(files, [digits], False, True)
    yield "digits-prefix-space", lambda: byte_level(files, [digits], True, True)
    yield "llama3", lambda: byte_level(files, [split(LLAMA3)], False, False, ignore_merges=True)
    yield "qwen2", lambda: byte_level(files, [split(QWEN2)], False, False)
    yield "deepseek", lambda: byte_level(files, [split(p) for p in DEEPSEEK], False, False)
    for behavior in ["removed", "merged_with_previous", "merged_with_next", "contiguous"]:
        yield behavior, lambda behavior=behavior: byte_level(files, [split(r"[aeiou]|\s", behavior)], False, False)
    yield "invert", lambda: byte_level(files, [split(r"\S+?[a-m](?=[a-e])", "removed", True)], False, False)
    yield "punctuation", lambda: byte_level(
        files, [pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.WhitespaceSplit()],
        False, True)
    yield "llama2", lambda: sentence_piece(files, None, True, True)
    yield "no-fallback", lambda: sentence_piece(files, None, False, False)
    yield "no-fallback-fused", lambda: sentence_piece(files, None, False, True)
    for scheme in ["always", "first", "never"]:
        yield f"metaspace-{scheme}", lambda scheme=scheme: sentence_piece(files, scheme, scheme != "first", True)


def cases(files):
    rng = random.Random(7)
    texts = [pathlib.Path(f).read_text(errors="replace") for f in files]
    yield ""
    yield from texts
    yield "x" * 20000 + " " * 20000 + "ab" * 20000
    yield from ["Hello world", " Hello", "Hello ", "  two  spaces  ", "\n\n\t x\r\n y \u00a0\u3000z",
                "I'm you're we'VE 'S 'll'd it'ſ", "1234567890 3.14 ²½٣", "héllo wörld ñandú", "日本語のテキスト、漢字",
                "مرحبا بالعالم", "👍🏽👩‍👩‍👧‍👦🇩🇪 ❤️", "a<|endoftext|>b <|im|><|im_start|>  x  <mask>y", "<mask>",
                "  <mask>  ", "<|im_start|>   ", "a kiln word, kiln words", "<s>a</s> b<unk>", "▁ ▁▁a ▁b",
                "<0x41>", "e\u0301 \u0300x", "\x00\x01\x7f", "\ufeffbom", "᠎a\u2028b\u0085c", "don't" * 50]
    alphabets = [" \t\n\r  \u00a0\u3000ab1'", "<|im_start|>mask </s> ", "aé日👍\u0301١² .,\n",
                 "".join(map(chr, range(32, 127))), "kiln word▁ "]
    for i in range(1500):
        alphabet = alphabets[i % len(alphabets)]
        yield "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40)))
    for _ in range(500):
        text = rng.choice(texts)
        start = rng.randrange(len(text))
        yield text[start:start + rng.randrange(1, 300)]
    for _ in range(500):
        yield rng.randbytes(rng.randrange(1, 60)).decode("utf-8", "replace")
    for _ in range(500):
        yield "".join(chr(c) for c in (rng.randrange(0x110000) for _ in range(rng.randrange(1, 30)))
                      if not 0xD800 <= c < 0xE000)


def expected_decode(tokenizer, ids, skip_special):
    return tokenizer.decode(ids, skip_special_tokens=skip_special)


def compare(tool, name, folder, tokenizer, texts):
    rng = random.Random(11)
    requests, wanted = [], []
    for text in texts:
        raw = text.encode().hex()
        for flags, special in [(0, False), (1, True)]:
            ids = tokenizer.encode(text, add_special_tokens=special).ids
            requests.append(f"e {flags} {raw}")
            wanted.append(("encode", text, ids))
        for flags, skip in [(0, False), (1, True)]:
            requests.append(f"d {flags} " + " ".join(map(str, ids)))
            wanted.append(("decode", ids, expected_decode(tokenizer, ids, skip)))
        if len(text) < 400:
            tokenizer.encode_special_tokens = True
            requests.append(f"e 2 {raw}")
            wanted.append(("encode plain", text,
                           tokenizer.encode(text, add_special_tokens=False).ids))
            tokenizer.encode_special_tokens = False
    size = tokenizer.get_vocab_size()
    for _ in range(1000):
        ids = [rng.randrange(size) for _ in range(rng.randrange(1, 12))]
        requests.append("d 0 " + " ".join(map(str, ids)))
        wanted.append(("decode random", ids, expected_decode(tokenizer, ids, False)))
    run = subprocess.run([tool, folder], input="\n".join(requests) + "\n", capture_output=True,
                         text=True)
    answers = run.stdout.split("\n")[:-1]
    if run.returncode or len(answers) != len(wanted):
        print(f"{name}: {run.stderr.strip()}: {len(answers)} answers to {len(wanted)} requests")
        return 1
    failures = replaced = 0
    for (kind, given, want), answer in zip(wanted, answers):
        if kind.startswith("encode"):
            got = [int(word) for word in answer.split()]
            same = got == want
        else:
            whole, streamed = (bytes.fromhex(part) for part in answer.split(" "))
            got = streamed.decode()
            same = got == want
            if not same and kind == "decode random" and "\ufffd" in want:
                # A byte run that is no UTF-8: ByteFallback gives one U+FFFD for each of its bytes,
                # a stream can only tell the maximal broken parts.
                same = whole.decode("utf-8", "replace") == got
                replaced += same
            if "\ufffd" not in want:
                same = same and whole == streamed
        if not same:
            failures += 1
            if failures <= 5:
                print(f"{name}: {kind}: {str(given)[:200]!r}\n  expected {str(want)[:300]!r}\n"
                      f"  found    {str(got)[:300]!r}")
    print(f"{name}: {len(wanted)} comparisons, {failures} differ"
          + (f", {replaced} broken byte runs replaced otherwise" if replaced else ""))
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool")
    parser.add_argument("work")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--only", action="append", default=[], help="names of trained tokenizers")
    arguments = parser.parse_args()
    texts = list(cases(arguments.texts))
    failures = 0
    for folder in arguments.folder:
        tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
        failures += compare(arguments.tool, folder, folder, tokenizer, texts)
    for name, make in tokenizers(arguments.texts):
        if arguments.only and name not in arguments.only:
            continue
        tokenizer = make()
        folder = pathlib.Path(arguments.work) / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        failures += compare(arguments.tool, name, str(folder), tokenizer, texts)
    sys.exit(failures != 0)


main()
