// Reads the module attributes `graph.facts` (a dictionary of strings), `graph.language_model` (what
// the runtime needs to drive the decoder function) and `graph.encoder` (the same of an encoder); an
// unknown key or a value of another type is an error, so that nothing an importer says gets lost.
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

static llvm::Error readBool(StringRef key, Attribute value, bool &result) {
  auto flag = dyn_cast<BoolAttr>(value);
  if (!flag)
    return fail(key, "true or false", value);
  result = flag.getValue();
  return llvm::Error::success();
}

static llvm::Error readFunction(StringRef key, Attribute value, std::string &result) {
  if (auto symbol = dyn_cast<FlatSymbolRefAttr>(value))
    result = symbol.getValue().str();
  else if (auto name = dyn_cast<StringAttr>(value))
    result = name.str();
  else
    return fail(key, "a function's name", value);
  return llvm::Error::success();
}

static llvm::Error readEntry(StringRef key, Attribute value, schema::EncoderT &encoder) {
  if (key == "function")
    return readFunction(key, value, encoder.function);
  if (key == "vocab_size")
    return readInteger(key, value, encoder.vocab_size);
  if (key == "hidden_size")
    return readInteger(key, value, encoder.hidden_size);
  if (key == "context_length")
    return readInteger(key, value, encoder.context_length);
  if (key == "page_size")
    return readInteger(key, value, encoder.page_size);
  if (key == "normalize")
    return readBool(key, value, encoder.normalize);
  if (key == "pooling") {
    auto name = dyn_cast<StringAttr>(value);
    for (schema::Pooling pooling : schema::EnumValuesPooling())
      if (name && name.getValue() == schema::EnumNamePooling(pooling)) {
        encoder.pooling = pooling;
        return llvm::Error::success();
      }
    return fail(key, "mean, cls or max", value);
  }
  return fail(key, "a key of graph.encoder", value);
}

static llvm::Error readEntry(StringRef key, Attribute value, schema::LanguageModelT &model) {
  if (key == "function")
    return readFunction(key, value, model.function);
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
  if (key == "add_bos")
    return readBool(key, value, model.add_bos);
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

/// Reads the module attribute `name`, where it is there, into `table`.
template <typename Table>
static llvm::Error readTable(ModuleOp module, StringRef name, const schema::ProgramT &program,
                             std::unique_ptr<Table> &table) {
  auto entries = module->getAttrOfType<DictionaryAttr>(name);
  if (!entries)
    return llvm::Error::success();
  auto read = std::make_unique<Table>();
  for (NamedAttribute entry : entries)
    if (llvm::Error error = readEntry(entry.getName(), entry.getValue(), *read))
      return error;
  if (llvm::none_of(program.functions,
                    [&](const auto &function) { return function->name == read->function; }))
    return llvm::createStringError(name + ": no function '" + read->function + "'");
  table = std::move(read);
  return llvm::Error::success();
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
  if (llvm::Error error =
          readTable(module, "graph.language_model", program, program.language_model))
    return error;
  return readTable(module, "graph.encoder", program, program.encoder);
}
