// CPU features: the list agrees with itself and with what the build may already assume.

#include "loader/features.h"
#include "core/error.h"

#include "kiln/kiln.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace {

TEST(Features, ListsWhatEveryCpuOfTheMachineHas) {
  kiln::feature_set_t host = kiln::host_features();
#if defined(__x86_64__)
  EXPECT_TRUE(kiln::feature_set_has(host, "sse2"));
#else
  EXPECT_TRUE(kiln::feature_set_has(host, "neon"));
#endif
  EXPECT_FALSE(kiln::feature_set_has(host, "no-such-feature"));
  EXPECT_FALSE(kiln::feature_set_has(host, ""));
}

TEST(Features, AgreesWithTheCompilersOwnDetection) {
#if defined(__x86_64__)
  kiln::feature_set_t host = kiln::host_features();
  EXPECT_EQ(kiln::feature_set_has(host, "avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(kiln::feature_set_has(host, "fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(kiln::feature_set_has(host, "avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(kiln::feature_set_has(host, "avx512vnni"), __builtin_cpu_supports("avx512vnni") != 0);
#endif
}

TEST(Features, AreCountedEvenWithoutRoomForNames) {
  size_t count = kiln_host_features(nullptr, 0);
  ASSERT_LE(count, 128u);
  const char *names[128] = {};
  EXPECT_EQ(kiln_host_features(names, 1), count);
  EXPECT_EQ(names[1], nullptr);
}

TEST(Features, AreNamedOnce) {
  std::set<std::string> names;
  for (size_t i = 0; i < kiln::feature_count(); ++i)
    EXPECT_TRUE(names.insert(kiln::feature_name(i)).second) << kiln::feature_name(i);
}

TEST(Status, HasATextForEveryCode) {
  EXPECT_STREQ(kiln_status_text(KILN_OK), "ok");
  EXPECT_STREQ(kiln_status_text(KILN_CORRUPT), "the artifact is corrupt");
  EXPECT_STREQ(kiln_status_text(kiln_status_t(59)), "unknown status");
}

TEST(Error, CutsWhatDoesNotFit) {
  kiln_error error;
  std::string large(1000, 'x');
  kiln::fail(&error, KILN_CORRUPT, "%s", large.c_str());
  EXPECT_EQ(std::string(error.text).size(), sizeof(error.text) - 1);
  kiln::fail_within(&error, KILN_CORRUPT, "%s", large.c_str());
  EXPECT_LT(std::string(error.text).size(), sizeof(error.text));
  EXPECT_NE(std::string(error.text).find(": x"), std::string::npos);
}

} // namespace
