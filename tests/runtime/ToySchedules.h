// Small functions with branches, loops and computed dims, for tests and the fuzzer's seeds.
#ifndef KILN_TESTS_RUNTIME_TOY_SCHEDULES_H
#define KILN_TESTS_RUNTIME_TOY_SCHEDULES_H

#include "ToyCall.h"

namespace kiln::test {

/* The toy's image with a function `main` of a test's own. */
struct Schedule : Toy {
  explicit Schedule(const std::string &imagePath) : Toy(imagePath) {
    program.functions.clear();
    program.kernels.clear();
    code().kernels.clear();
    auto function = std::make_unique<schema::FunctionT>();
    function->name = "main";
    function->arena_bytes = constant(256);
    function->arena_lower_bound_bytes = constant(256);
    program.functions.push_back(std::move(function));
  }

  schema::DimT &addDim(const char *name, int64_t min, int64_t max) {
    auto dim = std::make_unique<schema::DimT>();
    dim->name = name;
    dim->min = min;
    dim->max = max;
    function().dims.push_back(std::move(dim));
    return *function().dims.back();
  }
  /* A vector of the given dim, or of one element (-1). */
  void addInput(const char *name, schema::DType dtype, int32_t dim) {
    function().inputs.push_back(vector(name, dtype, dim));
  }
  void addOutput(const char *name, schema::DType dtype, int32_t dim) {
    function().outputs.push_back(vector(name, dtype, dim));
  }

  static std::unique_ptr<schema::BindingT> at(std::unique_ptr<schema::BindingT> binding,
                                              int64_t offset) {
    binding->offset = constant(offset);
    return binding;
  }
  template <typename... Bindings>
  schema::StepT &launch(const char *kernel, ExprPtr items, Bindings... bindings) {
    auto entry = std::make_unique<schema::KernelCodeT>();
    entry->entry = symbolAddress(image, kernel);
    entry->items = std::move(items);
    entry->scratch_bytes = constant(0);
    entry->implementation = "C";
    code().kernels.push_back(std::move(entry));
    auto described = std::make_unique<schema::KernelT>();
    described->name = described->description = kernel;
    described->bindings = sizeof...(bindings);
    program.kernels.push_back(std::move(described));
    schema::StepT &step = addLaunch(Kernel(program.kernels.size() - 1), kernel);
    (step.bindings.push_back(std::move(bindings)), ...);
    return step;
  }
  schema::StepT &step(schema::StepKind kind, uint32_t target = 0) {
    auto step = std::make_unique<schema::StepT>();
    step->kind = kind;
    step->name = schema::EnumNameStepKind(kind);
    step->target = target;
    function().steps.push_back(std::move(step));
    return *function().steps.back();
  }
  uint32_t here() { return uint32_t(function().steps.size()); }

private:
  static std::unique_ptr<schema::ValueT> vector(const char *name, schema::DType dtype,
                                                int32_t dim) {
    auto result = value(name, dtype, dim);
    if (dim < 0)
      result->shape[0] = schema::Axis(-1, 1);
    return result;
  }
};

/* Inputs limit (i64) and go (a byte), outputs cells[n] and count: while go: every cell and count go
 * up by one; go = count < limit. `cells` and `count` begin as the caller leaves them. */
struct LoopSchedule : Schedule {
  explicit LoopSchedule(const std::string &imagePath) : Schedule(imagePath) {
    addDim("n", 0, 1000);
    addInput("limit", schema::DType_i64, -1);
    addOutput("cells", schema::DType_i32, 0);
    addOutput("count", schema::DType_i64, -1);
    addOutput("go", schema::DType_boolean, -1);
    step(schema::StepKind_branch, 4).bindings.push_back(bind(schema::Space_output, 2, constant(1)));
    launch("bump", dim(0), bind(schema::Space_output, 0, scaled(0, 4)));
    launch("tick", constant(1), bind(schema::Space_output, 1, constant(8)),
           bind(schema::Space_input, 0, constant(8)), bind(schema::Space_output, 2, constant(1)));
    step(schema::StepKind_jump, 0);
  }
};

/* x[n] -> kept[c], mirrored[d]: the elements above 0, then each with its negative. c is computed,
 * at most `most`; d = 2 c. */
struct KeepSchedule : Schedule {
  explicit KeepSchedule(const std::string &imagePath, int64_t most = 100) : Schedule(imagePath) {
    addDim("n", 0, 100);
    addDim("c", 0, most).computed = true;
    addDim("d", 0, 2 * most).value = scaled(1, 2);
    addInput("x", schema::DType_f32, 0);
    addOutput("kept", schema::DType_f32, 1);
    addOutput("mirrored", schema::DType_f32, 2);
    launch("count_positive", constant(1), bind(schema::Space_input, 0, scaled(0, 4)),
           bind(schema::Space_arena, 0, constant(8)));
    schema::StepT &set = step(schema::StepKind_set_dims);
    set.bindings.push_back(bind(schema::Space_arena, 0, constant(8)));
    set.dims = {1};
    launch("keep_positive", constant(1), bind(schema::Space_input, 0, scaled(0, 4)),
           bind(schema::Space_output, 0, scaled(1, 4)));
    addBarrier();
    launch("mirror", dim(1), bind(schema::Space_output, 0, scaled(1, 4)),
           bind(schema::Space_output, 1, scaled(2, 4)));
  }
};

} // namespace kiln::test

#endif // KILN_TESTS_RUNTIME_TOY_SCHEDULES_H
