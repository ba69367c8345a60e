// Appending keys and values to the paged cache.
#ifndef KILN_CODEGEN_ATTENTION_APPENDTOKENS_H
#define KILN_CODEGEN_ATTENTION_APPENDTOKENS_H

#include "codegen/attention/Rotation.h"

namespace kiln {

class AppendTokens {
public:
  AppendTokens(AttentionFrame &frame, Rotation &rotation);

  /// At a worker's first range: no head is appended yet.
  void emitReset();
  /// Appends all tokens of a kv head unless this worker has in this launch.
  void emit(mlir::Value head);

private:
  void emitToken(mlir::Value head, mlir::Value token);
  /// Stores f32 [head_dim] at `row` as elements at `destination`; the scale of codes.
  void emitElements(mlir::Value row, mlir::Value destination, mlir::Value scale);

  AttentionFrame &f;
  Rotation &rotation;
  mlir::ImplicitLocOpBuilder &b;
  int64_t flagOffset, rowOffset, elementOffset;
};

} // namespace kiln

#endif
