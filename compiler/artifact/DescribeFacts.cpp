// Reads the module attributes `graph.facts` (a dictionary of strings) and `graph.language_model`
// (what the runtime needs to drive the decoder function); an unknown key or a value of another type
// is an error, so that nothing an importer says gets lost.
#include "compiler/artifact/DescribeFacts.h"
#include "llvm/Support/FormatVariadic.h"
#include <limits>

using namespace kiln;
using namespace mlir;

static llvm::Error fail(StringRef key, StringRef expected, Attribute found) {
  std::string text;
  llvm::raw_string_ostream(text) << key << ": expected " << expected << ", found " << found;
  return llvm::createStringError(text);
}

template <typename T> static llvm::Error readInteger(StringRef key, Attribute value, T &result) {
  auto integer = dyn_cast<IntegerAttr>(value);
  if (!integer || integer.getValue().getSignificantBits() > 64 ||
      integer.getInt() < int64_t(std::numeric_limits<T>::min()) ||
      integer.getInt() > int64_t(std::numeric_limits<T>::max()))
    return fail(key, "an integer in range", value);
  result = T(integer.getInt());
  return llvm::Error::success();
}

static llvm::Error readFloat(StringRef key, Attribute value, float &result) {
  auto number = dyn_cast<FloatAttr>(value);
  if (!number)
    return fail(key, "a float", value);
  result = float(number.getValueAsDouble());
  return llvm::Error::success();
}

static llvm::Error readTokens(StringRef key, Attribute value, std::vector<int32_t> &result) {
  if (auto dense = dyn_cast<DenseI32ArrayAttr>(value)) {
    result.assign(dense.asArrayRef().begin(), dense.asArrayRef().end());
    return llvm::Error::success();
  }
  if (auto dense = dyn_cast<DenseI64ArrayAttr>(value)) {
    for (int64_t token : dense.asArrayRef()) {
      if (token != int32_t(token))
        return fail(key, "token ids", value);
      result.push_back(int32_t(token));
    }
    return llvm::Error::success();
  }
  auto array = dyn_cast<ArrayAttr>(value);
  if (!array)
    return fail(key, "an array of token ids", value);
  for (Attribute element : array)
    if (llvm::Error error = readInteger(key, element, result.emplace_back()))
      return error;
  return llvm::Error::success();
}

static llvm::Error readEntry(StringRef key, Attribute value, schema::LanguageModelT &model) {
  if (key == "function") {
    if (auto symbol = dyn_cast<FlatSymbolRefAttr>(value))
      model.function = symbol.getValue().str();
    else if (auto name = dyn_cast<StringAttr>(value))
      model.function = name.str();
    else
      return fail(key, "a function's name", value);
    return llvm::Error::success();
  }
  if (key == "vocab_size")
    return readInteger(key, value, model.vocab_size);
  if (key == "context_length")
    return readInteger(key, value, model.context_length);
  if (key == "page_size")
    return readInteger(key, value, model.page_size);
  if (key == "cache_layers")
    return readInteger(key, value, model.cache_layers);
  if (key == "bos_token")
    return readInteger(key, value, model.bos_token);
  if (key == "eos_tokens")
    return readTokens(key, value, model.eos_tokens);
  if (key == "add_bos") {
    auto flag = dyn_cast<BoolAttr>(value);
    if (!flag)
      return fail(key, "true or false", value);
    model.add_bos = flag.getValue();
    return llvm::Error::success();
  }
  if (key == "temperature")
    return readFloat(key, value, model.temperature);
  if (key == "top_k")
    return readInteger(key, value, model.top_k);
  if (key == "top_p")
    return readFloat(key, value, model.top_p);
  if (key == "repetition_penalty")
    return readFloat(key, value, model.repetition_penalty);
  return fail(key, "a key of graph.language_model", value);
}

llvm::Error kiln::describeFacts(ModuleOp module, schema::ProgramT &program) {
  if (auto facts = module->getAttrOfType<DictionaryAttr>("graph.facts"))
    for (NamedAttribute entry : facts) {
      auto text = dyn_cast<StringAttr>(entry.getValue());
      if (!text)
        return fail(entry.getName(), "a string in graph.facts", entry.getValue());
      auto fact = std::make_unique<schema::FactT>();
      fact->key = entry.getName().str();
      fact->value = text.str();
      program.facts.push_back(std::move(fact));
    }
  auto entries = module->getAttrOfType<DictionaryAttr>("graph.language_model");
  if (!entries)
    return llvm::Error::success();
  auto model = std::make_unique<schema::LanguageModelT>();
  for (NamedAttribute entry : entries)
    if (llvm::Error error = readEntry(entry.getName(), entry.getValue(), *model))
      return error;
  for (const auto &function : program.functions)
    if (function->name == model->function) {
      program.language_model = std::move(model);
      return llvm::Error::success();
    }
  return llvm::createStringError("graph.language_model: no function '" + model->function + "'");
}
