// Rotary embedding's frequencies under the scalings Hugging Face defines
// (transformers/modeling_rope_utils.py): "linear" divides all by a factor; "llama3" divides the
// slow ones, leaves the fast ones, and blends between.
#include "compiler/import/RotaryConfig.h"
#include <cmath>

using namespace llvm;
using namespace kiln;

static constexpr double largestFactor = 1e6;

static std::vector<double> plainFrequencies(const RotaryConfig &rotary) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < rotary.rotaryDim / 2; ++i)
    frequencies.push_back(std::pow(rotary.theta, -2.0 * double(i) / double(rotary.rotaryDim)));
  return frequencies;
}

static double require(const ConfigObject &scaling, StringRef key, double min, double max) {
  if (!scaling.has(key))
    scaling.fail(key, "expected a number, found nothing");
  return scaling.getNumber(key, min, max).value_or(1);
}

static void scaleLikeLlama3(const ConfigObject &scaling, RotaryConfig &rotary) {
  double factor = require(scaling, "factor", 1, largestFactor);
  double low = require(scaling, "low_freq_factor", 1e-3, largestFactor);
  double high = require(scaling, "high_freq_factor", 1e-3, largestFactor);
  double original = require(scaling, "original_max_position_embeddings", 1, 1 << 24);
  if (low >= high && scaling.has("low_freq_factor") && scaling.has("high_freq_factor"))
    scaling.fail("high_freq_factor",
                 "expected more than low_freq_factor, found " + scaling.print("high_freq_factor"));
  rotary.frequencies = plainFrequencies(rotary);
  for (double &frequency : rotary.frequencies) {
    double turns = original * frequency / (2 * M_PI); // over the original context
    if (turns < low)
      frequency /= factor;
    else if (turns <= high) {
      double smooth = (turns - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

void kiln::readRotaryScaling(const ConfigObject &scaling, RotaryConfig &rotary) {
  StringRef key = scaling.has("rope_type") ? "rope_type" : "type"; // older files say "type"
  std::string type = scaling.getString(key).value_or("default");
  if (type == "default")
    return;
  if (type == "linear") {
    double factor = require(scaling, "factor", 1, largestFactor);
    rotary.frequencies = plainFrequencies(rotary);
    for (double &frequency : rotary.frequencies)
      frequency /= factor;
    return;
  }
  if (type == "llama3")
    return scaleLikeLlama3(scaling, rotary);
  scaling.fail(key, "expected default, linear or llama3, found " + scaling.print(key));
}
