//===- ReadSentencePiece.cpp - Reads tokenizer.model -----------------------===//
//
// A SentencePiece model is one protocol buffer message (sentencepiece_model.proto), of which few
// fields matter: the pieces, and how text is prepared. They are read from the wire format directly;
// fields that are not known are skipped, as the format wants.
//
//===----------------------------------------------------------------------===//

#include "compiler/tokenizer/SentencePieceModel.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"

#include <cstring>

using namespace kiln::tokenizer;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// One field of a message.
struct Field {
  uint32_t number = 0;
  enum Type { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 } type = Varint;
  uint64_t value = 0; // of all but Bytes
  StringRef bytes;

  bool boolean() const { return value != 0; }
  float number32() const {
    auto bits = static_cast<uint32_t>(value);
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
  }
};

/// Goes through the fields of a message.
class Message {
public:
  explicit Message(StringRef bytes) : rest(bytes) {}

  /// False at the end, and where the message is broken.
  bool next(Field &field) {
    if (rest.empty())
      return false;
    uint64_t key = 0;
    broken = !varint(key) || key >> 3 == 0 || key >> 3 > UINT32_MAX || !value(key & 7, field);
    field.number = static_cast<uint32_t>(key >> 3);
    return !broken;
  }
  bool isBroken() const { return broken; }

private:
  bool varint(uint64_t &result) {
    result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        return false;
      auto byte = static_cast<uint8_t>(rest.front());
      rest = rest.drop_front();
      result |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }

  bool take(uint64_t size, StringRef &bytes) {
    if (size > rest.size())
      return false;
    bytes = rest.take_front(size);
    rest = rest.drop_front(size);
    return true;
  }

  bool value(uint64_t type, Field &field) {
    field.type = static_cast<Field::Type>(type);
    uint64_t size = 0;
    switch (type) {
    case Field::Varint:
      return varint(field.value);
    case Field::Fixed64:
      if (!take(8, field.bytes))
        return false;
      field.value = llvm::support::endian::read64le(field.bytes.data());
      return true;
    case Field::Bytes:
      return varint(size) && take(size, field.bytes);
    case Field::Fixed32:
      if (!take(4, field.bytes))
        return false;
      field.value = llvm::support::endian::read32le(field.bytes.data());
      return true;
    default:
      return false;
    }
  }

  StringRef rest;
  bool broken = false;
};

class ModelReader {
public:
  explicit ModelReader(StringRef name) : name(name) {}

  Expected<SentencePieceModel> read(StringRef bytes) {
    Field field;
    Message message(bytes);
    while (problem.empty() && message.next(field)) {
      if (field.type != Field::Bytes)
        continue;
      if (field.number == 1)
        readPiece(field.bytes);
      else if (field.number == 2)
        readTrainer(field.bytes);
      else if (field.number == 3)
        readNormalizer(field.bytes);
      else if (field.number == 5 && !field.bytes.empty())
        readDenormalizer(field.bytes);
    }
    check(message, "the model");
    if (problem.empty() && model.pieces.empty())
      problem = "has no pieces";
    if (!problem.empty())
      return llvm::createStringError(name + ": not a SentencePiece model: " + problem);
    return std::move(model);
  }

private:
  void fail(const Twine &text) {
    if (problem.empty())
      problem = text.str();
  }
  void check(const Message &message, const Twine &what) {
    if (message.isBroken())
      fail(what + " ends inside a field");
  }

  void readPiece(StringRef bytes) {
    SentencePiece piece;
    Field field;
    Message message(bytes);
    while (message.next(field)) {
      if (field.number == 1 && field.type == Field::Bytes)
        piece.text = field.bytes.str();
      else if (field.number == 2 && field.type == Field::Fixed32)
        piece.score = field.number32();
      else if (field.number == 3 && field.type == Field::Varint) {
        if (field.value < 1 || field.value > 6)
          fail("piece " + Twine(model.pieces.size()) + " has the unknown type " +
               Twine(field.value));
        else
          piece.type = static_cast<PieceType>(field.value);
      }
    }
    check(message, "piece " + Twine(model.pieces.size()));
    if (model.pieces.size() >= maxVocabulary)
      return fail("more than " + Twine(maxVocabulary) + " pieces");
    model.pieces.push_back(std::move(piece));
  }

  void readTrainer(StringRef bytes) {
    Field field;
    Message message(bytes);
    while (message.next(field)) {
      if (field.type != Field::Varint)
        continue;
      auto id = static_cast<int32_t>(std::min<uint64_t>(field.value, INT32_MAX));
      if (static_cast<int64_t>(field.value) < 0)
        id = -1;
      if (field.number == 3) {
        if (field.value < 1 || field.value > 4)
          fail("the model type " + Twine(field.value) + " is not known");
        else
          model.kind = static_cast<SentencePieceModel::Kind>(field.value);
      } else if (field.number == 24) {
        model.whitespaceAsSuffix = field.boolean();
      } else if (field.number == 35) {
        model.byteFallback = field.boolean();
      } else if (field.number == 40) {
        model.unk = id;
      } else if (field.number == 41) {
        model.bos = id;
      } else if (field.number == 42) {
        model.eos = id;
      }
    }
    check(message, "the trainer's description");
  }

  void readNormalizer(StringRef bytes) {
    Field field;
    Message message(bytes);
    while (message.next(field)) {
      if (field.number == 2 && field.type == Field::Bytes)
        model.charsmap = field.bytes.str();
      else if (field.number == 3 && field.type == Field::Varint)
        model.addDummyPrefix = field.boolean();
      else if (field.number == 4 && field.type == Field::Varint)
        model.removeExtraWhitespaces = field.boolean();
      else if (field.number == 5 && field.type == Field::Varint)
        model.escapeWhitespaces = field.boolean();
    }
    check(message, "the normalizer's description");
  }

  void readDenormalizer(StringRef bytes) {
    Field field;
    Message message(bytes);
    while (message.next(field))
      if (field.number == 2 && field.type == Field::Bytes && !field.bytes.empty())
        fail("a denormalizer with a charsmap is not supported");
    check(message, "the denormalizer's description");
  }

  StringRef name;
  SentencePieceModel model;
  std::string problem;
};

} // namespace

Expected<SentencePieceModel> kiln::tokenizer::readSentencePieceModel(StringRef bytes,
                                                                     StringRef name) {
  return ModelReader(name).read(bytes);
}
