// Restores any bytes as a saved sequence, as they are and with a checksum that holds; what restores
// must save, go on and be rewound without harm. The model is the stand-in of tests/llm.

#include "FakeRuntime.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>
#include <cstring>

using namespace kiln::test;

static void require(bool holds) {
  if (!holds)
    std::abort();
}

static void goOn(kiln_llm_t *llm, uint32_t sequence) {
  uint64_t size = 0;
  require(kiln_sequence_save_bytes(llm, sequence, &size, nullptr) == KILN_OK);
  std::vector<uint8_t> bytes(size);
  require(kiln_sequence_save(llm, sequence, bytes.data(), size, nullptr) == KILN_OK);
  require(kiln_sequence_restore(llm, sequence, bytes.data(), size, nullptr) == KILN_OK);
  kiln_generate_options options = {};
  options.max_tokens = 3;
  kiln_llm_stats stats;
  kiln_sequence_generate(llm, sequence, nullptr, 0, &options, &stats, nullptr);
  uint32_t length = kiln_sequence_length(llm, sequence);
  require(kiln_sequence_truncate(llm, sequence, length / 2, nullptr) == KILN_OK);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static FakeRuntime runtime;
  static kiln_llm_t *llm = nullptr;
  uint32_t sequence = 0;
  if (!llm)
    require(kiln_llm_create(runtime.model(), runtime.pool(), nullptr, &llm, nullptr) == KILN_OK);
  require(kiln_sequence_open(llm, &sequence, nullptr) == KILN_OK);
  std::vector<uint8_t> bytes(data, data + size); // exactly as large
  if (kiln_sequence_restore(llm, sequence, bytes.data(), size, nullptr) == KILN_OK)
    goOn(llm, sequence);
  if (size > 16) { // behind magic and checksum
    uint64_t checksum = XXH64(bytes.data() + 16, size - 16, 0);
    std::memcpy(bytes.data() + 8, &checksum, sizeof(checksum));
    if (kiln_sequence_restore(llm, sequence, bytes.data(), size, nullptr) == KILN_OK)
      goOn(llm, sequence);
  }
  require(kiln_sequence_close(llm, sequence, nullptr) == KILN_OK);
  kiln_llm_info info;
  kiln_llm_get_info(llm, &info);
  require(info.cache_pages_free == info.cache_pages);
  return 0;
}
