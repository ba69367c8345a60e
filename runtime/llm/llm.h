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

struct sequence_t {
  uint32_t length; /* tokens in the cache */
  uint32_t pages;  /* filled columns of its row of the block table */
  int32_t pending; /* sampled, to be appended before anything else; or no_token */
  bool open;
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
  kiln_pool_t *pool;
  kiln_tokenizer_t *tokenizer; /* or NULL */
  kiln::decoder_t decoder;
  kiln_llm_info info;
  uint32_t columns;  /* of the block table */
  uint32_t max_rows; /* rows of logits in a call */
  uint32_t min_rows;
  kiln_progress_fn progress;
  void *progress_user;
  kiln_profile *profile; /* or NULL */

  kiln::reserved_t cache, workspace, logits, sequence_logits;
  int32_t *tokens, *positions, *slots; /* [chunk] */
  int32_t *block_table;                /* [max_sequences, columns] */
  int32_t *out_rows;                   /* [max_rows] */
  int32_t *free_pages;                 /* a stack of info.cache_pages_free */
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

/* How many more tokens the sequence can take: places in the context, and in pages. */
uint32_t sequence_room(const kiln_llm_t *llm, const sequence_t &sequence);

} // namespace kiln

#endif /* KILN_LLM_LLM_H */
