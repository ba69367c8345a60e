// Renders chat templates for compare_with_transformers.py. Each line of the input is a JSON object:
// {"template": …} compiles a template (with "variables", an object of texts; "section_file" keeps
// the section), {"conversation": …, "now": seconds} renders a JSON text with the last template.
// Each line of the output is one too:
// {"text": …} or {"error": …, "status": …}.

#include "compiler/chat/ChatTemplate.h"
#include "kiln/chat.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>

using Json = nlohmann::json;

int main() {
  std::vector<uint8_t> section;
  kiln_chat_t *chat = nullptr;
  for (std::string line; std::getline(std::cin, line);) {
    Json request = Json::parse(line), reply;
    kiln_error error = {};
    if (request.contains("template")) {
      kiln_chat_close(chat);
      chat = nullptr;
      kiln::ChatVariables variables;
      for (const auto &[name, value] : request["variables"].items())
        variables.emplace_back(name, value.get<std::string>());
      auto compiled = kiln::compileChatTemplate(request["template"].get<std::string>(), variables);
      if (!compiled) {
        reply = {{"status", "compile"}, {"error", llvm::toString(compiled.takeError())}};
      } else {
        section = std::move(*compiled);
        if (request.contains("section_file"))
          std::ofstream(request["section_file"].get<std::string>(), std::ios::binary)
              .write(reinterpret_cast<const char *>(section.data()),
                     std::streamsize(section.size()));
        kiln_status_t status = kiln_chat_open_memory(section.data(), section.size(), &chat, &error);
        reply = {{"status", status}, {"error", error.text}, {"bytes", section.size()}};
      }
    } else if (!chat) {
      reply = {{"status", "compile"}, {"error", "no template"}};
    } else {
      std::string conversation = request["conversation"], text;
      kiln_chat_options options = {};
      options.local_time_s = request.value("now", int64_t(0));
      options.no_generation_prompt = 1;
      auto take = [](void *user, const char *part, size_t size) {
        static_cast<std::string *>(user)->append(part, size);
        return 0;
      };
      kiln_status_t status = kiln_chat_render_to(chat, conversation.data(), conversation.size(),
                                                 &options, take, &text, &error);
      if (status == KILN_OK)
        reply = {{"text", text}};
      else
        reply = {{"status", status}, {"error", error.text}};
    }
    std::cout << reply.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  kiln_chat_close(chat);
}
