// Reads the layout of sentence-transformers: modules.json lists what is computed one after the
// other, each in a folder with its own config.json. Its Pooling config has a switch for each mode,
// or since version 5 one name.
#include "compiler/import/SentenceConfig.h"
#include "compiler/import/InputFile.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/ModelFolder.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace kiln;
using nlohmann::json;

static constexpr uint64_t longestFile = 1u << 20;
static constexpr int64_t longestText = 1 << 24;

StringRef kiln::getName(Pooling pooling) {
  switch (pooling) {
  case Pooling::Mean:
    return "mean";
  case Pooling::Cls:
    return "cls";
  case Pooling::Max:
    return "max";
  }
  llvm_unreachable("every pooling is in the switch");
}

static std::optional<Pooling> findPooling(StringRef name) {
  return StringSwitch<std::optional<Pooling>>(name)
      .Case("mean", Pooling::Mean)
      .Case("cls", Pooling::Cls)
      .Case("max", Pooling::Max)
      .Default(std::nullopt);
}

// ---- Files ------------------------------------------------------------------------------------

static std::optional<std::string> readText(StringRef folder, StringRef file, Problems &problems) {
  SmallString<128> path(folder);
  sys::path::append(path, file);
  if (!sys::fs::exists(path))
    return std::nullopt;
  return readSmallFile(path, file, longestFile, problems);
}

static std::optional<ConfigObject> readObject(StringRef folder, StringRef file,
                                              Problems &problems) {
  std::optional<std::string> text = readText(folder, file, problems);
  return text ? ConfigObject::parse(file, *text, problems) : std::nullopt;
}

// ---- modules.json -----------------------------------------------------------------------------

static std::string getText(const json &object, const char *key) {
  auto place = object.find(key);
  return place != object.end() && place->is_string() ? place->get<std::string>() : "";
}

std::optional<SentenceModules> kiln::parseSentenceModules(StringRef file, StringRef text,
                                                          Problems &problems) {
  std::optional<json> list = parseJson(file, text, JsonLimits(), problems);
  if (!list)
    return std::nullopt;
  size_t before = problems.getAdded();
  auto fail = [&](const Twine &what) { problems.add(printable(file) + ": " + what); };
  if (!list->is_array() || list->empty()) {
    fail("expected a list of modules, found " + printJson(*list));
    return std::nullopt;
  }
  SentenceModules result;
  bool hasPooling = false;
  for (const auto &[number, module] : enumerate(*list)) {
    std::string type = module.is_object() ? getText(module, "type") : "";
    std::string path = module.is_object() ? getText(module, "path") : "";
    StringRef name = StringRef(type).rsplit('.').second;
    if (number == 0) {
      if (name != "Transformer")
        fail("module 0: expected a Transformer, found " + printJson(module));
      else if (!path.empty())
        fail("module 0: expected the Transformer's files in this folder, found them in \"" +
             printable(path) + "\": compile that folder");
    } else if (name == "Pooling" && number == 1 && isPlainFileName(path)) {
      hasPooling = true;
      result.pooling = path;
    } else if (name == "Normalize" && hasPooling && !result.normalize) {
      result.normalize = true;
    } else {
      fail("module " + Twine(number) + ": expected " +
           (hasPooling ? "Normalize" : "Pooling in a folder beside this file") + ", found " +
           printJson(module));
    }
  }
  if (problems.getAdded() != before)
    return std::nullopt;
  return result;
}

// ---- Pooling ----------------------------------------------------------------------------------

std::optional<Pooling> kiln::readPooling(const ConfigObject &config, int64_t hidden) {
  size_t before = config.getProblems().getAdded();
  for (StringRef key : {"word_embedding_dimension", "embedding_dimension"})
    if (std::optional<int64_t> size = config.getInteger(key, 1, longestText);
        size && *size != hidden)
      config.fail(key,
                  "expected the model's hidden size " + Twine(hidden) + ", found " + Twine(*size));
  std::vector<std::string> names = config.getStrings("pooling_mode");
  static constexpr std::pair<StringLiteral, StringLiteral> switches[] = {
      {"pooling_mode_mean_tokens", "mean"},
      {"pooling_mode_cls_token", "cls"},
      {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
      {"pooling_mode_weightedmean_tokens", "weightedmean"},
      {"pooling_mode_lasttoken", "lasttoken"},
  };
  if (names.empty())
    for (const auto &[key, name] : switches)
      if (config.getBool(key).value_or(false))
        names.push_back(name.str());
  std::optional<Pooling> pooling = names.size() == 1 ? findPooling(names[0]) : std::nullopt;
  if (!pooling) {
    std::string found;
    for (const std::string &name : names)
      found += (found.empty() ? "" : ", ") + printable(name);
    config.fail("pooling_mode", "expected one of mean, cls and max, found " +
                                    (found.empty() ? std::string("none") : found));
  }
  return config.getProblems().getAdded() == before ? pooling : std::nullopt;
}

SentenceConfig kiln::readSentenceConfig(StringRef folder, const ConfigObject &tokenizer,
                                        int64_t hidden, Problems &problems) {
  SentenceConfig result;
  if (std::optional<ConfigObject> lengths =
          readObject(folder, "sentence_bert_config.json", problems))
    result.maxLength = lengths->getInteger("max_seq_length", 1, longestText);
  // Tokenizers without a limit of their own say 1e30.
  if (std::optional<double> longest = tokenizer.getNumber("model_max_length", 1, 1e300);
      longest && !result.maxLength && *longest <= double(longestText))
    result.maxLength = int64_t(*longest);
  std::optional<std::string> text = readText(folder, "modules.json", problems);
  std::optional<SentenceModules> modules =
      text ? parseSentenceModules("modules.json", *text, problems) : std::nullopt;
  if (!modules)
    return result;
  result.normalize = modules->normalize;
  if (modules->pooling.empty())
    return result;
  std::string file = modules->pooling + "/config.json";
  std::optional<ConfigObject> config = readObject(folder, file, problems);
  if (!config)
    problems.add(printable(file) + ": expected the pooling that modules.json names, found no file");
  else if (std::optional<Pooling> pooling = readPooling(*config, hidden)) {
    result.pooling = *pooling;
    result.hasPooling = true;
  }
  return result;
}
