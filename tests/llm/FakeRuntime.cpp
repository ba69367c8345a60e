// Defines the functions of kiln.h that the language-model layer uses; see FakeRuntime.h.

#include "FakeRuntime.h"

#include "kiln/artifact.h"
#include "program_generated.h"
#include "tokenizer_generated.h"

#include <cstring>

using namespace kiln::test;
namespace schema = kiln::schema;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

FakeRuntime *kiln::test::currentRuntime = nullptr;

static std::vector<uint8_t> bytesOf(const FlatBufferBuilder &builder) {
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

template <typename T> static auto emptyVector(FlatBufferBuilder &builder) {
  return builder.CreateVector(std::vector<Offset<T>>());
}

static std::vector<uint8_t> makeProgram() {
  FlatBufferBuilder builder;
  std::vector<int32_t> ends = {fakeEnd};
  auto model =
      schema::CreateLanguageModelDirect(builder, "decode", fakeVocabulary, fakeContext, fakePage,
                                        fakeBegin, &ends, true, 0.5f, 40, 1, 1, fakeLayers);
  auto functions = emptyVector<schema::Function>(builder);
  auto kernels = emptyVector<schema::Kernel>(builder);
  auto images = emptyVector<schema::Image>(builder);
  auto weights = emptyVector<schema::Weight>(builder);
  auto facts = emptyVector<schema::Fact>(builder);
  schema::ProgramBuilder program(builder);
  program.add_functions(functions);
  program.add_kernels(kernels);
  program.add_images(images);
  program.add_weights(weights);
  program.add_facts(facts);
  program.add_language_model(model);
  builder.Finish(program.Finish(), schema::ProgramIdentifier());
  return bytesOf(builder);
}

static std::vector<uint8_t> makeTokenizer() {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte)
    texts.push_back(std::string(1, static_cast<char>(byte)));
  texts.insert(texts.end(), {"<s>", "</s>", "<a>", "<b>"});
  std::vector<uint32_t> offsets = {0}, slots(1024, UINT32_MAX);
  std::vector<uint8_t> bytes;
  for (uint32_t id = 0; id < texts.size(); ++id) {
    const std::string &text = texts[id]; // of less than 8 bytes: one group
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(static_cast<uint32_t>(bytes.size()));
    uint64_t hash = 0x9e3779b97f4a7c15u ^ text.size(), group = 0;
    std::memcpy(&group, text.data(), text.size());
    hash = (hash ^ group) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
    uint64_t slot = (hash & 0xffffffffu) * slots.size() >> 32;
    while (slots[slot] != UINT32_MAX)
      slot = (slot + 1) % slots.size();
    slots[slot] = id | static_cast<uint32_t>(hash >> 53) << 21;
  }
  FlatBufferBuilder builder;
  auto text = [&](const char *characters) {
    return builder.CreateVector(reinterpret_cast<const uint8_t *>(characters),
                                std::strlen(characters));
  };
  std::vector<Offset<schema::AddedToken>> added = {
      schema::CreateAddedToken(builder, text("</s>"), fakeEnd, true),
      schema::CreateAddedToken(builder, text("<s>"), fakeBegin, true)};
  auto automata = emptyVector<schema::Automaton>(builder);
  auto tries = emptyVector<schema::Trie>(builder);
  auto maps = emptyVector<schema::CharacterMap>(builder);
  auto normalizations = emptyVector<schema::Normalization>(builder);
  auto rewritings = emptyVector<schema::Rewriting>(builder);
  auto normalizer = emptyVector<schema::TextStep>(builder);
  auto preTokenizer = emptyVector<schema::TextStep>(builder);
  auto addedTokens = builder.CreateVector(added);
  auto normalizedAdded = emptyVector<schema::AddedToken>(builder);
  auto tokenOffsets = builder.CreateVector(offsets);
  auto tokenBytes = builder.CreateVector(bytes);
  auto special = builder.CreateVector(std::vector<uint32_t>{fakeBegin, fakeEnd});
  auto vocabulary = builder.CreateVector(slots);
  auto merges = builder.CreateVector(std::vector<uint64_t>{UINT64_MAX});
  auto prefix = builder.CreateVector(std::vector<uint32_t>{fakeBegin});
  auto suffix = builder.CreateVector(std::vector<uint32_t>{fakeEnd});
  auto decoder = schema::CreateDecoder(builder);
  schema::TokenizerBuilder root(builder);
  root.add_version(2);
  root.add_automata(automata);
  root.add_tries(tries);
  root.add_maps(maps);
  root.add_normalizations(normalizations);
  root.add_rewritings(rewritings);
  root.add_normalizer(normalizer);
  root.add_pre_tokenizer(preTokenizer);
  root.add_added_tokens(addedTokens);
  root.add_normalized_added_tokens(normalizedAdded);
  root.add_token_offsets(tokenOffsets);
  root.add_token_bytes(tokenBytes);
  root.add_special_ids(special);
  root.add_vocabulary(vocabulary);
  root.add_byte_level(true);
  root.add_merges(merges);
  root.add_prefix(prefix);
  root.add_suffix(suffix);
  root.add_decoder(decoder);
  builder.Finish(root.Finish(), schema::TokenizerIdentifier());
  return bytesOf(builder);
}

FakeRuntime::FakeRuntime() : program(makeProgram()), tokenizer(makeTokenizer()) {
  currentRuntime = this;
}
kiln_model_t *FakeRuntime::model() { return reinterpret_cast<kiln_model_t *>(this); }
kiln_pool_t *FakeRuntime::pool() { return reinterpret_cast<kiln_pool_t *>(this); }

int32_t kiln::test::fakeNext(const std::vector<int32_t> &tokens) {
  if (static_cast<int32_t>(tokens.size()) == currentRuntime->endAfter)
    return fakeEnd;
  uint32_t hash = 7;
  for (int32_t token : tokens)
    hash = hash * 31 + static_cast<uint32_t>(token) + 1;
  return static_cast<int32_t>('a' + hash % 26);
}

static const kiln_function_t *theFunction() {
  return reinterpret_cast<const kiln_function_t *>(currentRuntime);
}

uint64_t kiln_model_fingerprint(const kiln_model_t *) { return currentRuntime->fingerprint; }
void kiln_model_close(kiln_model_t *) {}
void kiln_pool_destroy(kiln_pool_t *) {}
uint32_t kiln_pool_workers(const kiln_pool_t *) { return 2; }

kiln_status_t kiln_model_section(const kiln_model_t *, uint32_t kind, const void **data,
                                 size_t *size) {
  const std::vector<uint8_t> &bytes =
      kind == KILN_SECTION_PROGRAM ? currentRuntime->program : currentRuntime->tokenizer;
  if (bytes.empty())
    return KILN_NOT_FOUND;
  *data = bytes.data();
  *size = bytes.size();
  return KILN_OK;
}

const kiln_function_t *kiln_model_function(const kiln_model_t *, const char *name) {
  return currentRuntime->hasFunction && std::strcmp(name, "decode") == 0 ? theFunction() : nullptr;
}
const char *kiln_function_name(const kiln_function_t *) { return "decode"; }
size_t kiln_function_dim_count(const kiln_function_t *) { return currentRuntime->dims.size(); }
size_t kiln_function_input_count(const kiln_function_t *) { return currentRuntime->inputs.size(); }
size_t kiln_function_output_count(const kiln_function_t *) { return 1; }
size_t kiln_function_state_count(const kiln_function_t *) { return currentRuntime->states; }

kiln_status_t kiln_function_dim(const kiln_function_t *, size_t index, kiln_dim_info *info) {
  const int64_t least[] = {1, currentRuntime->minRows, 1, 1, 1};
  const int64_t most[] = {fakeChunk, fakeChunk, 4, 64, 64};
  *info = {currentRuntime->dims[index].c_str(), least[index], most[index]};
  return KILN_OK;
}

kiln_status_t kiln_function_input(const kiln_function_t *, size_t index, kiln_value_info *info) {
  *info = {};
  info->name = currentRuntime->inputs[index].c_str();
  info->dtype = currentRuntime->inputType;
  info->rank = index == 3 ? 2 : 1;
  info->dim[0] = index == 3 ? 2 : index == 4 ? 1 : 0;
  info->dim[1] = 3;
  return KILN_OK;
}

kiln_status_t kiln_function_output(const kiln_function_t *, size_t, kiln_value_info *info) {
  *info = {};
  info->name = "logits";
  info->dtype = KILN_F32;
  info->rank = 2;
  info->dim[0] = 1;
  info->dim[1] = -1;
  info->extent[1] = currentRuntime->vocabulary;
  return KILN_OK;
}

kiln_status_t kiln_function_memory(const kiln_function_t *, const int64_t *dims, uint32_t workers,
                                   kiln_memory_needs *needs, kiln_error *) {
  *needs = {};
  // Not growing with n, as a plan of specialised kernels need not.
  needs->workspace_bytes = static_cast<uint64_t>(64 * (100 - dims[0]) + workers);
  return KILN_OK;
}

kiln_status_t kiln_function_state_bytes(const kiln_function_t *, size_t, const int64_t *dims,
                                        uint64_t *size, kiln_error *) {
  *size = static_cast<uint64_t>(dims[4]) * fakeLayers * fakePage * sizeof(int32_t);
  return KILN_OK;
}

kiln_status_t kiln_call(kiln_pool_t *, const kiln_function_t *, const kiln_call_t *call,
                        kiln_error *) {
  if (currentRuntime->onCall)
    currentRuntime->onCall(currentRuntime->calls);
  if (currentRuntime->calls++ == currentRuntime->failAtCall)
    return KILN_CANCELLED;
  currentRuntime->tokens += call->dims[0];
  if (call->progress && call->progress(call->progress_user, 0, 1) != 0)
    return KILN_CANCELLED;
  const int64_t *d = call->dims;
  int64_t n = d[0], m = d[1], s = d[2], b = d[3], p = d[4];
  const auto input = [&](int i) { return static_cast<const int32_t *>(call->inputs[i].data); };
  const int32_t *tokens = input(0), *positions = input(1), *slots = input(2), *table = input(3),
                *rows = input(4);
  const int64_t elements[] = {n, n, n, s * b, m};
  for (int i = 0; i < 5; ++i)
    if (call->inputs[i].size_bytes != static_cast<uint64_t>(elements[i]) * 4)
      return KILN_BUFFER_TOO_SMALL;
  auto *cache = static_cast<int32_t *>(call->states[0].data);
  if (call->states[0].size_bytes < static_cast<uint64_t>(p) * fakeLayers * fakePage * 4 ||
      call->outputs[0].size_bytes < static_cast<uint64_t>(m) * fakeVocabulary * 4 ||
      call->workspace.size_bytes < static_cast<uint64_t>(64 * (100 - n) + 2))
    return KILN_BUFFER_TOO_SMALL;
  for (int64_t i = 0; i < s * b; ++i)
    if (table[i] < 0 || table[i] >= p)
      return KILN_INDEX_OUT_OF_RANGE;
  const auto cell = [&](int32_t layer, int32_t slot, int32_t position) -> int32_t & {
    int64_t page = layer * p + table[slot * b + position / static_cast<int32_t>(fakePage)];
    return cache[page * static_cast<int32_t>(fakePage) + position % static_cast<int32_t>(fakePage)];
  };
  for (int64_t i = 0; i < n; ++i)
    for (uint32_t layer = 0; layer < fakeLayers; ++layer)
      cell(layer, slots[i], positions[i]) = tokens[i] + 1000 * static_cast<int32_t>(layer);
  auto *logits = static_cast<float *>(call->outputs[0].data);
  for (int64_t r = 0; r < m; ++r) {
    std::vector<int32_t> history;
    for (int32_t t = 0; t <= positions[rows[r]]; ++t) {
      history.push_back(cell(0, slots[rows[r]], t));
      for (uint32_t layer = 1; layer < fakeLayers; ++layer)
        if (cell(layer, slots[rows[r]], t) - int64_t(1000) * layer != history.back())
          return KILN_CORRUPT; // the layers of a page have come apart
    }
    for (int32_t v = 0; v < fakeVocabulary; ++v)
      logits[r * fakeVocabulary + v] = v == fakeNext(history) ? 10.0f : 1.0f;
  }
  return KILN_OK;
}
