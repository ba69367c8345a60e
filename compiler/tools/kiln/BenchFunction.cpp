// kiln bench on a model that is no language model: calls in rounds of at least a fifth of a second,
// after one that warms up; what the program in the artifact says they must read and multiply; where
// the time goes.
#include "compiler/tools/kiln/BenchFunction.h"
#include "compiler/tools/kiln/Commands.h"
#include "compiler/tools/kiln/EvaluateExpr.h"
#include "kiln/artifact.h"
#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

using namespace kiln;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

static constexpr double roundSeconds = 0.2;
static constexpr size_t mostCalls = 10000; // of a round

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Bytes of all weights and multiply-adds of one walk over the schedule; loops count once.
static void countCosts(const FunctionModel &model, const std::vector<int64_t> &dims,
                       uint64_t &weightBytes, double &operations) {
  const void *data = nullptr;
  size_t size = 0;
  if (kiln_model_section(model.model.get(), KILN_SECTION_PROGRAM, &data, &size) != KILN_OK)
    return;
  const schema::Program *program = schema::GetProgram(data);
  for (const schema::Weight *weight : *program->weights())
    weightBytes += weight->size_bytes();
  std::string name = kiln_function_name(model.function);
  for (const schema::Function *function : *program->functions())
    if (function->name()->str() == name)
      for (const schema::Step *step : *function->steps())
        if (step->kind() == schema::StepKind_launch)
          if (const schema::Expr *macs = program->kernels()->Get(step->kernel())->macs())
            operations += 2 * double(evaluateExpr(*macs, dims));
}

/// Steps of the same name and their share of the time, the longest first.
static bool profileSteps(const FunctionModel &model, FunctionCall &call, Json &rows,
                         std::string &problem) {
  std::vector<uint64_t> times(kiln_function_step_count(model.function));
  kiln_profile profile = {times.data(), times.size()};
  if (!call.run(problem, &profile))
    return false;
  std::map<std::string, std::pair<uint64_t, uint64_t>> byName; // nanoseconds, steps
  uint64_t total = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    std::string name = kiln_function_step_name(model.function, i);
    if (name.empty() && times[i] == 0)
      continue;
    auto &[ns, steps] = byName[name.empty() ? "(control flow)" : name];
    ns += times[i], ++steps;
    total += times[i];
  }
  std::vector<std::pair<std::string, std::pair<uint64_t, uint64_t>>> sorted(byName.begin(),
                                                                            byName.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto &a, const auto &b) { return a.second.first > b.second.first; });
  for (const auto &[name, time] : sorted)
    rows.push_back({{"step", name},
                    {"launches", time.second},
                    {"microseconds", double(time.first) / 1e3},
                    {"share_of_time", total ? double(time.first) / double(total) : 0}});
  return true;
}

static void printTable(const Json &json) {
  auto number = [&](const char *key) { return json[key].get<double>(); };
  std::printf("%s for %s, %u threads:", json["function"].get<std::string>().c_str(),
              json["target"].get<std::string>().c_str(), json["threads"].get<uint32_t>());
  for (const auto &[name, value] : json["dims"].items())
    std::printf(" %s=%lld", name.c_str(), (long long)value.get<int64_t>());
  std::printf(
      "\n%.3f ms median, %.3f ms least of %llu calls in %u rounds\n"
      "%.2f GFLOP/s of products, %.2f GB/s of weights; activations %.2f MB (at least %.2f)\n",
      number("median_milliseconds"), number("least_milliseconds"),
      (unsigned long long)json["calls"].get<uint64_t>(), json["rounds"].get<uint32_t>(),
      number("operations_per_second") / 1e9, number("weight_bytes_per_second") / 1e9,
      number("planned_bytes") / 1e6, number("lower_bound_bytes") / 1e6);
  if (!json.contains("profile"))
    return;
  size_t shown = 0;
  for (const Json &row : json["profile"]) {
    if (++shown > 30)
      break;
    std::printf("%6.1f %%  %10.1f us  %4llu x  %s\n", 100 * row["share_of_time"].get<double>(),
                row["microseconds"].get<double>(),
                (unsigned long long)row["launches"].get<uint64_t>(),
                row["step"].get<std::string>().c_str());
  }
}

int kiln::benchFunction(const SpeedOptions &options, ValueArguments values, uint64_t seed,
                        bool json) {
  FunctionModel model;
  std::string problem;
  auto opening = Clock::now();
  if (!model.open(options.model, options.threads, values.function, problem))
    return reportFailure(problem);
  double openSeconds = secondsSince(opening);
  FunctionCall call(model);
  values.randomInputs = true;
  if (!takeInputs(values, model, seed, call, problem) || !call.prepare(problem))
    return reportFailure(problem);
  auto started = Clock::now();
  if (!call.run(problem))
    return reportFailure(problem);
  double first = secondsSince(started);
  size_t calls = std::clamp<size_t>(size_t(roundSeconds / std::max(first, 1e-7)), 3, mostCalls);
  std::vector<double> times;
  for (uint32_t round = 0; round < options.repeat; ++round)
    for (size_t i = 0; i < calls; ++i) {
      auto before = Clock::now();
      if (!call.run(problem))
        return reportFailure(problem);
      times.push_back(secondsSince(before));
    }
  double middle = median(times), operations = 0;
  uint64_t weightBytes = 0;
  countCosts(model, call.allDims(), weightBytes, operations);
  Json dims = Json::object();
  for (size_t i = 0; i < model.freeDims; ++i)
    dims[model.dims[i].name] = call.allDims()[i];
  Json report = {{"function", kiln_function_name(model.function)},
                 {"target", kiln_model_target(model.model.get())},
                 {"threads", kiln_pool_workers(model.pool.get())},
                 {"dims", dims},
                 {"rounds", options.repeat},
                 {"calls", times.size()},
                 {"open_milliseconds", openSeconds * 1e3},
                 {"first_milliseconds", first * 1e3},
                 {"median_milliseconds", middle * 1e3},
                 {"least_milliseconds", *std::min_element(times.begin(), times.end()) * 1e3},
                 {"operations", operations},
                 {"operations_per_second", operations / middle},
                 {"weight_bytes", weightBytes},
                 {"weight_bytes_per_second", double(weightBytes) / middle},
                 {"planned_bytes", call.needs().arena_bytes},
                 {"lower_bound_bytes", call.needs().arena_lower_bound_bytes},
                 {"workspace_bytes", call.needs().workspace_bytes}};
  if (options.profile) {
    report["profile"] = Json::array();
    if (!profileSteps(model, call, report["profile"], problem))
      return reportFailure(problem);
  }
  if (json)
    std::printf("%s\n", report.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else
    printTable(report);
  return 0;
}
