// The quota of control groups, read from a folder that looks like theirs.

#include "core/pool.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace {

class Quota : public testing::Test {
protected:
  std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      (std::string("kiln-quota-") + testing::UnitTest::GetInstance()->current_test_info()->name());
  void SetUp() override { std::filesystem::remove_all(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void write(const std::string &name, const std::string &text) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text;
  }
  uint32_t cpus(const std::string &membership) {
    write("self", membership);
    return kiln::quota_cpus((folder / "self").c_str(), (folder / "mount").c_str(), 64);
  }
};

TEST_F(Quota, LimitsNothingWithoutGroups) {
  EXPECT_EQ(kiln::quota_cpus("/no/such/file", "/no/such/folder", 64), 64u);
  EXPECT_EQ(cpus(""), 64u);
  EXPECT_EQ(cpus("0::/\n"), 64u);
}

TEST_F(Quota, RoundsUp) {
  write("mount/a/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpus("0::/a\n"), 2u);
  write("mount/a/cpu.max", "20000 100000\n");
  EXPECT_EQ(cpus("0::/a\n"), 1u);
  write("mount/a/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus("0::/a\n"), 64u);
}

TEST_F(Quota, TakesTheLeastOfAllParents) {
  write("mount/cpu.max", "800000 100000\n");
  write("mount/a/cpu.max", "300000 100000\n");
  write("mount/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus("0::/a/b\n"), 3u);
  EXPECT_EQ(cpus("0::/\n"), 8u);
}

TEST_F(Quota, ReadsTheFirstVersion) {
  write("mount/cpu/docker/x/cpu.cfs_quota_us", "400000\n");
  write("mount/cpu/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus("4:memory:/m\n3:cpu,cpuacct:/docker/x\n2:cpuset:/c\n"), 4u);
  write("mount/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(cpus("3:cpuacct,cpu:/docker/x\n"), 64u);
}

TEST_F(Quota, FallsBackToTheRootWhenTheNameIsTheHosts) {
  write("mount/cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus("0::/docker/0123456789abcdef\n"), 2u);
  EXPECT_EQ(cpus("0::/../../outside\n"), 2u);
}

TEST_F(Quota, MindsNoNonsense) {
  for (const char *text : {"", "0 0\n", "x", "5", "100000 0\n", "-5 10\n", " 3 4\n"}) {
    write("mount/cpu.max", text);
    EXPECT_EQ(cpus("0::/\n"), 64u) << text;
  }
  write("mount/cpu.max", "99999999999999999999999999 1\n");
  EXPECT_EQ(cpus("0::/\n"), 64u);
  for (const std::string &text : {std::string("::"), std::string("0:"), std::string("\n\n:"),
                                  "0::/" + std::string(3000, 'a'), std::string(5000, ':')})
    cpus(text);
}

} // namespace
