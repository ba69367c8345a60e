// Fuzzes the artifact loader: container, flatbuffer, expressions, ELF image. Checksums are made
// right before opening, since no mutation would get past them otherwise. A model that opens is
// asked everything and its calls are prepared, down to the last check before code would run; its
// code is not run, because code in an artifact is trusted and what the fuzzer makes of it is not.

#include "ToyCall.h"
#include "core/call.h"

using namespace kiln::test;

namespace {

constexpr uint64_t max_buffer = 1 << 20;

/* Prepares a call with the given dims and buffers of the sizes the function asks for. */
void prepareCall(const kiln_function_t *function, const std::vector<int64_t> &dims) {
  kiln_memory_needs needs;
  kiln_error error;
  if (kiln_function_memory(function, dims.data(), 2, &needs, &error) ||
      needs.workspace_bytes > max_buffer)
    return;
  AlignedBytes workspace(needs.workspace_bytes), shared(max_buffer);
  std::vector<kiln_buffer> inputs(kiln_function_input_count(function), shared.buffer());
  std::vector<kiln_buffer> outputs(kiln_function_output_count(function), shared.buffer());
  std::vector<kiln_buffer> states(kiln_function_state_count(function), shared.buffer());
  kiln_call_t call = {};
  call.dims = dims.data();
  call.inputs = inputs.data();
  call.outputs = outputs.data();
  call.states = states.data();
  call.workspace = workspace.buffer();
  kiln::prepared_call_t prepared;
  if (kiln::call_prepare(function, &call, 2, &prepared, &error))
    return;
  // What the checks promise: every binding in the arena or in `shared` stays inside it.
  for (const kiln::step_t &step : function->steps)
    for (uint32_t i = 0; i < step.binding_count; ++i) {
      const kiln::binding_t &binding = function->bindings[step.first_binding + i];
      uint64_t size = uint64_t(prepared.values[binding.size]);
      volatile uint8_t *bytes = static_cast<uint8_t *>(prepared.buffers[step.first_binding + i]);
      if (size != 0) {
        (void)bytes[0];
        (void)bytes[size - 1];
      }
    }
  // Dims that are computed stay below those that the memory was planned for.
  std::vector<int64_t> planned(prepared.dims, prepared.dims + function->dims.count);
  for (const kiln::step_t &step : function->steps)
    if (step.dim_count != 0 && kiln::call_set_dims(&prepared, step, &error) == KILN_OK)
      for (size_t d = 0; d < planned.size(); ++d)
        if (prepared.dims[d] > planned[d])
          __builtin_trap();
}

void ask(const kiln_model_t *model) {
  kiln_model_fact(model, "architecture");
  kiln_model_target(model);
  kiln_model_verify_weights(model, nullptr);
  for (size_t f = 0; f < kiln_model_function_count(model); ++f) {
    const kiln_function_t *function = kiln_model_function_at(model, f);
    std::vector<int64_t> smallest, largest, middle;
    for (size_t d = 0; d < kiln_function_dim_count(function); ++d) {
      kiln_dim_info info;
      kiln_function_dim(function, d, &info);
      smallest.push_back(info.min);
      largest.push_back(info.max);
      middle.push_back(info.min + (info.max - info.min) / 2);
    }
    for (const auto &dims : {smallest, middle, largest})
      prepareCall(function, dims);
    for (size_t s = 0; s <= kiln_function_step_count(function); ++s)
      kiln_function_step_name(function, s);
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AlignedBytes memory(Bytes(data, data + size));
  repairChecksums(memory.data(), size);
  kiln_model_t *model = nullptr;
  kiln_error error = {};
  if (kiln_model_open_memory(memory.data(), size, &model, &error) == KILN_OK) {
    ask(model);
    kiln_model_close(model);
  } else if (error.text[0] == 0) {
    __builtin_trap(); // a refusal without a reason
  }
  return 0;
}
