//===- ReadJson.h - JSON from files that nobody vouches for ----------------===//

#ifndef KILN_COMPILER_TOKENIZER_READJSON_H
#define KILN_COMPILER_TOKENIZER_READJSON_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace kiln::tokenizer {

using Json = nlohmann::json;

/// Parses JSON of bounded size and nesting; `name` goes into errors. Never throws.
llvm::Expected<Json> parseJson(llvm::StringRef text, llvm::StringRef name);

/// What is wrong with a file, all of it, for one report.
class Problems {
public:
  void add(const llvm::Twine &problem);
  bool empty() const { return problems.empty(); }
  /// One error that lists every problem; `name` is the file.
  llvm::Error take(llvm::StringRef name);

private:
  std::vector<std::string> problems;
};

/// Where a problem is reported that a part of a file has.
using Problem = llvm::function_ref<void(const llvm::Twine &)>;

/// Reads the fields of one JSON object. A field that is absent or null has its default; one of the
/// wrong type is a problem.
class JsonObject {
public:
  JsonObject(const Json &json, std::string path, Problems &problems);

  const Json *find(llvm::StringRef key) const;
  bool boolean(llvm::StringRef key, bool absent) const;
  std::optional<std::string> string(llvm::StringRef key) const;
  std::optional<uint32_t> number(llvm::StringRef key) const;
  void operator()(const llvm::Twine &text) const { problem(text); } // as a Problem
  /// The elements of an array; empty where it is absent.
  std::vector<const Json *> array(llvm::StringRef key) const;
  JsonObject object(const Json &json, llvm::StringRef key) const;
  std::string typeName() const { return string("type").value_or(""); }

  const std::string &getPath() const { return path; }
  Problems &getProblems() const { return problems; }
  void problem(const llvm::Twine &text) const { problems.add(path + ": " + text); }
  bool isObject() const { return json.is_object(); }

private:
  const Json &json;
  std::string path;
  Problems &problems;
};

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_READJSON_H
