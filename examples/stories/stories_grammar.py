#!/usr/bin/env python3
"""Children's stories from a grammar, and the judge of whether a sentence belongs to it.

usage: stories_grammar.py generate --stories N [--seed S]
       stories_grammar.py check FILE|- [--min 0.9]

`generate` prints N stories, one paragraph each, separated by blank lines; the same seed gives
the same stories. `check` counts the sentences of a text that the same grammar can derive and
exits 1 when their share is below --min. Both read stories.grammar, whose head explains the
notation. Standard library only.

A template compiles to a list of symbols, and one list serves both directions. To write, the parts
of a story are cast first and the symbols are expanded left to right. To judge, the symbols are
matched left to right by backtracking; each part begins as the set of all rows it might be, and
every mention narrows that set, so `Tom lost her hat.` fails where `Tom lost his hat.` passes.
"""
import argparse
import functools
import pathlib
import random
import re
import sys

SYMBOL = re.compile(r"\{([\w.]+)\}|<(\w+)>|([^{}<>]+)")
BEGIN = "<|endoftext|>"
VOWELS = "aeiouAEIOU"
LONGEST = 12  # sentences in a story


class Template:
    """One sentence or phrase: symbols ("text", s), ("article", s), ("part", role, field) or ("rule", name)."""

    def __init__(self, text, grammar):
        self.symbols = []
        for slot, rule, literal in SYMBOL.findall(text):
            if literal:
                self.symbols.append(("text", literal))
            elif rule:
                self.symbols.append(("rule", rule))
            elif slot in ("a", "a.A"):
                self.symbols.append(("article", slot[-1]))
            else:
                role, _, field = slot.partition(".") if slot.split(".")[0] in grammar.roles else ("hero", ".", slot)
                self.symbols.append(("part", role, field))


class Grammar:
    def __init__(self, source):
        self.classes, self.roles, self.rules, self.plots = {}, {}, {}, {}
        for line in source.splitlines():
            word, _, rest = line.partition(" ")
            if not line or word == "#":
                continue
            elif word == "class":
                name, _, fields = rest.partition(":")
                fields, rows = fields.split(), self.classes.setdefault(name, [])
            elif line.startswith("  "):
                first, *others = (cell.strip() for cell in line.split("|"))
                for name in first.split("/"):
                    rows.append(dict(zip(fields, [name, *others], strict=True)))
            elif word == "role":
                role, _, name = rest.partition(" ")
                self.roles[role] = [self._row(row) for row in self.classes[name]]
            elif word == "rule":
                alternatives, stages = self.rules.setdefault(rest, []), None
            elif word == "plot":
                stages = self.plots.setdefault(rest, [])
            elif word in ("-", "?", "|"):
                if stages is not None and word != "|":
                    alternatives = []
                    stages.append((word == "?", alternatives))
                alternatives.append([Template(part.strip(), self) for part in rest.split("//")])
            else:
                raise SyntaxError(f"stories.grammar: expected a sentence or a heading, found {line!r}")
        # A stage "<intro>" stands for the sentences of that rule, so those are sentences of their own.
        spoken = [s for stages in self.plots.values() for _, alternatives in stages for a in alternatives for s in a]
        for template in [s for s in spoken if self._is_rule(s)]:
            spoken += [s for a in self.rules[template.symbols[0][1]] for s in a]
        self.sentences = list({repr(s.symbols): s for s in spoken if not self._is_rule(s)}.values())

    def _row(self, row):
        """A row with its fields by name, the first one also as "", and each with a capital."""
        row = {"": next(iter(row.values())), **row}
        capital = {field.capitalize(): text[:1].upper() + text[1:] for field, text in row.items() if field}
        return {**row, **capital}

    @staticmethod
    def _is_rule(template):
        return len(template.symbols) == 1 and template.symbols[0][0] == "rule"

    # Writing.

    def story(self, rng):
        while len(sentences := self._tell(rng)) > LONGEST:
            pass
        return " ".join(sentences)

    def _tell(self, rng):
        cast = {role: rng.choice(rows) for role, rows in self.roles.items()}
        while cast["pal"] == cast["hero"]:
            cast["pal"] = rng.choice(self.roles["pal"])
        sentences = []
        for optional, alternatives in self.plots[rng.choice(list(self.plots))]:
            if optional and rng.random() < 0.5:
                continue
            for template in rng.choice(alternatives):
                if self._is_rule(template):
                    for inner in rng.choice(self.rules[template.symbols[0][1]]):
                        sentences.append(self._write(inner, cast, rng))
                else:
                    sentences.append(self._write(template, cast, rng))
        return sentences

    def _write(self, template, cast, rng):
        text = self._expand(template, cast, rng)
        return re.sub(r"([aA])\0 (?=(.))", lambda m: m[1] + ("n " if m[2] in VOWELS else " "), text)

    def _expand(self, template, cast, rng):
        out = []
        for symbol in template.symbols:
            if symbol[0] == "text":
                out.append(symbol[1])
            elif symbol[0] == "article":
                out.append(symbol[1] + "\0")
            elif symbol[0] == "part":
                out.append(cast[symbol[1]][symbol[2]])
            else:
                out.append(self._expand(rng.choice(self.rules[symbol[1]])[0], cast, rng))
        return "".join(out)

    # Judging.

    def derives(self, sentence):
        return any(self._starts(t, sentence) and self._parse(t, sentence) for t in self.sentences)

    @staticmethod
    def _starts(template, text):
        return template.symbols[0][0] != "text" or text.startswith(template.symbols[0][1])

    def _parse(self, template, sentence):
        for end, cast in self._match(template.symbols, 0, sentence, 0, {}):
            if end == len(sentence):
                hero, pal = cast.get("hero"), cast.get("pal")
                if not (hero and pal and len(hero) == 1 and hero == pal):
                    return True
        return False

    def _match(self, symbols, i, text, at, cast):
        """Yields (end, cast) for every way symbols[i:] derive a prefix of text[at:].

        cast maps a role to the rows it may still be.
        """
        if i == len(symbols):
            yield at, cast
            return
        kind, what = symbols[i][:2]
        if kind == "text":
            if text.startswith(what, at):
                yield from self._match(symbols, i + 1, text, at + len(what), cast)
        elif kind == "article":
            end = text.find(" ", at)
            if end > 0 and text[at:end] == what + ("n" if text[end + 1:end + 2] in VOWELS else ""):
                yield from self._match(symbols, i + 1, text, end, cast)
        elif kind == "part":
            forms = {}
            for row in cast.get(what, self.roles[what]):
                forms.setdefault(row[symbols[i][2]], []).append(row)
            for form, rows in forms.items():
                if text.startswith(form, at):
                    yield from self._match(symbols, i + 1, text, at + len(form), {**cast, what: rows})
        else:
            for choice in self.rules[what]:
                for end, inner in self._match(choice[0].symbols, 0, text, at, cast):
                    yield from self._match(symbols, i + 1, text, end, inner)


@functools.cache
def grammar():
    return Grammar(pathlib.Path(__file__).with_name("stories.grammar").read_text(encoding="utf-8"))


def stories(count, seed):
    """Yields `count` stories as strings; equal seeds give equal stories."""
    rng = random.Random(seed)
    for _ in range(count):
        yield grammar().story(rng)


@functools.lru_cache(maxsize=65536)
def is_grammatical(sentence):
    """Whether the grammar derives exactly this sentence, punctuation and capitals included."""
    return grammar().derives(sentence)


def complete_sentences(text):
    """The sentences of a text that reach their full stop outside quotes.

    Blank lines and begin tokens part the stories. A story that breaks off in the middle of a sentence
    loses that sentence, unless a begin token follows, for then it was not cut short but ends wrongly.
    """
    out, rest = [], ""
    for chapter in re.split(rf"({re.escape(BEGIN)})|\n\s*\n", text):
        if chapter == BEGIN:
            out += [rest] if rest else []
            rest = ""
        elif chapter:
            sentences, rest = split_sentences(" ".join(chapter.split()))
            out += sentences
    return out


def split_sentences(chapter):
    """The sentences of one story and the unfinished rest, which is "" where the last one is complete."""
    out, start, quoted = [], 0, False
    for at, char in enumerate(chapter):
        quoted ^= char == '"'
        closes = char in ".!?" or char == '"' and chapter[at - 1:at] in tuple(".!?")
        if closes and not quoted and re.match(r'$| ["A-Z]', chapter[at + 1:at + 3]):
            sentence = chapter[start:at + 1].strip()
            if at + 1 == len(chapter) and re.fullmatch(r'"[^"]*"', sentence):
                return out, sentence  # the speaker's name was still to come
            out.append(sentence)
            start = at + 1
    rest = chapter[start:].strip()
    if re.search(r'[.!?] ["A-Z]', rest):  # sentences behind a quote that was never closed
        return [*out, rest], ""
    return out, rest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="print stories")
    generate.add_argument("--stories", type=int, default=10)
    generate.add_argument("--seed", type=int, default=0)
    check = commands.add_parser("check", help="count grammatical sentences")
    check.add_argument("file", help="a text file, or - for standard input")
    check.add_argument("--min", type=float, default=0.9, help="least share of grammatical sentences (default 0.9)")
    check.add_argument("--show", action="store_true", help="print the sentences that are not grammatical")
    args = parser.parse_args()

    if args.command == "generate":
        print("\n\n".join(stories(args.stories, args.seed)))
        return 0
    text = sys.stdin.read() if args.file == "-" else pathlib.Path(args.file).read_text(encoding="utf-8")
    sentences = complete_sentences(text)
    good = sum(map(is_grammatical, sentences))
    if args.show:
        for sentence in sentences:
            if not is_grammatical(sentence):
                print(f"not grammatical: {sentence}")
    print(f"{good} of {len(sentences)} sentences are grammatical")
    return 0 if sentences and good >= args.min * len(sentences) else 1


if __name__ == "__main__":
    sys.exit(main())
