// A JSON object of a model's folder, read key by key with type and range checked.
#ifndef KILN_COMPILER_IMPORT_CONFIGOBJECT_H
#define KILN_COMPILER_IMPORT_CONFIGOBJECT_H

#include "compiler/import/Problems.h"
#include <nlohmann/json.hpp>
#include <optional>

namespace kiln {

/// Each getter gives nothing where the key is absent or null; a value of the wrong type or out of
/// range is a problem ("config.json: hidden_size: expected an integer from 1 to 1048576, found -3")
/// and gives nothing too.
class ConfigObject {
public:
  /// Parses `text`; messages call the object `file`.
  static std::optional<ConfigObject> parse(llvm::StringRef file, llvm::StringRef text,
                                           Problems &problems);
  /// The same of a JSON object.
  static ConfigObject from(llvm::StringRef file, nlohmann::json object, Problems &problems);
  /// An object without keys, for a file that is optional and absent.
  static ConfigObject empty(llvm::StringRef file, Problems &problems);

  /// Whether the key is there and not null.
  bool has(llvm::StringRef key) const { return find(key) != nullptr; }
  /// Whether the key is there and null.
  bool isNull(llvm::StringRef key) const;
  std::optional<int64_t> getInteger(llvm::StringRef key, int64_t min, int64_t max) const;
  std::optional<double> getNumber(llvm::StringRef key, double min, double max) const;
  std::optional<bool> getBool(llvm::StringRef key) const;
  std::optional<std::string> getString(llvm::StringRef key) const;
  std::optional<ConfigObject> getObject(llvm::StringRef key) const;
  /// One integer or an array of them.
  std::vector<int64_t> getIntegers(llvm::StringRef key, int64_t min, int64_t max) const;
  std::vector<double> getNumbers(llvm::StringRef key, double min, double max) const;
  std::vector<std::string> getStrings(llvm::StringRef key) const;

  /// getInteger for a key that must be there.
  std::optional<int64_t> requireInteger(llvm::StringRef key, int64_t min, int64_t max) const;

  /// Takes over what `from` has and this has not, of these keys.
  void inherit(const ConfigObject &from, llvm::ArrayRef<llvm::StringRef> keys);

  const Problems &getProblems() const { return *problems; }
  /// Adds "file: key: text".
  void fail(llvm::StringRef key, const llvm::Twine &text) const;
  /// The value as text for a message.
  std::string print(llvm::StringRef key) const;

private:
  ConfigObject(std::string file, nlohmann::json object, Problems &problems)
      : file(std::move(file)), object(std::move(object)), problems(&problems) {}
  const nlohmann::json *find(llvm::StringRef key) const;

  std::string file;
  nlohmann::json object;
  Problems *problems;
};

} // namespace kiln

#endif
