#!/usr/bin/env python3
"""Writes golden/snippets.json and golden/conversations.json: what transformers' own code makes of small
templates, one for each statement, operator, filter, test and method, and of the templates in golden/.

usage: make_golden.py    (needs transformers and jinja2; the results are kept in the repository)
"""
import json
import pathlib

import compare_with_transformers as compare

HERE = pathlib.Path(__file__).resolve().parent

VARIABLES = {
    "messages": [{"role": "user", "content": " Hi\u00a0"}, {"role": "assistant", "content": "Ünïcode 東京 👍"}],
    "numbers": [3, 1, 2, 10, -5], "words": ["pear", "Apple", "fig", "apple"], "empty": [], "text": "The quick  brown\nfox\r\njumps\n",
    "user": {"name": "Ada", "age": 36, "address": {"city": "Bern", "zip": [3000, 3001]}, "items": "own"},
    "people": [{"name": "Bo", "age": 7, "on": True}, {"name": "al", "age": 30, "on": False}, {"name": "Cy", "age": 7}],
    "big": 123456789012345678901234567890, "f": 0.1, "none": None, "yes": True, "html": "<a href='x'>&\"</a>",
    "nested": {"b": [1, 2.5, {"z": None}], "a": {"y": "ß", "x": "\u007f\u0001\t\\\"/"}, "é": False},
}

EXPRESSIONS = """
1 + 2 * 3 - 4 // 3 % 2 | 7 // -2 | -7 // 2 | -7 % 3 | 7 % -3 | 2 ** 10 | 7 / 2 | 6 / 2 | 1.5 + 1 | 10 % 3.5 | -1.5 // 1 | 1e3 | 1_000 | 0x1F | 0b11 | 0o17
1e22 | 1e16 | 1e15 | 123456789.125 | 0.1 + 0.2 | 1e-5 | 0.0001 | -0.0 | 5e-324 | 1.7976931348623157e308 | 100.0 | 3.0 * 2 | big | -3 | +3 | - 2 ** 2
"a" "b" ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'x'] | "ab" * 3 | [1] * 2 + [2] | (1,) + (2, 3) | () | (1,) | [] | {} | {'a': 1, 2: [none, true]} | {'a': 1}['a'] | {1: 'x'}[1]
"it's" ~ ["it's", 'say "x"', 'both \\' and "', "\\n\\t\\\\\\x01\\u00e9\\u2028"] | ["\\x7f\\xa0é"] | 'a\\x41\\u0042\\103\\q'
1 < 2 < 3 | 1 < 3 < 2 | 1 == 1.0 | true == 1 | 'a' < 'b' | [1, 2] < [1, 3] | (1, 'a') <= (1, 'a') | 'é' > 'z' | none == none | [1] == (1,) | {'a': 1} == {'a': 1.0}
1 in numbers | 99 not in numbers | 'ick' in text | 'name' in user | 'x' in {} | '' in '' | 3 in (1, 2) | not 1 in [1]
true and 'x' | 0 or 'y' | '' and 1 | not '' | 1 if false else 2 | 1 if true | none or false or [] | (1 if 0) is undefined
numbers[0] | numbers[-1] | numbers[99] is defined | numbers[1:3] | numbers[::-1] | numbers[-2:] | numbers[:-1:2] | text[4:9] | text[::-2] | text[-3] | messages[1].content[2:9] | messages[1].content[-1] | (1,2,3)[1:] | messages[1].content[::-1]
user.name | user['age'] | user.address.city | user.address.zip[1] | user.address.zip.0 | user.missing is defined | user['missing'] is undefined | user.items is string | user['items'] | user.get('name') | user.get('no') | user.get('no', 5) | missing is defined | none is none
user.keys() | list | x
user.keys() | user.address.values() | user.address.items() | user.items() | length | user.copy() == user | range(3)|list | range(5, 0, -2)|list | range(0)|list | range(2)[1]
text.split() | text.split(' ') | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | 'a,b,c'.rsplit(',', 1) | ' a  b  c '.split(none, 1) | ' a  b c '.rsplit(none, 1) | 'a,b,c'.split(sep=',', maxsplit=1) | text.splitlines() | text.splitlines(true) | ''.split() | ''.split(',')
' x '.strip() | 'xxaxx'.strip('x') | ' x '.lstrip() ~ '|' | ' x '.rstrip() ~ '|' | 'xyaz'.lstrip('yx') | 'abc'.rstrip('bc') | messages[0].content.strip() | 'éaé'.strip('é') | '\\x1c a\\u3000'.strip()
'ABC é ǅ ß'.lower() | 'abc é ß ŉ ﬁ'.upper() | 'hELLO wORLD'.capitalize() | "they're bill's".title() | 'aBc É'.swapcase() | 'ΟΔΟΣ ΑΣ.'.lower() | 'İ'.lower()
'abc'.startswith('ab') | 'abc'.endswith(('x', 'bc')) | 'abc'.startswith('b', 1) | 'abcabc'.find('c') | 'abc'.find('x') | 'abcabc'.rfind('b') | 'aéb'.find('b') | 'abcabc'.count('bc') | 'abc'.index('c') | 'abc'.count('') | 'aaa'.replace('a', 'b', 2) | 'abc'.replace('', '-') | '-'.join(['a', 'b']) | 'a-b-c'.partition('-') | 'a-b-c'.rpartition('-') | 'abc'.partition('x')
'abc'.center(8, '*') | 'ab'.center(5) ~ '|' | '7'.zfill(3) | '-7'.zfill(4) | 'ab'.ljust(4, '.') | 'ab'.rjust(4) | 'abc'.removeprefix('ab') | 'abc'.removesuffix('bc') | '12'.isdigit() | 'a1'.isalnum() | 'ab'.isalpha() | ' '.isspace() | 'ab'.islower() | 'AB1'.isupper() | 'Ab Cd'.istitle() | 'é'.isascii() | '5'.isnumeric() | '5'.isdecimal()
[1, 2, 1].count(1) | [1, 2].index(2) | (1, 1).count(1)
'{} {}'.format(1, 'a') | '{1}{0}'.format('a', 'b') | '{x:>5}|{y:<4}|{z:^5}|'.format(x=1, y='b', z='c') | '{:05.1f} {:,} {:x} {:#b} {:+d} {:e}'.format(3.14159, 1234567, 255, 5, 3, 12345.678) | '{0[name]} {0[address][zip][1]}'.format(user) | '{{}} {!r}'.format('x') | '{:.3}'.format('abcdef') | '{:*^9}'.format('mid') | '{:%}'.format(0.25) | '{:g}'.format(1e10)
'%s is %d years, %.2f, %5s|%-5s|%05d %x %r %%' % ('Ada', 36, 1.5, 'a', 'b', 42, 255, 'q') | '%s' % 'x' | '%(a)s-%(b)03d' % {'a': 1, 'b': 2} | '%s' % [1] | '%+d %e %g %i' % (5, 12345.6789, 0.0001, 3.9) | '%5.1f|' % 2.25 | '%s %s' | format(1, 'b')
"""

FILTERS = """
-5|abs | -1.5|abs | 'hello WORLD'|capitalize | 'é'|capitalize | 'x'|center(5) | missing|default('d') | ''|default('d') | ''|default('d', true) | none|default('d') | missing|d | missing|default
user.address|dictsort | {'b': 1, 'A': 2}|dictsort | {'b': 1, 'A': 2}|dictsort(true) | {'b': 1, 'A': 2}|dictsort(false, 'value') | {'b': 1, 'A': 2}|dictsort(by='value', reverse=true)
html|escape | html|e ~ '<' | (html|safe) + '<' | '<' + (html|safe) | html|safe | ('<b>'|safe) % ('<',) | ('<%s>'|safe) % ('<',) | (html|safe)|upper | (html|safe)|escape | ('<'|safe) is escaped
numbers|first | numbers|last | empty|first is undefined | 'abc'|first | 'abc'|last | '3.7'|float | 'x'|float | 'x'|float(1.5) | '42'|int | '42.9'|int | 'x'|int | 'x'|int(7) | '0x1f'|int(base=16) | '101'|int(0, 2) | 3.9|int | true|int | ' 12 '|int | '1e3'|float | none|int
'%s %s'|format('a', 1) | text|indent | text|indent(2, true) | 'a\\n\\nb'|indent(2, blank=true) | 'a\\nb'|indent('>> ') | 'a\\nb'|indent(width=3, first=true)
user|items|list | missing|items|list | numbers|join(',') | words|join | people|join(', ', attribute='name') | [1, none, true]|join('-') | missing|join(',') | 'abc'|join('.')
numbers|length | text|length | messages[1].content|length | user|count | missing|length | ''|length
user|list | 'aé'|list | missing|list | (1, 2)|list | user.values()|list|length
'ABC'|lower | 12|lower | 'ab'|upper | true|upper | words|map('upper')|list | people|map(attribute='name')|list | people|map(attribute='on', default='?')|list | people|map('length')|list | numbers|map('string')|join('') | words|map('replace', 'p', 'b')|list | [1.25, 2.35]|map('round', 1)|list | people|map(attribute='address.city', default=0)|list | text
numbers|max | numbers|min | words|max | words|min | words|max(true) | people|max(attribute='age') | empty|min is undefined | words|min(case_sensitive=true)
numbers|select('odd')|list | numbers|reject('odd')|list | [0, 1, '']|select|list | [0, 1, none]|reject|list | numbers|select('greaterthan', 2)|list | words|select('equalto', 'fig')|list | words|select('in', ['fig', 'pear'])|list
people|selectattr('on')|map(attribute='name')|list | people|rejectattr('on')|list|length | people|selectattr('age', 'equalto', 7)|list|length | people|selectattr('on', 'defined')|list|length | people|rejectattr('age', 'lt', 10)|map(attribute='name')|join | people|selectattr('name', 'in', ['Bo'])|list|length | missing|selectattr('x')|list
'aXbX'|replace('X', '-') | 'aXbX'|replace('X', '-', 1) | 1121|replace(1, 'one') | 'abc'|reverse | numbers|reverse|list | messages[1].content|reverse
2.5|round | 3.5|round | 2.345|round(2) | 42.55|round(1, 'floor') | 42.51|round(1, 'ceil') | 7|round | 1234.5|round(-2) | -2.5|round | 0.15|round(1) | 2.675|round(2)
numbers|batch(2)|list | numbers|batch(2, 'x')|list | numbers|slice(2)|list | numbers|slice(3, 'x')|list
numbers|sort | numbers|sort(true) | words|sort | words|sort(case_sensitive=true) | people|sort(attribute='age')|map(attribute='name')|list | people|sort(attribute='age,name')|map(attribute='name')|list | people|sort(attribute='name', reverse=true)|map(attribute='name')|list | words|sort(reverse=true)
12|string ~ none|string | numbers|sum | people|sum(attribute='age') | [[1], [2]]|sum(start=[]) | 'hello world-foo (bar'|title | "they're"|title | numbers|tojson | nested|tojson | nested|tojson(indent=2) | nested|tojson(ensure_ascii=true) | nested|tojson(sort_keys=true) | nested|tojson(separators=(',', ':')) | '</script>'|tojson | [1.0, 1e100, -0.0, 1e16]|tojson | []|tojson(indent=1) | {}|tojson | {1: 2, true: none}|tojson | big|tojson | (1, 2)|tojson | nested|tojson(indent=0) | 'é👍'|tojson(true) | nested|tojson(indent='\\t')
' x '|trim | 'xxaxx'|trim('x') | missing|trim | 12|trim | 'foo bar baz qux'|truncate(9) | 'foo bar baz qux'|truncate(9, true) | 'foo bar baz qux'|truncate(11) | 'foo bar baz qux'|truncate(11, false, '..', 0) | words|unique|list | words|unique(true)|list | people|unique(attribute='age')|map(attribute='name')|list | 'one two,three'|wordcount
people|groupby('age')|length | people|groupby('age')|map('first')|list | (people|groupby('age'))[0].grouper | (people|groupby('age'))[0].list|length | (people|groupby('on', default=0))|map(attribute='grouper')|list
user|attr('name') is defined
"""

TESTS = """
missing is defined | yes is defined | missing is undefined | none is none | 0 is none | yes is boolean | 1 is boolean | yes is true | 1 is true | false is false | 0 is false | 1 is integer | true is integer | 1.0 is integer | big is integer | 1.0 is float | 1 is float | 1 is number | true is number | 'x' is number | 'x' is string | 1 is string | user is mapping | [] is mapping | [] is sequence | 'x' is sequence | user is sequence | 1 is sequence | missing is sequence | [] is iterable | 'x' is iterable | 1 is iterable | missing is iterable | none is iterable | range is callable | 1 is callable | user.get is callable
3 is odd | 4 is odd | 4 is even | 9 is divisibleby 3 | 9 is divisibleby(num=2) | 'ab' is lower | 'Ab' is lower | 'AB' is upper | none is sameas none | 1 is sameas 1 | 1 is in [1, 2] | 1 is in [2] | 'a' is in 'abc' | 1 is equalto 1 | 1 is eq 2 | 1 is ne 2 | 1 is lt 2 | 1 is le 1 | 2 is gt 1 | 1 is ge 2 | 1 is lessthan 2 | 2 is greaterthan 1 | 1 is not none | not 1 is none | 'upper' is filter | 'nope' is filter | 'odd' is test | 'nope' is test | (numbers|select('odd')) is iterable | (numbers|select('odd')) is sequence | user.items() is sequence | user.items() is iterable
"""

STATEMENTS = [
    "a\n{% if yes %}\n  b\n{% endif %}\nc\n", "  {% if yes %}x{% endif %}\n  {{ 1 }}\n", "a  {%- if yes -%}  b  {%- endif %}  c", "a\n  {%+ if yes %}b{% endif +%}\nc",
    "{% if false %}1{% elif none %}2{% elif yes %}3{% else %}4{% endif %}", "a {# comment #}\nb\n  {#- x -#}  c {#+ y +#}\nd", "{% raw %}{{ x }} {% if %}{% endraw %}|{%- raw -%} a {%- endraw -%} b",
    "{% for n in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for n in numbers if n > 1 %}{{ loop.index }}/{{ loop.length }}:{{ n }}{{ ',' if not loop.last }}{% else %}none{% endfor %}", "{% for n in empty %}x{% else %}none{{ yes }}{% endfor %}", "{% for n in numbers if n > 99 %}x{% else %}none{% endfor %}",
    "{% for k, v in user.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in user %}{{ k }} {% endfor %}", "{% for c in 'aé👍' %}[{{ c }}]{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in missing %}x{% endfor %}|",
    "{% for n in numbers %}{% if n == 2 %}{% continue %}{% endif %}{% if n == 10 %}{% break %}{% endif %}{{ n }}{% endfor %}", "{% for a in [1, 2] %}{% for b in [1, 2, 3] %}{% if b == 2 %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{{ loop.index }}{% endfor %}", "{% for p in people %}{{ loop.changed(p.age) }} {% endfor %}",
    "{% set x = 1 %}{% for n in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(n=0, s='') %}{% for n in numbers %}{% set ns.n = ns.n + n %}{% set ns.s = ns.s ~ n %}{% endfor %}{{ ns.n }} {{ ns.s }} {{ ns.missing is defined }} {{ ns }}",
    "{% if yes %}{% set y = 5 %}{% endif %}{{ y }}{% if false %}{% set numbers = 1 %}{% endif %}{{ numbers }}", "{% for n in [1] %}{{ tools2 }}{% endfor %}{% set tools2 = 3 %}{{ tools2 }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set ns = namespace() %}{% set ns.a, c = 3, 4 %}{{ ns.a }}{{ c }}",
    "{% set x %}\n  captured {{ 1 + 1 }}\n{% endset %}[{{ x }}]{% set y | upper | replace('A', 'o') %}banana{% endset %}{{ y }}", "{% filter upper %}abc {{ 'x' }}{% endfilter %}{% filter replace('a', 'b') | trim %} aa {% endfilter %}",
    "{% with a = 1, b = yes %}{{ a }}{{ b }}{% set c = 3 %}{{ c }}{% endwith %}{{ a is defined }}{{ c is defined }}", "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}",
    "{% macro outer(x) %}{% macro inner(y) %}{{ x }}{{ y }}{% endmacro %}{{ inner(2) }}{% endmacro %}{{ outer(1) }}", "{% macro fact(n) %}{{ 1 if n < 2 else n * (fact(n - 1)|int) }}{% endmacro %}{{ fact(10) }}", "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ yes }}{% endcall %}",
    "{% macro list_of(xs) %}{% for x in xs %}{{ caller(x, loop.index) }};{% endfor %}{% endmacro %}{% call(x, i=0) list_of(words) %}{{ i }}={{ x }}{% endcall %}", "{% set v = 1 %}{% macro show() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ show() }}", "{% generation %}a{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}", "{% print 1, 2 %}",
    "{% for m in messages %}{{ bos_token + m.role + ': ' + m['content'] | trim + eos_token }}{% endfor %}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %b %d %y %j %I %p %w %-d') }}", "{{ dict(a=1, b=2) }}{{ dict([('x', 1)], y=2) }}{{ dict() }}", "{% set d = {'a': 1, 'a': 2, 'b': 3} %}{{ d }}",
    "{% set s = namespace(g=numbers|select('odd')) %}{{ s.g|list }}{{ s.g|list }}", "{% if (empty|select) %}true{% endif %}{% if empty %}x{% endif %}", "{{ 1 }}\n{{ 2 }}\n\n{% if yes %}\n\n{% endif %}\n", "\n\n{{ 1 }}\n\n\n", "a\r\nb\rc\n", "{{ '\n' ~ \"\r\n\" }}", "{% if 'x' is nope %}{% endif %}" if False else "{{ none }}{{ true }}{{ missing }}",
    "{% if false %}{{ 1|nofilter }}{% endif %}ok", "{% set x = 'a' if false %}{{ x is defined }}", "{%- for m in messages -%}\n  {{- m.role -}}\n{%- endfor -%}\n", "{{ messages | length > 1 and messages[0].role == 'user' }}", "{{ (messages | first).role ~ (messages | last)['role'] }}", "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}",
]

ERRORS = [
    "{{ raise_exception('No: ' ~ 1) }}", "{{ missing.x }}", "{{ 'a' + 1 }}", "{{ none.x.y }}", "{{ missing + 1 }}", "{{ 1 / 0 }}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{{ 'a' < 1 }}", "{{ [1, 'a']|sort }}", "{{ numbers.append(1) }}", "{{ user.pop('x') }}", "{{ missing() }}", "{{ 5() }}", "{% set a, b = [1] %}", "{% set user.x = 1 %}",
    "{{ missing|tojson }}", "{{ range|tojson }}", "{{ 'x'.index('y') }}", "{{ ''.split('') }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "{{ (numbers|select('odd'))|length }}", "{{ '%d' % 'x' }}", "{{ '%s %s' % 'x' }}", "{{ '{} {}'.format(1) }}", "{{ range(1000000) }}", "{{ 'a' in 5 }}", "{{ 1 in 'a' }}", "{{ numbers[1:2:0] }}", "{{ user|dictsort(by='x') }}", "{{ -'a' }}", "{% if true %}{{ 1|nofilter }}{% endif %}", "{{ {[]: 1} }}", "{{ missing < 1 }}", "{{ ''.join([1]) }}", "{{ 'x'|batch(0)|list if false else missing[0] }}",
]


def cases():
    for block in (EXPRESSIONS, FILTERS, TESTS):
        for line in block.strip().splitlines():
            for part in line.split(" | "):
                yield "{{ " + part.strip() + " }}"
    yield from STATEMENTS
    yield from ERRORS


def golden(template, conversation):
    text, raised = compare.expected(template, conversation)
    return {"error": raised.split(":")[0]} if raised is not None else {"text": text}


def main():
    compare.chat_template_utils.datetime = compare.Clock
    snippets = [{"template": template, **golden(template, VARIABLES)} for template in dict.fromkeys(cases())]
    folder = HERE / "golden"
    folder.mkdir(exist_ok=True)

    def write(name, value):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")

    write("snippets.json", {"now": compare.NOW, "variables": compare.TOKENS, "conversation": VARIABLES, "snippets": snippets})
    whole = {path.name: {label: golden(path.read_text(), conversation) for label, conversation in compare.CONVERSATIONS.items()}
             for path in sorted(folder.glob("*.jinja"))}
    write("conversations.json", {"now": compare.NOW, "variables": compare.TOKENS, "conversations": compare.CONVERSATIONS, "templates": whole})
    errors = sum("error" in snippet for snippet in snippets)
    print(f"{len(snippets)} snippets, {errors} of them errors; {len(whole)} templates")


if __name__ == "__main__":
    main()
