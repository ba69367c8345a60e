//===- GgufPreTokenizers.cpp - Pre-tokenizers that GGUF files name ---------===//
//
// A GGUF file with a byte-level vocabulary does not hold its pre-tokenizer, only the name of one.
// What the names mean is known from the tokenizer.json of the models they were made of. To add one:
// a record here, with the patterns of that file.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/GgufPreTokenizers.h"

#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/STLExtras.h"

using namespace kiln::tokenizer;
using llvm::StringRef;

namespace {

// Pieces that the patterns below are made of.
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SYMBOLS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define BEFORE_WORD R"([^\r\n\p{L}\p{N}]?)"

constexpr StringRef digit = R"(\p{N})";
constexpr StringRef upToThreeDigits = R"(\p{N}{1,3})";
constexpr StringRef gpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr StringRef llama3 = CONTRACTION "|" BEFORE_WORD R"(\p{L}+|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr StringRef qwen2 = CONTRACTION "|" BEFORE_WORD R"(\p{L}+|\p{N}|)" SYMBOLS "|" SPACES;
constexpr StringRef qwen35 =
    CONTRACTION "|" BEFORE_WORD R"([\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES;
constexpr StringRef o200k =
    BEFORE_WORD UPPER "*" LOWER "+" CONTRACTION "?|" BEFORE_WORD UPPER "+" LOWER "*" CONTRACTION
                      R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" SPACES;
/// With three digits at a time counted from the right.
constexpr StringRef digitsFromRight = R"(\d{1,3}(?=(?:\d{3})*\b))";
constexpr StringRef aya =
    BEFORE_WORD UPPER "*" LOWER "+" CONTRACTION "?|" BEFORE_WORD UPPER "+" LOWER "*" CONTRACTION
                      R"(?|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr StringRef jais2 =
    CONTRACTION "|" BEFORE_WORD R"(\p{L}+|\p{N}{1,3}|)" SYMBOLS
                R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S))"
                R"(|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr StringRef exaoneMoe =
    CONTRACTION "|" BEFORE_WORD R"((?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N})"
                R"(| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr StringRef minicpm5 = CONTRACTION "|" BEFORE_WORD R"(\p{L}+|\p{N}+|)" SYMBOLS "|" SPACES;
constexpr StringRef tekken = BEFORE_WORD UPPER "*" LOWER "+|" BEFORE_WORD UPPER "+" LOWER
                                               R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" SPACES;
constexpr StringRef deepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|)" SPACES;
/// Letters of alphabets with upper and lower case.
constexpr StringRef deepseekLetters =
    R"(\s?[A-Za-z)"
    R"(\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4})"
    R"(\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17})"
    R"(\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3})"
    R"(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943})"
    R"(]+)";
constexpr StringRef chinese = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr StringRef notPunctuation = " ?[^(\\s|.,!?…。，、।۔،)]+";

const GgufPreTokenizer preTokenizers[] = {
    {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0",
      "mellum", "modern-bert", "exaone4", "jais", "trillion", "granite-docling", "jina-v2-code",
      "roberta-bpe"},
     {gpt2}},
    {{"olmo", "mpt"}, {gpt2}, false, false, /*composed=*/true},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     {llama3},
     /*ignoreMerges=*/true,
     /*addBos=*/true},
    {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {llama3}},
    {{"glm4", "glm5"}, {llama3}, /*ignoreMerges=*/true},
    {{"qwen2", "deepseek-r1-qwen", "megrez", "hunyuan", "solar-open", "grok-2"},
     {qwen2},
     false,
     false,
     /*composed=*/true},
    {{"stablelm2"}, {qwen2}},
    {{"qwen35"}, {qwen35}},
    {{"starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     {gpt2},
     false,
     false,
     false,
     false,
     /*digits=*/true},
    {{"command-r"}, {gpt2}, false, false, /*composed=*/true, false, /*digits=*/true},
    {{"falcon"}, {gpt2, "[0-9][0-9][0-9]"}, false, false, false, /*punctuation=*/true},
    {{"deepseek-llm"},
     {"[\r\n]", deepseekLetters, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", chinese, R"(\p{N}+)"}},
    {{"deepseek-coder"}, {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", chinese, digit}},
    {{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
     {upToThreeDigits, "[一-龥぀-ゟ゠-ヿ]+", deepseek3}},
    {{"gpt-4o", "llama4", "kanana2", "minimax-m2", "granite-embed-multi-97m"}, {o200k}},
    {{"tiny_aya", "cohere2moe"}, {digitsFromRight, aya}},
    {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
    {{"jais-2"}, {jais2}},
    {{"exaone-moe"}, {exaoneMoe}},
    {{"minicpm5"}, {upToThreeDigits, minicpm5}},
    {{"tekken"}, {tekken}, /*ignoreMerges=*/true, /*addBos=*/true},
    {{"bloom", "poro-chat", "gpt3-finnish"}, {notPunctuation}},
    {{"viking"}, {notPunctuation, digit}},
    {{"seed-coder"},
     {CONTRACTION "|" BEFORE_WORD R"(\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES}},
    {{"bailingmoe", "bailingmoe2", "llada-moe"},
     {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
      R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    {{"default"}, {R"([\p{P}$+<=>^~|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
};

} // namespace

const GgufPreTokenizer *kiln::tokenizer::findGgufPreTokenizer(StringRef name) {
  for (const GgufPreTokenizer &entry : preTokenizers)
    if (llvm::is_contained(entry.names, name))
      return &entry;
  return nullptr;
}

std::string kiln::tokenizer::listGgufPreTokenizers() {
  std::string list;
  for (const GgufPreTokenizer &entry : preTokenizers)
    for (StringRef name : entry.names)
      list += (list.empty() ? "" : ", ") + name.str();
  return list;
}
