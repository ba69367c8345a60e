#!/usr/bin/env python3
"""Compares the embeddings of a sentence-transformers model compiled by Kiln with Hugging Face transformers.

usage: compare_embeddings.py --kiln build/release/bin/kiln [MODEL] [--quant none,q8,q4] [--json]

MODEL is a folder with modules.json; default: build/models/all-MiniLM-L6-v2, which `tests/bench/real_models.py
build/models minilm` fetches. transformers tokenizes (cut at max_seq_length) and gives the last hidden states in f32;
pooling and normalisation are computed here from them as the folder's files say. Kiln gets the texts alone: all of
them in one batch, and each by itself, which must give the same. For each quantization: the least cosine over all
texts, which must reach 0.9999 without quantization, 0.999 with q8 and 0.85 with q4.

Needs the packages torch, transformers and numpy; exit status 77 without them or without the model.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "build/models/all-MiniLM-L6-v2"
LEAST = {"none": 0.9999, "q8": 0.999, "q4": 0.85}  # 4 bits are too few for 22 million parameters

SENTENCES = [
    "Hello", "a", "", " ", ".", "I like cats.", "i LIKE CATS!", "The quick brown fox jumps over the lazy dog.",
    "What is the capital of France?", "Paris is the capital of France.", "Berlin is the capital of Germany.",
    "A man is eating food.", "A man is eating a piece of bread.", "A woman is playing the violin.",
    "The stock market fell sharply on Monday as investors worried about inflation.",
    "def fibonacci(n):  return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
    "SELECT name, count(*) FROM users WHERE age > 30 GROUP BY name ORDER BY 2 DESC;",
    "https://example.org/a/b?c=d&e=%20f#g", "user.name+tag@example.com wrote on 2024-02-29 at 23:59:59.",
    "3.14159265358979 2.718281828 1,000,000 0x7fff -273.15", "$19.99 — that's 20% off! (was: $24.99)",
    "don't can't won't it's they're we'll I'd", "state-of-the-art, well-known, twenty-five",
    "ALL CAPS TEXT WITH NUMBERS 12345", "MiXeD cAsE wOrDs", "supercalifragilisticexpialidocious",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "The the the the the the the the the the the the.", "word " * 100, "lorem ipsum dolor sit amet " * 80,
    "x" * 150, "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "L'été dernier, nous avons mangé des crêpes à la plage.", "Die größte Überraschung war das süße Mädchen.",
    "El niño comió una piñata en España.", "Żółć gęślą jaźń", "İstanbul'da ılık bir gün", "Ångström Ǻ ﬁne ﬂow",
    "Привет, как дела?", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "今日はとても良い天気ですね。", "我喜欢吃北京烤鸭。", "나는 한국어를 공부합니다.", "混ぜ mixed テキスト text 123",
    "😀 😃 emoji 🚀👩‍👩‍👧‍👦 🇫🇷", "∑ ∫ √ ≠ ≤ ∞ α β γ → ⇒", "tab\tseparated\tvalues", "non\u00a0breaking\u2003spaces",
    "zero\u200bwidth\u200djoiner", "combining e\u0301 a\u0300 o\u0308", "ﬀ ﬁ ﬂ ½ ² ™ ℃", "control\x01char\x7f",
    "[CLS] special [SEP] tokens [MASK] in [PAD] the text [UNK]", "\"quotes\" 'single' `back` «guillemets» “curly”",
    "A paragraph. It has several sentences, some of them long, others short. The point is to see that punctuation, "
    "abbreviations (e.g. this one, i.e. that one), and numbers such as 42 or 3.5 are handled as they should be; and "
    "that the mean over many tokens is as exact as over few.",
    "Photosynthesis is the process by which green plants use sunlight to make food from carbon dioxide and water. " * 9,
    "In the beginning the Universe was created. This has made a lot of people very angry. " * 40,
]


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def run(*command, text=None):
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:300]}: exit {done.returncode}: {done.stderr.decode()[-1000:]}")
    return done


def read_json(path, otherwise):
    return json.loads(path.read_text()) if path.exists() else otherwise


def reference(torch, transformers, folder, texts):
    """[texts, dimensions] in f32, each text by itself: no padding."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    length = read_json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    modules = read_json(folder / "modules.json", [])
    pooling = next((read_json(folder / module["path"] / "config.json", {}) for module in modules
                    if module["type"].endswith("Pooling")), {"pooling_mode_mean_tokens": True})
    rows = []
    with torch.no_grad():
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
            states = model(**batch).last_hidden_state[0]
            if pooling.get("pooling_mode_cls_token"):
                row = states[0]
            elif pooling.get("pooling_mode_max_tokens"):
                row = states.max(0).values
            else:
                row = states.mean(0)
            if any(module["type"].endswith("Normalize") for module in modules):
                row = torch.nn.functional.normalize(row, dim=0)
            rows.append(row)
    return torch.stack(rows).numpy()


def cosines(np, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def check(np, args, quant, texts, expected, work):
    artifact, file, npy = work / f"{quant}.kiln", work / "texts.txt", work / "embeddings.npy"
    run(args.kiln, "compile", args.model, "-o", artifact, "--quant", quant, "--quiet",
        *(["--target", args.target] if args.target else []))
    file.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    run(args.kiln, "embed", artifact, "--file", file, "-o", npy)
    found = np.load(npy)
    if found.shape != expected.shape:
        sys.exit(f"expected a matrix {expected.shape}, found {found.shape}")
    same = cosines(np, found, expected)
    alone = []
    for text in texts[::6]:
        run(args.kiln, "embed", artifact, "--file", "-", "-o", npy, text=(text + "\n").encode())
        alone.append(np.load(npy)[0])
    lengths = np.sqrt((found.astype(np.float64)**2).sum(1)) / np.sqrt((expected.astype(np.float64)**2).sum(1))
    result = {"quant": quant, "texts": len(texts), "least_cosine": float(same.min()), "mean_cosine": float(same.mean()),
              "largest_length_error": float(abs(lengths - 1).max()),
              "least_cosine_alone": float(cosines(np, np.stack(alone), found[::6]).min())}
    good = same.min() >= LEAST[quant] and result["least_cosine_alone"] >= LEAST[quant] and \
        (quant == "q4" or result["largest_length_error"] < 0.01)
    worst = int(same.argmin())
    print(f"{quant:5} {len(texts)} texts: least cosine {same.min():.7f} (text {worst}: {texts[worst][:40]!r}), "
          f"mean {same.mean():.7f}; alone and in the batch {result['least_cosine_alone']:.7f}; lengths within "
          f"{result['largest_length_error']:.1e}; {'ok' if good else 'OFF'}", flush=True)
    return result, good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, nargs="?", default=DEFAULT)
    parser.add_argument("--kiln", type=pathlib.Path, required=True)
    parser.add_argument("--quant", default="none,q8,q4")
    parser.add_argument("--target", help="the target to compile for (default: this machine)")
    parser.add_argument("--json", action="store_true", help="the last line is the result as JSON")
    args = parser.parse_args()
    try:
        import numpy as np
        import torch
        import transformers
    except ImportError as error:
        skip(error)
    if not (args.model / "config.json").exists():
        skip(f"{args.model}: there is no model (tests/bench/real_models.py build/models minilm fetches one)")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    texts = [text.replace("\n", " ") for text in SENTENCES]
    expected = reference(torch, transformers, args.model, texts)
    with tempfile.TemporaryDirectory() as work:
        results = [check(np, args, quant, texts, expected, pathlib.Path(work)) for quant in args.quant.split(",")]
    if args.json:
        print(json.dumps([result for result, _ in results]))
    return 0 if all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())
