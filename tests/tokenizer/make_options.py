#!/usr/bin/env python3
"""Writes golden/options.json: what the Hugging Face `tokenizers` library (pip install tokenizers) answers
with each option of a tokenizer.json. An entry is a change of a tokenizer that
make_golden.py wrote (keys are replaced, those of the model merged), and texts with their ids, with and without the template, and decoded.

usage: make_options.py
"""

import json
import pathlib

from tokenizers import Tokenizer

GOLDEN = pathlib.Path(__file__).parent / "golden"
TEXTS = ["", " ", "The potter's  kiln", "  fire,(wood) 24x3.14 ", "Töpfer É 日本語ñ e\u0301", "\t a\u00a0b\u3000 c\n",
         "a<x> b <y>c<x>", "kilns kiln,kiln <Y>", "▁the ▁_ fire_wood", "👍🏽 x\u0000\u007f\ufffd", "1234567 1234 12",
         "don't  STOP!!! ...now", "\u061d\u2e52$+a|b~`"]


def regex(pattern):
    return {"Regex": pattern}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(*before):
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*before, level]}}


def metaspace(scheme, split_words, replacement="▁"):
    options = {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": split_words}
    return {"pre_tokenizer": options, "decoder": options}


def added(first_id, *tokens):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"added_tokens": [{"id": first_id + i, "content": content, **flags, **dict.fromkeys(names, True)}
                             for i, (content, *names) in enumerate(tokens)]}


def template(single):
    pieces = [{"Sequence": {"id": "A", "type_id": 0}} if piece == "$A" else {"SpecialToken": {"id": piece, "type_id": 0}}
              for piece in single]
    tokens = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2, 2], "tokens": ["</s>"] * 2}}
    return {"type": "TemplateProcessing", "single": pieces, "pair": [{"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": tokens}


def options():
    yield "gpt2", "ignore_merges", {"model": {"ignore_merges": True}}
    count = len(json.loads((GOLDEN / "gpt2/tokenizer.json").read_text())["model"]["vocab"])
    for name, flags in {"plain": (), "lstrip": ("lstrip",), "rstrip": ("rstrip",), "both": ("lstrip", "rstrip"),
                        "single_word": ("single_word",), "normalized": ("normalized",), "special": ("special",),
                        "special_normalized": ("special", "normalized"),
                        "single_stripped": ("single_word", "lstrip", "rstrip")}.items():
        change = added(count, ("<x>", *flags), ("<y>", *flags), ("kiln", *flags))
        yield "gpt2", f"added_{name}", change
        yield "gpt2", f"added_{name}_lowercase", {**change, "normalizer": {"type": "Lowercase"}}
    for fallback in (False, True):
        for fuse in (False, True):
            yield "llama2", f"byte_fallback_{fallback}_fuse_unk_{fuse}", {"model": {"byte_fallback": fallback, "fuse_unk": fuse}}
    for scheme in ("always", "first", "never"):
        for split_words in (False, True):
            yield "metaspace", f"metaspace_{scheme}_{split_words}", metaspace(scheme, split_words)
    yield "metaspace", "metaspace_other_mark", metaspace("always", True, "_")
    yield "unigram", "unigram_metaspace_first", {**metaspace("first", True), "normalizer": None}
    normalizers = {
        "replace_text": {"type": "Replace", "pattern": {"String": "kil"}, "content": "wo"},
        "replace_pattern": {"type": "Replace", "pattern": regex(r"\s+"), "content": " "},
        "replace_behind": {"type": "Replace", "pattern": regex(r"(?<=[a-z])[,.!]|\bfire\b"), "content": "-"},
        "prepend": {"type": "Prepend", "prepend": "the "},
        "strip_left": {"type": "Strip", "strip_left": True, "strip_right": False},
        "strip_right": {"type": "Strip", "strip_left": False, "strip_right": True},
        "nmt": {"type": "Nmt"},
        **{form.lower(): {"type": form} for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")},
        "sequence": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}}
    for name, normalizer in normalizers.items():
        yield "gpt2", name, {"normalizer": normalizer}
    behaviors = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    for behavior in behaviors:
        yield "gpt2", f"punctuation_{behavior}", byte_level({"type": "Punctuation", "behavior": behavior})
        for invert in (False, True):
            yield "gpt2", f"split_{behavior}_{invert}", byte_level(split(regex(r"[a-e ]|\d{2}"), behavior, invert))
    yield "gpt2", "split_text", byte_level(split({"String": "ki"}, "MergedWithNext"))
    for individual in (False, True):
        yield "gpt2", f"digits_{individual}", byte_level({"type": "Digits", "individual_digits": individual})
    for name in ("WhitespaceSplit", "Whitespace"):
        yield "gpt2", name, byte_level({"type": name})
    yield "gpt2", "delimiter", byte_level({"type": "CharDelimiterSplit", "delimiter": "i"})
    patterns = {"digits_from_right": r"\d{1,3}(?=(?:\d{3})*\b)", "places": r"(?=(\d{3})+(?!\d))", "behind": r"(?<=[a-z])(?<!r)[^a-z]",
                "not_behind": r"(?<!\w)\w{2}(?!\w)|(?<=t{2}e)r", "edges": r"\b\w|^\s|\s$|\B[.!]", "ahead": r"\w+?(?=ln|'s|tt)",
                "repeated": r"\p{L}{1,3}+|\s++$|[^\s\p{L}]++", "lines": r"\A\s+|[^\s]+\z", "long_ahead": r"\s+(?!\S)|\s+(?=\S{4})"}
    for name, pattern in patterns.items():
        yield "gpt2", f"pattern_{name}", byte_level(split(regex(pattern)))
    for clean in (False, True):
        for chinese in (False, True):
            for accents in (None, False, True):
                for lowercase in (False, True):
                    normalizer = {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                                  "lowercase": lowercase}
                    if accents is not None:
                        normalizer["strip_accents"] = accents
                    yield "bert", f"bert_{clean}_{chinese}_{accents}_{lowercase}", {"normalizer": normalizer}
    yield "bert", "wordpiece_no_cleanup", {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False}}
    yield "bert", "longest_word", {"model": {"max_input_chars_per_word": 4}}
    cls, sep = ["<s>", 1], ["</s>", 2]
    processors = {
        "bert": {"type": "BertProcessing", "sep": sep, "cls": cls},
        "roberta": {"type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": True, "add_prefix_space": False},
        "template": template(["<s>", "<s>", "$A", "</s>"]), "template_end": template(["$A", "</s>"]), "template_none": template(["$A"]),
        "byte_level": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "sequence": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template(["<s>", "$A"])]}}
    for name, processor in processors.items():
        yield "llama2", f"processor_{name}", {"post_processor": processor}


def changed(description, change):
    result = {**description, **change}
    result["model"] = {**description["model"], **change.get("model", {})}
    return result


def main():
    entries = []
    for base, name, change in options():
        description = json.loads((GOLDEN / base / "tokenizer.json").read_text())
        tokenizer = Tokenizer.from_str(json.dumps(changed(description, change)))
        vectors = []
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            vectors.append([text, ids, tokenizer.encode(text).ids, tokenizer.decode(ids, skip_special_tokens=False)])
        entries.append({"name": name, "base": base, "change": change, "vectors": vectors})
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (GOLDEN / "options.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(entries)} options of {len(TEXTS)} texts each")


main()
