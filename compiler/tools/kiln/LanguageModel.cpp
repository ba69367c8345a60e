// An opened artifact with its workers and language model, for the commands that run it.
#include "compiler/tools/kiln/LanguageModel.h"
#include <chrono>

using namespace kiln;

std::string kiln::describe(kiln_status_t status, const kiln_error &error) {
  std::string text = kiln_status_text(status);
  if (error.text[0])
    text += std::string(": ") + error.text;
  return text;
}

bool kiln::openLanguageModel(const std::string &path, uint32_t threads,
                             const kiln_llm_options &options, LanguageModel &opened,
                             std::string &text) {
  auto started = std::chrono::steady_clock::now();
  kiln_error error{};
  auto failed = [&](kiln_status_t status) {
    if (status != KILN_OK)
      text = describe(status, error);
    return status != KILN_OK;
  };
  kiln_model_t *model = nullptr;
  if (failed(kiln_model_open_path(path.c_str(), &model, &error)))
    return false;
  opened.model.reset(model);
  kiln_pool_t *pool = nullptr;
  if (failed(kiln_pool_create(threads, &pool, &error)))
    return false;
  opened.pool.reset(pool);
  kiln_llm_t *llm = nullptr;
  if (failed(kiln_llm_create(model, pool, &options, &llm, &error)))
    return false;
  opened.llm.reset(llm);
  kiln_llm_get_info(llm, &opened.info);
  opened.openSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return true;
}
