// Tensors of ONNX files: every type and field, sizes held against dims, files beside the model held
// to its folder.
#include "TinyOnnx.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::testing;
using onnx::TensorProto;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

static std::string readProblem(const TensorProto &proto) {
  std::string bytes = proto.SerializeAsString();
  auto tensor = readOnnxTensor(llvm::arrayRefFromStringRef(bytes), "t.pb");
  return tensor ? "" : llvm::toString(tensor.takeError());
}

static OnnxTensor readSoundTensor(const TensorProto &proto) {
  std::string bytes = proto.SerializeAsString();
  auto tensor = readOnnxTensor(llvm::arrayRefFromStringRef(bytes), "t.pb");
  if (tensor)
    return *tensor;
  ADD_FAILURE() << llvm::toString(tensor.takeError());
  return {};
}

static TensorProto makeTensor(OnnxType type, std::initializer_list<int64_t> dims) {
  TensorProto proto;
  proto.set_name("t");
  proto.set_data_type(int(type));
  for (int64_t extent : dims)
    proto.add_dims(extent);
  return proto;
}

TEST(OnnxTensor, TakesRawDataOfEveryType) {
  for (int type = 1; type <= 26; ++type) {
    unsigned bits = bitsOf(OnnxType(type));
    if (OnnxType(type) == OnnxType::String)
      continue;
    EXPECT_GT(bits, 0u);
    EXPECT_NE(nameOf(OnnxType(type)), "unknown");
    TensorProto proto = makeTensor(OnnxType(type), {3});
    size_t size = (3 * bits + 7) / 8;
    proto.set_raw_data(std::string(size, '\1'));
    OnnxTensor tensor = readSoundTensor(proto);
    EXPECT_EQ(tensor.bytes, std::vector<uint8_t>(size, 1));
    EXPECT_EQ(tensor.sizeBytes, size);
    EXPECT_EQ(tensor.elements, 3);
    proto.set_raw_data(std::string(size + 1, '\1'));
    EXPECT_THAT(readProblem(proto),
                HasSubstr("expected " + std::to_string(size) + " bytes for [3] of " +
                          nameOf(OnnxType(type)).str() + ", found " + std::to_string(size + 1)));
  }
  EXPECT_EQ(bitsOf(OnnxType(27)), 0u);
  EXPECT_EQ(bitsOf(OnnxType(-1)), 0u);
  EXPECT_THAT(readProblem(makeTensor(OnnxType(27), {0})),
              HasSubstr("t.pb: tensor 't': expected a type of elements from 1 to 26, found 27"));
}

TEST(OnnxTensor, MakesBytesOfTypedFields) {
  struct Case {
    OnnxType type;
    std::vector<int32_t> values;
    std::vector<uint8_t> bytes;
  };
  for (const Case &c :
       {Case{OnnxType::Int32, {-2, 5}, {0xFE, 0xFF, 0xFF, 0xFF, 5, 0, 0, 0}},
        Case{OnnxType::Int16, {-2, 5}, {0xFE, 0xFF, 5, 0}},
        Case{OnnxType::UInt16, {65535, 1}, {0xFF, 0xFF, 1, 0}},
        Case{OnnxType::Float16, {0x3C00, 0xFC00}, {0, 0x3C, 0, 0xFC}},
        Case{OnnxType::BFloat16, {0x3F80, 0}, {0x80, 0x3F, 0, 0}},
        Case{OnnxType::Int8, {-128, 127}, {0x80, 0x7F}}, Case{OnnxType::UInt8, {255, 0}, {0xFF, 0}},
        Case{OnnxType::Bool, {1, 0}, {1, 0}},
        Case{OnnxType::Float8E4M3FN, {0x7F, 0x80}, {0x7F, 0x80}},
        Case{OnnxType::Float8E8M0, {254, 1}, {254, 1}}, Case{OnnxType::Int4, {0x2F}, {0x2F}},
        Case{OnnxType::UInt4, {0xF1}, {0xF1}}, Case{OnnxType::Float4E2M1, {0xF1}, {0xF1}},
        Case{OnnxType::UInt2, {0x0D}, {0x0D}}}) {
    TensorProto proto = makeTensor(c.type, {2});
    for (int32_t value : c.values)
      proto.add_int32_data(value);
    EXPECT_EQ(readSoundTensor(proto).bytes, c.bytes) << nameOf(c.type).str();
    proto.add_int32_data(0);
    EXPECT_THAT(readProblem(proto),
                HasSubstr("expected " + std::to_string(c.values.size()) + " values for [2] of " +
                          nameOf(c.type).str() + ", found " + std::to_string(c.values.size() + 1) +
                          " in int32_data"));
    if (c.type == OnnxType::Int32)
      continue;
    proto.mutable_int32_data()->RemoveLast();
    proto.set_int32_data(0, 65536);
    EXPECT_THAT(readProblem(proto), HasSubstr("found 65536 in int32_data"));
  }
}

TEST(OnnxTensor, MakesBytesOfWideFields) {
  TensorProto proto = makeTensor(OnnxType::Float, {2});
  proto.add_float_data(1), proto.add_float_data(-2);
  EXPECT_THAT(readSoundTensor(proto).bytes, ElementsAre(0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0));
  proto.set_data_type(int(OnnxType::Complex64)), proto.set_dims(0, 1);
  EXPECT_EQ(readSoundTensor(proto).bytes.size(), 8u);
  proto = makeTensor(OnnxType::Double, {});
  proto.add_double_data(1);
  EXPECT_THAT(readSoundTensor(proto).bytes, ElementsAre(0, 0, 0, 0, 0, 0, 0xF0, 0x3F));
  proto = makeTensor(OnnxType::Int64, {1});
  proto.add_int64_data(-1);
  EXPECT_EQ(readSoundTensor(proto).bytes, std::vector<uint8_t>(8, 0xFF));
  proto = makeTensor(OnnxType::UInt64, {1});
  proto.add_uint64_data(1);
  EXPECT_EQ(readSoundTensor(proto).bytes.size(), 8u);
  proto.set_data_type(int(OnnxType::UInt32));
  EXPECT_THAT(readSoundTensor(proto).bytes, ElementsAre(1, 0, 0, 0));
  proto.set_uint64_data(0, uint64_t(1) << 32);
  EXPECT_THAT(readProblem(proto), HasSubstr("expected values from 0 to 4294967295 for uint32"));
  proto = makeTensor(OnnxType::String, {2});
  proto.add_string_data("a"), proto.add_string_data("b");
  EXPECT_THAT(readSoundTensor(proto).strings, ElementsAre("a", "b"));
  proto.add_string_data("c");
  EXPECT_THAT(readProblem(proto), HasSubstr("expected 2 strings for [2] of string, found 3"));
}

TEST(OnnxTensor, HoldsDimsAgainstNonsense) {
  auto problemOf = [](std::initializer_list<int64_t> dims) {
    return readProblem(makeTensor(OnnxType::Float, dims));
  };
  EXPECT_EQ(problemOf({0, 5}), "");
  EXPECT_THAT(problemOf({2}), HasSubstr("expected 2 values for [2] of float32, found 0"));
  EXPECT_THAT(problemOf({-1, 5}), HasSubstr("expected dims of 0 or more, found [-1, 5]"));
  EXPECT_THAT(problemOf({int64_t(1) << 62}), HasSubstr("has more than 2^62 bits"));
  EXPECT_THAT(problemOf({(int64_t(1) << 62) + 1}), HasSubstr("has more than 2^62 elements"));
  EXPECT_THAT(problemOf({int64_t(1) << 31, int64_t(1) << 31, 4, 0}),
              HasSubstr("has more than 2^62 elements"));
  TensorProto proto = makeTensor(OnnxType::Float, {});
  for (int i = 0; i < 65; ++i)
    proto.add_dims(1);
  EXPECT_THAT(readProblem(proto), HasSubstr("expected at most 64 dims, found 65"));
  proto = makeTensor(OnnxType::Float, {1});
  proto.mutable_segment()->set_begin(0);
  EXPECT_THAT(readProblem(proto), HasSubstr("is a segment of a tensor"));
}

TEST(OnnxTensor, RefusesEveryTruncatedPrefix) {
  TensorProto proto = makeTensor(OnnxType::Int64, {3});
  for (int64_t value : {1, 300, 70000})
    proto.add_int64_data(value);
  std::string bytes = proto.SerializeAsString();
  proto.clear_name(); // the last field, without which it is a tensor still
  size_t whole = proto.SerializeAsString().size();
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto tensor = readOnnxTensor(llvm::arrayRefFromStringRef(bytes).take_front(size), "t.pb");
    EXPECT_EQ(bool(tensor), size == whole) << size;
    llvm::consumeError(tensor.takeError());
  }
}

// ---- Sparse tensors -----------------------------------------------------------------------------

static onnx::ModelProto makeSparse(std::initializer_list<int64_t> indexDims,
                                   std::initializer_list<int64_t> indices) {
  onnx::ModelProto model = makeOnnxModel();
  onnx::SparseTensorProto *sparse = model.mutable_graph()->add_sparse_initializer();
  *sparse->mutable_values() = makeTensor(OnnxType::Int8, {2});
  sparse->mutable_values()->set_raw_data("\5\6");
  *sparse->mutable_indices() = makeTensor(OnnxType::Int64, indexDims);
  for (int64_t index : indices)
    sparse->mutable_indices()->add_int64_data(index);
  sparse->add_dims(2), sparse->add_dims(3);
  return model;
}

TEST(OnnxTensor, PutsZerosBetweenValuesOfSparseTensors) {
  auto model = readSound(makeSparse({2}, {1, 5}));
  EXPECT_THAT(model->graph.initializers["t"]->bytes, ElementsAre(0, 5, 0, 0, 0, 6));
  model = readSound(makeSparse({2, 2}, {0, 2, 1, 0}));
  EXPECT_THAT(model->graph.initializers["t"]->bytes, ElementsAre(0, 0, 5, 6, 0, 0));
  EXPECT_THAT(readProblems(makeSparse({2}, {1, 6})), HasSubstr("index 1 lies outside of [2, 3]"));
  EXPECT_THAT(readProblems(makeSparse({2}, {-1, 5})), HasSubstr("index 0 lies outside"));
  EXPECT_THAT(readProblems(makeSparse({2, 2}, {0, 3, 1, 0})), HasSubstr("index 0 lies outside"));
  EXPECT_THAT(readProblems(makeSparse({3}, {0, 1, 2})),
              HasSubstr("expected indices of int64 and [2] or [2, 2], found int64 and [3]"));
  onnx::ModelProto big = makeSparse({2}, {1, 5});
  big.mutable_graph()->mutable_sparse_initializer(0)->set_dims(0, int64_t(1) << 50);
  EXPECT_THAT(readProblems(big), HasSubstr("takes more memory than"));
}

// ---- Files beside the model ---------------------------------------------------------------------

namespace {
/// A folder with a file of 100 bytes 0, 1, 2, … and one outside of it.
class OnnxExternal : public ::testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> made;
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("kiln-onnx", made));
    root = made.str().str();
    folder = root + "/model";
    ASSERT_FALSE(llvm::sys::fs::create_directories(folder + "/sub"));
    std::string bytes;
    for (int i = 0; i < 100; ++i)
      bytes += char(i);
    for (const std::string &path : {folder + "/w.bin", folder + "/sub/w.bin", root + "/secret"})
      write(path, bytes);
  }
  void TearDown() override { llvm::sys::fs::remove_directories(root); }

  static void write(const std::string &path, const std::string &bytes) {
    std::error_code code;
    llvm::raw_fd_ostream file(path, code);
    ASSERT_FALSE(code);
    file << bytes;
  }

  static onnx::ModelProto makeExternal(const std::string &location, const char *offset = nullptr,
                                       const char *length = nullptr) {
    onnx::ModelProto model = makeOnnxModel();
    TensorProto *tensor = addInitializer(model.mutable_graph(), "w", TensorProto::INT16, {4});
    tensor->set_data_location(TensorProto::EXTERNAL);
    auto set = [&](const char *key, const std::string &value) {
      onnx::StringStringEntryProto *entry = tensor->add_external_data();
      entry->set_key(key), entry->set_value(value);
    };
    set("location", location);
    if (offset)
      set("offset", offset);
    if (length)
      set("length", length);
    return model;
  }

  std::string root, folder;
};
} // namespace

TEST_F(OnnxExternal, AreFoundAndRead) {
  for (const char *location : {"w.bin", "sub/w.bin", "./sub//w.bin"}) {
    auto model = readSound(makeExternal(location, "92", "8"), folder);
    const OnnxTensor &tensor = *model->graph.initializers["w"];
    EXPECT_EQ(tensor.file, location);
    EXPECT_EQ(tensor.offset, 92u);
    EXPECT_TRUE(tensor.bytes.empty());
    auto bytes = readBytes(tensor, model.get());
    ASSERT_TRUE(bool(bytes));
    EXPECT_THAT(*bytes, ElementsAre(92, 93, 94, 95, 96, 97, 98, 99));
  }
  auto model = readSound(makeExternal("w.bin"), folder);
  EXPECT_EQ(model->graph.initializers["w"]->offset, 0u);
  EXPECT_EQ(model->graph.initializers["w"]->sizeBytes, 8u);
}

TEST_F(OnnxExternal, StayWithinTheFile) {
  auto problemOf = [&](const char *offset, const char *length = nullptr) {
    return readProblems(makeExternal("w.bin", offset, length), folder);
  };
  EXPECT_THAT(problemOf("93"), HasSubstr("initializer 'w': expected 8 bytes at offset 93 of "
                                         "external data \"w.bin\", found a file of 100"));
  EXPECT_THAT(problemOf("18446744073709551615"), HasSubstr("found a file of 100"));
  EXPECT_THAT(problemOf("18446744073709551616"), HasSubstr("offset: expected a number"));
  EXPECT_THAT(problemOf("-1"), HasSubstr("offset: expected a number, found \"-1\""));
  EXPECT_THAT(problemOf("0", "x"), HasSubstr("length: expected a number, found \"x\""));
  EXPECT_THAT(problemOf("0", "9"),
              HasSubstr("expected 8 bytes for [4] of int16, found 9 in external data"));
}

TEST_F(OnnxExternal, StayWithinTheFolder) {
  auto problemOf = [&](const std::string &location) {
    return readProblems(makeExternal(location), folder);
  };
  EXPECT_THAT(problemOf("../secret"), HasSubstr("found \"..\" in it"));
  EXPECT_THAT(problemOf("sub/../../secret"), HasSubstr("found \"..\" in it"));
  EXPECT_THAT(problemOf("sub/../w.bin"), HasSubstr("found \"..\" in it"));
  EXPECT_THAT(problemOf(root + "/secret"), HasSubstr("found an absolute one"));
  EXPECT_THAT(problemOf(folder + "/w.bin"), HasSubstr("found an absolute one"));
  EXPECT_THAT(problemOf(""), HasSubstr("expected a path of a file"));
  EXPECT_THAT(problemOf(std::string("w\0.bin", 6)), HasSubstr("expected a path of a file"));
  EXPECT_THAT(problemOf("absent"), HasSubstr("external data \"absent\": cannot be read"));
  EXPECT_THAT(problemOf("sub"), HasSubstr("expected a regular file"));
  ASSERT_FALSE(llvm::sys::fs::create_link(root + "/secret", folder + "/link"));
  EXPECT_THAT(problemOf("link"), HasSubstr("found a symbolic link that leads out of it"));
  ASSERT_FALSE(llvm::sys::fs::create_link(root, folder + "/up"));
  EXPECT_THAT(problemOf("up/secret"), HasSubstr("found a symbolic link that leads out of it"));
  ASSERT_FALSE(llvm::sys::fs::create_link(folder + "/w.bin", folder + "/sub/inside"));
  EXPECT_EQ(problemOf("sub/inside"), "");
  // A folder whose name only begins with that of the model's.
  ASSERT_FALSE(llvm::sys::fs::create_directories(folder + "-other"));
  write(folder + "-other/w.bin", std::string(100, 0));
  ASSERT_FALSE(llvm::sys::fs::create_link(folder + "-other", folder + "/other"));
  EXPECT_THAT(problemOf("other/w.bin"), HasSubstr("found a symbolic link that leads out of it"));
}

TEST_F(OnnxExternal, AreCheckedAgainWhenRead) {
  auto model = readSound(makeExternal("w.bin"), folder);
  ASSERT_FALSE(llvm::sys::fs::remove(folder + "/w.bin"));
  ASSERT_FALSE(llvm::sys::fs::create_link(root + "/secret", folder + "/w.bin"));
  auto bytes = readBytes(*model->graph.initializers["w"], model.get());
  EXPECT_THAT(llvm::toString(bytes.takeError()), HasSubstr("leads out of it"));
}

TEST_F(OnnxExternal, NeedAFolder) {
  EXPECT_THAT(readProblems(makeExternal("w.bin")), HasSubstr("the model lies in no folder"));
}

TEST_F(OnnxExternal, AreTheModelItselfForBigTensors) {
  onnx::ModelProto proto = makeOnnxModel();
  TensorProto *raw = addInitializer(proto.mutable_graph(), "raw", TensorProto::UINT8, {5000});
  for (int i = 0; i < 5000; ++i)
    raw->mutable_raw_data()->push_back(char(i * 7));
  TensorProto *floats = addInitializer(proto.mutable_graph(), "floats", TensorProto::FLOAT, {600});
  TensorProto *varints = addInitializer(proto.mutable_graph(), "ints", TensorProto::INT64, {600});
  for (int i = 0; i < 600; ++i)
    floats->add_float_data(float(i)), varints->add_int64_data(i);
  write(folder + "/m.onnx", proto.SerializeAsString());
  // Also where the model is a link into a store, as download caches have it.
  ASSERT_FALSE(llvm::sys::fs::create_directories(root + "/cache"));
  ASSERT_FALSE(llvm::sys::fs::create_link(folder + "/m.onnx", root + "/cache/m.onnx"));
  for (const std::string &path : {folder + "/m.onnx", root + "/cache/m.onnx"}) {
    auto model = readOnnxModel(path);
    ASSERT_TRUE(bool(model)) << llvm::toString(model.takeError());
    for (const char *name : {"raw", "floats", "ints"}) {
      const OnnxTensor &tensor = *(*model)->graph.initializers[name];
      bool inFile = tensor.name != "ints";
      EXPECT_EQ(tensor.file, inFile ? "m.onnx" : "");
      EXPECT_EQ(tensor.bytes.empty(), inFile);
      auto bytes = readBytes(tensor, model->get());
      ASSERT_TRUE(bool(bytes)) << llvm::toString(bytes.takeError());
      EXPECT_EQ(
          llvm::toStringRef(*bytes).str(),
          tensor.name == "raw" ? raw->raw_data()
          : tensor.name == "floats"
              ? std::string(reinterpret_cast<const char *>(floats->float_data().data()), 2400)
              : std::string(reinterpret_cast<const char *>(varints->int64_data().data()), 4800));
    }
  }
}
