// Small vocabulary of the emitters: addresses, loads, splats and counted loops.
#ifndef KILN_CODEGEN_EMITSUPPORT_H
#define KILN_CODEGEN_EMITSUPPORT_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace kiln::emit {

using mlir::ImplicitLocOpBuilder;
using mlir::Type;
using mlir::Value;

mlir::VectorType vectorOf(int64_t lanes, Type element);

Value i64(ImplicitLocOpBuilder &b, int64_t value);
Value f32(ImplicitLocOpBuilder &b, double value);
/// A constant vector with `value` in every lane (integer or float element).
Value splatConstant(ImplicitLocOpBuilder &b, mlir::VectorType type, double value);
Value broadcast(ImplicitLocOpBuilder &b, Value scalar, int64_t lanes);

/// base + index * scale + offset, in bytes.
Value address(ImplicitLocOpBuilder &b, Value base, Value index, int64_t scale, int64_t offset = 0);
Value address(ImplicitLocOpBuilder &b, Value base, int64_t offset);
Value load(ImplicitLocOpBuilder &b, Type type, Value address, unsigned alignment);
void store(ImplicitLocOpBuilder &b, Value value, Value address, unsigned alignment);
/// Loads a scalar and repeats it over `lanes`.
Value loadSplat(ImplicitLocOpBuilder &b, Type element, Value address, int64_t lanes);

/// for (i = lower; i < upper; i += step), all i64. `body` gets i and the carried values and returns
/// their next values; the loop's results come back.
using LoopBody =
    llvm::function_ref<llvm::SmallVector<Value>(Value index, mlir::ValueRange carried)>;
llvm::SmallVector<Value> loop(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
                              mlir::ValueRange initial, LoopBody body);
/// The same without carried values.
void loop(ImplicitLocOpBuilder &b, Value lower, Value upper, int64_t step,
          llvm::function_ref<void(Value index)> body);

/// if (condition) then(); else otherwise().
void branch(ImplicitLocOpBuilder &b, Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = nullptr);

/// Lanes 0 .. valid-1 of `vector`, zero in the others.
Value keepLanes(ImplicitLocOpBuilder &b, Value vector, int64_t valid);

} // namespace kiln::emit

#endif
