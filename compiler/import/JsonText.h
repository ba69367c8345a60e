// JSON from strangers: parsed within limits, without exceptions.
#ifndef KILN_COMPILER_IMPORT_JSONTEXT_H
#define KILN_COMPILER_IMPORT_JSONTEXT_H

#include "compiler/import/Problems.h"
#include <nlohmann/json.hpp>
#include <optional>

namespace kiln {

struct JsonLimits {
  unsigned depth = 32;      // arrays and objects inside each other
  size_t values = 4u << 20; // scalars, arrays, objects and keys together
};

/// Parses `text`, the contents of `file`. A syntax error, a key that is given twice in one object,
/// or more than the limits allow is a problem and gives nothing.
std::optional<nlohmann::json> parseJson(llvm::StringRef file, llvm::StringRef text,
                                        const JsonLimits &limits, Problems &problems);

/// The value as text for a message, cut when long.
std::string printJson(const nlohmann::json &value);

} // namespace kiln

#endif
