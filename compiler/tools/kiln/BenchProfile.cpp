// Profiles by the runtime's own hook: nanoseconds of each step on the first worker, the wait at the
// barrier behind it included. Steps are added up by kernel, since layers share kernels, and set
// against what the program says they read and multiply.
#include "compiler/tools/kiln/BenchProfile.h"
#include <algorithm>

using namespace kiln;

double ProfileTable::shareOfBound(const ProfileRow &row, double bandwidth, double peak) {
  double best =
      std::max(bandwidth > 0 ? row.bytes / bandwidth : 0, peak > 0 ? row.operations / peak : 0);
  return best > 0 && row.seconds > 0 ? best / row.seconds : -1;
}

/// Adds the costs of one call to the rows, which are indexed by kernel.
static void addCosts(const std::vector<StepCost> &steps, double cacheBytes,
                     std::vector<ProfileRow> &rows) {
  size_t readers = size_t(std::count_if(steps.begin(), steps.end(),
                                        [](const StepCost &step) { return step.readsCache; }));
  for (const StepCost &step : steps) {
    if (step.kernel < 0)
      continue;
    ProfileRow &row = rows[size_t(step.kernel)];
    ++row.launches;
    row.bytes += double(step.weightBytes);
    row.operations += step.operations;
    if (step.readsCache)
      row.bytes += cacheBytes / double(readers);
  }
}

bool kiln::profileCalls(const LanguageModel &lm, const ProgramCosts &costs, uint32_t sequence,
                        uint32_t tokens, bool decode, ProfileTable &table, std::string &problem) {
  const kiln_function_t *function = kiln_model_function(lm.model.get(), costs.function.c_str());
  std::vector<uint64_t> nanoseconds(kiln_function_step_count(function));
  kiln_profile profile{nanoseconds.data(), nanoseconds.size()};
  table.what = decode ? "decode" : "prompt";
  table.tokens = tokens;
  table.depth = kiln_sequence_length(lm.llm.get(), sequence);
  std::vector<ProfileRow> rows(costs.kernels.size());
  std::vector<int32_t> ids(tokens);
  for (uint32_t i = 0; i < tokens; ++i)
    ids[i] = int32_t((i * 7919u + 13u) % lm.info.vocab_size);

  kiln_error error{};
  kiln_status_t status = KILN_OK;
  kiln_llm_set_profile(lm.llm.get(), &profile);
  for (uint32_t done = 0, size; done < tokens && status == KILN_OK; done += size) {
    size = decode ? 1 : std::min(lm.info.chunk, tokens - done);
    // Every call ends with a row of logits; in prompts only the last one does.
    std::vector<uint32_t> sequences(size, sequence);
    uint32_t lastRow = size - 1;
    bool wanted = decode || done + size == tokens;
    kiln_llm_batch batch{ids.data() + done, sequences.data(), size, &lastRow, wanted};
    status = kiln_llm_step(lm.llm.get(), &batch, nullptr, &error);
    addCosts(costs.steps(lm.info, size, wanted),
             decode ? double(cacheBytesAt(lm.info, table.depth + done)) : 0, rows);
  }
  kiln_llm_set_profile(lm.llm.get(), nullptr);
  if (status != KILN_OK) {
    problem = describe(status, error);
    return false;
  }
  std::vector<StepCost> steps = costs.steps(lm.info, 1, 1);
  for (size_t i = 0; i < steps.size() && i < nanoseconds.size(); ++i)
    if (steps[i].kernel >= 0) {
      rows[size_t(steps[i].kernel)].seconds += double(nanoseconds[i]) * 1e-9;
      table.seconds += double(nanoseconds[i]) * 1e-9;
    }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].kernel = int32_t(i);
    if (rows[i].launches)
      table.rows.push_back(rows[i]);
  }
  std::stable_sort(table.rows.begin(), table.rows.end(),
                   [](const ProfileRow &a, const ProfileRow &b) { return a.seconds > b.seconds; });
  return true;
}
