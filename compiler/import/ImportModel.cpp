// Import, from a folder or a GGUF file to a verified module: read config and tensor headers, plan
// the decoder or encoder, compare plan and tensors, build. Each step goes as far as it can and adds
// what is wrong to one list; only an empty list lets the graph be built.
#include "compiler/import/ImportModel.h"
#include "compiler/import/BuildDecoder.h"
#include "compiler/import/BuildEncoder.h"
#include "compiler/import/InputFile.h"
#include "compiler/import/SentenceConfig.h"
#include "compiler/import/TextPart.h"
#include "compiler/import/gguf/GgufModel.h"
#include "ir/Graph/GraphDialect.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace kiln;

static constexpr uint64_t longestConfig = 16u << 20;
static constexpr int64_t largestPage = 4096;

namespace {
/// What a model's files say.
struct ModelFiles {
  std::optional<ConfigObject> config;
  ConfigObject generation, tokenizer;
  std::optional<ModelTensors> tensors;
  /// The family's record as the files store its tensors, where that is not as Hugging Face does.
  std::optional<Family> stored;
  std::string name;
  uint64_t configHash = 0;
  std::optional<std::string> license;
  /// What was left out and why, one line each.
  std::vector<std::string> warnings;
};
} // namespace

static std::string join(StringRef folder, StringRef file) {
  SmallString<128> path(folder);
  llvm::sys::path::append(path, file);
  return path.str().str();
}

/// A file that may be absent gives an object without keys.
static ConfigObject readOptional(StringRef folder, StringRef file, Problems &problems) {
  ConfigObject nothing = ConfigObject::empty(file, problems);
  if (!llvm::sys::fs::exists(join(folder, file)))
    return nothing;
  std::optional<std::string> text =
      readSmallFile(join(folder, file), file, longestConfig, problems);
  if (!text)
    return nothing;
  return ConfigObject::parse(file, *text, problems).value_or(nothing);
}

static void checkOptions(const ImportOptions &options, Problems &problems) {
  if (options.maxTokens < 1)
    problems.add("max tokens: expected at least 1, found " + Twine(options.maxTokens));
  if (options.pageSize < 1 || options.pageSize > largestPage)
    problems.add("page size: expected 1 to " + Twine(largestPage) + ", found " +
                 Twine(options.pageSize));
}

/// The last part of the model's own name, else the folder's name, for a folder given as "." too.
static std::string nameModel(StringRef folder, const ConfigObject &config) {
  std::string given = config.getString("_name_or_path").value_or("");
  StringRef last = llvm::sys::path::filename(StringRef(given).rtrim("/\\"));
  if (!last.empty() && last != "." && last != "..")
    return printable(last);
  SmallString<128> path(folder);
  if (std::error_code code = llvm::sys::fs::make_absolute(path))
    return folder.str();
  llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
  while (path.size() > 1 && llvm::sys::path::is_separator(path.back()))
    path.pop_back();
  return printable(llvm::sys::path::filename(path));
}

/// `license:` of the front matter of a model card, or nothing.
static std::optional<std::string> readLicense(StringRef folder) {
  Problems ignored; // a card that cannot be read is as good as none
  std::string path = join(folder, "README.md");
  if (!llvm::sys::fs::exists(path))
    return std::nullopt;
  std::optional<std::string> text = readSmallFile(path, "README.md", longestConfig, ignored);
  if (!text || !StringRef(*text).starts_with("---\n"))
    return std::nullopt;
  for (StringRef line : llvm::split(StringRef(*text).drop_front(4), '\n')) {
    if (line.trim() == "---")
      break;
    if (line.consume_front("license:"))
      return printable(line.trim().trim("\"'"));
  }
  return std::nullopt;
}

static ModelFiles readHuggingFace(StringRef folder, Problems &problems) {
  ModelFiles result = {std::nullopt, readOptional(folder, "generation_config.json", problems),
                       readOptional(folder, "tokenizer_config.json", problems)};
  std::optional<std::string> text =
      readSmallFile(join(folder, "config.json"), "config.json", longestConfig, problems);
  if (text) {
    result.config = ConfigObject::parse("config.json", *text, problems);
    result.configHash = llvm::xxHash64(*text);
  }
  if (result.config)
    result.name = nameModel(folder, *result.config);
  result.license = readLicense(folder);
  result.tensors = readModelTensors(folder, problems);
  if (std::optional<ConfigObject> whole = result.config)
    if (std::optional<ConfigObject> part = findTextConfig(*whole)) {
      size_t others = result.tensors ? takeTextTensors(*result.tensors) : 0;
      result.warnings.push_back(
          "only the text part of this " + whole->getString("model_type").value_or("") +
          " model is compiled; " + std::to_string(others) + " tensors of other parts are left out");
      result.config = std::move(part);
    }
  return result;
}

static ModelFiles readGguf(const ModelPlace &place, Problems &problems) {
  ModelFiles result = {std::nullopt, ConfigObject::empty(place.gguf, problems),
                       ConfigObject::empty(place.gguf, problems)};
  std::optional<GgufModel> model = readGgufModel(place.folder, place.gguf, problems);
  std::optional<GgufDecoder> decoder;
  if (model)
    decoder = translateGguf(*model, problems);
  if (!decoder)
    return result;
  result.config = std::move(decoder->config);
  result.generation = std::move(decoder->generation);
  result.tokenizer = std::move(decoder->tokenizer);
  result.tensors = std::move(decoder->tensors);
  result.stored = std::move(decoder->family);
  result.name = std::move(decoder->name);
  result.license = std::move(decoder->license);
  result.configHash = model->hash;
  return result;
}

static DictionaryAttr buildFacts(const ModelFiles &files, const DecoderConfig &config,
                                 MLIRContext &context) {
  NamedAttrList facts;
  auto add = [&](StringRef key, const Twine &value) {
    facts.append(key, StringAttr::get(&context, value));
  };
  add("architecture", config.modelType);
  add("name", files.name);
  add("context_length", Twine(config.contextLength));
  add("layers", Twine(config.layers));
  add("hidden_size", Twine(config.hidden));
  add("vocab_size", Twine(config.vocabulary));
  add("source_hash", "xxh64:" + llvm::utohexstr(files.configHash, /*LowerCase=*/true, 16) + ":" +
                         llvm::utohexstr(files.tensors->hash, /*LowerCase=*/true, 16));
  if (files.license)
    add("license", *files.license);
  return facts.getDictionary(&context);
}

/// What sentence-transformers' files say of an encoder; nothing of a decoder. Its config is read
/// with the length of a text, which they may limit.
static std::optional<SentenceConfig> readSentences(const ModelPlace &place, const ModelFiles &files,
                                                   const ImportOptions &options,
                                                   std::optional<DecoderConfig> &config,
                                                   Problems &problems) {
  if (!config || config->family->kind != ModelKind::Encoder)
    return std::nullopt;
  SentenceConfig sentences =
      readSentenceConfig(place.folder, files.tokenizer, config->hidden, problems);
  if (!options.contextLength && sentences.maxLength)
    config->contextLength = std::min(config->contextLength, *sentences.maxLength);
  return sentences;
}

static DictionaryAttr buildEncoderFacts(const DecoderConfig &config,
                                        const SentenceConfig &sentences,
                                        const ImportOptions &options, MLIRContext &context) {
  Builder b(&context);
  NamedAttrList encoder;
  encoder.append("function", b.getStringAttr("encode"));
  encoder.append("vocab_size", b.getI64IntegerAttr(config.vocabulary));
  encoder.append("hidden_size", b.getI64IntegerAttr(config.hidden));
  encoder.append("context_length", b.getI64IntegerAttr(config.contextLength));
  encoder.append("page_size", b.getI64IntegerAttr(options.pageSize));
  encoder.append("pooling", b.getStringAttr(getName(sentences.pooling)));
  encoder.append("normalize", b.getBoolAttr(sentences.normalize));
  return encoder.getDictionary(&context);
}

static DictionaryAttr buildLanguageModel(const DecoderConfig &config,
                                         const GenerationConfig &generation,
                                         const ImportOptions &options, MLIRContext &context) {
  Builder b(&context);
  NamedAttrList model;
  auto addNumber = [&](StringRef key, std::optional<double> value) {
    if (value)
      model.append(key, b.getF64FloatAttr(*value));
  };
  auto addInteger = [&](StringRef key, std::optional<int64_t> value) {
    if (value)
      model.append(key, b.getI64IntegerAttr(*value));
  };
  model.append("function", b.getStringAttr("decode"));
  addInteger("vocab_size", config.vocabulary);
  addInteger("context_length", config.contextLength);
  addInteger("page_size", options.pageSize);
  addInteger("cache_layers", config.layers);
  addInteger("bos_token", generation.bosToken);
  if (!generation.eosTokens.empty())
    model.append("eos_tokens", b.getI64ArrayAttr(generation.eosTokens));
  if (generation.addBos)
    model.append("add_bos", b.getBoolAttr(*generation.addBos));
  addNumber("temperature", generation.temperature);
  addInteger("top_k", generation.topK);
  addNumber("top_p", generation.topP);
  addNumber("repetition_penalty", generation.repetitionPenalty);
  return model.getDictionary(&context);
}

llvm::Expected<OwningOpRef<ModuleOp>>
kiln::importModel(StringRef path, const ImportOptions &options, MLIRContext &context) {
  Problems problems;
  checkOptions(options, problems);
  std::optional<ModelPlace> place = findModel(path, problems);
  if (place && !place->onnx.empty())
    problems.add("expected a language model of Hugging Face's files or GGUF, found an ONNX file");
  if (!place || !place->onnx.empty())
    return problems.toError(path);

  ModelFiles files =
      place->gguf.empty() ? readHuggingFace(place->folder, problems) : readGguf(*place, problems);
  const std::optional<ModelTensors> &tensors = files.tensors;
  std::optional<DecoderConfig> config;
  if (files.config)
    config = readDecoderConfig(*files.config, options.contextLength);
  if (config && files.stored)
    config->family = &*files.stored;
  std::optional<SentenceConfig> sentences = readSentences(*place, files, options, config, problems);

  // Sound config and sound files: do they agree?
  DecoderPlan plan;
  GenerationConfig generation = config ? readGenerationConfig(*files.config, files.generation,
                                                              files.tokenizer, config->vocabulary)
                                       : GenerationConfig();
  if (config && tensors) {
    plan = planDecoder(*config, hasModulePrefix(*config->family, *tensors));
    checkTensors(*config, plan, *tensors, problems);
  }
  if (!problems.empty())
    return problems.toError(path);

  // Everything that the graph needs is there and has the right shape.
  context.loadDialect<graph::GraphDialect>();
  OwningOpRef<ModuleOp> module = sentences
                                     ? buildEncoder(*config, plan, *tensors, options, context)
                                     : buildDecoder(*config, plan, *tensors, options, context);
  (*module)->setAttr("graph.facts", buildFacts(files, *config, context));
  if (sentences)
    (*module)->setAttr("graph.encoder", buildEncoderFacts(*config, *sentences, options, context));
  else
    (*module)->setAttr("graph.language_model",
                       buildLanguageModel(*config, generation, options, context));
  if (sentences && !sentences->hasPooling)
    files.warnings.push_back("no file says how embeddings are pooled: the mean of all tokens");
  if (!sentences)
    llvm::append_range(files.warnings, generation.warnings);
  for (const std::string &warning : files.warnings)
    emitWarning(NameLoc::get(StringAttr::get(&context, printable(path))), warning);
  if (failed(verify(*module)))
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "the imported module of %s does not verify", path.str().c_str());
  return module;
}
