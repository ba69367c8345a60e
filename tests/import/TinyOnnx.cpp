// Builds small ONNX models and reads them.
#include "TinyOnnx.h"
#include "llvm/ADT/StringExtras.h"
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::testing;

onnx::ModelProto kiln::testing::makeOnnxModel() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  model.mutable_graph()->set_name("g");
  return model;
}

static onnx::NodeProto *fill(onnx::NodeProto *node, const std::string &type,
                             std::initializer_list<const char *> inputs,
                             std::initializer_list<const char *> outputs) {
  node->set_op_type(type);
  for (const char *input : inputs)
    node->add_input(input);
  for (const char *output : outputs)
    node->add_output(output);
  return node;
}

onnx::NodeProto *kiln::testing::addNode(onnx::GraphProto *graph, const std::string &type,
                                        std::initializer_list<const char *> inputs,
                                        std::initializer_list<const char *> outputs) {
  return fill(graph->add_node(), type, inputs, outputs);
}

onnx::NodeProto *kiln::testing::addNode(onnx::FunctionProto *function, const std::string &type,
                                        std::initializer_list<const char *> inputs,
                                        std::initializer_list<const char *> outputs) {
  return fill(function->add_node(), type, inputs, outputs);
}

onnx::AttributeProto *kiln::testing::addAttribute(onnx::NodeProto *node, const std::string &name,
                                                  onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto *attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

void kiln::testing::addInput(onnx::GraphProto *graph, const std::string &name,
                             std::initializer_list<int64_t> dims) {
  onnx::ValueInfoProto *input = graph->add_input();
  input->set_name(name);
  onnx::TypeProto::Tensor *type = input->mutable_type()->mutable_tensor_type();
  type->set_elem_type(onnx::TensorProto::FLOAT);
  for (int64_t extent : dims)
    type->mutable_shape()->add_dim()->set_dim_value(extent);
}

void kiln::testing::addOutput(onnx::GraphProto *graph, const std::string &name) {
  onnx::ValueInfoProto *output = graph->add_output();
  output->set_name(name);
  output->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
}

onnx::TensorProto *kiln::testing::addInitializer(onnx::GraphProto *graph, const std::string &name,
                                                 int type, std::initializer_list<int64_t> dims) {
  onnx::TensorProto *tensor = graph->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (int64_t extent : dims)
    tensor->add_dims(extent);
  return tensor;
}

onnx::ModelProto kiln::testing::makeRichOnnxModel() {
  onnx::ModelProto model = makeOnnxModel();
  onnx::OperatorSetIdProto *own = model.add_opset_import();
  own->set_domain("own");
  own->set_version(1);
  onnx::GraphProto *graph = model.mutable_graph();
  addInput(graph, "x", {2, 2});
  addInput(graph, "y", {2, 2});
  onnx::TensorProto *weight = addInitializer(graph, "w", onnx::TensorProto::FLOAT, {2, 2});
  for (float value : {1.0f, 2.0f, 3.0f, 4.0f})
    weight->add_float_data(value);
  addInitializer(graph, "c", onnx::TensorProto::BOOL, {})->set_raw_data(std::string(1, '\1'));
  addNode(graph, "MatMul", {"x", "w"}, {"m"});
  onnx::NodeProto *choice = addNode(graph, "If", {"c"}, {"i"});
  for (const char *name : {"then_branch", "else_branch"}) {
    onnx::GraphProto *branch = addAttribute(choice, name, onnx::AttributeProto::GRAPH)->mutable_g();
    addNode(branch, "Add", {"m", "y"}, {"sum"});
    addOutput(branch, "sum");
  }
  for (auto [input, output, alpha] : {std::make_tuple("i", "p", 0.5f), {"p", "q", 2.0f}}) {
    onnx::NodeProto *call = addNode(graph, "Scale", {input}, {output});
    call->set_domain("own");
    addAttribute(call, "by", onnx::AttributeProto::FLOAT)->set_f(alpha);
  }
  addOutput(graph, "q");
  onnx::FunctionProto *function = model.add_functions();
  function->set_domain("own");
  function->set_name("Scale");
  function->add_input("a");
  function->add_output("b");
  function->add_attribute("by");
  onnx::NodeProto *factor = addNode(function, "Constant", {}, {"factor"});
  addAttribute(factor, "value_float", onnx::AttributeProto::FLOAT)->set_ref_attr_name("by");
  addNode(function, "Mul", {"a", "factor"}, {"b"});
  return model;
}

static llvm::Expected<std::unique_ptr<OnnxModel>> read(const onnx::ModelProto &model,
                                                       llvm::StringRef folder) {
  std::string bytes = model.SerializeAsString();
  return readOnnxModel(llvm::arrayRefFromStringRef(bytes), folder, "m.onnx");
}

std::string kiln::testing::readProblems(const onnx::ModelProto &model, llvm::StringRef folder) {
  auto found = read(model, folder);
  return found ? "" : llvm::toString(found.takeError());
}

std::unique_ptr<OnnxModel> kiln::testing::readSound(const onnx::ModelProto &model,
                                                    llvm::StringRef folder) {
  auto found = read(model, folder);
  if (found)
    return std::move(*found);
  ADD_FAILURE() << llvm::toString(found.takeError());
  return std::make_unique<OnnxModel>();
}
