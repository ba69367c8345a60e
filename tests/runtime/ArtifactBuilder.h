// Builds small artifacts for tests, in plain C++: a program as the object form of the flatbuffer,
// which a test changes as it likes, and a writer of the container around it. The compiler has a
// writer of its own; this one is kept apart so that each checks the other's reading of the format.
#ifndef KILN_TESTS_RUNTIME_ARTIFACT_BUILDER_H
#define KILN_TESTS_RUNTIME_ARTIFACT_BUILDER_H

#include "kiln/abi.h"
#include "kiln/artifact.h"
#include "kiln/kiln.h"
#include "loader/features.h"

#include "program_objects_generated.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace kiln::test {

using Bytes = std::vector<uint8_t>;

/* Memory at the alignment that the runtime asks for, zeroed. */
class AlignedBytes {
public:
  explicit AlignedBytes(size_t size = 0) : size_(size), data_(nullptr, &std::free) {
    data_.reset(static_cast<uint8_t *>(
        std::aligned_alloc(KILN_BUFFER_ALIGNMENT, (size + KILN_BUFFER_ALIGNMENT) / 64 * 64)));
    std::memset(data_.get(), 0, size);
  }
  explicit AlignedBytes(const Bytes &bytes) : AlignedBytes(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), data_.get());
  }
  template <typename T = uint8_t> T *data() { return reinterpret_cast<T *>(data_.get()); }
  size_t size() const { return size_; }
  kiln_buffer buffer() { return {data_.get(), size_}; }

private:
  size_t size_;
  std::unique_ptr<uint8_t, decltype(&std::free)> data_;
};

inline Bytes readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

/* ---- Expressions ---- */

using schema::ExprOp;
using ExprPtr = std::unique_ptr<schema::ExprT>;

/* A postfix program: {{schema::ExprOp_dim, 0}, {schema::ExprOp_constant, 4}, …}. */
inline ExprPtr expr(const std::vector<std::pair<ExprOp, int64_t>> &ops) {
  auto result = std::make_unique<schema::ExprT>();
  for (auto [op, arg] : ops) {
    result->code.push_back(op);
    result->args.push_back(arg);
  }
  return result;
}
inline ExprPtr constant(int64_t value) { return expr({{schema::ExprOp_constant, value}}); }
inline ExprPtr dim(int64_t index) { return expr({{schema::ExprOp_dim, index}}); }
/* dim * factor */
inline ExprPtr scaled(int64_t index, int64_t factor) {
  return expr(
      {{schema::ExprOp_dim, index}, {schema::ExprOp_constant, factor}, {schema::ExprOp_mul, 0}});
}
/* dim * 4 rounded up to 64 */
inline ExprPtr paddedFloats(int64_t index) {
  return expr({{schema::ExprOp_dim, index},
               {schema::ExprOp_constant, 16},
               {schema::ExprOp_ceil_div, 0},
               {schema::ExprOp_constant, 64},
               {schema::ExprOp_mul, 0}});
}

/* ---- Code ---- */

inline uint16_t read16(const Bytes &b, size_t at) { return uint16_t(b[at] | b[at + 1] << 8); }
inline uint64_t read64(const Bytes &b, size_t at) {
  uint64_t value;
  std::memcpy(&value, b.data() + at, sizeof(value));
  return value;
}

/* The address of a function in a linked image, from its dynamic symbols. */
inline uint64_t symbolAddress(const Bytes &image, const std::string &name) {
  size_t sections = read64(image, 40), count = read16(image, 60);
  for (size_t s = 0; s < count; ++s) {
    size_t section = sections + s * 64;
    if (image[section + 4] != 11 /* SHT_DYNSYM */)
      continue;
    size_t strings = read64(image, sections + image[section + 40] * 64 + 24);
    size_t begin = read64(image, section + 24), end = begin + read64(image, section + 32);
    for (size_t symbol = begin; symbol < end; symbol += 24) {
      uint32_t at;
      std::memcpy(&at, image.data() + symbol, 4);
      if (name == reinterpret_cast<const char *>(image.data() + strings + at))
        return read64(image, symbol + 8);
    }
  }
  return 0;
}

/* ---- Container ---- */

struct Section {
  uint32_t kind;
  Bytes bytes;
};

/* Writes correct checksums into an artifact whose table can be found. */
inline void repairChecksums(uint8_t *data, size_t size) {
  kiln_artifact_header header;
  if (size < sizeof(header))
    return;
  std::memcpy(&header, data, sizeof(header));
  size_t count = std::min<size_t>(header.section_count, KILN_MAX_SECTIONS);
  count = std::min(count, (size - sizeof(header)) / sizeof(kiln_section));
  auto *table = data + sizeof(header);
  for (size_t i = 0; i < count; ++i) {
    kiln_section section;
    std::memcpy(&section, table + i * sizeof(section), sizeof(section));
    if (section.offset > size || section.size > size - section.offset)
      continue;
    section.checksum = XXH64(data + section.offset, section.size, 0);
    std::memcpy(table + i * sizeof(section), &section, sizeof(section));
  }
  header.table_checksum = XXH64(table, count * sizeof(kiln_section), 0);
  std::memcpy(data, &header, sizeof(header));
}

inline Bytes writeContainer(const std::vector<Section> &sections) {
  const auto align = [](size_t n) {
    return (n + KILN_SECTION_ALIGNMENT - 1) / KILN_SECTION_ALIGNMENT * KILN_SECTION_ALIGNMENT;
  };
  Bytes file(sizeof(kiln_artifact_header) + sections.size() * sizeof(kiln_section));
  for (size_t i = 0; i < sections.size(); ++i) {
    file.resize(align(file.size()));
    kiln_section entry = {sections[i].kind, 0, file.size(), sections[i].bytes.size(), 0};
    std::memcpy(file.data() + sizeof(kiln_artifact_header) + i * sizeof(entry), &entry,
                sizeof(entry));
    file.insert(file.end(), sections[i].bytes.begin(), sections[i].bytes.end());
  }
  kiln_artifact_header header = {};
  std::memcpy(header.magic, KILN_ARTIFACT_MAGIC, sizeof(header.magic));
  header.version = KILN_ARTIFACT_VERSION;
  header.section_count = uint32_t(sections.size());
  header.total_size = file.size();
  std::memcpy(file.data(), &header, sizeof(header));
  repairChecksums(file.data(), file.size());
  return file;
}

/* ---- The toy model ---- */

/* A function `main` of the dims n (1..64), m (0..8), p (1..4):
 *   t = x * w;  y = reverse(t);  picked = y[indices];  sum += y + (1, 10, 1, 10, …)
 * with a buffer in the arena, a weight, a state, an index input, and every kernel of kernels.c. */
struct Toy {
  Bytes image;
  schema::ProgramT program;
  Bytes weights;

  enum Kernel { Scale, Reverse, Gather, Accumulate };
  enum Dim { N, M, P };

  explicit Toy(const std::string &imagePath) : image(readFile(imagePath)) {
    program.abi_version = KILN_ABI_VERSION;
    addKernels();
    addFunction();
    weights.resize(64);
    for (int i = 0; i < 16; ++i) {
      float w = float(i) - 3.5f;
      std::memcpy(weights.data() + 4 * i, &w, 4);
    }
    auto weight = std::make_unique<schema::WeightT>();
    weight->name = "w";
    weight->size_bytes = 64;
    weight->format = "f32";
    weight->layout = "plain";
    weight->shape = {16};
    program.weights.push_back(std::move(weight));
    auto fact = std::make_unique<schema::FactT>();
    fact->key = "architecture";
    fact->value = "toy";
    program.facts.push_back(std::move(fact));
  }

  schema::FunctionT &function() { return *program.functions[0]; }
  schema::ImageT &code() { return *program.images[0]; }

  Bytes programBytes() const {
    flatbuffers::FlatBufferBuilder builder;
    schema::FinishProgramBuffer(builder, schema::Program::Pack(builder, &program));
    return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  }

  Bytes artifact() const {
    return writeContainer({{KILN_SECTION_PROGRAM, programBytes()},
                           {KILN_SECTION_CODE, image},
                           {KILN_SECTION_WEIGHTS, weights}});
  }

  static std::unique_ptr<schema::BindingT> bind(schema::Space space, uint32_t index, ExprPtr size) {
    auto binding = std::make_unique<schema::BindingT>();
    binding->space = space;
    binding->index = index;
    binding->size_bytes = std::move(size);
    return binding;
  }

  schema::StepT &addLaunch(Kernel kernel, const std::string &name) {
    auto step = std::make_unique<schema::StepT>();
    step->kernel = kernel;
    step->name = name;
    function().steps.push_back(std::move(step));
    return *function().steps.back();
  }
  void addBarrier() {
    auto step = std::make_unique<schema::StepT>();
    step->kind = schema::StepKind_barrier;
    function().steps.push_back(std::move(step));
  }

protected:
  void addKernels() {
    const struct {
      const char *name;
      uint32_t bindings;
      int64_t items;
      int64_t scratch;
    } kernels[] = {
        {"scale", 3, N, 0}, {"reverse", 2, N, 0}, {"gather", 3, M, 0}, {"accumulate", 2, N, 64}};
    auto code = std::make_unique<schema::ImageT>();
    code->target = "test";
    code->machine = host_machine();
    code->section = 1;
    for (const auto &k : kernels) {
      auto kernel = std::make_unique<schema::KernelT>();
      kernel->name = k.name;
      kernel->bindings = k.bindings;
      kernel->description = k.name;
      program.kernels.push_back(std::move(kernel));
      auto entry = std::make_unique<schema::KernelCodeT>();
      entry->entry = symbolAddress(image, k.name);
      entry->items = dim(k.items);
      entry->scratch_bytes = constant(k.scratch);
      entry->implementation = "C";
      code->kernels.push_back(std::move(entry));
    }
    program.images.push_back(std::move(code));
  }

  static std::unique_ptr<schema::ValueT> value(const char *name, schema::DType dtype, int32_t dim) {
    auto result = std::make_unique<schema::ValueT>();
    result->name = name;
    result->dtype = dtype;
    result->shape.push_back(schema::Axis(dim, 0));
    return result;
  }

  void addFunction() {
    auto f = std::make_unique<schema::FunctionT>();
    f->name = "main";
    const struct {
      const char *name;
      int64_t min, max;
    } dims[] = {{"n", 1, 64}, {"m", 0, 8}, {"p", 1, 4}};
    for (const auto &d : dims) {
      auto entry = std::make_unique<schema::DimT>();
      entry->name = d.name;
      entry->min = d.min;
      entry->max = d.max;
      f->dims.push_back(std::move(entry));
    }
    f->inputs.push_back(value("x", schema::DType_f32, N));
    f->inputs.push_back(value("indices", schema::DType_i32, M));
    f->inputs[1]->index_limit = dim(N);
    f->outputs.push_back(value("y", schema::DType_f32, N));
    f->outputs.push_back(value("picked", schema::DType_f32, M));
    auto state = std::make_unique<schema::StateT>();
    state->name = "sum";
    state->size_bytes = scaled(P, 256);
    f->states.push_back(std::move(state));
    f->arena_bytes = paddedFloats(N);
    f->arena_lower_bound_bytes = scaled(N, 4);
    program.functions.push_back(std::move(f));

    auto &scale = addLaunch(Scale, "toy.scale");
    scale.bindings.push_back(bind(schema::Space_input, 0, scaled(N, 4)));
    scale.bindings.push_back(bind(schema::Space_weight, 0, constant(64)));
    scale.bindings.push_back(bind(schema::Space_arena, 0, scaled(N, 4)));
    addBarrier();
    auto &reverse = addLaunch(Reverse, "toy.reverse");
    reverse.bindings.push_back(bind(schema::Space_arena, 0, scaled(N, 4)));
    reverse.bindings.push_back(bind(schema::Space_output, 0, scaled(N, 4)));
    addBarrier();
    auto &gather = addLaunch(Gather, "toy.gather");
    gather.bindings.push_back(bind(schema::Space_output, 0, scaled(N, 4)));
    gather.bindings.push_back(bind(schema::Space_input, 1, scaled(M, 4)));
    gather.bindings.push_back(bind(schema::Space_output, 1, scaled(M, 4)));
    auto &accumulate = addLaunch(Accumulate, "toy.accumulate");
    accumulate.bindings.push_back(bind(schema::Space_state, 0, constant(256)));
    accumulate.bindings.push_back(bind(schema::Space_output, 0, scaled(N, 4)));
  }
};

} // namespace kiln::test

#endif // KILN_TESTS_RUNTIME_ARTIFACT_BUILDER_H
