#!/usr/bin/env python3
"""Compares Kiln's tokenizer with the libraries whose tokenizers it compiles: Hugging Face `tokenizers`
and `sentencepiece` (pip install tokenizers sentencepiece protobuf; gguf for --gguf).

Trains small tokenizers of several kinds on the texts, then compares ids and decoded text for whole
files, random pieces of them, random bytes, emoji, mixed white space and special tokens. With
--megabytes, compares ids for so much text, code, emoji and random bytes, and prints the speed of
both on one thread.

usage: compare_with_tokenizers.py KILN_TOKENIZE WORK_DIR TEXT_FILE... [--folder TOKENIZER_FOLDER]...
       [--gguf FILE]... [--megabytes 10] [--only KIND]...
"""

import argparse
import array
import base64
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

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
           AddedToken("kiln word", special=False, normalized=True),
           AddedToken("pot", special=False, normalized=True, single_word=True)]
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
          r"|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN = (rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}&&[^\p{{Han}}]]*[{LOWER}&&[^\p{{Han}}]]+{ENDING}|\p{{N}}{{1,3}}"
       r"|\w+$| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


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


def normalized(tokenizer, normalizer):
    tokenizer.normalizer = normalizer
    return Tokenizer.from_str(tokenizer.to_str())  # added tokens are normalized when they are read


def word_pieces(files, lowercase, **normalizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, **normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=lowercase)
    tokenizer.train(files, trainers.WordPieceTrainer(
        vocab_size=3000, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    tokenizer.add_tokens(SPECIAL[:4])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def unigram(files, normalizer, pre_tokenizer, byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] * byte_fallback
    tokenizer.train(files, trainers.UnigramTrainer(vocab_size=2500, special_tokens=special, unk_token="<unk>",
                                                   show_progress=False))
    description = json.loads(tokenizer.to_str())
    description["model"]["byte_fallback"] = byte_fallback
    description["added_tokens"] = [t for t in description["added_tokens"] if not t["content"].startswith("<0x")]
    if byte_fallback:
        description["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}]}
        description["decoder"]["decoders"].reverse()
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_tokens(SPECIAL[:4])
    return tokenizer


def sentence_piece_model(files, work, name, **options):
    """A trained SentencePiece model's file."""
    import sentencepiece
    path = work / f"{name}.model"
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(files), model_prefix=str(work / name), minloglevel=2, max_sentence_length=100000,
        num_threads=1, **options)
    return path


SENTENCE_PIECES = {
    "sp-bpe": dict(model_type="bpe", vocab_size=2500, byte_fallback=True, normalization_rule_name="identity",
                   remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True),
    "sp-bpe-nfkc": dict(model_type="bpe", vocab_size=2500, user_defined_symbols=["<kiln>", "\n\n", "pot"]),
    "sp-bpe-across": dict(model_type="bpe", vocab_size=2500, byte_fallback=True, split_by_whitespace=False,
                          add_dummy_prefix=False, normalization_rule_name="nfkc"),
    "sp-unigram": dict(model_type="unigram", vocab_size=2500),
    "sp-unigram-fallback": dict(model_type="unigram", vocab_size=2500, byte_fallback=True,
                                normalization_rule_name="nfkc_cf", remove_extra_whitespaces=False),
}


def charsmap(files, work):
    """SentencePiece's own map of characters, nmt_nfkc."""
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sentence_piece_model(files, work, "charsmap", vocab_size=500).read_bytes())
    return proto.normalizer_spec.precompiled_charsmap


def tokenizers(files, work):
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
    for name, pattern in [("cl100k", CL100K), ("o200k", O200K), ("han", HAN)]:
        yield name, lambda pattern=pattern: byte_level(files, [split(pattern)], False, False)
    for name in ["NFC", "NFD", "NFKC", "NFKD"]:
        yield name.lower(), lambda name=name: normalized(
            byte_level(files, [split(QWEN2)], False, False), getattr(normalizers, name)())
    yield "normalizers", lambda: normalized(byte_level(files, [], False, True), normalizers.Sequence(
        [normalizers.Nmt(), normalizers.Strip(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]))
    yield "whitespace", lambda: byte_level(files, [pre_tokenizers.Whitespace()], False, False)
    yield "bert", lambda: word_pieces(files, True)
    yield "bert-cased", lambda: word_pieces(files, False)
    yield "unigram", lambda: unigram(files, normalizers.NFKC(), pre_tokenizers.Metaspace())
    yield "unigram-fallback", lambda: unigram(files, None, pre_tokenizers.Metaspace(prepend_scheme="first"), True)
    yield "t5", lambda: unigram(
        files, normalizers.Sequence([normalizers.Precompiled(charsmap(files, work)),
                                     normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))
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


def bulk_texts(files, megabytes):
    """Text, code, emoji and random bytes, in pieces of a few kilobytes."""
    rng = random.Random(5)
    texts = [pathlib.Path(f).read_text(errors="replace") for f in files]
    code = [path.read_text(errors="replace") for path in sorted(pathlib.Path(__file__).parents[2].rglob("*"))
            if path.suffix in (".cpp", ".h", ".py", ".mlir", ".md") and "build" not in path.parts]
    emoji = [chr(code) for first, last in [(0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x2600, 0x27BF), (0x1F1E6, 0x1F1FF)]
             for code in range(first, last + 1)] + ["\u200d", "\ufe0f", "\U0001F3FD"]
    scripts = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF),
               (0x1E00, 0x1FFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFE00, 0xFFFD)]

    def part(sources):
        source = rng.choice(sources)
        start = rng.randrange(max(1, len(source) - 4000))
        return source[start:start + rng.randrange(1, 4000)]

    def words():
        first, last = rng.choice(scripts)
        return "".join(chr(rng.randrange(first, last + 1)) if rng.random() < 0.85 else " "
                       for _ in range(rng.randrange(1, 500)))

    makers = [(0.55, lambda: part(texts)), (0.25, lambda: part(code)),
              (0.05, lambda: "".join(rng.choice(emoji) + " " * (rng.random() < 0.2) for _ in range(300))),
              (0.05, lambda: rng.randbytes(rng.randrange(1, 1000)).decode("utf-8", "replace")), (0.10, words)]
    result = []
    for share, make in makers:
        size = 0
        while size < share * megabytes * 1e6:
            result.append(make())
            size += len(result[-1].encode())
    rng.shuffle(result)
    return result


def compare_bulk(tool, name, source, encode, flags, texts, work):
    """Ids and speed; `encode` gives the library's ids of a text."""
    data = work / "texts"
    data.write_bytes(b"".join(struct.pack("<I", len(raw)) + raw for raw in (text.encode() for text in texts)))
    begin = time.perf_counter()
    wanted = [encode(text) for text in texts]
    seconds = time.perf_counter() - begin
    run = subprocess.run([tool, source], input=f"f {flags} {data} {work / 'ids'} 2\n", capture_output=True, text=True)
    if run.returncode or not run.stdout.strip().replace(".", "").isdigit():
        print(f"{name}: {run.stderr.strip()} {run.stdout.strip()}")
        return 1
    ids = array.array("i", (work / "ids").read_bytes())
    at = failures = tokens = 0
    for text, want in zip(texts, wanted):
        got = ids[at + 1:at + 1 + ids[at]].tolist()
        at += 1 + ids[at]
        tokens += len(want)
        if got != want:
            failures += 1
            if failures <= 3:
                first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                print(f"{name}: {text[:60]!r}… at token {first}: expected {want[first:first + 8]}, found {got[first:first + 8]}")
    size = sum(len(text.encode()) for text in texts)
    mine = float(run.stdout)
    print(f"{name:20} {size / 1e6:6.2f} MB {tokens:9} tokens, {failures} of {len(texts)} texts differ; MB/s: "
          f"{size / 1e6 / mine:7.2f}, the library {size / 1e6 / seconds:6.2f}: {seconds / mine:5.1f} times", flush=True)
    return failures


def gguf_oracle(path):
    """(encode, flags) of a GGUF file's vocabulary, by the library that its model is of."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types = get("tokens"), get("token_type")
    if get("model") == "gpt2":
        if get("pre") != "smollm":
            sys.exit(f"{path}: no oracle for the pre-tokenizer {get('pre')}")
        merges = [tuple(merge.split(" ")) for merge in get("merges")]
        tokenizer = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(tokens)}, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text, type in zip(tokens, types) if type == 3])
        return lambda text: tokenizer.encode(text, add_special_tokens=False).ids, 0
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    for text, score, type in zip(tokens, get("scores"), types):
        proto.pieces.add(piece=text.replace(" ", "▁"), score=score, type=type)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.byte_fallback = trainer.BPE, True
    trainer.unk_id, trainer.bos_id, trainer.eos_id = (get(key + "_token_id") for key in ("unknown", "bos", "eos"))
    trainer.unk_piece, trainer.bos_piece, trainer.eos_piece = (
        tokens[i] for i in (trainer.unk_id, trainer.bos_id, trainer.eos_id))
    trainer.pad_piece = tokens[get("padding_token_id")]
    normalizer.add_dummy_prefix = "tokenizer.ggml.add_space_prefix" not in fields or get("add_space_prefix")
    normalizer.remove_extra_whitespaces, normalizer.name = False, "identity"
    model = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    return model.encode, 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("--megabytes", type=float, default=0)
    parser.add_argument("--only", action="append", default=[], help="names of trained tokenizers")
    parser.add_argument("--no-training", action="store_true")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tool, work, files = arguments.tool, arguments.work, arguments.texts
    work.mkdir(parents=True, exist_ok=True)
    texts = list(cases(files))
    bulk = bulk_texts(files, arguments.megabytes)
    failures = 0

    def compare_all(name, folder, tokenizer):
        nonlocal failures
        tokenizer.no_padding()
        tokenizer.no_truncation()
        failures += compare(tool, name, folder, tokenizer, texts)
        if bulk:
            failures += compare_bulk(tool, name, folder, lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
                                     0, bulk, work)

    for folder in arguments.folder:
        compare_all(pathlib.Path(folder).name, folder, Tokenizer.from_file(folder + "/tokenizer.json"))
    for path in arguments.gguf:
        encode, flags = gguf_oracle(path)
        failures += compare_bulk(tool, pathlib.Path(path).stem, path, encode, flags, texts + bulk, work)
    for name, make in tokenizers(files, work):
        if arguments.no_training or arguments.only and name not in arguments.only:
            continue
        tokenizer = make()
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        compare_all(name, str(folder), Tokenizer.from_file(str(folder / "tokenizer.json")))
    for name, options in SENTENCE_PIECES.items():
        if arguments.no_training or arguments.only and name not in arguments.only:
            continue
        import sentencepiece
        path = sentence_piece_model(files, work, name, **options)
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        failures += compare_bulk(tool, name, str(path), model.encode, 2, texts + bulk, work)
    sys.exit(failures != 0)


main()
