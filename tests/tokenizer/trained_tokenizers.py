"""Small tokenizers of every supported kind, trained on texts with the libraries themselves: what
compare_with_tokenizers.py compares Kiln's with, where no published vocabulary is at hand."""

import json

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
JAIS2 = (LLAMA3.removesuffix(r"\s+(?!\S)|\s+")
         + "|".join([rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)] + [r"\s{1,2}(?!\S)", r"\s{1}"]))
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
    yield "superbpe", lambda: byte_level(files, [split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))")], False, False)
    yield "digits-from-right", lambda: byte_level(files, [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(LLAMA3)], False, False)
    yield "jais2", lambda: byte_level(files, [split(JAIS2)], False, False)
    yield "behind", lambda: byte_level(files, [split(r"(?<=\p{Ll})(?=\p{Lu})"), split(r"(?<![\d.])\d+(?!\w)|\b\w")], False, False)
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
