// The header of a GGUF file (versions 2 and 3, little-endian): its metadata, and what tensors it
// holds and where their bytes lie.
#ifndef KILN_COMPILER_IMPORT_GGUF_GGUFFILE_H
#define KILN_COMPILER_IMPORT_GGUF_GGUFFILE_H

#include "compiler/artifact/BlockTypes.h"
#include "compiler/import/Problems.h"
#include "llvm/ADT/StringMap.h"
#include <memory>
#include <optional>

namespace kiln {

/// The format's own numbers.
enum class GgufValueType : uint32_t {
  UInt8 = 0,
  Int8 = 1,
  UInt16 = 2,
  Int16 = 3,
  UInt32 = 4,
  Int32 = 5,
  Float32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  UInt64 = 10,
  Int64 = 11,
  Float64 = 12,
};

/// The key-values of a file. A getter gives nothing where the key is absent; a value of the wrong
/// type or out of range is a problem ("m.gguf: llama.block_count: expected an integer from 1 to
/// 1024, found -3") and gives nothing too. Strings are the file's bytes: they need not be UTF-8.
class GgufMetadata {
public:
  bool has(llvm::StringRef key) const { return values.count(key); }
  /// In the order of the file.
  llvm::ArrayRef<llvm::StringRef> getKeys() const { return keys; }

  /// The view lives as long as the file's metadata.
  std::optional<llvm::StringRef> getString(llvm::StringRef key, Problems &problems) const;
  /// A value of any integer type, within the bounds.
  std::optional<int64_t> getInteger(llvm::StringRef key, int64_t min, int64_t max,
                                    Problems &problems) const;
  std::optional<uint64_t> getUnsigned(llvm::StringRef key, Problems &problems) const;
  /// A value of any number type.
  std::optional<double> getNumber(llvm::StringRef key, Problems &problems) const;
  std::optional<bool> getBool(llvm::StringRef key, Problems &problems) const;

  /// Whether the key is there and holds an array.
  bool isArray(llvm::StringRef key) const;
  /// The views live as long as the file's metadata.
  std::optional<std::vector<llvm::StringRef>> getStrings(llvm::StringRef key,
                                                         Problems &problems) const;
  /// An array of any integer type (or of bools, as 0 and 1) whose values fit.
  std::optional<std::vector<int32_t>> getIntegers(llvm::StringRef key, Problems &problems) const;
  /// An array of f32 or f64.
  std::optional<std::vector<float>> getNumbers(llvm::StringRef key, Problems &problems) const;

  /// The value as text for a message, cut when long; "nothing" where the key is absent.
  std::string print(llvm::StringRef key) const;
  /// Adds "file: key: text".
  void fail(llvm::StringRef key, const llvm::Twine &text, Problems &problems) const;

private:
  friend class GgufParser;
  struct Value {
    GgufValueType type; // of the elements, where it is an array
    bool isArray;
    uint64_t count; // 1 where it is no array
    /// Checked already: `count` elements as the file has them; of nested arrays nothing is kept.
    llvm::StringRef bytes;
  };
  const Value *find(llvm::StringRef key) const;
  std::string print(const Value &value) const;

  std::string file;
  std::shared_ptr<const std::string> header; // what the views below point into
  std::vector<llvm::StringRef> keys;
  llvm::StringMap<Value> values;
};

struct GgufTensor {
  std::string name;
  const BlockType *type;
  std::vector<int64_t> shape; // outermost dim first; rows are the last dim, of whole blocks
  uint64_t offset;            // in bytes from the start of the file
  uint64_t sizeBytes;
};

struct GgufHeader {
  uint32_t version;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors; // in the order of their bytes
  uint64_t hash;                   // xxh64 of the header
};

/// Parses a header out of `bytes`, the file's first bytes (all of them where they are fewer than
/// `fileSize`, and then the header must end within them). On any problem gives nothing.
std::optional<GgufHeader> parseGgufHeader(llvm::StringRef file, llvm::StringRef bytes,
                                          uint64_t fileSize, Problems &problems);

/// Reads the header of the file at `path`; messages call it `file`. The tensors' bytes are not
/// read.
std::optional<GgufHeader> readGgufHeader(llvm::StringRef path, llvm::StringRef file,
                                         Problems &problems);

} // namespace kiln

#endif
