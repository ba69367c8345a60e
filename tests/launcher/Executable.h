// Executables for tests of the launcher: bytes in the form of kiln/executable.h. What stands for
// the artifact is a header with nothing behind it, since the launcher looks no further.
#ifndef KILN_TESTS_LAUNCHER_EXECUTABLE_H
#define KILN_TESTS_LAUNCHER_EXECUTABLE_H

#include "kiln/artifact.h"
#include "kiln/executable.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace kiln::test {

using Bytes = std::vector<uint8_t>;

/// Makes the checksums of a trailer right, as far as its ranges are inside the file.
inline void repairTrailer(uint8_t *data, size_t size) {
  kiln_executable_trailer trailer;
  if (size < sizeof trailer)
    return;
  std::memcpy(&trailer, data + size - sizeof trailer, sizeof trailer);
  if (trailer.artifact_offset <= size) {
    trailer.launcher_checksum = XXH64(data, trailer.artifact_offset, 0);
    if (size - trailer.artifact_offset >= sizeof(kiln_artifact_header))
      std::memcpy(&trailer.table_checksum,
                  data + trailer.artifact_offset + offsetof(kiln_artifact_header, table_checksum),
                  sizeof trailer.table_checksum);
  }
  trailer.trailer_checksum =
      XXH64(&trailer, offsetof(kiln_executable_trailer, trailer_checksum), 0);
  std::memcpy(data + size - sizeof trailer, &trailer, sizeof trailer);
}

inline Bytes makeExecutable(size_t launcherBytes = KILN_EXECUTABLE_ALIGNMENT) {
  kiln_artifact_header header = {};
  std::memcpy(header.magic, KILN_ARTIFACT_MAGIC, sizeof header.magic);
  header.total_size = sizeof header;
  header.table_checksum = 42;
  kiln_executable_trailer trailer = {};
  trailer.artifact_offset = launcherBytes;
  trailer.artifact_size = sizeof header;
  trailer.version = KILN_EXECUTABLE_VERSION;
  std::memcpy(trailer.magic, KILN_EXECUTABLE_MAGIC, sizeof trailer.magic);
  Bytes bytes(launcherBytes, 0x90);
  auto append = [&](const void *data, size_t size) {
    bytes.insert(bytes.end(), static_cast<const uint8_t *>(data),
                 static_cast<const uint8_t *>(data) + size);
  };
  append(&header, sizeof header);
  append(&trailer, sizeof trailer);
  repairTrailer(bytes.data(), bytes.size());
  return bytes;
}

} // namespace kiln::test

#endif
