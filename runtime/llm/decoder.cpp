// The decoder function that the language-model layer drives, and what it must look like:
//
//   dims      n tokens, m rows of logits wanted, s sequence slots, b columns of the block table,
//             p pages
//   inputs    tokens, positions, slots i32[n]; block_table i32[s, b]; out_rows i32[m]
//   state     the KV cache; its size depends on p only
//   output    logits f32[m, vocab]
//
// The token at position t of slot s lives in page block_table[s, t / page_size], row t % page_size.
// Everything is found by name; a function of another form is refused with the reason.

#include "llm/llm.h"

#include "core/error.h"
#include "llm/function_finder.h"

namespace kiln {

kiln_status_t decoder_find(const kiln_model_t *model, const char *name, uint32_t vocab_size,
                           decoder_t *decoder, kiln_error *error) {
  *decoder = {};
  decoder->function = kiln_model_function(model, name);
  if (!decoder->function)
    return fail(error, KILN_NOT_A_LANGUAGE_MODEL, "the model has no function '%s'", name);
  const kiln_function_t *function = decoder->function;
  function_finder_t finder = {function, KILN_NOT_A_LANGUAGE_MODEL, error};
  decoder->dim_count = (uint32_t)kiln_function_dim_count(function);
  decoder->input_count = (uint32_t)kiln_function_input_count(function);
  kiln_status_t status = KILN_OK;
  if (decoder->dim_count != decoder_dims || decoder->input_count != decoder_inputs ||
      kiln_function_output_count(function) != 1 || kiln_function_state_count(function) != 1)
    return finder.refuse("expected 5 dims, 5 inputs, 1 output and 1 state in", name);
  if ((status = finder.find_dim("n", &decoder->n)) ||
      (status = finder.find_dim("m", &decoder->m)) ||
      (status = finder.find_dim("s", &decoder->s)) ||
      (status = finder.find_dim("b", &decoder->b)) || (status = finder.find_dim("p", &decoder->p)))
    return status;
  uint32_t n = decoder->n;
  if ((status = finder.find_input("tokens", 1, n, 0, &decoder->tokens)) ||
      (status = finder.find_input("positions", 1, n, 0, &decoder->positions)) ||
      (status = finder.find_input("slots", 1, n, 0, &decoder->slots)) ||
      (status =
           finder.find_input("block_table", 2, decoder->s, decoder->b, &decoder->block_table)) ||
      (status = finder.find_input("out_rows", 1, decoder->m, 0, &decoder->out_rows)))
    return status;
  return finder.check_output("logits", decoder->m, vocab_size);
}

} // namespace kiln
