// Counts bytes and operations from the flatbuffer in the artifact: every launch names the weights
// it is bound to, and every kernel its multiply-accumulates as an expression of the call's dims.
// The runtime has verified the program when it opened the model.
#include "compiler/tools/kiln/ProgramCosts.h"
#include "compiler/tools/kiln/EvaluateExpr.h"
#include "kiln/artifact.h"
#include "program_generated.h"
#include <algorithm>

using namespace kiln;

static const schema::Function *findDecoder(const schema::Program &program,
                                           const std::string &name) {
  for (const schema::Function *function : *program.functions())
    if (function->name()->str() == name)
      return function;
  return nullptr;
}

static bool isMatmul(const schema::Program &program, const schema::Step &step) {
  return program.kernels()->Get(step.kernel())->description()->str().find("matmul") !=
         std::string::npos;
}

static double elementsOf(const schema::Weight &weight) {
  double count = 1;
  for (uint64_t extent : *weight.shape())
    count *= double(extent);
  return count;
}

/// Matrices only: norms and biases are vectors.
static bool isMatrix(const schema::Weight &weight) {
  return weight.shape()->size() >= 2 && weight.shape()->Get(0) > 1;
}

static const schema::Image *findImage(const schema::Program &program, const std::string &target) {
  for (const schema::Image *image : *program.images())
    if (image->target()->str() == target)
      return image;
  return nullptr;
}

static void readWeights(const schema::Program &program, const schema::Function &function,
                        ProgramCosts &costs) {
  double bytes = 0, elements = 0;
  for (const schema::Step *step : *function.steps()) {
    if (step->kind() != schema::StepKind_launch || !isMatmul(program, *step))
      continue;
    for (const schema::Binding *binding : *step->bindings()) {
      if (binding->space() != schema::Space_weight)
        continue;
      const schema::Weight *weight = program.weights()->Get(binding->index());
      if (!isMatrix(*weight))
        continue;
      const std::string format = weight->format()->str();
      costs.quantized |= format.rfind('q', 0) == 0;
      bytes += double(weight->size_bytes());
      elements += elementsOf(*weight);
    }
  }
  costs.weightBits = elements ? bytes * 8 / elements : 0;
}

bool ProgramCosts::read(const kiln_model_t *model, ProgramCosts &costs, std::string &problem) {
  const void *data = nullptr;
  size_t size = 0;
  kiln_status_t status = kiln_model_section(model, KILN_SECTION_PROGRAM, &data, &size);
  const schema::Program *program = status == KILN_OK ? schema::GetProgram(data) : nullptr;
  const schema::Function *function =
      program && program->language_model()
          ? findDecoder(*program, program->language_model()->function()->str())
          : nullptr;
  const schema::Image *image = program ? findImage(*program, kiln_model_target(model)) : nullptr;
  if (!function || !image) {
    problem = kiln_status_text(KILN_NOT_A_LANGUAGE_MODEL);
    return false;
  }
  costs.program = data;
  costs.function = function->name()->str();
  costs.contextLength = program->language_model()->context_length();
  for (const flatbuffers::String *feature : *image->features())
    costs.features.push_back(feature->str());
  for (flatbuffers::uoffset_t i = 0; i < image->kernels()->size(); ++i) {
    const schema::Kernel *kernel = program->kernels()->Get(i);
    costs.kernels.push_back({kernel->name()->str(), kernel->description()->str(),
                             image->kernels()->Get(i)->implementation()->str()});
  }
  for (const schema::Dim *dim : *function->dims())
    if (dim->name()->str() == "m")
      costs.minimumRows = uint32_t(std::max<int64_t>(0, dim->min()));
  readWeights(*program, *function, costs);
  return true;
}

std::vector<StepCost> ProgramCosts::steps(const kiln_llm_info &info, uint64_t tokens,
                                          uint64_t rows) const {
  const schema::Program &parsed = *schema::GetProgram(program);
  const schema::Function &decoder = *findDecoder(parsed, function);
  std::vector<int64_t> dims;
  for (const schema::Dim *dim : *decoder.dims()) {
    const std::string name = dim->name()->str();
    int64_t columns = (info.context_length + info.page_size - 1) / info.page_size;
    dims.push_back(name == "n"   ? int64_t(tokens)
                   : name == "m" ? int64_t(std::max<uint64_t>(rows, minimumRows))
                   : name == "s" ? info.max_sequences
                   : name == "b" ? columns
                                 : info.cache_pages);
  }
  std::vector<StepCost> costs;
  for (const schema::Step *step : *decoder.steps()) {
    StepCost cost;
    if (step->kind() == schema::StepKind_launch) {
      const schema::Kernel *kernel = parsed.kernels()->Get(step->kernel());
      cost.kernel = int32_t(step->kernel());
      bool matmul = isMatmul(parsed, *step);
      double macs = kernel->macs() ? double(evaluateExpr(*kernel->macs(), dims)) : 0;
      double elements = 0;
      for (const schema::Binding *binding : *step->bindings()) {
        if (matmul && binding->space() == schema::Space_weight) {
          cost.weightBytes += uint64_t(evaluateExpr(*binding->size_bytes(), dims));
          elements += elementsOf(*parsed.weights()->Get(binding->index()));
        }
        cost.readsCache |= binding->space() == schema::Space_state;
      }
      // Of experts, few rows read only those that they are multiplied with.
      if (macs > 0 && macs < elements / 2)
        cost.weightBytes = uint64_t(double(cost.weightBytes) * macs / elements);
      cost.operations = 2 * macs;
    }
    costs.push_back(cost);
  }
  return costs;
}

double ProgramCosts::promptOperations(const kiln_llm_info &info, uint64_t tokens) const {
  double sum = 0;
  for (uint64_t done = 0; done < tokens;) {
    uint64_t chunk = std::min<uint64_t>(info.chunk, tokens - done);
    done += chunk;
    for (const StepCost &cost : steps(info, chunk, done == tokens ? 1 : 0))
      sum += cost.operations;
  }
  return sum;
}

uint64_t ProgramCosts::weightBytes(const kiln_llm_info &info) const {
  uint64_t sum = 0;
  for (const StepCost &cost : steps(info, 1, 1))
    sum += cost.weightBytes;
  return sum;
}

uint64_t kiln::cacheBytesAt(const kiln_llm_info &info, uint64_t position) {
  uint64_t places = uint64_t(info.cache_pages) * info.page_size;
  return places ? uint64_t(double(info.cache_bytes) / double(places) * double(position + 1)) : 0;
}
