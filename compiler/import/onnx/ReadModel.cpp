// From a file to a checked OnnxModel: parse the messages, read them as plain data, put functions in
// the place of their calls, check names and order. Protobuf keeps a message below 2 GB; bigger
// models have their weights in files beside them.
#include "compiler/import/InputFile.h"
#include "compiler/import/onnx/ReadProto.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <climits>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <onnx/onnx-data_pb.h>

using namespace llvm;
using namespace kiln;

/// Three messages a graph inside a node, types and maps beside them; graphs have a limit of their
/// own.
static constexpr int deepestMessage = 250;

static bool parseMessage(ArrayRef<uint8_t> bytes, google::protobuf::Message &message,
                         OnnxReading &reading) {
  if (bytes.size() > INT_MAX)
    return reading.fail("model", "expected less than 2^31 bytes, found " + Twine(bytes.size()) +
                                     "; bigger models keep their weights in other files");
  google::protobuf::LogSilencer quiet; // what is wrong is said here
  google::protobuf::io::CodedInputStream stream(bytes.data(), int(bytes.size()));
  stream.SetTotalBytesLimit(INT_MAX);
  stream.SetRecursionLimit(deepestMessage);
  if (message.ParsePartialFromCodedStream(&stream) && stream.ConsumedEntireMessage())
    return true;
  return reading.fail("is no " + message.GetDescriptor()->name() + " of ONNX",
                      "the message of " + Twine(bytes.size()) +
                          " bytes is cut off, malformed or nested too deeply");
}

static void readOperatorSets(onnx::ModelProto &proto, OnnxModel &model, OnnxReading &reading) {
  readOpsets(proto.opset_import(), "model", model.opsets, reading);
  if (!model.opsets.empty())
    return;
  if (model.irVersion == 1 || model.irVersion == 2)
    model.opsets[""] = 1; // there was only one
  else
    reading.fail("model", "expected the versions of operator sets, found none");
}

static Expected<std::unique_ptr<OnnxModel>> readModel(ArrayRef<uint8_t> bytes,
                                                      OnnxReading &reading) {
  auto model = std::make_unique<OnnxModel>();
  model->folder = reading.folder;
  model->file = reading.modelFile;
  // In the order of what a person would check first: each step needs the one before.
  onnx::ModelProto proto;
  if (!parseMessage(bytes, proto, reading))
    return reading.problems.toError(reading.file);
  model->irVersion = proto.ir_version();
  model->producer = proto.producer_name();
  if (!proto.producer_version().empty())
    model->producer += " " + proto.producer_version();
  if (model->irVersion < 1)
    reading.fail("model", "expected the version of the format, found " +
                              (proto.has_ir_version() ? Twine(model->irVersion) : Twine("none")));
  if (!proto.has_graph())
    reading.fail("model", "expected a graph, found none");
  readOperatorSets(proto, *model, reading);
  for (const onnx::StringStringEntryProto &entry : proto.metadata_props())
    model->metadata[entry.key()] = entry.value();
  readGraph(*proto.mutable_graph(), 0, model->graph, reading);
  std::vector<OnnxFunction> functions(size_t(proto.functions_size()));
  for (int i = 0; i < proto.functions_size() && !reading.isFull(); ++i)
    readFunction(*proto.mutable_functions(i), functions[size_t(i)], reading);
  if (!reading.problems.empty())
    return reading.problems.toError(reading.file);
  inlineFunctions(*model, std::move(functions), reading);
  if (!reading.problems.empty())
    return reading.problems.toError(reading.file);
  checkGraph(model->graph, reading);
  if (!reading.problems.empty())
    return reading.problems.toError(reading.file);
  return model;
}

Expected<std::unique_ptr<OnnxModel>> kiln::readOnnxModel(ArrayRef<uint8_t> bytes, StringRef folder,
                                                         StringRef file) {
  OnnxReading reading(file, folder);
  reading.modelFile = file.str();
  return readModel(bytes, reading);
}

Expected<std::unique_ptr<OnnxModel>> kiln::readOnnxModel(StringRef path) {
  StringRef folder = sys::path::parent_path(path), file = sys::path::filename(path);
  OnnxReading reading(path, folder.empty() ? "." : folder);
  reading.modelFile = file.str();
  if (!InputFile::open(path, path, reading.problems)) // no folder, no pipe
    return reading.problems.toError(path);
  auto buffer = MemoryBuffer::getFile(path, false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    reading.problems.add(reading.file + ": cannot be read: " + buffer.getError().message());
    return reading.problems.toError(path);
  }
  ArrayRef<uint8_t> bytes = arrayRefFromStringRef((*buffer)->getBuffer());
  reading.places = TensorPlaces(bytes);
  return readModel(bytes, reading);
}

Expected<OnnxTensor> kiln::readOnnxTensor(ArrayRef<uint8_t> bytes, StringRef what) {
  OnnxReading reading(what, "");
  onnx::TensorProto proto;
  std::shared_ptr<OnnxTensor> tensor;
  if (parseMessage(bytes, proto, reading))
    tensor = readTensor(proto, "tensor '" + printable(proto.name()) + "'", reading);
  if (!tensor)
    return reading.problems.toError(what);
  return std::move(*tensor);
}

Expected<std::vector<OnnxTensor>> kiln::readOnnxTensors(ArrayRef<uint8_t> bytes,
                                                        OnnxValue::Kind kind, StringRef what) {
  std::vector<OnnxTensor> tensors;
  if (kind == OnnxValue::Tensor) {
    Expected<OnnxTensor> tensor = readOnnxTensor(bytes, what);
    if (!tensor)
      return tensor.takeError();
    tensors.push_back(std::move(*tensor));
    return tensors;
  }
  OnnxReading reading(what, "");
  auto add = [&](onnx::TensorProto &proto) {
    auto tensor = readTensor(proto, "tensor '" + printable(proto.name()) + "'", reading);
    if (tensor)
      tensors.push_back(std::move(*tensor));
    return bool(tensor);
  };
  auto addAll = [&](onnx::SequenceProto &sequence) {
    if (sequence.sparse_tensor_values_size() || sequence.sequence_values_size() ||
        sequence.map_values_size() || sequence.optional_values_size())
      return reading.fail("sequence", "expected tensors alone");
    return llvm::all_of(*sequence.mutable_tensor_values(), add);
  };
  onnx::SequenceProto sequence;
  onnx::OptionalProto optional;
  bool read = false;
  if (kind == OnnxValue::Sequence) {
    read = parseMessage(bytes, sequence, reading) && addAll(sequence);
  } else if (parseMessage(bytes, optional, reading)) {
    read = !(optional.has_tensor_value() && !add(*optional.mutable_tensor_value())) &&
           !(optional.has_sequence_value() && !addAll(*optional.mutable_sequence_value()));
  }
  if (!read)
    return reading.problems.toError(what);
  return tensors;
}
