// One folder of ONNX's test data: a model, inputs, and what outputs must be.
#ifndef KILN_TESTS_ONNX_ONNXCASE_H
#define KILN_TESTS_ONNX_ONNXCASE_H

#include "compiler/import/DimBounds.h"
#include "compiler/import/onnx/OnnxModel.h"

namespace kiln::onnxtest {

/// How a case is tried: as it is, with all dims of inputs and outputs dynamic, or with its inputs
/// as constants of the model.
enum class Mode { Given, Dynamic, Constant };

struct OnnxCase {
  std::unique_ptr<OnnxModel> model;
  std::vector<OnnxTensor> inputs, outputs; // of the data set; inputs as the model has them
  std::vector<DimBounds> bounds;           // of dims that were made dynamic
};

/// Whether all inputs and outputs of the folder's model are tensors of numbers, or lists of them.
bool hasTensorTypes(const OnnxModel &model);

/// Reads the folder and the data set `set` (test_data_set_<set>).
llvm::Expected<OnnxCase> readCase(llvm::StringRef folder, unsigned set, Mode mode);

/// Compiles the case for this machine, runs it and compares. Success, or what went wrong.
/// `workFile` is overwritten.
llvm::Error runCase(OnnxCase &test, llvm::StringRef workFile);

} // namespace kiln::onnxtest

#endif
