/* Waiting for a word to change: first by spinning, then by sleeping in the kernel. */
#ifndef KILN_CORE_WAIT_H
#define KILN_CORE_WAIT_H

#include <atomic>
#include <stdint.h>

#if !defined(__linux__)
#include <pthread.h>
#endif

namespace kiln {

/* A word that some threads wait on and one changes. */
struct wait_word_t {
  std::atomic<uint32_t> value;
  std::atomic<uint32_t> sleepers;
#if !defined(__linux__)
  pthread_mutex_t mutex;
  pthread_cond_t changed;
#endif
};

bool wait_word_init(wait_word_t *word);
void wait_word_destroy(wait_word_t *word);

/* Returns once the word differs from `old`, having acquired what the changer wrote before. Looks
 * `spins` times before it lets other threads run, and then sleeps. */
void wait_word_wait(wait_word_t *word, uint32_t old, uint32_t spins);

/* Adds one to the word, releasing what the caller wrote, and wakes all sleepers. */
void wait_word_advance(wait_word_t *word);

} // namespace kiln

#endif /* KILN_CORE_WAIT_H */
