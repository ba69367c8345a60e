//===- ReadDecoder.cpp - Decoders and post-processors ----------------------===//
//
// Decoders are chains of small text operations; the ones that language models use come in few
// orders, which fit the fields of tokenizer.fbs's Decoder. An order with another meaning is
// refused. A post-processor becomes the ids before and after the text.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/TokenizerTables.h"

#include "llvm/ADT/Twine.h"

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// Where in a chain of decoders we are; later steps see other text than earlier ones.
struct DecoderChain {
  bool fallback = false, fused = false, stripped = false, any = false;
};

void readDecoderStep(const JsonObject &object, DecoderTables &decoder, DecoderChain &chain) {
  std::string type = object.typeName();
  bool first = !chain.any;
  chain.any = true;
  if (decoder.byteLevel || (type == "ByteLevel" && !first)) {
    object.problem("ByteLevel together with other decoders is not supported");
  } else if (type == "ByteLevel") {
    decoder.byteLevel = true;
  } else if (type == "Replace" || type == "Metaspace") {
    if (!decoder.marker.empty() || chain.fallback || chain.fused || chain.stripped)
      return object.problem("'" + type + "' after another decoder is not supported");
    if (type == "Metaspace") {
      bool prefixSpace = object.boolean("add_prefix_space", true);
      decoder.marker = object.string("replacement").value_or("▁");
      decoder.markerText = " ";
      decoder.firstMarkerVanishes =
          object.string("prepend_scheme").value_or(prefixSpace ? "always" : "never") != "never";
    } else {
      if (const Json *pattern = object.find("pattern"))
        decoder.marker = object.object(*pattern, "pattern").string("String").value_or("");
      decoder.markerText = object.string("content").value_or("");
    }
    if (decoder.marker.empty())
      object.problem("the decoder 'Replace' is supported for a string only");
  } else if (type == "WordPiece") {
    if (!first)
      return object.problem("'WordPiece' after another decoder is not supported");
    decoder.separator = " ";
    decoder.continuation = object.string("prefix").value_or("##");
    decoder.cleanUp = object.boolean("cleanup", true);
    chain.fused = true;
  } else if (type == "ByteFallback") {
    if (chain.fused || chain.stripped)
      return object.problem("'ByteFallback' after 'Fuse' or 'Strip' is not supported");
    chain.fallback = decoder.byteFallback = true;
  } else if (type == "Fuse") {
    chain.fused = true;
  } else if (type == "Strip") {
    std::string content = object.string("content").value_or("");
    uint32_t start = object.number("start").value_or(0), stop = object.number("stop").value_or(0);
    if (start == 0 && stop == 0)
      return;
    if (!chain.fused || chain.stripped || stop != 0 || content.size() != 1)
      return object.problem("the decoder 'Strip' is supported once, after 'Fuse', at the start and "
                            "for one ASCII character only");
    chain.stripped = true;
    decoder.stripLeft = start;
    decoder.stripByte = content[0];
  } else {
    object.problem("the decoder '" + type + "' is not supported");
  }
}

/// A token by its text; a problem where the vocabulary has none.
std::optional<uint32_t> findToken(const JsonObject &object, const TokenizerTables &tables,
                                  StringRef text) {
  for (const AddedToken &token : tables.addedTokens)
    if (token.content == text)
      return token.id;
  object.problem("the token '" + text + "' is not among the added tokens");
  return std::nullopt;
}

void readTemplate(const JsonObject &object, TokenizerTables &tables) {
  std::vector<uint32_t> before, after;
  bool seenText = false;
  for (const Json *piece : object.array("single")) {
    JsonObject entry = object.object(*piece, "single");
    if (const Json *json = entry.find("Sequence")) {
      if (seenText || entry.object(*json, "Sequence").string("id").value_or("") != "A")
        entry.problem("expected the sequence A once");
      seenText = true;
    } else if (const Json *json = entry.find("SpecialToken")) {
      std::string name = entry.object(*json, "SpecialToken").string("id").value_or("");
      const Json *tokens = object.find("special_tokens");
      const Json *token = nullptr;
      if (tokens)
        token = object.object(*tokens, "special_tokens").find(name);
      if (!token) {
        entry.problem("special_tokens has no '" + name + "'");
        continue;
      }
      for (const Json *id : entry.object(*token, "special_tokens").array("ids")) {
        if (!id->is_number_unsigned() || *id->get_ptr<const uint64_t *>() >= tables.tokens.size()) {
          entry.problem("'" + name + "' has an id outside the vocabulary");
          continue;
        }
        auto value = static_cast<uint32_t>(*id->get_ptr<const uint64_t *>());
        (seenText ? after : before).push_back(value);
      }
    } else {
      entry.problem("expected 'Sequence' or 'SpecialToken'");
    }
  }
  if (!seenText)
    object.problem("the template does not hold the sequence A");
  tables.prefix.insert(tables.prefix.begin(), before.begin(), before.end());
  tables.suffix.insert(tables.suffix.end(), after.begin(), after.end());
  tables.hasTemplate = true;
}

/// Roberta and Bert: ["<s>", 0] and ["</s>", 2] around the text.
void readClassifier(const JsonObject &object, TokenizerTables &tables) {
  auto add = [&](StringRef key, std::vector<uint32_t> &ids) {
    std::vector<const Json *> pair = object.array(key);
    if (pair.size() != 2 || !pair[1]->is_number_unsigned() ||
        *pair[1]->get_ptr<const uint64_t *>() >= tables.tokens.size())
      return object.problem(key + ": expected a token and its id");
    ids.push_back(static_cast<uint32_t>(*pair[1]->get_ptr<const uint64_t *>()));
  };
  add("cls", tables.prefix);
  add("sep", tables.suffix);
  tables.hasTemplate = true;
}

void readPostProcessorStep(const JsonObject &object, TokenizerTables &tables, bool nested) {
  std::string type = object.typeName();
  if (type == "Sequence" && !nested) {
    for (const Json *child : object.array("processors"))
      readPostProcessorStep(object.object(*child, "processors"), tables, true);
  } else if (type == "TemplateProcessing") {
    readTemplate(object, tables);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    readClassifier(object, tables);
  } else if (type != "ByteLevel") { // ByteLevel changes offsets only
    object.problem("the post-processor '" + type + "' is not supported");
  }
}

} // namespace

void kiln::tokenizer::readDecoder(const JsonObject &root, TokenizerTables &tables) {
  DecoderTables &decoder = tables.decoder;
  const Json *json = root.find("decoder");
  if (!json) {
    decoder.separator = " "; // without a decoder, tokens are joined with spaces
  } else {
    JsonObject object = root.object(*json, "decoder");
    DecoderChain chain;
    if (object.typeName() == "Sequence")
      for (const Json *child : object.array("decoders"))
        readDecoderStep(object.object(*child, "decoders"), decoder, chain);
    else
      readDecoderStep(object, decoder, chain);
  }
  if (decoder.cleanUp)
    glueTokens(tables);
  if (decoder.byteLevel != tables.byteLevel)
    root.problem(tables.byteLevel
                     ? "the pre-tokenizer is ByteLevel, the decoder is not: not supported"
                     : "the decoder is ByteLevel, the pre-tokenizer is not: not supported");
}

void kiln::tokenizer::glueTokens(TokenizerTables &tables) {
  for (size_t id = 0; id < tables.tokens.size(); ++id)
    for (StringRef beginning : {".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"})
      if (StringRef(tables.tokens[id]).starts_with(beginning)) {
        tables.decoder.gluedIds.push_back(static_cast<uint32_t>(id));
        break;
      }
}

void kiln::tokenizer::readPostProcessor(const JsonObject &root, TokenizerTables &tables) {
  if (const Json *json = root.find("post_processor"))
    readPostProcessorStep(root.object(*json, "post_processor"), tables, false);
}

void kiln::tokenizer::readConfig(const JsonObject &config, TokenizerTables &tables) {
  if (tables.hasTemplate)
    return;
  auto add = [&](StringRef flag, StringRef key, std::vector<uint32_t> &ids) {
    if (!config.boolean(flag, false))
      return;
    const Json *value = config.find(key);
    std::string text;
    if (value && value->is_object())
      text = config.object(*value, key).string("content").value_or("");
    else
      text = config.string(key).value_or("");
    if (std::optional<uint32_t> id = findToken(config, tables, text))
      ids.push_back(*id);
  };
  add("add_bos_token", "bos_token", tables.prefix);
  add("add_eos_token", "eos_token", tables.suffix);
}
