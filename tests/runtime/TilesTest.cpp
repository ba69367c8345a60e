// AMX: Linux lets a process use the tile registers only after it has asked. Opening an artifact
// asks, for all threads; where Linux refuses, an image that needs no tiles is taken.

#include "ToyCall.h"

#include <gtest/gtest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace kiln::test;
using namespace kiln::schema;

namespace {

/* A function of n items that launches the kernel of kernels_amx.c. */
struct Tiles : Toy {
  Tiles() : Toy(imagePath("kernels_amx.so")) {
    program.functions.clear();
    program.kernels.resize(1);
    program.kernels[0]->name = "multiply";
    program.kernels[0]->bindings = 3;
    code().kernels.resize(1);
    code().kernels[0]->entry = symbolAddress(image, "multiply");
    code().kernels[0]->items = dim(0);
    code().features = {"amx-tile", "amx-bf16"};
    auto function = std::make_unique<FunctionT>();
    function->name = "main";
    function->dims.push_back(std::make_unique<DimT>());
    function->dims[0]->name = "n";
    function->dims[0]->max = 1000;
    for (const char *name : {"a", "b"}) {
      function->inputs.push_back(value(name, DType_i8, *name == 'a' ? 0 : -1));
      function->inputs.back()->shape.push_back(Axis(-1, 1024));
    }
    function->inputs[1]->shape[0] = Axis(-1, 1);
    function->outputs.push_back(value("out", DType_f32, 0));
    function->outputs[0]->shape.push_back(Axis(-1, 256));
    function->arena_bytes = constant(0);
    function->arena_lower_bound_bytes = constant(0);
    program.functions.push_back(std::move(function));
    auto &launch = addLaunch(Toy::Kernel(0), "multiply");
    launch.bindings.push_back(bind(Space_input, 0, scaled(0, 1024)));
    launch.bindings.push_back(bind(Space_input, 1, constant(1024)));
    launch.bindings.push_back(bind(Space_output, 0, scaled(0, 1024)));
  }
};

uint16_t bf16(int value) {
  float f = float(value);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return uint16_t(bits >> 16);
}

TEST(Tiles, AreGrantedToAllThreads) {
  kiln::feature_set_t host = kiln::host_features();
  if (!kiln::feature_set_has(host, "amx-tile") || !kiln::feature_set_has(host, "amx-bf16"))
    GTEST_SKIP() << "this CPU has no AMX, or Linux hides it";
  for (uint32_t workers : {1u, 2u, 4u}) {
    PoolPtr pool = makePool(workers); // its threads begin before the permission is asked for
    Opened tiles{Tiles()};
    ASSERT_EQ(tiles.status, KILN_OK) << tiles.text();
    const kiln_function_t *function = kiln_model_function(tiles.model, "main");
    const int64_t n = 200;
    AlignedBytes a(n * 1024), b(1024), out(n * 1024);
    for (int64_t row = 0; row < n * 16; ++row)
      for (int k = 0; k < 32; ++k)
        a.data<uint16_t>()[row * 32 + k] = bf16(int(row + k) % 7);
    for (int k = 0; k < 32; ++k)
      for (int column = 0; column < 16; ++column)
        b.data<uint16_t>()[k / 2 * 32 + column * 2 + k % 2] = bf16(k % 3 - column % 5);
    kiln_memory_needs needs;
    ASSERT_EQ(kiln_function_memory(function, &n, workers, &needs, nullptr), KILN_OK);
    AlignedBytes workspace(needs.workspace_bytes);
    kiln_buffer inputs[] = {a.buffer(), b.buffer()}, outputs[] = {out.buffer()};
    kiln_call_t call = {};
    call.dims = &n;
    call.inputs = inputs;
    call.outputs = outputs;
    call.workspace = workspace.buffer();
    kiln_error error;
    for (int round = 0; round < 20; ++round)
      ASSERT_EQ(kiln_call(pool.get(), function, &call, &error), KILN_OK) << error.text;
    for (int64_t row = 0; row < n * 16; ++row)
      for (int column = 0; column < 16; ++column) {
        int sum = 0;
        for (int k = 0; k < 32; ++k)
          sum += int(row + k) % 7 * (k % 3 - column % 5);
        ASSERT_EQ(out.data<float>()[row * 16 + column], float(sum)) << row << ", " << column;
      }
  }
}

/* Makes arch_prctl(ARCH_REQ_XCOMP_PERM) fail in this process from now on. */
bool refuseTiles() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x1023, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(Tiles, AreDoneWithoutWhereLinuxRefusesThem) {
  if (!kiln::feature_set_has(kiln::host_features(), "amx-tile"))
    GTEST_SKIP() << "this CPU has no AMX, or Linux hides it";
  Toy toy(imagePath());
  toy.program.images.push_back(std::make_unique<ImageT>(toy.code()));
  toy.code().target = "tiles";
  toy.code().features = {"amx-tile"};
  Bytes both = toy.artifact();
  toy.program.images.pop_back();
  Bytes tilesOnly = toy.artifact();
  EXPECT_STREQ(kiln_model_target(Opened(both).model), "tiles");
  enum { Good, NoFilter, WrongImage, NotRefused };
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!refuseTiles())
      _exit(NoFilter);
    Opened opened(both), alone(tilesOnly);
    if (opened.status != KILN_OK || std::string(kiln_model_target(opened.model)) != "test")
      _exit(WrongImage);
    bool named = alone.text().find("tiles needs amx-tile") != std::string::npos;
    _exit(alone.status == KILN_UNSUPPORTED_DEVICE && named ? Good : NotRefused);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == NoFilter)
    GTEST_SKIP() << "system calls cannot be filtered here";
  EXPECT_EQ(WEXITSTATUS(status), Good);
}

} // namespace

#endif
