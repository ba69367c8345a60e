// Reads arrays that are named on a command line: from files, or written out for small ones.
#include "compiler/tools/kiln/ValueArguments.h"
#include "compiler/import/Problems.h"
#include "compiler/values/ValueFile.h"
#include "llvm/ADT/StringRef.h"
#include <cmath>

using namespace kiln;

void kiln::addDimOption(CLI::App &command, std::vector<std::string> &dims) {
  command
      .add_option("--dim", dims, "NAME=VALUE: a dim that no input's shape tells; may be repeated")
      ->check(CLI::Validator(
          [](const std::string &text) {
            int64_t number;
            bool isNumber = !llvm::StringRef(text).rsplit('=').second.getAsInteger(10, number);
            // The only dim of a model need not be named.
            isNumber |= !llvm::StringRef(text).getAsInteger(10, number);
            return isNumber ? "" : text + ": expected NAME=NUMBER";
          },
          ""));
}

void ValueArguments::addTo(CLI::App &command) {
  command.add_option("--input", inputs,
                     "NAME=@FILE.npy, NAME=@FILE.pb, or NAME=1,2,3; may be repeated (models that "
                     "are no language models)");
  addDimOption(command, dims);
  command.add_flag("--random-inputs", randomInputs,
                   "Pseudo-random values (--seed) for inputs that are not given");
  command.add_option("--function", function,
                     "The function to call; default: main, or the only one");
}

size_t kiln::findValue(const std::vector<kiln_value_info> &values, const std::string &name) {
  size_t i = 0;
  while (i < values.size() && name != values[i].name)
    ++i;
  return i;
}

bool kiln::splitArgument(const std::string &argument, const std::string &option,
                         const std::string &only, std::string &name, std::string &rest,
                         std::string &problem) {
  // Names may have '=' in them, but not before the file or the values.
  size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    name = only;
    rest = equals == 0 ? argument.substr(1) : argument;
    if (only.empty())
      problem = option + " " + argument + ": expected NAME=…";
    return !only.empty();
  }
  name = argument.substr(0, equals);
  rest = argument.substr(equals + 1);
  return true;
}

// ---- Values written out -------------------------------------------------------------------------

namespace {
/// Numbers, with brackets around them or not.
class ValueText {
public:
  explicit ValueText(llvm::StringRef text) : rest(text) {}

  bool parse() {
    if (!peek('[')) {
      while (!rest.trim().empty()) {
        if (!parseNumber() || (!take(',') && !rest.trim().empty()))
          return false;
      }
      return true;
    }
    nested = true;
    return parseList(0) && rest.trim().empty();
  }

  std::vector<std::string> numbers;
  std::vector<int64_t> dims;
  bool nested = false;

private:
  bool peek(char c) {
    rest = rest.ltrim();
    return rest.starts_with(llvm::StringRef(&c, 1));
  }
  bool take(char c) {
    bool found = peek(c);
    rest = rest.drop_front(found);
    return found;
  }

  bool parseNumber() {
    rest = rest.ltrim();
    llvm::StringRef word = rest.take_until([](char c) { return c == ',' || c == ']' || c == ' '; });
    rest = rest.drop_front(word.size());
    numbers.push_back(word.str());
    return !word.empty();
  }

  /// A list at this depth; all lists of one depth have the same length.
  bool parseList(size_t depth) {
    if (!take('[') || depth >= KILN_MAX_RANK)
      return false;
    int64_t count = 0;
    for (; !peek(']'); ++count) {
      if (count && !take(','))
        return false;
      bool inner = peek('[');
      if (count && inner != (dims.size() > depth + 1))
        return false;
      if (!count && dims.size() <= depth)
        dims.push_back(-1);
      if (inner ? !parseList(depth + 1) : !parseNumber())
        return false;
    }
    take(']');
    if (dims.size() <= depth)
      dims.push_back(-1);
    if (dims[depth] == -1)
      dims[depth] = count;
    return dims[depth] == count;
  }

  llvm::StringRef rest;
};
} // namespace

/// Stores a number as it is written; false where the type cannot hold it.
static bool storeText(Value &value, int64_t i, llvm::StringRef word) {
  if (word == "true" || word == "false") {
    storeNumber(value, i, word == "true");
    return value.type == OnnxType::Bool;
  }
  // 64-bit integers do not all fit into a double.
  uint8_t *at = value.bytes.data() + size_t(i) * value.elementBytes;
  if (value.type == OnnxType::Int64 || value.type == OnnxType::UInt64) {
    int64_t integer = 0;
    uint64_t natural = 0;
    bool bad = value.type == OnnxType::Int64 ? word.getAsInteger(10, integer)
                                             : word.getAsInteger(10, natural);
    std::memcpy(at, value.type == OnnxType::Int64 ? static_cast<void *>(&integer) : &natural, 8);
    return !bad;
  }
  double number;
  if (word.getAsDouble(number))
    return false;
  bool isFloat = nameOf(value.type).contains("float");
  return storeNumber(value, i, number) && (isFloat || numberAt(value, i) == number);
}

bool kiln::parseValues(const std::string &text, const FunctionModel &model,
                       const kiln_value_info &info, Value &value, std::string &problem) {
  std::string what = "--input " + std::string(info.name) + ": ";
  ValueText parsed(text);
  if (!parsed.parse()) {
    problem =
        what + "expected numbers as 1,2,3 or [[1, 2], [3, 4]], found \"" + printable(text) + "\"";
    return false;
  }
  value.type = typeOf(info.dtype);
  value.elementBytes = bytesInMemory(value.type);
  value.dims = parsed.dims;
  if (!parsed.nested) {
    int64_t left = int64_t(parsed.numbers.size()), unknown = -1;
    for (uint32_t i = 0; i < info.rank; ++i) {
      value.dims.push_back(info.dim[i] >= 0 ? -1 : info.extent[i]);
      bool divides = info.dim[i] < 0 && info.extent[i] > 0 && left % info.extent[i] == 0;
      if (divides)
        left /= info.extent[i];
      else if (info.dim[i] >= 0 && unknown < 0)
        unknown = int64_t(i);
      else
        left = -1; // cannot be told
    }
    if (unknown >= 0 && left >= 0)
      value.dims[size_t(unknown)] = left;
    if (left < 0 || (unknown < 0 && left != 1)) {
      problem = what + "expected " + model.describeType(info) + ", found " +
                std::to_string(parsed.numbers.size()) + " numbers; brackets tell the shape";
      return false;
    }
  }
  value.bytes.assign(parsed.numbers.size() * value.elementBytes, 0);
  for (size_t i = 0; i < parsed.numbers.size(); ++i)
    if (!storeText(value, int64_t(i), parsed.numbers[i])) {
      problem = what + "expected elements of " + nameOf(value.type).str() + ", found \"" +
                printable(parsed.numbers[i]) + "\"";
      return false;
    }
  return true;
}

std::string kiln::printElement(const Value &value, int64_t i) {
  if (value.type == OnnxType::Bool)
    return value.bytes[size_t(i)] ? "true" : "false";
  const uint8_t *at = value.bytes.data() + size_t(i) * value.elementBytes;
  char text[40];
  if (value.type == OnnxType::Int64) {
    int64_t integer;
    std::memcpy(&integer, at, sizeof integer);
    return std::to_string(integer);
  }
  if (value.type == OnnxType::UInt64) {
    uint64_t natural;
    std::memcpy(&natural, at, sizeof natural);
    return std::to_string(natural);
  }
  bool isFloat = nameOf(value.type).contains("float");
  std::snprintf(text, sizeof text, isFloat ? "%.6g" : "%.0f", numberAt(value, i));
  return text;
}

// ---- All of them --------------------------------------------------------------------------------

bool kiln::takeInputs(const ValueArguments &arguments, const FunctionModel &model, uint64_t seed,
                      FunctionCall &call, std::string &problem) {
  std::string only = model.inputs.size() == 1 ? model.inputs[0].name : "";
  for (const std::string &argument : arguments.inputs) {
    std::string name, rest;
    if (!splitArgument(argument, "--input", only, name, rest, problem))
      return false;
    size_t input = findValue(model.inputs, name);
    if (input == model.inputs.size()) {
      problem = "--input " + printable(name) + ": expected an input of the model:";
      for (const kiln_value_info &info : model.inputs)
        problem += " " + std::string(info.name);
      return false;
    }
    if (call.hasInput(input)) {
      problem = "--input " + printable(name) + ": is there twice";
      return false;
    }
    Value value;
    if (rest[0] == '@') {
      auto read = readValueFile(rest.substr(1));
      if (!read) {
        problem = llvm::toString(read.takeError());
        return false;
      }
      value = std::move(*read);
    } else if (!parseValues(rest, model, model.inputs[input], value, problem)) {
      return false;
    }
    if (!call.setInput(input, std::move(value), problem))
      return false;
  }
  std::map<std::string, int64_t> dims;
  for (const std::string &argument : arguments.dims) {
    // Names may have '=' in them; the only dim of a model need not be named.
    auto [name, number] = llvm::StringRef(argument).rsplit('=');
    if (argument.find('=') == std::string::npos) {
      number = name;
      name = model.freeDims == 1 ? model.dims[0].name : "";
    }
    int64_t value;
    if (name.empty() || number.getAsInteger(10, value)) {
      problem = "--dim " + printable(argument) + ": expected NAME=NUMBER";
      return false;
    }
    dims[name.str()] = value;
  }
  return call.solveDims(dims, problem) &&
         (!arguments.randomInputs || call.fillInputs(seed, problem));
}
