// Runs a language-model artifact with the runtime and the LLM layer alone: what `kiln run` does,
// without the compiler around it, so that it can be cross-compiled and run under an emulator.
// Beyond the CLI it can cut the prompt into chunks and interleave it with a second sequence in the
// same ragged batches, to show that logits do not depend on how tokens were batched.
//
// usage: kiln_runner ARTIFACT [--prompt TEXT | --prompt-ids 1,2,3] [--max-tokens N] [--threads N]
//                    [--chunk N] [--beside-ids 1,2,3] [--logits F.npy] [--output text|ids]
//
// Decoding is greedy. With --logits the logits of every prompt token are written, f32 [tokens,
// vocab].

#include "kiln/llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <vector>

namespace {

struct Options {
  const char *artifact = nullptr;
  const char *prompt = nullptr;
  std::vector<int32_t> promptIds;
  std::vector<int32_t> besideIds;
  const char *logits = nullptr;
  size_t maxTokens = 32;
  uint32_t threads = 1;
  uint32_t chunk = 0;
  bool ids = false;
};

[[noreturn]] void fail(const char *what, kiln_status_t status, const kiln_error &error) {
  fprintf(stderr, "kiln_runner: %s: %s: %s\n", what, kiln_status_text(status), error.text);
  exit(1);
}

[[noreturn]] void usage(const char *problem) {
  fprintf(stderr, "kiln_runner: %s\n", problem);
  exit(2);
}

std::vector<int32_t> parseIds(const char *text) {
  std::vector<int32_t> ids;
  while (*text) {
    char *end = nullptr;
    ids.push_back(int32_t(strtol(text, &end, 10)));
    if (end == text || (*end && *end != ','))
      usage("ids must be numbers separated by commas");
    text = *end ? end + 1 : end;
  }
  return ids;
}

Options parseOptions(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name[0] != '-') {
      options.artifact = argv[i];
      continue;
    }
    if (++i == argc)
      usage((name + " needs a value").c_str());
    const char *value = argv[i];
    if (name == "--prompt")
      options.prompt = value;
    else if (name == "--prompt-ids")
      options.promptIds = parseIds(value);
    else if (name == "--beside-ids")
      options.besideIds = parseIds(value);
    else if (name == "--logits")
      options.logits = value;
    else if (name == "--max-tokens")
      options.maxTokens = strtoul(value, nullptr, 10);
    else if (name == "--threads")
      options.threads = uint32_t(strtoul(value, nullptr, 10));
    else if (name == "--chunk")
      options.chunk = uint32_t(strtoul(value, nullptr, 10));
    else if (name == "--output")
      options.ids = strcmp(value, "ids") == 0;
    else
      usage(("unknown option " + name).c_str());
  }
  if (!options.artifact)
    usage("which artifact?");
  return options;
}

/* Everything that the runtime gave, to be given back in order. */
struct Session {
  kiln_model_t *model = nullptr;
  kiln_pool_t *pool = nullptr;
  kiln_llm_t *llm = nullptr;
  kiln_llm_info info;

  explicit Session(const Options &options) {
    kiln_error error;
    if (kiln_status_t status = kiln_model_open_path(options.artifact, &model, &error))
      fail("open", status, error);
    if (kiln_status_t status = kiln_pool_create(options.threads, &pool, &error))
      fail("threads", status, error);
    kiln_llm_options wanted = {};
    wanted.max_sequences = 2;
    wanted.chunk = options.chunk;
    if (kiln_status_t status = kiln_llm_create(model, pool, &wanted, &llm, &error))
      fail("language model", status, error);
    kiln_llm_get_info(llm, &info);
  }
  ~Session() {
    kiln_llm_destroy(llm);
    kiln_pool_destroy(pool);
    kiln_model_close(model);
  }
  uint32_t openSequence() {
    kiln_error error;
    uint32_t sequence = 0;
    if (kiln_status_t status = kiln_sequence_open(llm, &sequence, &error))
      fail("sequence", status, error);
    return sequence;
  }
};

std::vector<int32_t> encodePrompt(const Session &session, const Options &options) {
  if (!options.prompt)
    return options.promptIds.empty() ? std::vector<int32_t>{session.info.bos_token}
                                     : options.promptIds;
  const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(session.llm);
  if (!tokenizer)
    usage("the artifact has no tokenizer; give --prompt-ids");
  kiln_error error;
  std::vector<int32_t> ids(strlen(options.prompt) + 16);
  size_t count = 0;
  if (kiln_status_t status =
          kiln_tokenizer_encode(tokenizer, options.prompt, strlen(options.prompt),
                                KILN_ENCODE_TEMPLATE, ids.data(), ids.size(), &count, &error))
    fail("--prompt", status, error);
  ids.resize(count);
  return ids;
}

/* Appends `prompt` to one sequence and `beside` to another, token by token in turn, in batches of
 * at most `chunk` tokens; collects the logits of the prompt's tokens. */
void appendInterleaved(Session &session, uint32_t sequence, const std::vector<int32_t> &prompt,
                       const std::vector<int32_t> &beside, std::vector<float> &logits) {
  uint32_t other = session.openSequence();
  std::vector<int32_t> tokens;
  std::vector<uint32_t> sequences;
  for (size_t i = 0; i < prompt.size() || i < beside.size(); ++i) {
    if (i < beside.size())
      tokens.push_back(beside[i]), sequences.push_back(other);
    if (i < prompt.size())
      tokens.push_back(prompt[i]), sequences.push_back(sequence);
  }
  for (size_t first = 0; first < tokens.size();) {
    kiln_llm_batch batch = {};
    batch.tokens = &tokens[first];
    batch.sequences = &sequences[first];
    batch.count = tokens.size() - first;
    if (batch.count > session.info.chunk)
      batch.count = session.info.chunk;
    std::vector<uint32_t> rows;
    for (size_t i = 0; i < batch.count; ++i)
      if (batch.sequences[i] == sequence)
        rows.push_back(uint32_t(i));
    batch.rows = rows.data();
    batch.row_count = rows.size();
    const float *found = nullptr;
    kiln_error error;
    if (kiln_status_t status = kiln_llm_step(session.llm, &batch, &found, &error))
      fail("ragged batch", status, error);
    logits.insert(logits.end(), found, found + rows.size() * session.info.vocab_size);
    first += batch.count;
  }
}

void writeNpy(const char *path, const std::vector<float> &values, size_t columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(values.size() / columns) + ", " + std::to_string(columns) +
                       "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header.push_back('\n');
  FILE *file = fopen(path, "wb");
  const unsigned char prefix[10] = {0x93,
                                    'N',
                                    'U',
                                    'M',
                                    'P',
                                    'Y',
                                    1,
                                    0,
                                    (unsigned char)(header.size() & 255),
                                    (unsigned char)(header.size() >> 8)};
  bool written = file && fwrite(prefix, 1, 10, file) == 10 &&
                 fwrite(header.data(), 1, header.size(), file) == header.size() &&
                 fwrite(values.data(), 4, values.size(), file) == values.size();
  if (!file || fclose(file) != 0 || !written)
    usage((std::string(path) + ": cannot be written").c_str());
}

struct Printer {
  bool ids;
  bool first = true;
};

int printToken(void *user, int32_t id, const char *text, size_t size) {
  Printer &printer = *static_cast<Printer *>(user);
  if (!printer.ids)
    fwrite(text, 1, size, stdout);
  else if (id >= 0)
    printf(printer.first ? "%d" : " %d", id);
  printer.first = false;
  return 0;
}

int collectLogits(void *user, size_t, size_t count, const float *logits) {
  auto &[session, all] = *static_cast<std::pair<Session *, std::vector<float> *> *>(user);
  all->insert(all->end(), logits, logits + count * session->info.vocab_size);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  Options options = parseOptions(argc, argv);
  Session session(options);
  std::vector<int32_t> prompt = encodePrompt(session, options);
  uint32_t sequence = session.openSequence();
  kiln_error error;

  std::vector<float> logits;
  if (!options.besideIds.empty()) {
    appendInterleaved(session, sequence, prompt, options.besideIds, logits);
    prompt.clear();
  } else if (options.logits) {
    std::pair<Session *, std::vector<float> *> sink(&session, &logits);
    if (kiln_status_t status = kiln_sequence_append(session.llm, sequence, prompt.data(),
                                                    prompt.size(), collectLogits, &sink, &error))
      fail("prompt", status, error);
    prompt.clear();
  }
  if (options.logits)
    writeNpy(options.logits, logits, session.info.vocab_size);
  if (options.maxTokens == 0)
    return 0;

  Printer printer{options.ids};
  kiln_generate_options generate = {};
  generate.max_tokens = options.maxTokens;
  generate.on_token = printToken;
  generate.user = &printer;
  if (kiln_status_t status = kiln_sequence_generate(session.llm, sequence, prompt.data(),
                                                    prompt.size(), &generate, nullptr, &error))
    fail("generate", status, error);
  printf("\n");
  return 0;
}
