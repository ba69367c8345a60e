"""Texts to compare tokenizers on: short cases that are hard, and megabytes of mixed text, code, emoji
and random bytes. What a Debian system has (translations, documents, Python, C headers) is read
where it lies and never kept."""

import gzip
import pathlib
import random

EMOJI = [chr(code) for first, last in [(0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x2600, 0x27BF), (0x1F1E6, 0x1F1FF)]
         for code in range(first, last + 1)] + ["\u200d", "\ufe0f", "\U0001F3FD"]
SCRIPTS = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF),
           (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFE00, 0xFFFD)]
# Characters that grapheme clusters, normalization forms and maps of characters treat each in its own
# way: jamo, flags, joiners, prepended marks, Indic conjuncts, compatibility forms, marks out of order.
CLUSTERS = ("\u1100\u1161\u11a8\uac00\uac01\U0001F1E9\U0001F1EA\u200d\ufe0f\U0001F469\U0001F3FD\u2764\u0600\u0915\u094d"
            "\u0937\u093e\u0301\u0323\u0308e\u00e9\ufb01\u2460\uff21\uff76\uff9e\u00bd\u3000\r\n a\u0e33\u0903\u00ad\u0344\u212b")


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
                 "".join(map(chr, range(32, 127))), "kiln word▁ ", "0123456789 a_", CLUSTERS]
    for i in range(2100):
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


def translations(path):
    """The translated texts of a .mo file (GNU gettext manual, "The Format of GNU MO Files")."""
    raw = path.read_bytes()
    if raw[:4] != b"\xde\x12\x04\x95":
        return ""
    word = lambda at: int.from_bytes(raw[at:at + 4], "little")
    count, table = word(8), word(16)
    parts = (raw[word(at + 4):word(at + 4) + word(at)] for at in range(table + 8, table + 8 * count, 8))
    return b"\n".join(parts).replace(b"\0", b"\n").decode("utf-8", "replace")


def system_texts(megabytes):
    """(texts, codes) of the system: files in a random but fixed order, until there is enough."""
    def collect(patterns, read):
        paths = sorted(path for folder, pattern in patterns for path in pathlib.Path(folder).glob(pattern))
        random.Random(3).shuffle(paths)
        found, size = [], 0
        for path in paths:
            if size >= megabytes * 1e6:
                break
            try:
                text = read(path)[:100000]
            except OSError:
                continue
            if len(text) > 500:
                found.append(text)
                size += len(text.encode("utf-8", "replace"))
        return found

    def plain(path):
        raw = gzip.open(path).read(200000) if path.suffix == ".gz" else path.read_bytes()[:200000]
        return raw.decode("utf-8", "replace")

    texts = collect([("/usr/share/locale", "*/LC_MESSAGES/*.mo")], translations)
    texts += collect([("/usr/share/doc", "*/copyright"), ("/usr/share/doc", "*/changelog*.gz"),
                      ("/usr/share/man", "*/man*/*.gz"), ("/usr/share/man", "man*/*.gz")], plain)
    codes = collect([("/usr/lib/python3.11", "*.py"), ("/usr/lib/python3.11", "*/*.py"), ("/usr/include", "*.h"),
                     ("/usr/include/c++", "*/*/*"), ("/usr/share/perl", "*/*.pm")],
                    lambda path: plain(path) if path.is_file() else "")
    return texts, codes


def bulk_texts(files, megabytes):
    """Text, code, emoji and random bytes, in pieces of a few kilobytes, and two long ones."""
    if not megabytes:
        return []
    rng = random.Random(5)
    texts = [pathlib.Path(f).read_text(errors="replace") for f in files]
    repository = pathlib.Path(__file__).parents[2]
    codes = [path.read_text(errors="replace") for folder in ("compiler", "runtime", "codegen", "python", "tests")
             for path in sorted((repository / folder).rglob("*")) if path.suffix in (".cpp", ".h", ".py", ".mlir", ".md")]
    more_texts, more_codes = system_texts(megabytes)

    def part(sources):
        source = rng.choice(sources)
        start = rng.randrange(max(1, len(source) - 4000))
        return source[start:start + rng.randrange(1, 4000)]

    def words():
        first, last = rng.choice(SCRIPTS)
        return "".join(chr(rng.randrange(first, last + 1)) if rng.random() < 0.85 else " "
                       for _ in range(rng.randrange(1, 500)))

    makers = [(0.25, lambda: part(texts)), (0.28, lambda: part(more_texts or texts)),
              (0.25, lambda: part(codes + more_codes)),
              (0.05, lambda: "".join(rng.choice(EMOJI) + " " * (rng.random() < 0.2) for _ in range(300))),
              (0.05, lambda: rng.randbytes(rng.randrange(1, 1000)).decode("utf-8", "replace")), (0.10, words),
              (0.02, lambda: "".join(rng.choice(CLUSTERS) for _ in range(rng.randrange(1, 200))))]
    result = []
    for share, make in makers:
        size = 0
        while size < share * megabytes * 1e6:
            result.append(make())
            size += len(result[-1].encode())
    rng.shuffle(result)
    if megabytes >= 10:  # every character that is in use, between others
        points = [c for c in [*range(0x80, 0x33480), *range(0xE0000, 0xE01F0)] if not 0xD800 <= c < 0xE000]
        result += ["".join(f"x{chr(c)} {chr(c)}1" for c in points[i:i + 60]) for i in range(0, len(points), 60)]
    return result + ["".join(result[:200]), " ".join(texts)[:1000000]]
