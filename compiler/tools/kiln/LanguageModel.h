// An opened artifact with its workers and language model, for the commands that run it.
#ifndef KILN_TOOLS_LANGUAGEMODEL_H
#define KILN_TOOLS_LANGUAGEMODEL_H

#include "kiln/llm.h"
#include <memory>
#include <string>

namespace kiln {

template <auto destroy> struct Deleter {
  template <typename T> void operator()(T *object) const { destroy(object); }
};
using ModelHandle = std::unique_ptr<kiln_model_t, Deleter<kiln_model_close>>;
using PoolHandle = std::unique_ptr<kiln_pool_t, Deleter<kiln_pool_destroy>>;
using LlmHandle = std::unique_ptr<kiln_llm_t, Deleter<kiln_llm_destroy>>;
using EncoderHandle = std::unique_ptr<kiln_encoder_t, Deleter<kiln_encoder_destroy>>;
using SamplerHandle = std::unique_ptr<kiln_sampler_t, Deleter<kiln_sampler_destroy>>;

struct LanguageModel {
  ModelHandle model;
  PoolHandle pool;
  LlmHandle llm;
  kiln_llm_info info{};
  double openSeconds = 0; // from the path to a model that is ready
};

/// Opens the artifact; threads 0 means the physical cores. On failure `error` says why.
bool openLanguageModel(const std::string &path, uint32_t threads, const kiln_llm_options &options,
                       LanguageModel &opened, std::string &error);

/// "the fixed text of the status: what the error says".
std::string describe(kiln_status_t status, const kiln_error &error);

} // namespace kiln

#endif
