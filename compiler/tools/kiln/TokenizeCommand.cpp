// kiln tokenize: text to token ids and back, by an artifact's tokenizer or by the one of a model
// that is not compiled yet.
#include "compiler/tokenizer/Tokenizer.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

using namespace kiln;

namespace {

using TokenizerHandle = std::unique_ptr<kiln_tokenizer_t, Deleter<kiln_tokenizer_close>>;

struct TokenizeOptions {
  std::string source;
  std::vector<std::string> input;
  bool decode = false;
  bool ids = false;
  bool pieces = false;
  bool json = false;
  bool plain = false;
  bool textOnly = false;
};

/// What a tokenizer's tables lie in.
struct Opened {
  ModelHandle model;
  std::vector<uint8_t> tables;
  TokenizerHandle tokenizer;
};

bool open(const std::string &source, Opened &opened, std::string &error) {
  kiln_error failure = {};
  kiln_tokenizer_t *tokenizer = nullptr;
  kiln_status_t status;
  if (llvm::StringRef(source).ends_with(".kiln")) {
    kiln_model_t *model = nullptr;
    status = kiln_model_open_path(source.c_str(), &model, &failure);
    opened.model.reset(model);
    if (!status)
      status = kiln_tokenizer_open(model, &tokenizer, &failure);
  } else {
    llvm::Expected<std::vector<uint8_t>> tables = compileTokenizerPath(source);
    if (!tables) {
      error = llvm::toString(tables.takeError());
      return false;
    }
    opened.tables = std::move(*tables);
    status = kiln_tokenizer_open_memory(opened.tables.data(), opened.tables.size(), &tokenizer,
                                        &failure);
  }
  opened.tokenizer.reset(tokenizer);
  if (status)
    error = describe(status, failure);
  return !status;
}

std::string decode(const kiln_tokenizer_t *tokenizer, const std::vector<int32_t> &ids,
                   uint32_t flags) {
  size_t size = 0;
  kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, nullptr, 0, &size, nullptr);
  std::string text(size, '\0');
  kiln_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, text.data(), size, &size,
                        nullptr);
  return text;
}

/// A piece as one line: control characters, quotes and bytes that are no UTF-8 are escaped.
std::string escaped(const std::string &piece) {
  return nlohmann::json(piece).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int runDecode(const TokenizeOptions &options, const kiln_tokenizer_t *tokenizer,
              const std::string &input) {
  std::vector<int32_t> ids;
  std::istringstream words(input);
  for (std::string word; std::getline(words >> std::ws, word, ' ');) {
    int32_t id = 0;
    if (llvm::StringRef(word).trim(" ,\n\t[]").getAsInteger(10, id) || id < 0 ||
        static_cast<size_t>(id) >= kiln_tokenizer_size(tokenizer))
      return reportFailure("expected ids from 0 to " +
                           std::to_string(kiln_tokenizer_size(tokenizer) - 1) + ", found '" + word +
                           "'");
    ids.push_back(id);
  }
  std::string text = decode(tokenizer, ids, options.textOnly ? KILN_DECODE_SKIP_SPECIAL : 0);
  if (options.json)
    std::printf("{\"text\": %s}\n", escaped(text).c_str());
  else
    std::printf("%s\n", text.c_str());
  return 0;
}

int runEncode(const TokenizeOptions &options, const kiln_tokenizer_t *tokenizer,
              const std::string &input) {
  uint32_t flags = options.plain ? KILN_ENCODE_SPECIAL_AS_TEXT : KILN_ENCODE_TEMPLATE;
  std::vector<int32_t> ids(input.size() + 64);
  kiln_error failure = {};
  size_t count = 0;
  kiln_status_t status;
  while ((status = kiln_tokenizer_encode(tokenizer, input.data(), input.size(), flags, ids.data(),
                                         ids.size(), &count, &failure)) == KILN_BUFFER_TOO_SMALL)
    ids.resize(count);
  if (status)
    return reportFailure(describe(status, failure));
  ids.resize(count);
  std::vector<std::string> pieces;
  for (size_t i = 0; i < ids.size(); ++i)
    pieces.push_back(decode(tokenizer, {ids[i]}, i == 0 ? 0 : KILN_DECODE_CONTINUE));
  if (options.json) {
    std::string line;
    for (size_t i = 0; i < ids.size(); ++i)
      line += (i ? ", " : "") +
              ("{\"id\": " + std::to_string(ids[i]) + ", \"piece\": " + escaped(pieces[i]) + "}");
    std::printf("[%s]\n", line.c_str());
    return 0;
  }
  if (options.ids) {
    for (size_t i = 0; i < ids.size(); ++i)
      std::printf(i ? " %d" : "%d", ids[i]);
    std::printf("\n");
    return 0;
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (options.pieces)
      std::printf("%s\n", escaped(pieces[i]).c_str());
    else
      std::printf("%7d  %s\n", ids[i], escaped(pieces[i]).c_str());
  }
  return 0;
}

int runTokenize(const TokenizeOptions &options) {
  Opened opened;
  std::string error, input;
  if (!open(options.source, opened, error))
    return reportFailure(error);
  for (const std::string &word : options.input)
    input += (input.empty() ? "" : " ") + word;
  if (input == "-")
    input.assign(std::istreambuf_iterator<char>(std::cin), {});
  return options.decode ? runDecode(options, opened.tokenizer.get(), input)
                        : runEncode(options, opened.tokenizer.get(), input);
}

} // namespace

void kiln::addTokenizeCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App *command = app.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  command
      ->add_option("source", options->source,
                   "An artifact, a model folder, or a file *.json, *.model or *.gguf")
      ->required();
  command->add_option("text", options->input, "The text (with --decode: ids), or - for stdin")
      ->required();
  command->add_flag("--decode", options->decode, "From ids to text");
  CLI::Option *ids = command->add_flag("--ids", options->ids, "Print ids only, on one line");
  command->add_flag("--pieces", options->pieces, "Print pieces only, one per line")->excludes(ids);
  command->add_flag("--json", options->json, "JSON on stdout");
  command->add_flag("--plain", options->plain,
                    "No begin or end token, and special tokens in the text are text");
  command->add_flag("--skip-special", options->textOnly, "With --decode: leave out special tokens");
  setExamples(*command, "  kiln tokenize model.kiln \"Once upon a time\"\n"
                        "  kiln tokenize model.gguf --ids - < text.txt\n"
                        "  kiln tokenize tokenizer.json --decode 464 3290 318\n");
  command->callback([options, &exitCode] { exitCode = runTokenize(*options); });
}
