// Attention as plain loops over rows, heads and positions.
#ifndef KILN_CODEGEN_REFERENCE_REFERENCEATTENTION_H
#define KILN_CODEGEN_REFERENCE_REFERENCEATTENTION_H

#include "codegen/KernelFrame.h"
#include <string>

namespace kiln {

/// The kernel's attention op, or null.
graph::AttentionOp findAttention(exec::KernelOp kernel);

/// Why the kernel's attention cannot be emitted; nullopt where it can.
std::optional<std::string> refuseReferenceAttention(exec::KernelOp kernel);

/// Bytes of a worker's scores, a multiple of 64: an expression over the kernel's dims.
mlir::AffineExpr referenceScoreBytes(KernelFrame &frame, graph::AttentionOp op);

/// Emits the loops of items (kv heads) [begin, end). `scores` holds referenceScoreBytes bytes.
mlir::LogicalResult emitReferenceAttention(KernelFrame &frame, exec::KernelOp kernel,
                                           mlir::Value scores);

} // namespace kiln

#endif
