// Finds a model's files, and the weights of a Hugging Face folder. A sharded model has an index
// whose `weight_map` says which shard holds which tensor; index and shards must agree in both
// directions. Shards lie beside the index (Hugging Face writes nothing else), so a shard's name
// with a separator in it is refused. A symbolic link in the folder is followed: it is how Hugging
// Face's own download cache is laid out.
#include "compiler/import/ModelFolder.h"
#include "compiler/import/InputFile.h"
#include "compiler/import/JsonText.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include <set>

using namespace llvm;
using namespace kiln;
using nlohmann::json;

static constexpr StringLiteral singleFile = "model.safetensors";
static constexpr StringLiteral indexFile = "model.safetensors.index.json";
static constexpr uint64_t longestIndex = 64u << 20;

static std::string join(StringRef folder, StringRef file) {
  SmallString<128> path(folder);
  sys::path::append(path, file);
  return path.str().str();
}

/// The GGUF models (by their first files) and ONNX models of a folder.
static std::vector<std::string> listModels(StringRef folder) {
  std::vector<std::string> files;
  std::error_code code;
  for (sys::fs::directory_iterator entry(folder, code), end; entry != end && !code;
       entry.increment(code)) {
    StringRef name = sys::path::filename(entry->path());
    // "-00002-of-00003.gguf" and so on belong to the first.
    StringRef split = name.take_back(StringRef("-00002-of-00003.gguf").size());
    bool later =
        split.starts_with("-") && split.substr(6, 4) == "-of-" && !split.starts_with("-00001-");
    if ((name.ends_with(".gguf") && !later) || name.ends_with(".onnx"))
      files.push_back(name.str());
  }
  sort(files);
  return files;
}

static ModelPlace placeOf(StringRef folder, StringRef file) {
  ModelPlace place = {folder.empty() ? "." : folder.str(), "", ""};
  (file.ends_with(".onnx") ? place.onnx : place.gguf) = file.str();
  return place;
}

std::optional<ModelPlace> kiln::findModel(StringRef path, Problems &problems) {
  if (!sys::fs::exists(path)) {
    problems.add("expected a folder, a GGUF file or an ONNX file, found nothing");
    return std::nullopt;
  }
  if (!sys::fs::is_directory(path)) {
    if (path.ends_with(".gguf") || path.ends_with(".onnx"))
      return placeOf(sys::path::parent_path(path), sys::path::filename(path));
    problems.add("expected a folder or a file that ends in .gguf or .onnx, found another file");
    return std::nullopt;
  }
  std::vector<std::string> models = listModels(path);
  if (models.empty() || sys::fs::exists(join(path, "config.json")))
    return ModelPlace{path.str(), "", ""};
  if (models.size() == 1)
    return placeOf(path, models.front());
  std::string list;
  for (const std::string &model : models)
    list += (list.empty() ? "" : ", ") + printable(model);
  problems.add("expected one model, found several files: name one of " + list);
  return std::nullopt;
}

bool kiln::isPlainFileName(StringRef name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(StringRef("/\\:\0", 4)) == StringRef::npos;
}

std::optional<std::map<std::string, std::string>>
kiln::parseShardIndex(StringRef file, StringRef text, Problems &problems) {
  std::optional<json> index = parseJson(file, text, JsonLimits(), problems);
  if (!index)
    return std::nullopt;
  auto map = index->is_object() ? index->find("weight_map") : index->end();
  if (!index->is_object() || map == index->end() || !map->is_object()) {
    problems.add(printable(file) + ": weight_map: expected an object from tensors to files");
    return std::nullopt;
  }
  std::map<std::string, std::string> shards;
  bool sound = true;
  for (const auto &[tensor, shard] : map->items()) {
    if (shard.is_string() && isPlainFileName(shard.get_ref<const std::string &>())) {
      shards[tensor] = shard.get<std::string>();
      continue;
    }
    problems.add(printable(file) + ": " + printable(tensor) +
                 ": expected the name of a file beside the index, found " + printJson(shard));
    sound = false;
  }
  return sound ? std::optional(std::move(shards)) : std::nullopt;
}

/// Adds a file's tensors; false where its header is not sound.
static bool addFile(StringRef folder, StringRef file, ModelTensors &tensors, Problems &problems) {
  std::optional<SafetensorsHeader> header =
      readSafetensorsHeader(join(folder, file), file, problems);
  if (!header)
    return false;
  char words[16];
  support::endian::write64le(words, tensors.hash);
  support::endian::write64le(words + 8, header->hash);
  tensors.hash = xxHash64(StringRef(words, sizeof(words)));
  for (SafetensorsEntry &entry : header->tensors) {
    std::string name = entry.name;
    auto [place, added] = tensors.byName.try_emplace(name, ModelTensor{file.str(), {}, 0});
    if (added)
      place->second.entry = std::move(entry);
    else
      problems.add(printable(file) + ": " + printable(name) + ": is also in " +
                   printable(place->second.file));
  }
  return true;
}

static std::optional<ModelTensors> readShards(StringRef folder, Problems &problems) {
  std::optional<std::string> text =
      readSmallFile(join(folder, indexFile), indexFile, longestIndex, problems);
  if (!text)
    return std::nullopt;
  auto shards = parseShardIndex(indexFile, *text, problems);
  if (!shards)
    return std::nullopt;
  std::set<std::string> files;
  for (const auto &[tensor, shard] : *shards)
    files.insert(shard);
  ModelTensors tensors;
  bool sound = true;
  std::set<std::string> unread;
  for (const std::string &file : files)
    if (!addFile(folder, file, tensors, problems))
      unread.insert(file), sound = false;
  for (const auto &[tensor, shard] : *shards) {
    auto place = tensors.byName.find(tensor);
    if (place == tensors.byName.end() ? !unread.count(shard) : place->second.file != shard)
      problems.add(
          printable(shard) + ": " + printable(tensor) + ": expected here by " + indexFile +
          ", found " +
          (place == tensors.byName.end() ? "nowhere" : "in " + printable(place->second.file)));
  }
  for (const auto &[name, tensor] : tensors.byName)
    if (!shards->count(name))
      problems.add(printable(tensor.file) + ": " + printable(name) + ": is not in " + indexFile);
  return sound ? std::optional(std::move(tensors)) : std::nullopt;
}

std::optional<ModelTensors> kiln::readModelTensors(StringRef folder, Problems &problems) {
  if (sys::fs::exists(join(folder, singleFile))) {
    ModelTensors tensors;
    if (!addFile(folder, singleFile, tensors, problems))
      return std::nullopt;
    return tensors;
  }
  if (sys::fs::exists(join(folder, indexFile)))
    return readShards(folder, problems);
  problems.add("expected " + singleFile + " or " + indexFile + ", found neither");
  return std::nullopt;
}
