// Random numbers that are a function of a seed and an element's number: the same at every call, on
// any number of threads. The function is the finalizer of splitmix64 (Steele, Lea, Flood: Fast
// splittable pseudorandom number generators, 2014).
#include "ir/Graph/Operators.h"

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

/// 64 bits for a number.
static Value scrambled(ElementBuilder &e, Value number, uint64_t seed) {
  Type i64 = e.b.getI64Type();
  auto constant = [&](uint64_t value) { return e.integer(i64, int64_t(value)); };
  auto mix = [&](Value x, unsigned shift) -> Value {
    return arith::XOrIOp::create(e.b, x, arith::ShRUIOp::create(e.b, x, constant(shift)));
  };
  Value x =
      e.add(e.mul(e.add(number, constant(1)), constant(0x9E3779B97F4A7C15ull)), constant(seed));
  x = e.mul(mix(x, 30), constant(0xBF58476D1CE4E5B9ull));
  x = e.mul(mix(x, 27), constant(0x94D049BB133111EBull));
  return mix(x, 31);
}

/// In [0, 1), with as many bits as the type (f32 or f64) has.
static Value unit(ElementBuilder &e, Value bits, Type type) {
  unsigned digits = type.isF64() ? 53 : 24;
  Value top = arith::ShRUIOp::create(e.b, bits, e.integer(e.b.getI64Type(), 64 - digits));
  Value number = arith::UIToFPOp::create(e.b, type, top);
  return arith::MulFOp::create(e.b, number, e.constant(type, std::ldexp(1.0, -int(digits))));
}

/// Params: seed; `normal`: of mean and scale (Box and Muller), else uniform in [low, high).
static Value randomElement(ElementBuilder &e, ComputeOp op, unsigned, ValueRange indices) {
  Type type = ElementBuilder::codeType(tensorOf(op.getResult(0)).getElementType());
  Value place = e.index(0);
  for (auto [dim, index] : llvm::enumerate(indices))
    place = e.add(e.mul(place, e.extent(op.getResult(0), unsigned(dim))), index);
  Value number = arith::IndexCastOp::create(e.b, e.b.getI64Type(), place);
  auto seed = uint64_t(intParam(op, "seed"));
  Value first = unit(e, scrambled(e, number, seed), type);
  auto &b = e.b;
  if (!hasParam(op, "normal")) {
    double low = floatParam(op, "low"), high = floatParam(op, "high");
    Value span = arith::MulFOp::create(b, first, e.constant(type, high - low));
    return arith::AddFOp::create(b, span, e.constant(type, low));
  }
  Value second = unit(e, scrambled(e, number, seed ^ 0xD1B54A32D192ED03ull), type);
  Value log = math::LogOp::create(b, arith::SubFOp::create(b, e.constant(type, 1), first));
  Value radius = math::SqrtOp::create(b, arith::MulFOp::create(b, log, e.constant(type, -2)));
  Value angle = arith::MulFOp::create(b, second, e.constant(type, 2 * M_PI));
  Value value = arith::MulFOp::create(b, radius, math::CosOp::create(b, angle));
  Value scaled = arith::MulFOp::create(b, value, e.constant(type, floatParam(op, "scale")));
  return arith::AddFOp::create(b, scaled, e.constant(type, floatParam(op, "mean")));
}

ArrayRef<Operator> graph::randomOperators() {
  static const Operator table[] = {
      Operator{"random", Cost::Index, nullptr, randomElement},
  };
  return table;
}
