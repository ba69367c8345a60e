// The command line of Kiln. Results go to stdout, everything else to stderr; exit code 0, 1 for a
// failure, 2 for a command line that cannot be understood.
#include "compiler/tools/kiln/Commands.h"
#include <cstdio>
#include <new>

using namespace kiln;

int kiln::reportFailure(const std::string &text) {
  std::fprintf(stderr, "kiln: error: %s\n", text.c_str());
  return 1;
}

void kiln::setExamples(CLI::App &command, const std::string &examples) {
  command.footer("Examples:\n" + examples);
}

int main(int argc, char **argv) {
  CLI::App app("Kiln bakes a model into one file per device, and runs it.", "kiln");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("kiln ") + KILN_VERSION);
  setExamples(app, "  kiln compile path/to/model -o model.kiln\n"
                   "  kiln run model.kiln --prompt \"Once upon a time\"\n"
                   "  kiln inspect model.kiln\n");
  int exitCode = 0;
  addCompileCommand(app, exitCode);
  addRunCommand(app, exitCode);
  addChatCommand(app, exitCode);
  addEmbedCommand(app, exitCode);
  addBenchCommand(app, exitCode);
  addEstimateCommand(app, exitCode);
  addInspectCommand(app, exitCode);
  addQualityCommand(app, exitCode);
  addTargetsCommand(app, exitCode);
  addTokenizeCommand(app, exitCode);
  addVerifyCommand(app, exitCode);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::bad_alloc &) {
    return reportFailure("there is not enough memory; smaller bounds of dims (compile --dim), or "
                         "smaller inputs, need less");
  }
  return exitCode;
}
