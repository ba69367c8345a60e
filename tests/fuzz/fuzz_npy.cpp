// Any bytes as a .npy file: an array whose bytes are what its dims ask for, or an error. What was
// read can be written, and is the same when it is read again.
#include "compiler/values/NpyFormat.h"
#include "llvm/ADT/StringExtras.h"

using namespace kiln;

static void require(bool condition) {
  if (!condition)
    __builtin_trap();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto value = parseNpy(llvm::ArrayRef<uint8_t>(data, size), "x.npy");
  if (!value) {
    require(!llvm::toString(value.takeError()).empty());
    return 0;
  }
  uint64_t count = 1;
  for (int64_t extent : value->dims)
    count = extent == 0 ? 0 : count * uint64_t(extent);
  require(value->elementBytes != 0 && value->bytes.size() == count * value->elementBytes);
  for (int64_t i = 0; i < value->count(); ++i) {
    double number = numberAt(*value, i);
    storeNumber(*value, i, number);
  }
  if (value->type == OnnxType::Undefined)
    return 0;
  auto header = makeNpyHeader(value->type, value->dims);
  require(bool(header));
  std::string file = *header + llvm::toStringRef(value->bytes).str();
  auto again = parseNpy(llvm::arrayRefFromStringRef(file), "x.npy");
  require(bool(again) && again->type == value->type && again->dims == value->dims &&
          again->bytes == value->bytes);
  return 0;
}
