// Templates, sections and conversations that nobody vouches for: each gives an error that says what
// is wrong, or a text within the limits; never a crash, and never a run without end.

#include "CompiledChat.h"

#include <gtest/gtest.h>

#include <random>

using kiln::test::CompiledChat;

namespace {

const char kTemplate[] = R"({% macro m(x, y=2) %}{{ x }}{{ y|default('z') }}{% endmacro %}
{% set ns = namespace(a=[], b={}) %}
{% for message in messages if message.role != 'x' %}{{ loop.index ~ m(message.content[1:], y=1.5) }}
{% set ns.a = ns.a + [message.role|upper] %}{% if loop.last %}{% continue %}{% endif %}
{% else %}none{% endfor %}{% set t %}{{ ns.a|join(',') }}{% endset %}
{{ t.split(',')|map('length')|list }}{{ '%5.2f %s' % (1.5, ns.a|tojson(indent=1)) }}{{ '{:>4}'.format(7) }})";
const char kConversation[] =
    R"({"messages": [{"role": "user", "content": "hé\u00e9\ud83d\udc4d", "n": [1, -2.5e3, true, null]}, {"role": "x"}]})";

TEST(HostileChat, EveryPrefixOfATemplateCompilesOrFails) {
  std::string source = kTemplate;
  for (size_t size = 0; size <= source.size(); ++size) {
    CompiledChat chat(source.substr(0, size));
    if (chat.chat)
      chat.render(kConversation);
    else
      EXPECT_NE(chat.error, "");
  }
}

TEST(HostileChat, EveryPrefixOfASectionIsAnError) {
  CompiledChat good(kTemplate);
  ASSERT_EQ(good.error, "");
  for (size_t size = 0; size < good.section.size(); ++size) {
    std::vector<uint8_t> prefix(good.section.begin(), good.section.begin() + size);
    prefix.reserve(1);
    kiln_chat_t *chat = nullptr;
    kiln_error error;
    ASSERT_NE(kiln_chat_open_memory(prefix.data(), size, &chat, &error), KILN_OK) << size;
  }
}

TEST(HostileChat, DamagedSectionsOpenAndRunOrFailCleanly) {
  CompiledChat good(kTemplate);
  std::mt19937 random(5);
  kiln_chat_options options = {};
  options.max_steps = 20000;
  options.max_memory_bytes = 1 << 20;
  int ran = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> section = good.section;
    for (int flips = 1 + round % 3; flips > 0; --flips)
      section[random() % section.size()] ^= 1u << random() % 8;
    kiln_chat_t *chat = nullptr;
    if (kiln_chat_open_memory(section.data(), section.size(), &chat, nullptr) != KILN_OK)
      continue;
    char text[256];
    size_t size;
    ran += kiln_chat_render(chat, kConversation, sizeof kConversation - 1, &options, text,
                            sizeof text, &size, nullptr) == KILN_OK;
    kiln_chat_close(chat);
  }
  EXPECT_GT(ran, 0);
}

TEST(HostileChat, EveryPrefixOfAConversationIsAnError) {
  CompiledChat chat("{{ messages|tojson }}");
  std::string whole = kConversation;
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(chat.render(whole.substr(0, size)).rfind("1: conversation, byte", 0), 0u) << size;
  EXPECT_EQ(chat.render(whole)[0], '[');
}

TEST(HostileChat, ConversationsThatAreNoneAreRefused) {
  CompiledChat chat("{{ messages|length }}");
  for (const char *bad : {"",     "nul",           "{}",        "5",          "{\"messages\": 1}",
                          "[1]",  "[\"\\ud800\"]", "[\"\\x\"]", "[\"\x01\"]", "[\"\xC3\"]",
                          "[01]", "[1.]",          "[1e]",      "[-]",        "[+1]",
                          "[1]]", "{\"a\" 1}",     "{a: 1}",    "[1,]",       "[{\"role\": NaN}]"})
    EXPECT_EQ(chat.render(bad).rfind("1: conversation", 0), 0u) << bad << " " << chat.render(bad);
  EXPECT_EQ(chat.render("[]"), "0");
  EXPECT_NE(chat.render(std::string(100000, '[')).find("nested deeper"), std::string::npos);
  EXPECT_EQ(chat.render("{\"messages\": [], \"messages\": [{}]}"), "1"); // the last one counts
}

TEST(HostileChat, LimitsEndWhatWouldNotEnd) {
  kiln_chat_options options = {};
  options.max_steps = 1000000;
  options.max_memory_bytes = 8 << 20;
  options.max_output_bytes = 1 << 20;
  for (const char *source :
       {"{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(9999) %}{% endfor "
        "%}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s "
        "+ ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor "
        "%}{{ ns.s }}",
        "{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns }}", "{{ 'x' * 99999999999 }}",
        "{{ [1] * 99999999999 }}", "{{ '%999999d' % 1 * 99 }}", "{{ 'ab'|center(99999999999) }}",
        "{{ [1]|tojson(indent=99999999) }}", "{{ ('a' * 100000)|replace('', 'b' * 100000) }}",
        "{{ 'x'|indent(99999999999) }}"}) {
    CompiledChat chat(source);
    ASSERT_EQ(chat.error, "") << source;
    std::string text = chat.render("[]", options);
    EXPECT_EQ(text.rfind("73: ", 0), 0u) << source << ": " << text.substr(0, 200);
  }
}

TEST(HostileChat, WhatIsNotSupportedIsNamedWithItsLine) {
  auto expectRefusal = [](const char *source, const char *message) {
    EXPECT_EQ(CompiledChat(source).error, std::string("chat template: ") + message) << source;
  };
  expectRefusal("a\n{{ x|urlize }}", "line 2: the filter 'urlize' is not supported");
  expectRefusal("{{ x|nothing }}", "line 1: there is no filter named 'nothing'");
  expectRefusal("{{ x is nothing }}", "line 1: there is no test named 'nothing'");
  expectRefusal("\n\n{{ x.encode('utf-8') }}", "line 3: the method 'encode' is not supported");
  expectRefusal("{{ cycler('a') }}", "line 1: the function 'cycler' is not supported");
  expectRefusal("{% include 'x' %}", "line 1: the statement 'include' is not supported");
  expectRefusal("{% for a in b recursive %}{% endfor %}",
                "line 1: recursive loops are not supported");
  expectRefusal("{{ f(*a) }}", "line 1: arguments with * and ** are not supported");
  expectRefusal("{{ x|map(y) }}",
                "line 1: the filter 'map' with a name that is computed is not supported");
  expectRefusal("{% if x %}", "line 1: expected 'endif' before the end of the template");
  expectRefusal("{{ 'a }}", "line 1: the string has no end");
  expectRefusal("{# a", "line 1: the comment has no end");
  expectRefusal("{{ (1] }}", "line 1: unexpected ']'");
  expectRefusal("{% break %}", "line 1: 'break' outside a loop");
  expectRefusal("{% nope %}", "line 1: unknown tag 'nope'");
  expectRefusal("{{ 99999999999999999999 }}",
                "line 1: the integer 99999999999999999999 needs more than 64 bits");
  std::string deep = "{{ " + std::string(10000, '(') + "1" + std::string(10000, ')') + " }}";
  EXPECT_NE(CompiledChat(deep).error.find("nested deeper"), std::string::npos);
  EXPECT_NE(CompiledChat("\xFF").error.find("not UTF-8"), std::string::npos);
}

TEST(HostileChat, ErrorsOfARunNameTheLine) {
  CompiledChat chat("a\n{{ messages[0].content.x }}\n");
  EXPECT_EQ(chat.render("[{\"content\": null}]"), "a\n");
  EXPECT_EQ(chat.render("[{}]"),
            "72: chat template, line 2: 'dict object' has no attribute 'content'");
  CompiledChat raising("{{ raise_exception('No system role') }}");
  EXPECT_EQ(raising.render("[]"), "71: No system role");
}

} // namespace
