// Shares out the units of a launch. Each worker has the share that an even division gives it, and
// takes from its front: half of what is left, then half again, in pieces of at least an eighth, so
// that weights stream in order and a launch costs a handful of operations on a word that nobody
// else touches. A worker that has done its share takes half of what is left of the largest other
// one, from the back. So a slow core, or one that is late or not there at all, computes less.
//
// What is left of a share is one word, with the number of the launch it belongs to. A word of an
// earlier launch stands for a whole share: nobody has to prepare anything, and a share can be
// emptied before its owner gets there. A word of a later launch stands for an empty one: who moves
// on to the next launch has found all shares of this one empty. Words only shrink and numbers only
// grow, so that comparing the whole word is enough; items do not depend on each other, so that
// nothing else has to be ordered.

#include "core/share.h"

#include "core/model.h"

namespace kiln {

static_assert(max_steps <= max_launch_number, "a launch's number is its step's, from 1");

/* number << 44 | begin << 22 | end */
static uint64_t pack(uint32_t number, units_t left) {
  return (uint64_t)number << 44 | (uint64_t)left.begin << 22 | left.end;
}

static units_t whole_share(const kiln_pool *pool, uint32_t worker, launch_t launch) {
  uint64_t units = launch.units;
  return {(uint32_t)(units * worker / pool->workers),
          (uint32_t)(units * (worker + 1) / pool->workers)};
}

static units_t left_of(const kiln_pool *pool, uint32_t worker, launch_t launch, uint64_t word) {
  uint32_t number = (uint32_t)(word >> 44);
  if (number < launch.number)
    return whole_share(pool, worker, launch);
  if (number > launch.number)
    return {0, 0};
  return {(uint32_t)(word >> 22) & max_units, (uint32_t)word & max_units};
}

static bool take_own(kiln_pool *pool, uint32_t worker, launch_t launch, units_t *taken) {
  std::atomic<uint64_t> &share = pool->seats[worker].share;
  uint64_t word = share.load(std::memory_order_relaxed);
  for (;;) {
    units_t left = left_of(pool, worker, launch, word);
    uint32_t count = left.end - left.begin;
    if (count == 0)
      return false;
    uint32_t least = (launch.units / pool->workers + 7) / 8;
    uint32_t piece = (count + 1) / 2;
    piece = piece > least ? piece : least;
    piece = piece < count && launch.units >= 4 * pool->workers ? piece : count;
    *taken = {left.begin, left.begin + piece};
    if (share.compare_exchange_weak(word, pack(launch.number, {taken->end, left.end}),
                                    std::memory_order_relaxed))
      return true;
  }
}

static bool take_others(kiln_pool *pool, uint32_t worker, launch_t launch, units_t *taken) {
  for (;;) {
    uint32_t victim = worker;
    uint64_t victims_word = 0;
    units_t most = {0, 0};
    for (uint32_t i = 1; i < pool->workers; ++i) {
      uint32_t other = worker + i < pool->workers ? worker + i : worker + i - pool->workers;
      uint64_t word = pool->seats[other].share.load(std::memory_order_relaxed);
      units_t left = left_of(pool, other, launch, word);
      if (left.end - left.begin > most.end - most.begin) {
        most = left;
        victim = other;
        victims_word = word;
      }
    }
    if (victim == worker)
      return false;
    *taken = {most.begin + (most.end - most.begin) / 2, most.end};
    if (pool->seats[victim].share.compare_exchange_strong(
            victims_word, pack(launch.number, {most.begin, taken->begin}),
            std::memory_order_relaxed))
      return true;
  }
}

void shares_reset(kiln_pool *pool) {
  for (uint32_t worker = 0; worker < pool->workers; ++worker)
    pool->seats[worker].share.store(0, std::memory_order_relaxed);
}

bool share_take(kiln_pool *pool, uint32_t worker, launch_t launch, units_t *units) {
  return take_own(pool, worker, launch, units) || take_others(pool, worker, launch, units);
}

} // namespace kiln
