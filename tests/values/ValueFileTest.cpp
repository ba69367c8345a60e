// Arrays come out of files as they went in; files that say anything else are refused.
#include "compiler/values/ValueFile.h"
#include "compiler/values/NpyFormat.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace kiln;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

static std::string makeFile(const std::string &dict, const std::string &elements,
                            unsigned version = 1) {
  std::string file("\x93NUMPY", 6);
  file += char(version);
  file += '\0';
  for (unsigned i = 0; i < (version == 1 ? 2u : 4u); ++i)
    file += char(dict.size() >> (8 * i) & 255);
  return file + dict + elements;
}

static std::string dictOf(const std::string &descriptor, const std::string &shape,
                          const std::string &fortran = "False") {
  return "{'descr': '" + descriptor + "', 'fortran_order': " + fortran + ", 'shape': " + shape +
         ", }";
}

static llvm::Expected<Value> parse(const std::string &file) {
  return parseNpy(llvm::arrayRefFromStringRef(file), "x.npy");
}

static Value parseSound(const std::string &file) {
  auto value = parse(file);
  if (value)
    return *value;
  ADD_FAILURE() << llvm::toString(value.takeError());
  return {};
}

static std::string problemOf(const std::string &file) {
  auto value = parse(file);
  return value ? "" : llvm::toString(value.takeError());
}

TEST(Npy, ReadsEveryVersionAndOrder) {
  for (unsigned version : {1, 2, 3}) {
    Value value = parseSound(makeFile(dictOf("|u1", "(2, 3)"), "abcdef", version));
    EXPECT_EQ(value.type, OnnxType::UInt8);
    EXPECT_THAT(value.dims, ElementsAre(2, 3));
    EXPECT_EQ(llvm::toStringRef(value.bytes), "abcdef");
  }
  // By columns: the element at (0, 1) is the third of the file.
  EXPECT_EQ(
      llvm::toStringRef(parseSound(makeFile(dictOf("|u1", "(2, 3)", "True"), "abcdef")).bytes),
      "acebdf");
  EXPECT_EQ(
      llvm::toStringRef(parseSound(makeFile(dictOf("|u1", "(2, 2, 2)", "True"), "abcdefgh")).bytes),
      "aecgbfdh");
  EXPECT_EQ(llvm::toStringRef(parseSound(makeFile(dictOf("|u1", "(3,)", "True"), "abc")).bytes),
            "abc");
  EXPECT_TRUE(parseSound(makeFile(dictOf("|u1", "()"), "a")).dims.empty());
  EXPECT_TRUE(parseSound(makeFile(dictOf("<f4", "(0, 5)"), "")).bytes.empty());
  // Big-endian, and Python 2's long numbers, and keys in another order.
  EXPECT_EQ(numberAt(parseSound(makeFile(dictOf(">i2", "(1L,)"), std::string("\1\2", 2))), 0), 258);
  EXPECT_EQ(parseSound(makeFile("{\"shape\":(1,),'descr':'=i2','fortran_order':False}", "ab")).type,
            OnnxType::Int16);
}

TEST(Npy, WritesWhatItReads) {
  for (int type = 1; type <= 26; ++type) {
    auto dtype = OnnxType(type);
    unsigned bytes = bytesInMemory(dtype);
    auto header = makeNpyHeader(dtype, {2, 3});
    EXPECT_EQ(bool(header), bytes != 0);
    if (!header) {
      llvm::consumeError(header.takeError());
      continue;
    }
    EXPECT_EQ(header->size() % 64, 0u);
    std::string elements;
    for (unsigned i = 0; i < 6 * bytes; ++i)
      elements += char(dtype == OnnxType::Bool ? i % 2 : i);
    Value value = parseSound(*header + elements);
    EXPECT_EQ(llvm::toStringRef(value.bytes), elements);
    EXPECT_EQ(value.elementBytes, bytes);
    EXPECT_THAT(value.dims, ElementsAre(2, 3));
  }
  auto header = makeNpyHeader(OnnxType::Float, {3});
  ASSERT_TRUE(bool(header));
  EXPECT_EQ(header->substr(10, 58), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } ");
}

TEST(Npy, RefusesWhatItCannotRead) {
  EXPECT_THAT(problemOf("text"), HasSubstr("x.npy: is no .npy file"));
  EXPECT_THAT(problemOf(makeFile(dictOf("|u1", "(1,)"), "a", 4)),
              HasSubstr("expected version 1, 2 or 3 of the format, found 4"));
  EXPECT_THAT(problemOf(makeFile(dictOf("<U5", "(1,)"), "a")),
              HasSubstr("expected elements that are numbers or booleans, found \"<U5\""));
  EXPECT_THAT(problemOf(makeFile(dictOf("|O", "(1,)"), "a")), HasSubstr("found \"|O\""));
  EXPECT_THAT(problemOf(makeFile("{'descr': [('a', '<f4')], 'shape': ()}", "")),
              HasSubstr("header: expected a string (types with fields are not supported)"));
  EXPECT_THAT(problemOf(makeFile(dictOf("|u1", "(2,)"), "a")),
              HasSubstr("expected 2 bytes for [2] of |u1, found 1"));
  EXPECT_THAT(problemOf(makeFile(dictOf("|u1", "(2,)"), "abc")), HasSubstr("found 3"));
  EXPECT_THAT(problemOf(makeFile(dictOf("|u1", "(-2,)"), "")),
              HasSubstr("expected at most 64 dims from 0 to 2^63 - 1 at \"-2,"));
  EXPECT_THAT(problemOf(makeFile(dictOf("<f8", "(4294967296, 4294967296)"), "")),
              HasSubstr("has more than 2^63 bytes"));
  EXPECT_THAT(problemOf(makeFile("{'descr': '<f4', 'descr': '<f4'}", "")),
              HasSubstr("each of the keys descr, fortran_order and shape once"));
  EXPECT_THAT(problemOf(makeFile("{'shape': ()}", "")), HasSubstr("expected the keys"));
  EXPECT_THAT(problemOf(makeFile(dictOf("|u1", "()") + "x", "a")),
              HasSubstr("expected nothing after the dict at \"x\""));
}

TEST(Npy, RefusesEveryTruncatedPrefix) {
  for (unsigned version : {1, 2}) {
    std::string file = makeFile(dictOf("<f4", "(2, 1)") + "    \n", "abcdefgh", version);
    EXPECT_EQ(problemOf(file), "");
    for (size_t size = 0; size < file.size(); ++size)
      EXPECT_NE(problemOf(file.substr(0, size)), "") << size;
  }
}

TEST(Values, HoldNumbersOfEveryType) {
  struct Case {
    OnnxType type;
    double stored, expected;
  };
  for (const Case &c : {Case{OnnxType::Float, 0.1, double(0.1f)},
                        Case{OnnxType::Double, 0.1, 0.1},
                        Case{OnnxType::Float16, 65504, 65504},
                        Case{OnnxType::Float16, 0x1p-24, 0x1p-24},
                        Case{OnnxType::BFloat16, 3.0, 3.0},
                        Case{OnnxType::Float8E4M3FN, 448, 448},
                        Case{OnnxType::Float8E4M3FN, -1.0625, -1.0},
                        Case{OnnxType::Float8E5M2, 57344, 57344},
                        Case{OnnxType::Float8E4M3FNUZ, 240, 240},
                        Case{OnnxType::Float8E8M0, 4, 4},
                        Case{OnnxType::Float4E2M1, 6, 6},
                        Case{OnnxType::Bool, -3, 1},
                        Case{OnnxType::Int4, -9, -8},
                        Case{OnnxType::Int4, 7.4, 7},
                        Case{OnnxType::UInt4, 99, 15},
                        Case{OnnxType::UInt2, 3, 3},
                        Case{OnnxType::Int8, -200, -128},
                        Case{OnnxType::Int8, 2.5, 2},
                        Case{OnnxType::UInt8, 300, 255},
                        Case{OnnxType::Int16, 1e9, 32767},
                        Case{OnnxType::UInt16, -1, 0},
                        Case{OnnxType::Int32, -1e12, -2147483648.0},
                        Case{OnnxType::UInt32, 4294967295.0, 4294967295.0},
                        Case{OnnxType::Int64, 1e30, 9223372036854775808.0},
                        Case{OnnxType::UInt64, 1e30, 18446744073709551616.0},
                        Case{OnnxType::Int64, std::nan(""), 0}}) {
    Value value;
    value.type = c.type;
    value.elementBytes = bytesInMemory(c.type);
    value.bytes.resize(2 * value.elementBytes);
    EXPECT_TRUE(storeNumber(value, 1, c.stored));
    EXPECT_EQ(numberAt(value, 1), c.expected) << nameOf(c.type).str() << " " << c.stored;
    EXPECT_EQ(numberAt(value, 0), c.type == OnnxType::Float8E8M0 ? 0x1p-127 : 0);
  }
}

TEST(Values, UnpackSmallElementsOfTensors) {
  OnnxTensor tensor;
  tensor.type = OnnxType::Int4;
  tensor.dims = {3};
  tensor.elements = 3;
  tensor.bytes = {0xF7, 0x08};
  auto value = makeValue(tensor, nullptr);
  ASSERT_TRUE(bool(value));
  EXPECT_EQ(value->count(), 3);
  EXPECT_EQ(numberAt(*value, 0), 7);
  EXPECT_EQ(numberAt(*value, 1), -1);
  EXPECT_EQ(numberAt(*value, 2), -8);
  tensor.type = OnnxType::UInt2;
  value = makeValue(tensor, nullptr);
  ASSERT_TRUE(bool(value));
  EXPECT_THAT(value->bytes, ElementsAre(3, 1, 3));
}

TEST(ValueFiles, AreWrittenWholeAndReadBack) {
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("kiln-values", folder));
  std::string path = (folder + "/x.npy").str();
  Value value;
  value.type = OnnxType::Int16;
  value.elementBytes = 2;
  value.dims = {2};
  value.bytes = {1, 2, 3, 4};
  EXPECT_EQ(llvm::toString(writeValueFile(path, value)), "");
  auto read = readValueFile(path);
  ASSERT_TRUE(bool(read)) << llvm::toString(read.takeError());
  EXPECT_EQ(read->bytes, value.bytes);
  EXPECT_FALSE(llvm::sys::fs::exists(path + ".partial"));
  EXPECT_THAT(llvm::toString(writeValueFile((folder + "/no/x.npy").str(), value)),
              HasSubstr("cannot be written"));
  EXPECT_THAT(llvm::toString(writeValueFile((folder + "/x.txt").str(), value)),
              HasSubstr("expected a name that ends in .npy"));
  EXPECT_THAT(llvm::toString(readValueFile((folder + "/x.txt").str()).takeError()),
              HasSubstr("expected a file that ends in .npy or .pb"));
  EXPECT_THAT(llvm::toString(readValueFile((folder + "/y.npy").str()).takeError()),
              HasSubstr("cannot be read"));
  llvm::sys::fs::remove_directories(folder);
}
