// Writes a .kiln file: program, code images, tokenizer, chat template, weights, in this order.
// Everything but the quantization errors is known before the first weight is packed, so all
// sections have their places from the start and weights go straight to theirs; the program is
// written last.
#include "compiler/artifact/ArtifactWriter.h"
#include "compiler/artifact/ArtifactFile.h"
#include "compiler/artifact/ProgramDescription.h"
#include "compiler/artifact/WeightPacker.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <sys/resource.h>

using namespace kiln;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

static uint64_t peakResidentBytes() {
  struct rusage usage;
  if (::getrusage(RUSAGE_SELF, &usage) != 0)
    return 0;
#ifdef __APPLE__
  return uint64_t(usage.ru_maxrss);
#else
  return uint64_t(usage.ru_maxrss) * 1024;
#endif
}

/// Says at once, rather than after minutes of packing, that the disk is too small. Where the free
/// space cannot be found out, writing will tell.
static llvm::Error checkFreeSpace(llvm::StringRef path, uint64_t needed) {
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  auto space = llvm::sys::fs::disk_space(folder.empty() ? "." : folder);
  if (!space || space->available >= needed)
    return llvm::Error::success();
  return fail("{0}: the artifact needs {1} bytes; the disk has {2} left", path, needed,
              space->available);
}

/// Packs all weights into their section, in order.
static llvm::Error writeWeights(ProgramDescription &description, llvm::StringRef sourceFolder,
                                ArtifactFile &file, unsigned section, const WriteOptions &options,
                                WriteReport &report) {
  WeightPacker packer(sourceFolder, {options.threads, options.scales}, options.memory);
  static const uint8_t zeros[KILN_WEIGHT_ALIGNMENT] = {};
  uint64_t done = 0;
  for (auto [op, weight] : llvm::zip_equal(description.weights, description.program.weights)) {
    if (llvm::Error error = file.append(section, llvm::ArrayRef(zeros, weight->offset - done)))
      return error;
    done = weight->offset;
    auto sums = packer.pack(op, [&, &weight = weight](llvm::ArrayRef<uint8_t> bytes) {
      llvm::Error error = file.append(section, bytes);
      done += bytes.size();
      if (!error && options.progress)
        options.progress(done, report.weightBytes, weight->name);
      return error;
    });
    if (!sums)
      return sums.takeError();
    if (done != weight->offset + weight->size_bytes)
      return fail("{0}: expected {1} packed bytes, found {2}", weight->name, weight->size_bytes,
                  done - weight->offset);
    weight->relative_rms_error = float(relativeRmsError(*sums));
    report.weights.push_back(
        {weight->name, weight->format, weight->size_bytes, relativeRmsError(*sums)});
  }
  return llvm::Error::success();
}

llvm::Error kiln::writeArtifact(mlir::ModuleOp module, llvm::StringRef sourceFolder,
                                llvm::ArrayRef<KernelImage> images,
                                const std::optional<std::vector<uint8_t>> &tokenizer,
                                llvm::StringRef outPath, const WriteOptions &options,
                                WriteReport &report) {
  report = {};
  auto description = describeProgram(module);
  if (!description)
    return description.takeError();
  schema::ProgramT &program = description->program;
  for (const KernelImage &image : images) {
    auto described = describeImage(image, program);
    if (!described)
      return described.takeError();
    (*described)->section = unsigned(1 + program.images.size()); // right behind the program
    program.images.push_back(std::move(*described));
  }

  ArtifactFile file(outPath);
  if (!options.launcher.empty())
    file.setLauncher(options.launcher);
  report.programBytes = serializeProgram(program).size();
  unsigned programSection = file.addSection(KILN_SECTION_PROGRAM, report.programBytes);
  std::vector<unsigned> codeSections;
  for (const KernelImage &image : images) {
    codeSections.push_back(file.addSection(KILN_SECTION_CODE, image.elf.size()));
    report.codeBytes += image.elf.size();
  }
  unsigned tokenizerSection = 0, chatSection = 0, weightSection = 0;
  if (tokenizer) {
    report.tokenizerBytes = tokenizer->size();
    tokenizerSection = file.addSection(KILN_SECTION_TOKENIZER, report.tokenizerBytes);
  }
  if (options.chat) {
    report.chatBytes = options.chat->size();
    chatSection = file.addSection(KILN_SECTION_CHAT, report.chatBytes);
  }
  if (!program.weights.empty()) {
    report.weightBytes = program.weights.back()->offset + program.weights.back()->size_bytes;
    if (report.weightBytes) // weights may have no elements at all
      weightSection = file.addSection(KILN_SECTION_WEIGHTS, report.weightBytes);
  }
  report.totalBytes = file.getTotalSize();
  report.fileBytes = file.getFileSize();

  if (llvm::Error error = checkFreeSpace(outPath, report.fileBytes))
    return error;
  if (llvm::Error error = file.create())
    return error;
  for (auto [section, image] : llvm::zip_equal(codeSections, images))
    if (llvm::Error error = file.append(section, image.elf))
      return error;
  if (tokenizer)
    if (llvm::Error error = file.append(tokenizerSection, *tokenizer))
      return error;
  if (options.chat)
    if (llvm::Error error = file.append(chatSection, *options.chat))
      return error;
  if (llvm::Error error =
          writeWeights(*description, sourceFolder, file, weightSection, options, report))
    return error;
  if (llvm::Error error = file.append(programSection, serializeProgram(program)))
    return error;
  if (llvm::Error error = file.commit())
    return error;
  report.peakResidentBytes = peakResidentBytes();
  return llvm::Error::success();
}
