// TensorProto and SparseTensorProto as plain tensors. Whichever field holds the values, they become
// little-endian bytes as raw_data has them, and their number must be exactly what the dims say.
// Nothing is allocated by a size that only the dims claim, but for the zeros of sparse tensors,
// which have a budget.
#include "compiler/import/onnx/ExternalData.h"
#include "compiler/import/onnx/ReadProto.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include <cstring>

using namespace llvm;
using namespace kiln;

static_assert(endianness::native == endianness::little, "values of fields are copied as they lie");

std::optional<int64_t> kiln::countElements(ArrayRef<int64_t> dims, const Twine &what,
                                           OnnxReading &reading) {
  if (dims.size() > OnnxLimits::dims) {
    reading.fail(what, "expected at most " + Twine(OnnxLimits::dims) + " dims, found " +
                           Twine(dims.size()));
    return std::nullopt;
  }
  std::optional<int64_t> count = 1;
  bool empty = false;
  for (int64_t extent : dims) {
    if (extent < 0) {
      reading.fail(what, "expected dims of 0 or more, found " + printShape(dims));
      return std::nullopt;
    }
    empty |= extent == 0;
    if (count && extent != 0) // checked without the zeros, so that one does not hide nonsense
      count = checkedMul(*count, extent);
    if (!count || *count > OnnxLimits::elements) {
      reading.fail(what, printShape(dims) + " has more than 2^62 elements");
      return std::nullopt;
    }
  }
  return empty ? 0 : *count;
}

/// Bytes of `elements` packed elements; nothing beyond 2^62.
static std::optional<uint64_t> packedBytes(int64_t elements, unsigned bits) {
  std::optional<int64_t> total = checkedMul(elements, int64_t(bits));
  if (!total || *total > int64_t(OnnxLimits::elements))
    return std::nullopt;
  return (uint64_t(*total) + 7) / 8;
}

namespace {
class TensorReader {
public:
  TensorReader(onnx::TensorProto &proto, const Twine &what, OnnxReading &reading)
      : proto(proto), what(what.str()), reading(reading), tensor(std::make_shared<OnnxTensor>()) {}

  std::shared_ptr<OnnxTensor> read() {
    tensor->name = proto.name();
    tensor->type = OnnxType(proto.data_type());
    tensor->dims.assign(proto.dims().begin(), proto.dims().end());
    if (proto.has_segment()) {
      reading.fail(what, "is a segment of a tensor, which no version of ONNX uses");
      return nullptr;
    }
    bool isString = tensor->type == OnnxType::String;
    if (!isString && bitsOf(tensor->type) == 0) {
      reading.fail(what,
                   "expected a type of elements from 1 to 26, found " + Twine(proto.data_type()));
      return nullptr;
    }
    std::optional<int64_t> elements = countElements(tensor->dims, what, reading);
    if (!elements)
      return nullptr;
    tensor->elements = *elements;
    if (isString)
      return readStrings() ? tensor : nullptr;
    std::optional<uint64_t> size = packedBytes(*elements, bitsOf(tensor->type));
    if (!size) {
      reading.fail(what, printShape(tensor->dims) + " of " + nameOf(tensor->type) +
                             " has more than 2^62 bits");
      return nullptr;
    }
    tensor->sizeBytes = *size;
    bool external = proto.data_location() == onnx::TensorProto::EXTERNAL;
    return (external ? readExternal() : readValues()) ? tensor : nullptr;
  }

private:
  bool fail(const Twine &text) { return reading.fail(what, text); }

  bool failCount(uint64_t expected, uint64_t found, StringRef unit, StringRef field) {
    return fail("expected " + Twine(expected) + " " + unit + " for " + printShape(tensor->dims) +
                " of " + nameOf(tensor->type) + ", found " + Twine(found) + " in " + field);
  }

  bool readStrings() {
    if (proto.string_data_size() != tensor->elements)
      return failCount(uint64_t(tensor->elements), uint64_t(proto.string_data_size()), "strings",
                       "string_data");
    for (std::string &text : *proto.mutable_string_data())
      tensor->strings.push_back(std::move(text));
    return true;
  }

  // ---- In other files ---------------------------------------------------------------------------

  bool readExternal() {
    std::optional<StringRef> location, offset, length;
    for (const onnx::StringStringEntryProto &entry : proto.external_data()) {
      auto *value = entry.key() == "location" ? &location
                    : entry.key() == "offset" ? &offset
                    : entry.key() == "length" ? &length
                                              : nullptr; // a checksum, or what comes later
      if (!value)
        continue;
      if (*value)
        return fail("external data: " + entry.key() + " is there twice");
      *value = entry.value();
    }
    if (!location)
      return fail("external data: expected a location");
    uint64_t from = 0, count = tensor->sizeBytes;
    if (offset && offset->getAsInteger(10, from))
      return fail("external data: offset: expected a number, found \"" + printable(*offset) + "\"");
    if (length && length->getAsInteger(10, count))
      return fail("external data: length: expected a number, found \"" + printable(*length) + "\"");
    if (count != tensor->sizeBytes)
      return failCount(tensor->sizeBytes, count, "bytes", "external data");
    auto [known, isNew] = reading.externalSizes.try_emplace(*location, 0);
    if (isNew) {
      Expected<ExternalData> file =
          ExternalData::open(reading.folder, *location, *location == reading.modelFile);
      if (!file) {
        reading.externalSizes.erase(known);
        return fail(toString(file.takeError()));
      }
      known->second = file->getSize();
    }
    if (from > known->second || count > known->second - from)
      return fail("expected " + Twine(count) + " bytes at offset " + Twine(from) +
                  " of external data \"" + printable(*location) + "\", found a file of " +
                  Twine(known->second));
    tensor->file = location->str();
    tensor->offset = from;
    return true;
  }

  // ---- In the message ---------------------------------------------------------------------------

  bool readValues() {
    if (!(proto.has_raw_data() && (!proto.raw_data().empty() || tensor->elements == 0)
              ? readRaw()
              : readTyped()))
      return false;
    if (tensor->type == OnnxType::Bool)
      for (uint8_t &value : tensor->bytes)
        value = value != 0;
    if (std::optional<uint64_t> offset = reading.places.find(tensor->bytes)) {
      tensor->file = reading.modelFile;
      tensor->offset = *offset;
      tensor->bytes = {};
    }
    return true;
  }

  bool readRaw() {
    const std::string &raw = proto.raw_data();
    if (raw.size() != tensor->sizeBytes)
      return failCount(tensor->sizeBytes, raw.size(), "bytes", "raw_data");
    tensor->bytes.assign(raw.begin(), raw.end());
    delete proto.release_raw_data(); // so that big values are there once
    return true;
  }

  bool readTyped() {
    switch (tensor->type) {
    case OnnxType::Float:
      return copy(proto.float_data(), 1, "float_data");
    case OnnxType::Complex64:
      return copy(proto.float_data(), 2, "float_data");
    case OnnxType::Double:
      return copy(proto.double_data(), 1, "double_data");
    case OnnxType::Complex128:
      return copy(proto.double_data(), 2, "double_data");
    case OnnxType::Int64:
      return copy(proto.int64_data(), 1, "int64_data");
    case OnnxType::UInt64:
      return copy(proto.uint64_data(), 1, "uint64_data");
    case OnnxType::Int32:
      return copy(proto.int32_data(), 1, "int32_data");
    case OnnxType::UInt32:
      return narrow(proto.uint64_data(), 4, 0, UINT32_MAX, "uint64_data");
    case OnnxType::UInt16:
      return narrow(proto.int32_data(), 2, 0, UINT16_MAX, "int32_data");
    case OnnxType::Int16:
      return narrow(proto.int32_data(), 2, INT16_MIN, INT16_MAX, "int32_data");
    case OnnxType::UInt8:
      return narrow(proto.int32_data(), 1, 0, UINT8_MAX, "int32_data");
    case OnnxType::Int8:
      return narrow(proto.int32_data(), 1, INT8_MIN, INT8_MAX, "int32_data");
    case OnnxType::Bool:
      return narrow(proto.int32_data(), 1, 0, 1, "int32_data");
    case OnnxType::Float16:
    case OnnxType::BFloat16:
      return narrow(proto.int32_data(), 2, INT16_MIN, UINT16_MAX, "int32_data");
    default: // bits of small floats, or small integers that share a byte
      return narrow(proto.int32_data(), 1, INT8_MIN, UINT8_MAX, "int32_data");
    }
  }

  template <typename Values> bool copy(const Values &values, unsigned parts, StringRef field) {
    uint64_t size = uint64_t(values.size()) * sizeof(*values.data());
    if (size != tensor->sizeBytes)
      return failCount(uint64_t(tensor->elements) * parts, uint64_t(values.size()), "values",
                       field);
    tensor->bytes.resize(size);
    if (size != 0)
      std::memcpy(tensor->bytes.data(), values.data(), size);
    return true;
  }

  /// Keeps the low `bytes` of each value, which must lie from `least` to `most`.
  template <typename Values>
  bool narrow(const Values &values, unsigned bytes, int64_t least, int64_t most, StringRef field) {
    uint64_t count = tensor->sizeBytes / bytes;
    if (uint64_t(values.size()) != count)
      return failCount(count, uint64_t(values.size()), "values", field);
    tensor->bytes.reserve(tensor->sizeBytes);
    for (auto value : values) {
      auto wide = int64_t(value);
      if (wide < least || wide > most)
        return fail("expected values from " + Twine(least) + " to " + Twine(most) + " for " +
                    nameOf(tensor->type) + ", found " + Twine(wide) + " in " + field);
      for (unsigned i = 0; i < bytes; ++i)
        tensor->bytes.push_back(uint8_t(uint64_t(wide) >> (8 * i)));
    }
    return true;
  }

  onnx::TensorProto &proto;
  std::string what;
  OnnxReading &reading;
  std::shared_ptr<OnnxTensor> tensor;
};
} // namespace

std::shared_ptr<OnnxTensor> kiln::readTensor(onnx::TensorProto &proto, const Twine &what,
                                             OnnxReading &reading) {
  return TensorReader(proto, what, reading).read();
}

// ---- Sparse tensors -----------------------------------------------------------------------------

/// The element that entry `i` of the indices names, or nothing where there is none.
static std::optional<int64_t> placeOf(const OnnxTensor &indices, ArrayRef<int64_t> all,
                                      const OnnxTensor &dense, int64_t i) {
  if (indices.dims.size() == 1)
    return all[i] >= 0 && all[i] < dense.elements ? std::optional(all[i]) : std::nullopt;
  int64_t place = 0;
  for (size_t dim = 0; dim < dense.dims.size(); ++dim) {
    int64_t index = all[size_t(i) * dense.dims.size() + dim];
    if (index < 0 || index >= dense.dims[dim])
      return std::nullopt;
    place = place * dense.dims[dim] + index; // stays below the number of elements
  }
  return place;
}

std::shared_ptr<OnnxTensor> kiln::readSparseTensor(onnx::SparseTensorProto &proto,
                                                   const Twine &what, OnnxReading &reading) {
  std::string text = what.str();
  auto values = readTensor(*proto.mutable_values(), text + ": values", reading);
  auto indices = readTensor(*proto.mutable_indices(), text + ": indices", reading);
  auto dense = std::make_shared<OnnxTensor>();
  dense->dims.assign(proto.dims().begin(), proto.dims().end());
  std::optional<int64_t> elements = countElements(dense->dims, text, reading);
  if (!values || !indices || !elements)
    return nullptr;
  auto fail = [&](const Twine &problem) {
    reading.fail(text, problem);
    return nullptr;
  };
  unsigned bytes = bitsOf(values->type) / 8;
  if (bytes == 0)
    return fail("expected values of at least a byte each, found " + nameOf(values->type));
  int64_t rank = int64_t(dense->dims.size());
  if (values->dims.size() != 1)
    return fail("expected values of one dim, found " + printShape(values->dims));
  bool linear = indices->dims.size() == 1 && indices->elements == values->elements;
  bool byDim =
      indices->dims.size() == 2 && indices->dims[0] == values->elements && indices->dims[1] == rank;
  if (indices->type != OnnxType::Int64 || (!linear && !byDim))
    return fail("expected indices of int64 and " + printShape({values->elements}) + " or " +
                printShape({values->elements, rank}) + ", found " + nameOf(indices->type) +
                " and " + printShape(indices->dims));
  std::optional<uint64_t> size = packedBytes(*elements, bytes * 8);
  if (!size || *size > OnnxLimits::dense - reading.denseBytes)
    return fail(printShape(dense->dims) + " of " + nameOf(values->type) +
                " with its zeros takes more memory than the " + Twine(OnnxLimits::dense) +
                " bytes that sparse tensors may take");
  OnnxModel here;
  here.folder = reading.folder, here.file = reading.modelFile;
  Expected<std::vector<uint8_t>> indexBytes = readBytes(*indices, &here);
  if (!indexBytes)
    return fail(toString(indexBytes.takeError()));
  Expected<std::vector<uint8_t>> valueBytes = readBytes(*values, &here);
  if (!valueBytes)
    return fail(toString(valueBytes.takeError()));
  reading.denseBytes += *size;
  dense->name = values->name;
  dense->type = values->type;
  dense->elements = *elements;
  dense->sizeBytes = *size;
  dense->bytes.resize(*size);
  std::vector<int64_t> all(size_t(indices->elements));
  if (!all.empty())
    std::memcpy(all.data(), indexBytes->data(), indexBytes->size());
  for (int64_t i = 0; i < values->elements; ++i) {
    std::optional<int64_t> place = placeOf(*indices, all, *dense, i);
    if (!place)
      return fail("index " + Twine(i) + " lies outside of " + printShape(dense->dims));
    std::memcpy(&dense->bytes[size_t(*place) * bytes], &(*valueBytes)[size_t(i) * bytes], bytes);
  }
  return dense;
}

// ---- What others call ---------------------------------------------------------------------------

Expected<std::vector<uint8_t>> kiln::readBytes(const OnnxTensor &tensor, const OnnxModel *model) {
  if (tensor.type == OnnxType::String)
    return createStringError(inconvertibleErrorCode(),
                             "tensor '" + printable(tensor.name) + "' holds strings");
  if (tensor.file.empty())
    return tensor.bytes;
  auto explain = [&](Error error) {
    return createStringError(inconvertibleErrorCode(), "tensor '" + printable(tensor.name) +
                                                           "': " + toString(std::move(error)));
  };
  Expected<ExternalData> file = ExternalData::open(
      model ? StringRef(model->folder) : "", tensor.file, model && tensor.file == model->file);
  if (!file)
    return explain(file.takeError());
  std::vector<uint8_t> bytes;
  if (Error error = file->read(tensor.offset, tensor.sizeBytes, bytes))
    return explain(std::move(error));
  if (tensor.type == OnnxType::Bool)
    for (uint8_t &value : bytes)
      value = value != 0;
  return bytes;
}
