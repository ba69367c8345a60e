// A stand-in for the runtime's core, linked in its place: a model with a tokenizer of single bytes
// and a decoder function that checks the contract between the language-model layer and a real
// decoder.
//
// The "KV cache" holds one int32 per position and layer. A call stores each token at its position
// through the block table; the logits of a row depend on every token of its sequence, read back
// through the block table, so that a wrong page, position or slot changes the answer or fails the
// call.

#ifndef KILN_TESTS_LLM_FAKERUNTIME_H
#define KILN_TESTS_LLM_FAKERUNTIME_H

#include "kiln/llm.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kiln::test {

constexpr int32_t fakeVocabulary = 260; // 256 bytes, then <s>, </s> and two more
constexpr int32_t fakeBegin = 256, fakeEnd = 257;
constexpr uint32_t fakePage = 4, fakeContext = 30, fakeChunk = 8, fakeLayers = 2;

struct FakeRuntime {
  FakeRuntime();
  std::vector<uint8_t> program, tokenizer;
  kiln_model_t *model();
  kiln_pool_t *pool();

  // What the function looks like; a test may spoil it.
  std::vector<std::string> dims = {"n", "m", "s", "b", "p"};
  std::vector<std::string> inputs = {"tokens", "positions", "slots", "block_table", "out_rows"};
  kiln_dtype_t inputType = KILN_I32;
  int64_t vocabulary = fakeVocabulary;
  int64_t minRows = 0;
  uint32_t states = 1;
  bool hasFunction = true;

  // Calls made, and what to do in the next ones.
  int calls = 0;
  int64_t tokens = 0; // evaluated in all calls
  std::function<void(int)> onCall;
  uint64_t fingerprint = 0x123456789;
  int failAtCall = -1;   // fails with KILN_CANCELLED
  int32_t endAfter = -1; // the end token is the answer to this many tokens
};

/// The runtime that the linked-in functions answer from.
extern FakeRuntime *currentRuntime;

/// The token that the fake decoder finds most likely after these.
int32_t fakeNext(const std::vector<int32_t> &tokens);

} // namespace kiln::test

#endif // KILN_TESTS_LLM_FAKERUNTIME_H
