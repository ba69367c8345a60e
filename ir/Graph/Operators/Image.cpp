// Convolution, pooling and resampling of images, channels last.
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

ArrayRef<Operator> graph::imageOperators() { return {}; }
