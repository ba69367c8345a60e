//===- TextSteps.h - Making steps of patterns and texts --------------------===//

#ifndef KILN_COMPILER_TOKENIZER_TEXTSTEPS_H
#define KILN_COMPILER_TOKENIZER_TEXTSTEPS_H

#include "compiler/tokenizer/TokenizerTables.h"

namespace kiln::tokenizer {

using Steps = std::vector<TextStep>;

/// The pattern of GPT-2, which ByteLevel applies with use_regex.
extern const llvm::StringRef gpt2Pattern;

/// Compiles the pattern into the step and appends it; a problem where the pattern cannot be.
void addPattern(const Problem &problem, TextStep step, llvm::Expected<PatternNode> node,
                Steps &steps);
void addSplit(const Problem &problem, llvm::StringRef pattern, TextStep::Behavior behavior,
              Steps &steps);
void addReplace(const Problem &problem, llvm::StringRef from, const std::string &to, Steps &steps);
void addPrepend(const std::string &text, TextStep::When when, Steps &steps);
void addMap(CharacterMap map, Steps &steps);
void addNormalize(NormalizationForm form, Steps &steps);
void addStrip(const std::string &text, bool left, bool right, Steps &steps);

/// BERT's cleaning, its spaces around Chinese characters, accents and case, in this order.
void addBertNormalizer(bool clean, bool chinese, bool stripAccents, bool lowercase, Steps &steps);
/// Words between white space, punctuation by itself.
void addBertPreTokenizer(const Problem &problem, Steps &steps);

/// Characters of a property: "BertPunctuation" and "Numeric" are those that `tokenizers` knows,
/// which are of other versions of Unicode than its patterns.
void addPropertySplit(const Problem &problem, llvm::StringRef property, TextStep::Behavior behavior,
                      Steps &steps);

/// Words, and runs of what is neither word nor white space.
void addWordSplit(const Problem &problem, Steps &steps);

/// A SentencePiece precompiled charsmap as strings and what they become.
llvm::Expected<std::map<std::string, std::string>> readCharsmap(llvm::StringRef bytes);
/// Grapheme clusters, for Rewriting.
Automaton clusterAutomaton();

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_TEXTSTEPS_H
