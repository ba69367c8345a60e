// What the launcher makes of its own file: whole, cut anywhere, with any byte changed, and with
// ranges that lead elsewhere.
#include "Executable.h"
#include "launcher/embedded_artifact.h"
#include <gtest/gtest.h>
#include <string>

using namespace kiln;
using namespace kiln::test;

namespace {

kiln_status_t find(const Bytes &bytes, std::string *text = nullptr) {
  byte_range_t artifact = {};
  kiln_error error = {};
  kiln_status_t status = embedded_artifact_find({bytes.data(), bytes.size()}, &artifact, &error);
  EXPECT_EQ(status != KILN_OK, error.text[0] != 0) << error.text;
  if (status == KILN_OK) {
    EXPECT_GE(artifact.data, bytes.data());
    EXPECT_LE(artifact.data + artifact.size, bytes.data() + bytes.size());
  }
  if (text)
    *text = error.text;
  return status;
}

/// A valid executable whose trailer is changed, checksums made right again.
template <typename Change> kiln_status_t findChanged(Change change, std::string *text) {
  Bytes bytes = makeExecutable();
  kiln_executable_trailer trailer;
  uint8_t *place = bytes.data() + bytes.size() - sizeof trailer;
  std::memcpy(&trailer, place, sizeof trailer);
  change(trailer);
  std::memcpy(place, &trailer, sizeof trailer);
  repairTrailer(bytes.data(), bytes.size());
  return find(bytes, text);
}

TEST(EmbeddedArtifact, IsFoundBehindTheLauncher) {
  for (size_t launcherBytes : {0, 4096, 3 * 4096}) {
    Bytes bytes = makeExecutable(launcherBytes);
    byte_range_t artifact = {};
    ASSERT_EQ(embedded_artifact_find({bytes.data(), bytes.size()}, &artifact, nullptr), KILN_OK);
    EXPECT_EQ(artifact.data, bytes.data() + launcherBytes);
    EXPECT_EQ(artifact.size, sizeof(kiln_artifact_header));
  }
}

TEST(EmbeddedArtifact, NoPrefixIsTaken) {
  Bytes bytes = makeExecutable();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(find(Bytes(bytes.begin(), bytes.begin() + long(size))), KILN_TRUNCATED) << size;
}

TEST(EmbeddedArtifact, NoChangedByteIsTaken) {
  Bytes bytes = makeExecutable();
  size_t header = KILN_EXECUTABLE_ALIGNMENT, trailer = header + sizeof(kiln_artifact_header);
  size_t table = header + offsetof(kiln_artifact_header, table_checksum);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    // What else the artifact holds is checked when it is opened.
    bool checkedLater = i >= header && i < trailer && (i < table || i >= table + 8);
    EXPECT_EQ(find(bytes) == KILN_OK, checkedLater) << i;
    bytes[i] ^= 0x10;
  }
}

TEST(EmbeddedArtifact, RangesThatLeadElsewhereAreRefused) {
  std::string text;
  for (uint64_t wrong : {uint64_t(1), uint64_t(4096), uint64_t(1) << 63, UINT64_MAX}) {
    EXPECT_EQ(findChanged([&](auto &trailer) { trailer.artifact_offset += wrong; }, &text),
              KILN_CORRUPT);
    EXPECT_NE(text.find("does not end where the trailer begins"), std::string::npos) << text;
    EXPECT_EQ(findChanged([&](auto &trailer) { trailer.artifact_size += wrong; }, &text),
              KILN_CORRUPT);
  }
  EXPECT_EQ(findChanged(
                [](auto &trailer) {
                  trailer.artifact_offset += 8;
                  trailer.artifact_size -= 8;
                },
                &text),
            KILN_CORRUPT);
  EXPECT_NE(text.find("multiple of 4096"), std::string::npos) << text;
  // An artifact too short for its header.
  Bytes small = makeExecutable(0);
  small.erase(small.begin(), small.begin() + 32);
  kiln_executable_trailer trailer;
  std::memcpy(&trailer, small.data() + 32, sizeof trailer);
  trailer.artifact_size = 32;
  std::memcpy(small.data() + 32, &trailer, sizeof trailer);
  repairTrailer(small.data(), small.size());
  EXPECT_EQ(find(small, &text), KILN_TRUNCATED);
}

TEST(EmbeddedArtifact, OtherVersionsAreRefused) {
  std::string text;
  EXPECT_EQ(findChanged([](auto &trailer) { trailer.version = 2; }, &text),
            KILN_UNSUPPORTED_VERSION);
  EXPECT_NE(text.find("found 2"), std::string::npos) << text;
  EXPECT_EQ(findChanged([](auto &trailer) { trailer.reserved = 1; }, &text),
            KILN_UNSUPPORTED_VERSION);
}

TEST(EmbeddedArtifact, TheRunningProgramCanMapItself) {
  byte_range_t executable = {};
  const char *path = nullptr;
  kiln_error error = {};
  ASSERT_EQ(executable_map(&executable, &path, &error), KILN_OK) << error.text;
  ASSERT_GT(executable.size, 4u);
  EXPECT_EQ(std::memcmp(executable.data,
                        "\x7f"
                        "ELF",
                        4),
            0);
  byte_range_t artifact = {};
  EXPECT_EQ(embedded_artifact_find(executable, &artifact, &error), KILN_TRUNCATED);
  EXPECT_NE(std::string(error.text).find("strip"), std::string::npos) << error.text;
}

} // namespace
