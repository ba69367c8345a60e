// Cases of row lookups, norms and elementwise ops: embeddings in every format, alone and added;
// norms after what they normalise.
#include "Conformance.h"

using namespace kiln;
using namespace kiln::test;

static ConformanceCase embedding(const Format &format, int64_t vocabulary, int64_t columns,
                                 bool positions) {
  PackedMatrix table(format.id, vocabulary, columns, 21), places(FormatId::F32, 70, columns, 22);
  int64_t out = paddedColumns(columns);
  std::string rows = rowsType(columns);
  std::string embed =
      "%e = graph.embed %ids, %t : " + indexType() + ", " + table.type() + " -> " + rows + "\n";
  std::string body = "^bb0(%ids: " + indexType() + ", %t: " + table.type();
  if (positions)
    body += ", %pos: " + indexType() + ", %p: " + places.type() + "):\n" + embed +
            "%f = graph.embed %pos, %p : " + indexType() + ", " + places.type() + " -> " + rows +
            "\n%y = graph.add %e, %f : " + rows + ", " + rows + "\ngraph.yield %y : " + rows;
  else
    body += "):\n" + embed + "graph.yield %e : " + rows;
  return {(positions ? "embed, embed, add " : "embed ") + std::to_string(vocabulary) + "x" +
              std::to_string(columns) + " " + format.name.str(),
          body,
          positions ? std::vector<int64_t>{1, 0, 1, 0, out} : std::vector<int64_t>{1, 0, out},
          {"n"},
          [=](int64_t count) {
            std::vector<int32_t> ids, at;
            for (int64_t i = 0; i < count; ++i) {
              ids.push_back(int32_t((i * 31 + 5) % vocabulary));
              at.push_back(int32_t(i * 7 % 70));
            }
            Call call;
            call.buffers.push_back(indices(ids));
            call.buffers.push_back(table.bytes);
            if (positions) {
              call.buffers.push_back(indices(at));
              call.buffers.push_back(places.bytes);
            }
            call.buffers.push_back(emptyRows(count, out));
            call.dims = {count};
            call.results = {{call.buffers.size() - 1, columns, out}};
            return call;
          }};
}

/// The residual and the norm of a sublayer's result, scaled and limited: %r + norm(%x).
static ConformanceCase residualNorm(int64_t columns, bool layerNorm) {
  int64_t out = paddedColumns(columns);
  std::string rows = rowsType(columns), vector = vectorType(columns);
  std::string body = "^bb0(%x: " + rows + ", %w: " + vector + ", %b: " + vector + ", %r: " + rows +
                     "):\n%s = graph.scale %x by 3.000000e+00 : " + rows + "\n";
  if (layerNorm)
    body += "%y = graph.layer_norm %s, %w, %b eps = 1.0e-5 : " + rows + ", " + vector + ", " +
            vector + "\n";
  else
    body += "%v = graph.add %s, %b : " + rows + ", " + vector + "\n%y = graph.rms_norm %v, %w " +
            "eps = 1.0e-6 : " + rows + ", " + vector + "\n";
  body += "%z = graph.add %r, %y : " + rows + ", " + rows +
          "\n%c = graph.softcap %z by 2.500000e+00 : " + rows + "\ngraph.yield %z, %c : " + rows +
          ", " + rows;
  return {(layerNorm ? "layer norm of " : "rms norm of ") + std::to_string(columns) +
              ", residual, softcap",
          body,
          {out, 0, 0, out, out, out},
          {"n"},
          [=](int64_t count) {
            Call call;
            call.buffers = {randomRows(count, columns, 41), randomVector(columns, 42),
                            randomVector(columns, 43),      randomRows(count, columns, 44),
                            emptyRows(count, out),          emptyRows(count, out)};
            call.dims = {count};
            call.results = {{4, columns, out}, {5, columns, out}};
            return call;
          }};
}

std::vector<ConformanceCase> kiln::test::lookupCases() {
  std::vector<ConformanceCase> cases;
  for (const Format &format : llvm::make_filter_range(getFormats(), isOfNumbers))
    for (int64_t columns : {64, 172, 24}) {
      bool isNew = format.kind == FormatKind::Integer && !format.isPlain();
      cases.push_back(embedding(format, 53, isNew ? columns + 500 : columns, false));
      if (!isNew)
        cases.push_back(embedding(format, 97, columns, true));
    }
  for (int64_t columns : {64, 172, 24, 7})
    for (bool layerNorm : {false, true})
      cases.push_back(residualNorm(columns, layerNorm));
  return cases;
}
