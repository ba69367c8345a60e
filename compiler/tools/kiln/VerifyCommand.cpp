// kiln verify: run an artifact on inputs from a folder and compare with the outputs that lie beside
// them, as ONNX's own test data has them: input_0.pb, output_0.pb, or .npy files, in the folder
// itself or in its folders test_data_set_0, test_data_set_1, …
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/CompareValues.h"
#include "compiler/tools/kiln/FunctionCall.h"
#include "compiler/tools/kiln/ValueArguments.h"
#include "compiler/values/ValueFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <algorithm>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

namespace {
struct VerifyArguments {
  std::string model, folder, function;
  std::vector<std::string> dims;
  double relative = 1e-3, absolute = 1e-7;
  uint32_t threads = 0;
  bool integersToo = false, quiet = false, json = false;
};

/// One folder of inputs and outputs: the file of each, "" where there is none.
struct DataSet {
  std::string folder;
  std::vector<std::string> inputs, outputs;
};
} // namespace

static std::vector<std::string> listFolder(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (llvm::sys::fs::directory_iterator entry(folder, code), end; entry != end && !code;
       entry.increment(code))
    names.push_back(entry->path());
  std::sort(names.begin(), names.end());
  return names;
}

/// Which value "input_REST" is about: by name, else by number; values.size() for none.
static size_t findByFile(llvm::StringRef rest, const std::vector<kiln_value_info> &values) {
  size_t found = findValue(values, rest.str());
  if (found == values.size() && rest.getAsInteger(10, found))
    return values.size();
  return std::min(found, values.size());
}

static bool readDataSet(const std::string &folder, const FunctionModel &model, DataSet &set,
                        std::string &problem) {
  set.folder = folder;
  set.inputs.resize(model.inputs.size());
  set.outputs.resize(model.outputs.size());
  for (const std::string &path : listFolder(folder)) {
    llvm::StringRef name = llvm::sys::path::filename(path);
    if (!name.consume_back(".pb") && !name.consume_back(".npy"))
      continue;
    bool isInput = name.consume_front("input_");
    if (!isInput && !name.consume_front("output_"))
      continue;
    size_t index = findByFile(name, isInput ? model.inputs : model.outputs);
    std::vector<std::string> &files = isInput ? set.inputs : set.outputs;
    if (index == files.size() || !files[index].empty()) {
      problem = path + ": " +
                (index == files.size()
                     ? "the model has no such " + std::string(isInput ? "input" : "output")
                     : "the same is in " + files[index]);
      return false;
    }
    files[index] = path;
  }
  return true;
}

/// The folder itself, or its test_data_set_* folders.
static bool findDataSets(const std::string &folder, const FunctionModel &model,
                         std::vector<DataSet> &sets, std::string &problem) {
  if (!llvm::sys::fs::is_directory(folder)) {
    problem = folder + ": expected a folder";
    return false;
  }
  std::vector<std::string> folders;
  for (const std::string &path : listFolder(folder))
    if (llvm::sys::path::filename(path).starts_with("test_data_set_") &&
        llvm::sys::fs::is_directory(path))
      folders.push_back(path);
  if (folders.empty())
    folders.push_back(folder);
  for (const std::string &path : folders) {
    DataSet set;
    if (!readDataSet(path, model, set, problem))
      return false;
    if (std::all_of(set.outputs.begin(), set.outputs.end(),
                    [](const std::string &file) { return file.empty(); })) {
      problem = path + ": expected output_0.pb or output_0.npy, and inputs beside it";
      return false;
    }
    sets.push_back(std::move(set));
  }
  return true;
}

static bool runDataSet(const FunctionModel &model, const VerifyArguments &arguments,
                       const DataSet &set, Json &report, bool &agrees, std::string &problem) {
  FunctionCall call(model);
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    if (set.inputs[i].empty())
      continue; // prepare() says what is missing
    auto value = readValueFile(set.inputs[i]);
    if (!value) {
      problem = llvm::toString(value.takeError());
      return false;
    }
    if (!call.setInput(i, std::move(*value), problem))
      return false;
  }
  ValueArguments values;
  values.dims = arguments.dims;
  if (!takeInputs(values, model, 0, call, problem) || !call.prepare(problem) || !call.run(problem))
    return false;
  for (size_t i = 0; i < model.outputs.size(); ++i) {
    if (set.outputs[i].empty())
      continue;
    auto expected = readValueFile(set.outputs[i]);
    if (!expected) {
      problem = llvm::toString(expected.takeError());
      return false;
    }
    Value found = call.output(i);
    Difference difference = compareValues(found, *expected, arguments.relative, arguments.absolute,
                                          arguments.integersToo);
    agrees &= difference.agrees();
    Json row = {{"folder", set.folder},
                {"output", model.outputs[i].name},
                {"agrees", difference.agrees()},
                {"elements", difference.elements},
                {"mismatches", difference.mismatches},
                {"largest_absolute_error", difference.largestAbsolute},
                {"largest_relative_error", difference.largestRelative}};
    if (!difference.problem.empty())
      row["problem"] = difference.problem;
    if (difference.worst >= 0) {
      expected->type = found.type;
      row["worst"] = {{"element", difference.worst},
                      {"expected", printElement(*expected, difference.worst)},
                      {"found", printElement(found, difference.worst)}};
    }
    report.push_back(std::move(row));
  }
  return true;
}

static void printRow(const Json &row) {
  std::string text = row["folder"].get<std::string>() + ": " + row["output"].get<std::string>();
  if (row.contains("problem")) {
    std::printf("%s: DIFFERS: %s\n", text.c_str(), row["problem"].get<std::string>().c_str());
    return;
  }
  std::printf(
      "%s: %s, %lld elements, largest error %.3g absolute, %.3g relative\n", text.c_str(),
      row["agrees"].get<bool>() ? "agrees" : "DIFFERS", (long long)row["elements"].get<int64_t>(),
      row["largest_absolute_error"].get<double>(), row["largest_relative_error"].get<double>());
  if (row.contains("worst"))
    std::printf("  %lld elements differ; element %lld: expected %s, found %s\n",
                (long long)row["mismatches"].get<int64_t>(),
                (long long)row["worst"]["element"].get<int64_t>(),
                row["worst"]["expected"].get<std::string>().c_str(),
                row["worst"]["found"].get<std::string>().c_str());
}

static int verify(const VerifyArguments &arguments) {
  FunctionModel model;
  std::vector<DataSet> sets;
  std::string problem;
  if (!model.open(arguments.model, arguments.threads, arguments.function, problem) ||
      !findDataSets(arguments.folder, model, sets, problem))
    return reportFailure(problem);
  if (hasTextModel(model.model.get()))
    return reportFailure(arguments.model + " is a language model: see kiln quality");
  Json rows = Json::array();
  bool agrees = true;
  for (const DataSet &set : sets)
    if (!runDataSet(model, arguments, set, rows, agrees, problem))
      return reportFailure(set.folder + ": " + problem);
  if (arguments.json) {
    Json json = {{"agrees", agrees},
                 {"relative_tolerance", arguments.relative},
                 {"absolute_tolerance", arguments.absolute},
                 {"outputs", rows}};
    std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    for (const Json &row : rows)
      if (!arguments.quiet || !row["agrees"].get<bool>())
        printRow(row);
  }
  if (std::fflush(stdout) != 0)
    return reportFailure("stdout cannot be written");
  return agrees ? 0 : 1;
}

void kiln::addVerifyCommand(CLI::App &app, int &exitCode) {
  auto a = std::make_shared<VerifyArguments>();
  CLI::App *command = app.add_subcommand(
      "verify", "Run an artifact on inputs of a folder and compare with its outputs; exit code 1 "
                "where they differ");
  command->add_option("artifact", a->model, "The .kiln file")->required();
  command
      ->add_option("--expect", a->folder,
                   "Folder of input_0.pb, output_0.pb, … (or .npy; or input_NAME), or of folders "
                   "test_data_set_* with these")
      ->required();
  command->add_option("--rtol", a->relative, "Allowed error relative to the expected value")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--atol", a->absolute, "Allowed absolute error, in addition")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--tolerate-integers", a->integersToo,
                    "The tolerances hold for integers too, which must be equal otherwise");
  addDimOption(*command, a->dims);
  command->add_option("--function", a->function,
                      "The function to call; default: main, or the only one");
  command->add_option("--threads", a->threads, "Workers; default: the physical cores");
  command->add_flag("--quiet", a->quiet, "Print only what differs");
  command->add_flag("--json", a->json, "JSON on stdout");
  setExamples(*command,
              "  kiln verify net.kiln --expect path/to/test_data_set_0\n"
              "  kiln verify net.kiln --expect path/to/net --rtol 1e-4 --atol 1e-5 --json\n");
  command->callback([a, &exitCode] { exitCode = verify(*a); });
}
