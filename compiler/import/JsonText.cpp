// Parses JSON (RFC 8259) through nlohmann's event interface: the handler below builds the value and
// stops at the first event that breaks a limit, so that neither depth nor size of a hostile text
// costs more than the limits say. The parser itself keeps its nesting on the heap, as bits.
#include "compiler/import/JsonText.h"

using namespace llvm;
using namespace kiln;
using nlohmann::json;

namespace {

class LimitedBuilder : public nlohmann::json_sax<json> {
public:
  LimitedBuilder(const JsonLimits &limits) : limits(limits) {}

  bool null() override { return add(json()); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t &) override { return add(value); }
  bool string(string_t &value) override { return add(std::move(value)); }
  bool binary(binary_t &) override { return fail("binary value"); }

  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t &value) override {
    if (!count())
      return false;
    auto [place, added] = stack.back()->get_ref<json::object_t &>().try_emplace(value);
    if (!added)
      return fail("key \"" + printable(value) + "\" is given twice");
    slot = &place->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string &,
                   const nlohmann::detail::exception &error) override {
    StringRef what = error.what();
    // "[json.exception.parse_error.101] parse error at …: <what>": the library's own prefix is
    // noise.
    what = what.substr(what.find("] ") == StringRef::npos ? 0 : what.find("] ") + 2);
    return fail("byte " + std::to_string(position) + ": " + printable(what));
  }

  json root;
  std::string failure;

private:
  bool fail(std::string text) {
    failure = std::move(text);
    return false;
  }

  bool count() {
    if (++values <= limits.values)
      return true;
    return fail("expected at most " + std::to_string(limits.values) + " values");
  }

  /// Puts a value where the text is: the root, after a key, or at an array's end.
  json *place(json &&value) {
    if (stack.empty()) {
      root = std::move(value);
      return &root;
    }
    if (stack.back()->is_array()) {
      stack.back()->push_back(std::move(value));
      return &stack.back()->back();
    }
    *slot = std::move(value);
    return slot;
  }

  bool add(json &&value) {
    if (!count())
      return false;
    place(std::move(value));
    return true;
  }

  bool open(json &&value) {
    if (!count())
      return false;
    if (stack.size() >= limits.depth)
      return fail("nested deeper than " + std::to_string(limits.depth));
    // A container's elements move only when it grows, and it does not while a child is open.
    stack.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    stack.pop_back();
    return true;
  }

  JsonLimits limits;
  std::vector<json *> stack;
  json *slot = nullptr;
  size_t values = 0;
};

} // namespace

std::optional<json> kiln::parseJson(StringRef file, StringRef text, const JsonLimits &limits,
                                    Problems &problems) {
  LimitedBuilder builder(limits);
  bool ok = json::sax_parse(text.begin(), text.end(), &builder);
  if (ok && builder.failure.empty())
    return std::move(builder.root);
  problems.add(printable(file) +
               ": not sound JSON: " + (builder.failure.empty() ? "parse error" : builder.failure));
  return std::nullopt;
}

std::string kiln::printJson(const json &value) {
  if (value.is_object())
    return "an object";
  if (value.is_array() && value.size() > 8)
    return "an array of " + std::to_string(value.size());
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  return text.size() <= 200 ? text : text.substr(0, 200) + "…";
}
