// Measures what a language model keeps in memory beside its weights, the KV pages in use and the
// planned arena, after a prompt and some decoding: pages that are present, from /proc/self/pagemap.
// Fails when the rest of the process, code and libraries included, is over the budget. Linux only.
//   kiln_resident_memory ARTIFACT [budget in bytes, default 4194304] [tokens, default 64]

#include "llm/llm.h"

#include "kiln/artifact.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace {

uint64_t page_bytes() { return (uint64_t)sysconf(_SC_PAGESIZE); }

/* Bytes of the pages inside [data, data + size) that are present; pages cut by an end count not. */
uint64_t present(const void *data, uint64_t size) {
  uint64_t page = page_bytes();
  uint64_t first = ((uint64_t)(uintptr_t)data + page - 1) / page;
  uint64_t end = ((uint64_t)(uintptr_t)data + size) / page, count = 0;
  int fd = open("/proc/self/pagemap", O_RDONLY);
  for (uint64_t entry; fd >= 0 && first < end; ++first) {
    if (pread(fd, &entry, sizeof(entry), (off_t)(first * sizeof(entry))) != sizeof(entry))
      break;
    count += entry >> 63;
  }
  if (fd >= 0)
    close(fd);
  return count * page;
}

uint64_t resident() {
  unsigned long long total = 0, pages = 0;
  if (FILE *file = fopen("/proc/self/statm", "r")) {
    if (fscanf(file, "%llu %llu", &total, &pages) != 2)
      pages = 0;
    fclose(file);
  }
  return pages * page_bytes();
}

void print(const char *what, uint64_t bytes) {
  printf("%-44s %9.1f KB\n", what, double(bytes) / 1024);
}

int fail(const kiln_error &error) {
  fprintf(stderr, "%s\n", error.text);
  return 2;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: kiln_resident_memory ARTIFACT [budget in bytes] [tokens]\n");
    return 2;
  }
  uint64_t budget = argc > 2 ? strtoull(argv[2], nullptr, 10) : 4u << 20;
  uint64_t tokens = argc > 3 ? strtoull(argv[3], nullptr, 10) : 64;
  uint64_t at_start = resident();
  kiln_error error = {};
  kiln_model_t *model = nullptr;
  kiln_pool_t *pool = nullptr;
  kiln_llm_t *llm = nullptr;
  uint32_t sequence = 0;
  if (kiln_model_open_path(argv[1], &model, &error) || kiln_pool_create(0, &pool, &error) ||
      kiln_llm_create(model, pool, nullptr, &llm, &error) ||
      kiln_sequence_open(llm, &sequence, &error))
    return fail(error);
  const void *weights = nullptr;
  size_t weights_size = 0;
  if (kiln_model_section(model, KILN_SECTION_WEIGHTS, &weights, &weights_size))
    weights_size = 0;
  uint64_t at_open = resident() - present(weights, weights_size);

  int32_t prompt[16];
  for (int i = 0; i < 16; ++i)
    prompt[i] = 3 + i;
  kiln_generate_options options = {};
  options.max_tokens = (size_t)tokens;
  options.ignore_end_tokens = 1;
  kiln_llm_stats stats;
  if (kiln_sequence_generate(llm, sequence, prompt, 16, &options, &stats, &error))
    return fail(error);

  // The arena comes first in the workspace. It was largest for the prompt.
  const kiln::decoder_t &decoder = llm->decoder;
  int64_t dims[kiln::decoder_dims];
  dims[decoder.n] = 16;
  dims[decoder.m] = 1;
  dims[decoder.s] = 1;
  dims[decoder.b] = llm->columns;
  dims[decoder.p] = llm->info.cache_pages;
  kiln_memory_needs needs;
  if (kiln_function_memory(decoder.function, dims, kiln_pool_workers(pool), &needs, &error))
    return fail(error);

  uint64_t total = resident();
  uint64_t of_weights = present(weights, weights_size);
  uint64_t of_cache = present(llm->cache.data, llm->cache.size);
  uint64_t of_arena = present(llm->workspace.data, needs.arena_bytes);
  uint64_t rest = total - of_weights - of_cache - of_arena;
  print("resident", total);
  print("  weights, mapped", of_weights);
  print("  KV pages", of_cache);
  print("  planned arena", of_arena);
  print("  the rest", rest);
  print("    of it: program and libraries, at start", at_start);
  print("    of it: by opening", at_open - at_start);
  print("    of it: scratch and tables of calls",
        present(llm->workspace.data, llm->workspace.size) - of_arena);
  print("    of it: logits", present(llm->logits.data, llm->logits.size) +
                                 present(llm->sequence_logits.data, llm->sequence_logits.size));
  kiln_llm_destroy(llm);
  kiln_pool_destroy(pool);
  kiln_model_close(model);
  if (rest <= budget)
    return 0;
  fprintf(stderr,
          "%s: expected at most %llu bytes beside weights, KV pages and arena, found %llu\n",
          argv[1], (unsigned long long)budget, (unsigned long long)rest);
  return 1;
}
