// Runs ONNX's own tests through the compiler and the runtime. Cases run in a child process, one
// after the other; where one dies the next child goes on behind it. A file lists the failures that
// are expected, each with its reason: a listed case that passes is a failure too.
#include "tests/onnx/OnnxCase.h"
#include "tests/onnx/OnnxRanks.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <csignal>
#include <map>
#include <sys/wait.h>
#include <unistd.h>

using namespace kiln;
using namespace kiln::onnxtest;

static constexpr unsigned kSecondsPerCase = 120;
static constexpr int kSkipped = 77;

namespace {

struct Options {
  std::string data = "/usr/share/libonnx-testdata/data";
  std::vector<std::string> groups = {"node", "simple", "pytorch-operator", "pytorch-converted"};
  Mode mode = Mode::Given;
  std::string modeName = "given";
  std::string filter = "*";
  std::string expected;   // the file of expected failures
  std::string work = "."; // a folder for artifacts
  bool verbose = false;
};

struct Case {
  std::string name; // group/test
  std::string folder;
};

struct Result {
  enum Kind { Passed, Failed, NoTensors } kind = Failed;
  std::string text;
};

} // namespace

static std::vector<Case> listCases(const Options &options) {
  std::vector<Case> cases;
  auto pattern = llvm::cantFail(llvm::GlobPattern::create(options.filter));
  for (const std::string &group : options.groups) {
    std::error_code error;
    llvm::SmallString<256> folder(options.data);
    llvm::sys::path::append(folder, group);
    for (llvm::sys::fs::directory_iterator it(folder, error), end; it != end && !error;
         it.increment(error)) {
      std::string name = group + "/" + llvm::sys::path::filename(it->path()).str();
      if (pattern.match(name) && llvm::sys::fs::exists(it->path() + "/model.onnx"))
        cases.push_back({name, it->path()});
    }
  }
  llvm::sort(cases, [](const Case &a, const Case &b) { return a.name < b.name; });
  return cases;
}

/// Tries a case with all its data sets.
static Result tryCase(const Case &test, const Options &options) {
  auto model = readOnnxModel(test.folder + "/model.onnx");
  if (!model)
    return {Result::Failed, llvm::toString(model.takeError())};
  if (!hasTensorTypes(**model))
    return {Result::NoTensors, ""};
  if (options.modeName == "ranks") {
    llvm::Error error = tryRanks(test.folder);
    return error ? Result{Result::Failed, llvm::toString(std::move(error))}
                 : Result{Result::Passed, ""};
  }
  std::string file = options.work + "/case-" + std::to_string(::getpid()) + ".kiln";
  for (unsigned set = 0;
       llvm::sys::fs::is_directory(test.folder + "/test_data_set_" + std::to_string(set)) &&
       (set == 0 || options.mode == Mode::Given);
       ++set) {
    auto read = readCase(test.folder, set, options.mode);
    llvm::Error error = read ? runCase(*read, file) : read.takeError();
    llvm::sys::fs::remove(file);
    if (error)
      return {Result::Failed, llvm::toString(std::move(error))};
  }
  return {Result::Passed, ""};
}

/// The child: a line for each case, "<index> <kind> <text>".
[[noreturn]] static void runCases(llvm::ArrayRef<Case> cases, size_t first, const Options &options,
                                  int pipe) {
  for (size_t i = first; i < cases.size(); ++i) {
    ::alarm(kSecondsPerCase);
    Result result = tryCase(cases[i], options);
    std::string text = result.text;
    std::replace(text.begin(), text.end(), '\n', ' ');
    std::string line =
        std::to_string(i) + " " + std::to_string(int(result.kind)) + " " + text + "\n";
    if (::write(pipe, line.data(), line.size()) != ssize_t(line.size()))
      std::_Exit(1);
  }
  std::_Exit(0);
}

static std::vector<Result> runAll(llvm::ArrayRef<Case> cases, const Options &options) {
  std::vector<Result> results(cases.size());
  size_t next = 0;
  while (next < cases.size()) {
    int ends[2];
    if (::pipe(ends) != 0)
      return results;
    pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      runCases(cases, next, options, ends[1]);
    }
    ::close(ends[1]);
    FILE *in = ::fdopen(ends[0], "r");
    char *line = nullptr;
    size_t capacity = 0;
    while (::getline(&line, &capacity, in) > 0) {
      auto [index, rest] = llvm::StringRef(line).trim('\n').split(' ');
      auto [kind, text] = rest.split(' ');
      next = std::stoul(index.str());
      results[next] = {Result::Kind(std::stoi(kind.str())), text.str()};
      ++next;
    }
    std::free(line);
    std::fclose(in);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (next < cases.size()) {
      int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      results[next] = {Result::Failed, signal == SIGALRM
                                           ? std::string("takes too long")
                                           : "dies of signal " + std::to_string(signal)};
      ++next;
    }
  }
  return results;
}

/// "<case> <modes> <reason>" in each line; modes are given,dynamic,constant or *, which is these.
static std::map<std::string, std::string> readExpected(const Options &options) {
  std::map<std::string, std::string> reasons;
  auto file = llvm::MemoryBuffer::getFile(options.expected);
  if (!file)
    return reasons;
  llvm::SmallVector<llvm::StringRef> lines;
  (*file)->getBuffer().split(lines, '\n', -1, false);
  for (llvm::StringRef line : lines) {
    if (line.starts_with("#"))
      continue;
    auto [name, rest] = line.split(' ');
    auto [modes, reason] = rest.split(' ');
    llvm::SmallVector<llvm::StringRef> listed;
    modes.split(listed, ',');
    if (modes == "*" ? options.modeName != "ranks" : llvm::is_contained(listed, options.modeName))
      reasons[name.str()] = reason.str();
  }
  return reasons;
}

static int report(llvm::ArrayRef<Case> cases, llvm::ArrayRef<Result> results,
                  const Options &options) {
  std::map<std::string, std::string> expected = readExpected(options);
  size_t passed = 0, failed = 0, unexpected = 0, noTensors = 0;
  for (auto [test, result] : llvm::zip(cases, results)) {
    auto reason = expected.find(test.name);
    bool isExpected = reason != expected.end();
    switch (result.kind) {
    case Result::NoTensors:
      ++noTensors;
      break;
    case Result::Passed:
      ++passed;
      if (isExpected) {
        ++unexpected;
        std::printf("PASSES, but is listed: %s (%s)\n", test.name.c_str(), reason->second.c_str());
      }
      break;
    case Result::Failed:
      ++failed;
      if (!isExpected)
        ++unexpected;
      if (!isExpected || options.verbose)
        std::printf("%s: %s: %s\n", isExpected ? "fails as expected" : "FAILS", test.name.c_str(),
                    result.text.c_str());
      break;
    }
  }
  size_t tried = passed + failed;
  std::printf("%s: %zu cases with tensor types: %zu pass (%.1f %%), %zu fail, %zu not as expected; "
              "%zu others have strings\n",
              options.modeName.c_str(), tried, passed, tried ? 100.0 * passed / tried : 0, failed,
              unexpected, noTensors);
  return unexpected ? 1 : 0;
}

static bool parse(int argc, char **argv, Options &options) {
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef argument = argv[i];
    auto value = [&]() -> llvm::StringRef { return i + 1 < argc ? argv[++i] : ""; };
    if (argument == "--data") {
      options.data = value().str();
    } else if (argument == "--groups") {
      llvm::SmallVector<llvm::StringRef> parts;
      value().split(parts, ',');
      options.groups.assign(parts.begin(), parts.end());
    } else if (argument == "--mode") {
      options.modeName = value().str();
      if (!llvm::is_contained({"given", "dynamic", "constant", "ranks"}, options.modeName))
        return false;
      options.mode = options.modeName == "given"     ? Mode::Given
                     : options.modeName == "dynamic" ? Mode::Dynamic
                                                     : Mode::Constant;
    } else if (argument == "--filter") {
      options.filter = value().str();
    } else if (argument == "--expected") {
      options.expected = value().str();
    } else if (argument == "--work") {
      options.work = value().str();
    } else if (argument == "--verbose") {
      options.verbose = true;
    } else {
      return false;
    }
  }
  return true;
}

int main(int argc, char **argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: kiln_onnx_conformance [--data DIR] [--groups node,simple,…] "
                         "[--mode given|dynamic|constant|ranks]\n         [--filter GLOB] "
                         "[--expected FILE] [--work DIR] [--verbose]\n");
    return 2;
  }
  std::vector<Case> cases = listCases(options);
  if (cases.empty()) {
    std::printf("skipped: %s has no test data (Debian package libonnx-testdata)\n",
                options.data.c_str());
    return kSkipped;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return report(cases, runAll(cases, options), options);
}
