// Reads the files of a GGUF model. A split model's files are named "…-00001-of-00003.gguf", carry
// their number (from 0) and count as split.no and split.count, and lie beside each other; the first
// has the metadata, and split.tensors.count says how many tensors they have together.
#include "compiler/import/gguf/GgufModel.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

using namespace llvm;
using namespace kiln;

static constexpr int64_t mostSplits = 99999; // the names have five digits

static std::string join(StringRef folder, StringRef file) {
  SmallString<128> path(folder);
  sys::path::append(path, file);
  return path.str().str();
}

static void addHash(GgufModel &model, uint64_t hash) {
  char words[16];
  support::endian::write64le(words, model.hash);
  support::endian::write64le(words + 8, hash);
  model.hash = xxHash64(StringRef(words, sizeof(words)));
}

static void addTensors(GgufModel &model, StringRef file, const GgufHeader &header,
                       Problems &problems) {
  addHash(model, header.hash);
  for (const GgufTensor &tensor : header.tensors) {
    auto [place, added] =
        model.tensors.try_emplace(tensor.name, GgufModel::Tensor{file.str(), tensor});
    if (!added)
      problems.add(printable(file) + ": " + printable(tensor.name) + ": is also in " +
                   printable(place->second.file));
  }
}

/// The files of a split model after the first, whose name ends in "-00001-of-<count>.gguf".
static bool addSplits(GgufModel &model, int64_t count, Problems &problems) {
  std::string ending = formatv("-00001-of-{0:D5}.gguf", count).str();
  StringRef stem = model.file;
  if (!stem.consume_back(ending)) {
    problems.add(printable(model.file) + ": expected the first of " + Twine(count) +
                 " files to have a name that ends in \"" + ending + "\"");
    return false;
  }
  bool sound = true;
  for (int64_t number = 1; number < count; ++number) {
    std::string file = formatv("{0}-{1:D5}-of-{2:D5}.gguf", stem, number + 1, count).str();
    std::optional<GgufHeader> header = readGgufHeader(join(model.folder, file), file, problems);
    if (!header) {
      sound = false;
      continue;
    }
    const GgufMetadata &metadata = header->metadata;
    std::optional<int64_t> no = metadata.getInteger("split.no", 0, mostSplits, problems);
    std::optional<int64_t> of = metadata.getInteger("split.count", 1, mostSplits, problems);
    if (no != number || of != count)
      metadata.fail("split.no",
                    "expected " + Twine(number) + " of " + Twine(count) + ", found " +
                        metadata.print("split.no") + " of " + metadata.print("split.count"),
                    problems);
    addTensors(model, file, *header, problems);
  }
  return sound;
}

std::optional<GgufModel> kiln::readGgufModel(StringRef folder, StringRef file, Problems &problems) {
  size_t before = problems.getAdded();
  std::optional<GgufHeader> header = readGgufHeader(join(folder, file), file, problems);
  if (!header)
    return std::nullopt;
  GgufModel model;
  model.folder = folder.str();
  model.file = file.str();
  model.metadata = header->metadata;
  addTensors(model, file, *header, problems);
  std::optional<int64_t> no = model.metadata.getInteger("split.no", 0, mostSplits, problems);
  std::optional<int64_t> count = model.metadata.getInteger("split.count", 0, mostSplits, problems);
  if (no.value_or(0) != 0)
    model.metadata.fail("split.no",
                        "expected the first file of a split model, which brings the others, found "
                        "number " +
                            Twine(*no + 1),
                        problems);
  else if (count.value_or(0) > 1 && addSplits(model, *count, problems)) {
    std::optional<int64_t> tensors =
        model.metadata.getInteger("split.tensors.count", 0, INT64_MAX, problems);
    if (tensors && uint64_t(*tensors) != model.tensors.size())
      model.metadata.fail("split.tensors.count",
                          "expected " + Twine(model.tensors.size()) +
                              ", which all files have together, found " + Twine(*tensors),
                          problems);
  }
  return problems.getAdded() == before ? std::optional(std::move(model)) : std::nullopt;
}
