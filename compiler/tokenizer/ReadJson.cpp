//===- ReadJson.cpp - JSON from files that nobody vouches for --------------===//
//
// Parses with nlohmann-json, without its exceptions: size and nesting are checked before, types at
// each access, and whatever is wrong is collected so that a user sees all of it at once.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/ReadJson.h"

#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

static constexpr size_t maxBytes = size_t(256) << 20;
static constexpr unsigned maxDepth = 64;
static constexpr size_t maxProblems = 50;

static bool isTooDeep(StringRef text) {
  unsigned depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      if (++depth > maxDepth)
        return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

Expected<Json> kiln::tokenizer::parseJson(StringRef text, StringRef name) {
  if (text.size() > maxBytes)
    return llvm::createStringError(name + ": expected at most " + Twine(maxBytes) +
                                   " bytes, found " + Twine(text.size()));
  if (isTooDeep(text))
    return llvm::createStringError(name + ": JSON is nested deeper than " + Twine(maxDepth));
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    return llvm::createStringError(name + ": not valid JSON");
  if (!json.is_object())
    return llvm::createStringError(name + ": expected a JSON object, found " +
                                   StringRef(json.type_name()));
  return json;
}

void Problems::add(const Twine &problem) {
  if (problems.size() < maxProblems)
    problems.push_back(problem.str());
}

llvm::Error Problems::take(StringRef name) {
  if (problems.empty())
    return llvm::Error::success();
  std::string text = (name + ": the tokenizer cannot be compiled:").str();
  for (const std::string &problem : problems)
    text += "\n  " + problem;
  problems.clear();
  return llvm::createStringError(text);
}

JsonObject::JsonObject(const Json &json, std::string path, Problems &problems)
    : json(json), path(std::move(path)), problems(problems) {
  if (!json.is_object())
    problem(Twine("expected an object, found ") + json.type_name());
}

const Json *JsonObject::find(StringRef key) const {
  if (!json.is_object())
    return nullptr;
  auto it = json.find(key.str());
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

bool JsonObject::boolean(StringRef key, bool absent) const {
  const Json *value = find(key);
  if (!value)
    return absent;
  if (!value->is_boolean()) {
    problem(key + ": expected true or false, found " + value->type_name());
    return absent;
  }
  return *value->get_ptr<const bool *>();
}

std::optional<std::string> JsonObject::string(StringRef key) const {
  const Json *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->is_string()) {
    problem(key + ": expected a string, found " + value->type_name());
    return std::nullopt;
  }
  return *value->get_ptr<const std::string *>();
}

std::optional<uint32_t> JsonObject::number(StringRef key) const {
  const Json *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->is_number_unsigned() || *value->get_ptr<const uint64_t *>() > UINT32_MAX) {
    problem(key + ": expected a number from 0 to 4294967295");
    return std::nullopt;
  }
  return static_cast<uint32_t>(*value->get_ptr<const uint64_t *>());
}

std::vector<const Json *> JsonObject::array(StringRef key) const {
  std::vector<const Json *> result;
  const Json *value = find(key);
  if (!value)
    return result;
  if (!value->is_array()) {
    problem(key + ": expected an array, found " + value->type_name());
    return result;
  }
  for (const Json &element : *value)
    result.push_back(&element);
  return result;
}

JsonObject JsonObject::object(const Json &child, StringRef key) const {
  return JsonObject(child, path.empty() ? key.str() : path + "." + key.str(), problems);
}
