/* Kiln runtime: opens a compiled artifact and calls its functions.
 *
 * C ABI. No function throws, prints, aborts or exits. Every fallible call returns a status; the
 * text that names the thing at fault is copied into the caller's kiln_error when one is given.
 * Nothing is allocated after kiln_model_open_* and kiln_pool_create: a call's memory belongs to the
 * caller, who learns the size beforehand. Native code inside an artifact is trusted like any
 * program; its data is not: everything is verified at open.
 *
 * A model is immutable after opening and may be used from any number of threads at once. A pool
 * runs one call at a time.
 */
#ifndef KILN_KILN_H
#define KILN_KILN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

typedef enum kiln_status_t {
#define KILN_STATUS(name, code, text) KILN_##name = code,
#include "kiln/status.def"
#undef KILN_STATUS
} kiln_status_t;

/* The fixed text of a status; never NULL. */
const char *kiln_status_text(kiln_status_t status);

/* Filled by a failing call: what was expected, what was found, where. Zero-terminated. */
typedef struct kiln_error {
  char text[256];
} kiln_error;

/* ---- Device ------------------------------------------------------------------------------ */

/* The CPU features of this device, in LLVM's spelling ("avx2", "dotprod"): fills `names` up to its
 * capacity and returns how many there are. The names live as long as the program. */
size_t kiln_host_features(const char **names, size_t capacity);

/* ---- Model ------------------------------------------------------------------------------- */

typedef struct kiln_model kiln_model_t;

/* Maps the file (read-only, shared); the path is used in errors. */
kiln_status_t kiln_model_open_path(const char *path, kiln_model_t **model, kiln_error *error);
/* Maps `size` bytes of an open file from `offset` (a multiple of the page size; an Android asset,
 * say). size 0 means to the end. The descriptor may be closed afterwards. */
kiln_status_t kiln_model_open_fd(int fd, uint64_t offset, uint64_t size, kiln_model_t **model,
                                 kiln_error *error);
/* Uses the caller's memory in place, which must outlive the model and be aligned to 64 bytes. */
kiln_status_t kiln_model_open_memory(const void *data, size_t size, kiln_model_t **model,
                                     kiln_error *error);
void kiln_model_close(kiln_model_t *model); /* NULL is allowed */

/* Reads all weights once and compares their checksum. */
kiln_status_t kiln_model_verify_weights(const kiln_model_t *model, kiln_error *error);

/* Facts recorded at compile time ("architecture", "license", …). NULL where absent. */
const char *kiln_model_fact(const kiln_model_t *model, const char *key);
/* A number that differs between artifacts which differ in any byte of a section (the checksum of
 * the section table, which holds the checksums of all sections). */
uint64_t kiln_model_fingerprint(const kiln_model_t *model);
/* The name of the code image chosen for this device ("x86-64-v4"). */
const char *kiln_model_target(const kiln_model_t *model);
/* A section's bytes inside the mapping, for layers above (kinds of kiln/artifact.h).
 * KILN_NOT_FOUND where the artifact has none. */
kiln_status_t kiln_model_section(const kiln_model_t *model, uint32_t kind, const void **data,
                                 size_t *size);

/* ---- Functions --------------------------------------------------------------------------- */

typedef struct kiln_function kiln_function_t; /* belongs to its model */

typedef enum kiln_dtype_t {
  KILN_F32 = 0,
  KILN_F16 = 1,
  KILN_BF16 = 2,
  KILN_I32 = 3,
  KILN_I64 = 4,
  KILN_U8 = 5,
  KILN_I8 = 6,
  KILN_U16 = 7,
  KILN_U32 = 8,
  KILN_U64 = 9,
  KILN_I16 = 10,
  KILN_F64 = 11,
  KILN_BOOL = 12, /* a byte, 0 or 1 */
  KILN_F8E4M3FN = 13,
  KILN_F8E4M3FNUZ = 14,
  KILN_F8E5M2 = 15,
  KILN_F8E5M2FNUZ = 16,
  KILN_I4 = 17,     /* a byte each, -8 to 7 */
  KILN_U4 = 18,     /* a byte each, 0 to 15 */
  KILN_I2 = 19,     /* a byte each, -2 to 1 */
  KILN_U2 = 20,     /* a byte each, 0 to 3 */
  KILN_F4E2M1 = 21, /* a byte each, the code in its low bits */
  KILN_F8E8M0 = 22,
} kiln_dtype_t;

#define KILN_MAX_RANK 8

typedef struct kiln_dim_info {
  const char *name;
  int64_t min, max; /* inclusive */
} kiln_dim_info;

typedef struct kiln_value_info {
  const char *name;
  kiln_dtype_t dtype;
  uint32_t rank;
  int32_t dim[KILN_MAX_RANK];    /* index of the function's dim, or -1 where the extent is fixed */
  int64_t extent[KILN_MAX_RANK]; /* the fixed extent */
} kiln_value_info;

size_t kiln_model_function_count(const kiln_model_t *model);
const kiln_function_t *kiln_model_function_at(const kiln_model_t *model,
                                              size_t index); /* or NULL */
const kiln_function_t *kiln_model_function(const kiln_model_t *model,
                                           const char *name); /* or NULL */

const char *kiln_function_name(const kiln_function_t *function);

/* Dims that the caller gives: the free ones. They come first among all dims of the function;
 * behind them are those that follow from others, and those that the function computes itself.
 * `kiln_function_dim` tells about all, and so do the shapes of inputs and outputs. */
size_t kiln_function_dim_count(const kiln_function_t *function);
size_t kiln_function_all_dim_count(const kiln_function_t *function);
/* All dims of a call with these free ones (kiln_function_dim_count values in,
 * kiln_function_all_dim_count out): of computed dims, and of those that depend on them, the largest
 * value that they can have. Sizes of inputs are exact with them; outputs need as much room. What
 * the call found instead is in kiln_call_t::dims_after. Fails as kiln_call does where a dim is out
 * of bounds, or two dims differ that the model needs equal. */
kiln_status_t kiln_function_all_dims(const kiln_function_t *function, const int64_t *dims,
                                     int64_t *all_dims, kiln_error *error);
size_t kiln_function_input_count(const kiln_function_t *function);
size_t kiln_function_output_count(const kiln_function_t *function);
size_t kiln_function_state_count(const kiln_function_t *function);
kiln_status_t kiln_function_dim(const kiln_function_t *function, size_t index, kiln_dim_info *info);
kiln_status_t kiln_function_input(const kiln_function_t *function, size_t index,
                                  kiln_value_info *info);
kiln_status_t kiln_function_output(const kiln_function_t *function, size_t index,
                                   kiln_value_info *info);

/* Bytes the caller must provide for a call with these dims (one value per free dim). State sizes
 * must be asked with the same values of the dims they depend on as the calls will use. */
typedef struct kiln_memory_needs {
  uint64_t arena_bytes;             /* planned activations */
  uint64_t arena_lower_bound_bytes; /* the largest sum of buffers live at once, for reports */
  uint64_t scratch_bytes;           /* per worker */
  uint64_t workspace_bytes; /* what kiln_call wants: arena, scratch of `workers` workers, and the
                               evaluated plan */
} kiln_memory_needs;
kiln_status_t kiln_function_memory(const kiln_function_t *function, const int64_t *dims,
                                   uint32_t workers, kiln_memory_needs *needs, kiln_error *error);
kiln_status_t kiln_function_state_bytes(const kiln_function_t *function, size_t index,
                                        const int64_t *dims, uint64_t *size_bytes,
                                        kiln_error *error);

/* ---- Workers ----------------------------------------------------------------------------- */

typedef struct kiln_pool kiln_pool_t;

/* The caller of kiln_call is the first worker; threads are started for the others. 0 means the
 * number of physical cores this process may use, no more than the CPU time its container grants.
 * More workers than CPUs would only take turns: those beyond are not started (see
 * kiln_pool_workers). Threads look for work for a millisecond after a call and then sleep. */
kiln_status_t kiln_pool_create(uint32_t workers, kiln_pool_t **pool, kiln_error *error);
uint32_t kiln_pool_workers(const kiln_pool_t *pool);
void kiln_pool_destroy(kiln_pool_t *pool); /* NULL is allowed */

/* ---- Calls ------------------------------------------------------------------------------- */

typedef struct kiln_buffer {
  void *data; /* aligned to 64 bytes for states and workspace; to the element size otherwise */
  uint64_t size_bytes;
} kiln_buffer;

/* Called by the first worker between steps; a non-zero result cancels the call. `steps_done` is the
 * place in the schedule, and goes back where it has a loop. A function whose loop never ends can
 * only be stopped by this. */
typedef int (*kiln_progress_fn)(void *user, uint32_t steps_done, uint32_t steps_total);

/* Nanoseconds each launch took on the first worker, barrier wait included, when profiling. */
typedef struct kiln_profile {
  uint64_t *step_ns; /* kiln_function_step_count entries, added to */
  size_t step_count;
} kiln_profile;

typedef struct kiln_call_t {
  const int64_t *dims;        /* kiln_function_dim_count values: the free dims */
  const kiln_buffer *inputs;  /* kiln_function_input_count */
  const kiln_buffer *outputs; /* kiln_function_output_count */
  const kiln_buffer *states;  /* kiln_function_state_count */
  kiln_buffer workspace;
  kiln_progress_fn progress; /* may be NULL */
  void *progress_user;
  kiln_profile *profile; /* may be NULL */
  /* NULL, or kiln_function_all_dim_count values to be filled in: all dims as they are at the end.
   * An output is dense with these extents, from the beginning of its buffer. */
  int64_t *dims_after;
} kiln_call_t;

/* Checks dims, buffer sizes and index inputs, then runs the function. KILN_DIM_OUT_OF_BOUNDS may
 * also come while it runs: the function computed a dim that is outside its bounds. After that, and
 * after KILN_CANCELLED, outputs and states hold unspecified values. */
kiln_status_t kiln_call(kiln_pool_t *pool, const kiln_function_t *function, const kiln_call_t *call,
                        kiln_error *error);

/* For profiles and inspection. */
size_t kiln_function_step_count(const kiln_function_t *function);
const char *kiln_function_step_name(const kiln_function_t *function,
                                    size_t step); /* "" for all but a launch */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* KILN_KILN_H */
