//===- CompileSentencePieces.cpp - SentencePiece models to tables ----------===//
//
// SentencePiece merges two neighbouring symbols if their texts together are a piece, best score
// first: so each way to cut a piece into two is a merge, ranked by the score of the whole. A
// Unigram model is its pieces and scores. How text is prepared (src/normalizer.cc of sentencepiece)
// becomes steps.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/SentencePieceModel.h"
#include "compiler/tokenizer/TextSteps.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

#include <cmath>

using namespace kiln::tokenizer;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr char space[] = "▁";

class PieceCompiler {
public:
  PieceCompiler(const SentencePieceModel &model, TokenizerTables &tables, Problems &problems)
      : model(model), tables(tables), problems(problems) {}

  void run() {
    refuse();
    if (!problems.empty() || !addPieces())
      return;
    addSteps();
    if (model.kind == SentencePieceModel::BytePairs)
      addMerges();
    else
      addScores();
    addDecoder();
  }

private:
  void problem(const Twine &text) { problems.add(text); }

  void refuse() {
    if (model.kind == SentencePieceModel::Words || model.kind == SentencePieceModel::Characters)
      problem("models of words or characters are not supported, only BPE and Unigram are");
    if (model.whitespaceAsSuffix)
      problem("white space as a suffix of words is not supported");
    if (!model.escapeWhitespaces)
      problem("white space that is not escaped is not supported");
    if (model.unk < 0 || static_cast<size_t>(model.unk) >= model.pieces.size())
      problem("the unknown piece " + Twine(model.unk) + " is not among the " +
              Twine(model.pieces.size()) + " pieces");
  }

  bool addPieces() {
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      const SentencePiece &piece = model.pieces[id];
      bool found = piece.type == PieceType::Normal || piece.type == PieceType::UserDefined ||
                   piece.type == PieceType::Byte;
      if (!addToken(piece.text, id, found, tables, problems))
        return false;
      if (!std::isfinite(piece.score))
        problem("the score of the piece '" + Twine(piece.text) + "' is not a finite number");
      if (piece.type == PieceType::Control || piece.type == PieceType::Unknown ||
          piece.type == PieceType::UserDefined)
        addFound(static_cast<uint32_t>(id), piece);
    }
    tables.unk = model.unk;
    tables.fuseUnk = true;
    tables.byteFallback = model.byteFallback;
    findByteTokens(tables);
    for (size_t byte = 0; byte < 256 && model.byteFallback; ++byte)
      if (tables.byteTokens[byte] < 0) {
        problem("there is no piece for the byte " + Twine(byte) + ", which byte fallback needs");
        break;
      }
    return problems.empty();
  }

  /// Control pieces and user-defined ones are found in text before all others. The latter are
  /// looked for in normalized text by the library, so that what is searched is written with
  /// markers.
  void addFound(uint32_t id, const SentencePiece &piece) {
    AddedToken token;
    token.content = token.searched = piece.text;
    token.id = id;
    token.special = piece.type != PieceType::UserDefined;
    token.normalized = !token.special && !model.findBeforeNormalizing;
    if (token.normalized)
      for (size_t at; (at = token.searched.find(' ')) != std::string::npos;)
        token.searched.replace(at, 1, space);
    if (!token.content.empty())
      tables.addedTokens.push_back(std::move(token));
  }

  void addSteps() {
    Steps &steps = tables.normalizer;
    auto report = [&](const Twine &text) { problem(text); };
    if (!model.charsmap.empty()) {
      auto strings = readCharsmap(model.charsmap);
      if (!strings)
        return problem(llvm::toString(strings.takeError()));
      // A user-defined piece is not rewritten.
      for (const SentencePiece &piece : model.pieces)
        if (piece.type == PieceType::UserDefined && !piece.text.empty())
          (*strings)[piece.text] = piece.text;
      TextStep step;
      step.kind = TextStep::Rewrite;
      step.rewriting.strings = std::move(*strings);
      steps.push_back(std::move(step));
    }
    if (model.removeExtraWhitespaces) {
      TextStep step;
      step.kind = TextStep::Replace;
      step.text = " ";
      addPattern(report, std::move(step), parsePattern(" {2,}"), steps);
      addStrip(" ", true, false, steps);
    }
    addReplace(report, " ", space, steps);
    if (model.addDummyPrefix)
      addPrepend(space, model.prefixEachPart ? TextStep::Always : TextStep::First, steps);
    if (model.removeExtraWhitespaces)
      addStrip(space, false, true, steps);
  }

  void addMerges() {
    llvm::StringMap<uint32_t> ids;
    std::vector<uint32_t> order; // best score first
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      const SentencePiece &piece = model.pieces[id];
      if (piece.type != PieceType::Normal)
        continue;
      if (!ids.try_emplace(piece.text, static_cast<uint32_t>(id)).second)
        return problem("the piece '" + Twine(piece.text) + "' is there twice");
      order.push_back(static_cast<uint32_t>(id));
    }
    auto score = [&](uint32_t id) { return model.pieces[id].score; };
    llvm::stable_sort(order, [&](uint32_t a, uint32_t b) { return score(a) > score(b); });
    bool ties = false;
    for (uint32_t id : order) {
      StringRef text = model.pieces[id].text;
      auto rank = static_cast<uint32_t>(tables.merged.size());
      bool merges = false;
      for (size_t position = 0; position < text.size();) {
        decodeUtf8(text, position);
        auto left = ids.find(text.take_front(position)), right = ids.find(text.substr(position));
        if (left == ids.end() || right == ids.end()) {
          bool lost = isCharacter(text.take_front(position), left != ids.end()) &&
                      isCharacter(text.substr(position), right != ids.end());
          if (lost && position < text.size())
            return problem("the piece '" + text + "' has a character that is no piece");
          continue;
        }
        tables.merges.push_back({left->second, right->second, rank});
        merges = true;
      }
      if (!merges)
        continue;
      uint32_t priority = rank;
      if (rank > 0 && score(tables.merged.back()) == score(id)) {
        priority = tables.priorities.back();
        ties = true;
      }
      tables.merged.push_back(id);
      tables.priorities.push_back(priority);
    }
    tables.oneRankEach = true;
    if (!ties)
      tables.priorities.clear();
  }

  static bool isCharacter(StringRef text, bool known) {
    size_t end = 0;
    decodeUtf8(text, end);
    return known || end == text.size();
  }

  void addScores() {
    tables.model = ModelKind::Unigram;
    tables.singlePrecision = model.singlePrecision;
    float lowest = INFINITY, highest = -INFINITY;
    for (const SentencePiece &piece : model.pieces)
      if (piece.type == PieceType::Normal) {
        lowest = std::min(lowest, piece.score);
        highest = std::max(highest, piece.score);
      }
    if (lowest > highest)
      return problem("there are no normal pieces");
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      const SentencePiece &piece = model.pieces[id];
      double score = piece.score;
      if (piece.type == PieceType::UserDefined) // it wins against any other way
        score = static_cast<double>(piece.text.size() * highest) - 0.1;
      tables.scores.push_back(score);
      if (piece.text.empty() ||
          (piece.type != PieceType::Normal && piece.type != PieceType::UserDefined))
        continue;
      if (!tables.words.try_emplace(piece.text, static_cast<uint32_t>(id)).second)
        return problem("the piece '" + Twine(piece.text) + "' is there twice");
    }
    constexpr float unkPenalty = 10;
    tables.unkScore =
        model.singlePrecision ? lowest - unkPenalty : static_cast<double>(lowest) - unkPenalty;
  }

  void addDecoder() {
    DecoderTables &decoder = tables.decoder;
    decoder.marker = space;
    decoder.markerText = " ";
    decoder.byteFallback = model.byteFallback;
    decoder.stripByte = ' ';
    decoder.stripLeft = model.removeExtraWhitespaces ? UINT32_MAX : model.addDummyPrefix;
  }

  const SentencePieceModel &model;
  TokenizerTables &tables;
  Problems &problems;
};

} // namespace

void kiln::tokenizer::compileSentencePieces(const SentencePieceModel &model,
                                            TokenizerTables &tables, Problems &problems) {
  PieceCompiler(model, tables, problems).run();
}
