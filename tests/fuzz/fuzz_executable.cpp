// Fuzzes how the launcher finds the artifact in its own file. Checksums are made right before,
// since no mutation would get past them otherwise; what is found must lie inside the file.
#include "../launcher/Executable.h"
#include "launcher/embedded_artifact.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kiln::test::Bytes bytes(data, data + size);
  kiln::test::repairTrailer(bytes.data(), size);
  kiln::byte_range_t artifact = {};
  kiln_error error = {};
  if (kiln::embedded_artifact_find({bytes.data(), size}, &artifact, &error) == KILN_OK) {
    if (artifact.data < bytes.data() || artifact.size > size ||
        artifact.data + artifact.size > bytes.data() + size)
      __builtin_trap();
  } else if (error.text[0] == 0) {
    __builtin_trap(); // a refusal without a reason
  }
  return 0;
}
