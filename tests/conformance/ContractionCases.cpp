// Cases around matmuls: every prologue and epilogue the decoder families have, every weight format,
// shapes that are no multiples of panels, groups or vectors.
#include "Conformance.h"

using namespace kiln;
using namespace kiln::test;

namespace {

// See Conformance.cpp; relative errors add up in a product.
constexpr double oneMatmul = 0.015, twoMatmuls = 0.03;

struct Shape {
  int64_t outputs, depth;
};

/// The text between "^bb0(" and the end for a kernel with the given parameters.
std::string block(const std::vector<std::pair<std::string, std::string>> &parameters,
                  const std::string &ops) {
  std::string text = "^bb0(";
  for (size_t i = 0; i < parameters.size(); ++i)
    text += (i ? ", %" : "%") + parameters[i].first + ": " + parameters[i].second;
  return text + "):\n" + ops;
}

std::string matmul(const std::string &result, const std::string &x, const std::string &w,
                   const Shape &shape, const std::string &weightType,
                   const std::string &dim = "n") {
  return "%" + result + " = graph.matmul %" + x + ", %" + w + " : " + rowsType(shape.depth, dim) +
         ", " + weightType + " -> " + rowsType(shape.outputs, dim) + "\n";
}

std::string yield(const std::string &value, int64_t columns, const std::string &dim = "n") {
  return "graph.yield %" + value + " : " + rowsType(columns, dim);
}

ConformanceCase plain(const Format &format, const Shape &shape) {
  PackedMatrix w(format.id, shape.outputs, shape.depth, 1);
  int64_t in = paddedColumns(shape.depth), out = paddedColumns(shape.outputs);
  return {"matmul",
          block({{"x", rowsType(shape.depth)}, {"w", w.type()}},
                matmul("y", "x", "w", shape, w.type()) + yield("y", shape.outputs)),
          {in, 0, out},
          {"n"},
          [=](int64_t rows) {
            Call call;
            call.buffers = {randomRows(rows, shape.depth, 2), w.bytes, emptyRows(rows, out)};
            call.dims = {rows};
            call.results = {{2, shape.outputs, out}};
            return call;
          },
          oneMatmul};
}

/// Rows without room between them, as callers give them.
ConformanceCase dense(const Format &format, const Shape &shape) {
  PackedMatrix w(format.id, shape.outputs, shape.depth, 1);
  std::string rows = rowsType(shape.outputs), vector = vectorType(shape.outputs);
  return {"matmul of dense rows, bias",
          block({{"x", rowsType(shape.depth)}, {"w", w.type()}, {"c", vector}},
                matmul("m", "x", "w", shape, w.type()) + "%y = graph.add %m, %c : " + rows + ", " +
                    vector + "\n" + yield("y", shape.outputs)),
          {shape.depth, 0, 0, shape.outputs},
          {"n"},
          [=](int64_t rows) {
            std::vector<float> values = randomFloats(size_t(rows * shape.depth), 2);
            Buffer<uint8_t> x(values.size() * 4);
            std::memcpy(x.data(), values.data(), values.size() * 4);
            Call call;
            call.buffers = {std::move(x), w.bytes, randomVector(shape.outputs, 3),
                            emptyRows(rows, shape.outputs)};
            call.dims = {rows};
            call.results = {{3, shape.outputs, shape.outputs}};
            return call;
          },
          oneMatmul};
}

ConformanceCase biasAndResidual(const Format &format, const Shape &shape,
                                const std::string &activation = "gelu_tanh") {
  PackedMatrix w(format.id, shape.outputs, shape.depth, 3);
  int64_t in = paddedColumns(shape.depth), out = paddedColumns(shape.outputs);
  std::string rows = rowsType(shape.outputs), vector = vectorType(shape.outputs);
  return {"layer_norm, matmul, bias, " + activation + ", residual",
          block({{"x", rowsType(shape.depth)},
                 {"g", vectorType(shape.depth)},
                 {"b", vectorType(shape.depth)},
                 {"w", w.type()},
                 {"c", vector},
                 {"r", rows}},
                "%h = graph.layer_norm %x, %g, %b eps = 1.0e-5 : " + rowsType(shape.depth) + ", " +
                    vectorType(shape.depth) + ", " + vectorType(shape.depth) + "\n" +
                    matmul("m", "h", "w", shape, w.type()) + "%a = graph.add %m, %c : " + rows +
                    ", " + vector + "\n%t = graph." + activation + " %a : " + rows +
                    "\n%y = graph.add %r, %t : " + rows + ", " + rows + "\n" +
                    yield("y", shape.outputs)),
          {in, 0, 0, 0, 0, out, out},
          {"n"},
          [=](int64_t count) {
            Call call;
            call.buffers = {randomRows(count, shape.depth, 4),
                            randomVector(shape.depth, 5),
                            randomVector(shape.depth, 6, 0.1f),
                            w.bytes,
                            randomVector(shape.outputs, 7),
                            randomRows(count, shape.outputs, 8),
                            emptyRows(count, out)};
            call.dims = {count};
            call.results = {{6, shape.outputs, out}};
            return call;
          },
          oneMatmul};
}

ConformanceCase gated(const Format &format, const Shape &shape) {
  PackedMatrix gate(format.id, shape.outputs, shape.depth, 9);
  PackedMatrix up(format.id, shape.outputs, shape.depth, 10);
  int64_t in = paddedColumns(shape.depth), out = paddedColumns(shape.outputs);
  std::string rows = rowsType(shape.outputs);
  return {"rms_norm, matmul x2, silu, mul",
          block({{"x", rowsType(shape.depth)},
                 {"g", vectorType(shape.depth)},
                 {"w", gate.type()},
                 {"u", up.type()}},
                "%h = graph.rms_norm %x, %g eps = 1.0e-5 : " + rowsType(shape.depth) + ", " +
                    vectorType(shape.depth) + "\n" + matmul("a", "h", "w", shape, gate.type()) +
                    matmul("b", "h", "u", shape, up.type()) + "%s = graph.silu %a : " + rows +
                    "\n%y = graph.mul %s, %b : " + rows + ", " + rows + "\n" +
                    yield("y", shape.outputs)),
          {in, 0, 0, 0, out},
          {"n"},
          [=](int64_t count) {
            Call call;
            call.buffers = {randomRows(count, shape.depth, 11), randomVector(shape.depth, 12, 0.3f),
                            gate.bytes, up.bytes, emptyRows(count, out)};
            call.dims = {count};
            call.results = {{4, shape.outputs, out}};
            return call;
          },
          twoMatmuls};
}

/// The head: rows picked by index, a dense result.
ConformanceCase head(const Format &format, const Shape &shape) {
  PackedMatrix w(format.id, shape.outputs, shape.depth, 13);
  int64_t in = paddedColumns(shape.depth);
  constexpr int64_t tokens = 40;
  return {
      "gather, rms_norm, matmul, dense",
      block({{"x", rowsType(shape.depth)},
             {"r", indexType("m")},
             {"g", vectorType(shape.depth)},
             {"w", w.type()}},
            "%p = graph.gather %x, %r : " + rowsType(shape.depth) + ", " + indexType("m") + " -> " +
                rowsType(shape.depth, "m") + "\n%h = graph.rms_norm %p, %g eps = 1.0e-6 : " +
                rowsType(shape.depth, "m") + ", " + vectorType(shape.depth) + "\n" +
                matmul("y", "h", "w", shape, w.type(), "m") + yield("y", shape.outputs, "m")),
      {in, 1, 0, 0, shape.outputs},
      {"n", "m"},
      [=](int64_t count) {
        std::vector<int32_t> picks;
        for (int64_t i = 0; i < count; ++i)
          picks.push_back(int32_t((i * 17 + 3) % tokens));
        Call call;
        call.buffers = {randomRows(tokens, shape.depth, 14), indices(picks),
                        randomVector(shape.depth, 15), w.bytes, emptyRows(count, shape.outputs)};
        call.dims = {tokens, count};
        call.results = {{4, shape.outputs, shape.outputs}};
        return call;
      },
      oneMatmul};
}

/// A few experts, one of which nobody chooses: the same columns for all of a row's, or their own.
ConformanceCase experts(const Format &format, const Shape &shape, bool isShared) {
  constexpr int64_t count = 5, used = 2;
  PackedMatrix w(format.id, count * shape.outputs, shape.depth, 16);
  int64_t columns = isShared ? shape.depth : used * shape.depth, results = used * shape.outputs;
  int64_t in = paddedColumns(columns), out = paddedColumns(results);
  return {isShared ? "experts_matmul, shared columns" : "experts_matmul, own columns",
          block({{"x", rowsType(columns)}, {"r", rowsType(2 * used)}, {"w", w.type()}},
                "%y = graph.experts_matmul %x, %r, %w {experts = 5 : i64, used = 2 : i64} : " +
                    rowsType(columns) + ", " + rowsType(2 * used) + ", " + w.type() + " -> " +
                    rowsType(results) + "\n" + yield("y", results)),
          {in, 16, 0, out},
          {"n"},
          [=](int64_t rows) {
            Call call;
            Buffer<uint8_t> routes = emptyRows(rows, 16);
            float *number = reinterpret_cast<float *>(routes.data());
            for (int64_t row = 0; row < rows; ++row, number += 16) {
              int64_t first = row * 7 % (count - 1);
              number[0] = float(first);
              number[1] = float((first + 1 + row % 2) % (count - 1));
            }
            call.buffers = {randomRows(rows, columns, 17), std::move(routes), w.bytes,
                            emptyRows(rows, out)};
            call.dims = {rows};
            call.results = {{3, results, out}};
            return call;
          },
          oneMatmul};
}

} // namespace

/// What is new in few formats is tried with those alone: how codes and scales are unpacked does not
/// depend on it.
static bool isOneOf(const Format &format, std::initializer_list<FormatId> some) {
  return llvm::is_contained(some, format.id);
}

std::vector<ConformanceCase> kiln::test::contractionCases() {
  std::vector<ConformanceCase> cases;
  for (const Format &format : llvm::make_filter_range(getFormats(), isOfNumbers)) {
    auto add = [&](ConformanceCase made, const Shape &shape) {
      made.name += " " + std::to_string(shape.depth) + "x" + std::to_string(shape.outputs) + " " +
                   format.name.str();
      cases.push_back(std::move(made));
    };
    // The deep one is more than a matrix unit's chunk of depth.
    Shape even{96, 128}, odd{53, 172}, small{40, 24}, deep{40, 2304};
    if (format.kind == FormatKind::Integer && !format.isPlain()) {
      // Only how elements are stored is new.
      add(plain(format, odd), odd);
      cases.back().fineToo = isOneOf(format, {FormatId::Q3SymG16K256, FormatId::Q4AsymG32K256});
      add(plain(format, Shape{35, 520}), Shape{35, 520});
      add(gated(format, even), even);
      if (isOneOf(format, {FormatId::Q6SymG16K256}))
        add(experts(format, Shape{48, 256}, false), Shape{48, 256});
      continue;
    }
    add(plain(format, even), even);
    add(plain(format, odd), odd);
    cases.back().fineToo = format.kind == FormatKind::Integer;
    add(plain(format, small), small);
    add(plain(format, deep), deep);
    add(biasAndResidual(format, odd), odd);
    add(gated(format, even), even);
    add(gated(format, odd), odd);
    if (isOneOf(format, {FormatId::F32, FormatId::Q4SymG32})) {
      add(biasAndResidual(format, even, "gelu"), even);
      add(dense(format, Shape{50, 100}), Shape{50, 100});
      add(plain(format, Shape{40, 2144}), Shape{40, 2144}); // chunks that differ
      add(experts(format, even, false), even);
      add(experts(format, Shape{80, 172}, true), Shape{80, 172});
      cases.back().fineToo = format.kind == FormatKind::Integer;
    }
    add(head(format, odd), odd);
    add(head(format, even), even);
  }
  return cases;
}
