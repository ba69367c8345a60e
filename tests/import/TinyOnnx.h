// Small ONNX models for tests, built as messages.
#ifndef KILN_TESTS_IMPORT_TINYONNX_H
#define KILN_TESTS_IMPORT_TINYONNX_H

#include "compiler/import/onnx/OnnxModel.h"
#include <initializer_list>
#include <onnx/onnx_pb.h>

namespace kiln::testing {

/// A model of format version 8 and operator set 17 without nodes.
onnx::ModelProto makeOnnxModel();

onnx::NodeProto *addNode(onnx::GraphProto *graph, const std::string &type,
                         std::initializer_list<const char *> inputs,
                         std::initializer_list<const char *> outputs);
onnx::NodeProto *addNode(onnx::FunctionProto *function, const std::string &type,
                         std::initializer_list<const char *> inputs,
                         std::initializer_list<const char *> outputs);
onnx::AttributeProto *addAttribute(onnx::NodeProto *node, const std::string &name,
                                   onnx::AttributeProto::AttributeType type);
/// A value of float32.
void addInput(onnx::GraphProto *graph, const std::string &name,
              std::initializer_list<int64_t> dims);
void addOutput(onnx::GraphProto *graph, const std::string &name);
/// A tensor without values.
onnx::TensorProto *addInitializer(onnx::GraphProto *graph, const std::string &name, int type,
                                  std::initializer_list<int64_t> dims);

/// Two inputs, a weight, a graph in a node that captures a value, a function that is called twice.
onnx::ModelProto makeRichOnnxModel();

/// What reading says of a model: "" where it is sound.
std::string readProblems(const onnx::ModelProto &model, llvm::StringRef folder = "");
std::unique_ptr<OnnxModel> readSound(const onnx::ModelProto &model, llvm::StringRef folder = "");

} // namespace kiln::testing

#endif
