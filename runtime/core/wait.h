/* Waiting for something to change: by looking, then by sleeping in the kernel. */
#ifndef KILN_CORE_WAIT_H
#define KILN_CORE_WAIT_H

#include <atomic>
#include <stdint.h>

#if !defined(__linux__)
#include <pthread.h>
#endif

namespace kiln {

/* Where threads sleep until somebody rings. */
struct bell_t {
  std::atomic<uint32_t> rings;
  std::atomic<uint32_t> sleepers;
#if !defined(__linux__)
  pthread_mutex_t mutex;
  pthread_cond_t rung;
#endif
};

bool bell_init(bell_t *bell);
void bell_destroy(bell_t *bell);

/* Wakes all sleepers. What made the change must have been a sequentially consistent operation;
 * costs a look when nobody sleeps. */
void bell_ring(bell_t *bell);

/* Sleeps until `changed(context)` holds, which must look with sequential consistency. */
void bell_sleep(bell_t *bell, bool (*changed)(const void *context), const void *context);

/* A pause of the CPU, kind to its other hardware thread. */
inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); // yield is a no-op on most cores
#endif
}

uint64_t now_ns();

} // namespace kiln

#endif /* KILN_CORE_WAIT_H */
