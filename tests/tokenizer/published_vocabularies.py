"""The tokenizers of published vocabularies in GGUF files, as the libraries make them: a GGUF file only
names its pre-tokenizer, whose patterns are those of the model's tokenizer.json."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from trained_tokenizers import CL100K, DEEPSEEK, LLAMA3, O200K, QWEN2

# Letters of alphabets with upper and lower case.
LETTERS = (r"\s?[A-Za-z"
           r"\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}"
           r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}"
           r"\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}"
           r"\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}"
           r"\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}"
           r"\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}"
           r"\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}"
           r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}"
           r"\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}"
           r"\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}"
           r"\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}"
           r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}"
           r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}"
           r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}"
           r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}"
           r"\x{1E900}-\x{1E943}"
           r"]+")


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


GPT2 = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
BYTES = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
DIGITS = pre_tokenizers.Digits(individual_digits=True)
PRE_TOKENIZERS = {
    "gpt-2": GPT2,
    "starcoder": [DIGITS] + GPT2,
    "smollm": [DIGITS] + GPT2,
    "falcon": [pre_tokenizers.Punctuation("contiguous"), *GPT2, split("[0-9][0-9][0-9]")],
    "deepseek-llm": [split("[\r\n]"), split(LETTERS), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"),
                     split(r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+"), DIGITS] + BYTES,
}
# Pre-tokenizers of models whose vocabularies are not at hand, over the vocabulary of another one.
TRANSPLANTS = {"llama3": ([LLAMA3], None, True), "qwen2": ([QWEN2], normalizers.NFC(), False),
               "deepseek-v3": (DEEPSEEK, None, False), "cl100k": ([CL100K], None, False),
               "o200k": ([O200K], None, False)}


class Fields:
    """The metadata of a GGUF file."""

    def __init__(self, path):
        from gguf import GGUFReader
        self.fields = GGUFReader(path).fields

    def get(self, key, absent=None):
        field = self.fields.get("tokenizer.ggml." + key)
        return absent if field is None else field.contents()


def byte_pairs(fields, splits, normalizer=None, **options):
    tokens, types = fields.get("tokens"), fields.get("token_type")
    merges = [tuple(merge.split(" ")) for merge in fields.get("merges")]
    tokenizer = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(tokens)}, merges=merges, **options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text, type in zip(tokens, types) if type == 3])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text, type in zip(tokens, types) if type == 4])
    return tokenizer


def word_pieces(fields):
    types = fields.get("token_type")
    bracketed = lambda text: len(text) > 2 and text[0] == "[" and text[-1] == "]"
    spelled = [text[1:] if text.startswith("▁") else text if type != 1 or bracketed(text) else "##" + text
               for text, type in zip(fields.get("tokens"), types)]
    tokenizer = Tokenizer(models.WordPiece(vocab={text: i for i, text in enumerate(spelled)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [text for text, type in zip(spelled, types) if type == 3]
    special += ["[UNK]"] * ("[UNK]" not in special)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    return tokenizer


def sentence_pieces(fields):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    tokens = fields.get("tokens")
    unused = 5  # what pads the vocabulary, which GGUF files call unknown
    for id, (text, score, type) in enumerate(zip(tokens, fields.get("scores"), fields.get("token_type"))):
        padding = type == 2 and id != fields.get("unknown_token_id", 0)
        proto.pieces.add(piece=text.replace(" ", "▁"), score=score, type=unused if padding else type)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.byte_fallback = trainer.BPE, True
    trainer.unk_id, trainer.bos_id, trainer.eos_id = (
        fields.get(key + "_token_id", absent) for key, absent in (("unknown", 0), ("bos", 1), ("eos", 2)))
    trainer.unk_piece, trainer.bos_piece, trainer.eos_piece = (
        tokens[i] for i in (trainer.unk_id, trainer.bos_id, trainer.eos_id))
    trainer.pad_piece = tokens[fields.get("padding_token_id", trainer.unk_id)]
    normalizer.add_dummy_prefix = bool(fields.get("add_space_prefix", True))
    normalizer.remove_extra_whitespaces, normalizer.name = False, "identity"
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def published(path):
    """The library's tokenizer of a GGUF file: a `Tokenizer`, or a `SentencePieceProcessor`."""
    fields = Fields(path)
    model, name = fields.get("model"), fields.get("pre", "")
    if model == "gpt2":
        if name not in PRE_TOKENIZERS:
            raise SystemExit(f"{path}: no oracle for the pre-tokenizer {name}")
        return byte_pairs(fields, PRE_TOKENIZERS[name])
    return word_pieces(fields) if model == "bert" else sentence_pieces(fields)


def transplanted(path, work):
    """(name, folder, tokenizer) of each pre-tokenizer over the file's vocabulary."""
    fields = Fields(path)
    for name, (patterns, normalizer, ignore_merges) in TRANSPLANTS.items():
        tokenizer = byte_pairs(fields, [split(pattern) for pattern in patterns] + BYTES, normalizer,
                               ignore_merges=ignore_merges)
        folder = work / f"transplanted-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        yield folder.name, str(folder), tokenizer
