// The subcommands of `kiln`: each adds itself to the command line and sets the exit code when it
// runs.
#ifndef KILN_TOOLS_COMMANDS_H
#define KILN_TOOLS_COMMANDS_H

#include <CLI/CLI.hpp>
#include <string>

namespace kiln {

void addChatCommand(CLI::App &app, int &exitCode);
void addCompileCommand(CLI::App &app, int &exitCode);
void addEmbedCommand(CLI::App &app, int &exitCode);
void addRunCommand(CLI::App &app, int &exitCode);
void addBenchCommand(CLI::App &app, int &exitCode);
void addEstimateCommand(CLI::App &app, int &exitCode);
void addInspectCommand(CLI::App &app, int &exitCode);
void addQualityCommand(CLI::App &app, int &exitCode);
void addTargetsCommand(CLI::App &app, int &exitCode);
void addTokenizeCommand(CLI::App &app, int &exitCode);
void addVerifyCommand(CLI::App &app, int &exitCode);

/// Prints "kiln: error: <text>" to stderr; returns 1, the exit code of a failure.
int reportFailure(const std::string &text);

/// Sets the text printed after a subcommand's help.
void setExamples(CLI::App &command, const std::string &examples);

} // namespace kiln

#endif
