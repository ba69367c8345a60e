//===- TemplateLexer.cpp - The tokens of a Jinja template ------------------===//
//
// Jinja's lexer with the settings of transformers: a line end behind a block or comment goes with
// it (trim_blocks), and so do spaces before one that begins its line (lstrip_blocks); `-` inside a
// delimiter takes all white space on its side, `+` keeps it. One line end at the end of the source
// is dropped. See jinja.palletsprojects.com, "Whitespace Control".
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/TemplateLexer.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/ConvertUTF.h"

using namespace kiln::chat;
using llvm::StringRef;

llvm::Error kiln::chat::templateError(unsigned line, const llvm::Twine &message) {
  return llvm::createStringError("line " + llvm::Twine(line) + ": " + message);
}

/// The bytes of white space that `text` begins with (0: none): what `\s` matches.
static size_t spaceAt(StringRef text) {
  if (text.empty())
    return 0;
  unsigned char c = text[0];
  if (c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F))
    return 1;
  if (text.starts_with("\xC2\x85") || text.starts_with("\xC2\xA0"))
    return 2;
  if (text.starts_with("\xE1\x9A\x80") || text.starts_with("\xE3\x80\x80") ||
      text.starts_with("\xE2\x81\x9F") || text.starts_with("\xE2\x80\xA8") ||
      text.starts_with("\xE2\x80\xA9") || text.starts_with("\xE2\x80\xAF"))
    return 3;
  if (text.size() >= 3 && text.starts_with("\xE2\x80") && (unsigned char)text[2] >= 0x80 &&
      (unsigned char)text[2] <= 0x8A)
    return 3;
  return 0;
}

static StringRef dropSpaceFront(StringRef text) {
  while (size_t size = spaceAt(text))
    text = text.drop_front(size);
  return text;
}

static StringRef dropSpaceBack(StringRef text) {
  while (!text.empty()) {
    size_t size = 1;
    while (size <= 3 && size <= text.size() && spaceAt(text.take_back(size)) != size)
      ++size;
    if (size > 3 || size > text.size())
      break;
    text = text.drop_back(size);
  }
  return text;
}

namespace {

class Lexer {
public:
  explicit Lexer(StringRef source) {
    // Line ends become \n, and the last one goes.
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        normalized += '\n';
        i += i + 1 < source.size() && source[i + 1] == '\n';
      } else {
        normalized += source[i];
      }
    }
    if (!normalized.empty() && normalized.back() == '\n')
      normalized.pop_back();
    rest = normalized;
  }

  llvm::Expected<std::vector<Token>> run();

private:
  void take(size_t size) {
    StringRef taken = rest.take_front(size);
    line += taken.count('\n');
    lineStarts = size ? taken.back() == '\n' : lineStarts;
    rest = rest.drop_front(size);
  }
  void add(Token::Kind kind, unsigned at, std::string text = "") {
    tokens.push_back({kind, at, std::move(text)});
  }
  /// Adds the data before a delimiter, whose sign is `-`, `+` or none.
  void addData(StringRef data, char sign, bool block) {
    unsigned at = line;
    StringRef kept = data;
    if (sign == '-') {
      kept = dropSpaceBack(data);
    } else if (sign != '+' && block) {
      size_t lineEnd = data.rfind('\n');
      size_t start = lineEnd == StringRef::npos ? 0 : lineEnd + 1;
      bool atLineStart = start > 0 || lineStarts;
      StringRef lead = data.drop_front(start);
      if (atLineStart && !lead.empty() && dropSpaceFront(lead).empty())
        kept = data.take_front(start);
    }
    if (!kept.empty())
      add(Token::Data, at, kept.str());
  }
  llvm::Error lexComment();
  llvm::Expected<bool> lexRaw();
  llvm::Error lexTag(bool block);
  llvm::Error lexText();
  bool lexNumber();
  size_t endOf(bool block) const;

  std::string normalized;
  StringRef rest;
  unsigned line = 1;
  bool lineStarts = true;
  std::vector<Token> tokens;
};

} // namespace

/// The bytes of the delimiter that ends a tag here, with the white space it takes; 0: none.
size_t Lexer::endOf(bool block) const {
  StringRef close = block ? "%}" : "}}";
  if (rest.starts_with("-") && rest.drop_front().starts_with(close)) {
    StringRef behind = rest.drop_front(3);
    return rest.size() - dropSpaceFront(behind).size();
  }
  if (block && rest.starts_with("+%}"))
    return 3;
  if (!rest.starts_with(close))
    return 0;
  return 2 + (block && rest.drop_front(2).starts_with("\n"));
}

llvm::Error Lexer::lexComment() {
  unsigned start = line;
  size_t close = rest.find("#}");
  if (close == StringRef::npos)
    return templateError(start, "the comment has no end");
  char sign = close > 0 ? rest[close - 1] : 0;
  size_t size = close + 2;
  StringRef behind = rest.drop_front(size);
  if (sign == '-')
    size += behind.size() - dropSpaceFront(behind).size();
  else if (sign != '+')
    size += behind.starts_with("\n");
  take(size);
  return llvm::Error::success();
}

/// `{% raw %}` and what follows up to `{% endraw %}`, where it stands here.
llvm::Expected<bool> Lexer::lexRaw() {
  StringRef tag = rest.drop_front(2);
  tag = dropSpaceFront(tag.drop_front(!tag.empty() && (tag[0] == '-' || tag[0] == '+')));
  if (!tag.consume_front("raw"))
    return false;
  tag = dropSpaceFront(tag);
  bool strips = tag.consume_front("-");
  if (!tag.consume_front("%}"))
    return false;
  if (strips)
    tag = dropSpaceFront(tag);
  unsigned start = line;
  take(rest.size() - tag.size());

  for (size_t from = 0;; from += 2) {
    from = rest.find("{%", from);
    if (from == StringRef::npos)
      return templateError(start, "the raw block has no end");
    StringRef end = rest.drop_front(from + 2);
    char endSign = !end.empty() && (end[0] == '-' || end[0] == '+') ? end[0] : 0;
    end = dropSpaceFront(end.drop_front(endSign != 0));
    if (!end.consume_front("endraw"))
      continue;
    end = dropSpaceFront(end);
    if (end.consume_front("+%}")) {
    } else if (end.consume_front("-%}")) {
      end = dropSpaceFront(end);
    } else if (end.consume_front("%}")) {
      end.consume_front("\n");
    } else {
      continue;
    }
    addData(rest.take_front(from), endSign, true);
    take(rest.size() - end.size());
    return true;
  }
}

/// A number, by the longest rule that fits: floats before integers.
bool Lexer::lexNumber() {
  if (!llvm::isDigit(rest[0]))
    return false;
  auto digits = [&](size_t at, auto accepts) {
    size_t end = at;
    while (end < rest.size() &&
           (accepts(rest[end]) || (rest[end] == '_' && end > at && end + 1 < rest.size() &&
                                   accepts(rest[end + 1]) && rest[end - 1] != '_')))
      ++end;
    return end;
  };
  auto decimal = [](char c) { return llvm::isDigit(c); };
  size_t whole = digits(0, decimal), end = whole;
  if (end + 1 < rest.size() && rest[end] == '.' && decimal(rest[end + 1]))
    end = digits(end + 1, decimal);
  size_t exponent = end;
  if (exponent < rest.size() && (rest[exponent] | 0x20) == 'e') {
    ++exponent;
    exponent += exponent < rest.size() && (rest[exponent] == '+' || rest[exponent] == '-');
    if (exponent < rest.size() && decimal(rest[exponent]))
      end = digits(exponent, decimal);
  }
  Token::Kind kind = end > whole ? Token::Real : Token::Integer;
  if (kind == Token::Integer && rest[0] == '0') {
    char mark = rest.size() > 1 ? char(rest[1] | 0x20) : 0;
    auto ofBase = [&](unsigned base) {
      return [base](char c) { return llvm::hexDigitValue(c) < base; };
    };
    if (unsigned base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0)
      if (size_t last = digits(2, ofBase(base)); last > 2)
        end = last;
    if (end == whole) // a decimal number begins with no zero but its own
      end = digits(0, [](char c) { return c == '0'; });
  }
  std::string text;
  for (char c : rest.take_front(end))
    if (c != '_')
      text += c;
  add(kind, line, std::move(text));
  take(end);
  return true;
}

llvm::Error Lexer::lexText() {
  char quote = rest[0];
  unsigned start = line;
  std::string value;
  size_t at = 1;
  auto next = [&]() { return at < rest.size() ? rest[at++] : '\0'; };
  for (;;) {
    if (at >= rest.size())
      return templateError(start, "the string has no end");
    char c = rest[at++];
    if (c == quote)
      break;
    if (c != '\\') {
      value += c;
      continue;
    }
    if (at >= rest.size())
      return templateError(start, "the string has no end");
    char letter = next();
    static const StringRef letters = "abfnrtv\\'\"", meanings = "\a\b\f\n\r\t\v\\'\"";
    if (size_t known = letters.find(letter); known != StringRef::npos) {
      value += meanings[known];
    } else if (letter == '\n') {
      continue;
    } else if (letter == 'x' || letter == 'u' || letter == 'U' ||
               (letter >= '0' && letter <= '7')) {
      bool octal = letter >= '0' && letter <= '7';
      size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : octal ? 3 : 8, found = 0;
      unsigned base = octal ? 8 : 16, codePoint = 0;
      at -= octal;
      for (; found < digits && at < rest.size() && llvm::hexDigitValue(rest[at]) < base; ++found)
        codePoint = codePoint * base + llvm::hexDigitValue(rest[at++]);
      if (!octal && found < digits)
        return templateError(line,
                             llvm::Twine("the escape \\") + llvm::Twine(letter) + " lacks digits");
      char bytes[4], *end = bytes;
      if (!llvm::ConvertCodePointToUTF8(codePoint, end))
        return templateError(line, "an escape that is no character");
      value.append(bytes, end);
    } else if (letter == 'N') {
      return templateError(line, "the escape \\N is not supported");
    } else {
      (value += '\\') += letter;
    }
  }
  add(Token::Text, start, std::move(value));
  take(at);
  return llvm::Error::success();
}

static bool isNameByte(char c) { return llvm::isAlnum(c) || c == '_' || (unsigned char)c >= 0x80; }

llvm::Error Lexer::lexTag(bool block) {
  std::string open; // brackets
  for (;;) {
    if (size_t size = open.empty() ? endOf(block) : 0) {
      add(block ? Token::BlockEnd : Token::VariableEnd, line);
      take(size);
      return llvm::Error::success();
    }
    if (rest.empty())
      return templateError(line, "the tag has no end");
    if (size_t size = spaceAt(rest)) {
      take(size);
      continue;
    }
    if (lexNumber())
      continue;
    if (rest[0] == '"' || rest[0] == '\'') {
      if (llvm::Error error = lexText())
        return error;
      continue;
    }
    if (isNameByte(rest[0])) {
      StringRef name = rest.take_while(isNameByte);
      add(Token::Name, line, name.str());
      take(name.size());
      continue;
    }
    static const StringRef operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                          "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                          ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    StringRef found;
    for (StringRef candidate : operators)
      if (found.empty() && rest.starts_with(candidate))
        found = candidate;
    if (found.empty())
      return templateError(line, llvm::Twine("unexpected character '") + rest.take_front() + "'");
    size_t opening = StringRef("([{").find(found), closing = StringRef(")]}").find(found);
    if (opening != StringRef::npos)
      open += ")]}"[opening];
    if (closing != StringRef::npos) {
      if (open.empty() || open.back() != found[0])
        return templateError(line, llvm::Twine("unexpected '") + found + "'");
      open.pop_back();
    }
    add(Token::Operator, line, found.str());
    take(found.size());
  }
}

llvm::Expected<std::vector<Token>> Lexer::run() {
  while (!rest.empty()) {
    size_t at = 0;
    while (at < rest.size() &&
           !(rest[at] == '{' && at + 1 < rest.size() && StringRef("%{#").contains(rest[at + 1])))
      ++at;
    StringRef data = rest.take_front(at);
    if (at == rest.size()) {
      add(Token::Data, line, data.str());
      break;
    }
    char kind = rest[at + 1];
    char sign =
        at + 2 < rest.size() && (rest[at + 2] == '-' || rest[at + 2] == '+') ? rest[at + 2] : 0;
    addData(data, sign, kind != '{');
    take(data.size());
    if (kind == '%') {
      auto raw = lexRaw();
      if (!raw)
        return raw.takeError();
      if (*raw)
        continue;
    }
    unsigned start = line;
    take(2 + (sign != 0));
    if (kind == '#') {
      if (llvm::Error error = lexComment())
        return error;
      continue;
    }
    add(kind == '%' ? Token::BlockBegin : Token::VariableBegin, start);
    if (llvm::Error error = lexTag(kind == '%'))
      return error;
  }
  add(Token::End, line);
  return tokens;
}

llvm::Expected<std::vector<Token>> kiln::chat::tokenizeTemplate(StringRef source) {
  return Lexer(source).run();
}
