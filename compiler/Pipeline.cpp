// The table of contents of the compiler. Each stage leaves what the next one needs:
//
//   import         a verified graph module, a symbol for every weight, no weight read
//   graph passes   exec functions: launches of distinct kernels over planned buffers
//                  (passes/Pipelines.cpp)
//   codegen        for each target an image that implements every kernel
//   write          weights streamed from their sources, quantized, packed; the file renamed
//                  into place
#include "compiler/Pipeline.h"
#include "compiler/GenerateCode.h"
#include "compiler/SlowProducts.h"
#include "compiler/artifact/Launcher.h"
#include "compiler/chat/ChatTemplate.h"
#include "compiler/import/ImportModel.h"
#include "compiler/import/ModelFolder.h"
#include "compiler/import/gguf/GgufFile.h"
#include "compiler/import/onnx/ImportOnnx.h"
#include "compiler/tokenizer/Tokenizer.h"
#include "ir/Exec/ExecDialect.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines.h"
#include "targets/Targets.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace kiln;

namespace {

/// Writes the module after every pass to numbered files.
class DumpAfterEach : public PassInstrumentation {
public:
  explicit DumpAfterEach(std::string folder) : folder(std::move(folder)) {}

  void runAfterPass(Pass *pass, Operation *op) override {
    if (pass->getArgument().empty())
      return; // the adaptor around passes on functions
    while (Operation *parent = op->getParentOp())
      op = parent;
    std::string name = llvm::formatv("{0,0+2}-{1}.mlir", ++count, pass->getArgument()).str();
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, name);
    std::error_code error;
    llvm::raw_fd_ostream out(path, error);
    if (!error)
      op->print(out, OpPrintingFlags().enableDebugInfo());
  }

private:
  std::string folder;
  int count = 0;
};

class Compilation {
public:
  Compilation(const CompileOptions &options, CompileReport &report)
      : options(options), report(report), context(MLIRContext::Threading::DISABLED) {
    context.loadDialect<graph::GraphDialect, exec::ExecDialect>();
    context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      auto &list =
          diagnostic.getSeverity() == DiagnosticSeverity::Error ? problems : this->report.warnings;
      list.push_back(diagnostic.str());
      return success();
    });
  }

  llvm::Error run();
  llvm::Error runOnnx(std::unique_ptr<OnnxModel> model);

private:
  llvm::Error checkOptions();
  llvm::Error generateImages(std::vector<KernelImage> &images);
  llvm::Error findTargets();
  llvm::Error findLauncher();
  llvm::Error checkRunsAlone(bool hasTokenizer);
  llvm::Error runGraphPasses();
  void chooseQuantization();
  void stage(llvm::StringRef name, double done = 0) {
    if (options.progress)
      options.progress(name, done);
  }

  const CompileOptions &options;
  CompileReport &report;
  MLIRContext context;
  std::vector<std::string> problems;
  std::vector<const Target *> targets;
  std::vector<uint8_t> launcher; // of an executable
  OwningOpRef<ModuleOp> module;
};

} // namespace

llvm::Error Compilation::findTargets() {
  for (const std::string &name : options.targets) {
    llvm::Expected<const Target *> target = findTarget(name);
    if (!target)
      return target.takeError();
    if (!llvm::is_contained(targets, *target))
      targets.push_back(*target);
  }
  for (const Target *target : targets)
    report.targets.push_back(target->name);
  return llvm::Error::success();
}

/// Before the work begins: an executable has one launcher, for one kind of machine.
llvm::Error Compilation::findLauncher() {
  std::string architecture = llvm::Triple(targets.front()->triple).getArchName().str();
  for (const Target *target : targets)
    if (target->elfMachine != targets.front()->elfMachine)
      return llvm::createStringError("--emit executable: expected targets of one architecture, "
                                     "found " +
                                     targets.front()->name + " and " + target->name);
  auto found = readLauncher(options.launcherFolder, architecture, targets.front()->elfMachine);
  if (!found)
    return found.takeError();
  launcher = std::move(*found);
  return llvm::Error::success();
}

/// An executable continues texts and talks.
llvm::Error Compilation::checkRunsAlone(bool hasTokenizer) {
  llvm::StringRef lacks = !(*module)->hasAttr("graph.language_model") ? "does not generate text"
                          : !hasTokenizer                             ? "has no tokenizer"
                                                                      : "";
  if (lacks.empty())
    return llvm::Error::success();
  return llvm::createStringError(options.model +
                                 ": --emit executable is for language models; "
                                 "this one " +
                                 lacks);
}

void Compilation::chooseQuantization() {
  report.parameters = 0;
  for (auto weight : module->getOps<graph::WeightOp>())
    report.parameters += cast<RankedTensorType>(weight.getType()).getNumElements();
  report.quant = options.quant;
  if (report.quant == "auto")
    report.quant = report.parameters >= 500'000'000 ? "q4" : "q8";
}

llvm::Error Compilation::runGraphPasses() {
  GraphOptions graphOptions;
  graphOptions.format = report.quant;
  graphOptions.keepBlocks = options.quant == "auto";
  for (const std::string &entry : options.overrides)
    graphOptions.overrides.push_back(entry);
  PassManager passes(&context);
  if (!options.dumpFolder.empty()) {
    if (std::error_code error = llvm::sys::fs::create_directories(options.dumpFolder))
      return llvm::createStringError(error, options.dumpFolder + ": cannot be created");
    passes.addInstrumentation(std::make_unique<DumpAfterEach>(options.dumpFolder));
  }
  buildGraphPipeline(passes, graphOptions);
  if (succeeded(passes.run(*module)))
    return llvm::Error::success();
  return llvm::createStringError(options.model + ": " + llvm::join(problems, "\n"));
}

/// The tokenizer of a model's folder or GGUF file; none where it has none.
static llvm::Expected<std::optional<std::vector<uint8_t>>>
compileTokenizerOf(const ModelPlace &place) {
  if (place.gguf.empty())
    return compileTokenizer(place.folder);
  llvm::SmallString<256> path(place.folder);
  llvm::sys::path::append(path, place.gguf);
  Problems problems;
  std::optional<GgufHeader> header = readGgufHeader(path, place.gguf, problems);
  if (!header)
    return problems.toError(path);
  if (!header->metadata.has("tokenizer.ggml.tokens"))
    return std::nullopt;
  auto bytes = compileTokenizerGguf(header->metadata, place.gguf);
  if (!bytes)
    return bytes.takeError();
  return std::optional(std::move(*bytes));
}

llvm::Error Compilation::checkOptions() {
  static const char *const known[] = {"auto", "none", "q8", "q4"};
  if (!llvm::is_contained(known, options.quant))
    return llvm::createStringError("--quant " + options.quant + ": known are auto, none, q8, q4");
  if (llvm::Error error = findTargets())
    return error;
  if (options.emit == Emit::Executable)
    if (llvm::Error error = findLauncher())
      return error;
  llvm::StringRef folder = llvm::sys::path::parent_path(options.output);
  if (!folder.empty() && !llvm::sys::fs::is_directory(folder))
    return llvm::createStringError(options.output + ": there is no folder " + folder);
  return llvm::Error::success();
}

llvm::Error Compilation::generateImages(std::vector<KernelImage> &images) {
  CodegenOptions codegen;
  codegen.onlyKernel = options.onlyKernel;
  for (const Target *target : targets) {
    stage("codegen " + target->name, double(images.size()) / double(targets.size()));
    Target chosen = *target;
    chosen.fineActivations = options.activations == "fine";
    auto image = generateCode(*module, chosen, codegen);
    if (!image)
      return image.takeError();
    std::string slow = describeSlowProducts(*module, *image);
    if (!slow.empty())
      report.warnings.push_back(slow);
    images.push_back(std::move(*image));
  }
  return llvm::Error::success();
}

llvm::Error Compilation::runOnnx(std::unique_ptr<OnnxModel> model) {
  if (llvm::Error error = checkOptions())
    return error;
  if (options.emit == Emit::Executable)
    return llvm::createStringError(options.model + ": --emit executable is for language models");
  stage("import");
  std::string folder = model->folder;
  auto imported = importOnnx(std::move(model), options.dims, context);
  if (!imported)
    return imported.takeError();
  module = std::move(imported->module);
  chooseQuantization();
  if (options.quant == "auto")
    report.quant = "none"; // what a model computes is what it was exported to compute
  stage("passes");
  if (llvm::Error error = runGraphPasses())
    return error;
  std::vector<KernelImage> images;
  if (llvm::Error error = generateImages(images))
    return error;
  stage("weights");
  WriteOptions write;
  write.threads = options.threads;
  write.scales = options.plainScales ? ScaleChoice::AbsMax : ScaleChoice::Search;
  write.memory = &imported->sources;
  write.progress = [&](uint64_t done, uint64_t total, llvm::StringRef) {
    stage("weights", total ? double(done) / double(total) : 1);
  };
  return writeArtifact(*module, folder, images, std::nullopt, options.output, write,
                       report.written);
}

llvm::Error Compilation::run() {
  Problems missing;
  std::optional<ModelPlace> place = findModel(options.model, missing);
  if (!place)
    return missing.toError(options.model);
  if (!place->onnx.empty()) {
    stage("read");
    llvm::SmallString<256> path(place->folder);
    llvm::sys::path::append(path, place->onnx);
    auto model = readOnnxModel(path);
    if (!model)
      return model.takeError();
    return runOnnx(std::move(*model));
  }
  if (!options.dims.empty())
    return llvm::createStringError("--dim is for ONNX models; " + options.model + " is none");
  auto cache = llvm::StringSwitch<std::optional<CacheElement>>(options.kvCache)
                   .Case("auto", options.quant == "none" ? CacheElement::F32 : CacheElement::F16)
                   .Case("f32", CacheElement::F32)
                   .Case("f16", CacheElement::F16)
                   .Case("q8", CacheElement::Q8)
                   .Default(std::nullopt);
  if (!cache)
    return llvm::createStringError("--kv-cache " + options.kvCache +
                                   ": known are auto, f32, f16, q8");
  if (llvm::Error error = checkOptions())
    return error;

  stage("import");
  ImportOptions import;
  import.maxTokens = options.maxTokens;
  if (options.contextLength)
    import.contextLength = options.contextLength;
  import.cache = *cache;
  auto imported = importModel(options.model, import, context);
  if (!imported)
    return imported.takeError();
  module = std::move(*imported);
  auto tokenizer = compileTokenizerOf(*place);
  if (!tokenizer)
    return tokenizer.takeError();
  if (options.emit == Emit::Executable)
    if (llvm::Error error = checkRunsAlone(tokenizer->has_value()))
      return error;
  chooseQuantization();

  stage("passes");
  if (llvm::Error error = runGraphPasses())
    return error;

  std::vector<KernelImage> images;
  if (llvm::Error error = generateImages(images))
    return error;

  stage("weights");
  WriteOptions write;
  // A model whose template cannot be compiled is still a model.
  if (auto chat = compileChatTemplateOfModel(options.model))
    write.chat = std::move(*chat);
  else
    report.warnings.push_back("no chat template: " + llvm::toString(chat.takeError()));
  write.launcher = std::move(launcher);
  write.threads = options.threads;
  write.scales = options.plainScales ? ScaleChoice::AbsMax : ScaleChoice::Search;
  write.progress = [&](uint64_t done, uint64_t total, llvm::StringRef) {
    stage("weights", total ? double(done) / double(total) : 1);
  };
  return writeArtifact(*module, place->folder, images, *tokenizer, options.output, write,
                       report.written);
}

llvm::Error kiln::compileModel(const CompileOptions &options, CompileReport &report) {
  return Compilation(options, report).run();
}

llvm::Error kiln::compileOnnxModel(std::unique_ptr<OnnxModel> model, const CompileOptions &options,
                                   CompileReport &report) {
  return Compilation(options, report).runOnnx(std::move(model));
}
