// The safetensors reader takes what the format allows and names what it does not, word for word.
#include "TinyModel.h"
#include "compiler/import/ModelFolder.h"
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::testing;

/// What parsing says of these bytes, one problem a line; "" where they are sound.
static std::string parse(const std::string &bytes) {
  Problems problems;
  auto header = parseSafetensorsHeader("w", bytes, bytes.size(), problems);
  EXPECT_EQ(header.has_value(), problems.empty());
  std::string text;
  for (const std::string &line : problems.getLines())
    text += (text.empty() ? "" : "\n") + line;
  return text;
}

/// The same for a header's text before `dataBytes` bytes of data.
static std::string parse(const std::string &header, size_t dataBytes) {
  return parse(joinSafetensors(header, std::string(dataBytes, 0)));
}

TEST(Safetensors, GivesTensorsInTheOrderOfTheirBytes) {
  std::string bytes =
      packSafetensors({{"b", "F32", {2, 3}}, {"a", "BF16", {3}}, {"empty", "F16", {0, 7}}});
  Problems problems;
  auto header = parseSafetensorsHeader("w", bytes, bytes.size(), problems);
  ASSERT_TRUE(header && problems.empty());
  ASSERT_EQ(header->tensors.size(), 3u);
  EXPECT_EQ(header->tensors[0].name, "b");
  EXPECT_EQ(header->tensors[0].dtype, "F32");
  EXPECT_EQ(header->tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->tensors[0].offset, bytes.size() - 30);
  EXPECT_EQ(header->tensors[0].sizeBytes, 24u);
  EXPECT_EQ(header->tensors[1].name, "a");
  EXPECT_EQ(header->tensors[1].offset, bytes.size() - 6);
  EXPECT_EQ(header->tensors[2].sizeBytes, 0u);
}

TEST(Safetensors, TakesMetadataPaddingAndScalars) {
  EXPECT_EQ(parse(R"({"__metadata__":{"format":"pt"},"x":{"dtype":"F64","shape":[],)"
                  R"("data_offsets":[0,8]}}   )",
                  8),
            "");
  EXPECT_EQ(parse("{}", 0), "");
}

TEST(Safetensors, EveryTruncatedPrefixIsAnError) {
  std::string bytes = packSafetensors({{"a", "F32", {4}}, {"b", "F16", {2, 2}}});
  ASSERT_EQ(parse(bytes), "");
  for (size_t size = 0; size < bytes.size(); ++size) {
    // Copied, so that a sanitizer sees a read past the end.
    std::vector<char> prefix(bytes.begin(), bytes.begin() + ptrdiff_t(size));
    Problems problems;
    auto header = parseSafetensorsHeader("w", llvm::StringRef(prefix.data(), size), size, problems);
    EXPECT_FALSE(header) << size;
    EXPECT_EQ(problems.getLines()[0].rfind("w: ", 0), 0u) << problems.getLines()[0];
  }
  EXPECT_EQ(parse(bytes.substr(0, 3)),
            "w: expected 8 bytes of header length, found a file of 3 bytes");
  EXPECT_EQ(parse(bytes.substr(0, bytes.size() - 1)),
            "w: b: data_offsets: expected begin <= end <= 23 (the bytes after the header), found "
            "[16,24]");
}

TEST(Safetensors, RefusesLengthsBeyondTheFile) {
  std::string bytes = joinSafetensors("{}", "");
  bytes.replace(0, 8, std::string("\0\0\0\0\0\0\0\x80", 8));
  EXPECT_EQ(parse(bytes), "w: header length: expected at most the 2 bytes that follow it, found "
                          "9223372036854775808");
  bytes.replace(0, 8, std::string(8, '\xff'));
  EXPECT_EQ(parse(bytes), "w: header length: expected at most the 2 bytes that follow it, found "
                          "18446744073709551615");
  Problems problems;
  bytes.replace(0, 8, std::string("\x01\xe1\xf5\x05\0\0\0\0", 8)); // 100,000,001
  EXPECT_FALSE(parseSafetensorsHeader("w", bytes, 1u << 30, problems));
  EXPECT_EQ(problems.getLines()[0],
            "w: header length: expected at most 100000000, found 100000001");
}

TEST(Safetensors, RefusesWhatIsNoHeader) {
  EXPECT_EQ(parse("", 0), "w: header: expected a JSON object that begins with '{'");
  EXPECT_EQ(parse(" {}", 0), "w: header: expected a JSON object that begins with '{'");
  EXPECT_EQ(parse("{", 0).rfind("w: header: not sound JSON: byte 2: ", 0), 0u);
  EXPECT_EQ(parse(R"({"a":)" + std::string(100000, '[') + std::string(100000, ']') + "}", 0),
            "w: header: not sound JSON: nested deeper than 4");
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                  R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                  2),
            "w: header: not sound JSON: key \"a\" is given twice");
  EXPECT_EQ(parse(R"({"__metadata__":{"n":1}})", 0),
            "w: __metadata__: n: expected a string, found 1");
}

TEST(Safetensors, NamesEveryBadEntryAtOnce) {
  EXPECT_EQ(parse(R"({"a":7,"b":{},"c":{"dtype":"F33","shape":[1],"data_offsets":[0,4]},)"
                  R"("d":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]},)"
                  R"("e":{"dtype":"F32","shape":[1.5],"data_offsets":[0]},)"
                  R"("f\n":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
                  4),
            "w: a: expected an object, found 7\n"
            "w: b: dtype: expected a string, found nothing\n"
            "w: b: shape: expected an array of numbers from 0, found nothing\n"
            "w: b: data_offsets: expected [begin, end], found nothing\n"
            "w: c: dtype: expected one of the format's (F32, F16, BF16, …), found \"F33\"\n"
            "w: d: shape: expected an array of numbers from 0, found [-1]\n"
            "w: e: shape: expected an array of numbers from 0, found [1.5]\n"
            "w: e: data_offsets: expected [begin, end], found [0]\n"
            "w: f\\0A: data_offsets: expected begin <= end <= 4 (the bytes after the header), "
            "found [4,0]");
}

TEST(Safetensors, RefusesSizesThatDoNotFit) {
  EXPECT_EQ(parse(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
            "w: a: data_offsets: expected 24 bytes for F32 [2, 3], found 20");
  EXPECT_EQ(parse(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],)"
                  R"("data_offsets":[0,0]}})",
                  0),
            "w: a: F32 [4294967296, 4294967296, 4294967296] has more bytes than 2^61");
  // 2^62 * 4 bytes is 2^64, which wraps to nothing.
  EXPECT_EQ(parse(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
            "w: a: F32 [4611686018427387904] has more bytes than 2^61");
  EXPECT_EQ(parse(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2),
            "w: a: F4 [3] does not fill whole bytes");
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 1),
            "w: a: data_offsets: expected begin <= end <= 1 (the bytes after the header), found "
            "[18446744073709551615,0]");
}

TEST(Safetensors, RefusesOverlapHolesAndMisalignment) {
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}})",
                  12),
            "w: b: data_offsets: [4, 12] overlap a, which ends at 8");
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})",
                  12),
            "w: b: data_offsets: bytes 4 to 8 before it belong to no tensor");
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 12),
            "w: data: expected to end with the last tensor at byte 4, found 12 bytes");
  EXPECT_EQ(parse(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                  R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                  6),
            "w: b: data_offsets: expected a multiple of 4 for F32, found 2");
}

TEST(ShardIndex, RefusesPathsThatLeaveTheFolder) {
  for (const char *path : {"../w", "/etc/passwd", "a/b", "..", "", "C:\\\\w"}) {
    Problems problems;
    std::string text = std::string(R"({"weight_map":{"x":")") + path + "\"}}";
    EXPECT_FALSE(parseShardIndex("i", text, problems)) << path;
    EXPECT_EQ(problems.getLines()[0], "i: x: expected the name of a file beside the index, found "
                                      "\"" +
                                          std::string(path) + "\"");
  }
}

TEST(ShardIndex, MustHoldAMap) {
  for (const char *text : {"[]", R"({"weight_map":[1]})", "{}"}) {
    Problems problems;
    EXPECT_FALSE(parseShardIndex("i", text, problems));
    EXPECT_EQ(problems.getLines()[0], "i: weight_map: expected an object from tensors to files");
  }
}
