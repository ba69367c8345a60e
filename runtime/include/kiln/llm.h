/* Kiln's language-model layer: tokenizer, sampler, sequences over a decoder function, and
 * embeddings by an encoder.
 *
 * The rules of kiln.h hold: C ABI, no exception, no output, statuses with a text. Whatever a
 * tokenizer, sampler or language model needs is allocated when it is created, with few exceptions:
 * kiln_tokenizer_encode, and what takes messages or stop strings, take memory in proportion to
 * their text and give it back before they return.
 *
 *   kiln_llm_open(path, 0, NULL, &llm, &error);
 *   kiln_sequence_open(llm, &sequence, &error);
 *   kiln_sequence_generate_text(llm, sequence, "Once", 4, KILN_ENCODE_TEMPLATE, &options, &stats,
 *                               &error);
 */
#ifndef KILN_LLM_H
#define KILN_LLM_H

#include "kiln/kiln.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* ---- Tokenizer --------------------------------------------------------------------------- */

/* Immutable after opening; may be used from any number of threads at once. */
typedef struct kiln_tokenizer kiln_tokenizer_t;

/* Uses the artifact's tokenizer section in place: the model must outlive the tokenizer.
 * KILN_NO_TOKENIZER where the artifact has none. */
kiln_status_t kiln_tokenizer_open(const kiln_model_t *model, kiln_tokenizer_t **tokenizer,
                                  kiln_error *error);
/* The same from the bytes of a tokenizer section (runtime/schema/tokenizer.fbs), aligned to 8
 * bytes, which must outlive the tokenizer. */
kiln_status_t kiln_tokenizer_open_memory(const void *data, size_t size_bytes,
                                         kiln_tokenizer_t **tokenizer, kiln_error *error);
void kiln_tokenizer_close(kiln_tokenizer_t *tokenizer); /* NULL is allowed */

/* One more than the largest id. */
size_t kiln_tokenizer_size(const kiln_tokenizer_t *tokenizer);
/* The id of an added token ("<|im_end|>") or of a vocabulary entry with these bytes; -1 where there
 * is none. */
int32_t kiln_tokenizer_find(const kiln_tokenizer_t *tokenizer, const char *token,
                            size_t size_bytes);
int kiln_tokenizer_is_special(const kiln_tokenizer_t *tokenizer, int32_t id);

enum {
  /* Put the ids of the template around the text: begin and end of text, as the model was trained.
   */
  KILN_ENCODE_TEMPLATE = 1,
  /* Special tokens that are spelled out in the text are text: for text that nobody vouches for. */
  KILN_ENCODE_SPECIAL_AS_TEXT = 2,
  /* Leave out what the template puts after the text: the text is to be continued. */
  KILN_ENCODE_OPEN_END = 4
};
/* Text to ids. *count is the number of ids also where they do not fit (KILN_BUFFER_TOO_SMALL), so
 * that a first call may pass NULL and capacity 0. The text should be UTF-8; bytes that are not are
 * encoded as far as the vocabulary has bytes. At most 256 MiB. */
kiln_status_t kiln_tokenizer_encode(const kiln_tokenizer_t *tokenizer, const char *text,
                                    size_t size_bytes, uint32_t flags, int32_t *ids,
                                    size_t capacity, size_t *count, kiln_error *error);

enum {
  KILN_DECODE_SKIP_SPECIAL = 1,
  /* The ids continue a text: nothing that belongs to the beginning of a text is taken off. */
  KILN_DECODE_CONTINUE = 2
};
/* Ids to bytes, as they are: UTF-8 where the ids came from an encoder, any bytes else. Ids outside
 * the vocabulary stand for nothing. *size_bytes is set as *count is by encode. */
kiln_status_t kiln_tokenizer_decode(const kiln_tokenizer_t *tokenizer, const int32_t *ids,
                                    size_t count, uint32_t flags, char *text, size_t capacity,
                                    size_t *size_bytes, kiln_error *error);

/* Decoding token by token. Every piece is valid UTF-8: a character is held back until all its bytes
 * have come, and a byte that cannot be part of one becomes U+FFFD. The fields are private. */
typedef struct kiln_text_stream {
  const kiln_tokenizer_t *tokenizer;
  uint32_t flags;
  uint32_t strip_left;
  uint8_t started;
  uint8_t pending_size, pending_wanted, next_low, next_high;
  uint8_t pending[4];
} kiln_text_stream;

/* The largest piece that push or end can give. */
size_t kiln_tokenizer_max_piece_bytes(const kiln_tokenizer_t *tokenizer);
void kiln_text_stream_begin(kiln_text_stream *stream, const kiln_tokenizer_t *tokenizer,
                            uint32_t decode_flags);
/* capacity is at least kiln_tokenizer_max_piece_bytes, else KILN_BUFFER_TOO_SMALL. */
kiln_status_t kiln_text_stream_push(kiln_text_stream *stream, int32_t id, char *text,
                                    size_t capacity, size_t *size_bytes, kiln_error *error);
/* What was held back at the end: nothing, or U+FFFD. The stream may begin anew. */
kiln_status_t kiln_text_stream_end(kiln_text_stream *stream, char *text, size_t capacity,
                                   size_t *size_bytes, kiln_error *error);

/* ---- Sampler ----------------------------------------------------------------------------- */

typedef struct kiln_logit_bias {
  int32_t id;
  float bias; /* added to the logit; -INFINITY forbids the token */
} kiln_logit_bias;

/* The steps are applied in this order: bias, penalties, temperature, top-k, top-p, min-p, typical.
 * Each works on the probabilities of what the ones before it have kept. Ties go to the lower id.
 * The same logits, options, seed and accepted tokens give the same id on every machine. Begin with
 * kiln_sampler_defaults: not every zero is neutral. */
typedef struct kiln_sampler_options {
  const kiln_logit_bias *logit_bias; /* copied */
  size_t logit_bias_count;
  float repetition_penalty; /* > 0; logits of tokens seen so far are divided (positive) or
                               multiplied (negative) by it; 1 for none */
  float presence_penalty;   /* taken from the logits of tokens seen so far */
  float frequency_penalty;  /* the same, times how often each was seen */
  uint32_t penalty_window;  /* seen: among the last so many tokens; 0 for all */
  float temperature;        /* >= 0; 0 takes the largest logit, and the rest is unused */
  uint32_t top_k;           /* keep the k largest; 0 for all */
  float top_p;              /* 0..1: keep the largest whose probabilities sum up to p; 1 for all */
  float min_p;              /* 0..1: keep those of at least this share of the largest probability;
                               0 for all */
  float typical_p;          /* 0..1: keep those whose information (-ln p) is nearest to the entropy
                               and whose probabilities sum up to this; 1 for all */
  uint64_t seed;
} kiln_sampler_options;

/* Greedy: temperature 0, no penalty. */
kiln_sampler_options kiln_sampler_defaults(void);

/* Its state is what it was told: options, and the tokens accepted since the last reset. */
typedef struct kiln_sampler kiln_sampler_t;
kiln_status_t kiln_sampler_create(const kiln_sampler_options *options, size_t vocab_size,
                                  kiln_sampler_t **sampler, kiln_error *error);
void kiln_sampler_destroy(kiln_sampler_t *sampler); /* NULL is allowed */
/* Forgets the tokens seen and starts the random numbers again from the seed. */
void kiln_sampler_reset(kiln_sampler_t *sampler);
/* Notes the next token of the text, prompt and sampled ones alike: for the penalties, and the
 * random number of the next draw. */
void kiln_sampler_accept(kiln_sampler_t *sampler, int32_t id);
/* Reset, then accept each. */
void kiln_sampler_assign(kiln_sampler_t *sampler, const int32_t *tokens, size_t count);
/* Draws an id from vocab_size logits, which are not changed. A second draw before the next accept
 * takes another random number. NaN counts as minus infinity; fails with KILN_INVALID_ARGUMENT where
 * nothing else is there. */
kiln_status_t kiln_sampler_sample(kiln_sampler_t *sampler, const float *logits, int32_t *id,
                                  kiln_error *error);

typedef struct kiln_token_logprob {
  int32_t id;
  float logprob; /* natural logarithm */
} kiln_token_logprob;
typedef struct kiln_logprobs {
  float chosen; /* of the token asked for */
  size_t top_count;
  kiln_token_logprob *top; /* the likeliest, best first; may be NULL where top_capacity is 0 */
  size_t top_capacity;     /* set by the caller: how many are wanted */
} kiln_logprobs;
/* Log-probabilities under the softmax of the logits as they are: the model's own distribution,
 * whatever a sampler makes of it. */
kiln_status_t kiln_token_logprobs(const float *logits, size_t vocab_size, int32_t id,
                                  kiln_logprobs *logprobs, kiln_error *error);

/* ---- Language model ---------------------------------------------------------------------- */

/* Sequences of tokens over one decoder function, sharing a pool of KV-cache pages. Used by one
 * thread at a time. Memory for pages that no token has reached is reserved but not touched. */
typedef struct kiln_llm kiln_llm_t;

typedef struct kiln_llm_options {
  uint32_t max_sequences;  /* sequences open at the same time; 0 for 1 */
  uint32_t context_length; /* positions per sequence; 0 for the model's */
  uint32_t cache_pages;    /* pages in the pool; 0 for enough for all sequences at full length */
  uint32_t chunk;          /* most tokens per call of the function; 0 for the function's limit */
} kiln_llm_options;

/* `options` may be NULL. Model and pool must outlive the language model. KILN_NOT_A_LANGUAGE_MODEL,
 * with the reason, where the artifact has no decoder function of the expected form. */
kiln_status_t kiln_llm_create(const kiln_model_t *model, kiln_pool_t *pool,
                              const kiln_llm_options *options, kiln_llm_t **llm, kiln_error *error);
/* The same from a file, with a pool of `workers` (0: see kiln_pool_create); model and pool belong
 * to the language model. */
kiln_status_t kiln_llm_open(const char *path, uint32_t workers, const kiln_llm_options *options,
                            kiln_llm_t **llm, kiln_error *error);
void kiln_llm_destroy(kiln_llm_t *llm); /* NULL is allowed */
const kiln_model_t *kiln_llm_model(const kiln_llm_t *llm);

typedef struct kiln_llm_info {
  uint32_t vocab_size, context_length, page_size, max_sequences, chunk;
  uint32_t cache_pages, cache_pages_free;
  uint64_t cache_bytes;     /* the whole pool */
  uint64_t workspace_bytes; /* of a call with `chunk` tokens */
  int32_t bos_token;        /* -1 where the model has none */
  int add_bos;
  const int32_t *eos_tokens;
  size_t eos_token_count;
  /* What generation_config.json recommends; seed 0. */
  kiln_sampler_options sampler;
} kiln_llm_info;
void kiln_llm_get_info(const kiln_llm_t *llm, kiln_llm_info *info);
/* NULL where the artifact has no tokenizer; belongs to the language model. */
const kiln_tokenizer_t *kiln_llm_tokenizer(const kiln_llm_t *llm);

/* From any thread, or a signal handler: cancels the append or generation that runs, or, where none
 * runs, the next one. It returns KILN_CANCELLED within a step of the schedule (a few kernels), and
 * the request is spent. Sequences stay sound: see kiln_sequence_append. */
void kiln_llm_cancel(kiln_llm_t *llm);
/* Takes back a request that nothing has spent. */
void kiln_llm_uncancel(kiln_llm_t *llm);

/* Called between steps of every call of the function; a non-zero result cancels it. May be NULL. */
void kiln_llm_set_progress(kiln_llm_t *llm, kiln_progress_fn progress, void *user);
/* Passed to every call of the function until another one is set. May be NULL. */
void kiln_llm_set_profile(kiln_llm_t *llm, kiln_profile *profile);

/* ---- Sequences --------------------------------------------------------------------------- */

/* A sequence is a small number, 0 <= sequence < max_sequences. Its text is a list of tokens; what
 * comes next depends on them alone, whichever way they came in. */
kiln_status_t kiln_sequence_open(kiln_llm_t *llm, uint32_t *sequence, kiln_error *error);
kiln_status_t kiln_sequence_close(kiln_llm_t *llm, uint32_t sequence, kiln_error *error);
/* Tokens in the KV cache; 0 for a sequence that is not open. */
uint32_t kiln_sequence_length(const kiln_llm_t *llm, uint32_t sequence);
/* The tokens of its text: those in the KV cache, and the one that was sampled last where it waits
 * to be appended. NULL for a sequence that is not open. Valid until the sequence changes. */
const int32_t *kiln_sequence_tokens(const kiln_llm_t *llm, uint32_t sequence, uint32_t *count);
/* Rewinds: forgets all tokens from position `length` on, and gives back their pages. */
kiln_status_t kiln_sequence_truncate(kiln_llm_t *llm, uint32_t sequence, uint32_t length,
                                     kiln_error *error);
/* Opens a second sequence with the same text. Pages of the KV cache are shared; one is copied when
 * a sequence writes to a page that another one still uses, which is the last one at most.
 * KILN_CONTEXT_FULL where max_sequences are open. */
kiln_status_t kiln_sequence_fork(kiln_llm_t *llm, uint32_t sequence, uint32_t *fork,
                                 kiln_error *error);

typedef enum kiln_overflow_t {
  KILN_OVERFLOW_STOP = 0, /* KILN_CONTEXT_FULL, KILN_STOP_CONTEXT_FULL */
  /* Keep the first `keep` tokens, drop the oldest of the others, half of the context at a time,
   * and evaluate what is left once more at its new positions: the text is then that of a sequence
   * to which just these tokens were appended. */
  KILN_OVERFLOW_SLIDE = 1
} kiln_overflow_t;
/* What append and generate do where the context ends. keep < context_length; a few tokens suffice
 * (attention sinks; Xiao et al., 2024), a system prompt is better. The policy belongs to the
 * sequence until it is closed; a fork takes it over. */
kiln_status_t kiln_sequence_set_overflow(kiln_llm_t *llm, uint32_t sequence,
                                         kiln_overflow_t overflow, uint32_t keep,
                                         kiln_error *error);

/* A saved sequence: header, tokens, pages of the KV cache, logits; checksummed, and bound to the
 * artifact. Bytes of the next kiln_sequence_save. */
kiln_status_t kiln_sequence_save_bytes(const kiln_llm_t *llm, uint32_t sequence,
                                       uint64_t *size_bytes, kiln_error *error);
kiln_status_t kiln_sequence_save(const kiln_llm_t *llm, uint32_t sequence, void *data,
                                 uint64_t size_bytes, kiln_error *error);
/* Replaces the text of an open sequence; on failure it has not changed. The bytes may come from
 * anywhere: KILN_BAD_SESSION where they are not sound, KILN_OTHER_ARTIFACT where they were saved
 * with another artifact, KILN_CONTEXT_FULL where they do not fit. */
kiln_status_t kiln_sequence_restore(kiln_llm_t *llm, uint32_t sequence, const void *data,
                                    uint64_t size_bytes, kiln_error *error);
/* The same with a file, which is written beside `path` and then renamed. */
kiln_status_t kiln_sequence_save_path(const kiln_llm_t *llm, uint32_t sequence, const char *path,
                                      kiln_error *error);
kiln_status_t kiln_sequence_restore_path(kiln_llm_t *llm, uint32_t sequence, const char *path,
                                         kiln_error *error);

/* One call of the function over tokens of any mix of sequences. Each token goes to the end of its
 * sequence, in the order given. Rows of logits come in the order of `rows`. On failure no sequence
 * has changed. KILN_CONTEXT_FULL where a sequence or the page pool would overflow. */
typedef struct kiln_llm_batch {
  const int32_t *tokens;     /* [count] */
  const uint32_t *sequences; /* [count] */
  size_t count;              /* 1..chunk */
  const uint32_t *rows;      /* [row_count]: the tokens (indices) whose logits are wanted */
  size_t row_count;
} kiln_llm_batch;
/* *logits (f32 [row_count, vocab_size]) is valid until the next call; may be NULL. */
kiln_status_t kiln_llm_step(kiln_llm_t *llm, const kiln_llm_batch *batch, const float **logits,
                            kiln_error *error);

/* Gets the logits (f32 [count, vocab_size]) of tokens first .. first + count - 1 of those appended.
 * A non-zero result cancels. */
typedef int (*kiln_logits_fn)(void *user, size_t first, size_t count, const float *logits);

/* Appends tokens in chunks. With `on_logits` every token's logits are computed, else the last
 * one's. A prompt that does not fit is refused as a whole with KILN_CONTEXT_FULL; after another
 * failure, cancellation included, the tokens before the failing chunk have been appended
 * (kiln_sequence_tokens tells), and appending may go on. */
kiln_status_t kiln_sequence_append(kiln_llm_t *llm, uint32_t sequence, const int32_t *tokens,
                                   size_t count, kiln_logits_fn on_logits, void *user,
                                   kiln_error *error);
/* The same with text, encoded with encode_flags (KILN_ENCODE_…) and KILN_ENCODE_OPEN_END. */
kiln_status_t kiln_sequence_append_text(kiln_llm_t *llm, uint32_t sequence, const char *text,
                                        size_t size_bytes, uint32_t encode_flags,
                                        kiln_error *error);
/* Makes these tokens the text of the sequence: rewinds to where the two begin to differ, and
 * appends the rest. Tokens that the context cannot hold are dropped as the overflow policy says.
 * *reused (may be NULL) is the number of tokens that need not be evaluated. */
kiln_status_t kiln_sequence_assign(kiln_llm_t *llm, uint32_t sequence, const int32_t *tokens,
                                   size_t count, size_t *reused, kiln_error *error);
/* The logits that follow the sequence's last token (f32 [vocab_size]); NULL where it is empty or
 * they were not computed. Valid until the sequence changes. */
const float *kiln_sequence_logits(const kiln_llm_t *llm, uint32_t sequence);

/* ---- Generation -------------------------------------------------------------------------- */

typedef enum kiln_stop_t {
  KILN_STOP_END_TOKEN = 0,    /* the model said so, or a token of options.stop_tokens came */
  KILN_STOP_MAX_TOKENS = 1,   /* options.max_tokens */
  KILN_STOP_CONTEXT_FULL = 2, /* the next token has no place in the context or the page pool */
  KILN_STOP_CALLBACK = 3,     /* on_token said so */
  KILN_STOP_STRING = 4,       /* the text has come to one of options.stop_strings */
  KILN_STOP_CANCELLED = 5     /* kiln_llm_cancel, or the progress function */
} kiln_stop_t;

typedef struct kiln_llm_stats {
  uint64_t prompt_tokens, prompt_ns;       /* appended before the first token was sampled */
  uint64_t generated_tokens, generated_ns; /* sampled, the end token not counted */
  kiln_stop_t stop;
  size_t stop_index; /* KILN_STOP_STRING: which; KILN_STOP_END_TOKEN: which of options.stop_tokens,
                        or their number for the model's own */
} kiln_llm_stats;

/* Gets each generated token and its text, zero-terminated UTF-8, possibly "" (text is held back
 * until its characters are complete and while it may be the beginning of a stop string; "" always
 * without a tokenizer). Once more at the end with id -1 where text was held back. A non-zero result
 * stops. */
typedef int (*kiln_token_fn)(void *user, int32_t id, const char *text, size_t size_bytes);

typedef struct kiln_generate_options {
  size_t max_tokens;          /* 0: until the context is full, or for ever where it slides */
  int ignore_end_tokens;      /* treat end tokens as any other */
  const int32_t *stop_tokens; /* more end tokens */
  size_t stop_token_count;
  kiln_sampler_t *sampler; /* NULL: greedy. Must have been made for the model's vocabulary */
  kiln_token_fn on_token;  /* may be NULL */
  void *user;
  /* The text ends before the first place where one of these begins, however tokens spell it. Its
   * tokens stay in the sequence. Zero-terminated, not empty. */
  const char *const *stop_strings;
  size_t stop_string_count;
  kiln_logprobs *logprobs; /* written before each on_token, for its token; NULL: none */
} kiln_generate_options;

/* Appends the prompt (which may be empty where the sequence is not), then samples and appends token
 * by token. The sampler is told the sequence's tokens, from the first one (kiln_sampler_assign). An
 * end token is not appended; any other last token is appended by the next append or generate
 * (kiln_llm_step leaves it out), and not counted in the length until then. `stats` may be NULL; it
 * is set on failure, too. After KILN_CANCELLED the sequence holds all that was generated. */
kiln_status_t kiln_sequence_generate(kiln_llm_t *llm, uint32_t sequence, const int32_t *prompt,
                                     size_t prompt_count, const kiln_generate_options *options,
                                     kiln_llm_stats *stats, kiln_error *error);
/* The same with the prompt as text, encoded with encode_flags (KILN_ENCODE_…) and
 * KILN_ENCODE_OPEN_END. An empty text at the beginning of a sequence stands for the begin token. */
kiln_status_t kiln_sequence_generate_text(kiln_llm_t *llm, uint32_t sequence, const char *prompt,
                                          size_t size_bytes, uint32_t encode_flags,
                                          const kiln_generate_options *options,
                                          kiln_llm_stats *stats, kiln_error *error);

/* ---- Embeddings -------------------------------------------------------------------------- */

/* An encoder (BERT and its kin): texts to vectors. Used by one thread at a time. Texts of a call
 * are computed together, as many as fit into one call of the function, and none is padded: an
 * embedding depends on its own text alone. Nothing is kept between calls. */
typedef struct kiln_encoder kiln_encoder_t;

/* Model and pool must outlive the encoder. KILN_NOT_AN_ENCODER, with the reason, where the artifact
 * has no function of the expected form. */
kiln_status_t kiln_encoder_create(const kiln_model_t *model, kiln_pool_t *pool,
                                  kiln_encoder_t **encoder, kiln_error *error);
/* The same from a file, with a pool of `workers` (0: see kiln_pool_create); model and pool belong
 * to the encoder. */
kiln_status_t kiln_encoder_open(const char *path, uint32_t workers, kiln_encoder_t **encoder,
                                kiln_error *error);
void kiln_encoder_destroy(kiln_encoder_t *encoder); /* NULL is allowed */

/* How the last hidden states of a text's tokens (begin and end tokens included) become its
 * embedding, as sentence-transformers does. */
typedef enum kiln_pooling_t {
  KILN_POOLING_MEAN = 0, /* their mean */
  KILN_POOLING_CLS = 1,  /* the first token's */
  KILN_POOLING_MAX = 2   /* the largest value of each dimension */
} kiln_pooling_t;

typedef struct kiln_encoder_info {
  uint32_t vocab_size;
  uint32_t dimensions;     /* of a hidden state and of an embedding */
  uint32_t context_length; /* most tokens of a text, begin and end tokens included */
  uint32_t max_tokens;     /* of one call of the function */
  kiln_pooling_t pooling;
  int normalized; /* embeddings are divided by their length (L2 norm) */
} kiln_encoder_info;
void kiln_encoder_get_info(const kiln_encoder_t *encoder, kiln_encoder_info *info);
const kiln_model_t *kiln_encoder_model(const kiln_encoder_t *encoder);
/* NULL where the artifact has no tokenizer; belongs to the encoder. */
const kiln_tokenizer_t *kiln_encoder_tokenizer(const kiln_encoder_t *encoder);

typedef struct kiln_text {
  const char *data; /* UTF-8 */
  size_t size_bytes;
} kiln_text;

/* Writes the embeddings of the texts, f32 [count, dimensions]. A text of more than context_length
 * tokens is cut: what counts are its first tokens and the end token, as for sentence-transformers.
 * *truncated (may be NULL) is the number of texts that were. */
kiln_status_t kiln_encoder_embed(kiln_encoder_t *encoder, const kiln_text *texts, size_t count,
                                 float *embeddings, size_t *truncated, kiln_error *error);
/* The same of tokens as they are: text i has lengths[i] (1 to context_length) of them, behind those
 * of the texts before it. `token_types` are as many numbers, or NULL for zeros. */
kiln_status_t kiln_encoder_embed_tokens(kiln_encoder_t *encoder, const int32_t *tokens,
                                        const int32_t *token_types, const size_t *lengths,
                                        size_t count, float *embeddings, kiln_error *error);
/* The last hidden states of one text's tokens before any pooling, f32 [count, dimensions]. */
kiln_status_t kiln_encoder_hidden_states(kiln_encoder_t *encoder, const int32_t *tokens,
                                         const int32_t *token_types, size_t count,
                                         float *hidden_states, kiln_error *error);

/* From any thread, or a signal handler: the call that runs, or where none runs the next one,
 * returns KILN_CANCELLED within a few kernels, and the request is spent. */
void kiln_encoder_cancel(kiln_encoder_t *encoder);
/* Passed to every call of the function until another one is set. May be NULL. */
void kiln_encoder_set_profile(kiln_encoder_t *encoder, kiln_profile *profile);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* KILN_LLM_H */
