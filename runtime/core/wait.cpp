// Spin, yield, sleep. Within a call workers meet every few microseconds and a system call would
// cost more than the wait; between calls they must not burn the battery. A sleeper announces itself
// before it looks at the word a last time, and the changer looks for sleepers after changing the
// word, both in sequentially consistent order, so that no wake-up is lost and no system call is
// made when nobody sleeps.

#include "core/wait.h"

#include <sched.h>

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace kiln {

static void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); // yield is a no-op on most cores
#endif
}

#if defined(__linux__)

bool wait_word_init(wait_word_t *) { return true; }
void wait_word_destroy(wait_word_t *) {}

static void sleep_while(wait_word_t *word, uint32_t old) {
  syscall(SYS_futex, &word->value, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
}

static void wake_all(wait_word_t *word) {
  syscall(SYS_futex, &word->value, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

#else

bool wait_word_init(wait_word_t *word) {
  if (pthread_mutex_init(&word->mutex, nullptr) != 0)
    return false;
  if (pthread_cond_init(&word->changed, nullptr) == 0)
    return true;
  pthread_mutex_destroy(&word->mutex);
  return false;
}

void wait_word_destroy(wait_word_t *word) {
  pthread_cond_destroy(&word->changed);
  pthread_mutex_destroy(&word->mutex);
}

static void sleep_while(wait_word_t *word, uint32_t old) {
  pthread_mutex_lock(&word->mutex);
  while (word->value.load(std::memory_order_seq_cst) == old)
    pthread_cond_wait(&word->changed, &word->mutex);
  pthread_mutex_unlock(&word->mutex);
}

static void wake_all(wait_word_t *word) {
  pthread_mutex_lock(&word->mutex);
  pthread_cond_broadcast(&word->changed);
  pthread_mutex_unlock(&word->mutex);
}

#endif

static constexpr uint32_t yields_before_sleep = 8;

void wait_word_wait(wait_word_t *word, uint32_t old, uint32_t spins) {
  for (uint32_t i = 0; i < spins; ++i) {
    if (word->value.load(std::memory_order_acquire) != old)
      return;
    pause_cpu();
  }
  for (uint32_t i = 0; i < yields_before_sleep; ++i) {
    if (word->value.load(std::memory_order_acquire) != old)
      return;
    sched_yield();
  }
  word->sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (word->value.load(std::memory_order_seq_cst) == old)
    sleep_while(word, old);
  word->sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void wait_word_advance(wait_word_t *word) {
  word->value.fetch_add(1, std::memory_order_seq_cst);
  if (word->sleepers.load(std::memory_order_seq_cst) != 0)
    wake_all(word);
}

} // namespace kiln
