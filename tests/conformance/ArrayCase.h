// Writes down a kernel of array operators with what it must give: types, operands and operators by
// name, and a function that computes the results anew.
#ifndef KILN_TESTS_CONFORMANCE_ARRAYCASE_H
#define KILN_TESTS_CONFORMANCE_ARRAYCASE_H

#include "Conformance.h"
#include "compiler/values/Value.h"

namespace kiln::test {

/// Extents that a call gives: @n, the number of rows, and @m, which follows from it.
constexpr int64_t kDim = -1, kOtherDim = -2;

/// Element `i` of an operand.
using Fill = std::function<double(int64_t i)>;

/// Numbers that go through a range, none of them round.
Fill spread(double low, double high);
Fill integers(int64_t low, int64_t high);
/// These, again and again.
Fill some(std::vector<double> values);

struct ArrayType {
  OnnxType type;
  std::vector<int64_t> shape;
};

/// `number` rounded to a type and back.
double roundedTo(OnnxType type, double number);

class ArrayCase {
public:
  explicit ArrayCase(std::string name) : name(std::move(name)) {}

  using Lists = std::vector<std::vector<double>>;
  /// From n and the operands' elements the results' elements, row by row.
  using Meaning = std::function<Lists(int64_t n, const Lists &inputs)>;

  // Operands of the kernel, and operators on values by their names; each gives a name.
  std::string input(const ArrayType &type, Fill fill);
  /// Every code of a type of 8 or 16 bits, in order.
  std::string codes(const ArrayType &type);
  std::string weight(const PackedMatrix &matrix);
  /// A vector of f32 as a weight.
  std::string vector(int64_t size, Fill fill);
  std::vector<std::string> ops(const std::string &kind, const std::vector<std::string> &operands,
                               const std::vector<ArrayType> &types, const std::string &params = "");
  std::string op(const std::string &kind, const std::vector<std::string> &operands,
                 const ArrayType &type, const std::string &params = "") {
    return ops(kind, operands, {type}, params)[0];
  }
  /// graph.matmul; rows of the kernel are padded from here on.
  std::string matmul(const std::string &x, const std::string &w, const ArrayType &type);
  void result(const std::string &value) { results.push_back(value); }
  /// Errors may be `absolute + relative * |expected|`.
  void expect(double relative, double absolute, Meaning meaning);
  /// @m, where a type has it.
  std::function<int64_t(int64_t n)> otherDim;

  ConformanceCase make() const;

private:
  struct Input {
    std::string name, text; // its type as IR
    ArrayType type;         // of no weight
    Fill fill;
    bool isCodes = false, isVector = false;
    std::vector<uint8_t> bytes; // of a weight
  };
  std::string declare(const std::string &text, const ArrayType &type);
  int64_t strideOf(const ArrayType &type) const;
  Value valueOf(const Input &input, int64_t n) const;
  Buffer<uint8_t> bufferOf(const Input &input, const Value &value) const;
  std::vector<int64_t> sizesOf(const ArrayType &type, int64_t n) const;
  Call call(int64_t n) const;

  std::string name, body;
  std::vector<Input> inputs;
  std::map<std::string, std::pair<std::string, ArrayType>> types; // of values
  std::vector<std::string> results;
  double relative = 0, absolute = 0;
  Meaning meaning;
  bool padded = false;
};

std::vector<ArrayCase> elementwiseCases();

} // namespace kiln::test

#endif
