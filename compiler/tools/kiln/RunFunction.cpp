// kiln run on a model that is no language model: inputs from files, outputs to files and,
// shortened, to stdout.
#include "compiler/tools/kiln/RunFunction.h"
#include "compiler/import/Problems.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/values/ValueFile.h"
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;

static constexpr int64_t shownElements = 8, listedElements = 64;

static Json describeOutput(const kiln_value_info &info, const Value &value) {
  double least = INFINITY, most = -INFINITY;
  for (int64_t i = 0; i < value.count(); ++i) {
    double number = numberAt(value, i);
    least = std::fmin(least, number);
    most = std::fmax(most, number);
  }
  Json elements = Json::array();
  for (int64_t i = 0; i < std::min(value.count(), listedElements); ++i)
    elements.push_back(numberAt(value, i));
  Json json = {{"name", info.name},
               {"dtype", nameOf(value.type).str()},
               {"shape", value.dims},
               {"first_values", elements}};
  if (value.count())
    json.update({{"minimum", least}, {"maximum", most}});
  return json;
}

static void printOutput(const kiln_value_info &info, const Value &value) {
  std::string shape, elements;
  for (int64_t extent : value.dims)
    shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  for (int64_t i = 0; i < std::min(value.count(), shownElements); ++i)
    elements += " " + printElement(value, i);
  std::printf("%s: %s [%s]%s%s\n", info.name, nameOf(value.type).str().c_str(), shape.c_str(),
              elements.c_str(), value.count() > shownElements ? " …" : "");
}

int kiln::runFunction(const RunFunctionOptions &options) {
  FunctionModel model;
  std::string problem;
  if (!model.open(options.model, options.threads, options.values.function, problem))
    return reportFailure(problem);
  // Where outputs go is checked before the work begins.
  std::vector<std::pair<size_t, std::string>> files;
  std::string only = model.outputs.size() == 1 ? model.outputs[0].name : "";
  for (const std::string &argument : options.outputs) {
    std::string name, rest;
    if (!splitArgument(argument, "--output", only, name, rest, problem))
      return reportFailure(problem);
    size_t output = findValue(model.outputs, name);
    if (output == model.outputs.size() || rest.size() < 2 || rest[0] != '@') {
      problem =
          "--output " + printable(argument) + ": expected NAME=@FILE.npy with one of the outputs:";
      for (const kiln_value_info &info : model.outputs)
        problem += " " + std::string(info.name);
      return reportFailure(problem);
    }
    files.push_back({output, rest.substr(1)});
  }
  FunctionCall call(model);
  if (!takeInputs(options.values, model, options.seed, call, problem) || !call.prepare(problem))
    return reportFailure(problem);
  auto started = std::chrono::steady_clock::now();
  if (!call.run(problem))
    return reportFailure(problem);
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  for (const auto &[output, path] : files)
    if (llvm::Error error = writeValueFile(path, call.output(output)))
      return reportFailure(llvm::toString(std::move(error)));
  Json list = Json::array();
  for (size_t i = 0; i < model.outputs.size(); ++i) {
    if (options.json)
      list.push_back(describeOutput(model.outputs[i], call.output(i)));
    else
      printOutput(model.outputs[i], call.output(i));
  }
  if (options.json) {
    Json dims = Json::object();
    for (size_t i = 0; i < model.freeDims; ++i)
      dims[model.dims[i].name] = call.allDims()[i];
    Json json = {{"function", kiln_function_name(model.function)},
                 {"target", kiln_model_target(model.model.get())},
                 {"threads", kiln_pool_workers(model.pool.get())},
                 {"dims", dims},
                 {"seconds", seconds},
                 {"outputs", list}};
    std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  }
  if (std::fflush(stdout) != 0)
    return reportFailure("stdout cannot be written");
  if (!options.quiet && !options.json)
    std::fprintf(stderr, "%.3f ms for %s, %u threads\n", seconds * 1e3,
                 kiln_model_target(model.model.get()), kiln_pool_workers(model.pool.get()));
  return 0;
}
