#include "compiler/import/onnx/NodeImport.h"

using namespace mlir;
using namespace kiln;

ArrayRef<OnnxOperator> kiln::onnxShapes() { return {}; }
