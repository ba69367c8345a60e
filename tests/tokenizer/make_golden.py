#!/usr/bin/env python3
"""Writes golden/NAME: small tokenizers of each supported kind, made with the Hugging Face `tokenizers`
library and `sentencepiece` (pip install tokenizers sentencepiece protobuf gguf; the committed files are
of tokenizers 0.23.3 and sentencepiece 0.2.3), and in vectors.json what those libraries answer.

usage: make_golden.py [NAME...]    (all, where none is named; pieces and GGUF files always)
"""

import json
import pathlib
import sys

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


def word_pieces():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator([CORPUS], trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    tokenizer.add_tokens(ADDED[:2])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator([CORPUS], trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    tokenizer.add_tokens([AddedToken("oven", single_word=True, normalized=True), *ADDED[:2]])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


PIECES = {
    "pieces_bpe": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                       remove_extra_whitespaces=False),
    "pieces_unigram": dict(model_type="unigram", vocab_size=100, user_defined_symbols=["oven"]),
}
# What the second one rewrites: a small map of its own, since SentencePiece's are large.
RULES = {"\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "Ü": "Ue", "ö": "oe", "e\u0301": "e", "''": '"',
         **{chr(0xFF21 + i): chr(0x41 + i) for i in range(26)}}


def sentence_pieces(folder, name):
    """The answers of a trained SentencePiece model, and its description."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    corpus = folder / "corpus.txt"
    corpus.write_text(CORPUS)
    options = dict(PIECES[name])
    if "normalization_rule_name" not in options:
        rules = folder / "rules.tsv"
        rules.write_text("".join(" ".join(f"{ord(c):X}" for c in key) + "\t" + " ".join(f"{ord(c):X}" for c in value)
                                 + "\n" for key, value in RULES.items()))
        options["normalization_rule_tsv"] = str(rules)
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(folder / "tokenizer"), num_threads=1,
                                             minloglevel=2, **options)
    for unwanted in ["corpus.txt", "rules.tsv", "tokenizer.vocab"]:
        (folder / unwanted).unlink(missing_ok=True)
    path = folder / "tokenizer.model"
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(path.read_bytes())
    proto.trainer_spec.ClearField("input")  # names files of this machine
    proto.trainer_spec.ClearField("model_prefix")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    path.write_bytes(proto.SerializeToString())
    return sentencepiece.SentencePieceProcessor(model_file=str(path)), proto


def write_gguf(path, model, tokens, types, **more):
    """A GGUF file with a tokenizer and no tensors."""
    from gguf import GGUFWriter
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for key, value in more.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_ggufs(golden, kinds, protos):
    """The same tokenizers as GGUF files."""
    vocabulary = kinds["smollm2"].get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    special = {token.content for token in ADDED[:2]}
    types = [3 if text in special else 4 if text == ADDED[2].content else 1 for text in tokens]
    merges = json.loads(kinds["smollm2"].to_str())["model"]["merges"]
    write_gguf(golden / "smollm2" / "tokenizer.gguf", "gpt2", tokens, types, tokenizer_pre="smollm",
               token_merges=[" ".join(pair) for pair in merges])
    vocabulary = kinds["bert"].get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    special |= {"[UNK]", "[CLS]", "[SEP]"}
    types = [3 if text in special else 1 for text in tokens]
    spelled = [text if text in special else text[2:] if text.startswith("##") else "▁" + text for text in tokens]
    write_gguf(golden / "bert" / "tokenizer.gguf", "bert", spelled, types, unk_token_id=0, bos_token_id=1, sep_token_id=2)
    for name, proto in protos.items():
        kind = "llama" if proto.trainer_spec.model_type == proto.trainer_spec.BPE else "t5"
        charsmap = proto.normalizer_spec.precompiled_charsmap
        write_gguf(golden / name / "tokenizer.gguf", kind, [piece.piece for piece in proto.pieces],
                   [piece.type for piece in proto.pieces], token_scores=[piece.score for piece in proto.pieces],
                   unk_token_id=0, bos_token_id=1, eos_token_id=2, add_bos_token=True, add_eos_token=False,
                   **({"precompiled_charsmap": charsmap} if charsmap else {}),
                   remove_extra_whitespaces=proto.normalizer_spec.remove_extra_whitespaces)


def write_vectors(folder, answers):
    (folder / "vectors.json").write_text(json.dumps(answers, indent=0, ensure_ascii=False) + "\n")


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
        "bert": word_pieces(),
        "unigram": unigram(),
    }
    golden = pathlib.Path(__file__).parent / "golden"
    for name, tokenizer in kinds.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        folder = golden / name
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
        write_vectors(folder, vectors)
    protos = {}
    for name in PIECES:
        folder = golden / name
        folder.mkdir(parents=True, exist_ok=True)
        model, protos[name] = sentence_pieces(folder, name)
        texts = [text for text in TEXTS if "\0" not in text]
        write_vectors(folder, [{"text": text, "ids": model.encode(text), "decoded": model.decode(model.encode(text))}
                               for text in texts])
    write_ggufs(golden, kinds, protos)


main()
