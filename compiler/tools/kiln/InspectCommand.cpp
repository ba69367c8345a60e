// kiln inspect: what an artifact holds, as tables or JSON. The runtime opens (and so verifies) the
// file first; what follows reads the verified program.
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/tools/kiln/Progress.h"
#include "kiln/artifact.h"
#include "program_generated.h"
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

static const char *sectionName(uint32_t kind) {
  switch (kind) {
  case KILN_SECTION_PROGRAM:
    return "program";
  case KILN_SECTION_CODE:
    return "code";
  case KILN_SECTION_WEIGHTS:
    return "weights";
  case KILN_SECTION_TOKENIZER:
    return "tokenizer";
  case KILN_SECTION_CHAT:
    return "chat";
  }
  return "unknown";
}

/// The container's section table. The model is open, so header and table are known to be right.
static Json inspectSections(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  kiln_artifact_header header{};
  file.read(reinterpret_cast<char *>(&header), sizeof header);
  Json sections = Json::array();
  for (uint32_t i = 0; file && i < header.section_count; ++i) {
    kiln_section section{};
    file.read(reinterpret_cast<char *>(&section), sizeof section);
    sections.push_back(
        {{"kind", sectionName(section.kind)}, {"offset", section.offset}, {"bytes", section.size}});
  }
  return sections;
}

/// Where the layer's number stands in a step's name: the first component that is a number.
static bool splitLayer(const std::string &name, std::string &without, long &layer) {
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find('.', at), name.size());
    std::string part = name.substr(at, end - at);
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string::npos &&
        part.size() < 7) {
      layer = std::stol(part);
      without = name.substr(0, at) + "*" + name.substr(end);
      return true;
    }
    at = end + 1;
  }
  return false;
}

/// The schedule with equal layers folded into one: a list of {step, kernel, description, layers}.
static Json inspectSchedule(const schema::Program &program, const schema::Function &function) {
  Json regions = Json::array();
  std::map<std::string, size_t> seen; // "name without number, kernel" → entry
  uint64_t launches = 0, barriers = 0;
  for (const schema::Step *step : *function.steps()) {
    if (step->kind() != schema::StepKind_launch) { // branches and the like are barriers too
      ++barriers;
      continue;
    }
    ++launches;
    const schema::Kernel *kernel = program.kernels()->Get(step->kernel());
    std::string name = step->name() ? step->name()->str() : "", pattern = name;
    long layer = -1;
    bool inLayer = splitLayer(name, pattern, layer);
    std::string key = pattern + " " + kernel->name()->str();
    auto [entry, isNew] = seen.try_emplace(key, regions.size());
    if (isNew)
      regions.push_back({{"step", pattern},
                         {"kernel", kernel->name()->str()},
                         {"operations", kernel->description()->str()},
                         {"in_layer", inLayer},
                         {"times", 0}});
    regions[entry->second]["times"] = regions[entry->second]["times"].get<uint64_t>() + 1;
  }
  uint64_t perLayer = 0;
  for (const Json &region : regions)
    perLayer += region["in_layer"].get<bool>();
  return {{"launches", launches},
          {"barriers", barriers},
          {"regions_per_layer", perLayer},
          {"regions", regions}};
}

/// Planned bytes beside the lower bound with the first dim at its minimum and maximum, the others
/// as small as they go (rows wanted: one).
static Json inspectMemory(const kiln_function_t *function) {
  Json rows = Json::array();
  size_t count = kiln_function_dim_count(function);
  std::vector<kiln_dim_info> dims(count);
  for (size_t i = 0; i < count; ++i)
    kiln_function_dim(function, i, &dims[i]);
  if (!count)
    return rows;
  std::vector<int64_t> sizes = {dims[0].min};
  if (dims[0].max != dims[0].min)
    sizes.push_back(dims[0].max);
  for (int64_t size : sizes) {
    std::vector<int64_t> values;
    for (const kiln_dim_info &dim : dims)
      values.push_back(std::max<int64_t>(dim.min, std::min<int64_t>(1, dim.max)));
    values[0] = size;
    kiln_memory_needs needs{};
    kiln_error error{};
    if (kiln_function_memory(function, values.data(), 1, &needs, &error) != KILN_OK)
      continue;
    rows.push_back({{dims[0].name, size},
                    {"planned_bytes", needs.arena_bytes},
                    {"lower_bound_bytes", needs.arena_lower_bound_bytes},
                    {"scratch_bytes_per_worker", needs.scratch_bytes}});
  }
  return rows;
}

/// The worst plan, by planned bytes over the lower bound, on a grid of at most 1000 values of the
/// dims; null where there are none to choose.
static Json inspectPlans(const kiln_function_t *function) {
  std::vector<std::vector<int64_t>> values(kiln_function_dim_count(function));
  size_t steps = 16;
  while (steps > 2 && std::pow(double(steps), double(values.size())) > 1000)
    --steps;
  std::vector<std::string> names;
  for (size_t i = 0; i < values.size(); ++i) {
    kiln_dim_info dim;
    kiln_function_dim(function, i, &dim);
    names.push_back(dim.name);
    values[i] = {dim.min};
    double least = double(std::max<int64_t>(dim.min, 1));
    for (size_t step = 0; step < steps; ++step) { // by equal factors
      auto value = int64_t(
          std::llround(least * std::pow(double(dim.max) / least, double(step) / (steps - 1))));
      if (value > values[i].back() && value <= dim.max)
        values[i].push_back(value);
    }
  }
  size_t count = values.empty() ? 0 : 1, calls = 0;
  for (const auto &list : values)
    count = std::min<size_t>(count * list.size(), 1000);
  double worst = 0, sum = 0;
  Json found;
  for (size_t number = 0; number < count; ++number) {
    std::vector<int64_t> dims;
    size_t rest = number;
    for (const auto &list : values) {
      dims.push_back(list[rest % list.size()]);
      rest /= list.size();
    }
    kiln_memory_needs needs{};
    kiln_error error{};
    if (kiln_function_memory(function, dims.data(), 1, &needs, &error) != KILN_OK)
      continue; // the model does not take these together
    double ratio =
        double(needs.arena_bytes) / double(std::max<uint64_t>(needs.arena_lower_bound_bytes, 1));
    ratio = needs.arena_bytes ? ratio : 1;
    ++calls;
    sum += ratio;
    if (ratio <= worst)
      continue;
    worst = ratio;
    Json at;
    for (size_t i = 0; i < dims.size(); ++i)
      at[names[i]] = dims[i];
    found = {{"ratio", ratio},
             {"dims", at},
             {"planned_bytes", needs.arena_bytes},
             {"lower_bound_bytes", needs.arena_lower_bound_bytes}};
  }
  if (calls) {
    found["mean_ratio"] = sum / double(calls);
    found["calls"] = calls;
  }
  return found;
}

static Json inspectImages(const schema::Program &program) {
  Json images = Json::array();
  for (const schema::Image *image : *program.images()) {
    Json kernels = Json::array(), features = Json::array();
    for (const flatbuffers::String *feature : *image->features())
      features.push_back(feature->str());
    for (flatbuffers::uoffset_t i = 0; i < image->kernels()->size(); ++i) {
      const schema::KernelCode *code = image->kernels()->Get(i);
      Json refused = Json::array();
      if (code->refused())
        for (const flatbuffers::String *reason : *code->refused())
          refused.push_back(reason->str());
      kernels.push_back({{"kernel", program.kernels()->Get(i)->name()->str()},
                         {"implementation", code->implementation()->str()},
                         {"refused", refused}});
    }
    images.push_back(
        {{"target", image->target()->str()}, {"features", features}, {"kernels", kernels}});
  }
  return images;
}

static Json inspectWeights(const schema::Program &program) {
  std::map<std::string, std::array<double, 4>> byFormat; // count, bytes, elements, worst error
  for (const schema::Weight *weight : *program.weights()) {
    auto &sum = byFormat[weight->format()->str() + ", " + weight->layout()->str()];
    double elements = 1;
    for (uint64_t extent : *weight->shape())
      elements *= double(extent);
    sum[0] += 1;
    sum[1] += double(weight->size_bytes());
    sum[2] += elements;
    sum[3] = std::max(sum[3], double(weight->relative_rms_error()));
  }
  Json formats = Json::array();
  for (const auto &[format, sum] : byFormat)
    formats.push_back({{"format", format},
                       {"weights", uint64_t(sum[0])},
                       {"bytes", uint64_t(sum[1])},
                       {"bits_per_weight", sum[2] ? sum[1] * 8 / sum[2] : 0},
                       {"worst_relative_rms_error", sum[3]}});
  return formats;
}

static Json inspectAll(const std::string &path, const kiln_model_t *model,
                       const schema::Program &program) {
  Json facts = Json::object(), functions = Json::array();
  for (const schema::Fact *fact : *program.facts())
    facts[fact->key()->str()] = fact->value()->str();
  for (size_t i = 0; i < program.functions()->size(); ++i) {
    const schema::Function *function = program.functions()->Get(flatbuffers::uoffset_t(i));
    Json dims = Json::array();
    for (const schema::Dim *dim : *function->dims())
      dims.push_back({{"name", dim->name()->str()}, {"min", dim->min()}, {"max", dim->max()}});
    functions.push_back({{"name", function->name()->str()},
                         {"dims", dims},
                         {"schedule", inspectSchedule(program, *function)},
                         {"memory", inspectMemory(kiln_model_function_at(model, i))},
                         {"worst_plan", inspectPlans(kiln_model_function_at(model, i))}});
  }
  return {{"facts", facts},
          {"sections", inspectSections(path)},
          {"weights", inspectWeights(program)},
          {"functions", functions},
          {"images", inspectImages(program)}};
}

// ---- Tables ---------------------------------------------------------------------------------

static std::string text(const Json &value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

static void printFunction(const Json &function) {
  std::printf("\nfunction %s\n", text(function["name"]).c_str());
  for (const Json &dim : function["dims"])
    std::printf("  dim %-4s %s..%s\n", text(dim["name"]).c_str(), text(dim["min"]).c_str(),
                text(dim["max"]).c_str());
  const Json &schedule = function["schedule"];
  std::printf("  %s launches, %s barriers, %s regions per layer\n",
              text(schedule["launches"]).c_str(), text(schedule["barriers"]).c_str(),
              text(schedule["regions_per_layer"]).c_str());
  std::printf("  %5s  %-34s %-34s %s\n", "times", "region", "kernel", "operations");
  for (const Json &region : schedule["regions"])
    std::printf("  %5s  %-34s %-34s %s\n", text(region["times"]).c_str(),
                text(region["step"]).c_str(), text(region["kernel"]).c_str(),
                text(region["operations"]).c_str());
  for (const Json &row : function["memory"]) {
    double planned = row["planned_bytes"].get<double>();
    double bound = row["lower_bound_bytes"].get<double>();
    std::printf("  memory at %s = %-5s planned %10s  lower bound %10s  ratio %.3f  scratch %s per "
                "worker\n",
                row.begin().key().c_str(), text(row.begin().value()).c_str(),
                formatBytes(uint64_t(planned)).c_str(), formatBytes(uint64_t(bound)).c_str(),
                bound ? planned / bound : 1,
                formatBytes(row["scratch_bytes_per_worker"].get<uint64_t>()).c_str());
  }
  const Json &worst = function["worst_plan"];
  if (worst.is_null())
    return;
  std::string at;
  for (const auto &[name, value] : worst["dims"].items())
    at += (at.empty() ? "" : ", ") + name + " = " + text(value);
  std::printf("  memory of %s calls of other dims: worst ratio %.3f at %s, mean %.3f\n",
              text(worst["calls"]).c_str(), worst["ratio"].get<double>(), at.c_str(),
              worst["mean_ratio"].get<double>());
}

static void printTables(const Json &all, bool reasons) {
  for (const auto &[key, value] : all["facts"].items())
    std::printf("%-20s %s\n", key.c_str(), text(value).c_str());
  std::printf("\n%-12s %14s %14s\n", "section", "offset", "bytes");
  for (const Json &section : all["sections"])
    std::printf("%-12s %14s %14s\n", text(section["kind"]).c_str(), text(section["offset"]).c_str(),
                text(section["bytes"]).c_str());
  std::printf("\n%-24s %8s %14s %8s %10s\n", "weights", "count", "bytes", "bits", "rms error");
  for (const Json &row : all["weights"])
    std::printf("%-24s %8s %14s %8.2f %10.5f\n", text(row["format"]).c_str(),
                text(row["weights"]).c_str(), text(row["bytes"]).c_str(),
                row["bits_per_weight"].get<double>(),
                row["worst_relative_rms_error"].get<double>());
  for (const Json &function : all["functions"])
    printFunction(function);
  for (const Json &image : all["images"]) {
    std::printf("\nimage %s: %zu kernels\n", text(image["target"]).c_str(),
                image["kernels"].size());
    for (const Json &kernel : image["kernels"]) {
      std::printf("  %-34s %s\n", text(kernel["kernel"]).c_str(),
                  text(kernel["implementation"]).c_str());
      if (reasons)
        for (const Json &reason : kernel["refused"])
          std::printf("      not %s\n", text(reason).c_str());
    }
  }
}

static int inspect(const std::string &path, bool json, bool verify) {
  kiln_error error{};
  kiln_model_t *opened = nullptr;
  kiln_status_t status = kiln_model_open_path(path.c_str(), &opened, &error);
  ModelHandle model(opened);
  if (status == KILN_UNSUPPORTED_DEVICE)
    return reportFailure(describe(status, error) + " (inspect needs an image of this machine)");
  if (status == KILN_OK && verify)
    status = kiln_model_verify_weights(opened, &error);
  const void *data = nullptr;
  size_t size = 0;
  if (status == KILN_OK)
    status = kiln_model_section(opened, KILN_SECTION_PROGRAM, &data, &size);
  if (status != KILN_OK)
    return reportFailure(describe(status, error));
  Json all = inspectAll(path, opened, *schema::GetProgram(data));
  if (json)
    std::printf("%s\n", all.dump(2).c_str());
  else
    printTables(all, true);
  return 0;
}

void kiln::addInspectCommand(CLI::App &app, int &exitCode) {
  struct Arguments {
    std::string path;
    bool json = false, verify = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App *command = app.add_subcommand("inspect", "Show what an artifact holds");
  command->add_option("artifact", a->path, "The .kiln file")->required();
  command->add_flag("--json", a->json, "JSON on stdout");
  command->add_flag("--verify", a->verify, "Read all weights and compare their checksum");
  setExamples(*command, "  kiln inspect model.kiln\n"
                        "  kiln inspect model.kiln --json | python3 -m json.tool\n");
  command->callback([a, &exitCode] { exitCode = inspect(a->path, a->json, a->verify); });
}
