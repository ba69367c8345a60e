// Finds the launcher of an architecture and makes sure that it is one: a file of the wrong kind
// would be noticed only where the executable is run.
#include "compiler/artifact/Launcher.h"
#include "kiln/executable.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace kiln;

llvm::Expected<std::vector<uint8_t>>
kiln::readLauncher(llvm::StringRef folder, llvm::StringRef architecture, uint16_t elfMachine) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, "launcher-" + architecture);
  auto fail = [&](const llvm::Twine &what) {
    return llvm::createStringError(llvm::Twine(path) + ": " + what);
  };
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!file)
    return fail("an executable for " + architecture +
                " needs this program in front of its model, and it cannot be read: " +
                file.getError().message() +
                ". It is built with kiln where there is a compiler for " + architecture);
  llvm::StringRef bytes = (*file)->getBuffer();
  llvm::ELF::Elf64_Ehdr header;
  if (bytes.size() < sizeof header || bytes.size() > KILN_MAX_LAUNCHER_BYTES)
    return fail(llvm::formatv("expected a program of {0} to {1} bytes, found {2}", sizeof header,
                              KILN_MAX_LAUNCHER_BYTES, bytes.size()));
  std::memcpy(&header, bytes.data(), sizeof header);
  bool program = header.e_type == llvm::ELF::ET_EXEC || header.e_type == llvm::ELF::ET_DYN;
  if (!header.checkMagic() || header.getFileClass() != llvm::ELF::ELFCLASS64 || !program ||
      header.e_machine != elfMachine)
    return fail("expected a 64-bit ELF program for " + architecture);
  return std::vector<uint8_t>(bytes.bytes_begin(), bytes.bytes_end());
}
