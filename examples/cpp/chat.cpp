// Chats with a compiled model, one line of input at a time. usage: chat MODEL.kiln
#include "kiln/kiln.hpp"

#include <iostream>

int main(int argc, char **argv) {
  auto model = kiln::LanguageModel::open(argc > 1 ? argv[1] : "");
  if (!model)
    return std::cerr << model.error().text << "\n", 1;
  auto session = model->session();
  if (!session)
    return std::cerr << session.error().text << "\n", 1;
  for (std::string line; std::cout << "> " && std::getline(std::cin, line);) {
    auto taken = model->has_chat_template() ? session->append({{"user", line}})
                                            : session->append(line); // a model that tells stories
    kiln::GenerateOptions options;
    options.max_tokens = 200;
    auto answer = session->generate(
        options, [](std::string_view text) { return bool(std::cout << text << std::flush); });
    if (!taken || !answer)
      return std::cerr << (taken ? answer.error() : taken.error()).text << "\n", 1;
    std::cout << "\n";
  }
}
