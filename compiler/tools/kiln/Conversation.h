// A conversation with a model: turns, rendered by the model's template into a sequence.
#ifndef KILN_TOOLS_CONVERSATION_H
#define KILN_TOOLS_CONVERSATION_H

#include "compiler/tools/kiln/LanguageModel.h"
#include "kiln/chat.h"
#include <string>
#include <vector>

namespace kiln {

using ChatHandle = std::unique_ptr<kiln_chat_t, Deleter<kiln_chat_close>>;

struct Turn {
  std::string role, content;
};

/// The turns and the sequence that holds their text. A model without a template has turns too, but
/// their text is what was said, one turn right behind the other.
class Conversation {
public:
  /// `system` may be empty. On failure of any function `problem` says why.
  bool open(LanguageModel &lm, const std::string &system, std::string &problem);
  bool hasTemplate() const { return chat != nullptr; }
  uint32_t id() const { return sequence; }
  size_t turns() const { return said.size(); }

  /// Puts the user's turn into the sequence, ready for an answer; on failure it is not there.
  bool ask(const std::string &text, std::string &problem);
  void answered(const std::string &text);
  /// Back to the system prompt.
  bool reset(std::string &problem);

  /// Writes the turns to a JSON file, and the sequence beside it, FILE.session.
  bool save(const std::string &path, std::string &problem) const;
  /// Reads what save has written. The turns suffice; with the sequence they need not be evaluated.
  bool load(const std::string &path, std::string &problem);

private:
  bool assign(std::string &problem);
  uint32_t tokensToKeep() const;

  LanguageModel *lm = nullptr;
  ChatHandle chat;
  uint32_t sequence = 0;
  std::vector<Turn> said;
  std::string systemPrompt;
};

} // namespace kiln

#endif
