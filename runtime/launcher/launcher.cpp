// The program in front of a model in one file: finds the artifact behind itself, opens it where it
// lies, and continues a prompt or talks. Exit code 0, 1 for a failure, 2 for a command line that
// cannot be understood.

#include "launcher/loaded_model.h"

#include "core/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

using namespace kiln;

static int print_version(loaded_model_t *loaded) {
  printf("kiln %s\n", KILN_VERSION);
  kiln_error error = {};
  if (kiln_status_t status = loaded_model_find(loaded, &error))
    return report_failure(loaded, status, &error);
  const char *keys[] = {"name", "architecture", "license"};
  for (const char *key : keys)
    if (const char *value = kiln_model_fact(loaded->model, key))
      printf("%-12s  %s\n", key, value);
  printf("%-12s  %s\n", "target", kiln_model_target(loaded->model));
  return 0;
}

/* All of stdin, without one newline at its end. */
static kiln_status_t read_stdin(array_t<char> *text, kiln_error *error) {
  constexpr uint32_t most = 256 << 20; // what the tokenizer takes
  char bytes[4096];
  ssize_t count;
  while ((count = read(STDIN_FILENO, bytes, sizeof(bytes))) != 0) {
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail(error, KILN_IO, "stdin: %s", strerror(errno));
    if (text->count + (size_t)count > most)
      return fail(error, KILN_INVALID_ARGUMENT, "stdin: more than %u bytes", most);
    if (!append_text(text, bytes, (size_t)count))
      return fail(error, KILN_OUT_OF_MEMORY, "stdin: %u bytes", text->count);
  }
  if (text->count && (*text)[text->count - 1] == '\n')
    --text->count;
  return KILN_OK;
}

static int run(loaded_model_t *loaded, const options_t *options) {
  kiln_error error = {};
  kiln_status_t status = loaded_model_find(loaded, &error);
  if (!status)
    status = loaded_model_prepare(loaded, options, &error);
  if (status)
    return report_failure(loaded, status, &error);
  bool terminal = isatty(STDIN_FILENO) == 1;
  if (options->chat || (!options->prompt && terminal && loaded->chat))
    return converse(loaded, options);
  if (options->system) {
    fprintf(stderr, "%s: error: --system needs --chat; --help lists the options\n",
            loaded->program);
    return 2;
  }
  if (options->prompt)
    return complete(loaded, options, options->prompt, strlen(options->prompt));
  if (terminal) {
    fprintf(stderr,
            "%s: error: the model has no chat template: give --prompt TEXT, a text on stdin, or "
            "--chat; --help lists the options\n",
            loaded->program);
    return 2;
  }
  array_t<char> text = {};
  status = read_stdin(&text, &error);
  int code = status ? report_failure(loaded, status, &error)
                    : complete(loaded, options, text.data ? text.data : "", text.count);
  text.release();
  return code;
}

extern "C" int kiln_launcher_main(int argc, char **argv);

int kiln_launcher_main(int argc, char **argv) {
  loaded_model_t loaded = {};
  const char *slash = argc > 0 ? strrchr(argv[0], '/') : nullptr;
  loaded.program = slash ? slash + 1 : argc > 0 ? argv[0] : "kiln";
  options_t options = {};
  kiln_error error = {};
  int code = 0;
  if (options_read(argc - 1, argv + 1, &options, &error) != KILN_OK) {
    fprintf(stderr, "%s: error: %s; --help lists the options\n", loaded.program, error.text);
    code = 2;
  } else if (options.help) {
    options_print(loaded.program);
  } else if (options.version) {
    code = print_version(&loaded);
  } else {
    code = run(&loaded, &options);
  }
  kiln_chat_close(loaded.chat);
  kiln_sampler_destroy(loaded.sampler);
  kiln_llm_destroy(loaded.llm);
  kiln_pool_destroy(loaded.pool);
  kiln_model_close(loaded.model);
  options.stops.release();
  options.biases.release();
  return code;
}
