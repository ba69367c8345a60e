// A conversation with a model: turns, rendered by the model's template into a sequence.
#include "compiler/tools/kiln/Conversation.h"
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

using namespace kiln;

static std::vector<kiln_chat_message> views(const std::vector<Turn> &turns) {
  std::vector<kiln_chat_message> messages;
  for (const Turn &turn : turns)
    messages.push_back({turn.role.c_str(), turn.content.data(), turn.content.size()});
  return messages;
}

bool Conversation::open(LanguageModel &opened, const std::string &system, std::string &problem) {
  lm = &opened;
  kiln_error error{};
  kiln_chat_t *found = nullptr;
  kiln_status_t status = kiln_chat_open(lm->model.get(), &found, &error);
  chat.reset(found);
  if (status == KILN_OK || status == KILN_NO_CHAT_TEMPLATE)
    status = kiln_sequence_open(lm->llm.get(), &sequence, &error);
  if (status == KILN_OK && !kiln_llm_tokenizer(lm->llm.get()))
    status = KILN_NO_TOKENIZER;
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  systemPrompt = system;
  return reset(problem);
}

bool Conversation::reset(std::string &problem) {
  said.clear();
  if (!systemPrompt.empty())
    said.push_back({"system", systemPrompt});
  kiln_error error{};
  kiln_status_t status = kiln_sequence_truncate(lm->llm.get(), sequence, 0, &error);
  if (status == KILN_OK)
    status = kiln_sequence_set_overflow(lm->llm.get(), sequence, KILN_OVERFLOW_SLIDE,
                                        tokensToKeep(), &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

/// What sliding leaves in place: the system prompt, or a few tokens, but at most half the context.
uint32_t Conversation::tokensToKeep() const {
  constexpr uint32_t few = 4;
  uint32_t half = lm->info.context_length / 2;
  size_t count = few;
  if (chat && !said.empty()) {
    kiln_chat_options options{};
    options.no_generation_prompt = 1;
    std::vector<kiln_chat_message> messages = views(said);
    std::string text(said.front().content.size() + 4096, 0);
    size_t size = 0;
    if (kiln_chat_render_messages(chat.get(), messages.data(), messages.size(), &options,
                                  text.data(), text.size(), &size, nullptr) == KILN_OK)
      kiln_tokenizer_encode(kiln_llm_tokenizer(lm->llm.get()), text.data(), size, 0, nullptr, 0,
                            &count, nullptr);
  }
  return std::min<uint32_t>(half, uint32_t(std::min<size_t>(count, UINT32_MAX)));
}

bool Conversation::assign(std::string &problem) {
  kiln_error error{};
  std::vector<kiln_chat_message> messages = views(said);
  kiln_status_t status =
      kiln_sequence_assign_messages(lm->llm.get(), sequence, chat.get(), messages.data(),
                                    messages.size(), nullptr, nullptr, &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

bool Conversation::ask(const std::string &text, std::string &problem) {
  said.push_back({"user", text});
  bool good = true;
  if (chat) {
    good = assign(problem);
  } else {
    uint32_t length = 0;
    kiln_sequence_tokens(lm->llm.get(), sequence, &length);
    kiln_error error{};
    std::string first = length == 0 && !systemPrompt.empty() ? systemPrompt + "\n" : "";
    std::string whole = first + text;
    kiln_status_t status =
        kiln_sequence_append_text(lm->llm.get(), sequence, whole.data(), whole.size(),
                                  length == 0 ? KILN_ENCODE_TEMPLATE : 0, &error);
    if (status != KILN_OK)
      problem = describe(status, error);
    good = status == KILN_OK;
  }
  if (!good)
    said.pop_back();
  return good;
}

void Conversation::answered(const std::string &text) { said.push_back({"assistant", text}); }

bool Conversation::save(const std::string &path, std::string &problem) const {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const Turn &turn : said)
    messages.push_back({{"role", turn.role}, {"content", turn.content}});
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << messages.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  file.close();
  if (!file) {
    problem = path + ": cannot be written";
    return false;
  }
  kiln_error error{};
  kiln_status_t status =
      kiln_sequence_save_path(lm->llm.get(), sequence, (path + ".session").c_str(), &error);
  if (status != KILN_OK)
    problem = describe(status, error);
  return status == KILN_OK;
}

bool Conversation::load(const std::string &path, std::string &problem) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    problem = path + ": cannot be read";
    return false;
  }
  nlohmann::json messages = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  std::vector<Turn> turns;
  bool good = messages.is_array();
  for (const nlohmann::json &message : messages) {
    good = good && message.is_object() && message.contains("role") && message["role"].is_string() &&
           message.contains("content") && message["content"].is_string();
    if (!good)
      break;
    turns.push_back({message["role"], message["content"]});
  }
  if (!good) {
    problem = path + ": expected an array of objects with \"role\" and \"content\"";
    return false;
  }
  kiln_error error{};
  kiln_status_t status =
      kiln_sequence_restore_path(lm->llm.get(), sequence, (path + ".session").c_str(), &error);
  // With a template the turns say everything: the next one is evaluated from where the two differ.
  if (status != KILN_OK && !chat) {
    problem = describe(status, error);
    return false;
  }
  said = std::move(turns);
  return true;
}
