// Rotary embedding's frequencies under the scalings Hugging Face defines
// (transformers/modeling_rope_utils.py): "linear" divides all by a factor; "llama3" divides the
// slow ones, leaves the fast ones, and blends between; so does "yarn", by another blend; "longrope"
// has a divisor of its own for each pair.
#include "compiler/import/RotaryConfig.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
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

static double readOriginal(const ConfigObject &scaling, const RotaryContext &context) {
  constexpr StringLiteral key = "original_max_position_embeddings";
  std::optional<double> found = scaling.getNumber(key, 1, 1 << 24);
  if (!found && !scaling.has(key))
    return double(context.original.value_or(context.model));
  return found.value_or(1);
}

static void scaleLikeLlama3(const ConfigObject &scaling, const RotaryContext &context,
                            RotaryConfig &rotary) {
  double factor = require(scaling, "factor", 1, largestFactor);
  double low = require(scaling, "low_freq_factor", 1e-3, largestFactor);
  double high = require(scaling, "high_freq_factor", 1e-3, largestFactor);
  double original = readOriginal(scaling, context);
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

/// Peng et al., "YaRN" (2023): pairs that turn often over the original context stay, those that
/// turn seldom are stretched, a linear ramp over the pairs' numbers lies between; scores sharpen
/// through the magnitude.
static void scaleLikeYarn(const ConfigObject &scaling, const RotaryContext &context,
                          RotaryConfig &rotary) {
  double original = readOriginal(scaling, context);
  double factor = scaling.getNumber("factor", 1, largestFactor)
                      .value_or(std::max(1.0, double(context.model) / original));
  double fast = scaling.getNumber("beta_fast", 1e-3, largestFactor).value_or(32);
  double slow = scaling.getNumber("beta_slow", 1e-3, largestFactor).value_or(1);
  bool truncates = scaling.getBool("truncate").value_or(true);
  double dim = double(rotary.rotaryDim);
  // The number of the pair that turns so often over the original context.
  auto pairOf = [&](double turns) {
    return dim * std::log(original / (turns * 2 * M_PI)) / (2 * std::log(rotary.theta));
  };
  double low = pairOf(fast), high = pairOf(slow);
  if (truncates)
    low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high)
    high += 0.001;
  rotary.frequencies = plainFrequencies(rotary);
  for (auto [i, frequency] : enumerate(rotary.frequencies)) {
    double stretched = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    frequency = frequency / factor * stretched + frequency * (1 - stretched);
  }
  auto sharpen = [&](double weight) {
    return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
  };
  std::optional<double> whole = scaling.getNumber("attention_factor", 1e-6, largestFactor);
  double one = scaling.getNumber("mscale", 0, largestFactor).value_or(0);
  double all = scaling.getNumber("mscale_all_dim", 0, largestFactor).value_or(0);
  rotary.magnitude = whole ? *whole : one && all ? sharpen(one) / sharpen(all) : sharpen(1);
}

/// Ding et al., "LongRoPE" (2024): a divisor for each pair, from one list for contexts as long as
/// the original and from another for longer ones. Which applies is decided by the context compiled
/// for, so that keys in the cache never change.
static void scaleLikeLongRope(const ConfigObject &scaling, const RotaryContext &context,
                              RotaryConfig &rotary) {
  double original = readOriginal(scaling, context);
  StringRef key = double(context.used) > original ? "long_factor" : "short_factor";
  std::vector<double> divisors = scaling.getNumbers(key, 1e-6, largestFactor);
  rotary.frequencies = plainFrequencies(rotary);
  if (divisors.size() != rotary.frequencies.size()) {
    scaling.fail(key, "expected " + Twine(rotary.frequencies.size()) + " numbers, found " +
                          Twine(divisors.size()));
    return;
  }
  for (auto [frequency, divisor] : zip(rotary.frequencies, divisors))
    frequency /= divisor;
  double factor =
      scaling.getNumber("factor", 1e-6, largestFactor).value_or(double(context.model) / original);
  std::optional<double> whole = scaling.getNumber("attention_factor", 1e-6, largestFactor);
  rotary.magnitude = whole         ? *whole
                     : factor <= 1 ? 1
                                   : std::sqrt(1 + std::log(factor) / std::log(original));
}

void kiln::readRotaryScaling(const ConfigObject &scaling, const RotaryContext &context,
                             RotaryConfig &rotary) {
  StringRef key = scaling.has("rope_type") ? "rope_type" : "type"; // older files say "type"
  std::string type = scaling.getString(key).value_or("default");
  // "dynamic" raises theta only past the context that the model declares, where nothing goes here.
  if (type == "default" || type == "dynamic")
    return;
  if (type == "linear") {
    double factor = require(scaling, "factor", 1, largestFactor);
    rotary.frequencies = plainFrequencies(rotary);
    for (double &frequency : rotary.frequencies)
      frequency /= factor;
    return;
  }
  if (type == "llama3")
    return scaleLikeLlama3(scaling, context, rotary);
  if (type == "yarn")
    return scaleLikeYarn(scaling, context, rotary);
  if (type == "longrope" || type == "su")
    return scaleLikeLongRope(scaling, context, rotary);
  scaling.fail(key, "expected default, linear, dynamic, llama3, yarn or longrope, found " +
                        scaling.print(key));
}
