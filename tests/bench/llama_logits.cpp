// Writes llama.cpp's logits of a prompt, f32 [tokens, vocab], so that its output can be checked
// before its speed is compared.
//
// usage: llama_logits MODEL.gguf plain|repacked OUT ID...
//
// `repacked` is what llama-bench runs: weights laid out anew for the CPU's instructions.
#include "llama.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

int main(int argc, char **argv) {
  if (argc < 5)
    return std::fprintf(stderr, "usage: llama_logits MODEL.gguf plain|repacked OUT ID...\n"), 2;
  llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  llama_backend_init();
  llama_model_params modelParams = llama_model_default_params();
  modelParams.use_extra_bufts = std::strcmp(argv[2], "repacked") == 0;
  llama_model *model = llama_model_load_from_file(argv[1], modelParams);
  if (!model)
    return std::fprintf(stderr, "%s: cannot be loaded\n", argv[1]), 1;
  int count = argc - 4, vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = uint32_t(count < 64 ? 64 : count);
  llama_context *context = llama_init_from_model(model, params);
  if (!context)
    return std::fprintf(stderr, "%s: no context\n", argv[1]), 1;
  llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int i = 0; i < count; ++i) {
    batch.token[i] = std::atoi(argv[4 + i]);
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = true;
  }
  if (llama_decode(context, batch) != 0)
    return std::fprintf(stderr, "%s: cannot be evaluated\n", argv[1]), 1;
  std::FILE *out = std::fopen(argv[3], "wb");
  bool good = out != nullptr;
  for (int i = 0; good && i < count; ++i)
    good = std::fwrite(llama_get_logits_ith(context, i), sizeof(float), size_t(vocab), out) ==
           size_t(vocab);
  if (!good || std::fclose(out) != 0)
    return std::fprintf(stderr, "%s: cannot be written\n", argv[3]), 1;
  return 0;
}
