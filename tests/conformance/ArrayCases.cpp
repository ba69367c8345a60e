// Cases of kernels that are made from records (codegen/array) and read along axes or from other
// places, and of maps that follow a matmul in its kernel. Expected values are computed here, in
// doubles, from what the operators are said to do.
#include "ArrayCase.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace kiln;
using namespace kiln::test;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using T = OnnxType;
using Type = ArrayType;
using List = std::vector<double>;
using Lists = std::vector<List>;

// ---- Along axes ---------------------------------------------------------------------------------

/// Reductions of [n, 9, 21] along one axis: sum, mean, max, squares, logarithm of the sum of e^x.
ArrayCase reductions(int64_t axis) {
  ArrayCase c(axis == 2 ? "reductions of rows" : axis ? "reductions of columns" : "of all rows");
  Type in{T::Float, {kDim, 9, 21}}, out = in;
  out.shape.erase(out.shape.begin() + axis);
  auto x = c.input(in, spread(-2, 3));
  std::string params = "axes = array<i64: " + std::to_string(axis) + ">, keep_dims = 0 : i64";
  for (const char *kind : {"reduce_sum", "reduce_mean", "reduce_max", "reduce_l2"})
    c.result(c.op(kind, {x}, out, params));
  c.result(c.op("reduce_log_sum_exp", {x}, out, params));
  c.expect(1e-5, 1e-5, [=](int64_t n, const Lists &given) {
    int64_t sizes[] = {n, 9, 21}, count = sizes[axis], inner = 1;
    for (int64_t dim = axis + 1; dim < 3; ++dim)
      inner *= sizes[dim];
    Lists y(5);
    for (int64_t i = 0; i < n * 9 * 21 / count; ++i) {
      double sum = 0, most = -kInfinity, squares = 0, powers = 0;
      for (int64_t k = 0; k < count; ++k) {
        double value = given[0][(i / inner * count + k) * inner + i % inner];
        sum += value, squares += value * value, powers += std::exp(value);
        most = std::max(most, value);
      }
      y[0].push_back(sum);
      y[1].push_back(sum / double(count));
      y[2].push_back(most);
      y[3].push_back(std::sqrt(squares));
      y[4].push_back(std::log(powers));
    }
    return y;
  });
  return c;
}

/// Sums of integers wrap; of halves they are taken in f32; places of the greatest, the first of
/// equals.
ArrayCase otherReductions(T type) {
  ArrayCase c(type == T::Float16 ? "reductions of halves" : "reductions of integers");
  Type in{type, {kDim, 40}}, out{type, {kDim}};
  auto x = c.input(in, integers(-9, 9));
  std::string params = "axes = array<i64: 1>, keep_dims = 0 : i64";
  c.result(c.op("reduce_sum", {x}, out, params));
  c.result(c.op("reduce_min", {x}, out, params));
  c.result(c.op("arg_extreme", {x}, {T::Int64, {kDim}},
                "axis = 1 : i64, keep_dims = 0 : i64, least = 0 : i64, last = 0 : i64"));
  c.expect(0, 0, [](int64_t n, const Lists &given) {
    Lists y(3);
    for (int64_t i = 0; i < n; ++i) {
      auto first = given[0].begin() + i * 40, last = first + 40;
      double sum = 0;
      for (auto at = first; at != last; ++at)
        sum += *at;
      y[0].push_back(sum);
      y[1].push_back(*std::min_element(first, last));
      y[2].push_back(double(std::max_element(first, last) - first));
    }
    return y;
  });
  return c;
}

ArrayCase softmax(T type, int64_t axis) {
  ArrayCase c(std::string("softmax ") + (type == T::Float ? "f32" : "f16") + " axis " +
              std::to_string(axis));
  Type rows{type, {kDim, 11, 35}};
  auto x = c.input(rows, spread(-6, 6));
  c.result(c.op("softmax", {x}, rows, "axis = " + std::to_string(axis) + " : i64"));
  c.expect(type == T::Float ? 1e-5 : 2e-3, 1e-6, [=](int64_t n, const Lists &in) {
    int64_t count = axis == 1 ? 11 : 35, inner = axis == 1 ? 35 : 1;
    Lists y(1, in[0]);
    for (int64_t i = 0; i < n * 11 * 35 / count; ++i) {
      auto at = [&](int64_t k) { return size_t((i / inner * count + k) * inner + i % inner); };
      double sum = 0;
      for (int64_t k = 0; k < count; ++k)
        sum += std::exp(in[0][at(k)]);
      for (int64_t k = 0; k < count; ++k)
        y[0][at(k)] = std::exp(in[0][at(k)]) / sum;
    }
    return y;
  });
  return c;
}

ArrayCase layerNorm(T type) {
  ArrayCase c(type == T::Float ? "layer norm f32" : "layer norm f64");
  Type rows{type, {kDim, 45}}, vector{type, {45}}, means{T::Float, {kDim, 1}};
  auto x = c.input(rows, spread(-1, 4)), w = c.input(vector, spread(0.5, 1.5));
  auto b = c.input(vector, spread(-1, 1));
  for (const std::string &result :
       c.ops("layer_norm", {x, w, b}, {rows, means, means}, "axis = 1 : i64, eps = 1.0e-5 : f64"))
    c.result(result);
  c.expect(1e-4, type == T::Float ? 1e-5 : 1e-6, [](int64_t n, const Lists &in) {
    Lists y(3);
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0, squares = 0;
      for (int64_t k = 0; k < 45; ++k)
        sum += in[0][i * 45 + k];
      for (int64_t k = 0; k < 45; ++k)
        squares += std::pow(in[0][i * 45 + k] - sum / 45, 2);
      double factor = 1 / std::sqrt(squares / 45 + 1e-5);
      for (int64_t k = 0; k < 45; ++k)
        y[0].push_back((in[0][i * 45 + k] - sum / 45) * factor * in[1][k] + in[2][k]);
      y[1].push_back(sum / 45);
      y[2].push_back(factor);
    }
    return y;
  });
  return c;
}

// ---- Other places -------------------------------------------------------------------------------

/// Places count from the end where negative; those outside are brought inside.
ArrayCase gather() {
  ArrayCase c("gather, scaled");
  Type data{T::Float, {kDim, 13, 5}}, out{T::Float, {kDim, 6, 5}};
  auto x = c.input(data, spread(-1, 1)),
       at = c.input({T::Int64, {6}}, some({0, 12, -1, -13, 7, 99}));
  auto found = c.op("gather", {x, at}, out, "axis = 1 : i64");
  c.result(c.op("add", {found, found}, out));
  c.expect(0, 0, [](int64_t n, const Lists &in) {
    Lists y(1);
    for (int64_t i = 0; i < n * 6 * 5; ++i) {
      auto place = int64_t(in[1][i / 5 % 6]);
      place = std::min<int64_t>(place < 0 ? place + 13 : place, 12);
      y[0].push_back(2 * in[0][(i / 30 * 13 + place) * 5 + i % 5]);
    }
    return y;
  });
  return c;
}

/// Rearrangements one behind the other, none of which is a copy of its own.
ArrayCase places() {
  ArrayCase c("transpose, reshape, slice, concat");
  Type turned{T::Float, {5, kDim, 7}}, flat{T::Float, {kDim, 35}}, part{T::Float, {kDim, 9}};
  auto x = c.input({T::Float, {kDim, 7, 5}}, spread(-1, 1));
  auto t = c.op("transpose", {x}, {T::Float, {kDim, 5, 7}}, "perm = array<i64: 0, 2, 1>");
  auto r = c.op("reshape", {t}, flat);
  auto s = c.op("slice", {r}, part, "starts = array<i64: 0, 30>, steps = array<i64: 1, -3>");
  auto y = c.op("concat", {s, r}, {T::Float, {kDim, 44}}, "axis = 1 : i64");
  c.result(y);
  c.expect(0, 0, [](int64_t n, const Lists &in) {
    Lists y(1);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < 44; ++k) {
        int64_t place = k < 9 ? 30 - 3 * k : k - 9;
        y[0].push_back(in[0][i * 35 + place % 7 * 5 + place / 7]);
      }
    return y;
  });
  return c;
}

/// Windows of 3 x 2 with strides of 2, padded by one in front; channels last.
ArrayCase pools() {
  ArrayCase c("largest of windows");
  Type in{T::Float, {kDim, 9, 8, 18}}, out{T::Float, {kDim, 4, 4, 18}};
  auto x = c.input(in, spread(-1, 1));
  c.result(c.op("max_pool", {x}, out,
                "kernel = array<i64: 3, 2>, strides = array<i64: 2, 2>, pads_begin = array<i64: 1, "
                "1>, pads_end = array<i64: 0, 0>, dilations = array<i64: 1, 1>, column = 0 : i64"));
  c.expect(0, 0, [](int64_t n, const Lists &in) {
    Lists y(1);
    for (int64_t i = 0; i < n * 4 * 4 * 18; ++i) {
      int64_t channel = i % 18, column = i / 18 % 4, row = i / 72 % 4, image = i / 288;
      double most = -kInfinity;
      for (int64_t r = std::max<int64_t>(2 * row - 1, 0); r < std::min<int64_t>(2 * row + 2, 9);
           ++r)
        for (int64_t k = std::max<int64_t>(2 * column - 1, 0); k < 2 * column + 1; ++k)
          most = std::max(most, in[0][((image * 9 + r) * 8 + k) * 18 + channel]);
      y[0].push_back(most);
    }
    return y;
  });
  return c;
}

// ---- Whole results ------------------------------------------------------------------------------

/// More than are searched one by one: sorted in scratch memory.
ArrayCase best() {
  ArrayCase c("the best 20 of 50");
  Type in{T::Float, {kDim, 50}}, out{T::Float, {kDim, 20}}, places{T::Int64, {kDim, 20}};
  auto x = c.input(in, integers(0, 30));
  for (const std::string &result :
       c.ops("top_k", {x}, {out, places}, "axis = 1 : i64, largest = 1 : i64"))
    c.result(result);
  c.expect(0, 0, [](int64_t n, const Lists &in) {
    Lists y(2);
    for (int64_t i = 0; i < n; ++i) {
      std::vector<int64_t> order(50);
      for (int64_t k = 0; k < 50; ++k)
        order[k] = k;
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return in[0][i * 50 + a] > in[0][i * 50 + b]; });
      for (int64_t k = 0; k < 20; ++k) {
        y[0].push_back(in[0][i * 50 + order[k]]);
        y[1].push_back(double(order[k]));
      }
    }
    return y;
  });
  return c;
}

/// The places of what is not zero, as many as another dim has: 3 of 4 elements.
ArrayCase nonZero() {
  ArrayCase c("places of what is not zero");
  auto x = c.input({T::Int32, {kDim, 4}}, some({5, 0, -1, 7}));
  c.result(c.op("nonzero", {x}, {T::Int64, {2, kOtherDim}}));
  c.otherDim = [](int64_t n) { return 3 * n; };
  c.expect(0, 0, [](int64_t n, const Lists &in) {
    Lists y(1, List(size_t(2 * 3 * n)));
    for (int64_t i = 0, column = 0; i < n * 4; ++i)
      if (in[0][i] != 0) {
        y[0][column] = double(i / 4);
        y[0][3 * n + column++] = double(i % 4);
      }
    return y;
  });
  return c;
}

/// Sizes as elements, and a row's number in them.
ArrayCase sizes() {
  ArrayCase c("numbers and sizes");
  Type out{T::Int64, {kDim, 6}};
  auto numbers = c.op("iota", {}, out, "axis = 0 : i64");
  auto size =
      c.op("dims", {}, {T::Int64, {1}}, "dims = [@n], values = affine_map<()[s0] -> (s0 * 3 + 1)>");
  c.result(c.op("mul", {numbers, size}, out));
  c.expect(0, 0, [](int64_t n, const Lists &) {
    Lists y(1);
    for (int64_t i = 0; i < n * 6; ++i)
      y[0].push_back(double(i / 6 * (3 * n + 1)));
    return y;
  });
  return c;
}

ArrayCase product(T type, double relative) {
  ArrayCase c(type == T::Float ? "batched product f32" : "batched product of halves");
  auto x = c.input({type, {kDim, 5, 19}}, spread(-1, 1));
  auto y = c.input({type, {kDim, 19, 23}}, spread(-1, 1));
  c.result(c.op("matmul", {x, y}, {type, {kDim, 5, 23}}));
  c.expect(relative, relative, [](int64_t n, const Lists &in) {
    Lists z(1);
    for (int64_t i = 0; i < n * 5 * 23; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < 19; ++k)
        sum += in[0][i / 23 * 19 + k] * in[1][(i / 115 * 19 + k) * 23 + i % 23];
      z[0].push_back(sum);
    }
    return z;
  });
  return c;
}

// ---- Behind a matmul ----------------------------------------------------------------------------

/// tanh((x wT + bias) * scale) + residual, and the product's relu: maps in a contraction's kernel.
ArrayCase behindProduct(FormatId format, int64_t depth, int64_t columns, double relative) {
  ArrayCase c("matmul, maps " + std::to_string(depth) + "x" + std::to_string(columns) + " " +
              getFormats()[size_t(format)].name.str());
  auto w = std::make_shared<PackedMatrix>(format, columns, depth, 71);
  Type rows{T::Float, {kDim, columns}};
  auto x = c.input({T::Float, {kDim, depth}}, spread(-1, 1));
  auto matrix = c.weight(*w), bias = c.vector(columns, spread(-1, 1));
  auto scale = c.vector(columns, spread(0.1, 0.5)), residual = c.input(rows, spread(-1, 1));
  auto y = c.matmul(x, matrix, rows);
  auto moved = c.op("add", {y, bias}, rows), scaled = c.op("mul", {moved, scale}, rows);
  c.result(c.op("add", {c.op("tanh", {scaled}, rows), residual}, rows));
  c.expect(relative, relative, [=](int64_t n, const Lists &in) {
    Lists z(1);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t m = 0; m < columns; ++m) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += in[0][i * depth + k] * double(w->at(m, k));
        z[0].push_back(std::tanh((sum + in[2][m]) * in[3][m]) + in[4][i * columns + m]);
      }
    return z;
  });
  return c;
}

} // namespace

std::vector<ConformanceCase> kiln::test::arrayCases() {
  std::vector<ArrayCase> cases = {
      reductions(0),
      reductions(1),
      reductions(2),
      otherReductions(T::Int32),
      otherReductions(T::Float16),
      softmax(T::Float, 1),
      softmax(T::Float, 2),
      softmax(T::Float16, 2),
      layerNorm(T::Float),
      layerNorm(T::Double),
      gather(),
      places(),
      pools(),
      best(),
      nonZero(),
      sizes(),
      product(T::Float, 1e-5),
      product(T::Float16, 2e-3),
      behindProduct(FormatId::F32, 48, 64, 1e-4),
      behindProduct(FormatId::F16, 96, 53, 1e-4),
      behindProduct(FormatId::Q8SymG32, 64, 80, 3e-2),
  };
  for (ArrayCase &one : elementwiseCases())
    cases.push_back(std::move(one));
  std::vector<ConformanceCase> made;
  for (const ArrayCase &one : cases)
    made.push_back(one.make());
  return made;
}
