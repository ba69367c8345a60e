// The container of a .kiln file, or an executable with one inside, written to a temporary beside
// its place and renamed when complete.
#ifndef KILN_COMPILER_ARTIFACT_ARTIFACTFILE_H
#define KILN_COMPILER_ARTIFACT_ARTIFACTFILE_H

#include "kiln/artifact.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kiln {

/// Sections are declared with their sizes first, then filled in any order. Until commit() nothing
/// is at the target path; if the object goes before, or the process is killed by a signal that can
/// be caught, the temporary goes too.
class ArtifactFile {
public:
  explicit ArtifactFile(llvm::StringRef path);
  ~ArtifactFile();
  ArtifactFile(const ArtifactFile &) = delete;
  ArtifactFile &operator=(const ArtifactFile &) = delete;

  /// Makes the file an executable (kiln/executable.h): this program, then the artifact, then a
  /// trailer; whoever may read the file may run it. Not after create().
  void setLauncher(llvm::ArrayRef<uint8_t> program);
  /// Declares the next section and returns its index in the table. Not after create().
  unsigned addSection(kiln_section_kind kind, uint64_t size);
  /// Bytes of the artifact with the sections declared so far.
  uint64_t getTotalSize() const;
  /// Bytes of the file: of the artifact, and what surrounds it in an executable.
  uint64_t getFileSize() const;

  /// Creates the temporary.
  llvm::Error create();
  /// Appends to a section. All bytes of a section must be written before commit().
  llvm::Error append(unsigned section, llvm::ArrayRef<uint8_t> bytes);
  /// Writes header and table and moves the file to its path.
  llvm::Error commit();

private:
  struct Section;
  llvm::Error write(uint64_t offset, llvm::ArrayRef<uint8_t> bytes);
  llvm::Error writeTrailer(const kiln_artifact_header &header);

  std::string path;
  std::vector<uint8_t> launcher; // padded to where the artifact begins
  std::vector<std::unique_ptr<Section>> sections;
  std::optional<llvm::sys::fs::TempFile> temporary;
};

} // namespace kiln

#endif
