// The program that stands in front of an artifact in an executable (runtime/launcher).
#ifndef KILN_COMPILER_ARTIFACT_LAUNCHER_H
#define KILN_COMPILER_ARTIFACT_LAUNCHER_H

#include "llvm/Support/Error.h"
#include <cstdint>
#include <vector>

namespace kiln {

/// Reads `folder`/launcher-`architecture` and checks that it is a program for that machine (an
/// e_machine of ELF). The error says what is missing, and where.
llvm::Expected<std::vector<uint8_t>>
readLauncher(llvm::StringRef folder, llvm::StringRef architecture, uint16_t elfMachine);

} // namespace kiln

#endif
