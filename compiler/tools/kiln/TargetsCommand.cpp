// kiln targets: what can be compiled for, and what this machine runs.
#include "compiler/tools/kiln/Commands.h"
#include "kiln/kiln.h"
#include "targets/Targets.h"
#include <nlohmann/json.hpp>

using namespace kiln;

static int listTargets(bool asJson) {
  llvm::Expected<const Target *> host = hostTarget();
  const Target *best = host ? *host : nullptr;
  if (!host)
    llvm::consumeError(host.takeError());
  if (asJson) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Target *target : getTargets())
      list.push_back({{"name", target->name},
                      {"triple", target->triple},
                      {"features", target->requiredFeatures},
                      {"host", target == best}});
    std::printf("%s\n", list.dump(2).c_str());
    return 0;
  }
  std::printf("%-18s %-28s %s\n", "target", "triple", "the device must have");
  for (const Target *target : getTargets()) {
    std::string features;
    for (const std::string &feature : target->requiredFeatures)
      features += (features.empty() ? "" : " ") + feature;
    std::printf("%-18s %-28s %s%s\n", target->name.c_str(), target->triple.c_str(),
                features.c_str(), target == best ? "  <- host" : "");
  }
  return 0;
}

void kiln::addTargetsCommand(CLI::App &app, int &exitCode) {
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("targets", "List the targets and this machine's");
  command->add_flag("--json", *json, "JSON on stdout");
  setExamples(*command, "  kiln targets\n");
  command->callback([json, &exitCode] { exitCode = listTargets(*json); });
}
