// What the parts of the ONNX reader share: the messages of onnx.proto and the state of one reading.
// Only the reader's own files include this: nobody else sees protobuf.
#ifndef KILN_COMPILER_IMPORT_ONNX_READPROTO_H
#define KILN_COMPILER_IMPORT_ONNX_READPROTO_H

#include "compiler/import/Problems.h"
#include "compiler/import/onnx/OnnxModel.h"
#include "compiler/import/onnx/TensorPlaces.h"
#include "llvm/ADT/StringMap.h"
#include <onnx/onnx_pb.h>

namespace kiln {

/// Limits of a model, far beyond those that exist, so that hostile ones end early.
struct OnnxLimits {
  static constexpr int64_t elements = int64_t(1) << 62;
  static constexpr size_t dims = 64;
  static constexpr size_t nodes = 1 << 18;        // of all graphs, after functions are inlined
  static constexpr unsigned graphDepth = 32;      // graphs inside nodes of graphs
  static constexpr unsigned functionDepth = 32;   // functions that call functions
  static constexpr uint64_t copied = 64 << 20;    // bytes that inlining makes of what is there once
  static constexpr uint64_t dense = 512ull << 20; // bytes of sparse tensors with their zeros
  static constexpr size_t problems = 100;         // after which reading stops
};

/// One reading of a file.
struct OnnxReading {
  OnnxReading(llvm::StringRef file, llvm::StringRef folder)
      : file(printable(file)), folder(folder) {}

  /// Adds "file: what: text"; false, so that it can be returned.
  bool fail(const llvm::Twine &what, const llvm::Twine &text) {
    problems.add(file + ": " + what + ": " + text);
    return false;
  }
  /// Whether there are so many problems that more would help nobody.
  bool isFull() const { return problems.size() >= OnnxLimits::problems; }

  std::string file;      // as messages call it
  std::string folder;    // where external data may lie; "" for nowhere
  std::string modelFile; // the name in `folder` of the file that `places` is about
  TensorPlaces places;
  Problems problems;
  llvm::StringMap<uint64_t> externalSizes; // of files that were found to lie in the folder
  uint64_t denseBytes = 0;
  size_t nodes = 0;
};

/// Takes the data out of `proto`. Nothing where it is wrong; the problem is in the list then.
std::shared_ptr<OnnxTensor> readTensor(onnx::TensorProto &proto, const llvm::Twine &what,
                                       OnnxReading &reading);
/// The same with the zeros between the values.
std::shared_ptr<OnnxTensor> readSparseTensor(onnx::SparseTensorProto &proto,
                                             const llvm::Twine &what, OnnxReading &reading);

/// Product of dims; nothing where one is negative or there are too many elements.
std::optional<int64_t> countElements(llvm::ArrayRef<int64_t> dims, const llvm::Twine &what,
                                     OnnxReading &reading);

/// A graph and its nodes' graphs, as they are in the file.
void readGraph(onnx::GraphProto &proto, unsigned depth, OnnxGraph &graph, OnnxReading &reading);
/// A function; its nodes refer to attributes of calls.
void readFunction(onnx::FunctionProto &proto, OnnxFunction &function, OnnxReading &reading);
void readOpsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &protos,
                const llvm::Twine &what, std::map<std::string, int64_t> &opsets,
                OnnxReading &reading);

/// Puts the bodies of functions in the place of their calls, in `graph` and its nodes' graphs, and
/// tells every node the version of its operator set.
void inlineFunctions(OnnxModel &model, std::vector<OnnxFunction> functions, OnnxReading &reading);

/// Checks that every value has one producer that precedes its readers, sorting nodes where they do
/// not; finds what graphs inside nodes capture.
void checkGraph(OnnxGraph &graph, OnnxReading &reading);

/// "node 'n' (Conv)"
std::string describe(const OnnxNode &node);

} // namespace kiln

#endif
