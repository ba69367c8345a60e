// Pages of the KV cache. A page belongs to every sequence whose row of the block table names it; it
// goes back to the free ones when the last of them lets go. A sequence writes only behind its last
// token, so of its pages only the one there can be both shared and written: it is copied first.
// The cache lies in memory as [layer][page], so a page is as many pieces as there are layers.

#include "llm/llm.h"

#include <string.h>

namespace kiln {

uint64_t page_bytes(const kiln_llm_t *llm) {
  return llm->cache_layers ? llm->info.cache_bytes / llm->info.cache_pages : 0;
}

static uint64_t layer_page_bytes(const kiln_llm_t *llm) {
  return page_bytes(llm) / llm->cache_layers;
}

static uint8_t *page_of_layer(const kiln_llm_t *llm, int32_t page, uint32_t layer) {
  return static_cast<uint8_t *>(llm->cache.data) +
         ((uint64_t)layer * llm->info.cache_pages + (uint64_t)page) * layer_page_bytes(llm);
}

void page_read(const kiln_llm_t *llm, int32_t page, uint8_t *bytes) {
  uint64_t size = layer_page_bytes(llm);
  for (uint32_t layer = 0; layer < llm->cache_layers; ++layer)
    memcpy(bytes + layer * size, page_of_layer(llm, page, layer), (size_t)size);
}

void page_write(const kiln_llm_t *llm, int32_t page, const uint8_t *bytes) {
  uint64_t size = layer_page_bytes(llm);
  for (uint32_t layer = 0; layer < llm->cache_layers; ++layer)
    memcpy(page_of_layer(llm, page, layer), bytes + layer * size, (size_t)size);
}

static void page_copy(const kiln_llm_t *llm, int32_t from, int32_t to) {
  for (uint32_t layer = 0; layer < llm->cache_layers; ++layer)
    memcpy(page_of_layer(llm, to, layer), page_of_layer(llm, from, layer),
           (size_t)layer_page_bytes(llm));
}

static int32_t take_page(kiln_llm_t *llm) {
  int32_t page = llm->free_pages[--llm->info.cache_pages_free];
  llm->page_users[page] = 1;
  return page;
}

static void release_page(kiln_llm_t *llm, int32_t page) {
  if (--llm->page_users[page] == 0)
    llm->free_pages[llm->info.cache_pages_free++] = page;
}

bool writes_shared_page(const kiln_llm_t *llm, uint32_t sequence) {
  const sequence_t &state = llm->sequences[sequence];
  uint32_t column = state.length / llm->info.page_size;
  return column < state.pages &&
         llm->page_users[llm->block_table[(size_t)sequence * llm->columns + column]] > 1;
}

uint32_t pages_needed(const kiln_llm_t *llm, uint32_t sequence, uint32_t count) {
  const sequence_t &state = llm->sequences[sequence];
  return pages_of(llm, state.length + count) - state.pages + writes_shared_page(llm, sequence);
}

void take_pages(kiln_llm_t *llm, uint32_t sequence, uint32_t count) {
  sequence_t &state = llm->sequences[sequence];
  int32_t *row = block_row(llm, sequence);
  if (writes_shared_page(llm, sequence)) {
    int32_t &page = row[state.length / llm->info.page_size];
    int32_t own = take_page(llm);
    if (state.length % llm->info.page_size)
      page_copy(llm, page, own);
    release_page(llm, page);
    page = own;
  }
  while (state.pages < pages_of(llm, state.length + count))
    row[state.pages++] = take_page(llm);
}

void release_pages(kiln_llm_t *llm, uint32_t sequence) {
  sequence_t &state = llm->sequences[sequence];
  int32_t *row = block_row(llm, sequence);
  for (uint32_t kept = pages_of(llm, state.length); state.pages > kept;) {
    release_page(llm, row[--state.pages]);
    row[state.pages] = 0; // a valid index, never used
  }
}

void share_pages(kiln_llm_t *llm, uint32_t from, uint32_t to) {
  sequence_t &state = llm->sequences[to];
  const int32_t *source = block_row(llm, from);
  int32_t *row = block_row(llm, to);
  for (; state.pages < pages_of(llm, state.length); ++state.pages) {
    row[state.pages] = source[state.pages];
    ++llm->page_users[row[state.pages]];
  }
}

} // namespace kiln
