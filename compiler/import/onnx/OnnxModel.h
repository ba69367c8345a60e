// An ONNX model as plain data, checked: what onnx.proto says, without protobuf's types.
//
// Format: https://github.com/onnx/onnx/blob/main/docs/IR.md and onnx/onnx.proto3.
#ifndef KILN_COMPILER_IMPORT_ONNX_ONNXMODEL_H
#define KILN_COMPILER_IMPORT_ONNX_ONNXMODEL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kiln {

/// TensorProto.DataType, by its numbers.
enum class OnnxType : int32_t {
  Undefined = 0,
  Float = 1,
  UInt8 = 2,
  Int8 = 3,
  UInt16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  String = 8,
  Bool = 9,
  Float16 = 10,
  Double = 11,
  UInt32 = 12,
  UInt64 = 13,
  Complex64 = 14,
  Complex128 = 15,
  BFloat16 = 16,
  Float8E4M3FN = 17,
  Float8E4M3FNUZ = 18,
  Float8E5M2 = 19,
  Float8E5M2FNUZ = 20,
  UInt4 = 21,
  Int4 = 22,
  Float4E2M1 = 23,
  Float8E8M0 = 24,
  UInt2 = 25,
  Int2 = 26,
};

/// "float32", "int64", …: for messages and as a source's dtype.
llvm::StringRef nameOf(OnnxType type);
/// Bits of an element in a file; 0 for strings and unknown types.
unsigned bitsOf(OnnxType type);

struct OnnxTensor {
  std::string name;
  OnnxType type = OnnxType::Undefined;
  std::vector<int64_t> dims;
  int64_t elements = 0; // product of dims, checked
  /// Where the elements are, little-endian, packed as in raw_data (4-bit ones two to a byte, low
  /// half first): in `bytes`, or in the file `file` (relative to the model's folder, checked to lie
  /// in it) from `offset` on. A file that is the model's own is there for the values that lie in it
  /// as they are, so that big weights need no memory.
  std::vector<uint8_t> bytes;
  std::string file;
  uint64_t offset = 0;
  uint64_t sizeBytes = 0;
  std::vector<std::string> strings; // of type String
};

struct OnnxDim {
  int64_t extent = -1; // -1: not a number
  std::string param;   // its name, "" where it has none
};

struct OnnxValue {
  /// Other: maps, sparse tensors, sequences of sequences.
  enum Kind { Tensor, Sequence, Optional, OptionalSequence, Other };
  std::string name;
  Kind kind = Tensor;
  OnnxType type = OnnxType::Undefined; // of a tensor, or of the tensors of a sequence or optional
  bool hasShape = false;
  std::vector<OnnxDim> shape;
};

struct OnnxGraph;

/// AttributeProto: which members hold its value follows from `kind`.
struct OnnxAttribute {
  enum Kind {
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    Type = 13
  };
  std::string name;
  Kind kind = Int;
  double f = 0;
  int64_t i = 0;
  std::string s;
  std::shared_ptr<OnnxTensor> tensor; // of SparseTensor too: its elements with the zeros between
  std::shared_ptr<OnnxGraph> graph;
  std::shared_ptr<OnnxValue> valueType; // of Type; has no name
  std::vector<double> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  /// In a function's body only: the attribute of the call whose value this one has.
  std::string ref;
};

struct OnnxNode {
  std::string name;   // as the file has it, or made up: "Conv_12"; in a function "call/Conv_12"
  std::string domain; // "" for ai.onnx
  std::string type;
  std::string overload; // of a function's name, mostly ""
  int64_t opset = 0;    // the version of its domain that the model or function imports, 0 if none
  std::vector<std::string> inputs, outputs; // "": absent
  std::vector<OnnxAttribute> attributes;
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxValue> inputs; // without those that are initializers
  std::vector<OnnxValue> outputs;
  llvm::StringMap<std::shared_ptr<OnnxTensor>> initializers;
  std::vector<std::shared_ptr<OnnxTensor>> initializerOrder;
  std::vector<OnnxNode> nodes; // in an order in which every value is computed before it is used
  llvm::StringMap<OnnxValue> values; // value_info
  /// Of a node's graph: values of the graphs around it that it or its nodes' graphs read, each
  /// once.
  std::vector<std::string> captures;
};

/// A function of the model: nodes that may be put in a node's place.
struct OnnxFunction {
  std::string domain, name, overload;
  std::vector<std::string> inputs, outputs, attributes; // attributes that nodes refer to
  std::vector<OnnxAttribute> defaults;
  std::vector<OnnxNode> nodes;
  std::map<std::string, int64_t> opsets;
};

struct OnnxModel {
  int64_t irVersion = 0;
  std::string producer;
  std::map<std::string, int64_t> opsets; // by domain; "" for ai.onnx
  OnnxGraph graph;
  std::string folder; // of the file
  std::string file;   // its name in the folder
  std::map<std::string, std::string> metadata;
};

/// Reads and checks a model: structure, names, types and sizes; nodes in topological order; calls
/// of the model's own functions replaced by their bodies. Values of tensors in other files are not
/// read, but their places are checked. Every error names the file and the tensor or node.
llvm::Expected<std::unique_ptr<OnnxModel>> readOnnxModel(llvm::StringRef path);
/// The same of bytes in memory (a fuzzer's, a test's); `folder` is where external data may lie.
llvm::Expected<std::unique_ptr<OnnxModel>>
readOnnxModel(llvm::ArrayRef<uint8_t> bytes, llvm::StringRef folder, llvm::StringRef file);

/// A serialized TensorProto (input_0.pb of a test).
llvm::Expected<OnnxTensor> readOnnxTensor(llvm::ArrayRef<uint8_t> bytes, llvm::StringRef what);

/// The tensors of a serialized TensorProto, SequenceProto or OptionalProto, as a value of that kind
/// is written: one, any number, or one at most; of an optional sequence those of the sequence.
llvm::Expected<std::vector<OnnxTensor>> readOnnxTensors(llvm::ArrayRef<uint8_t> bytes,
                                                        OnnxValue::Kind kind, llvm::StringRef what);

/// The bytes of a tensor, wherever they lie; `model` may be null for tensors without a file.
llvm::Expected<std::vector<uint8_t>> readBytes(const OnnxTensor &tensor, const OnnxModel *model);

} // namespace kiln

#endif
