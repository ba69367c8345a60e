// Chooses the storage format of every weight. The values are quantized later, tensor by tensor,
// while the artifact is written; here a weight only gets a format of ir/Formats.def. What a weight
// may lose depends on what it is used for: plain rounding of everything to 4 bits ruins small
// models, so tables and the weights of the logits keep 8, and small tables keep all they have. What
// is quantized already may be kept as it is, in the format that holds its blocks exactly.
#include "ir/Formats.h"
#include "ir/PanelLayout.h"
#include "passes/Passes.h"
#include "passes/WeightUses.h"
#include "llvm/Support/GlobPattern.h"

namespace kiln {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"
} // namespace kiln

using namespace mlir;
using namespace kiln;
using namespace kiln::graph;

namespace {

/// What a weight is used for, over all functions of the module.
struct WeightRole {
  bool isMatmulWeight = false;  // right operand of a matmul, or of one of experts
  bool isTable = false;         // rows picked by index
  bool isPositionTable = false; // rows picked by positions
  bool givesRoutes = false;     // of a matmul that chooses experts
  bool givesResult = false;     // of a matmul whose product reaches a result of the function
};

struct FormatOverride {
  llvm::GlobPattern pattern;
  std::string text;
  std::string format; // "" keeps the source's
  bool used = false;
};

} // namespace

/// True where ids are what attention or rope take as positions.
static bool arePositions(Value ids) {
  return llvm::any_of(ids.getUses(), [&](OpOperand &use) {
    if (auto attention = dyn_cast<AttentionOp>(use.getOwner()))
      return attention.getPositions() == ids;
    if (auto rope = dyn_cast<RopeOp>(use.getOwner()))
      return rope.getPositions() == ids;
    return false;
  });
}

/// True where the value reaches a return through elementwise ops and views.
static bool reachesReturn(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    if (isa<ReturnOp>(user))
      return true;
    auto fusable = dyn_cast<FusableOpInterface>(user);
    return fusable &&
           llvm::is_contained({FusionKind::Elementwise, FusionKind::View},
                              fusable.getFusionKind()) &&
           reachesReturn(user->getResult(0));
  });
}

static llvm::StringMap<WeightRole> getRoles(ModuleOp module) {
  llvm::StringMap<WeightRole> roles;
  module.walk([&](WeightRefOp use) {
    WeightRole &role = roles[use.getWeight()];
    for (Operation *user : use->getUsers()) {
      if (auto matmul = dyn_cast<MatmulOp>(user); matmul && matmul.getWeight() == use.getResult()) {
        role.isMatmulWeight = true;
        role.givesResult |= reachesReturn(matmul.getResult());
        role.givesRoutes |= llvm::any_of(matmul->getUsers(), llvm::IsaPred<RouteOp>);
      } else if (auto experts = dyn_cast<ExpertsMatmulOp>(user)) {
        role.isMatmulWeight |= experts.getWeight() == use.getResult();
      } else if (auto embed = dyn_cast<EmbedOp>(user)) {
        role.isTable = true;
        role.isPositionTable |= arePositions(embed.getIds());
      }
    }
  });
  return roles;
}

/// The format for a matrix under the whole-model choice `format`, or "" to keep the source's.
static StringRef chooseFormat(StringRef format, const WeightRole &role, int64_t depth) {
  if (format == "none" || role.givesRoutes)
    return "";
  if (!role.isMatmulWeight && (!role.isTable || role.isPositionTable || depth < 32))
    return "";
  if (format == "q4" && !role.isTable && !role.givesResult)
    return "q4_sym_g32";
  return "q8_sym_g32";
}

/// The format that holds the blocks of a weight's sources as they are, or "".
static StringRef findKept(WeightOp weight) {
  const Format *kept = nullptr;
  for (auto source : weight.getSources().getAsRange<SourceAttr>()) {
    const Format *format = findKeepingFormat(source.getDtype());
    if (!format || (kept && kept != format))
      return "";
    kept = format;
  }
  return kept && llvm::all_of(weight.getTransforms(), llvm::IsaPred<ConcatAttr>)
             ? StringRef(kept->name)
             : "";
}

/// The name in ir/Formats.def of a format as users write it; "none" keeps the source's.
static FailureOr<std::string> parseFormat(StringRef text) {
  if (text == "none")
    return std::string();
  if (text == "q8")
    return std::string("q8_sym_g32");
  if (text == "q4")
    return std::string("q4_sym_g32");
  if (const Format *format = findFormat(text); format && format->kind != FormatKind::Codes)
    return text.str();
  return failure();
}

static LogicalResult parseOverrides(ModuleOp module, ArrayRef<std::string> texts,
                                    SmallVectorImpl<FormatOverride> &overrides) {
  for (StringRef text : texts) {
    auto [glob, format] = text.rsplit('=');
    auto parsed = parseFormat(format);
    if (glob.empty() || failed(parsed))
      return module.emitError() << "quantization of one weight: expected NAME=FORMAT with a format "
                                   "of none, q8, q4, f32, f16 or bf16, found '"
                                << text << "'";
    auto pattern = llvm::GlobPattern::create(glob);
    if (!pattern)
      return module.emitError() << "'" << glob << "': " << llvm::toString(pattern.takeError());
    overrides.push_back({std::move(*pattern), text.str(), *parsed});
  }
  return success();
}

static bool matches(const FormatOverride &entry, WeightOp weight) {
  return entry.pattern.match(weight.getSymName()) ||
         llvm::any_of(weight.getSources().getAsRange<SourceAttr>(),
                      [&](SourceAttr source) { return entry.pattern.match(source.getName()); });
}

namespace {
struct QuantizeWeights : kiln::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<FormatOverride> entries;
    if (!llvm::is_contained({"none", "q8", "q4"}, StringRef(format))) {
      module.emitError() << "quantization: expected none, q8 or q4, found '" << format << "'";
      return signalPassFailure();
    }
    if (failed(parseOverrides(module, overrides, entries)))
      return signalPassFailure();

    llvm::StringMap<WeightRole> roles = getRoles(module);
    for (auto weight : module.getOps<WeightOp>()) {
      auto type = cast<RankedTensorType>(weight.getType());
      const Format *given = findFormat(weight.getFormat());
      if (weight.getFormat() == kRawFormatName || (given && given->kind == FormatKind::Codes))
        continue;
      if (type.getRank() != 2) {
        weight.setFormat("f32");
        continue;
      }
      StringRef chosen = keepBlocks ? findKept(weight) : "";
      if (chosen.empty())
        chosen = chooseFormat(format, roles.lookup(weight.getSymName()), type.getDimSize(1));
      for (FormatOverride &entry : entries) // the last match counts
        if (matches(entry, weight)) {
          chosen = entry.format;
          entry.used = true;
        }
      if (!chosen.empty())
        weight.setFormat(chosen);
    }
    for (const FormatOverride &entry : entries)
      if (!entry.used) {
        module.emitError() << "quantization of one weight: no matrix matches '" << entry.text
                           << "'";
        return signalPassFailure();
      }
    updateWeightUses(module);
  }
};
} // namespace
