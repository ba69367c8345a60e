// Opens an artifact from memory and calls the toy model's function: what most tests begin with.
#ifndef KILN_TESTS_RUNTIME_TOY_CALL_H
#define KILN_TESTS_RUNTIME_TOY_CALL_H

#include "ArtifactBuilder.h"
#include "core/pool.h"

namespace kiln::test {

inline std::string imagePath(const char *name = "kernels.so") {
  return std::string(KILN_TEST_IMAGES) + "/" + name;
}

/* A model opened from memory, with the status and text when it could not be. */
struct Opened {
  AlignedBytes memory;
  kiln_model_t *model = nullptr;
  kiln_error error = {};
  kiln_status_t status;

  explicit Opened(const Bytes &bytes) : memory(bytes) {
    status = kiln_model_open_memory(memory.data(), memory.size(), &model, &error);
  }
  explicit Opened(const Toy &toy) : Opened(toy.artifact()) {}
  ~Opened() { kiln_model_close(model); }
  Opened(const Opened &) = delete;

  std::string text() const { return error.text; }
};

/* Buffers of one call of `main`, of the right sizes; a test may spoil them. */
struct ToyCall {
  int64_t dims[3];
  std::vector<float> x, y, picked;
  std::vector<int32_t> indices;
  AlignedBytes state, workspace;
  kiln_buffer inputs[2], outputs[2], states[1];
  kiln_call_t call = {};
  kiln_error error = {};

  ToyCall(const kiln_model_t *model, uint32_t workers, int64_t n = 50, int64_t m = 3)
      : dims{n, m, 2}, x(n), y(n), picked(m), indices(m), state(512) {
    for (int64_t i = 0; i < n; ++i)
      x[i] = float(i) * 0.25f - 2;
    for (int64_t i = 0; i < m; ++i)
      indices[i] = int32_t(i * 7 % n);
    kiln_memory_needs needs = {};
    kiln_function_memory(kiln_model_function(model, "main"), dims, workers, &needs, &error);
    workspace = AlignedBytes(needs.workspace_bytes);
    inputs[0] = {x.data(), x.size() * 4};
    inputs[1] = {indices.data(), indices.size() * 4};
    outputs[0] = {y.data(), y.size() * 4};
    outputs[1] = {picked.data(), picked.size() * 4};
    states[0] = state.buffer();
    call.dims = dims;
    call.inputs = inputs;
    call.outputs = outputs;
    call.states = states;
    call.workspace = workspace.buffer();
  }

  kiln_status_t run(kiln_pool_t *pool, const kiln_model_t *model) {
    return kiln_call(pool, kiln_model_function(model, "main"), &call, &error);
  }

  std::vector<float> expectedY() const {
    std::vector<float> result(x.size());
    for (size_t i = 0; i < x.size(); ++i)
      result[x.size() - 1 - i] = x[i] * (float(i % 16) - 3.5f);
    return result;
  }
  std::string text() const { return error.text; }
};

struct PoolDeleter {
  void operator()(kiln_pool_t *pool) const { kiln_pool_destroy(pool); }
};
using PoolPtr = std::unique_ptr<kiln_pool_t, PoolDeleter>;

/* So many workers, also where there are fewer CPUs. */
inline PoolPtr makePool(uint32_t workers) {
  kiln_pool_t *pool = nullptr;
  pool_create(workers, &pool, nullptr);
  return PoolPtr(pool);
}

} // namespace kiln::test

#endif // KILN_TESTS_RUNTIME_TOY_CALL_H
