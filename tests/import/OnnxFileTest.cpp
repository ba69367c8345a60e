// The ONNX reader gives what a model says and refuses what is wrong with its structure: names,
// order, graphs inside nodes, functions, files that are cut off.
#include "TinyOnnx.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

using namespace kiln;
using namespace kiln::testing;
using onnx::AttributeProto;
using onnx::TensorProto;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

static std::vector<std::string> listTypes(const OnnxGraph &graph) {
  std::vector<std::string> types;
  for (const OnnxNode &node : graph.nodes)
    types.push_back(node.type);
  return types;
}

/// x -> Relu -> y
static onnx::ModelProto makeRelu() {
  onnx::ModelProto model = makeOnnxModel();
  addInput(model.mutable_graph(), "x", {2});
  addNode(model.mutable_graph(), "Relu", {"x"}, {"y"});
  addOutput(model.mutable_graph(), "y");
  return model;
}

TEST(OnnxFile, GivesWhatTheModelSays) {
  onnx::ModelProto proto = makeRelu();
  proto.set_producer_name("maker");
  onnx::TypeProto::Tensor *type =
      proto.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type();
  type->mutable_shape()->add_dim()->set_dim_param("batch");
  type->mutable_shape()->add_dim();
  type->mutable_shape()->add_dim()->set_dim_value(-1);
  auto model = readSound(proto);
  EXPECT_EQ(model->irVersion, 8);
  EXPECT_EQ(model->producer, "maker");
  EXPECT_EQ(model->opsets.at(""), 17);
  EXPECT_EQ(model->file, "m.onnx");
  ASSERT_EQ(model->graph.nodes.size(), 1u);
  const OnnxNode &node = model->graph.nodes[0];
  EXPECT_EQ(node.name, "Relu_0");
  EXPECT_EQ(node.opset, 17);
  EXPECT_THAT(node.inputs, ElementsAre("x"));
  const OnnxValue &input = model->graph.inputs[0];
  EXPECT_EQ(input.type, OnnxType::Float);
  ASSERT_EQ(input.shape.size(), 4u);
  EXPECT_EQ(input.shape[0].extent, 2);
  EXPECT_EQ(input.shape[1].extent, -1);
  EXPECT_EQ(input.shape[1].param, "batch");
  EXPECT_EQ(input.shape[2].extent, -1);
  EXPECT_EQ(input.shape[3].extent, -1);
  EXPECT_FALSE(model->graph.outputs[0].hasShape);
}

TEST(OnnxFile, GivesAttributesOfEveryKind) {
  onnx::ModelProto proto = makeRelu();
  onnx::NodeProto *node = proto.mutable_graph()->mutable_node(0);
  addAttribute(node, "f", AttributeProto::FLOAT)->set_f(1.5f);
  addAttribute(node, "i", AttributeProto::INT)->set_i(-3);
  addAttribute(node, "s", AttributeProto::STRING)->set_s("text");
  addAttribute(node, "floats", AttributeProto::FLOATS)->add_floats(0.5f);
  addAttribute(node, "ints", AttributeProto::INTS)->add_ints(7);
  addAttribute(node, "strings", AttributeProto::STRINGS)->add_strings("a");
  TensorProto *tensor = addAttribute(node, "t", AttributeProto::TENSOR)->mutable_t();
  tensor->set_data_type(TensorProto::INT64);
  tensor->add_int64_data(5);
  addAttribute(node, "tp", AttributeProto::TYPE_PROTO)
      ->mutable_tp()
      ->mutable_optional_type()
      ->mutable_elem_type()
      ->mutable_sequence_type()
      ->mutable_elem_type()
      ->mutable_tensor_type()
      ->set_elem_type(TensorProto::INT32);
  AttributeProto *old = node->add_attribute(); // without a type, as in the first versions
  old->set_name("old");
  old->set_i(9);
  auto model = readSound(proto);
  const auto &read = model->graph.nodes[0].attributes;
  ASSERT_EQ(read.size(), 9u);
  EXPECT_EQ(read[0].f, 1.5);
  EXPECT_EQ(read[1].i, -3);
  EXPECT_EQ(read[2].s, "text");
  EXPECT_THAT(read[3].floats, ElementsAre(0.5));
  EXPECT_THAT(read[4].ints, ElementsAre(7));
  EXPECT_THAT(read[5].strings, ElementsAre("a"));
  EXPECT_EQ(read[6].tensor->elements, 1);
  EXPECT_EQ(read[7].valueType->kind, OnnxValue::OptionalSequence);
  EXPECT_EQ(read[7].valueType->type, OnnxType::Int32);
  EXPECT_EQ(read[8].kind, OnnxAttribute::Int);
  EXPECT_EQ(read[8].i, 9);
  addAttribute(node, "i", AttributeProto::INT);
  addAttribute(node, "none", AttributeProto::UNDEFINED);
  addAttribute(node, "graphs", AttributeProto::GRAPHS);
  std::string problems = readProblems(proto);
  EXPECT_THAT(problems, HasSubstr("node 'Relu_0' (Relu): attribute 'i' is there twice"));
  EXPECT_THAT(problems, HasSubstr("attribute 'none': expected one value or a list of numbers or "
                                  "strings, found none"));
  EXPECT_THAT(problems, HasSubstr("attribute 'graphs': expected one value or a list of numbers or "
                                  "strings, found kind 10"));
}

TEST(OnnxFile, TakesInitializersThatAreInputsForConstants) {
  onnx::ModelProto proto = makeRelu();
  addInput(proto.mutable_graph(), "w", {1});
  addInitializer(proto.mutable_graph(), "w", TensorProto::FLOAT, {1})->add_float_data(1);
  auto model = readSound(proto);
  EXPECT_EQ(model->graph.inputs.size(), 1u);
  EXPECT_EQ(model->graph.initializers.count("w"), 1u);
}

TEST(OnnxFile, WantsVersionsAndAGraph) {
  onnx::ModelProto proto;
  EXPECT_EQ(readProblems(proto),
            "cannot import m.onnx: 3 problems\n"
            "  m.onnx: model: expected the version of the format, found none\n"
            "  m.onnx: model: expected a graph, found none\n"
            "  m.onnx: model: expected the versions of operator sets, found none");
  proto = makeRelu();
  proto.clear_opset_import();
  EXPECT_THAT(readProblems(proto), HasSubstr("expected the versions of operator sets, found none"));
  proto.set_ir_version(2);
  EXPECT_EQ(readSound(proto)->opsets.at(""), 1);
  proto.add_opset_import()->set_version(7);
  onnx::OperatorSetIdProto *again = proto.add_opset_import();
  again->set_domain("ai.onnx");
  again->set_version(8);
  EXPECT_THAT(readProblems(proto), HasSubstr("is there twice, in versions 7 and 8"));
}

// ---- Names and order ----------------------------------------------------------------------------

TEST(OnnxFile, SortsNodesAndKeepsTheOrderOfTheRest) {
  onnx::ModelProto proto = makeOnnxModel();
  onnx::GraphProto *graph = proto.mutable_graph();
  addInput(graph, "x", {2});
  addNode(graph, "Neg", {"x"}, {"a"});
  addNode(graph, "Add", {"d", "a"}, {"y"});
  addNode(graph, "Abs", {"x"}, {"c"});
  addNode(graph, "Exp", {"c"}, {"d"});
  addOutput(graph, "y");
  EXPECT_THAT(listTypes(readSound(proto)->graph), ElementsAre("Neg", "Abs", "Exp", "Add"));
}

TEST(OnnxFile, NamesCycles) {
  onnx::ModelProto proto = makeOnnxModel();
  onnx::GraphProto *graph = proto.mutable_graph();
  addInput(graph, "x", {2});
  addNode(graph, "Add", {"x", "b"}, {"a"})->set_name("first");
  addNode(graph, "Neg", {"a"}, {"b"})->set_name("second");
  addOutput(graph, "b");
  EXPECT_THAT(readProblems(proto),
              HasSubstr("m.onnx: node 'second' (Neg): reads 'a' of node 'first' (Add), which "
                        "depends on it: the graph has a cycle"));
  graph->mutable_node(1)->set_input(0, "b");
  EXPECT_THAT(readProblems(proto), HasSubstr("node 'second' (Neg): reads 'b' of node 'second'"));
}

TEST(OnnxFile, FindsCyclesThroughGraphsInNodes) {
  onnx::ModelProto proto = makeRichOnnxModel();
  proto.mutable_graph()
      ->mutable_node(1)
      ->mutable_attribute(0)
      ->mutable_g()
      ->mutable_node(0)
      ->set_input(0, "q");
  EXPECT_THAT(readProblems(proto), HasSubstr("the graph has a cycle"));
}

TEST(OnnxFile, WantsOneProducerOfEveryValue) {
  onnx::ModelProto proto = makeRelu();
  addNode(proto.mutable_graph(), "Neg", {"x"}, {"y"});
  addNode(proto.mutable_graph(), "Abs", {"z"}, {"x"});
  addOutput(proto.mutable_graph(), "nowhere");
  addOutput(proto.mutable_graph(), "y");
  addInput(proto.mutable_graph(), "x", {2});
  std::string problems = readProblems(proto);
  EXPECT_THAT(problems, HasSubstr("node 'Neg_1' (Neg): computes 'y', which is also computed by "
                                  "node 'Relu_0' (Relu)"));
  EXPECT_THAT(problems, HasSubstr("node 'Abs_2' (Abs): computes 'x', which is also an input or "
                                  "initializer of the graph"));
  EXPECT_THAT(problems, HasSubstr("node 'Abs_2' (Abs): reads 'z', which nothing computes"));
  EXPECT_THAT(problems, HasSubstr("output 'nowhere': is neither computed by a node nor an input or "
                                  "initializer"));
  EXPECT_THAT(problems, HasSubstr("output 'y': is there twice"));
  EXPECT_THAT(problems, HasSubstr("input 'x': is there twice"));
}

TEST(OnnxFile, TakesAbsentInputsAndOutputs) {
  onnx::ModelProto proto = makeRelu();
  addNode(proto.mutable_graph(), "Clip", {"x", "", "x"}, {"", "z"});
  addNode(proto.mutable_graph(), "Clip", {"x", "", "x"}, {"", "u"});
  EXPECT_EQ(readProblems(proto), "");
}

// ---- Graphs in nodes ----------------------------------------------------------------------------

TEST(OnnxFile, SaysWhatGraphsInNodesCapture) {
  auto model = readSound(makeRichOnnxModel());
  const OnnxNode &choice = model->graph.nodes[1];
  ASSERT_EQ(choice.type, "If");
  EXPECT_THAT(choice.attributes[0].graph->captures, ElementsAre("m", "y"));
  EXPECT_TRUE(model->graph.captures.empty());
  onnx::ModelProto proto = makeRichOnnxModel();
  proto.mutable_graph()
      ->mutable_node(1)
      ->mutable_attribute(0)
      ->mutable_g()
      ->mutable_node(0)
      ->set_input(0, "unknown");
  EXPECT_THAT(readProblems(proto),
              HasSubstr("node 'Add_0' (Add): reads 'unknown', which nothing computes"));
}

TEST(OnnxFile, CapturesThroughTwoGraphs) {
  onnx::ModelProto proto = makeOnnxModel();
  onnx::GraphProto *graph = proto.mutable_graph();
  addInput(graph, "x", {2});
  onnx::NodeProto *outer = addNode(graph, "If", {"x"}, {"y"});
  addNode(graph, "Neg", {"x"}, {"late"}); // is needed by the graph two below
  onnx::GraphProto *middle = addAttribute(outer, "then_branch", AttributeProto::GRAPH)->mutable_g();
  onnx::NodeProto *inner = addNode(middle, "If", {"x"}, {"b"});
  addOutput(middle, "b");
  onnx::GraphProto *deepest =
      addAttribute(inner, "then_branch", AttributeProto::GRAPH)->mutable_g();
  addOutput(deepest, "late");
  addOutput(graph, "y");
  auto model = readSound(proto);
  EXPECT_THAT(listTypes(model->graph), ElementsAre("Neg", "If"));
  EXPECT_THAT(model->graph.nodes[1].attributes[0].graph->captures, ElementsAre("x", "late"));
}

TEST(OnnxFile, LimitsTheDepthOfGraphs) {
  for (int depth : {32, 33, 2000}) {
    onnx::ModelProto proto = makeRelu();
    onnx::GraphProto *graph = proto.mutable_graph();
    for (int i = 0; i < depth; ++i) {
      onnx::NodeProto *node = addNode(graph, "If", {}, {});
      graph = addAttribute(node, "then_branch", AttributeProto::GRAPH)->mutable_g();
    }
    EXPECT_THAT(readProblems(proto),
                HasSubstr(depth == 32   ? ""
                          : depth == 33 ? "expected at most 32 graphs inside each other"
                                        : "malformed or nested too deeply"));
    EXPECT_EQ(readProblems(proto).empty(), depth == 32);
  }
}

TEST(OnnxFile, LimitsTheNumberOfNodes) {
  onnx::ModelProto proto = makeRelu();
  for (int i = 0; i < 1 << 18; ++i)
    proto.mutable_graph()->add_node();
  EXPECT_THAT(readProblems(proto), HasSubstr("graph: expected at most 262144 nodes in all"));
}

// ---- Functions ----------------------------------------------------------------------------------

TEST(OnnxFile, PutsFunctionsInThePlaceOfCalls) {
  auto model = readSound(makeRichOnnxModel());
  const OnnxGraph &graph = model->graph;
  EXPECT_THAT(listTypes(graph), ElementsAre("MatMul", "If", "Constant", "Mul", "Constant", "Mul"));
  EXPECT_EQ(graph.nodes[2].name, "Scale_2/Constant_0");
  EXPECT_EQ(graph.nodes[2].attributes[0].name, "value_float");
  EXPECT_EQ(graph.nodes[2].attributes[0].f, 0.5);
  EXPECT_EQ(graph.nodes[4].attributes[0].f, 2.0);
  EXPECT_EQ(graph.nodes[3].inputs[0], "i");
  EXPECT_EQ(graph.nodes[3].inputs[1], graph.nodes[2].outputs[0]);
  EXPECT_NE(graph.nodes[2].outputs[0], graph.nodes[4].outputs[0]);
  EXPECT_THAT(graph.nodes[3].outputs, ElementsAre("p"));
  EXPECT_EQ(graph.nodes[3].opset, 17);
}

TEST(OnnxFile, GivesFunctionsTheirOwnOperatorSets) {
  onnx::ModelProto proto = makeRichOnnxModel();
  proto.mutable_functions(0)->add_opset_import()->set_version(13);
  auto model = readSound(proto);
  EXPECT_EQ(model->graph.nodes[0].opset, 17);
  EXPECT_EQ(model->graph.nodes[3].opset, 13);
}

TEST(OnnxFile, TakesDefaultsOfFunctionsFromNewerFiles) {
  onnx::ModelProto proto = makeRichOnnxModel();
  onnx::NodeProto *call = proto.mutable_graph()->mutable_node(2);
  call->clear_attribute();
  auto model = readSound(proto);
  EXPECT_TRUE(model->graph.nodes[2].attributes.empty()); // the operator's own default
  AttributeProto fallback;
  fallback.set_name("by");
  fallback.set_type(AttributeProto::FLOAT);
  fallback.set_f(7);
  proto.mutable_functions(0)->mutable_unknown_fields()->AddLengthDelimited(
      11, fallback.SerializeAsString());
  model = readSound(proto);
  EXPECT_EQ(model->graph.nodes[2].attributes[0].f, 7);
}

TEST(OnnxFile, ToldFunctionsApartByOverload) {
  onnx::ModelProto proto = makeRichOnnxModel();
  *proto.add_functions() = proto.functions(0);
  EXPECT_THAT(readProblems(proto), HasSubstr("function 'Scale': is there twice"));
  proto.mutable_functions(1)->mutable_unknown_fields()->AddLengthDelimited(13, "negative");
  proto.mutable_functions(1)->mutable_node(1)->set_op_type("Div");
  proto.mutable_graph()->mutable_node(3)->mutable_unknown_fields()->AddLengthDelimited(8,
                                                                                       "negative");
  EXPECT_THAT(listTypes(readSound(proto)->graph),
              ElementsAre("MatMul", "If", "Constant", "Mul", "Constant", "Div"));
}

TEST(OnnxFile, KeepsNamesInFunctionsApartFromTheCallers) {
  // The function's graph computes "x" and captures the call's "x" under the name "a".
  onnx::ModelProto proto = makeOnnxModel();
  onnx::GraphProto *graph = proto.mutable_graph();
  addInput(graph, "x", {2});
  addNode(graph, "F", {"x"}, {"y"})->set_domain("own");
  addOutput(graph, "y");
  onnx::FunctionProto *function = proto.add_functions();
  function->set_domain("own");
  function->set_name("F");
  function->add_input("a");
  function->add_output("b");
  onnx::NodeProto *choice = addNode(function, "If", {"a"}, {"b"});
  onnx::GraphProto *branch =
      addAttribute(choice, "then_branch", AttributeProto::GRAPH)->mutable_g();
  addNode(branch, "Neg", {"a"}, {"x"});
  addNode(branch, "Add", {"x", "a"}, {"sum"});
  addOutput(branch, "sum");
  auto model = readSound(proto);
  const OnnxGraph &copy = *model->graph.nodes[0].attributes[0].graph;
  EXPECT_THAT(copy.captures, ElementsAre("x"));
  EXPECT_THAT(copy.nodes[0].inputs, ElementsAre("x"));
  EXPECT_NE(copy.nodes[0].outputs[0], "x");
  EXPECT_THAT(copy.nodes[1].inputs, ElementsAre(copy.nodes[0].outputs[0], "x"));
  EXPECT_EQ(copy.outputs[0].name, copy.nodes[1].outputs[0]);
}

TEST(OnnxFile, TakesResultsThatAreInputs) {
  onnx::ModelProto proto = makeRichOnnxModel();
  proto.mutable_functions(0)->set_output(0, "a");
  auto model = readSound(proto);
  EXPECT_THAT(listTypes(model->graph), ElementsAre("MatMul", "If", "Constant", "Mul", "Identity",
                                                   "Constant", "Mul", "Identity"));
  EXPECT_THAT(model->graph.nodes[4].inputs, ElementsAre("i"));
  EXPECT_THAT(model->graph.nodes[4].outputs, ElementsAre("p"));
}

TEST(OnnxFile, RefusesFunctionsThatCallThemselvesOrExplode) {
  onnx::ModelProto proto = makeRichOnnxModel();
  addNode(proto.mutable_functions(0), "Scale", {"a"}, {"again"})->set_domain("own");
  EXPECT_THAT(readProblems(proto), HasSubstr("calls function 'Scale' within itself"));
  for (int links : {20, 40}) { // each calls the next one twice
    proto = makeRelu();
    for (int i = 0; i < links; ++i) {
      onnx::FunctionProto *function = proto.add_functions();
      function->set_domain("own");
      function->set_name("f" + std::to_string(i));
      for (int calls = 0; calls < (links == 20 ? 2 : 1); ++calls)
        addNode(function, "f" + std::to_string(i + 1), {}, {})->set_domain("own");
    }
    addNode(proto.mutable_graph(), "f0", {}, {})->set_domain("own");
    EXPECT_THAT(readProblems(proto), HasSubstr(links == 20 ? "in the place of their calls"
                                                           : "functions inside each other"));
  }
}

TEST(OnnxFile, ChecksCallsOfFunctions) {
  onnx::ModelProto proto = makeRichOnnxModel();
  proto.mutable_graph()->mutable_node(2)->add_input("x");
  EXPECT_THAT(readProblems(proto),
              HasSubstr("node 'Scale_2' (own.Scale): expected at most 1 inputs and 1 outputs of "
                        "function 'Scale', found 2 and 1"));
  proto = makeRichOnnxModel();
  proto.mutable_graph()->mutable_node(2)->mutable_attribute(0)->set_type(AttributeProto::INT);
  EXPECT_THAT(readProblems(proto), HasSubstr("attribute 'by': expected kind 1, found 2"));
  proto = makeRelu();
  addAttribute(proto.mutable_graph()->mutable_node(0), "a", AttributeProto::INT)
      ->set_ref_attr_name("b");
  EXPECT_THAT(readProblems(proto),
              HasSubstr("refers to an attribute of a function, outside of any"));
}

// ---- Whole files --------------------------------------------------------------------------------

TEST(OnnxFile, RefusesEveryTruncatedPrefix) {
  std::string bytes = makeRichOnnxModel().SerializeAsString();
  // The model's last fields are its operator sets and functions: without some it is a whole message
  // that calls operators of an unknown domain, which import refuses.
  std::set<size_t> whole;
  onnx::ModelProto shorter = makeRichOnnxModel();
  shorter.clear_functions();
  whole.insert(shorter.SerializeAsString().size());
  shorter.mutable_opset_import()->RemoveLast();
  whole.insert(shorter.SerializeAsString().size());
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto model = readOnnxModel(llvm::arrayRefFromStringRef(bytes).take_front(size), "", "m.onnx");
    std::string text = model ? "" : llvm::toString(model.takeError());
    EXPECT_EQ(text.empty(), whole.count(size) == 1) << size << ": " << text;
  }
}

TEST(OnnxFile, RefusesFilesThatAreNoModels) {
  EXPECT_THAT(llvm::toString(readOnnxModel("/nonexistent/m.onnx").takeError()),
              HasSubstr("m.onnx: cannot be read"));
  EXPECT_THAT(llvm::toString(readOnnxModel("/").takeError()),
              HasSubstr("expected a regular file, found a folder or a device"));
  std::string text = "{\"not\": \"a model\"}";
  auto model = readOnnxModel(llvm::arrayRefFromStringRef(text), "", "m.onnx");
  EXPECT_THAT(llvm::toString(model.takeError()), HasSubstr("is no ModelProto of ONNX"));
}

/// Reads every model below a folder; how many there were.
static int readAll(llvm::StringRef folder) {
  std::error_code code;
  int count = 0;
  for (llvm::sys::fs::recursive_directory_iterator it(folder, code), end; it != end && !code;
       it.increment(code))
    if (llvm::sys::path::extension(it->path()) == ".onnx") {
      ++count;
      auto model = readOnnxModel(it->path());
      EXPECT_TRUE(bool(model)) << llvm::toString(model.takeError());
      if (!model)
        continue;
      for (const auto &tensor : (*model)->graph.initializerOrder)
        if (tensor->type != OnnxType::String) {
          auto bytes = readBytes(*tensor, model->get());
          if (bytes)
            EXPECT_EQ(bytes->size(), tensor->sizeBytes);
          else
            ADD_FAILURE() << llvm::toString(bytes.takeError());
        }
    }
  return count;
}

TEST(OnnxFile, ReadsTheTestModelsOfOnnx) {
  const char *folder = "/usr/share/libonnx-testdata";
  if (!llvm::sys::fs::exists(folder))
    GTEST_SKIP() << "libonnx-testdata is absent";
  EXPECT_GE(readAll(folder), 1000);
}

TEST(OnnxFile, ReadsModelsMadeElsewhere) {
  const char *folder = KILN_SHARED_DIR "/models/onnx";
  if (!llvm::sys::fs::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  EXPECT_GE(readAll(folder), 5);
}
