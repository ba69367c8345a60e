// Opens the program section: verifies the flatbuffer, checks what its verifier cannot know (limits,
// indices, ranges of weights), chooses and maps the code image, and loads the functions. After it
// nothing of the file is trusted that has not been checked here or in function.cpp.

#include "core/error.h"
#include "core/model.h"
#include "loader/features.h"

#include "program_generated.h"

#include <inttypes.h>
#include <stdio.h>

namespace kiln {

/* Far more than any model has, few enough to be walked in a moment. */
static constexpr uint32_t max_tables = 1u << 20;
static constexpr uint32_t max_strings = 1u << 20;

/* A flatbuffer may use one vector of strings in many places, and the verifier walks it in each: a
 * small file could keep it busy for hours. This pass adds up the lengths first. Only what it reads
 * is verified on the way. */
static bool strings_are_few(byte_range_t bytes) {
  flatbuffers::Verifier verifier(bytes.data, bytes.size, 64, max_tables);
  flatbuffers::uoffset_t root = verifier.VerifyOffset((size_t)0);
  if (root == 0)
    return false;
  using schema::Image;
  using schema::KernelCode;
  using schema::Program;
  const auto *program = reinterpret_cast<const Program *>(bytes.data + root);
  const auto table_starts = [&](const void *table) {
    return verifier.VerifyTableStart(static_cast<const uint8_t *>(table)) && verifier.EndTable();
  };
  const auto vector_field = [&](const void *table, flatbuffers::voffset_t field) {
    const auto *t = static_cast<const flatbuffers::Table *>(table);
    flatbuffers::voffset_t at = t->GetOptionalFieldOffset(field);
    return at == 0 || verifier.VerifyOffset(static_cast<const uint8_t *>(table), at) != 0;
  };
  if (!table_starts(program) || !vector_field(program, Program::VT_IMAGES) ||
      !verifier.VerifyVector(program->images()) || !program->images() ||
      program->images()->size() > max_images)
    return false;
  uint64_t strings = 0;
  for (const Image *image : *program->images()) {
    if (!table_starts(image) || !vector_field(image, Image::VT_FEATURES) ||
        !verifier.VerifyVector(image->features()) || !image->features() ||
        !vector_field(image, Image::VT_KERNELS) || !verifier.VerifyVector(image->kernels()) ||
        !image->kernels())
      return false;
    strings += image->features()->size();
    for (const KernelCode *code : *image->kernels()) {
      if (!table_starts(code) || !vector_field(code, KernelCode::VT_REFUSED) ||
          !verifier.VerifyVector(code->refused()))
        return false;
      strings += code->refused() ? code->refused()->size() : 0;
    }
  }
  return strings <= max_strings;
}

static kiln_status_t verify_flatbuffer(byte_range_t bytes, const schema::Program **program,
                                       kiln_error *error) {
  if (bytes.size < 8 || bytes.size >= FLATBUFFERS_MAX_BUFFER_SIZE)
    return fail(error, KILN_CORRUPT, "program: a flatbuffer cannot have %" PRIu64 " bytes",
                bytes.size);
  if (!flatbuffers::BufferHasIdentifier(bytes.data, schema::ProgramIdentifier()))
    return fail(error, KILN_CORRUPT, "program: expected a flatbuffer with identifier %s",
                schema::ProgramIdentifier());
  flatbuffers::Verifier verifier(bytes.data, bytes.size, 64, max_tables);
  if (!strings_are_few(bytes) || !schema::VerifyProgramBuffer(verifier))
    return fail(error, KILN_CORRUPT, "program: the flatbuffer's structure is invalid");
  *program = schema::GetProgram(bytes.data);
  return KILN_OK;
}

/* Expressions of kernels are of the calling function's dims; those that no function calls are
 * still held to the rules that do not depend on it. */
static kiln_status_t check_kernel_expr(const schema::Expr *expr, const char *kernel,
                                       const char *role, kiln_error *error) {
  const char *what = expr ? expr_check(*expr, max_dims) : nullptr;
  return what ? fail(error, KILN_CORRUPT, "kernel %s: %s: %s", kernel, role, what) : KILN_OK;
}

static kiln_status_t check_kernels(const schema::Program &program, kiln_error *error) {
  for (const schema::Kernel *kernel : *program.kernels()) {
    if (kernel->bindings() > max_launch_bindings)
      return fail(error, KILN_CORRUPT, "kernel %s: expected at most %u bindings, found %" PRIu32,
                  kernel->name()->c_str(), max_launch_bindings, kernel->bindings());
    if (kiln_status_t status =
            check_kernel_expr(kernel->macs(), kernel->name()->c_str(), "macs", error))
      return status;
  }
  return KILN_OK;
}

static kiln_status_t check_image(const kiln_model *model, const schema::Image &image,
                                 elf_image_t *elf, kiln_error *error) {
  const schema::Program &program = *model->program;
  if (image.section() >= model->container.section_count ||
      model->container.sections[image.section()].kind != KILN_SECTION_CODE)
    return fail(error, KILN_CORRUPT, "section %" PRIu32 " is not a code section", image.section());
  if (image.kernels()->size() != program.kernels()->size())
    return fail(error, KILN_CORRUPT, "expected %" PRIu32 " kernels, found %" PRIu32,
                program.kernels()->size(), image.kernels()->size());
  bool known = elf_machine_known(image.machine()); // others can never be mapped
  if (known)
    if (kiln_status_t status = elf_parse(model->container.sections[image.section()].bytes,
                                         image.machine(), elf, error))
      return status;
  for (uint32_t k = 0; k < image.kernels()->size(); ++k) {
    const schema::KernelCode &code = *image.kernels()->Get(k);
    const char *name = program.kernels()->Get(k)->name()->c_str();
    if (known && !elf_is_code(*elf, code.entry()))
      return fail(error, KILN_CORRUPT, "kernel %s: entry 0x%" PRIx64 " is not inside the code",
                  name, code.entry());
    if (kiln_status_t status = check_kernel_expr(code.items(), name, "items", error))
      return status;
    if (kiln_status_t status = check_kernel_expr(code.scratch_bytes(), name, "scratch", error))
      return status;
    if (code.counters() > max_counters)
      return fail(error, KILN_CORRUPT, "kernel %s: expected at most %u counters, found %" PRIu32,
                  name, max_counters, code.counters());
  }
  return KILN_OK;
}

static const char *missing_feature(const schema::Image &image, const feature_set_t &host,
                                   uint32_t from) {
  for (uint32_t i = from; i < image.features()->size(); ++i) {
    const char *name = image.features()->Get(i)->c_str();
    if (!feature_set_has(host, name) || !feature_enable(name))
      return name;
  }
  return nullptr;
}

kiln_status_t image_choose(const schema::Program &program, uint32_t *index, kiln_error *error) {
  feature_set_t host = host_features();
  for (uint32_t i = 0; i < program.images()->size(); ++i) {
    const schema::Image &image = *program.images()->Get(i);
    if (image.machine() != host_machine() || missing_feature(image, host, 0))
      continue;
    *index = i;
    return KILN_OK;
  }
  if (!error)
    return KILN_UNSUPPORTED_DEVICE;
  // "no image runs on this x86-64 device: x86-64-v4 needs avx512f avx512bw; aarch64 needs aarch64"
  char *text = error->text;
  size_t size = sizeof(error->text), used = 0;
  const auto append = [&](const char *before, const char *word) {
    int written = snprintf(text + used, size - used, "%s%s", before, word);
    used += written < 0 ? 0 : (size_t)written;
    used = used < size ? used : size - 1;
  };
  append("no image runs on this ", elf_machine_name(host_machine()));
  append(" device", program.images()->size() == 0 ? ": the artifact holds none" : "");
  for (uint32_t i = 0; i < program.images()->size(); ++i) {
    const schema::Image &image = *program.images()->Get(i);
    append(i == 0 ? ": " : "; ", image.target()->c_str());
    append(" needs", "");
    if (image.machine() != host_machine())
      append(" ", elf_machine_name(image.machine()));
    else
      for (uint32_t f = 0; f < image.features()->size(); ++f)
        if (missing_feature(image, host, f) == image.features()->Get(f)->c_str())
          append(" ", image.features()->Get(f)->c_str());
  }
  return KILN_UNSUPPORTED_DEVICE;
}

static kiln_status_t load_weights(kiln_model *model, kiln_error *error) {
  const section_t *section = model->container.find(KILN_SECTION_WEIGHTS);
  byte_range_t all = section ? section->bytes : byte_range_t{};
  const auto &weights = *model->program->weights();
  if (!model->weights.reserve(weights.size()))
    return fail(error, KILN_OUT_OF_MEMORY, "%" PRIu32 " weights", weights.size());
  for (const schema::Weight *weight : weights) {
    byte_range_t bytes;
    if (!all.slice(weight->offset(), weight->size_bytes(), &bytes))
      return fail(error, KILN_CORRUPT,
                  "weight %s: offset %" PRIu64 " + size %" PRIu64
                  " is outside the weights section of %" PRIu64 " bytes",
                  weight->name()->c_str(), weight->offset(), weight->size_bytes(), all.size);
    if (!is_aligned(weight->offset(), KILN_WEIGHT_ALIGNMENT))
      return fail(error, KILN_CORRUPT, "weight %s: offset %" PRIu64 " is not a multiple of %d",
                  weight->name()->c_str(), weight->offset(), KILN_WEIGHT_ALIGNMENT);
    // Kernels read weights and never write them; the mapping is read-only.
    model->weights.data[model->weights.count++] = {const_cast<uint8_t *>(bytes.data), bytes.size};
  }
  return KILN_OK;
}

static kiln_status_t load_functions(kiln_model *model, kiln_error *error) {
  const auto &functions = *model->program->functions();
  if (functions.size() > max_functions)
    return fail(error, KILN_CORRUPT, "expected at most %u functions, found %" PRIu32, max_functions,
                functions.size());
  if (!model->functions.reserve(functions.size()))
    return fail(error, KILN_OUT_OF_MEMORY, "%" PRIu32 " functions", functions.size());
  for (const schema::Function *source : functions) {
    const char *name = source->name()->c_str();
    if (kiln_model_function(model, name))
      return fail(error, KILN_CORRUPT, "function %s: a second one of that name", name);
    kiln_function *function = &model->functions.data[model->functions.count++];
    if (kiln_status_t status = function_load(model, *source, function, error))
      return status;
  }
  const schema::LanguageModel *language = model->program->language_model();
  if (language && !kiln_model_function(model, language->function()->c_str()))
    return fail(error, KILN_CORRUPT, "language model: its function %s does not exist",
                language->function()->c_str());
  return KILN_OK;
}

kiln_status_t program_load(kiln_model *model, kiln_error *error) {
  const section_t *section = model->container.find(KILN_SECTION_PROGRAM);
  if (kiln_status_t status = verify_flatbuffer(section->bytes, &model->program, error))
    return status;
  const schema::Program &program = *model->program;
  if (program.abi_version() != KILN_ABI_VERSION)
    return fail(error, KILN_UNSUPPORTED_VERSION, "expected kernel ABI version %d, found %" PRIu32,
                KILN_ABI_VERSION, program.abi_version());
  if (kiln_status_t status = check_kernels(program, error))
    return status;
  elf_image_t elf;
  for (const schema::Image *image : *program.images())
    if (kiln_status_t status = check_image(model, *image, &elf, error))
      return fail_within(error, status, "image %s", image->target()->c_str());
  if (kiln_status_t status = load_weights(model, error))
    return status;

  uint32_t index;
  if (kiln_status_t status = image_choose(program, &index, error))
    return status;
  model->chosen = program.images()->Get(index);
  kiln_status_t status = check_image(model, *model->chosen, &elf, error);
  status = status ? status : image_map(elf, &model->image, error);
  if (status)
    return fail_within(error, status, "image %s", model->chosen->target()->c_str());
  return load_functions(model, error);
}

} // namespace kiln
