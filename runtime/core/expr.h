/* Expressions of the dims: sizes, offsets and item counts. */
#ifndef KILN_CORE_EXPR_H
#define KILN_CORE_EXPR_H

#include "core/array.h"

#include <stdint.h>

namespace kiln {

namespace schema {
struct Expr;
}

constexpr uint32_t max_expr_length = 256;
constexpr uint32_t max_expr_depth = 16;
constexpr uint32_t no_expr = UINT32_MAX;

struct expr_op_t {
  int64_t arg;
  uint32_t op; /* schema::ExprOp */
};

struct expr_t {
  uint32_t first; /* in expr_table_t::ops */
  uint32_t length;
};

/* The distinct expressions of one function. Layers of a model are alike, so that hundreds of
 * bindings share a few dozen expressions, each evaluated once per call. */
struct expr_table_t {
  array_t<expr_op_t> ops;
  array_t<expr_t> exprs;
  uint32_t *slots; /* open-addressing hash table of expr ids; only while opening */
  uint32_t slot_count;
};

/* Checks stack discipline, depth, length and dim indices. NULL when sound, else what is wrong. */
const char *expr_check(const schema::Expr &expr, uint32_t dim_count);

/* Adds a sound expression, or finds its equal. False when memory is short. */
bool expr_table_add(expr_table_t *table, const schema::Expr &expr, uint32_t *id);
/* Frees what only adding needs. */
void expr_table_seal(expr_table_t *table);
void expr_table_release(expr_table_t *table);

/* Evaluates a sound expression. NULL on success, else what went wrong: overflow, division by zero
 * or a negative result. */
const char *expr_evaluate(const expr_table_t &table, uint32_t id, const int64_t *dims,
                          int64_t *value);

/* Inclusive. */
struct range_t {
  int64_t low, high;
};

/* The values, negative ones too, that a sound expression can have while its dims lie in ranges: no
 * fewer, in sums of one dim's multiples more. NULL on success, else what can go wrong. */
const char *expr_range(const expr_table_t &table, uint32_t id, const range_t *dims, range_t *value);

/* Whether all dims that an expression names are marked. */
bool expr_names_only(const expr_table_t &table, uint32_t id, const uint8_t *marks);

} // namespace kiln

#endif /* KILN_CORE_EXPR_H */
