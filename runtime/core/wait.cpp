// Sleeping. A sleeper announces itself before it looks a last time, and the one who changes things
// looks for sleepers afterwards, both in sequentially consistent order, so that no wake-up is lost
// and no system call is made when nobody sleeps. The bell's counter closes the gap between the last
// look and the sleep: a ring in between makes the kernel refuse the sleep.

#include "core/wait.h"

#include <time.h>

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace kiln {

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

#if defined(__linux__)

bool bell_init(bell_t *) { return true; }
void bell_destroy(bell_t *) {}

static void sleep_while(bell_t *bell, uint32_t rings) {
  syscall(SYS_futex, &bell->rings, FUTEX_WAIT_PRIVATE, rings, nullptr, nullptr, 0);
}

static void wake_all(bell_t *bell) {
  bell->rings.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &bell->rings, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

#else

bool bell_init(bell_t *bell) {
  if (pthread_mutex_init(&bell->mutex, nullptr) != 0)
    return false;
  if (pthread_cond_init(&bell->rung, nullptr) == 0)
    return true;
  pthread_mutex_destroy(&bell->mutex);
  return false;
}

void bell_destroy(bell_t *bell) {
  pthread_cond_destroy(&bell->rung);
  pthread_mutex_destroy(&bell->mutex);
}

static void sleep_while(bell_t *bell, uint32_t rings) {
  pthread_mutex_lock(&bell->mutex);
  while (bell->rings.load(std::memory_order_relaxed) == rings)
    pthread_cond_wait(&bell->rung, &bell->mutex);
  pthread_mutex_unlock(&bell->mutex);
}

static void wake_all(bell_t *bell) {
  pthread_mutex_lock(&bell->mutex);
  bell->rings.fetch_add(1, std::memory_order_release);
  pthread_cond_broadcast(&bell->rung);
  pthread_mutex_unlock(&bell->mutex);
}

#endif

void bell_ring(bell_t *bell) {
  if (bell->sleepers.load(std::memory_order_seq_cst) != 0)
    wake_all(bell);
}

void bell_sleep(bell_t *bell, bool (*changed)(const void *context), const void *context) {
  bell->sleepers.fetch_add(1, std::memory_order_seq_cst);
  for (;;) {
    uint32_t rings = bell->rings.load(std::memory_order_acquire);
    if (changed(context))
      break;
    sleep_while(bell, rings);
  }
  bell->sleepers.fetch_sub(1, std::memory_order_relaxed);
}

} // namespace kiln
