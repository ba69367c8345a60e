/* An encoder: its function, its memory, and the batch that the next call takes. */
#ifndef KILN_LLM_ENCODER_H
#define KILN_LLM_ENCODER_H

#include "kiln/llm.h"
#include "llm/llm.h"

namespace kiln {

constexpr uint32_t no_input = UINT32_MAX;

/* Indices of the function's dims and inputs. */
struct encoder_function_t {
  const kiln_function_t *function;
  uint32_t n, s, b, p;
  uint32_t tokens, positions, slots, block_table, lengths;
  uint32_t token_types; /* or no_input */
  uint32_t input_count;
};

constexpr uint32_t encoder_dims = 4;
constexpr uint32_t encoder_most_inputs = 6;

} // namespace kiln

struct kiln_encoder {
  const kiln_model_t *model;
  kiln_pool_t *pool;
  kiln_model_t *own_model; /* of kiln_encoder_open, or NULL */
  kiln_pool_t *own_pool;
  kiln_tokenizer_t *tokenizer; /* or NULL */
  kiln::encoder_function_t function;
  kiln_encoder_info info;
  uint32_t page_size, most_texts; /* texts of a call */
  uint32_t columns;               /* of a row of the block table: pages of the longest text */
  uint32_t pages;
  int32_t cancelled; /* set and taken atomically */

  kiln::reserved_t keys_and_values, workspace, hidden_states;
  int32_t *tokens, *positions, *slots, *token_types; /* [max_tokens] */
  int32_t *lengths;                                  /* [most_texts] */
  int32_t *block_table;                              /* [most_texts, columns of the call] */
  int32_t *text;                                     /* [context_length]: an encoded text */
  int32_t *suffix;                                   /* what the template puts after a text */
  uint32_t suffix_count;

  uint32_t batch_tokens, batch_texts;
  kiln_profile *profile; /* or NULL */
};

#endif /* KILN_LLM_ENCODER_H */
