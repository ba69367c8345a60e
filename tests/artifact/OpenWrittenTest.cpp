// The runtime opens what the writer wrote, finds the weights intact and the function as described.
#include "SmallProgram.h"
#include "kiln/kiln.h"

using namespace kiln;

TEST(OpenWritten, RuntimeAcceptsTheArtifact) {
  TestFolder folder;
  writeSmallSources(folder);
  TestModule module(smallProgramText);
  KernelImage image = smallImage(module.get().getContext());
  WriteReport report;
  std::string path = folder.file("out.kiln");
  llvm::Error written =
      writeArtifact(module.get(), folder.path, image, std::nullopt, path, {}, report);
  ASSERT_FALSE(bool(written)) << llvm::toString(std::move(written));

  kiln_error error = {};
  kiln_model_t *model = nullptr;
  ASSERT_EQ(kiln_model_open_path(path.c_str(), &model, &error), KILN_OK) << error.text;
  EXPECT_EQ(kiln_model_verify_weights(model, &error), KILN_OK) << error.text;
  kiln_model_close(model);
}
