// Cases of kernels that are made from records (codegen/array), element by element: maths, small
// floats, integers, casts. Expected values are computed here, in doubles; elements of small types
// are read and rounded by compiler/values, which has LLVM's APFloat.
#include "ArrayCase.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace kiln;
using namespace kiln::test;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using T = OnnxType;
using Type = ArrayType;
using List = std::vector<double>;
using Lists = std::vector<List>;

List mapped(const List &x, double (*function)(double)) {
  List result(x);
  for (double &value : result)
    value = function(value);
  return result;
}

ArrayCase broadcasting() {
  ArrayCase c("maps with broadcasting");
  auto x = c.input({T::Float, {kDim, 7, 33}}, spread(-3, 3));
  auto s = c.input({T::Float, {33}}, spread(0.5, 2)),
       b = c.input({T::Float, {7, 1}}, spread(-1, 1));
  auto k = c.input({T::Float, {}}, some({0.25}));
  Type rows{T::Float, {kDim, 7, 33}}, truth{T::Bool, {kDim, 7, 33}};
  auto scaled = c.op("mul", {x, s}, rows), moved = c.op("add", {scaled, b}, rows);
  auto kept = c.op("relu", {moved}, rows), less = c.op("sub", {kept, k}, rows);
  auto larger = c.op("greater", {x, b}, truth);
  c.result(c.op("where", {larger, less, x}, rows));
  c.result(c.op("clamp", {less}, rows, "low = 0.5 : f64, high = 1.5 : f64"));
  c.expect(1e-6, 1e-6, [](int64_t n, const Lists &in) {
    Lists y(2);
    for (int64_t i = 0; i < n * 7 * 33; ++i) {
      double value = in[0][i], bias = in[2][i / 33 % 7];
      double rest = std::max(value * in[1][i % 33] + bias, 0.0) - in[3][0];
      y[0].push_back(value > bias ? rest : value);
      y[1].push_back(std::min(std::max(rest, 0.5), 1.5));
    }
    return y;
  });
  return c;
}

struct Function {
  const char *kind;
  double (*meaning)(double);
};

/// Functions of one element, all in one kernel.
ArrayCase functions(const char *name, T type, Fill fill, std::vector<Function> table,
                    double relative, double absolute) {
  ArrayCase c(name);
  Type rows{type, {kDim, 37}};
  auto x = c.input(rows, std::move(fill));
  for (const Function &function : table)
    c.result(c.op(function.kind, {x}, rows));
  c.expect(relative, absolute, [=](int64_t, const Lists &in) {
    Lists y;
    for (const Function &function : table)
      y.push_back(mapped(in[0], function.meaning));
    return y;
  });
  return c;
}

const std::vector<Function> kAnywhere = {
    {"exp", [](double x) { return std::exp(x); }},
    {"tanh", [](double x) { return std::tanh(x); }},
    {"erf", [](double x) { return std::erf(x); }},
    {"sin", [](double x) { return std::sin(x); }},
    {"cos", [](double x) { return std::cos(x); }},
    {"atan", [](double x) { return std::atan(x); }},
    {"asinh", [](double x) { return std::asinh(x); }},
    {"sinh", [](double x) { return std::sinh(x); }},
    {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"softplus", [](double x) { return std::log1p(std::exp(x)); }},
    {"gelu", [](double x) { return 0.5 * x * (1 + std::erf(x * M_SQRT1_2)); }},
    {"round", [](double x) { return std::nearbyint(x); }},
    {"floor", [](double x) { return std::floor(x); }},
    {"sign", [](double x) { return double((x > 0) - (x < 0)); }},
};
const std::vector<Function> kInUnit = {
    {"asin", [](double x) { return std::asin(x); }},
    {"acos", [](double x) { return std::acos(x); }},
    {"atanh", [](double x) { return std::atanh(x); }},
    {"tan", [](double x) { return std::tan(x); }},
};
const std::vector<Function> kPositive = {
    {"log", [](double x) { return std::log(x); }},
    {"sqrt", [](double x) { return std::sqrt(x); }},
    {"acosh", [](double x) { return std::acosh(x); }},
    {"reciprocal", [](double x) { return 1 / x; }},
};

ArrayCase powers(T type, double relative) {
  ArrayCase c(type == T::Float ? "powers f32" : "powers f64");
  Type rows{type, {kDim, 24}};
  auto x = c.input(rows, some({-2, -1.5, 0, 0.3, 1, 2.25, 7, -3}));
  auto y = c.input(rows, some({0, 1, 2, 3, -1, 0.5, -2.5}));
  c.result(c.op("pow", {x, y}, rows));
  c.result(c.op("mod", {x, y}, rows, "fmod = 1 : i64"));
  c.expect(relative, 1e-30, [](int64_t, const Lists &in) {
    Lists z(2);
    for (size_t i = 0; i < in[0].size(); ++i) {
      z[0].push_back(std::pow(in[0][i], in[1][i]));
      z[1].push_back(std::fmod(in[0][i], in[1][i]));
    }
    return z;
  });
  return c;
}

/// Infinities, what is no number, zeros of both signs and what is too small or large.
ArrayCase unusual(T type) {
  ArrayCase c(type == T::Float ? "unusual f32" : "unusual f64");
  Type rows{type, {kDim, 14}}, truth{T::Bool, {kDim, 14}};
  auto x = c.input(rows, some({kNaN, kInfinity, -kInfinity, 0, -0.0, 2e-38, 3e38, -3e38, 100, -100,
                               1000, -1, 0.5, -0.5}));
  auto y = c.input(rows, some({1, 2, kNaN}));
  const std::vector<Function> table = {
      {"exp", [](double x) { return x > 90 && x < 710 ? kInfinity : std::exp(x); }},
      {"log", [](double x) { return std::log(x); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"erf", [](double x) { return std::erf(x); }},
      {"sqrt", [](double x) { return std::sqrt(x); }},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"relu", [](double x) { return x < 0 ? 0 : x; }},
      {"round", [](double x) { return std::nearbyint(x); }},
  };
  for (const Function &function : table)
    c.result(c.op(function.kind, {x}, rows));
  c.result(c.op("max", {x, y}, rows));
  c.result(c.op("min", {x, y}, rows));
  c.result(c.op("clamp", {x}, rows, "low = -2.0 : f64, high = 2.0 : f64"));
  c.result(c.op("isnan", {x}, truth));
  c.result(c.op("isinf", {x}, truth, "positive = 1 : i64, negative = 0 : i64"));
  c.result(c.op("equal", {x, x}, truth));
  c.expect(1e-6, 1e-37, [=](int64_t, const Lists &in) {
    Lists z;
    for (const Function &function : table)
      z.push_back(mapped(in[0], function.meaning));
    if (type == T::Double)
      z[0] = mapped(in[0], [](double x) { return std::exp(x); });
    z.resize(table.size() + 6);
    for (size_t i = 0; i < in[0].size(); ++i) {
      double a = in[0][i], b = in[1][i];
      List *at = &z[table.size()];
      bool none = std::isnan(a) || std::isnan(b);
      (at++)->push_back(none ? kNaN : std::max(a, b));
      (at++)->push_back(none ? kNaN : std::min(a, b));
      (at++)->push_back(std::isnan(a) ? a : std::min(std::max(a, -2.0), 2.0));
      (at++)->push_back(std::isnan(a));
      (at++)->push_back(a == kInfinity);
      (at++)->push_back(a == a);
    }
    return z;
  });
  return c;
}

/// A type's arithmetic; results are rounded after each operator.
ArrayCase smallFloats(const char *name, T type) {
  ArrayCase c(name);
  Type rows{type, {kDim, 37}};
  auto x = c.input(rows, spread(-5, 5)), y = c.input(rows, spread(0.5, 3));
  auto sum = c.op("add", {x, y}, rows), product = c.op("mul", {sum, y}, rows);
  c.result(product);
  c.result(c.op("max", {product, x}, rows));
  c.result(c.op("neg", {sum}, rows));
  c.expect(0, 0, [=](int64_t, const Lists &in) {
    Lists z(3);
    for (size_t i = 0; i < in[0].size(); ++i) {
      double sum = roundedTo(type, in[0][i] + in[1][i]), product = roundedTo(type, sum * in[1][i]);
      z[0].push_back(product);
      z[1].push_back(std::max(product, in[0][i]));
      z[2].push_back(-sum);
    }
    return z;
  });
  return c;
}

struct NamedType {
  const char *name;
  T type;
};
const NamedType kSmallFloats[] = {{"f16", T::Float16},           {"bf16", T::BFloat16},
                                  {"f8E4M3FN", T::Float8E4M3FN}, {"f8E4M3FNUZ", T::Float8E4M3FNUZ},
                                  {"f8E5M2", T::Float8E5M2},     {"f8E5M2FNUZ", T::Float8E5M2FNUZ},
                                  {"f4E2M1FN", T::Float4E2M1}};

/// Every code of a small float as f32.
ArrayCase widened(const NamedType &from) {
  ArrayCase c(std::string("every ") + from.name);
  int64_t count = int64_t(1) << bitsOf(from.type);
  auto x = c.codes({from.type, {count}});
  c.result(c.op("cast", {x}, {T::Float, {count}}));
  c.expect(0, 0, [](int64_t, const Lists &in) { return Lists{in[0]}; });
  return c;
}

/// f32 to all small floats: ties, what is too small and too large.
ArrayCase narrowed() {
  ArrayCase c("casts to small floats");
  Type rows{T::Float, {kDim, 40}};
  List values = {0,      -0.0,    1,      -1.5,    65504,   65519.9, 65520,  1e9,  -1e9, kInfinity,
                 kNaN,   448,     464,    464.1,   -480,    57344,   61440,  6e-8, 3e-8, 2.9e-8,
                 1e-5,   0.00195, 0.0009, 1.0625,  1.1875,  1.0625f, 2.125,  240,  248,  -256,
                 3.5e-5, 1e-45,   1e38,   1.00049, 1.00048, 1.00146, 0.0078, -17,  19,   -0.001};
  auto x = c.input(rows, some(values));
  for (const NamedType &to : kSmallFloats)
    c.result(c.op("cast", {x}, {to.type, {kDim, 40}}));
  c.expect(0, 0, [](int64_t, const Lists &in) { return Lists(std::size(kSmallFloats), in[0]); });
  return c;
}

ArrayCase bytes(T type) {
  bool isSigned = type == T::Int8;
  ArrayCase c(isSigned ? "arithmetic of int8" : "arithmetic of uint8");
  Type rows{type, {kDim, 50}}, truth{T::Bool, {kDim, 50}};
  auto x = c.input(rows, integers(isSigned ? -128 : 0, isSigned ? 127 : 255));
  auto y = c.input(rows, isSigned ? some({3, -1, 0, 127, -128, 7, -5}) : some({3, 1, 0, 255, 7}));
  for (const char *kind : {"add", "sub", "mul", "div", "min", "max"})
    c.result(c.op(kind, {x, y}, rows));
  c.result(c.op("mod", {x, y}, rows, "fmod = 0 : i64"));
  c.result(c.op("less", {x, y}, truth));
  auto wrap = [=](int value) {
    return double(isSigned ? int(int8_t(value)) : int(uint8_t(value)));
  };
  c.expect(0, 0, [=](int64_t, const Lists &in) {
    Lists z(8);
    for (size_t i = 0; i < in[0].size(); ++i) {
      int a = int(in[0][i]), b = int(in[1][i]);
      z[0].push_back(wrap(a + b));
      z[1].push_back(wrap(a - b));
      z[2].push_back(wrap(a * b));
      z[3].push_back(b ? wrap(a / b) : a);
      z[4].push_back(std::min(a, b));
      z[5].push_back(std::max(a, b));
      int rest = b ? a % b : 0;
      z[6].push_back(rest && (rest ^ b) < 0 ? rest + b : rest);
      z[7].push_back(a < b);
    }
    return z;
  });
  return c;
}

/// Whole numbers that doubles hold exactly, beyond 32 bits too.
ArrayCase longs() {
  ArrayCase c("arithmetic of int64");
  Type rows{T::Int64, {kDim, 18}};
  auto x = c.input(rows, some({5, -7, 1e15, -1e15, 4294967297.0, 0, 12345}));
  auto y = c.input(rows, some({3, -2, 7, -1, 65536}));
  c.result(c.op("add", {x, y}, rows));
  c.result(c.op("div", {x, y}, rows));
  c.result(c.op("abs", {x}, rows));
  c.expect(0, 0, [](int64_t, const Lists &in) {
    Lists z(3);
    for (size_t i = 0; i < in[0].size(); ++i) {
      auto a = int64_t(in[0][i]), b = int64_t(in[1][i]);
      z[0].push_back(double(a + b));
      z[1].push_back(double(a / b));
      z[2].push_back(double(std::abs(a)));
    }
    return z;
  });
  return c;
}

ArrayCase bits() {
  ArrayCase c("bits and truth values");
  Type words{T::UInt16, {kDim, 20}}, truth{T::Bool, {kDim, 20}};
  auto x = c.input(words, integers(0, 65535)), y = c.input(words, some({1, 4, 15, 16, 40, 0}));
  auto p = c.input(truth, some({0, 1, 1})), q = c.input(truth, some({1, 0}));
  c.result(c.op("and", {x, y}, words));
  c.result(c.op("not", {x}, words));
  c.result(c.op("shift_left", {x, y}, words));
  c.result(c.op("shift_right", {x, y}, words));
  c.result(c.op("xor", {p, q}, truth));
  c.result(c.op("or", {p, c.op("not", {q}, truth)}, truth));
  c.expect(0, 0, [](int64_t, const Lists &in) {
    Lists z(6);
    for (size_t i = 0; i < in[0].size(); ++i) {
      auto a = uint16_t(in[0][i]), b = uint16_t(in[1][i]);
      bool p = in[2][i] != 0, q = in[3][i] != 0;
      z[0].push_back(a & b);
      z[1].push_back(uint16_t(~a));
      z[2].push_back(b < 16 ? uint16_t(a << b) : 0);
      z[3].push_back(b < 16 ? a >> b : 0);
      z[4].push_back(p != q);
      z[5].push_back(p || !q);
    }
    return z;
  });
  return c;
}

/// Codes of a scale and a zero point, as QuantizeLinear makes them; and other casts.
ArrayCase codes() {
  ArrayCase c("casts to codes");
  Type rows{T::Float, {kDim, 29}};
  auto typed = [](T type) { return Type{type, {kDim, 29}}; };
  auto x = c.input(rows, spread(-300, 300)), scale = c.input({T::Float, {}}, some({1.5}));
  auto rounded = c.op("round", {c.op("div", {x, scale}, rows)}, rows);
  auto limited = c.op("clamp", {rounded}, rows, "low = -128.0 : f64, high = 127.0 : f64");
  c.result(c.op("cast", {limited}, typed(T::Int8)));
  c.result(c.op("cast", {x}, typed(T::Int32)));
  c.result(c.op("cast", {x}, typed(T::Bool)));
  c.result(c.op("cast", {c.op("cast", {x}, typed(T::Int64))}, typed(T::Double)));
  c.result(c.op("cast", {limited}, typed(T::Int4)));
  c.expect(0, 0, [](int64_t, const Lists &in) {
    Lists z(5);
    for (double value : in[0]) {
      double code = std::min(std::max(std::nearbyint(double(float(value) / 1.5f)), -128.0), 127.0);
      z[0].push_back(code);
      z[1].push_back(std::trunc(value));
      z[2].push_back(value != 0);
      z[3].push_back(std::trunc(value));
      int low = int(code) & 15;
      z[4].push_back(low >= 8 ? low - 16 : low);
    }
    return z;
  });
  return c;
}

} // namespace

std::vector<ArrayCase> kiln::test::elementwiseCases() {
  std::vector<ArrayCase> cases = {
      broadcasting(),
      functions("maths f32", T::Float, spread(-8, 8), kAnywhere, 2e-5, 2e-6),
      functions("maths f64", T::Double, spread(-8, 8), kAnywhere, 1e-12, 1e-13),
      functions("maths within 1 f32", T::Float, spread(-0.99, 0.99), kInUnit, 2e-5, 2e-6),
      functions("maths within 1 f64", T::Double, spread(-0.99, 0.99), kInUnit, 1e-12, 1e-13),
      functions("maths above 1 f32", T::Float, spread(1.1, 900), kPositive, 2e-5, 2e-6),
      functions("maths above 1 f64", T::Double, spread(1.1, 900), kPositive, 1e-12, 1e-13),
      functions("maths of halves", T::Float16, spread(-3, 3), kAnywhere, 1e-3, 1e-3),
      unusual(T::Float),
      unusual(T::Double),
      powers(T::Float, 1e-4),
      powers(T::Double, 1e-12),
      smallFloats("arithmetic of f16", T::Float16),
      smallFloats("arithmetic of bf16", T::BFloat16),
      smallFloats("arithmetic of f8E5M2", T::Float8E5M2),
      narrowed(),
      bytes(T::Int8),
      bytes(T::UInt8),
      longs(),
      bits(),
      codes(),
  };
  for (const NamedType &type : kSmallFloats)
    cases.push_back(widened(type));
  cases.push_back(widened({"f8E8M0FNU", T::Float8E8M0}));
  return cases;
}
