#!/usr/bin/env python3
"""Renders chat templates here and by transformers' own code, and compares the bytes.

usage: compare_with_transformers.py RENDERER TEMPLATE_OR_FOLDER... [--random N] [--verbose]

RENDERER is kiln-render-chat. Templates are .jinja files, tokenizer_config.json files, GGUF files (with
the package gguf), zip files (wheels) that hold them, or folders of these. Every template renders every conversation
below; where Python raises, an error is expected here too. --random compares N small random templates
on top. Needs transformers and jinja2.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import datetime

try:
    from transformers.utils import chat_template_utils
except ImportError:
    sys.exit("SKIPPED: compare_with_transformers.py needs transformers and jinja2")

NOW = 1753747200  # 2025-07-29 00:00
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Current weather at a place.\nUse \"metric\" units.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city, e.g. <Zürich> & 東京"},
        "days": {"type": "integer", "minimum": 1, "default": 3},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                  "required": ["lat"]}},
        "required": ["city"]},
    "return": {"type": "object", "description": "the weather"}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Searches.", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, id="a1b2c3d4e"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


CONVERSATIONS = {
    "one": {"messages": [user("Hello!")], "add_generation_prompt": True},
    "one, no prompt": {"messages": [user("Hello!")]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, user(" What is a kiln?\n"), assistant("An oven."),
                            user("Thanks")], "add_generation_prompt": True},
    "turns": {"messages": [user("a"), assistant("b"), user("c"), assistant("<think>\nhm\n</think>\n\nd"), user("e")],
              "add_generation_prompt": True},
    "ends with assistant": {"messages": [user("a"), assistant("  b "), user("c"), assistant("d")]},
    "empty": {"messages": [], "add_generation_prompt": True},
    "empty contents": {"messages": [{"role": "system", "content": ""}, user(""), assistant(""), user("")],
                       "add_generation_prompt": True},
    "unicode": {"messages": [{"role": "system", "content": "Ωμέγα"}, user("naïve 東京 👩‍👩‍👧 \u00a0ß \t'\"\\"), assistant("שלום\u2028x"),
                             user("<|im_end|>{{ x }}{% raw %}")], "add_generation_prompt": True},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image"},
                                                        {"type": "text", "text": "here"}]}], "add_generation_prompt": True},
    "tools": {"messages": [user("Weather in Bern?")], "tools": [WEATHER, SEARCH], "add_generation_prompt": True},
    "tools, system": {"messages": [{"role": "system", "content": "Use tools."}, user("Weather in Bern?")],
                      "tools": [WEATHER], "add_generation_prompt": True, "enable_thinking": False},
    "call": {"messages": [user("Weather?"), assistant("", tool_calls=[call("get_weather", {"city": "Bern", "days": 2, "place": {"lat": 46.95, "lon": -7.0}, "tags": ["ä", None, True]})]),
                          {"role": "tool", "name": "get_weather", "tool_call_id": "a1b2c3d4e", "content": "{\"t\": 21.5}"}],
             "tools": [WEATHER, SEARCH], "add_generation_prompt": True},
    "call, answered": {"messages": [{"role": "system", "content": "Use tools."}, user("Weather?"),
                                    {"role": "assistant", "content": None, "tool_calls": [call("search", {}), call("get_weather", {"city": "Bern"}, "b1b2c3d4e")]},
                                    {"role": "tool", "name": "search", "tool_call_id": "a1b2c3d4e", "content": "none"},
                                    {"role": "tool", "name": "get_weather", "tool_call_id": "b1b2c3d4e", "content": "21"},
                                    assistant("It is 21 degrees."), user("And tomorrow?")],
                       "tools": [WEATHER, SEARCH], "add_generation_prompt": True},
    "call, text arguments": {"messages": [user("Weather?"), assistant("Let me see.", tool_calls=[call("get_weather", "{\"city\": \"Bern\"}")]),
                                          {"role": "tool", "name": "get_weather", "tool_call_id": "a1b2c3d4e", "content": "21"},
                                          assistant("21")], "tools": [WEATHER]},
    "reasoning": {"messages": [user("2+2?"), assistant("4", reasoning_content="Two and two."), user("3+3?"),
                               assistant("6", thinking="Three and three.")], "enable_thinking": True,
                  "add_generation_prompt": True},
    "documents": {"messages": [user("What does it say?")], "documents": [{"title": "Kilns", "text": "They are hot.", "doc_id": 1}],
                  "add_generation_prompt": True},
    "developer": {"messages": [{"role": "developer", "content": "Speak plainly."}, user("Hi")], "reasoning_effort": "low",
                  "model_identity": "You are a test.", "add_generation_prompt": True},
    "thinking off": {"messages": [user("Hi")], "enable_thinking": False, "thinking": False, "add_generation_prompt": True},
    "strange roles": {"messages": [assistant("first"), assistant("second"), {"role": "alien", "content": "?"}]},
    "numbers": {"messages": [user("n"), assistant("", tool_calls=[call("f", {"a": 1e22, "b": 12345678901234567890123, "c": 0.1, "d": -0.0, "e": 1e-7, "f": 100.0, "g": True, "h": None})])],
                "tools": [SEARCH]},
}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc)


def expected(template, conversation):
    """(text, None) or (None, what Python raised)."""
    arguments = dict(conversation)
    messages = arguments.pop("messages")
    try:
        rendered = chat_template_utils.render_jinja_template(
            conversations=[messages], tools=arguments.pop("tools", None), documents=arguments.pop("documents", None),
            chat_template=template, add_generation_prompt=arguments.pop("add_generation_prompt", False),
            **{**TOKENS, **arguments})
        return (rendered[0] if isinstance(rendered, tuple) else rendered)[0], None
    except Exception as error:  # noqa: BLE001, whatever a template can raise
        return None, f"{type(error).__name__}: {error}"


class Renderer:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def templates_of(path):
    """(name, source) of every template in a file or folder."""
    if path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file() and (child.suffix in (".jinja", ".gguf", ".whl") or child.name == "tokenizer_config.json"):
                yield from templates_of(child)
    elif path.suffix == ".gguf":
        from gguf import GGUFReader
        field = GGUFReader(path).get_field("tokenizer.chat_template")
        if field:
            yield path.name, field.contents()
    elif path.name == "tokenizer_config.json":
        template = json.loads(path.read_text()).get("chat_template")
        if isinstance(template, str):
            yield str(path), template
        for entry in template if isinstance(template, list) else []:
            yield f"{path}:{entry['name']}", entry["template"]
    else:
        yield path.name, path.read_text()


def compare(renderer, name, source, verbose, conversations):
    """(equal, raised by both, problems)."""
    opened = renderer.ask(template=source, variables=TOKENS)
    if opened["status"] != 0:
        error = opened["error"]
        try:
            chat_template_utils._compile_jinja_template(source)
        except Exception as raised:  # noqa: BLE001
            return 0, 1, []
        return 0, 0, [f"{name}: refused: {error}"]
    equal, both, problems = 0, 0, []
    for label, conversation in conversations.items():
        text, raised = expected(source, conversation)
        found = renderer.ask(conversation=json.dumps(conversation, ensure_ascii=len(label) % 2 == 0), now=NOW)
        if raised is not None and "error" in found:
            both += 1
            if verbose:
                print(f"  {name} / {label}: {raised} | {found['error']}")
        elif raised is None and found.get("text") == text:
            equal += 1
        else:
            got = found.get("text", f"error {found.get('error')}")
            want = text if raised is None else f"raised {raised}"
            at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
            problems.append(f"{name} / {label}: at {at}\n    expected {want[max(0, at - 40):at + 60]!r}\n    found    {got[max(0, at - 40):at + 60]!r}")
    return equal, both, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("renderer")
    parser.add_argument("paths", nargs="*", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    chat_template_utils.datetime = Clock
    renderer = Renderer(args.renderer)
    whole = total_equal = total_both = count = 0
    problems = []
    for path in args.paths:
        for name, source in templates_of(path):
            equal, both, found = compare(renderer, name, source, args.verbose, CONVERSATIONS)
            count += 1
            whole += not found
            total_equal += equal
            total_both += both
            problems += found
            print(f"{'equal' if not found else 'DIFFERS':8} {equal:3} texts, {both:2} errors on both sides  {name}")
    for problem in problems:
        print(problem)
    print(f"{whole} of {count} templates agree everywhere: {total_equal} equal texts, {total_both} errors on both sides, "
          f"{len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
