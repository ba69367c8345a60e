// An opened artifact and calls of one of its functions with arrays, for the commands that run
// models which are no language models.
#ifndef KILN_TOOLS_FUNCTIONCALL_H
#define KILN_TOOLS_FUNCTIONCALL_H

#include "compiler/tools/kiln/LanguageModel.h"
#include "compiler/values/Value.h"
#include <map>
#include <optional>
#include <vector>

namespace kiln {

/// Whether an artifact holds a language model or an encoder, which have commands of their own.
bool hasTextModel(const kiln_model_t *model);
/// Opens the artifact to see what it holds; false, with the reason in `problem`, where that fails.
bool findOutWhetherArrays(const std::string &path, bool &arrays, std::string &problem);

OnnxType typeOf(kiln_dtype_t dtype);

struct FunctionModel {
  ModelHandle model;
  PoolHandle pool;
  const kiln_function_t *function = nullptr;
  std::vector<kiln_value_info> inputs, outputs;
  std::vector<kiln_dim_info> dims; // all of the function's, those that the caller gives first
  size_t freeDims = 0;

  /// Opens an artifact. `name` is that of the function; "" for "main", or the only one.
  bool open(const std::string &path, uint32_t threads, const std::string &name,
            std::string &problem);
  /// "float32 [N, 3]"
  std::string describeType(const kiln_value_info &info) const;
  /// Largest value and one more that an integer input may hold at these dims, where it is an index.
  std::optional<int64_t> indexLimit(size_t input, const std::vector<int64_t> &allDims) const;
};

/// One set of inputs and dims, and the memory for calls with them.
class FunctionCall {
public:
  explicit FunctionCall(const FunctionModel &model) : model(model), given(model.inputs.size()) {}

  /// Takes an input's value. Elements that the file does not name (bfloat16 in .npy) are taken for
  /// the input's own; anything else must have its type.
  bool setInput(size_t input, Value value, std::string &problem);
  bool hasInput(size_t input) const { return given[input].has_value(); }
  const Value &input(size_t input) const { return *given[input]; }

  /// Finds the dims out of the inputs' shapes; `wanted` are those that the user gives.
  bool solveDims(const std::map<std::string, int64_t> &wanted, std::string &problem);
  /// The shape of a value at these dims: an output's may be smaller where the model computes it.
  std::vector<int64_t> shapeOf(const kiln_value_info &info) const;
  const std::vector<int64_t> &allDims() const { return dims; }

  /// Fills the inputs that were not given: floats in [-1, 1), booleans, indices below their limit,
  /// other integers 0 or 1. The same seed gives the same values.
  bool fillInputs(uint64_t seed, std::string &problem);
  /// Allocates the outputs and all else that calls need.
  bool prepare(std::string &problem);
  bool run(std::string &problem, kiln_profile *profile = nullptr);
  /// An output of the last call.
  Value output(size_t output) const;

  const kiln_memory_needs &needs() const { return memoryNeeds; }

private:
  struct Memory {
    std::vector<uint8_t> bytes;
    uint64_t size = 0;
    void resize(uint64_t size);
    uint8_t *data(); // aligned to 64 bytes
    const uint8_t *data() const { return const_cast<Memory *>(this)->data(); }
  };

  const FunctionModel &model;
  std::vector<std::optional<Value>> given;
  std::vector<int64_t> dims, dimsAfter; // all of them
  std::vector<Memory> inputs, outputs, states;
  Memory workspace;
  kiln_memory_needs memoryNeeds{};
};

} // namespace kiln

#endif
