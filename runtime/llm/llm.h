/* A language model: the decoder function, its memory, the pages of the KV cache. */
#ifndef KILN_LLM_LLM_H
#define KILN_LLM_LLM_H

#include "kiln/llm.h"

#include <stdint.h>

namespace kiln {

constexpr int32_t no_token = -1;

/* Memory that costs nothing until it is touched, zero at first. */
struct reserved_t {
  void *data;
  uint64_t size;
};
kiln_status_t reserve_memory(uint64_t size_bytes, const char *what, reserved_t *memory,
                             kiln_error *error);
void release_memory(reserved_t *memory);

struct sequence_t {
  uint32_t length; /* tokens in the cache */
  uint32_t pages;  /* filled columns of its row of the block table */
  int32_t pending; /* sampled, to be appended before anything else; or no_token */
  uint32_t keep;   /* tokens that sliding leaves in place */
  uint32_t slides; /* how often tokens were dropped */
  bool open;
  bool slide;
  bool has_text;   /* holds a token that is not special: what follows continues a text */
  bool has_logits; /* its row of sequence_logits follows its last token */
};

/* Indices of the decoder function's dims and inputs. */
struct decoder_t {
  const kiln_function_t *function;
  uint32_t n, m, s, b, p;
  uint32_t tokens, positions, slots, block_table, out_rows;
  uint32_t dim_count, input_count;
};

constexpr uint32_t decoder_dims = 5;
constexpr uint32_t decoder_inputs = 5;

} // namespace kiln

struct kiln_llm {
  const kiln_model_t *model;
  kiln_pool_t *pool;
  kiln_model_t *own_model; /* of kiln_llm_open, or NULL */
  kiln_pool_t *own_pool;
  kiln_tokenizer_t *tokenizer; /* or NULL */
  kiln::decoder_t decoder;
  kiln_llm_info info;
  uint32_t columns;  /* of the block table */
  uint32_t max_rows; /* rows of logits in a call */
  uint32_t min_rows;
  uint32_t cache_layers; /* 0: how pages lie in the cache is not known */
  int32_t cancelled;     /* set and taken atomically */
  kiln_progress_fn progress;
  void *progress_user;
  kiln_profile *profile; /* or NULL */

  kiln::reserved_t cache, workspace, logits, sequence_logits;
  kiln::reserved_t history;            /* i32 [max_sequences, context_length + 1] */
  int32_t *tokens, *positions, *slots; /* [chunk] */
  int32_t *block_table;                /* [max_sequences, columns] */
  int32_t *out_rows;                   /* [max_rows] */
  int32_t *free_pages;                 /* a stack of info.cache_pages_free */
  uint32_t *page_users;                /* [cache_pages]: sequences that use the page */
  kiln::sequence_t *sequences;         /* [max_sequences] */
  uint32_t *added;                     /* [max_sequences]: tokens of the batch */
  uint32_t *batch_sequences;           /* [chunk] */
  uint32_t *batch_rows;                /* [max_rows] */
  int32_t *prompt;                     /* [context_length + 1]: an encoded text */
  char *piece;                         /* a piece of text */
  size_t piece_capacity;
};

namespace kiln {

/* Finds the decoder function and checks its dims, inputs, outputs and state. */
kiln_status_t decoder_find(const kiln_model_t *model, const char *name, uint32_t vocab_size,
                           decoder_t *decoder, kiln_error *error);

/* The open sequence with this number, or NULL with the error written. */
sequence_t *sequence_find(const kiln_llm_t *llm, uint32_t sequence, kiln_error *error);

inline float *sequence_logits_row(const kiln_llm_t *llm, uint32_t sequence) {
  return static_cast<float *>(llm->sequence_logits.data) +
         (uint64_t)sequence * llm->info.vocab_size;
}

/* The tokens in the cache; room for context_length + 1. */
inline int32_t *sequence_history(const kiln_llm_t *llm, uint32_t sequence) {
  return static_cast<int32_t *>(llm->history.data) +
         (uint64_t)sequence * ((uint64_t)llm->info.context_length + 1);
}

/* How many more tokens the sequence can take: places in the context, and in pages. */
uint32_t sequence_room(const kiln_llm_t *llm, const sequence_t &sequence);

/* Makes room for `count` more tokens, which are more than the sequence has room for, by dropping
 * tokens as its policy says. KILN_CONTEXT_FULL where the policy is to stop or nothing helps. */
kiln_status_t sequence_slide(kiln_llm_t *llm, uint32_t sequence, size_t count, kiln_error *error);

/* How many tokens sliding drops from behind the first `keep`, so that `count` tokens of which
 * `length` fit become few enough. */
size_t slide_distance(uint32_t context_length, uint32_t keep, size_t count);

/* Encodes a prompt into llm->prompt. */
kiln_status_t encode_prompt(kiln_llm_t *llm, uint32_t sequence, const char *text, size_t size_bytes,
                            uint32_t encode_flags, size_t *count, kiln_error *error);

/* Whether what follows the first `length` tokens continues a text. */
bool history_has_text(const kiln_llm_t *llm, const int32_t *tokens, uint32_t length);

/* Takes back a request to cancel; whether there was one. */
inline bool take_cancel(kiln_llm_t *llm) {
  return __atomic_exchange_n(&llm->cancelled, 0, __ATOMIC_ACQ_REL) != 0;
}

/* ---- Pages of the KV cache (cache_pages.cpp) ---- */

inline uint32_t pages_of(const kiln_llm_t *llm, uint32_t length) {
  return length / llm->info.page_size + (length % llm->info.page_size != 0);
}

inline int32_t *block_row(const kiln_llm_t *llm, uint32_t sequence) {
  return llm->block_table + (size_t)sequence * llm->columns;
}

/* Bytes of a page, all layers together; 0 where they cannot be copied. */
uint64_t page_bytes(const kiln_llm_t *llm);
/* Copies a page's bytes out of the cache or into it, layer by layer. */
void page_read(const kiln_llm_t *llm, int32_t page, uint8_t *bytes);
void page_write(const kiln_llm_t *llm, int32_t page, const uint8_t *bytes);

/* Whether the page that the sequence's next token is written to is used by another one, too. */
bool writes_shared_page(const kiln_llm_t *llm, uint32_t sequence);
/* Pages to be taken so that `count` more tokens can be written. */
uint32_t pages_needed(const kiln_llm_t *llm, uint32_t sequence, uint32_t count);
/* Takes them, copying the page that is shared; they are there. */
void take_pages(kiln_llm_t *llm, uint32_t sequence, uint32_t count);
/* Gives back the pages behind the sequence's length. */
void release_pages(kiln_llm_t *llm, uint32_t sequence);
/* Gives an empty sequence the pages of another one. */
void share_pages(kiln_llm_t *llm, uint32_t from, uint32_t to);

} // namespace kiln

#endif /* KILN_LLM_LLM_H */
