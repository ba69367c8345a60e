// What the emitters of attention must know of a kernel: where its operands come from.
#ifndef KILN_CODEGEN_ATTENTION_ATTENTIONSHAPE_H
#define KILN_CODEGEN_ATTENTION_ATTENTIONSHAPE_H

#include "ir/Exec/ExecDialect.h"
#include <optional>
#include <string>

namespace kiln {

/// Where an operand of attention comes from: columns of a parameter, possibly with heads
/// normalised, then rotated.
struct HeadSource {
  unsigned parameter = 0;
  int64_t offset = 0; // first column
  int64_t stride = 0; // elements from row to row
  graph::RmsNormOp norm;
  graph::RopeOp rope;
};

struct AttentionShape {
  graph::AttentionOp op;
  HeadSource query, key, value;
  int64_t group = 0;         // query heads that share a kv head
  bool hasWorkspace = false; // the kernel's second result is a graph.workspace

  /// nullopt with a reason where the kernel is not [rope] [norm] [slice] of parameters, then
  /// attention.
  static std::optional<AttentionShape> match(exec::KernelOp kernel, std::string &reason);
};

} // namespace kiln

#endif
