// The GGUF reader takes what the format allows and names what it does not, word for word. Each
// class of fault that readers of the format have fallen for has a test.
#include "TinyGguf.h"
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::testing;
using Type = GgufValueType;

/// What parsing says of these bytes, one problem a line; "" where they are sound.
static std::string parse(const std::string &bytes, std::optional<uint64_t> fileSize = {}) {
  Problems problems;
  auto header = parseGgufHeader("m", bytes, fileSize.value_or(bytes.size()), problems);
  EXPECT_EQ(header.has_value(), problems.empty());
  std::string text;
  for (const std::string &line : problems.getLines())
    text += (text.empty() ? "" : "\n") + line;
  return text;
}

static std::string parse(const TinyGguf &file) { return parse(file.build()); }

static GgufHeader parseSound(const TinyGguf &file) {
  Problems problems;
  std::string bytes = file.build();
  auto header = parseGgufHeader("m", bytes, bytes.size(), problems);
  EXPECT_TRUE(problems.empty()) << problems.getLines()[0];
  return header.value_or(GgufHeader());
}

static TinyGguf twoTensors() {
  TinyGguf file;
  file.addString("general.architecture", "llama");
  file.addTensor("a", {2, 3});
  file.addTensor("b", {4});
  return file;
}

TEST(Gguf, GivesTensorsWithShapesOutermostFirst) {
  TinyGguf file = twoTensors();
  file.tensors[1].type = 2; // a block of Q4_0
  file.tensors[1].shape = {32};
  file.tensors[1].bytes = std::string(18, 0);
  size_t size = file.build().size();
  GgufHeader header = parseSound(file);
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].type->name, "f32");
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header.tensors[0].sizeBytes, 24u);
  EXPECT_EQ(header.tensors[0].offset, size - 18 - 32);
  EXPECT_EQ(header.tensors[1].type->name, "gguf.q4_0");
  EXPECT_EQ(header.tensors[1].offset, size - 18);
  EXPECT_EQ(header.tensors[1].sizeBytes, 18u);
}

TEST(Gguf, TakesBothVersionsAndFilesOfAVocabularyAlone) {
  TinyGguf file;
  EXPECT_EQ(parse(file), "");
  file.version = 2;
  file.addStrings("tokenizer.ggml.tokens", {"a", "b"});
  std::string bytes = file.build();
  EXPECT_EQ(parse(bytes), "");
  while (bytes.back() == 0) // without the padding that no tensor needs
    bytes.pop_back();
  EXPECT_EQ(parse(bytes), "");
}

TEST(Gguf, GivesValuesOfEveryType) {
  TinyGguf file;
  file.add("u8", Type::UInt8, little(uint8_t(200)));
  file.add("i8", Type::Int8, little(int8_t(-3)));
  file.add("u16", Type::UInt16, little(uint16_t(60000)));
  file.add("i16", Type::Int16, little(int16_t(-300)));
  file.addInteger("u32", 4000000000u);
  file.add("i32", Type::Int32, little(int32_t(-70000)));
  file.addFloat("f32", 1.5f);
  file.addBool("bool", true);
  file.addString("string", "text");
  file.add("u64", Type::UInt64, little(uint64_t(1) << 63));
  file.add("i64", Type::Int64, little(int64_t(-1) << 40));
  file.add("f64", Type::Float64, little(2.25));
  file.addStrings("strings", {"", "a", std::string("b\0c", 3)});
  file.addArray("floats", Type::Float32, 2, little(0.5f) + little(-2.0f));
  file.addArray("integers", Type::UInt16, 2, little(uint16_t(7)) + little(uint16_t(9)));
  file.addArray("nested", Type::Array, 1, little(uint32_t(4)) + little(uint64_t(0)));
  GgufHeader header = parseSound(file);
  const GgufMetadata &values = header.metadata;
  Problems none;
  EXPECT_EQ(values.getUnsigned("u8", none), 200u);
  EXPECT_EQ(values.getInteger("i8", -128, 127, none), -3);
  EXPECT_EQ(values.getUnsigned("u16", none), 60000u);
  EXPECT_EQ(values.getInteger("i16", -1000, 0, none), -300);
  EXPECT_EQ(values.getUnsigned("u32", none), 4000000000u);
  EXPECT_EQ(values.getInteger("i32", INT64_MIN, INT64_MAX, none), -70000);
  EXPECT_EQ(values.getNumber("f32", none), 1.5);
  EXPECT_EQ(values.getNumber("i8", none), -3);
  EXPECT_EQ(values.getBool("bool", none), true);
  EXPECT_EQ(values.getString("string", none), "text");
  EXPECT_EQ(values.getUnsigned("u64", none), uint64_t(1) << 63);
  EXPECT_EQ(values.getInteger("i64", INT64_MIN, INT64_MAX, none), int64_t(-1) << 40);
  EXPECT_EQ(values.getNumber("f64", none), 2.25);
  EXPECT_EQ(values.getStrings("strings", none),
            (std::vector<llvm::StringRef>{"", "a", llvm::StringRef("b\0c", 3)}));
  EXPECT_EQ(values.getNumbers("floats", none), (std::vector<float>{0.5f, -2.0f}));
  EXPECT_EQ(values.getIntegers("integers", none), (std::vector<int32_t>{7, 9}));
  EXPECT_TRUE(values.isArray("nested"));
  EXPECT_FALSE(values.getString("absent", none));
  EXPECT_EQ(values.getKeys().size(), 16u);
  EXPECT_TRUE(none.empty());
}

TEST(Gguf, ValuesOfTheWrongTypeAreProblems) {
  TinyGguf file;
  file.addInteger("number", 4000000000u);
  file.addString("text", "t");
  file.addStrings("texts", {"t"});
  file.addArray("large", Type::UInt64, 1, little(uint64_t(1) << 40));
  file.add("u64", Type::UInt64, little(~uint64_t(0)));
  GgufHeader header = parseSound(file);
  const GgufMetadata &values = header.metadata;
  Problems problems;
  EXPECT_FALSE(values.getString("number", problems));
  EXPECT_FALSE(values.getInteger("number", 1, 1024, problems));
  EXPECT_FALSE(values.getUnsigned("text", problems));
  EXPECT_FALSE(values.getNumber("texts", problems));
  EXPECT_FALSE(values.getBool("number", problems));
  EXPECT_FALSE(values.getStrings("text", problems));
  EXPECT_FALSE(values.getIntegers("large", problems));
  EXPECT_FALSE(values.getNumbers("large", problems));
  EXPECT_FALSE(values.getInteger("u64", INT64_MIN, INT64_MAX, problems));
  EXPECT_EQ(problems.getLines()[0], "m: number: expected a string, found 4000000000");
  EXPECT_EQ(problems.getLines()[1],
            "m: number: expected an integer from 1 to 1024, found 4000000000");
  EXPECT_EQ(problems.getLines()[2], "m: text: expected an integer from 0, found \"t\"");
  EXPECT_EQ(problems.getLines()[3], "m: texts: expected a number, found an array of 1 of string");
  EXPECT_EQ(problems.size(), 9u);
}

TEST(Gguf, EveryTruncatedPrefixIsAnError) {
  TinyGguf file = twoTensors();
  file.addStrings("tokens", {"a", "bc"});
  file.addArray("scores", Type::Float32, 2, little(0.5f) + little(1.0f));
  std::string bytes = file.build();
  ASSERT_EQ(parse(bytes), "");
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string text = parse(bytes.substr(0, size)); // copied, so that a sanitizer sees its end
    EXPECT_EQ(text.rfind("m: ", 0), 0u) << size << ": " << text;
  }
}

TEST(Gguf, EveryPrefixOfALongerFileAsksForMore) {
  TinyGguf file = twoTensors();
  std::string bytes = file.build();
  size_t headerSize = bytes.size() - 32 - 16; // padded
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string text = parse(bytes.substr(0, size), bytes.size());
    if (size < headerSize - 32)
      EXPECT_EQ(text,
                "m: header: expected to end within its first " + std::to_string(size) + " bytes");
    if (size >= headerSize)
      EXPECT_EQ(text, "") << size;
  }
}

TEST(Gguf, RefusesOtherFilesAndVersions) {
  EXPECT_EQ(parse("GGML" + std::string(40, 0)), "m: magic: expected GGUF, found \"GGML\"");
  TinyGguf file;
  file.version = 1;
  EXPECT_EQ(parse(file), "m: version: expected 2 or 3, found 1");
  file.version = 3u << 24;
  EXPECT_EQ(parse(file), "m: version: expected a little-endian file, found a big-endian one");
}

// ---- Lengths and counts ----------------------------------------------------------------------

TEST(Gguf, CountsAreHeldAgainstTheBytesThatRemain) {
  TinyGguf file = twoTensors();
  file.tensorCount = ~uint64_t(0);
  EXPECT_NE(parse(file).find("m: number of tensors: expected at most "), std::string::npos);
  file.tensorCount = std::nullopt;
  file.valueCount = uint64_t(1) << 60;
  EXPECT_NE(parse(file).find("m: number of key-values: expected at most "), std::string::npos);
}

TEST(Gguf, LengthsOfStringsAreHeldAgainstTheBytesThatRemain) {
  for (uint64_t length : {uint64_t(1000), ~uint64_t(0), uint64_t(1) << 63}) {
    TinyGguf file;
    file.add("key", Type::String, little(length) + "text");
    EXPECT_NE(parse(file).find("m: key: length: expected at most "), std::string::npos) << length;
    TinyGguf ofKey;
    ofKey.values.push_back(little(length) + "key");
    ofKey.valueCount = 1;
    ofKey.values.push_back(std::string(64, 0));
    EXPECT_NE(parse(ofKey).find("m: key 0: length: expected at most "), std::string::npos);
  }
}

TEST(Gguf, CountsOfArraysAreHeldAgainstTheBytesThatRemain) {
  for (auto [type, count] :
       {std::pair(Type::Float64, uint64_t(1) << 61), // times 8 wraps to 8
        std::pair(Type::UInt8, ~uint64_t(0)), std::pair(Type::String, uint64_t(1) << 61),
        std::pair(Type::Array, uint64_t(1000))}) {
    TinyGguf file;
    file.addArray("key", type, count, std::string(16, 0));
    EXPECT_NE(parse(file).find("m: key: number of elements: expected at most "), std::string::npos)
        << count;
  }
}

TEST(Gguf, TypesAreChecked) {
  TinyGguf file;
  file.add("key", Type(13), little(uint64_t(0)));
  EXPECT_EQ(parse(file), "m: key: type: expected a type from 0 to 12, found 13");
  TinyGguf array;
  array.addArray("key", Type(99), 1, little(uint64_t(0)));
  EXPECT_EQ(parse(array), "m: key: element type: expected a type from 0 to 12, found 99");
  TinyGguf boolean;
  boolean.add("key", Type::Bool, little(uint8_t(2)));
  EXPECT_EQ(parse(boolean), "m: key: expected bools of 0 or 1, found 2");
}

TEST(Gguf, ArraysInsideEachOtherHaveALimit) {
  std::string inner = little(uint32_t(Type::UInt8)) + little(uint64_t(0));
  for (int depth = 0; depth < 1000; ++depth)
    inner.insert(0, little(uint32_t(Type::Array)) + little(uint64_t(1)));
  TinyGguf file;
  file.add("key", Type::Array, inner);
  EXPECT_EQ(parse(file), "m: key: expected at most 4 arrays inside each other, found more");
}

// ---- Names -----------------------------------------------------------------------------------

TEST(Gguf, NamesAreUnique) {
  TinyGguf file = twoTensors();
  file.addString("general.architecture", "gemma");
  file.tensors[1].name = "a";
  EXPECT_EQ(parse(file), "m: general.architecture: is there twice\nm: a: is there twice");
}

TEST(Gguf, NamesAreNotEmptyAndHoldNoNul) {
  TinyGguf file = twoTensors();
  file.tensors[0].name = "";
  EXPECT_EQ(parse(file), "m: name of tensor 0: expected 1 to 65535 bytes without NUL, found \"\" "
                         "of 0");
  file.tensors[0].name = std::string("a\0b", 3);
  EXPECT_EQ(parse(file), "m: name of tensor 0: expected 1 to 65535 bytes without NUL, found "
                         "\"a\\00b\" of 3");
}

// ---- Tensors ---------------------------------------------------------------------------------

TEST(Gguf, AProductOfDimsThatWrapsIsAnError) {
  TinyGguf file = twoTensors();
  file.tensors[0].shape = {int64_t(1) << 32, int64_t(1) << 32}; // times 4 wraps to 0
  EXPECT_EQ(parse(file), "m: a: [4294967296, 4294967296] has more bytes than 2^64");
  file.tensors[0].shape = {int64_t(1) << 62, 4, 4};
  EXPECT_EQ(parse(file), "m: a: [4611686018427387904, 4, 4] has more bytes than 2^64");
}

TEST(Gguf, DimsArePositiveAndFew) {
  TinyGguf file = twoTensors();
  file.tensors[0].shape = {2, 0};
  EXPECT_EQ(parse(file), "m: a: expected dims from 1 to 2^63 - 1, found 0");
  file.tensors[0].shape = {2, -1};
  EXPECT_EQ(parse(file), "m: a: expected dims from 1 to 2^63 - 1, found 18446744073709551615");
  file.tensors[0].shape = {1, 1, 1, 1, 1};
  EXPECT_EQ(parse(file), "m: a: expected at most 4 dims, found 5");
}

TEST(Gguf, RowsAreWholeBlocks) {
  TinyGguf file = twoTensors();
  file.tensors[0].type = 12;
  EXPECT_EQ(parse(file), "m: a: expected rows of whole blocks of 256 (gguf.q4_k), found [2, 3]");
}

TEST(Gguf, TypesThatAreNotReadAreNamed) {
  TinyGguf file = twoTensors();
  file.tensors[0].type = 16;
  file.tensors[1].type = 4; // once Q4_2
  std::string text = parse(file);
  EXPECT_NE(text.find("m: a: type: expected one of f32, f16, bf16, gguf.q4_0"), std::string::npos);
  EXPECT_NE(text.find("found number 16 (IQ2)\n"), std::string::npos);
  EXPECT_NE(text.find("found number 4"), std::string::npos);
}

TEST(Gguf, TensorsLieInTheFileAtMultiplesOfTheAlignment) {
  TinyGguf file = twoTensors();
  file.tensors[1].offset = 24;
  EXPECT_EQ(parse(file), "m: b: offset: expected a multiple of 32, found 24");
  file.tensors[1].offset = 64;
  EXPECT_EQ(parse(file), "m: b: expected 16 bytes at offset 64 of the data, found data of 48");
  file.tensors[1].offset = ~uint64_t(31);
  EXPECT_EQ(parse(file),
            "m: b: expected 16 bytes at offset 18446744073709551584 of the data, found "
            "data of 48");
  file.tensors[1].offset = 0;
  EXPECT_NE(parse(file).find("overlap"), std::string::npos);
}

TEST(Gguf, TheAlignmentIsAPowerOfTwo) {
  for (uint32_t alignment : {0u, 3u, 48u, ~0u}) {
    TinyGguf file = twoTensors();
    file.addInteger("general.alignment", alignment);
    EXPECT_EQ(parse(file), "m: general.alignment: expected a power of two below 2^32, found " +
                               std::to_string(alignment));
  }
  TinyGguf text = twoTensors();
  text.addString("general.alignment", "32");
  EXPECT_EQ(parse(text), "m: general.alignment: expected an integer from 0, found \"32\"");
  TinyGguf wide = twoTensors();
  wide.add("general.alignment", Type::UInt64, little(uint64_t(1) << 63)); // padding would wrap
  EXPECT_NE(parse(wide), "");
  TinyGguf large = twoTensors();
  large.addInteger("general.alignment", 1u << 31);
  EXPECT_NE(parse(large).find("m: data: expected to begin at a multiple of 2147483648 after byte"),
            std::string::npos);
  TinyGguf sound = twoTensors();
  sound.alignment = 64;
  sound.addInteger("general.alignment", 64);
  EXPECT_EQ(parse(sound), "");
}

TEST(Gguf, ReadsAHeaderLongerThanTheFirstPrefix) {
  TemporaryFolder folder;
  TinyGguf file = twoTensors();
  file.addStrings("tokens", std::vector<std::string>(200000, "a token"));
  folder.write("m.gguf", file.build());
  Problems problems;
  auto header = readGgufHeader(folder.path("m.gguf"), "m.gguf", problems);
  ASSERT_TRUE(header) << problems.getLines()[0];
  EXPECT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->metadata.getStrings("tokens", problems)->size(), 200000u);
  EXPECT_FALSE(readGgufHeader(folder.get(), "folder", problems));
}
