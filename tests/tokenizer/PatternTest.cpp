// Patterns match as a backtracking matcher would: the first alternative that succeeds, not the
// longest; and what an automaton cannot do is refused by name.

#include "compiler/tokenizer/Pattern.h"

#include <gtest/gtest.h>

using namespace kiln::tokenizer;

namespace {

Automaton compile(llvm::StringRef pattern) {
  auto node = parsePattern(pattern);
  if (!node) {
    ADD_FAILURE() << llvm::toString(node.takeError());
    return {};
  }
  auto automaton = compilePattern(*node);
  if (!automaton) {
    ADD_FAILURE() << llvm::toString(automaton.takeError());
    return {};
  }
  return *automaton;
}

std::string error(llvm::StringRef pattern) {
  auto node = parsePattern(pattern);
  if (!node)
    return llvm::toString(node.takeError());
  auto automaton = compilePattern(*node);
  return automaton ? "" : llvm::toString(automaton.takeError());
}

/// The matches, separated by '|'.
std::string matches(llvm::StringRef pattern, llvm::StringRef text) {
  Automaton automaton = compile(pattern);
  std::vector<uint8_t> bits = automaton.assertionBits(text);
  std::string result;
  for (size_t position = 0; position < text.size();) {
    size_t end = automaton.match(text, position, bits);
    if (end == llvm::StringRef::npos) {
      decodeUtf8(text, position);
      continue;
    }
    result += (result.empty() ? "" : "|") + text.slice(position, end).str();
    position = end;
  }
  return result;
}

TEST(Pattern, TakesTheFirstAlternativeNotTheLongest) {
  EXPECT_EQ(matches("a|ab", "ab"), "a");
  EXPECT_EQ(matches("ab|a", "abaa"), "ab|a|a");
  EXPECT_EQ(matches("(?:a|ab)(?:c|bcd)", "abcd"), "abcd");
}

TEST(Pattern, QuantifiersAreGreedyOrLazy) {
  EXPECT_EQ(matches("a+", "aaab"), "aaa");
  EXPECT_EQ(matches("a+?", "aaa"), "a|a|a");
  EXPECT_EQ(matches("a{1,2}", "aaaaa"), "aa|aa|a");
  EXPECT_EQ(matches("a{2}", "aaaaa"), "aa|aa");
  EXPECT_EQ(matches("xa{,2}y", "xy xay xaay xaaay"), "xy|xay|xaay");
  EXPECT_EQ(matches("(?:ab?)*c", "ababac"), "ababac");
  EXPECT_EQ(matches("a{1,2}+b", "aaaab"), "aaaab"); // no possessive interval in Ruby's syntax
}

TEST(Pattern, LooksAheadOneCharacter) {
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+)", "a   b"), "  | ");
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+)", "a   "), "   ");
  EXPECT_EQ(matches("a(?=b)", "abaab"), "a|a");
  EXPECT_EQ(matches("[a-z]+?(?=[A-Z])", "abCdE"), "ab|d");
}

TEST(Pattern, KnowsClasses) {
  EXPECT_EQ(matches(R"(\p{L}+)", "añb1日本"), "añb|日本");
  EXPECT_EQ(matches(R"([^\s\p{L}\p{N}]+)", "a,. 1!"), ",.|!");
  EXPECT_EQ(matches(R"([\p{Lu}\d_-]+)", "AbC-_9É"), "A|C-_9É");
  EXPECT_EQ(matches(R"(\P{L}|\p{^L}x)", "a1"), "1");
  EXPECT_EQ(matches("(?i:'ll|'s)", "'LL 'S 'ſ 'x"), "'LL|'S|'ſ");
}

TEST(Pattern, KnowsClassesOfClasses) {
  EXPECT_EQ(matches("[a-z&&[^bc]]+", "abcd"), "a|d");
  EXPECT_EQ(matches("[^a-z&&[^bc]]+", "abcd1"), "bc|1");
  EXPECT_EQ(matches(R"([\p{L}&&[^\p{Han}]]+|\p{Han}+)", "ab日本c"), "ab|日本|c");
  EXPECT_EQ(matches("[a[bc]d]+", "abcde"), "abcd");
  EXPECT_EQ(matches(R"(\w+)", "aé_1½ -ⓐ"), "aé_1½|ⓐ");
}

TEST(Pattern, PossessiveQuantifiersGiveNothingBack) {
  EXPECT_EQ(matches("a++b", "aab"), "aab");
  EXPECT_EQ(matches("a++ab", "aaab"), "");
  EXPECT_EQ(matches("x?+xa|b", "xxaxab"), "xxa|b");
  EXPECT_EQ(matches(R"([^\s\p{L}]++[\r\n]*)", "!!\na"), "!!\n");
}

TEST(Pattern, KnowsTheEndOfALine) {
  EXPECT_EQ(matches(R"(\s+$)", "a  b  "), "  ");
  EXPECT_EQ(matches("a$", "a\naa"), "a|a");
}

TEST(Pattern, LooksAheadFurther) {
  EXPECT_EQ(matches("a(?=bc)", "abcabab"), "a");
  EXPECT_EQ(matches("a(?!bc)b", "abcabdab"), "ab|ab");
  EXPECT_EQ(matches("[a-z]+(?=[0-9]+!)", "ab12 cd3! e!"), "cd");
  EXPECT_EQ(matches(R"(x(?=a(?!b)|ab(?=c)))", "xa xab xabc"), "x|x");
}

TEST(Pattern, LooksBehind) {
  EXPECT_EQ(matches("(?<=a)b", "ab b bab"), "b|b");
  EXPECT_EQ(matches("(?<!a)b", "ab b bab"), "b|b");
  EXPECT_EQ(matches("(?<=é|ab)[a-z]", "éx abc"), "x|c");
  EXPECT_EQ(matches("(?<![0-9][0-9])x", "1x 12x x"), "x|x");
}

TEST(Pattern, KnowsTheEdgesOfWordsLinesAndText) {
  EXPECT_EQ(matches(R"(\bab)", "ab cab ab"), "ab|ab");
  EXPECT_EQ(matches(R"(ab\b)", "ab abc é日ab"), "ab|ab");
  EXPECT_EQ(matches(R"(\Bb)", "b ab"), "b");
  EXPECT_EQ(matches("^a", "a\naa"), "a|a");
  EXPECT_EQ(matches(R"(\Aa|b\z)", "aabb"), "a|b");
}

TEST(Pattern, GroupsDigitsFromTheRight) {
  EXPECT_EQ(matches(R"(\d{1,3}(?=(?:\d{3})*\b))", "1 12 1234 123456 1234567"),
            "1|12|1|234|123|456|1|234|567");
  auto places = parsePattern(R"((?=(\d{3})+(?!\d)))");
  ASSERT_TRUE(static_cast<bool>(places));
  auto automaton = compilePattern(betweenPlaces(*places));
  ASSERT_TRUE(static_cast<bool>(automaton));
  std::string text = "1234567", cut;
  std::vector<uint8_t> bits = automaton->assertionBits(text);
  for (size_t at = 0; at < text.size();) {
    size_t end = automaton->match(text, at, bits);
    ASSERT_NE(end, llvm::StringRef::npos);
    cut += text.substr(at, end - at) + "|";
    at = end;
  }
  EXPECT_EQ(cut, "1|234|567|");
}

TEST(Pattern, RefusesByName) {
  EXPECT_NE(error("(?:ab)++").find("possessive"), std::string::npos);
  EXPECT_NE(error("(?>a)b").find("(?>"), std::string::npos);
  EXPECT_NE(error("a(?=b)+").find("repeated assertion"), std::string::npos);
  EXPECT_NE(error(R"((a)\1)").find("'\\1'"), std::string::npos);
  EXPECT_NE(error(R"(\p{Greek})").find("Greek"), std::string::npos);
  EXPECT_NE(error("[[:alpha:]]").find("[:alpha:]"), std::string::npos);
  EXPECT_NE(error(R"(ab\Z)").find("\\Z"), std::string::npos);
  EXPECT_NE(error("a*").find("empty text"), std::string::npos);
  EXPECT_NE(error("(a").find("missing ')'"), std::string::npos);
  EXPECT_NE(error("a)").find("unmatched"), std::string::npos);
  EXPECT_NE(error("a{3,2}").find("out of range"), std::string::npos);
  EXPECT_NE(error(std::string(1000, '(')).find("nested deeper"), std::string::npos);
}

TEST(Pattern, BoundsItsWork) {
  EXPECT_NE(error("((((a{1000}){1000}){1000}){1000}){1000}").find("instructions"),
            std::string::npos);
  EXPECT_NE(error("(?:a|b)*a(?:a|b){20}"), "");
}

} // namespace
