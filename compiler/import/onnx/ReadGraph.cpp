// GraphProto, NodeProto, AttributeProto, ValueInfoProto and FunctionProto as plain data. Only what
// can be told of each alone is checked here; CheckGraph.cpp holds names against each other.
//
// The messages are those of the installed onnx.proto, which may be older than the file: fields that
// it does not know are taken from where protobuf keeps unknown ones, or ignored.
#include "compiler/import/onnx/ReadProto.h"
#include "llvm/ADT/StringSet.h"
#include <google/protobuf/unknown_field_set.h>

using namespace llvm;
using namespace kiln;
using google::protobuf::Message;

std::string kiln::describe(const OnnxNode &node) {
  return "node '" + printable(node.name) + "' (" +
         (node.domain.empty() ? "" : printable(node.domain) + ".") + printable(node.type) + ")";
}

/// "ai.onnx" and "" are the same domain.
static std::string normalizeDomain(const std::string &domain) {
  return domain == "ai.onnx" ? "" : domain;
}

/// The values of a field of bytes or messages by its number, whether or not the installed
/// onnx.proto has it.
static std::vector<std::string> getNewerField(const Message &message, int number) {
  std::vector<std::string> values;
  const google::protobuf::Reflection *reflection = message.GetReflection();
  if (auto *field = message.GetDescriptor()->FindFieldByNumber(number)) {
    bool isText = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
    if (field->is_repeated())
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        values.push_back(
            isText ? reflection->GetRepeatedString(message, field, i)
                   : reflection->GetRepeatedMessage(message, field, i).SerializePartialAsString());
    else if (reflection->HasField(message, field))
      values.push_back(isText ? reflection->GetString(message, field)
                              : reflection->GetMessage(message, field).SerializePartialAsString());
    return values;
  }
  const google::protobuf::UnknownFieldSet &unknown = reflection->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i)
    if (unknown.field(i).number() == number &&
        unknown.field(i).type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      values.push_back(unknown.field(i).length_delimited());
  return values;
}

static std::string getOverload(const Message &message, int number) {
  std::vector<std::string> values = getNewerField(message, number);
  return values.empty() ? "" : values.back();
}
static constexpr int overloadOfNode = 8, overloadOfFunction = 13, defaultsOfFunction = 11;

// ---- Values -------------------------------------------------------------------------------------

static bool readTensorType(int32_t type, const onnx::TensorShapeProto *shape, const Twine &what,
                           OnnxValue &value, OnnxReading &reading) {
  value.type = OnnxType(type);
  if (type != 0 && value.type != OnnxType::String && bitsOf(value.type) == 0)
    return reading.fail(what, "expected a type of elements from 1 to 26, found " + Twine(type));
  value.hasShape = shape != nullptr;
  if (!shape)
    return true;
  if (size_t(shape->dim_size()) > OnnxLimits::dims)
    return reading.fail(what, "expected at most " + Twine(OnnxLimits::dims) + " dims, found " +
                                  Twine(shape->dim_size()));
  for (const onnx::TensorShapeProto::Dimension &dim : shape->dim()) {
    OnnxDim read;
    if (dim.has_dim_param())
      read.param = dim.dim_param();
    else if (dim.has_dim_value() && dim.dim_value() >= 0) // exporters write -1 for "not known"
      read.extent = dim.dim_value();
    if (read.extent > OnnxLimits::elements)
      return reading.fail(what, "expected dims below 2^62, found " + Twine(read.extent));
    value.shape.push_back(std::move(read));
  }
  return true;
}

static bool readType(const onnx::TypeProto &type, const Twine &what, OnnxValue &value,
                     OnnxReading &reading) {
  const onnx::TypeProto *inner = &type;
  value.kind = OnnxValue::Tensor;
  if (inner->has_optional_type()) {
    inner = &inner->optional_type().elem_type();
    value.kind = OnnxValue::Optional;
  }
  if (inner->has_sequence_type()) {
    inner = &inner->sequence_type().elem_type();
    value.kind =
        value.kind == OnnxValue::Optional ? OnnxValue::OptionalSequence : OnnxValue::Sequence;
  }
  if (inner->has_tensor_type())
    return readTensorType(inner->tensor_type().elem_type(),
                          inner->tensor_type().has_shape() ? &inner->tensor_type().shape()
                                                           : nullptr,
                          what, value, reading);
  if (inner->value_case() != onnx::TypeProto::VALUE_NOT_SET)
    value.kind = OnnxValue::Other;
  return true;
}

static bool readValue(const onnx::ValueInfoProto &proto, const Twine &what, OnnxValue &value,
                      OnnxReading &reading) {
  value.name = proto.name();
  if (value.name.empty())
    return reading.fail(what, "expected a name");
  return readType(proto.type(), what + " '" + printable(value.name) + "'", value, reading);
}

// ---- Attributes ---------------------------------------------------------------------------------

/// The kind of an attribute that does not say it, as in the first versions of the format.
static int inferKind(const onnx::AttributeProto &proto) {
  using Proto = onnx::AttributeProto;
  return proto.has_f()               ? Proto::FLOAT
         : proto.has_i()             ? Proto::INT
         : proto.has_s()             ? Proto::STRING
         : proto.has_t()             ? Proto::TENSOR
         : proto.has_g()             ? Proto::GRAPH
         : proto.has_sparse_tensor() ? Proto::SPARSE_TENSOR
         : proto.floats_size()       ? Proto::FLOATS
         : proto.ints_size()         ? Proto::INTS
         : proto.strings_size()      ? Proto::STRINGS
                                     : Proto::UNDEFINED;
}

static bool readAttribute(onnx::AttributeProto &proto, const Twine &ofWhat, unsigned depth,
                          OnnxAttribute &attribute, OnnxReading &reading) {
  attribute.name = proto.name();
  std::string what = (ofWhat + ": attribute '" + printable(proto.name()) + "'").str();
  if (attribute.name.empty())
    return reading.fail(what, "expected a name");
  int kind = proto.has_type() ? int(proto.type()) : inferKind(proto);
  attribute.kind = OnnxAttribute::Kind(kind);
  attribute.ref = proto.ref_attr_name();
  if (!attribute.ref.empty())
    return true;
  switch (kind) {
  case OnnxAttribute::Float:
    attribute.f = double(proto.f());
    return true;
  case OnnxAttribute::Int:
    attribute.i = proto.i();
    return true;
  case OnnxAttribute::String:
    attribute.s = std::move(*proto.mutable_s());
    return true;
  case OnnxAttribute::Floats:
    attribute.floats.assign(proto.floats().begin(), proto.floats().end());
    return true;
  case OnnxAttribute::Ints:
    attribute.ints.assign(proto.ints().begin(), proto.ints().end());
    return true;
  case OnnxAttribute::Strings:
    for (std::string &text : *proto.mutable_strings())
      attribute.strings.push_back(std::move(text));
    return true;
  case OnnxAttribute::Tensor:
    attribute.tensor = readTensor(*proto.mutable_t(), what, reading);
    return attribute.tensor != nullptr;
  case OnnxAttribute::SparseTensor:
    attribute.tensor = readSparseTensor(*proto.mutable_sparse_tensor(), what, reading);
    return attribute.tensor != nullptr;
  case OnnxAttribute::Type:
    attribute.valueType = std::make_shared<OnnxValue>();
    return readType(proto.tp(), what, *attribute.valueType, reading);
  case OnnxAttribute::Graph:
    if (!proto.has_g())
      return reading.fail(what, "expected a graph");
    if (depth >= OnnxLimits::graphDepth)
      return reading.fail(what, "expected at most " + Twine(OnnxLimits::graphDepth) +
                                    " graphs inside each other");
    attribute.graph = std::make_shared<OnnxGraph>();
    readGraph(*proto.mutable_g(), depth + 1, *attribute.graph, reading);
    return true;
  default:
    return reading.fail(what, "expected one value or a list of numbers or strings, found " +
                                  (kind == 0 ? Twine("none") : "kind " + Twine(kind)));
  }
}

// ---- Nodes --------------------------------------------------------------------------------------

static void readNodes(google::protobuf::RepeatedPtrField<onnx::NodeProto> &protos, unsigned depth,
                      std::vector<OnnxNode> &nodes, OnnxReading &reading) {
  reading.nodes += size_t(protos.size());
  if (reading.nodes > OnnxLimits::nodes) {
    reading.fail("graph", "expected at most " + Twine(OnnxLimits::nodes) + " nodes in all");
    return;
  }
  nodes.reserve(size_t(protos.size()));
  for (onnx::NodeProto &proto : protos) {
    if (reading.isFull())
      return;
    OnnxNode node;
    node.domain = normalizeDomain(proto.domain());
    node.type = proto.op_type();
    node.overload = getOverload(proto, overloadOfNode);
    node.name =
        proto.name().empty() ? node.type + "_" + std::to_string(nodes.size()) : proto.name();
    std::string what = describe(node);
    if (node.type.empty())
      reading.fail(what, "expected a type of operator");
    node.inputs.assign(proto.input().begin(), proto.input().end());
    node.outputs.assign(proto.output().begin(), proto.output().end());
    StringSet<> names;
    for (onnx::AttributeProto &attribute : *proto.mutable_attribute()) {
      OnnxAttribute read;
      if (readAttribute(attribute, what, depth, read, reading) && !names.insert(read.name).second)
        reading.fail(what, "attribute '" + printable(read.name) + "' is there twice");
      node.attributes.push_back(std::move(read));
    }
    nodes.push_back(std::move(node));
  }
}

// ---- Graphs -------------------------------------------------------------------------------------

static void addInitializer(std::shared_ptr<OnnxTensor> tensor, OnnxGraph &graph,
                           OnnxReading &reading) {
  if (!tensor)
    return;
  if (tensor->name.empty())
    reading.fail("initializer", "expected a name");
  else if (graph.initializers.try_emplace(tensor->name, tensor).second)
    graph.initializerOrder.push_back(std::move(tensor));
  else
    reading.fail("initializer '" + printable(tensor->name) + "'", "is there twice");
}

void kiln::readGraph(onnx::GraphProto &proto, unsigned depth, OnnxGraph &graph,
                     OnnxReading &reading) {
  graph.name = proto.name();
  for (onnx::TensorProto &tensor : *proto.mutable_initializer())
    if (!reading.isFull())
      addInitializer(readTensor(tensor, "initializer '" + printable(tensor.name()) + "'", reading),
                     graph, reading);
  for (onnx::SparseTensorProto &tensor : *proto.mutable_sparse_initializer())
    if (!reading.isFull())
      addInitializer(readSparseTensor(tensor,
                                      "initializer '" + printable(tensor.values().name()) + "'",
                                      reading),
                     graph, reading);
  for (const onnx::ValueInfoProto &input : proto.input()) {
    OnnxValue value;
    if (reading.isFull() || !readValue(input, "input", value, reading))
      continue;
    // Before version 4 of the format every initializer was an input too; since then such an input
    // has a default. Here it is a constant in both cases.
    if (!graph.initializers.count(value.name))
      graph.inputs.push_back(std::move(value));
    else if (depth != 0)
      reading.fail("input '" + printable(value.name) + "'",
                   "is an initializer of the same graph, which inside a node has no meaning");
  }
  for (const onnx::ValueInfoProto &output : proto.output()) {
    OnnxValue value;
    if (!reading.isFull() && readValue(output, "output", value, reading))
      graph.outputs.push_back(std::move(value));
  }
  for (const onnx::ValueInfoProto &info : proto.value_info()) {
    OnnxValue value;
    if (!reading.isFull() && !info.name().empty() && readValue(info, "value", value, reading))
      graph.values.try_emplace(info.name(), std::move(value));
  }
  readNodes(*proto.mutable_node(), depth, graph.nodes, reading);
}

// ---- Functions ----------------------------------------------------------------------------------

void kiln::readOpsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &protos,
                      const Twine &what, std::map<std::string, int64_t> &opsets,
                      OnnxReading &reading) {
  for (const onnx::OperatorSetIdProto &proto : protos) {
    auto [known, isNew] = opsets.try_emplace(normalizeDomain(proto.domain()), proto.version());
    if (proto.version() < 1)
      reading.fail(what, "operator set \"" + printable(proto.domain()) +
                             "\": expected a version of 1 or more, found " +
                             Twine(proto.version()));
    else if (!isNew && known->second != proto.version())
      reading.fail(what, "operator set \"" + printable(proto.domain()) +
                             "\": is there twice, in versions " + Twine(known->second) + " and " +
                             Twine(proto.version()));
  }
}

void kiln::readFunction(onnx::FunctionProto &proto, OnnxFunction &function, OnnxReading &reading) {
  function.domain = normalizeDomain(proto.domain());
  function.name = proto.name();
  function.overload = getOverload(proto, overloadOfFunction);
  std::string what = "function '" + printable(function.name) + "'";
  if (function.name.empty())
    reading.fail(what, "expected a name");
  function.inputs.assign(proto.input().begin(), proto.input().end());
  function.outputs.assign(proto.output().begin(), proto.output().end());
  function.attributes.assign(proto.attribute().begin(), proto.attribute().end());
  for (const std::string &bytes : getNewerField(proto, defaultsOfFunction)) {
    onnx::AttributeProto attribute;
    OnnxAttribute read;
    if (!attribute.ParseFromString(bytes))
      reading.fail(what, "a default of its attributes cannot be parsed");
    else if (readAttribute(attribute, what, 0, read, reading))
      function.defaults.push_back(std::move(read));
  }
  readOpsets(proto.opset_import(), what, function.opsets, reading);
  readNodes(*proto.mutable_node(), 0, function.nodes, reading);
}
