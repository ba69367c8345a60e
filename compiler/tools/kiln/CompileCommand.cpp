// kiln compile: from a model to an artifact, or to an executable with the artifact inside.
#include "compiler/Pipeline.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/Progress.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <nlohmann/json.hpp>

using namespace kiln;

namespace {
struct CompileArguments {
  CompileOptions options;
  std::vector<std::string> dims; // NAME=LEAST..MOST
  bool quiet = false, json = false;
};
} // namespace

static std::string joined(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

static void printReport(const CompileArguments &arguments, const CompileReport &report,
                        double seconds) {
  const WriteReport &written = report.written;
  double worst = 0;
  std::string worstName;
  for (const WriteReport::Weight &weight : written.weights)
    if (weight.relativeRmsError > worst) {
      worst = weight.relativeRmsError;
      worstName = weight.name;
    }
  if (arguments.json) {
    nlohmann::ordered_json json = {{"output", arguments.options.output},
                                   {"targets", report.targets},
                                   {"quant", report.quant},
                                   {"parameters", report.parameters},
                                   {"file_bytes", written.fileBytes},
                                   {"total_bytes", written.totalBytes},
                                   {"weight_bytes", written.weightBytes},
                                   {"code_bytes", written.codeBytes},
                                   {"tokenizer_bytes", written.tokenizerBytes},
                                   {"chat_bytes", written.chatBytes},
                                   {"program_bytes", written.programBytes},
                                   {"seconds", seconds},
                                   {"peak_resident_bytes", peakResidentBytes()},
                                   {"worst_relative_rms_error", worst},
                                   {"worst_weight", worstName},
                                   {"warnings", report.warnings}};
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  if (arguments.quiet)
    return;
  for (const std::string &warning : report.warnings)
    std::fprintf(stderr, "kiln: warning: %s\n", warning.c_str());
  std::string launcher;
  if (written.fileBytes != written.totalBytes)
    launcher = " + launcher " + formatBytes(written.fileBytes - written.totalBytes);
  std::fprintf(stderr,
               "%s: %s = weights %s + code %s + tokenizer %s + program %s%s\n"
               "%.1f M parameters at %s for %s, %.1f s, peak memory %s\n",
               arguments.options.output.c_str(), formatBytes(written.fileBytes).c_str(),
               formatBytes(written.weightBytes).c_str(), formatBytes(written.codeBytes).c_str(),
               formatBytes(written.tokenizerBytes).c_str(),
               formatBytes(written.programBytes).c_str(), launcher.c_str(),
               double(report.parameters) / 1e6, report.quant.c_str(),
               joined(report.targets).c_str(), seconds, formatBytes(peakResidentBytes()).c_str());
  if (!worstName.empty())
    std::fprintf(stderr, "largest relative RMS error of a weight: %.4f (%s)\n", worst,
                 worstName.c_str());
}

/// The folder of launchers, which has its place beside the program `kiln`.
static std::string launcherFolder() {
  std::string program =
      llvm::sys::fs::getMainExecutable(nullptr, reinterpret_cast<void *>(&launcherFolder));
  llvm::SmallString<256> folder(llvm::sys::path::parent_path(program));
  llvm::sys::path::append(folder, KILN_LAUNCHER_PLACE);
  llvm::sys::path::remove_dots(folder, /*remove_dot_dot=*/true);
  return std::string(folder);
}

/// "N=4" or "N=1..64".
static bool parseDim(llvm::StringRef text, DimBounds &dim) {
  auto [name, range] = text.rsplit('='); // a name may have '=' in it, bounds have not
  auto [least, most] = range.split("..");
  if (!range.contains(".."))
    most = least;
  dim.name = name.str();
  return !name.empty() && !least.getAsInteger(10, dim.min) && !most.getAsInteger(10, dim.max) &&
         dim.min >= 0 && dim.min <= dim.max;
}

/// Throws what makes the exit code that of a command line that cannot be understood.
static void takeDims(CompileArguments &arguments) {
  for (const std::string &text : arguments.dims) {
    DimBounds dim;
    if (!parseDim(text, dim))
      throw CLI::ValidationError("--dim " + text,
                                 "expected NAME=VALUE or NAME=LEAST..MOST, from 0 upwards");
    for (const DimBounds &other : arguments.options.dims)
      if (other.name == dim.name)
        throw CLI::ValidationError("--dim " + text, "the dim is there twice");
    arguments.options.dims.push_back(dim);
  }
}

static int compile(CompileArguments &arguments) {
  takeDims(arguments);
  auto started = std::chrono::steady_clock::now();
  Progress progress(arguments.quiet || arguments.json);
  arguments.options.progress = [&](llvm::StringRef stage, double done) {
    progress.update(stage.str(), done);
  };
  arguments.options.launcherFolder = launcherFolder();
  CompileReport report;
  if (llvm::Error error = compileModel(arguments.options, report)) {
    progress.abandon();
    return reportFailure(llvm::toString(std::move(error)));
  }
  progress.finish();
  printReport(arguments, report,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  return 0;
}

void kiln::addCompileCommand(CLI::App &app, int &exitCode) {
  auto arguments = std::make_shared<CompileArguments>();
  CompileOptions &o = arguments->options;
  CLI::App *command = app.add_subcommand("compile", "Compile a model into an artifact");
  command->add_option("model", o.model, "Hugging Face folder, GGUF file or ONNX file")->required();
  command->add_option("-o,--output", o.output, "The file to write")->required();
  command
      ->add_option_function<std::string>(
          "--emit",
          [&o](const std::string &kind) {
            o.emit = kind == "executable" ? Emit::Executable : Emit::Artifact;
          },
          "artifact; or executable: artifact and runtime in one file that runs by itself (default: "
          "artifact)")
      ->check(CLI::IsMember({"artifact", "executable"}));
  command->add_option("--target", o.targets, "Targets, comma-separated (see kiln targets)")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--quant", o.quant, "Weights: auto, none, q8 or q4")->capture_default_str();
  command->add_option("--quant-override", o.overrides,
                      "GLOB=FORMAT: the format of weights whose name matches; may be repeated");
  command->add_option("--kv-cache", o.kvCache, "Elements of the KV cache: auto, f32, f16 or q8")
      ->capture_default_str();
  command
      ->add_option("--activations", o.activations,
                   "How decoding rounds what meets quantized weights: fast (8 bits, as llama.cpp "
                   "does) or fine (15 bits: all but exact, 3 to 10 % slower)")
      ->capture_default_str()
      ->check(CLI::IsMember({"fast", "fine"}));
  command->add_option("--dim", arguments->dims,
                      "NAME=LEAST..MOST or NAME=VALUE: what a dim of an ONNX model may be; may be "
                      "repeated (default: 1..4096)");
  command->add_option("--context", o.contextLength, "Context length; default: the model's");
  command->add_option("--max-tokens", o.maxTokens, "Most tokens of one call")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  command->add_option("--threads", o.threads, "Threads that pack weights; default: all cores");
  command->add_flag("--plain-scales", o.plainScales,
                    "Scales from the largest weight instead of the search for the least error");
  command->add_option("--only-kernel", o.onlyKernel,
                      "Use only this entry of the kernel list, and the reference");
  command->add_option("--dump-after-each", o.dumpFolder, "Write the IR after every stage there");
  command->add_flag("--quiet", arguments->quiet, "No progress, no report");
  command->add_flag("--json", arguments->json, "Report as JSON on stdout");
  setExamples(*command,
              "  kiln compile path/to/model -o model.kiln\n"
              "  kiln compile path/to/model -o model.kiln --quant q4 --target x86-64-v3,x86-64-v4\n"
              "  kiln compile path/to/model -o phone.kiln --target aarch64-dotprod --context 4096\n"
              "  kiln compile net.onnx -o net.kiln --dim batch=1..8 --dim sequence=128\n"
              "  kiln compile model.gguf -o chat --emit executable && ./chat\n");
  command->callback([arguments, &exitCode] { exitCode = compile(*arguments); });
}
