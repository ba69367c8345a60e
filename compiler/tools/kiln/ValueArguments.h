// Inputs, outputs and dims as a command line gives them.
#ifndef KILN_TOOLS_VALUEARGUMENTS_H
#define KILN_TOOLS_VALUEARGUMENTS_H

#include "compiler/tools/kiln/FunctionCall.h"
#include <CLI/CLI.hpp>

namespace kiln {

/// What `run`, `bench` and others that call functions share.
struct ValueArguments {
  std::vector<std::string> inputs; // NAME=@FILE or NAME=VALUES
  std::vector<std::string> dims;   // NAME=VALUE
  std::string function;
  bool randomInputs = false;

  void addTo(CLI::App &command);
  bool any() const { return !inputs.empty() || !dims.empty() || randomInputs || !function.empty(); }
};

/// --dim NAME=VALUE, of commands that call functions.
void addDimOption(CLI::App &command, std::vector<std::string> &dims);

/// Splits "NAME=REST" at the first '='; where the name is left out, `only` is meant if it is not
/// "".
bool splitArgument(const std::string &argument, const std::string &option, const std::string &only,
                   std::string &name, std::string &rest, std::string &problem);

/// Reads the inputs, finds the dims, fills the rest with random values where that is wanted.
bool takeInputs(const ValueArguments &arguments, const FunctionModel &model, uint64_t seed,
                FunctionCall &call, std::string &problem);

/// "1,2,3" or "[[1, 2], [3, 4]]" as a value of an input's type. Without brackets the elements are
/// in the order of memory, and one dim that is not fixed follows from their number.
bool parseValues(const std::string &text, const FunctionModel &model, const kiln_value_info &info,
                 Value &value, std::string &problem);

/// The index of a value by its name, or values.size().
size_t findValue(const std::vector<kiln_value_info> &values, const std::string &name);

/// "0.5", "-3", "true": an element for a person.
std::string printElement(const Value &value, int64_t i);

} // namespace kiln

#endif
