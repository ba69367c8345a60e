// The files of a model folder that weights are read from.
#ifndef KILN_COMPILER_ARTIFACT_SOURCEFILES_H
#define KILN_COMPILER_ARTIFACT_SOURCEFILES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <memory>
#include <string>

namespace kiln {

/// Bytes of weights that lie in memory, by the names that take the place of files': initializers of
/// an ONNX file, and what an importer made of them.
using MemorySources = std::map<std::string, llvm::ArrayRef<uint8_t>, std::less<>>;

/// An open file, or bytes in memory. Reading is safe from several threads.
class SourceFile {
public:
  SourceFile(std::string name, int descriptor, uint64_t size)
      : name(std::move(name)), descriptor(descriptor), size(size) {}
  SourceFile(std::string name, llvm::ArrayRef<uint8_t> memory)
      : name(std::move(name)), size(memory.size()), memory(memory) {}
  ~SourceFile();
  SourceFile(const SourceFile &) = delete;
  SourceFile &operator=(const SourceFile &) = delete;

  llvm::StringRef getName() const { return name; }
  /// Bytes, when it was opened.
  uint64_t getSize() const { return size; }

  /// Fills `bytes` from `offset`. An error names the file and `tensor`, also where the file has
  /// become shorter since it was opened.
  llvm::Error read(uint64_t offset, llvm::MutableArrayRef<uint8_t> bytes,
                   llvm::StringRef tensor) const;

private:
  std::string name;
  int descriptor = -1;
  uint64_t size;
  llvm::ArrayRef<uint8_t> memory; // where there is no descriptor
};

/// Opens each file of a folder once. Names are relative to the folder and stay below it.
class SourceFiles {
public:
  /// `memory`, which may be null, must outlive this.
  explicit SourceFiles(llvm::StringRef folder, const MemorySources *memory = nullptr)
      : folder(folder), memory(memory) {}

  llvm::Expected<const SourceFile *> open(llvm::StringRef name);

private:
  std::string folder;
  const MemorySources *memory;
  std::map<std::string, std::unique_ptr<SourceFile>> files;
};

} // namespace kiln

#endif
