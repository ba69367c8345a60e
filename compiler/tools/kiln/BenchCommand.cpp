// kiln bench: how fast an artifact runs here and how close that is to the machine's limits.
#include "compiler/tools/kiln/BenchEncoder.h"
#include "compiler/tools/kiln/BenchFunction.h"
#include "compiler/tools/kiln/BenchReport.h"
#include "compiler/tools/kiln/BenchSpeed.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Progress.h"

using namespace kiln;

namespace {
struct BenchArguments {
  SpeedOptions speed;
  ValueArguments values; // of a model that is no language model
  uint64_t seed = 0;
  bool json = false, quiet = false;
};
} // namespace

static int bench(const BenchArguments &arguments) {
  bool arrays = false;
  std::string failure;
  if (!findOutWhetherArrays(arguments.speed.model, arrays, failure))
    return reportFailure(failure);
  if (arrays)
    return benchFunction(arguments.speed, arguments.values, arguments.seed, arguments.json);
  if (arguments.values.any())
    return reportFailure(arguments.speed.model +
                         " is a language model: --input, --dim, --random-inputs and --function are "
                         "for others");
  if (isEncoder(arguments.speed.model))
    return benchEncoder(arguments.speed, arguments.json);
  SpeedResult result;
  std::string problem;
  Progress progress(arguments.quiet || arguments.json);
  if (!measureSpeed(
          arguments.speed, [&](double done) { progress.update("bench", done); }, result, problem))
    return reportFailure(problem);
  progress.finish();
  if (arguments.json)
    std::printf("%s\n", speedAsJson(arguments.speed, result).c_str());
  else
    printSpeed(arguments.speed, result);
  return 0;
}

void kiln::addBenchCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<BenchArguments>();
  CLI::App *command = app.add_subcommand("bench", "Measure the speed of an artifact");
  command->add_option("artifact", a->speed.model, "The .kiln file")->required();
  command->add_option("--threads", a->speed.threads, "Workers; default: the physical cores");
  command->add_option("--prompt", a->speed.prompt, "Prompt tokens")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--generate", a->speed.generate, "Tokens decoded one by one")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--depth", a->speed.depth,
                      "Measure with that many tokens in the cache as well");
  command->add_option("--repeat", a->speed.repeat, "Rounds; medians are reported")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_flag("--profile", a->speed.profile, "Time, bytes and share of the bound per kernel");
  a->values.addTo(*command);
  command->add_option("--seed", a->seed, "Of pseudo-random inputs")->capture_default_str();
  command->add_flag("--quiet", a->quiet, "No progress");
  command->add_flag("--json", a->json, "JSON on stdout");
  setExamples(*command, "  kiln bench model.kiln --threads 2 --depth 4096\n"
                        "  kiln bench model.kiln --profile --json\n"
                        "  kiln bench net.kiln --dim N=1 --threads 1 --profile\n");
  command->callback([a, &exitCode] { exitCode = bench(*a); });
}
