// The command line, from one table: reading it, and the help. The options have the names and the
// meaning of `kiln run` and `kiln chat`.

#include "launcher/options.h"

#include "core/error.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

namespace kiln {
namespace {

enum kind_t { FLAG, TEXT, COUNT, STOP, BIAS, SAMPLER_FLOAT, SAMPLER_COUNT, SAMPLER_SEED };

struct option_t {
  const char *name;
  char letter; /* or 0 */
  kind_t kind;
  size_t place; /* of the value in options_t; of the field in kiln_sampler_options */
  const char *value;
  const char *help;
};

#define PLACE(field) offsetof(options_t, field)
#define SAMPLER(field) offsetof(kiln_sampler_options, field)
constexpr option_t table[] = {
    {"prompt", 'p', TEXT, PLACE(prompt), "TEXT", "Continue this text; with --chat: answer it"},
    {"chat", 0, FLAG, PLACE(chat), nullptr, "Talk, with the model's chat template"},
    {"system", 0, TEXT, PLACE(system), "TEXT", "The system prompt, for --chat"},
    {"max-tokens", 'n', COUNT, PLACE(max_tokens), "N",
     "Most tokens to generate; 0 for no limit. Default: 256, in a chat 0"},
    {"stop", 0, STOP, PLACE(stops), "TEXT", "End before this text; may be repeated"},
    {"greedy", 0, FLAG, PLACE(greedy), nullptr, "Always the most likely token"},
    {"temperature", 0, SAMPLER_FLOAT, SAMPLER(temperature), "T",
     "0 is greedy; default: the model's"},
    {"top-k", 0, SAMPLER_COUNT, SAMPLER(top_k), "K", "Sample among the K most likely; 0 for all"},
    {"top-p", 0, SAMPLER_FLOAT, SAMPLER(top_p), "P", "Among the most likely that sum up to P"},
    {"min-p", 0, SAMPLER_FLOAT, SAMPLER(min_p), "P", "Among those of this share of the likeliest"},
    {"typical-p", 0, SAMPLER_FLOAT, SAMPLER(typical_p), "P",
     "Among the most typical that sum up to P"},
    {"repetition-penalty", 0, SAMPLER_FLOAT, SAMPLER(repetition_penalty), "X", "1 for none"},
    {"presence-penalty", 0, SAMPLER_FLOAT, SAMPLER(presence_penalty), "X",
     "Taken from tokens seen; 0 for none"},
    {"frequency-penalty", 0, SAMPLER_FLOAT, SAMPLER(frequency_penalty), "X",
     "The same, times how often"},
    {"penalty-window", 0, SAMPLER_COUNT, SAMPLER(penalty_window), "N",
     "Seen: among the last N tokens; 0 for all"},
    {"logit-bias", 0, BIAS, PLACE(biases), "ID VALUE",
     "Added to the token's logit; may be repeated"},
    {"seed", 0, SAMPLER_SEED, SAMPLER(seed), "N", "Of the random numbers; default: 0"},
    {"threads", 't', COUNT, PLACE(threads), "N", "Workers; default: the physical cores"},
    {"context", 'c', COUNT, PLACE(context), "N", "Positions to reserve; default: the model's"},
    {"ids", 0, FLAG, PLACE(ids), nullptr, "Print token ids instead of text"},
    {"verify", 0, FLAG, PLACE(verify), nullptr, "Compare the checksum of all weights first"},
    {"quiet", 'q', FLAG, PLACE(quiet), nullptr, "No statistics"},
    {"help", 'h', FLAG, PLACE(help), nullptr, "This list"},
    {"version", 0, FLAG, PLACE(version), nullptr, "Versions, and facts about the model"},
};
constexpr size_t table_size = sizeof(table) / sizeof(table[0]);
static_assert(table_size <= 32, "sampler_given has a bit for each");

struct reader_t {
  int count;
  const char *const *words;
  int at;

  const char *next() { return at < count ? words[at++] : nullptr; }
};

/* --name, --name=value or -l; *value is what follows the "=", or NULL. */
const option_t *find(const char *word, const char **value) {
  *value = nullptr;
  for (const option_t &option : table) {
    size_t length = strlen(option.name);
    if (word[0] == '-' && word[1] == '-' && strncmp(word + 2, option.name, length) == 0 &&
        (word[2 + length] == 0 || word[2 + length] == '=')) {
      *value = word[2 + length] ? word + 3 + length : nullptr;
      return &option;
    }
    if (option.letter && word[0] == '-' && word[1] == option.letter && word[2] == 0)
      return &option;
  }
  return nullptr;
}

bool read_count(const char *text, uint64_t most, uint64_t *value) {
  char *end = nullptr;
  errno = 0;
  *value = strtoull(text, &end, 10);
  return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && *value <= most;
}

bool read_float(const char *text, float *value) {
  char *end = nullptr;
  *value = (float)strtod(text, &end);
  return end != text && *end == 0 && !isnan(*value);
}

template <typename T> T &field(void *object, size_t place) {
  return *reinterpret_cast<T *>(static_cast<char *>(object) + place);
}

kiln_status_t wrong(kiln_error *error, const option_t &option, const char *expected,
                    const char *found) {
  return fail(error, KILN_INVALID_ARGUMENT, "--%s: expected %s, found '%s'", option.name, expected,
              found);
}

kiln_status_t read_value(const option_t &option, const char *value, reader_t *reader,
                         options_t *options, kiln_error *error) {
  uint64_t number = 0;
  switch (option.kind) {
  case FLAG:
    break;
  case TEXT:
    field<const char *>(options, option.place) = value;
    return KILN_OK;
  case COUNT:
    if (!read_count(value, UINT32_MAX, &field<uint64_t>(options, option.place)))
      return wrong(error, option, "a number from 0 on", value);
    options->max_tokens_given |= option.place == PLACE(max_tokens);
    return KILN_OK;
  case STOP:
    if (!value[0])
      return wrong(error, option, "a text", value);
    return options->stops.push(value) ? KILN_OK : fail(error, KILN_OUT_OF_MEMORY, "--stop");
  case BIAS: {
    const char *amount = reader->next();
    kiln_logit_bias bias = {};
    if (!read_count(value, INT32_MAX, &number) || !amount || !read_float(amount, &bias.bias))
      return wrong(error, option, "a token's id and a number", amount ? amount : value);
    bias.id = (int32_t)number;
    return options->biases.push(bias) ? KILN_OK : fail(error, KILN_OUT_OF_MEMORY, "--logit-bias");
  }
  case SAMPLER_FLOAT:
    if (!read_float(value, &field<float>(&options->sampler, option.place)))
      return wrong(error, option, "a number", value);
    break;
  case SAMPLER_COUNT:
    if (!read_count(value, UINT32_MAX, &number))
      return wrong(error, option, "a number from 0 on", value);
    field<uint32_t>(&options->sampler, option.place) = (uint32_t)number;
    break;
  case SAMPLER_SEED:
    if (!read_count(value, UINT64_MAX, &options->sampler.seed))
      return wrong(error, option, "a number from 0 on", value);
    break;
  }
  options->sampler_given |= 1u << (&option - table);
  return KILN_OK;
}

} // namespace

kiln_status_t options_read(int count, const char *const *words, options_t *options,
                           kiln_error *error) {
  reader_t reader = {count, words, 0};
  while (const char *word = reader.next()) {
    const char *value = nullptr;
    const option_t *option = find(word, &value);
    if (!option)
      return fail(error, KILN_INVALID_ARGUMENT, "'%s' is not an option%s", word,
                  word[0] == '-' ? "" : "; a prompt is given with --prompt");
    if (option->kind == FLAG) {
      if (value)
        return fail(error, KILN_INVALID_ARGUMENT, "--%s takes no value", option->name);
      field<bool>(options, option->place) = true;
      continue;
    }
    if (!value)
      value = reader.next();
    if (!value)
      return fail(error, KILN_INVALID_ARGUMENT, "%s: expected %s", word, option->value);
    if (kiln_status_t status = read_value(*option, value, &reader, options, error))
      return status;
  }
  return KILN_OK;
}

kiln_sampler_options options_sampler(const options_t *options,
                                     const kiln_sampler_options *recommended) {
  kiln_sampler_options chosen = options->greedy ? kiln_sampler_defaults() : *recommended;
  chosen.seed = 0;
  for (const option_t &option : table) {
    if (!(options->sampler_given >> (&option - table) & 1))
      continue;
    size_t size = option.kind == SAMPLER_SEED ? sizeof(uint64_t) : sizeof(uint32_t);
    memcpy(&field<char>(&chosen, option.place),
           reinterpret_cast<const char *>(&options->sampler) + option.place, size);
  }
  chosen.logit_bias = options->biases.data;
  chosen.logit_bias_count = options->biases.count;
  return chosen;
}

void options_print(const char *program) {
  printf(
      "A language model and what runs it, in one file; made by Kiln.\n\n"
      "usage: %s [options]\n\n"
      "Continues the prompt, or the text on stdin. On a terminal, without a prompt, a model with a "
      "chat\ntemplate talks. Answers go to stdout, everything else to stderr.\n\n",
      program);
  for (const option_t &option : table) {
    char left[48], letter[8] = "    ";
    if (option.letter)
      snprintf(letter, sizeof(letter), "-%c, ", option.letter);
    snprintf(left, sizeof(left), "%s--%s %s", letter, option.name,
             option.value ? option.value : "");
    printf("  %-32s %s\n", left, option.help);
  }
  printf("\nExamples:\n"
         "  %s --prompt \"Once upon a time\" --max-tokens 100\n"
         "  %s --chat --prompt \"What is a kiln?\" --greedy --quiet\n"
         "  echo \"Once upon a time\" | %s --temperature 0.7\n"
         "  %s\n",
         program, program, program, program);
}

} // namespace kiln
