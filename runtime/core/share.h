/* Who computes which items of a launch. */
#ifndef KILN_CORE_SHARE_H
#define KILN_CORE_SHARE_H

#include "core/pool.h"

namespace kiln {

/* A launch as the workers share it: its number in the schedule, from 1 (launches of a job are met
 * in ascending order), and how many units of work it has. */
struct launch_t {
  uint32_t number; /* at most max_launch_number */
  uint32_t units;  /* at most max_units */
};
constexpr uint32_t max_launch_number = (1u << 20) - 1;
constexpr uint32_t max_units = (1u << 22) - 1;

struct units_t {
  uint32_t begin, end;
};

/* Before a job: nothing of its launches has been taken. */
void shares_reset(kiln_pool *pool);

/* Takes some units of a launch for the worker; false when none are left. */
bool share_take(kiln_pool *pool, uint32_t worker, launch_t launch, units_t *units);

} // namespace kiln

#endif /* KILN_CORE_SHARE_H */
