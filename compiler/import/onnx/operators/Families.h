// More tables of operators: see the list in compiler/import/onnx/NodeImport.h.
#ifndef KILN_COMPILER_IMPORT_ONNX_OPERATORS_FAMILIES_H
#define KILN_COMPILER_IMPORT_ONNX_OPERATORS_FAMILIES_H

#include "compiler/import/onnx/NodeImport.h"

namespace kiln {

llvm::ArrayRef<OnnxOperator> onnxPools();         // Pools.cpp: MaxPool, RoiAlign, …
llvm::ArrayRef<OnnxOperator> onnxResampling();    // Resampling.cpp: Resize, GridSample, …
llvm::ArrayRef<OnnxOperator> onnxSignals();       // Signals.cpp: DFT, STFT, windows
llvm::ArrayRef<OnnxOperator> onnxLosses();        // Losses.cpp
llvm::ArrayRef<OnnxOperator> onnxTraining();      // Training.cpp: steps of optimizers
llvm::ArrayRef<OnnxOperator> onnxFlexAttention(); // FlexAttention.cpp

} // namespace kiln

#endif
