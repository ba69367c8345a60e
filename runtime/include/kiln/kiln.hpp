// Kiln for C++17: language models, sessions and encoders over kiln.h and llm.h. Header only; link
// the same two static libraries, or libkiln.
//
//   auto model = kiln::LanguageModel::open("model.kiln");
//   if (!model) { std::fprintf(stderr, "%s\n", model.error().text.c_str()); return 1; }
//   auto session = model->session();
//   session->append({{"user", "Tell me a story."}});
//   session->generate({}, [](std::string_view text) { std::cout << text << std::flush; return true;
//   });
//
// Nothing here throws on its own (containers may, where memory is short). A call that can fail
// gives a Result, which holds a value or an Error and must be asked before it is used. Objects own
// what they wrap; a session keeps its model open. One thread at a time uses a model and its
// sessions; cancel() may come from any thread.
#ifndef KILN_KILN_HPP
#define KILN_KILN_HPP

#include "kiln/chat.h"

#include <cassert>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln {

/// What went wrong: the status, and what was expected, what was found, where.
struct Error {
  kiln_status_t status = KILN_OK;
  std::string text;
};

/// A value or an error. Using the value of an error is a fault of the program (assert).
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : held(std::move(value)) {}
  Result(Error error) : failure(std::move(error)) {}
  explicit operator bool() const { return held.has_value(); }
  const Error &error() const { return failure; }
  T &operator*() & { return assert(held), *held; }
  const T &operator*() const & { return assert(held), *held; }
  T &&operator*() && { return assert(held), std::move(*held); }
  T *operator->() { return assert(held), &*held; }
  const T *operator->() const { return assert(held), &*held; }

private:
  std::optional<T> held;
  Error failure;
};

/// Success or an error.
template <> class [[nodiscard]] Result<void> {
public:
  Result() = default;
  Result(Error error) : failure(std::move(error)) {}
  explicit operator bool() const { return failure.status == KILN_OK; }
  const Error &error() const { return failure; }

private:
  Error failure;
};

using Tokens = std::vector<int32_t>;

/// One turn of a conversation.
struct Message {
  std::string role; ///< "system", "user", "assistant"
  std::string content;
};

struct OpenOptions {
  uint32_t workers = 0;        ///< threads; 0: the physical cores
  uint32_t sessions = 4;       ///< open at the same time, forks included
  uint32_t context_length = 0; ///< tokens per session; 0: the model's
  uint32_t cache_pages = 0;    ///< 0: enough for all sessions at full length
  uint32_t chunk = 0; ///< most tokens of a prompt evaluated at once; 0: as the model allows
};

/// How a token is chosen; see kiln_sampler_options for each.
struct SamplerOptions {
  float temperature = 0; ///< 0: greedy
  uint32_t top_k = 0;
  float top_p = 1, min_p = 0, typical_p = 1;
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  uint32_t penalty_window = 0;
  std::vector<kiln_logit_bias> logit_bias;
  uint64_t seed = 0;
};

struct GenerateOptions {
  size_t max_tokens = 0;                 ///< 0: until the model ends, or the context is full
  std::optional<SamplerOptions> sampler; ///< none: what the model's makers recommend
  std::vector<std::string> stop_strings;
  Tokens stop_tokens;
  bool ignore_end_tokens = false;
  size_t top_logprobs = 0; ///< so many per token, in Generation::logprobs
  bool logprobs = false;   ///< those of the chosen tokens alone
};

struct TokenLogprobs {
  int32_t token = 0;
  float logprob = 0;
  std::vector<kiln_token_logprob> top;
};

/// What was generated, how fast, and why it ended.
struct Generation {
  std::string text;
  Tokens tokens;
  std::vector<TokenLogprobs> logprobs;
  kiln_llm_stats stats = {};
  bool cancelled() const { return stats.stop == KILN_STOP_CANCELLED; }
};

namespace detail {

struct Llm { // what sessions share
  kiln_llm_t *llm = nullptr;
  kiln_chat_t *chat = nullptr;
  kiln_llm_info info = {};
  ~Llm() {
    kiln_chat_close(chat);
    kiln_llm_destroy(llm);
  }
};

inline Error failed(kiln_status_t status, const kiln_error &error) {
  std::string text = kiln_status_text(status);
  if (error.text[0])
    text += std::string(": ") + error.text;
  return {status, std::move(text)};
}
inline Result<void> done(kiln_status_t status, const kiln_error &error) {
  return status ? Result<void>(failed(status, error)) : Result<void>();
}

struct SamplerDeleter {
  void operator()(kiln_sampler_t *sampler) const { kiln_sampler_destroy(sampler); }
};
using SamplerHandle = std::unique_ptr<kiln_sampler_t, SamplerDeleter>;

} // namespace detail

/// A text in the making: tokens, their keys and values, and what may come next. Closed when it is
/// destroyed.
class Session {
public:
  Session(Session &&other) noexcept
      : shared(std::move(other.shared)), sequence(other.sequence),
        messages(std::move(other.messages)) {}
  Session &operator=(Session &&other) noexcept {
    std::swap(shared, other.shared);
    std::swap(sequence, other.sequence);
    std::swap(messages, other.messages);
    return *this;
  }
  ~Session() {
    if (shared)
      kiln_sequence_close(shared->llm, sequence, nullptr);
  }

  /// Text as it is; at the beginning of a session the model's begin token is put before it.
  Result<void> append(std::string_view text) {
    kiln_error error = {};
    uint32_t flags = tokens().empty() ? KILN_ENCODE_TEMPLATE : 0;
    return detail::done(
        kiln_sequence_append_text(shared->llm, sequence, text.data(), text.size(), flags, &error),
        error);
  }
  Result<void> append(const Tokens &tokens) {
    kiln_error error = {};
    return detail::done(kiln_sequence_append(shared->llm, sequence, tokens.data(), tokens.size(),
                                             nullptr, nullptr, &error),
                        error);
  }
  /// Turns of a conversation, through the model's own template, which then waits for the
  /// assistant's; what generate() answers is noted as that.
  Result<void> append(const std::vector<Message> &turns) {
    kiln_error error = {};
    if (!shared->chat)
      return Error{KILN_NO_CHAT_TEMPLATE, kiln_status_text(KILN_NO_CHAT_TEMPLATE)};
    std::vector<Message> whole = messages;
    whole.insert(whole.end(), turns.begin(), turns.end());
    std::vector<kiln_chat_message> views;
    for (const Message &turn : whole)
      views.push_back({turn.role.c_str(), turn.content.data(), turn.content.size()});
    kiln_status_t status = kiln_sequence_assign_messages(
        shared->llm, sequence, shared->chat, views.data(), views.size(), nullptr, nullptr, &error);
    if (status == KILN_OK)
      messages = std::move(whole);
    return detail::done(status, error);
  }
  Result<void> append(std::initializer_list<Message> turns) {
    return append(std::vector<Message>(turns));
  }

  /// Samples until something says stop. `on_text` gets the text as it comes and returns whether to
  /// go on. Cancelling is no error: Generation::cancelled tells.
  Result<Generation> generate(const GenerateOptions &options = {},
                              const std::function<bool(std::string_view)> &on_text = {}) {
    kiln_error error = {};
    detail::SamplerHandle sampler;
    kiln_sampler_options sampling = sampler_options(options);
    kiln_sampler_t *created = nullptr;
    kiln_status_t status =
        kiln_sampler_create(&sampling, shared->info.vocab_size, &created, &error);
    if (status)
      return detail::failed(status, error);
    sampler.reset(created);

    Receiver receiver = {{}, on_text, options, {}, {}};
    receiver.top.resize(options.top_logprobs);
    receiver.logprobs.top = receiver.top.data();
    receiver.logprobs.top_capacity = receiver.top.size();
    std::vector<const char *> stops;
    for (const std::string &stop : options.stop_strings)
      stops.push_back(stop.c_str());
    kiln_generate_options generate = {};
    generate.max_tokens = options.max_tokens;
    generate.ignore_end_tokens = options.ignore_end_tokens;
    generate.stop_tokens = options.stop_tokens.data();
    generate.stop_token_count = options.stop_tokens.size();
    generate.stop_strings = stops.data();
    generate.stop_string_count = stops.size();
    generate.sampler = sampler.get();
    generate.on_token = receive;
    generate.user = &receiver;
    if (options.logprobs || options.top_logprobs)
      generate.logprobs = &receiver.logprobs;
    status = kiln_sequence_generate(shared->llm, sequence, nullptr, 0, &generate,
                                    &receiver.result.stats, &error);
    if (status && status != KILN_CANCELLED)
      return detail::failed(status, error);
    if (!messages.empty())
      messages.push_back({"assistant", receiver.result.text});
    return std::move(receiver.result);
  }

  /// All tokens of the text.
  Tokens tokens() const {
    uint32_t count = 0;
    const int32_t *data = kiln_sequence_tokens(shared->llm, sequence, &count);
    return data ? Tokens(data, data + count) : Tokens();
  }
  /// Forgets all tokens from this position on, and the conversation: turns appended later begin
  /// another one.
  Result<void> rewind(uint32_t length) {
    kiln_error error = {};
    messages.clear();
    return detail::done(kiln_sequence_truncate(shared->llm, sequence, length, &error), error);
  }
  /// A second session with the same text; both share what is in memory.
  Result<Session> fork() const {
    kiln_error error = {};
    uint32_t copy = 0;
    if (kiln_status_t status = kiln_sequence_fork(shared->llm, sequence, &copy, &error))
      return detail::failed(status, error);
    Session result(shared, copy);
    result.messages = messages;
    return result;
  }
  /// Where the context ends: keep the first tokens, drop the oldest of the others.
  Result<void> slide(uint32_t keep) {
    kiln_error error = {};
    return detail::done(
        kiln_sequence_set_overflow(shared->llm, sequence, KILN_OVERFLOW_SLIDE, keep, &error),
        error);
  }
  /// Tokens and cache; not the turns of a conversation, which an application keeps itself.
  Result<void> save(const std::string &path) const {
    kiln_error error = {};
    return detail::done(kiln_sequence_save_path(shared->llm, sequence, path.c_str(), &error),
                        error);
  }
  Result<void> restore(const std::string &path) {
    kiln_error error = {};
    messages.clear();
    return detail::done(kiln_sequence_restore_path(shared->llm, sequence, path.c_str(), &error),
                        error);
  }

private:
  friend class LanguageModel;

  struct Receiver {
    Generation result;
    const std::function<bool(std::string_view)> &on_text;
    const GenerateOptions &options;
    kiln_logprobs logprobs;
    std::vector<kiln_token_logprob> top;
  };

  Session(std::shared_ptr<detail::Llm> shared, uint32_t sequence)
      : shared(std::move(shared)), sequence(sequence) {}

  static int receive(void *user, int32_t id, const char *text, size_t size) {
    auto &receiver = *static_cast<Receiver *>(user);
    if (id >= 0) {
      receiver.result.tokens.push_back(id);
      if (receiver.options.logprobs || receiver.options.top_logprobs)
        receiver.result.logprobs.push_back(
            {id,
             receiver.logprobs.chosen,
             {receiver.top.begin(),
              receiver.top.begin() + static_cast<std::ptrdiff_t>(receiver.logprobs.top_count)}});
    }
    receiver.result.text.append(text, size);
    return receiver.on_text && size && !receiver.on_text({text, size});
  }

  kiln_sampler_options sampler_options(const GenerateOptions &options) const {
    if (!options.sampler)
      return shared->info.sampler;
    const SamplerOptions &from = *options.sampler;
    kiln_sampler_options result = kiln_sampler_defaults();
    result.temperature = from.temperature;
    result.top_k = from.top_k;
    result.top_p = from.top_p;
    result.min_p = from.min_p;
    result.typical_p = from.typical_p;
    result.repetition_penalty = from.repetition_penalty;
    result.presence_penalty = from.presence_penalty;
    result.frequency_penalty = from.frequency_penalty;
    result.penalty_window = from.penalty_window;
    result.logit_bias = from.logit_bias.data();
    result.logit_bias_count = from.logit_bias.size();
    result.seed = from.seed;
    return result;
  }

  std::shared_ptr<detail::Llm> shared;
  uint32_t sequence = 0;
  std::vector<Message> messages; // of the conversation, where it is one
};

/// A compiled language model. Copies share it.
class LanguageModel {
public:
  static Result<LanguageModel> open(const std::string &path, const OpenOptions &options = {}) {
    kiln_error error = {};
    auto shared = std::make_shared<detail::Llm>();
    kiln_llm_options wanted = {};
    wanted.max_sequences = options.sessions;
    wanted.context_length = options.context_length;
    wanted.cache_pages = options.cache_pages;
    wanted.chunk = options.chunk;
    kiln_status_t status =
        kiln_llm_open(path.c_str(), options.workers, &wanted, &shared->llm, &error);
    if (status)
      return detail::failed(status, error);
    kiln_llm_get_info(shared->llm, &shared->info);
    status = kiln_chat_open(kiln_llm_model(shared->llm), &shared->chat, &error);
    if (status && status != KILN_NO_CHAT_TEMPLATE)
      return detail::failed(status, error);
    return LanguageModel(std::move(shared));
  }

  Result<Session> session() const {
    kiln_error error = {};
    uint32_t sequence = 0;
    if (kiln_status_t status = kiln_sequence_open(shared->llm, &sequence, &error))
      return detail::failed(status, error);
    return Session(shared, sequence);
  }
  /// Sizes, end tokens, recommended sampling.
  const kiln_llm_info &info() const { return shared->info; }
  bool has_chat_template() const { return shared->chat != nullptr; }
  /// From any thread: the generation that runs, or the next one, ends.
  void cancel() const { kiln_llm_cancel(shared->llm); }

  Result<Tokens> encode(std::string_view text, uint32_t flags = KILN_ENCODE_TEMPLATE) const {
    const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(shared->llm);
    if (!tokenizer)
      return Error{KILN_NO_TOKENIZER, kiln_status_text(KILN_NO_TOKENIZER)};
    kiln_error error = {};
    size_t count = 0;
    kiln_status_t status = kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags,
                                                 nullptr, 0, &count, &error);
    Tokens ids(count);
    if (status == KILN_BUFFER_TOO_SMALL)
      status = kiln_tokenizer_encode(tokenizer, text.data(), text.size(), flags, ids.data(), count,
                                     &count, &error);
    return status ? Result<Tokens>(detail::failed(status, error)) : Result<Tokens>(std::move(ids));
  }
  Result<std::string> decode(const Tokens &ids, uint32_t flags = KILN_DECODE_SKIP_SPECIAL) const {
    const kiln_tokenizer_t *tokenizer = kiln_llm_tokenizer(shared->llm);
    if (!tokenizer)
      return Error{KILN_NO_TOKENIZER, kiln_status_text(KILN_NO_TOKENIZER)};
    kiln_error error = {};
    size_t size = 0;
    kiln_status_t status =
        kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, nullptr, 0, &size, &error);
    std::string text(size, 0);
    if (status == KILN_BUFFER_TOO_SMALL)
      status = kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, text.data(), size,
                                     &size, &error);
    return status ? Result<std::string>(detail::failed(status, error))
                  : Result<std::string>(std::move(text));
  }

  /// For what this header does not wrap.
  kiln_llm_t *get() const { return shared->llm; }

private:
  explicit LanguageModel(std::shared_ptr<detail::Llm> shared) : shared(std::move(shared)) {}
  std::shared_ptr<detail::Llm> shared;
};

using Embedding = std::vector<float>;

/// A compiled encoder: texts to vectors. Copies share it.
class Encoder {
public:
  /// `workers` 0: the physical cores.
  static Result<Encoder> open(const std::string &path, uint32_t workers = 0) {
    kiln_error error = {};
    kiln_encoder_t *encoder = nullptr;
    if (kiln_status_t status = kiln_encoder_open(path.c_str(), workers, &encoder, &error))
      return detail::failed(status, error);
    return Encoder(encoder);
  }

  /// One embedding for each text, of info().dimensions numbers. Texts beyond info().context_length
  /// tokens are cut.
  Result<std::vector<Embedding>> embed(const std::vector<std::string> &texts) const {
    std::vector<kiln_text> views;
    for (const std::string &text : texts)
      views.push_back({text.data(), text.size()});
    std::vector<float> values(texts.size() * size_t(sizes.dimensions));
    kiln_error error = {};
    if (kiln_status_t status = kiln_encoder_embed(shared.get(), views.data(), views.size(),
                                                  values.data(), nullptr, &error))
      return detail::failed(status, error);
    std::vector<Embedding> result;
    for (size_t i = 0; i < texts.size(); ++i)
      result.emplace_back(values.data() + i * sizes.dimensions,
                          values.data() + (i + 1) * sizes.dimensions);
    return result;
  }
  Result<Embedding> embed(std::string_view text) const {
    Result<std::vector<Embedding>> result = embed(std::vector<std::string>{std::string(text)});
    return result ? Result<Embedding>(std::move(result->front()))
                  : Result<Embedding>(result.error());
  }

  /// Sizes, pooling.
  const kiln_encoder_info &info() const { return sizes; }
  /// From any thread: the call that runs, or the next one, ends.
  void cancel() const { kiln_encoder_cancel(shared.get()); }
  /// For what this header does not wrap.
  kiln_encoder_t *get() const { return shared.get(); }

private:
  explicit Encoder(kiln_encoder_t *encoder) : shared(encoder, kiln_encoder_destroy) {
    kiln_encoder_get_info(encoder, &sizes);
  }
  std::shared_ptr<kiln_encoder_t> shared;
  kiln_encoder_info sizes = {};
};

} // namespace kiln

#endif // KILN_KILN_HPP
