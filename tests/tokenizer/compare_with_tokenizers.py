#!/usr/bin/env python3
"""Compares Kiln's tokenizer with the libraries whose tokenizers it compiles: Hugging Face `tokenizers`
and `sentencepiece` (pip install tokenizers sentencepiece protobuf; gguf for --gguf).

Trains small tokenizers of many kinds on the texts (trained_tokenizers.py), then compares ids and decoded
text for whole files, random pieces of them, random bytes, emoji, mixed white space and special tokens.
With --megabytes, compares ids and decoded text for so much text, code, emoji and random bytes, and
prints the speed of both on one thread. --gguf takes published vocabularies (published_vocabularies.py).

usage: compare_with_tokenizers.py KILN_TOKENIZE WORK_DIR TEXT_FILE... [--folder TOKENIZER_FOLDER]...
       [--gguf FILE]... [--transplant FILE] [--megabytes 10] [--only KIND]... [--no-training] [--trained] [--no-cases]
"""

import argparse
import array
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

try:
    import sentencepiece
    from tokenizers import Tokenizer
except ImportError as error:
    print(f"skipped: {error.name} is not installed (pip install tokenizers sentencepiece protobuf)")
    sys.exit(77)

from published_vocabularies import published, transplanted
from tokenizer_texts import bulk_texts, cases
from trained_tokenizers import SENTENCE_PIECES, sentence_piece_model, tokenizers


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
            wanted.append(("decode", ids, tokenizer.decode(ids, skip_special_tokens=skip)))
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
        wanted.append(("decode random", ids, tokenizer.decode(ids, skip_special_tokens=False)))
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


class HuggingFace:
    flags = 0

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def ids(self, encoding):
        return encoding.ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def shows_unknown(self, ids):
        return True


class SentencePiece:
    flags = 2  # knows no special tokens in a text

    def __init__(self, model):
        self.model = model

    def encode(self, text):
        return self.model.encode(text)

    def ids(self, encoding):
        return encoding

    def decode(self, ids):
        return self.model.decode(ids)

    def shows_unknown(self, ids):  # as Kiln does; SentencePiece shows a text of its own
        return self.model.unk_id() not in ids


def timed(function, inputs):
    """Results and seconds, of the calls alone."""
    results, seconds = [], 0.0
    for value in inputs:
        begin = time.perf_counter()
        result = function(value)
        seconds += time.perf_counter() - begin
        results.append(result)
    return results, seconds


def write_blocks(path, blocks):
    with open(path, "wb") as file:
        for count, raw in blocks:
            file.write(struct.pack("<I", count) + raw)


def read_blocks(path, element):
    raw, at, blocks = path.read_bytes(), 0, []
    while at < len(raw):
        end = at + 4 + struct.unpack_from("<I", raw, at)[0] * element
        blocks.append(raw[at + 4:end])
        at = end
    return blocks


def ask(tool, source, command):
    run = subprocess.run([tool, source], input=command + "\n", capture_output=True, text=True)
    if run.returncode or not run.stdout.strip().replace(".", "").isdigit():
        raise RuntimeError(f"{run.stderr.strip()} {run.stdout.strip()}")
    return float(run.stdout)


def compare_bulk(tool, name, source, oracle, texts, work, rounds):
    """Ids, texts and speed both ways."""
    raws = [text.encode() for text in texts]
    size = sum(map(len, raws)) / 1e6
    write_blocks(work / "texts", ((len(raw), raw) for raw in raws))
    encodings, seconds = timed(oracle.encode, texts)
    wanted = [oracle.ids(encoding) for encoding in encodings]
    del encodings
    write_blocks(work / "ids", ((len(ids), array.array("i", ids).tobytes()) for ids in wanted))
    decoded, decode_seconds = timed(oracle.decode, wanted)
    try:
        mine = ask(tool, source, f"f {oracle.flags} {work / 'texts'} {work / 'found'} {rounds}")
        decode_mine = ask(tool, source, f"g 0 {work / 'ids'} {work / 'decoded'} {rounds}")
    except RuntimeError as error:
        print(f"{name}: {error}")
        return 1
    failures = decode_failures = 0
    for text, want, found in zip(texts, wanted, read_blocks(work / "found", 4)):
        got = array.array("i", found).tolist()
        if got != want:
            failures += 1
            if failures <= 3:
                first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                print(f"{name}: {text[:60]!r}… at token {first} of {len(want)}: expected {want[first:first + 8]}, "
                      f"found {got[first:first + 8]}")
    for ids, want, found in zip(wanted, decoded, read_blocks(work / "decoded", 1)):
        got = found.decode("utf-8", "replace")
        if got != want and oracle.shows_unknown(ids):
            decode_failures += 1
            if decode_failures <= 3:
                first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                print(f"{name}: decoded: expected {want[first:first + 40]!r}, found {got[first:first + 40]!r}")
    tokens = sum(map(len, wanted))
    print(f"{name:24} {size:6.2f} MB {tokens:8} tokens; of {len(texts)} texts {failures} encode and {decode_failures} "
          f"decode otherwise; encode MB/s {size / mine:6.2f} to {size / seconds:6.2f}: {seconds / mine:5.1f} times; "
          f"decode {size / decode_mine:6.1f} to {size / decode_seconds:6.1f}: {decode_seconds / decode_mine:5.1f} times",
          flush=True)
    return failures + decode_failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("--transplant", help="a GGUF file with a byte-level vocabulary to try other pre-tokenizers on")
    parser.add_argument("--megabytes", type=float, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], help="names of trained tokenizers")
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--trained", action="store_true", help="take what is trained already in WORK_DIR")
    parser.add_argument("--no-cases", action="store_true", help="the megabytes only")
    arguments = parser.parse_args()
    tool, work, files = arguments.tool, arguments.work, arguments.texts
    work.mkdir(parents=True, exist_ok=True)
    texts = [] if arguments.no_cases else list(cases(files))
    bulk = bulk_texts(files, arguments.megabytes)
    failures = 0

    def compare_all(name, source, library):
        nonlocal failures
        if isinstance(library, sentencepiece.SentencePieceProcessor):
            if texts or bulk:
                failures += compare_bulk(tool, name, source, SentencePiece(library), texts + bulk, work, arguments.rounds)
            return
        library.no_padding()
        library.no_truncation()
        if texts:
            failures += compare(tool, name, source, library, texts)
        if bulk:
            failures += compare_bulk(tool, name, source, HuggingFace(library), bulk, work, arguments.rounds)

    for folder in arguments.folder:
        compare_all(pathlib.Path(folder).name, folder, Tokenizer.from_file(folder + "/tokenizer.json"))
    for path in arguments.gguf:
        compare_all(pathlib.Path(path).stem, path, published(path))
    if arguments.transplant:
        for name, folder, tokenizer in transplanted(arguments.transplant, work):
            compare_all(name, folder, tokenizer)
    wanted = lambda name: not arguments.no_training and (not arguments.only or name in arguments.only)
    for name, make in tokenizers(files, work):
        if wanted(name):
            folder = work / name
            folder.mkdir(parents=True, exist_ok=True)
            if not arguments.trained or not (folder / "tokenizer.json").exists():
                make().save(str(folder / "tokenizer.json"))
            compare_all(name, str(folder), Tokenizer.from_file(str(folder / "tokenizer.json")))
    for name, options in SENTENCE_PIECES.items():
        if wanted(name):
            path = work / f"{name}.model"
            if not arguments.trained or not path.exists():
                sentence_piece_model(files, work, name, **options)
            compare_all(name, str(path), sentencepiece.SentencePieceProcessor(model_file=str(path)))
    print(f"{failures} differences")
    sys.exit(failures != 0)


main()
