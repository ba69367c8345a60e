/* A verified model: what opening leaves behind. Every index and range in here has been checked;
 * the code that runs a call only asserts. */
#ifndef KILN_CORE_MODEL_H
#define KILN_CORE_MODEL_H

#include "core/array.h"
#include "core/container.h"
#include "core/expr.h"
#include "core/file.h"
#include "loader/image.h"

#include "kiln/kiln.h"

namespace kiln {

namespace schema {
struct Program;
struct Function;
struct Image;
} // namespace schema

constexpr uint32_t max_functions = 256;
constexpr uint32_t max_dims = 1024;
constexpr uint32_t max_requirements = 4096;
constexpr uint32_t max_values = 1024; /* inputs, outputs, states: each */
constexpr uint32_t max_launch_bindings = 256;
constexpr uint32_t max_images = 64;
constexpr uint32_t max_steps = (1u << 20) - 1;
constexpr uint32_t max_counters = 4096; /* words of one launch */

/* A place that a binding points into: inputs, outputs, states, the arena, then the weights. */
struct region_t {
  uint8_t *base;
  uint64_t size;
};

struct dim_t {
  kiln_dim_info info;
  uint32_t value; /* of a derived dim: an expression of dims before it; else no_expr */
  bool computed;
};

struct requirement_t {
  const char *text;
  uint32_t found, expected; /* expressions of dims that the call fixes */
};

struct value_t {
  const char *name;
  kiln_dtype_t dtype;
  uint32_t rank;
  int32_t dim[KILN_MAX_RANK]; /* -1: fixed */
  int64_t extent[KILN_MAX_RANK];
  uint32_t index_limit; /* expression, or no_expr */
};

struct state_t {
  const char *name;
  uint32_t size; /* expression */
};

struct binding_t {
  uint32_t region; /* see kiln_function::region_count; weights follow the function's own */
  uint32_t offset; /* expression, or no_expr for 0 */
  uint32_t size;   /* expression */
};

constexpr uint64_t no_counters = UINT64_MAX;

struct step_t {
  const char *name;
  kiln_kernel_fn kernel; /* NULL for all but a launch: barriers and steps that are also barriers */
  uint32_t items, scratch; /* expressions */
  uint32_t first_binding, binding_count;
  uint64_t counters; /* byte offset in the call's counter words, or no_counters */
  uint32_t kind;     /* schema::StepKind */
  uint32_t target;   /* of a branch or jump: the step to go on at; at most as many as there are */
  uint32_t first_dim, dim_count; /* of set_dims: in kiln_function::set_dims */
};

} // namespace kiln

struct kiln_function {
  const kiln_model *model;
  const char *name;
  kiln::array_t<kiln::dim_t> dims;
  kiln::array_t<uint8_t> fixed; /* of each dim: known when a call begins */
  uint32_t free_dims;           /* the first dims, which the caller gives */
  bool branches;                /* has steps other than launches and barriers */
  kiln::array_t<uint32_t> set_dims;
  kiln::array_t<kiln::requirement_t> requirements;
  kiln::array_t<kiln::value_t> inputs, outputs;
  kiln::array_t<kiln::state_t> states;
  kiln::array_t<kiln::step_t> steps;
  kiln::array_t<uint32_t>
      intervals; /* first step of each: of the schedule, and after each barrier */
  kiln::array_t<kiln::binding_t> bindings;
  kiln::array_t<uint32_t> scratch_sizes; /* the distinct expressions of step_t::scratch */
  kiln::array_t<uint32_t> items;         /* those of step_t::items that depend on computed dims */
  kiln::expr_table_t exprs;
  uint32_t arena_size, arena_lower_bound; /* expressions */
  uint64_t counter_bytes;                 /* of the barrier interval that has most */

  /* Regions of its own: inputs, outputs, states, arena. */
  uint32_t first_output() const { return inputs.count; }
  uint32_t first_state() const { return inputs.count + outputs.count; }
  uint32_t arena_region() const { return first_state() + states.count; }
  uint32_t region_count() const { return arena_region() + 1; }
};

struct kiln_model {
  kiln::mapping_t mapping;
  kiln::container_t container;
  const kiln::schema::Program *program;
  const kiln::schema::Image *chosen; /* of program->images() */
  kiln::image_t image;
  kiln::array_t<kiln::region_t> weights;
  kiln::array_t<kiln_function> functions;
};

namespace kiln {

/* Verifies the flatbuffer in the program section and everything it says; chooses and maps a code
 * image; fills the model. On failure the caller closes the model. */
kiln_status_t program_load(kiln_model *model, kiln_error *error);

/* Chooses the first image whose machine and features the device has. */
kiln_status_t image_choose(const schema::Program &program, uint32_t *index, kiln_error *error);

/* Checks one function and fills it in; the model's image is mapped and its weights are known. */
kiln_status_t function_load(const kiln_model *model, const schema::Function &source,
                            kiln_function *function, kiln_error *error);
void function_release(kiln_function *function);

/* ---- Plans: a function's sizes and places for given dims. Errors do not name the function. ----
 */

/* All dims of a call, from the free ones, as memory is planned for them: those that depend on
 * computed dims at their largest. Checks bounds and requirements. */
kiln_status_t dims_plan(const kiln_function *function, const int64_t *free_dims, int64_t *dims,
                        kiln_error *error);

/* Whether a dim may have a value. */
kiln_status_t dim_check(const dim_t &dim, int64_t value, kiln_error *error);

uint64_t dtype_bytes(kiln_dtype_t dtype);

/* Bytes and number of elements of an input or output. */
kiln_status_t value_bytes(const value_t &value, const int64_t *dims, uint64_t *size_bytes,
                          uint64_t *elements, kiln_error *error);

/* Evaluates all expressions into values[exprs.count] and the sizes of the function's own regions
 * into regions[region_count()]; the bases are left alone. */
kiln_status_t plan_evaluate(const kiln_function *function, const int64_t *dims, int64_t *values,
                            region_t *regions, kiln_error *error);

/* Checks that every binding lies inside its region and is aligned; writes the addresses to
 * buffers[bindings.count] when `buffers` is not NULL. */
kiln_status_t plan_bind(const kiln_function *function, const int64_t *values,
                        const region_t *regions, void **buffers, kiln_error *error);

} // namespace kiln

#endif /* KILN_CORE_MODEL_H */
