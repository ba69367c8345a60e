// The streaming loop of quantize-and-pack. A weight is cut into blocks of panels whose size does
// not depend on the number of threads; each worker takes the next block, reads, converts, quantizes
// and packs it on its own, then waits for its turn to hand the bytes to the sink. So the output is
// in order and the same for any number of workers, and at most one block per worker is in memory.
#include "compiler/artifact/WeightPacker.h"
#include "compiler/artifact/PackPanel.h"
#include "compiler/artifact/RepackBlocks.h"
#include "compiler/artifact/WeightReader.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

using namespace kiln;
using namespace mlir;

/// f32 values of a block. Strips of a transposed source are wider, to read it in larger runs.
static constexpr int64_t kBlockBytes = 2 << 20, kTransposedBlockBytes = 8 << 20;
/// A panel of this depth takes 64 MiB as f32.
static constexpr int64_t kMaxDepth = 1 << 20;
/// "rows" pads its elements to a multiple of this.
static constexpr int64_t kRowsMultiple = 16;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

namespace {

/// What one worker makes of one block.
struct WorkBlock {
  std::vector<float> values;
  std::vector<uint8_t> bytes;
  ReadScratch scratch;
  ErrorSums sums;
};

/// Lets workers produce blocks at the same time and commit them in order. The first error in the
/// order of blocks wins.
class OrderedBlocks {
public:
  OrderedBlocks(int64_t count, llvm::function_ref<llvm::Error(int64_t, WorkBlock &)> produce,
                llvm::function_ref<llvm::Error(const WorkBlock &)> commit)
      : count(count), produce(produce), commit(commit) {}

  llvm::Error run(unsigned threads) {
    std::vector<std::thread> workers;
    for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i)
      workers.emplace_back([this] { work(); });
    work();
    for (std::thread &worker : workers)
      worker.join();
    return std::move(result);
  }

private:
  void work() {
    WorkBlock block;
    while (true) {
      int64_t index;
      {
        std::lock_guard<std::mutex> lock(mutex);
        if (stopped || next == count)
          return;
        index = next++;
      }
      llvm::Error error = produce(index, block);
      std::unique_lock<std::mutex> lock(mutex);
      turn.wait(lock, [&] { return committed == index; });
      if (!stopped && !error)
        error = commit(block);
      if (error && !stopped) {
        stopped = true;
        result = llvm::joinErrors(std::move(result), std::move(error));
      } else {
        llvm::consumeError(std::move(error)); // a block behind the one that failed
      }
      ++committed;
      turn.notify_all();
    }
  }

  int64_t count;
  llvm::function_ref<llvm::Error(int64_t, WorkBlock &)> produce;
  llvm::function_ref<llvm::Error(const WorkBlock &)> commit;
  std::mutex mutex;
  std::condition_variable turn;
  int64_t next = 0, committed = 0;
  bool stopped = false;
  llvm::Error result = llvm::Error::success();
};

} // namespace

double kiln::relativeRmsError(const ErrorSums &sums) {
  return sums.squaredError > 0 && sums.squaredValues > 0
             ? std::sqrt(sums.squaredError / sums.squaredValues)
             : 0;
}

/// Why the weight cannot be stored as its format and layout say, or success.
static llvm::Error checkStorage(graph::WeightOp weight, const Format *&format) {
  auto type = cast<RankedTensorType>(weight.getType());
  format = findFormat(weight.getFormat());
  if (!format)
    return fail("{0}: unknown format '{1}'", weight.getSymName(), weight.getFormat());
  auto shape = llvm::make_range(type.getShape().begin(), type.getShape().end());
  int64_t elements = 1;
  for (int64_t dim : type.getShape())
    if (dim < 0 || dim > (int64_t(1) << 31) || (elements *= dim) > (int64_t(1) << 48))
      return fail("{0}: shape [{1:$[, ]}] is too large", weight.getSymName(), shape);
  if (weight.getLayout() == kPanelLayoutName) {
    if (type.getRank() != 2)
      return fail("{0}: expected rank 2 for the layout panel16, found {1}", weight.getSymName(),
                  type.getRank());
  } else if (weight.getLayout() != kRowsLayoutName) {
    return fail("{0}: unknown layout '{1}'", weight.getSymName(), weight.getLayout());
  } else if (format->kind != FormatKind::Float) {
    return fail("{0}: the layout rows holds no {1}", weight.getSymName(), format->name);
  }
  if (format->kind == FormatKind::Codes && !type.getElementType().isSignlessInteger(8))
    return fail("{0}: the format {1} holds i8, found other elements", weight.getSymName(),
                format->name);
  if (type.getRank() > 1 &&
      type.getNumElements() / std::max<int64_t>(type.getDimSize(0), 1) > kMaxDepth)
    return fail("{0}: rows of more than {1} elements are not supported, found [{2:$[, ]}]",
                weight.getSymName(), kMaxDepth, shape);
  return llvm::Error::success();
}

/// Bytes of a raw weight; every element has a byte at least.
static llvm::Expected<uint64_t> getRawBytes(graph::WeightOp weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  uint64_t bytes = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  for (int64_t dim : type.getShape())
    if (dim < 0 || dim > (int64_t(1) << 40) || (bytes *= uint64_t(dim)) > (uint64_t(1) << 48))
      return fail("{0}: shape [{1:$[, ]}] is too large", weight.getSymName(),
                  llvm::make_range(type.getShape().begin(), type.getShape().end()));
  return bytes;
}

/// Opens the one source of a weight that is `bytes` long in its file.
static llvm::Expected<const SourceFile *> openWhole(graph::WeightOp weight, uint64_t bytes,
                                                    SourceFiles &files) {
  if (weight.getSources().size() != 1 || !weight.getTransforms().empty())
    return fail("{0}: expected one source and no transforms of a weight of {1}",
                weight.getSymName(), weight.getFormat());
  auto source = cast<graph::SourceAttr>(weight.getSources()[0]);
  auto file = files.open(source.getFile());
  if (!file)
    return file.takeError();
  uint64_t size = (*file)->getSize();
  if (source.getOffset() < 0 || bytes > size || uint64_t(source.getOffset()) > size - bytes)
    return fail("{0}: expected {1} bytes at offset {2}, found a file of {3} bytes ({4})",
                source.getName(), bytes, source.getOffset(), size, source.getFile());
  return *file;
}

/// Copies the one source, which lies as the weight is stored.
llvm::Expected<ErrorSums> WeightPacker::packRaw(graph::WeightOp weight, ByteSink sink) {
  auto bytes = getRawBytes(weight);
  if (!bytes)
    return bytes.takeError();
  auto file = openWhole(weight, *bytes, files);
  if (!file)
    return file.takeError();
  auto source = cast<graph::SourceAttr>(weight.getSources()[0]);
  std::vector<uint8_t> block(std::min<uint64_t>(*bytes, kBlockBytes));
  for (uint64_t done = 0; done < *bytes; done += block.size()) {
    block.resize(std::min<uint64_t>(*bytes - done, kBlockBytes));
    if (llvm::Error error = (*file)->read(source.getOffset() + done, block, source.getName()))
      return error;
    if (llvm::Error error = sink(block))
      return error;
  }
  return ErrorSums();
}

/// Packs i8 codes, which the one source holds row by row.
llvm::Expected<ErrorSums> WeightPacker::packCodes(graph::WeightOp weight, const PanelLayout &layout,
                                                  ByteSink sink) {
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t rows = type.getDimSize(0), depth = type.getDimSize(1);
  auto file = openWhole(weight, uint64_t(rows * depth), files);
  if (!file)
    return file.takeError();
  auto source = cast<graph::SourceAttr>(weight.getSources()[0]);
  std::vector<uint8_t> codes, panel(size_t(layout.panelBytes()));
  for (int64_t row = 0; row < rows; row += PanelLayout::kPanelRows) {
    int64_t count = std::min(PanelLayout::kPanelRows, rows - row);
    codes.resize(size_t(count * depth));
    if (llvm::Error error =
            (*file)->read(uint64_t(source.getOffset() + row * depth), codes, source.getName()))
      return error;
    packCodesPanel(layout, codes.data(), count, depth, panel.data());
    if (llvm::Error error = sink(panel))
      return error;
  }
  return ErrorSums();
}

llvm::Expected<uint64_t> kiln::getPackedBytes(graph::WeightOp weight) {
  if (weight.getFormat() == kRawFormatName)
    return getRawBytes(weight);
  const Format *format;
  if (llvm::Error error = checkStorage(weight, format))
    return error;
  auto type = cast<RankedTensorType>(weight.getType());
  if (weight.getLayout() == kPanelLayoutName)
    return PanelLayout(*format, type.getDimSize(0), type.getDimSize(1)).totalBytes();
  return llvm::alignTo(type.getNumElements(), kRowsMultiple) * format->bits / 8;
}

/// The message for a block that the format cannot hold: names the first such element.
template <typename At>
static llvm::Error describeUnfit(const WeightReader &reader, const Format &format, int64_t first,
                                 int64_t last, At at) {
  for (int64_t row = first; row < last; ++row)
    for (int64_t k = 0; k < reader.getDepth(); ++k)
      if (float value = at(row, k); !canHold(format, value))
        return fail("{0}: {1} is {2}, which {3} cannot hold; check the model or choose a float "
                    "format",
                    reader.getName(), reader.describePlace(row, k), value, format.name);
  return fail("{0}: {1} cannot hold its values", reader.getName(), format.name);
}

llvm::Expected<ErrorSums> WeightPacker::pack(graph::WeightOp weight, ByteSink sink) {
  if (weight.getFormat() == kRawFormatName)
    return packRaw(weight, sink);
  const Format *format;
  if (llvm::Error error = checkStorage(weight, format))
    return error;
  if (format->kind == FormatKind::Codes) {
    auto type = cast<RankedTensorType>(weight.getType());
    return packCodes(weight, PanelLayout(*format, type.getDimSize(0), type.getDimSize(1)), sink);
  }
  auto reader = WeightReader::create(weight, files);
  if (!reader)
    return reader.takeError();
  int64_t rows = reader->getRows(), depth = reader->getDepth();
  int64_t blockBytes = reader->isTransposed() ? kTransposedBlockBytes : kBlockBytes;

  PanelLayout layout(*format, rows, depth);
  const BlockType *blockType = reader->getBlockType();
  bool keeps = blockType && format->keeps == blockType->name;
  if (!keeps && !canQuantizeTo(*format))
    return fail("{0}: the format {1} only keeps blocks of {2}, found {3}", reader->getName(),
                format->name, format->keeps,
                blockType ? llvm::StringRef(blockType->name) : "several sources");
  auto repackPanels = [&](int64_t first, int64_t count, WorkBlock &block) -> llvm::Error {
    int64_t rowBytes = reader->getBlockRowBytes(), row = first * PanelLayout::kPanelRows;
    int64_t rowCount = std::min(count * PanelLayout::kPanelRows, rows - row);
    block.scratch.bytes.resize(rowCount * rowBytes);
    block.bytes.resize(count * layout.panelBytes());
    if (llvm::Error error = reader->readBlockRows(row, rowCount, block.scratch.bytes.data()))
      return error;
    for (int64_t i = 0; i < count; ++i) {
      int64_t done = i * PanelLayout::kPanelRows;
      auto unfit = repackPanel(layout, *blockType, block.scratch.bytes.data() + done * rowBytes,
                               rowBytes, std::min(PanelLayout::kPanelRows, rowCount - done),
                               block.bytes.data() + i * layout.panelBytes());
      if (unfit)
        return fail("{0}: the scale of the block at {1} is not finite; the file is damaged",
                    reader->getName(), reader->describePlace(row + done + unfit->lane, unfit->k));
    }
    return llvm::Error::success();
  };
  auto packPanels = [&](int64_t first, int64_t count, WorkBlock &block) -> llvm::Error {
    int64_t panelValues = layout.paddedDepth() * PanelLayout::kPanelRows;
    block.values.resize(count * panelValues);
    block.bytes.resize(count * layout.panelBytes());
    if (llvm::Error error = reader->readPanels(first, count, layout.paddedDepth(),
                                               block.values.data(), block.scratch))
      return error;
    for (int64_t i = 0; i < count; ++i)
      if (!packPanel(layout, block.values.data() + i * panelValues, options.scales,
                     block.bytes.data() + i * layout.panelBytes(), &block.sums)) {
        const float *values = block.values.data() + i * panelValues;
        int64_t row = (first + i) * PanelLayout::kPanelRows;
        return describeUnfit(
            *reader, *format, row, std::min(row + PanelLayout::kPanelRows, rows),
            [=](int64_t r, int64_t k) { return values[k * PanelLayout::kPanelRows + r - row]; });
      }
    return llvm::Error::success();
  };
  auto packRows = [&](int64_t first, int64_t count, WorkBlock &block) -> llvm::Error {
    int64_t elements = count * depth, stored = elements;
    if (first + count == rows)
      stored += llvm::alignTo(rows * depth, kRowsMultiple) - rows * depth;
    block.values.assign(stored, 0.0f);
    block.bytes.resize(stored * format->bits / 8);
    if (llvm::Error error = reader->readRows(first, count, block.values.data(), block.scratch))
      return error;
    const float *values = block.values.data();
    if (packElements(format->id, values, stored, block.bytes.data(), &block.sums))
      return llvm::Error::success();
    return describeUnfit(*reader, *format, first, first + count,
                         [=](int64_t r, int64_t k) { return values[(r - first) * depth + k]; });
  };

  bool panels = weight.getLayout() == kPanelLayoutName;
  int64_t units = panels ? layout.panelCount() : rows;
  int64_t unitBytes = panels ? layout.paddedDepth() * PanelLayout::kPanelRows * 4 : depth * 4;
  int64_t step = std::max<int64_t>(blockBytes / std::max<int64_t>(unitBytes, 1), 1);
  auto produce = [&](int64_t index, WorkBlock &block) {
    int64_t first = index * step, count = std::min(step, units - first);
    block.sums = {};
    if (!panels)
      return packRows(first, count, block);
    return keeps ? repackPanels(first, count, block) : packPanels(first, count, block);
  };
  ErrorSums sums;
  auto commit = [&](const WorkBlock &block) {
    sums.add(block.sums);
    return sink(block.bytes);
  };
  unsigned threads = options.threads ? options.threads : std::thread::hardware_concurrency();
  OrderedBlocks blocks(llvm::divideCeil(units, step), produce, commit);
  if (llvm::Error error = blocks.run(std::max(threads, 1u)))
    return error;
  return sums;
}
