// Row-wise kernels of the emitters "reference" and "loops" against the formulas in C++: every op,
// every weight format, odd widths, one to seven rows.
#include "KernelHarness.h"
#include "codegen/reference/Reference.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace kiln;
using namespace kiln::test;

static std::string rowsType(int64_t columns) {
  return "tensor<?x" + std::to_string(columns) + "xf32, #graph.dims<@n>>";
}
static std::string indexType() { return "tensor<?xi32, #graph.dims<@n>>"; }
static std::string vectorType(int64_t size) {
  return "tensor<" + std::to_string(size) + "xf32, #graph.stored<\"f32\", \"rows\">>";
}

static void copy(Buffer<float> &target, const std::vector<float> &source) {
  std::memcpy(target.data(), source.data(), source.size() * 4);
}

static void expectNear(float found, double expected, double tolerance, const std::string &what) {
  EXPECT_NEAR(found, expected, tolerance * std::max(1.0, std::abs(expected))) << what;
}

static const KernelEmitter &emitterOf(const std::string &name) {
  return name == "loops" ? loopsEmitter() : referenceEmitter();
}

class RowKernels : public testing::TestWithParam<const char *> {
protected:
  const KernelEmitter &emitter() { return emitterOf(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Emitters, RowKernels, testing::Values("reference", "loops"));

// ---- Elementwise ----------------------------------------------------------------------------

struct UnaryCase {
  const char *op;
  double (*expected)(double);
};
static const UnaryCase unaryCases[] = {
    {"neg", [](double x) { return -x; }},
    {"exp", [](double x) { return std::exp(x); }},
    {"tanh", [](double x) { return std::tanh(x); }},
    {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"silu", [](double x) { return x / (1 + std::exp(-x)); }},
    {"relu", [](double x) { return x > 0 ? x : 0; }},
    {"gelu", [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }},
    {"gelu_tanh",
     [](double x) {
       return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
     }},
};

TEST_P(RowKernels, ComputeEveryUnaryOp) {
  constexpr int64_t columns = 53, stride = 64;
  std::string type = rowsType(columns), body = "^bb0(%x: " + type + "):\n";
  std::string yielded, types;
  std::vector<int64_t> strides{stride};
  for (const UnaryCase &unary : unaryCases) {
    std::string name = std::string("%") + unary.op;
    body += name + " = graph." + unary.op + " %x : " + type + "\n";
    yielded += (yielded.empty() ? "" : ", ") + name;
    types += (types.empty() ? "" : ", ") + type;
    strides.push_back(0);
  }
  Kernel kernel(emitter(), body + "graph.yield " + yielded + " : " + types, strides);
  for (int64_t rows : {1, 2, 7}) {
    Buffer<float> x(rows * stride);
    copy(x, randomFloats(x.size(), 1, 12));
    std::vector<Buffer<float>> outputs;
    std::vector<void *> buffers{x.data()};
    for (size_t i = 0; i < std::size(unaryCases); ++i)
      outputs.emplace_back(rows * columns);
    for (auto &output : outputs)
      buffers.push_back(output.data());
    kernel.run(buffers, {rows});
    for (size_t i = 0; i < std::size(unaryCases); ++i)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          float in = x[row * stride + column];
          expectNear(outputs[i][row * columns + column], unaryCases[i].expected(in), 2e-6,
                     std::string(unaryCases[i].op) + "(" + std::to_string(in) + ")");
        }
  }
}

TEST_P(RowKernels, ComputeBinaryOpsAndBroadcastVectors) {
  constexpr int64_t columns = 53, rows = 7;
  std::string type = rowsType(columns), vector = vectorType(columns);
  std::string body =
      "^bb0(%x: " + type + ", %y: " + type + ", %v: " + vector + "):\n" +
      "%a = graph.add %x, %v : " + type + ", " + vector + "\n" + "%b = graph.mul %a, %y : " + type +
      ", " + type + "\n" + "%c = graph.sub %b, %x : " + type + ", " + type + "\n" +
      "%d = graph.div %c, %v : " + type + ", " + vector + "\n" + "graph.yield %d : " + type;
  Kernel kernel(emitter(), body, {0, 64, 0, 64});
  Buffer<float> x(rows * columns), y(rows * 64), v(64), out(rows * 64);
  copy(x, randomFloats(x.size(), 2));
  copy(y, randomFloats(y.size(), 3));
  copy(v, randomFloats(v.size(), 4));
  kernel.run({x.data(), y.data(), v.data(), out.data()}, {rows});
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < columns; ++i) {
      float a = x[row * columns + i], expected = ((a + v[i]) * y[row * 64 + i] - a) / v[i];
      expectNear(out[row * 64 + i], expected, 1e-5, "column " + std::to_string(i));
    }
}

// ---- Rows and columns -----------------------------------------------------------------------

TEST_P(RowKernels, EmbedFromEveryFormat) {
  for (const Format &format : llvm::make_filter_range(getFormats(), isOfNumbers))
    for (int64_t depth : {53, 64, 172}) {
      PackedMatrix table(format.id, 40, depth, 5);
      std::string body = "^bb0(%ids: " + indexType() + ", %t: " + table.type() + "):\n" +
                         "%r = graph.embed %ids, %t : " + indexType() + ", " + table.type() +
                         " -> " + rowsType(depth) + "\ngraph.yield %r : " + rowsType(depth);
      int64_t stride = (depth + 15) / 16 * 16;
      Kernel kernel(emitter(), body, {1, 0, stride});
      for (int64_t rows : {1, 2, 7}) {
        Buffer<int32_t> ids(rows);
        for (int64_t i = 0; i < rows; ++i)
          ids[i] = int32_t((i * 17 + 39) % 40);
        Buffer<float> out(rows * stride);
        kernel.run({ids.data(), table.bytes.data(), out.data()}, {rows});
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t k = 0; k < depth; ++k)
            ASSERT_EQ(out[row * stride + k], table.at(ids[row], k))
                << format.name.str() << " depth " << depth << " column " << k;
      }
    }
}

TEST_P(RowKernels, EmbedAddsPositions) {
  constexpr int64_t depth = 48, rows = 5;
  PackedMatrix words(FormatId::Q8SymG32, 33, depth, 6), places(FormatId::F32, 20, depth, 7);
  std::string type = rowsType(depth), index = indexType();
  std::string body = "^bb0(%i: " + index + ", %w: " + words.type() + ", %p: " + index +
                     ", %t: " + places.type() + "):\n" + "%a = graph.embed %i, %w : " + index +
                     ", " + words.type() + " -> " + type + "\n%b = graph.embed %p, %t : " + index +
                     ", " + places.type() + " -> " + type + "\n%c = graph.add %a, %b : " + type +
                     ", " + type + "\ngraph.yield %c : " + type;
  Kernel kernel(emitter(), body, {1, 0, 1, 0, depth});
  Buffer<int32_t> ids(rows), positions(rows);
  for (int i = 0; i < rows; ++i)
    ids[i] = 32 - i * 3, positions[i] = i * 4;
  Buffer<float> out(rows * depth);
  kernel.run({ids.data(), words.bytes.data(), positions.data(), places.bytes.data(), out.data()},
             {rows});
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t k = 0; k < depth; ++k)
      ASSERT_EQ(out[row * depth + k], words.at(ids[row], k) + places.at(positions[row], k));
}

TEST_P(RowKernels, EveryHalfIsReadExactly) {
  constexpr int64_t rows = 1024, depth = 64;
  PackedMatrix table(FormatId::F16, rows, depth, 8);
  PanelLayout layout(table.format, rows, depth);
  for (int64_t i = 0; i < rows * depth; ++i) {
    uint16_t bits = uint16_t(i);
    std::memcpy(table.bytes.data() + i / depth / 16 * layout.panelBytes() +
                    layout.place(i / depth % 16, i % depth).byte,
                &bits, 2);
  }
  std::string body = "^bb0(%ids: " + indexType() + ", %t: " + table.type() + "):\n" +
                     "%r = graph.embed %ids, %t : " + indexType() + ", " + table.type() + " -> " +
                     rowsType(depth) + "\ngraph.yield %r : " + rowsType(depth);
  Kernel kernel(emitter(), body, {1, 0, 0});
  Buffer<int32_t> ids(rows);
  for (int64_t i = 0; i < rows; ++i)
    ids[i] = int32_t(i);
  Buffer<float> out(rows * depth);
  kernel.run({ids.data(), table.bytes.data(), out.data()}, {rows});
  for (int64_t i = 0; i < rows * depth; ++i) {
    float expected = halfValue(uint16_t(i));
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(out[i])) << i;
    else
      ASSERT_EQ(out[i], expected) << i;
  }
}

TEST_P(RowKernels, GatherPicksRowsAndSliceColumns) {
  constexpr int64_t columns = 53, tokens = 9, wanted = 3;
  std::string all = rowsType(columns), index = "tensor<?xi32, #graph.dims<@m>>";
  std::string picked = "tensor<?x53xf32, #graph.dims<@m>>",
              cut = "tensor<?x17xf32, #graph.dims<@m>>";
  std::string body = "^bb0(%x: " + all + ", %rows: " + index + "):\n" +
                     "%s = graph.slice %x[5, 17] : " + all + " -> " + rowsType(17) + "\n" +
                     "%a = graph.gather %x, %rows : " + all + ", " + index + " -> " + picked +
                     "\n%b = graph.gather %s, %rows : " + rowsType(17) + ", " + index + " -> " +
                     cut + "\ngraph.yield %a, %b : " + picked + ", " + cut;
  Kernel kernel(emitter(), body, {64, 1, 0, 32}, {"n", "m"});
  Buffer<float> x(tokens * 64), a(wanted * columns), b(wanted * 32);
  copy(x, randomFloats(x.size(), 9));
  Buffer<int32_t> rows(wanted);
  rows[0] = 8, rows[1] = 0, rows[2] = 4;
  kernel.run({x.data(), rows.data(), a.data(), b.data()}, {tokens, wanted});
  for (int64_t i = 0; i < wanted; ++i) {
    for (int64_t j = 0; j < columns; ++j)
      ASSERT_EQ(a[i * columns + j], x[rows[i] * 64 + j]);
    for (int64_t j = 0; j < 17; ++j)
      ASSERT_EQ(b[i * 32 + j], x[rows[i] * 64 + 5 + j]);
  }
}

TEST_P(RowKernels, SplatConstants) {
  std::string type = rowsType(20), constant = "tensor<20xf32>";
  Kernel kernel(emitter(),
                "^bb0(%x: " + type + "):\n%c = graph.constant dense<2.5> : " + constant +
                    "\n%y = graph.mul %x, %c : " + type + ", " + constant +
                    "\ngraph.yield %y : " + type,
                {0, 0});
  Buffer<float> x(60), y(60);
  copy(x, randomFloats(60, 19));
  kernel.run({x.data(), y.data()}, {3});
  for (int i = 0; i < 60; ++i)
    ASSERT_EQ(y[i], x[i] * 2.5f);
}

TEST(ReferenceKernels, ConstantsAndPlainMatrices) {
  std::string body =
      "^bb0(%x: tensor<3x2xf32>, %w: tensor<4x2xf32>):\n"
      "%v = graph.constant dense<[1.0, -2.0]> : tensor<2xf32>\n"
      "%m = graph.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>\n"
      "%a = graph.add %x, %v : tensor<3x2xf32>, tensor<2xf32>\n"
      "%b = graph.mul %a, %m : tensor<3x2xf32>, tensor<3x2xf32>\n"
      "%y = graph.matmul %b, %w : tensor<3x2xf32>, tensor<4x2xf32> -> tensor<3x4xf32>\n"
      "graph.yield %y : tensor<3x4xf32>";
  Kernel kernel(referenceEmitter(), body, {16, 16, 0});
  Buffer<float> x(48), w(64), y(12);
  copy(x, randomFloats(48, 20));
  copy(w, randomFloats(64, 21));
  kernel.run({x.data(), w.data(), y.data()}, {1});
  for (int row = 0; row < 3; ++row)
    for (int o = 0; o < 4; ++o) {
      double b0 = (x[row * 16] + 1.0) * (1 + 2 * row), b1 = (x[row * 16 + 1] - 2.0) * (2 + 2 * row);
      expectNear(y[row * 4 + o], b0 * w[o * 16] + b1 * w[o * 16 + 1], 1e-6, "product");
    }
}

TEST(LoopsKernels, RefuseMatmuls) {
  std::string type = rowsType(16);
  Kernel kernel(loopsEmitter(),
                "^bb0(%x: " + type + ", %w: tensor<16x16xf32>):\n%y = graph.matmul %x, %w : " +
                    type + ", tensor<16x16xf32> -> " + type + "\ngraph.yield %y : " + type,
                {0, 0, 0});
  EXPECT_EQ(kernel.refusal(), "graph.matmul is neither a row lookup, a norm nor elementwise");
}

// ---- Reductions -----------------------------------------------------------------------------

TEST(ReferenceKernels, Norms) {
  constexpr int64_t columns = 172, rows = 3;
  std::string type = rowsType(columns), vector = vectorType(columns);
  std::string body = "^bb0(%x: " + type + ", %w: " + vector + ", %b: " + vector + "):\n" +
                     "%r = graph.rms_norm %x, %w eps = 1.0e-5 : " + type + ", " + vector + "\n" +
                     "%l = graph.layer_norm %x, %w, %b eps = 1.0e-5 : " + type + ", " + vector +
                     ", " + vector + "\ngraph.yield %r, %l : " + type + ", " + type;
  Kernel kernel(referenceEmitter(), body, {176, 0, 0, 0, 176});
  Buffer<float> x(rows * 176), w(176), b(176), rms(rows * columns), layer(rows * 176);
  copy(x, randomFloats(x.size(), 10, 3));
  copy(w, randomFloats(w.size(), 11));
  copy(b, randomFloats(b.size(), 12));
  kernel.run({x.data(), w.data(), b.data(), rms.data(), layer.data()}, {rows});
  for (int64_t row = 0; row < rows; ++row) {
    double squares = 0, sum = 0, spread = 0;
    const float *in = x.data() + row * 176;
    for (int64_t i = 0; i < columns; ++i)
      squares += double(in[i]) * in[i], sum += in[i];
    double mean = sum / columns;
    for (int64_t i = 0; i < columns; ++i)
      spread += (in[i] - mean) * (in[i] - mean);
    for (int64_t i = 0; i < columns; ++i) {
      expectNear(rms[row * columns + i], in[i] / std::sqrt(squares / columns + 1e-5) * w[i], 3e-6,
                 "rms_norm");
      expectNear(layer[row * 176 + i],
                 (in[i] - mean) / std::sqrt(spread / columns + 1e-5) * w[i] + b[i], 3e-6,
                 "layer_norm");
    }
  }
}

TEST(ReferenceKernels, MatmulInEveryFormat) {
  for (const Format &format : llvm::make_filter_range(getFormats(), isOfNumbers))
    for (int64_t depth : {53, 64, 172}) {
      constexpr int64_t outputs = 19, rows = 2;
      PackedMatrix weight(format.id, outputs, depth, 13);
      std::string in = rowsType(depth), out = rowsType(outputs);
      Kernel kernel(referenceEmitter(),
                    "^bb0(%x: " + in + ", %w: " + weight.type() +
                        "):\n%y = graph.matmul %x, %w : " + in + ", " + weight.type() + " -> " +
                        out + "\ngraph.yield %y : " + out,
                    {0, 0, 0});
      Buffer<float> x(rows * depth), y(rows * outputs);
      copy(x, randomFloats(x.size(), 14));
      kernel.run({x.data(), weight.bytes.data(), y.data()}, {rows});
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t o = 0; o < outputs; ++o) {
          double sum = 0;
          for (int64_t k = 0; k < depth; ++k)
            sum += double(x[row * depth + k]) * weight.at(o, k);
          expectNear(y[row * outputs + o], sum, 1e-5, format.name.str());
        }
    }
}

TEST(ReferenceKernels, GatherNormHead) {
  constexpr int64_t depth = 64, outputs = 40, tokens = 6, wanted = 2;
  PackedMatrix head(FormatId::Q8SymG32, outputs, depth, 15);
  std::string x = rowsType(depth), picked = "tensor<?x64xf32, #graph.dims<@m>>",
              rows = "tensor<?xi32, #graph.dims<@m>>", out = "tensor<?x40xf32, #graph.dims<@m>>",
              vector = vectorType(depth);
  Kernel kernel(referenceEmitter(),
                "^bb0(%x: " + x + ", %r: " + rows + ", %w: " + vector + ", %h: " + head.type() +
                    "):\n%a = graph.gather %x, %r : " + x + ", " + rows + " -> " + picked +
                    "\n%b = graph.rms_norm %a, %w eps = 1.0e-6 : " + picked + ", " + vector +
                    "\n%c = graph.matmul %b, %h : " + picked + ", " + head.type() + " -> " + out +
                    "\ngraph.yield %c : " + out,
                {64, 1, 0, 0, 0}, {"n", "m"});
  Buffer<float> in(tokens * depth), w(depth), y(wanted * outputs);
  copy(in, randomFloats(in.size(), 16));
  copy(w, randomFloats(w.size(), 17));
  Buffer<int32_t> picks(wanted);
  picks[0] = 5, picks[1] = 2;
  kernel.run({in.data(), picks.data(), w.data(), head.bytes.data(), y.data()}, {tokens, wanted});
  for (int64_t row = 0; row < wanted; ++row) {
    const float *source = in.data() + picks[row] * depth;
    double squares = 0;
    for (int64_t i = 0; i < depth; ++i)
      squares += double(source[i]) * source[i];
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += source[k] / std::sqrt(squares / depth + 1e-6) * w[k] * head.at(o, k);
      expectNear(y[row * outputs + o], sum, 1e-5, "logit");
    }
  }
}

TEST(ReferenceKernels, RopeAtFarPositions) {
  constexpr int64_t heads = 2, dim = 20, rotary = 16, columns = heads * dim, rows = 4;
  std::string type = rowsType(columns);
  Kernel kernel(
      referenceEmitter(),
      "^bb0(%x: " + type + ", %p: " + indexType() +
          "):\n%y = graph.rope %x, %p {head_dim = 20, rotary_dim = 16, theta = 1.0e4} : " + type +
          ", " + indexType() + "\ngraph.yield %y : " + type,
      {0, 1, 0});
  Buffer<float> x(rows * columns), y(rows * columns);
  copy(x, randomFloats(x.size(), 18));
  Buffer<int32_t> positions(rows);
  positions[0] = 0, positions[1] = 1, positions[2] = 4097, positions[3] = 1048575;
  kernel.run({x.data(), positions.data(), y.data()}, {rows});
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < dim; ++i) {
        const float *in = x.data() + row * columns + head * dim;
        double expected = in[i];
        if (i < rotary) {
          int64_t pair = i % (rotary / 2);
          double angle = positions[row] * std::pow(1e4, -2.0 * double(pair) / rotary);
          double a = in[pair], b = in[pair + rotary / 2];
          expected = i < rotary / 2 ? a * std::cos(angle) - b * std::sin(angle)
                                    : b * std::cos(angle) + a * std::sin(angle);
        }
        expectNear(y[row * columns + head * dim + i], expected, 3e-7,
                   "position " + std::to_string(positions[row]));
      }
}
