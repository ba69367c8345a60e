// Templates render as transformers renders them, byte for byte; where Python raises, there is an
// error. The expected texts come from make_golden.py.

#include "CompiledChat.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

using kiln::test::CompiledChat;
using Json = nlohmann::ordered_json;

namespace {

std::string readFile(const std::string &name) {
  std::ostringstream text;
  text << std::ifstream(KILN_TEST_GOLDEN_DIR "/" + name, std::ios::binary).rdbuf();
  return text.str();
}

kiln::ChatVariables variablesOf(const Json &golden) {
  kiln::ChatVariables variables;
  for (const auto &[name, value] : golden["variables"].items())
    variables.emplace_back(name, value.get<std::string>());
  return variables;
}

void expectGolden(const CompiledChat &chat, const std::string &conversation, int64_t now,
                  const Json &expected) {
  kiln_chat_options options = {};
  options.local_time_s = now;
  options.no_generation_prompt = 1;
  std::string text = chat.chat ? chat.render(conversation, options) : "70: " + chat.error;
  if (expected.contains("text"))
    EXPECT_EQ(text, expected["text"].get<std::string>());
  else
    EXPECT_TRUE(text.rfind("7", 0) == 0 && text.find(": ") != std::string::npos)
        << "expected an error, found " << text;
}

// Big integers keep their spelling in the JSON text of the conversation, which nlohmann would lose.
TEST(ChatGolden, SnippetsOfEveryFeature) {
  std::string file = readFile("snippets.json");
  Json golden = Json::parse(file);
  size_t begin = file.find("\"conversation\": ") + 16, end = file.find(",\n \"snippets\"");
  std::string conversation = file.substr(begin, end - begin);
  kiln::ChatVariables variables = variablesOf(golden);
  EXPECT_GT(golden["snippets"].size(), 500u);
  for (const Json &snippet : golden["snippets"]) {
    std::string source = snippet["template"];
    SCOPED_TRACE(source);
    expectGolden(CompiledChat(source, variables), conversation, golden["now"], snippet);
  }
}

TEST(ChatGolden, WholeConversations) {
  std::string file = readFile("conversations.json");
  Json golden = Json::parse(file);
  for (const auto &[name, conversations] : golden["templates"].items()) {
    CompiledChat chat(readFile(name), variablesOf(golden));
    ASSERT_EQ(chat.error, "") << name;
    for (const auto &[label, expected] : conversations.items()) {
      SCOPED_TRACE(name + " / " + label);
      if (label == "numbers") // holds an integer that nlohmann cannot
        continue;
      expectGolden(chat, golden["conversations"][label].dump(), golden["now"], expected);
    }
  }
}

TEST(Chat, PlainMessagesAreRenderedWithoutJson) {
  CompiledChat chat("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
                    "{{ '<assistant>' if add_generation_prompt }}");
  kiln_chat_message messages[] = {{"system", "Be \"brief\".", 11}, {"user", "Hi", 2}};
  char text[64];
  size_t size = 0;
  kiln_error error;
  ASSERT_EQ(
      kiln_chat_render_messages(chat.chat, messages, 2, nullptr, text, sizeof text, &size, &error),
      KILN_OK);
  EXPECT_EQ(std::string(text, size), "<system>Be \"brief\".<user>Hi<assistant>");
  EXPECT_EQ(kiln_chat_render_messages(chat.chat, messages, 2, nullptr, nullptr, 0, &size, &error),
            KILN_BUFFER_TOO_SMALL);
  EXPECT_EQ(size, 38u);
}

TEST(Chat, TellsWhatTheTemplateAsksFor) {
  CompiledChat chat("{% set x = 1 %}{{ x }}{% if tools %}{{ enable_thinking }}{% endif %}");
  EXPECT_EQ(kiln_chat_uses(chat.chat, "tools"), 1);
  EXPECT_EQ(kiln_chat_uses(chat.chat, "enable_thinking"), 1);
  EXPECT_EQ(kiln_chat_uses(chat.chat, "x"), 0);
  EXPECT_EQ(kiln_chat_uses(chat.chat, "documents"), 0);
}

TEST(Chat, ANumberKeepsItsValueWhateverItsSize) {
  CompiledChat chat("{{ messages | tojson }}");
  EXPECT_EQ(chat.render(R"([{"a": 123456789012345678901234567890, "b": -0, "c": 1E2, "d": 1.10}])"),
            R"([{"a": 123456789012345678901234567890, "b": 0, "c": 100.0, "d": 1.1}])");
}

} // namespace
