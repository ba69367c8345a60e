// Typed reading of JSON configuration. Hugging Face writes null for "not set", so null and absent
// are one.
#include "compiler/import/ConfigObject.h"
#include "compiler/import/JsonText.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace kiln;
using nlohmann::json;

std::optional<ConfigObject> ConfigObject::parse(StringRef file, StringRef text,
                                                Problems &problems) {
  std::optional<json> value = parseJson(file, text, JsonLimits(), problems);
  if (!value)
    return std::nullopt;
  if (!value->is_object()) {
    problems.add(printable(file) + ": expected a JSON object, found " + printJson(*value));
    return std::nullopt;
  }
  return ConfigObject(printable(file), std::move(*value), problems);
}

ConfigObject ConfigObject::from(StringRef file, json object, Problems &problems) {
  return ConfigObject(printable(file), std::move(object), problems);
}

ConfigObject ConfigObject::empty(StringRef file, Problems &problems) {
  return ConfigObject(printable(file), json::object(), problems);
}

void ConfigObject::fail(StringRef key, const Twine &text) const {
  problems->add(file + ": " + key + ": " + text);
}

const json *ConfigObject::find(StringRef key) const {
  if (key.empty()) // a family without such a key
    return nullptr;
  auto place = object.find(std::string_view(key.data(), key.size()));
  return place == object.end() || place->is_null() ? nullptr : &*place;
}

void ConfigObject::inherit(const ConfigObject &from, ArrayRef<StringRef> keys) {
  for (StringRef key : keys)
    if (const json *value = from.find(key); value && !has(key))
      object[key.str()] = *value;
}

std::string ConfigObject::print(StringRef key) const {
  const json *value = find(key);
  return value ? printJson(*value) : "nothing";
}

bool ConfigObject::isNull(StringRef key) const {
  auto place = key.empty() ? object.end() : object.find(std::string_view(key.data(), key.size()));
  return place != object.end() && place->is_null();
}

static bool isIntegerIn(const json &value, int64_t min, int64_t max) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX))
    return false;
  return value.is_number_integer() && value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

static std::string describeIntegers(int64_t min, int64_t max) {
  return "an integer from " + std::to_string(min) + " to " + std::to_string(max);
}

std::optional<int64_t> ConfigObject::getInteger(StringRef key, int64_t min, int64_t max) const {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (isIntegerIn(*value, min, max))
    return value->get<int64_t>();
  fail(key, "expected " + describeIntegers(min, max) + ", found " + printJson(*value));
  return std::nullopt;
}

std::optional<int64_t> ConfigObject::requireInteger(StringRef key, int64_t min, int64_t max) const {
  if (!has(key))
    fail(key, "expected " + describeIntegers(min, max) + ", found nothing");
  return getInteger(key, min, max);
}

static bool isNumberIn(const json &value, double min, double max) {
  // The comparison is false for NaN.
  return value.is_number() && value.get<double>() >= min && value.get<double>() <= max;
}

static std::string describeNumbers(double min, double max) {
  std::string bounds;
  raw_string_ostream(bounds) << format("a number from %g to %g", min, max);
  return bounds;
}

std::optional<double> ConfigObject::getNumber(StringRef key, double min, double max) const {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (isNumberIn(*value, min, max))
    return value->get<double>();
  fail(key, "expected " + describeNumbers(min, max) + ", found " + printJson(*value));
  return std::nullopt;
}

std::optional<bool> ConfigObject::getBool(StringRef key) const {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->is_boolean())
    return value->get<bool>();
  fail(key, "expected true or false, found " + printJson(*value));
  return std::nullopt;
}

std::optional<std::string> ConfigObject::getString(StringRef key) const {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->is_string())
    return value->get<std::string>();
  fail(key, "expected a string, found " + printJson(*value));
  return std::nullopt;
}

std::optional<ConfigObject> ConfigObject::getObject(StringRef key) const {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->is_object())
    return ConfigObject(file + ": " + key.str(), *value, *problems);
  fail(key, "expected an object, found " + printJson(*value));
  return std::nullopt;
}

std::vector<int64_t> ConfigObject::getIntegers(StringRef key, int64_t min, int64_t max) const {
  const json *value = find(key);
  if (!value)
    return {};
  std::vector<int64_t> integers;
  for (const json &element : value->is_array() ? *value : json::array({*value})) {
    if (isIntegerIn(element, min, max)) {
      integers.push_back(element.get<int64_t>());
      continue;
    }
    fail(key, "expected " + describeIntegers(min, max) + ", found " + printJson(element));
    return {};
  }
  return integers;
}

std::vector<double> ConfigObject::getNumbers(StringRef key, double min, double max) const {
  const json *value = find(key);
  if (!value)
    return {};
  std::vector<double> numbers;
  for (const json &element : value->is_array() ? *value : json::array({*value})) {
    if (isNumberIn(element, min, max)) {
      numbers.push_back(element.get<double>());
      continue;
    }
    fail(key, "expected " + describeNumbers(min, max) + ", found " + printJson(element));
    return {};
  }
  return numbers;
}

std::vector<std::string> ConfigObject::getStrings(StringRef key) const {
  const json *value = find(key);
  if (!value)
    return {};
  std::vector<std::string> strings;
  for (const json &element : value->is_array() ? *value : json::array({*value})) {
    if (element.is_string()) {
      strings.push_back(element.get<std::string>());
      continue;
    }
    fail(key, "expected strings, found " + printJson(element));
    return {};
  }
  return strings;
}
