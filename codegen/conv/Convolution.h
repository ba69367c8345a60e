// Entries of kernel lists for convolutions.
#ifndef KILN_CODEGEN_CONV_CONVOLUTION_H
#define KILN_CODEGEN_CONV_CONVOLUTION_H

#include "codegen/KernelEmitter.h"

namespace kiln {

/// Positions of the result as rows of a matrix, read from the image in place.
const KernelEmitter &directConvolutionEmitter();

/// The same through a matrix unit, with the image's lines brought into scratch as parts of floats.
const KernelEmitter &matrixConvolutionEmitter();

/// One output for each channel: vectors of channels.
const KernelEmitter &depthwiseConvolutionEmitter();

/// The same of codes, which lines under each other give in quads.
const KernelEmitter &depthwiseCodesEmitter();

} // namespace kiln

#endif
