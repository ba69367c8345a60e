//===- SentencePieceModel.h - What a SentencePiece model says --------------===//

#ifndef KILN_COMPILER_TOKENIZER_SENTENCEPIECEMODEL_H
#define KILN_COMPILER_TOKENIZER_SENTENCEPIECEMODEL_H

#include "compiler/tokenizer/TokenizerTables.h"

namespace kiln::tokenizer {

/// The numbers of sentencepiece_model.proto, which GGUF has taken over.
enum class PieceType {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};

struct SentencePiece {
  std::string text; // spaces are U+2581
  float score = 0;
  PieceType type = PieceType::Normal;
};

/// The defaults are those of sentencepiece_model.proto.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
  enum Kind { Unigram = 1, BytePairs = 2, Words = 3, Characters = 4 } kind = Unigram;
  std::string charsmap; // precompiled, see ReadCharsmap.cpp
  bool addDummyPrefix = true;
  bool removeExtraWhitespaces = true;
  bool escapeWhitespaces = true;
  bool whitespaceAsSuffix = false;
  bool byteFallback = false;
  int32_t unk = 0, bos = 1, eos = 2;

  /// What readers of the model have made of it: sums of scores in single precision (the library) or
  /// double (others); a prefix for each part of a text between added tokens, or for the first only;
  /// user-defined pieces found before or after the text is normalized.
  bool singlePrecision = true;
  bool prefixEachPart = false;
  bool findBeforeNormalizing = false;
};

/// Reads a file tokenizer.model.
llvm::Expected<SentencePieceModel> readSentencePieceModel(llvm::StringRef bytes,
                                                          llvm::StringRef name);

/// Fills the tables, but for the template.
void compileSentencePieces(const SentencePieceModel &model, TokenizerTables &tables,
                           Problems &problems);

} // namespace kiln::tokenizer

#endif // KILN_COMPILER_TOKENIZER_SENTENCEPIECEMODEL_H
