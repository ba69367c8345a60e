//===- ChatProgram.cpp - The program that a template becomes ---------------===//
//
// Collects instructions and constants and writes the flatbuffer of the chat section. Texts are kept
// once each; nothing depends on hash order or addresses.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/ChatProgram.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace kiln::chat;
namespace schema = kiln::schema;
using llvm::StringRef;

unsigned ChatProgram::add(schema::ChatOp op, int64_t argument) {
  code.push_back(uint32_t(op) | uint32_t(argument) << 8);
  lines.push_back(uint16_t(std::min(line, 65535u)));
  return here() - 1;
}

void ChatProgram::land(unsigned instruction) {
  code[instruction] = (code[instruction] & 0xFF) | here() << 8;
}

unsigned ChatProgram::text(StringRef text) {
  auto [found, isNew] = textIndices.try_emplace(text.str(), unsigned(texts.size()));
  if (isNew)
    texts.push_back(text.str());
  return found->second;
}

void ChatProgram::pushInteger(int64_t value) {
  if (value >= -(1 << 23) && value < 1 << 23) {
    add(schema::ChatOp_push_small, value);
    return;
  }
  add(schema::ChatOp_push_integer, int64_t(integers.size()));
  integers.push_back(value);
}

void ChatProgram::pushReal(double value) {
  add(schema::ChatOp_push_real, int64_t(reals.size()));
  reals.push_back(value);
}

unsigned ChatProgram::addParameter(StringRef name) {
  parameters.push_back(text(name));
  return unsigned(parameters.size()) - 1;
}

/// What a text means to the machine where it is a name.
static uint8_t meaning(StringRef text) {
  if (llvm::is_contained({"clear", "pop"}, text))
    return schema::ChatName_n_mutator;
  if (llvm::is_contained({"popitem", "setdefault", "update"}, text))
    return schema::ChatName_n_dict_mutator;
  if (llvm::is_contained({"append", "extend", "insert", "remove", "reverse", "sort"}, text))
    return schema::ChatName_n_list_mutator;
  if (text == "other" || text.contains("mutator"))
    return schema::ChatName_n_other;
  for (unsigned id = 1; id <= schema::ChatName_MAX; ++id)
    if (StringRef(schema::EnumNamesChatName()[id]).drop_front(2) == text)
      return uint8_t(id);
  return schema::ChatName_n_other;
}

std::vector<uint8_t> ChatProgram::write(const ChatVariables &variables) {
  std::vector<uint32_t> variableTexts;
  for (const auto &[name, value] : variables) {
    variableTexts.push_back(text(name));
    variableTexts.push_back(text(value));
  }
  std::vector<uint32_t> offsets = {0};
  std::vector<uint8_t> bytes, names;
  for (const std::string &text : texts) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(uint32_t(bytes.size()));
    names.push_back(meaning(text));
  }
  flatbuffers::FlatBufferBuilder builder;
  auto codeVector = builder.CreateVector(code);
  auto lineVector = builder.CreateVector(lines);
  auto functionVector = builder.CreateVectorOfStructs(functions);
  auto parameterVector = builder.CreateVector(parameters);
  auto integerVector = builder.CreateVector(integers);
  auto realVector = builder.CreateVector(reals);
  auto offsetVector = builder.CreateVector(offsets);
  auto byteVector = builder.CreateVector(bytes);
  auto nameVector = builder.CreateVector(names);
  auto variableVector = builder.CreateVector(variableTexts);
  schema::FinishChatTemplateBuffer(
      builder, schema::CreateChatTemplate(builder, 1, codeVector, lineVector, functionVector,
                                          parameterVector, integerVector, realVector, offsetVector,
                                          byteVector, nameVector, variableVector));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}
