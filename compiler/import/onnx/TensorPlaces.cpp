// Finds the bytes of tensors in a serialized model. Protobuf's parser copies a tensor's values and
// does not say where they were, but weights are better left in the file until they are packed. So
// this walks the wire format (tags, varints and lengths: protobuf.dev/programming-guides/encoding)
// along the fields that lead to tensors and notes where runs of little-endian values lie: raw_data
// and the packed float_data and double_data. A tensor then finds its place by its contents, which
// makes every way of writing the same message equally good.
#include "compiler/import/onnx/TensorPlaces.h"
#include "llvm/Support/xxhash.h"
#include <cstring>

using namespace llvm;
using namespace kiln;

namespace {
enum class Message { Model, Graph, Function, Node, Attribute, Tensor, Values };

struct Field {
  Message of;
  uint64_t number;
  Message holds;
};
} // namespace

/// The fields of onnx.proto on the way to values.
static constexpr Field fields[] = {
    {Message::Model, 7, Message::Graph},       {Message::Model, 25, Message::Function},
    {Message::Graph, 1, Message::Node},        {Message::Graph, 5, Message::Tensor},
    {Message::Function, 7, Message::Node},     {Message::Node, 5, Message::Attribute},
    {Message::Attribute, 5, Message::Tensor},  {Message::Attribute, 6, Message::Graph},
    {Message::Attribute, 10, Message::Tensor}, {Message::Attribute, 11, Message::Graph},
    {Message::Tensor, 4, Message::Values},     {Message::Tensor, 9, Message::Values},
    {Message::Tensor, 10, Message::Values},
};
static constexpr unsigned deepest = 128;

namespace {
class Walker {
public:
  Walker(ArrayRef<uint8_t> bytes, std::vector<std::pair<uint64_t, uint64_t>> &found)
      : bytes(bytes), found(found) {}

  void walk(Message message, uint64_t at, uint64_t end, unsigned depth) {
    while (at < end) {
      uint64_t tag, length;
      if (!takeVarint(at, end, tag))
        return;
      switch (tag & 7) {
      case 0:
        if (!takeVarint(at, end, length))
          return;
        continue;
      case 1:
        length = 8;
        break;
      case 5:
        length = 4;
        break;
      case 2:
        if (!takeVarint(at, end, length))
          return;
        break;
      default:
        return;
      }
      if (length > end - at)
        return;
      if ((tag & 7) == 2)
        enter(message, tag >> 3, at, length, depth);
      at += length;
    }
  }

private:
  void enter(Message message, uint64_t number, uint64_t at, uint64_t length, unsigned depth) {
    if (length < TensorPlaces::smallest)
      return;
    for (const Field &field : fields)
      if (field.of == message && field.number == number) {
        if (field.holds == Message::Values)
          found.push_back({at, length});
        else if (depth < deepest)
          walk(field.holds, at, at + length, depth + 1);
      }
  }

  bool takeVarint(uint64_t &at, uint64_t end, uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
      uint8_t byte = bytes[at++];
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }

  ArrayRef<uint8_t> bytes;
  std::vector<std::pair<uint64_t, uint64_t>> &found;
};
} // namespace

TensorPlaces::TensorPlaces(ArrayRef<uint8_t> model) : model(model) {
  std::vector<std::pair<uint64_t, uint64_t>> found;
  Walker(model, found).walk(Message::Model, 0, model.size(), 0);
  for (auto [offset, size] : found)
    offsetsByHash.insert({xxh3_64bits(model.slice(offset, size)), offset});
}

std::optional<uint64_t> TensorPlaces::find(ArrayRef<uint8_t> values) const {
  if (values.size() < smallest || offsetsByHash.empty())
    return std::nullopt;
  auto [begin, end] = offsetsByHash.equal_range(xxh3_64bits(values));
  for (auto it = begin; it != end; ++it)
    if (values.size() <= model.size() - it->second &&
        std::memcmp(model.data() + it->second, values.data(), values.size()) == 0)
      return it->second;
  return std::nullopt;
}
