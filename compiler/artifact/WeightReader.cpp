// Resolves a weight's transforms to segments of one matrix and reads blocks of its rows, so that a
// weight made of several tensors, or of transposed ones, streams like any other. A segment that is
// stored transposed (GPT-2's [in, out]) is read as a strip of columns.
#include "compiler/artifact/WeightReader.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>

using namespace kiln;
using namespace mlir;

static constexpr int64_t kPanel = 16;
/// Bytes read at once, where a row is not longer.
static constexpr int64_t kPieceBytes = 1 << 20;
/// Elements of a weight: what keeps every size in bytes far from overflow.
static constexpr int64_t kMaxElements = int64_t(1) << 48;
static constexpr int64_t kMaxExtent = int64_t(1) << 31;

template <typename... Args> static llvm::Error fail(const char *format, Args &&...args) {
  return llvm::createStringError(llvm::formatv(format, std::forward<Args>(args)...).str());
}

/// A shape as [dim 0, product of the rest].
static llvm::Expected<std::pair<int64_t, int64_t>> asMatrix(llvm::StringRef name,
                                                            ArrayRef<int64_t> shape) {
  int64_t rows = shape.empty() ? 1 : shape.front(), columns = 1;
  bool sound = rows >= 0 && rows <= kMaxExtent;
  for (int64_t dim : shape.empty() ? shape : shape.drop_front()) {
    sound = sound && dim >= 0 && dim <= kMaxExtent;
    columns = sound ? columns * dim : 0;
    sound = sound && columns <= kMaxExtent;
  }
  if (!sound || rows * columns > kMaxElements)
    return fail("{0}: shape [{1:$[, ]}] is too large", name,
                llvm::make_range(shape.begin(), shape.end()));
  return std::pair(rows, columns);
}

llvm::Expected<WeightReader> WeightReader::create(graph::WeightOp weight, SourceFiles &files) {
  WeightReader reader;
  reader.name = weight.getSymName().str();
  for (auto source : weight.getSources().getAsRange<graph::SourceAttr>()) {
    auto file = files.open(source.getFile());
    if (!file)
      return file.takeError();
    const BlockType *type = findBlockType(source.getDtype());
    if (!type)
      return fail("{0}: expected elements of {1}, found '{2}' ({3})", source.getName(),
                  listBlockTypes(), source.getDtype(), source.getFile());
    auto shape = asMatrix(source.getName(), source.getShape());
    if (!shape)
      return shape.takeError();
    if (shape->second % type->elements != 0)
      return fail("{0}: expected rows of whole blocks of {1} elements ({2}), found {3} ({4})",
                  source.getName(), type->elements, type->name, shape->second, source.getFile());
    int64_t run = source.getInterleaved();
    if (run != 0 && (run < 2 || run % 2 != 0 || shape->first % run != 0))
      return fail("{0}: expected rows in whole runs of {1}, found {2} ({3})", source.getName(), run,
                  shape->first, source.getFile());
    // At most 2^48 elements of 4 bytes.
    uint64_t bytes = uint64_t(shape->first * shape->second / type->elements * type->bytes);
    uint64_t size = (*file)->getSize();
    if (source.getOffset() < 0 || bytes > size || uint64_t(source.getOffset()) > size - bytes)
      return fail("{0}: expected {1} bytes at offset {2}, found a file of {3} bytes ({4})",
                  source.getName(), bytes, source.getOffset(), size, source.getFile());
    Segment segment = {*file, source.getName().str(), uint64_t(source.getOffset()), type, run};
    std::tie(segment.rows, segment.columns) = *shape;
    reader.segments.push_back(std::move(segment));
  }

  bool joined = reader.segments.size() == 1;
  for (Attribute transform : weight.getTransforms()) {
    if (isa<graph::TransposeAttr>(transform)) {
      for (Segment &segment : reader.segments) {
        if (!segment.type->isFloat() || segment.interleaved)
          return fail("{0}: {1} cannot be transposed ({2})", segment.tensor,
                      segment.interleaved ? llvm::StringRef("interleaved rows")
                                          : llvm::StringRef(segment.type->name),
                      segment.file->getName());
        std::swap(segment.row, segment.column);
        std::swap(segment.rows, segment.columns);
        segment.transposed = !segment.transposed;
      }
    } else if (isa<graph::ConcatAttr>(transform) && !joined) {
      int64_t row = 0;
      for (Segment &segment : reader.segments) {
        segment.row = row;
        row += segment.rows;
        if (segment.columns != reader.segments.front().columns)
          return fail("{0}: expected {1} columns like its neighbours, found {2} ({3})",
                      segment.tensor, reader.segments.front().columns, segment.columns,
                      segment.file->getName());
      }
      joined = true;
    } else if (auto offset = dyn_cast<graph::OffsetAttr>(transform)) {
      reader.offset += float(offset.getValue().getValueAsDouble());
    } else if (!isa<graph::ConcatAttr>(transform)) {
      return fail("{0}: unknown transform", reader.name);
    }
  }
  auto shape = asMatrix(reader.name, cast<RankedTensorType>(weight.getType()).getShape());
  if (!shape)
    return shape.takeError();
  std::tie(reader.rows, reader.depth) = *shape;
  int64_t elements = 0, lastRow = 0, lastColumn = 0;
  for (const Segment &segment : reader.segments) {
    elements += segment.rows * segment.columns;
    lastRow = std::max(lastRow, segment.row + segment.rows);
    lastColumn = std::max(lastColumn, segment.column + segment.columns);
  }
  if (!joined || lastRow != reader.rows || lastColumn != reader.depth ||
      elements != reader.rows * reader.depth)
    return fail("{0}: expected [{1}, {2}], found sources of {3} elements that make [{4}, {5}]",
                reader.name, reader.rows, reader.depth, elements, lastRow, lastColumn);
  return reader;
}

bool WeightReader::isTransposed() const {
  return llvm::any_of(segments, [](const Segment &segment) { return segment.transposed; });
}

const BlockType *WeightReader::getBlockType() const {
  const BlockType *type = segments.front().type;
  bool same = llvm::all_of(segments, [&](const Segment &segment) {
    return segment.type == type && !segment.transposed && segment.columns == depth;
  });
  return same && offset == 0 ? type : nullptr;
}

int64_t WeightReader::getBlockRowBytes() const { return segments.front().bytesOf(depth); }

int64_t WeightReader::Segment::rowInFile(int64_t row) const {
  if (!interleaved)
    return row;
  int64_t inside = row % interleaved, half = interleaved / 2;
  return row - inside + inside % half * 2 + inside / half;
}

llvm::Error WeightReader::readFileRows(const Segment &segment, int64_t first, int64_t count,
                                       uint8_t *bytes) const {
  int64_t rowBytes = segment.bytesOf(segment.columns), step = segment.interleaved ? 1 : count;
  for (int64_t row = first; row < first + count; row += step) {
    MutableArrayRef<uint8_t> read(bytes + (row - first) * rowBytes, size_t(step * rowBytes));
    uint64_t at = segment.offset + uint64_t(segment.rowInFile(row) * rowBytes);
    if (llvm::Error error = segment.file->read(at, read, segment.tensor))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error WeightReader::readBlockRows(int64_t first, int64_t count, uint8_t *bytes) const {
  for (const Segment &segment : segments) {
    int64_t begin = std::max(first, segment.row);
    int64_t end = std::min(first + count, segment.row + segment.rows);
    if (begin < end)
      if (llvm::Error error = readFileRows(segment, begin - segment.row, end - begin,
                                           bytes + (begin - first) * getBlockRowBytes()))
        return error;
  }
  return llvm::Error::success();
}

std::string WeightReader::describePlace(int64_t row, int64_t k) const {
  for (const Segment &segment : segments) {
    int64_t r = row - segment.row, c = k - segment.column;
    if (r < 0 || r >= segment.rows || c < 0 || c >= segment.columns)
      continue;
    if (segment.transposed)
      std::swap(r, c);
    r = segment.rowInFile(r);
    return llvm::formatv("{0}[{1}, {2}] ({3})", segment.tensor, r, c, segment.file->getName());
  }
  return name;
}

template <typename Place>
llvm::Error WeightReader::readPieces(const Segment &segment, int64_t first, int64_t last,
                                     int64_t alignRows, ReadScratch &scratch, Place place) const {
  first = std::max(first, segment.row);
  last = std::min(last, segment.row + segment.rows);
  if (first >= last || segment.columns == 0)
    return llvm::Error::success();
  auto reserve = [&](int64_t elements) {
    scratch.bytes.resize(std::max(scratch.bytes.size(), size_t(segment.bytesOf(elements))));
    scratch.values.resize(std::max(scratch.values.size(), size_t(elements)));
  };
  auto convert = [&](int64_t elements) {
    float *values = scratch.values.data();
    segment.type->decode(scratch.bytes.data(), elements / segment.type->elements, values);
    for (int64_t i = 0; offset != 0 && i < elements; ++i)
      values[i] += offset;
  };

  if (!segment.transposed) {
    // Whole rows are contiguous. Pieces end at multiples of alignRows in the matrix.
    int64_t wanted = std::max<int64_t>(kPieceBytes / segment.bytesOf(segment.columns), 1);
    while (first < last) {
      int64_t end = std::min((first + wanted + alignRows - 1) / alignRows * alignRows, last);
      int64_t count = (end - first) * segment.columns;
      reserve(count);
      if (llvm::Error error =
              readFileRows(segment, first - segment.row, end - first, scratch.bytes.data()))
        return error;
      convert(count);
      place(first, segment.column, end - first, segment.columns, scratch.values.data());
      first = end;
    }
    return llvm::Error::success();
  }

  // In the file, column c of the matrix is row c of `segment.rows` elements, of which [first, last)
  // is read; where that is all of it, many rows come with one read.
  int64_t size = segment.type->bytes; // of an element: only floats are transposed
  auto read = [&](int64_t element, int64_t count, int64_t at) {
    return segment.file->read(
        segment.offset + uint64_t(element * size),
        MutableArrayRef(scratch.bytes.data() + at * size, size_t(count * size)), segment.tensor);
  };
  int64_t width = last - first, step = std::max<int64_t>(kPieceBytes / (width * size), 1);
  for (int64_t column = 0; column < segment.columns; column += step) {
    int64_t count = std::min(step, segment.columns - column);
    reserve(count * width);
    if (width == segment.rows) {
      if (llvm::Error error = read(column * width, count * width, 0))
        return error;
    } else {
      for (int64_t c = 0; c < count; ++c)
        if (llvm::Error error =
                read((column + c) * segment.rows + first - segment.row, width, c * width))
          return error;
    }
    convert(count * width);
    place(first, segment.column + column, width, count, scratch.values.data());
  }
  return llvm::Error::success();
}

/// panel[k][lane] = values[lane][k] for `lanes` lanes from `lane` on.
static void scatterRows(const float *values, int64_t lanes, int64_t columns, int64_t lane,
                        float *panel) {
  if (lanes == kPanel) {
    for (int64_t k = 0; k < columns; ++k)
      for (int64_t i = 0; i < kPanel; ++i)
        panel[k * kPanel + i] = values[i * columns + k];
    return;
  }
  for (int64_t i = 0; i < lanes; ++i)
    for (int64_t k = 0; k < columns; ++k)
      panel[k * kPanel + lane + i] = values[i * columns + k];
}

llvm::Error WeightReader::readPanels(int64_t firstPanel, int64_t count, int64_t depthPadded,
                                     float *values, ReadScratch &scratch) const {
  int64_t first = firstPanel * kPanel, last = std::min(first + count * kPanel, rows);
  if (depthPadded != depth || last != first + count * kPanel)
    std::fill_n(values, count * depthPadded * kPanel, 0.0f);
  for (const Segment &segment : segments) {
    auto place = [&](int64_t row, int64_t column, int64_t rowCount, int64_t columnCount,
                     const float *piece) {
      int64_t stride = segment.transposed ? 1 : columnCount;
      for (int64_t end = row + rowCount; row < end;) {
        int64_t lane = row % kPanel, lanes = std::min(kPanel - lane, end - row);
        float *panel =
            values + (row / kPanel - firstPanel) * depthPadded * kPanel + column * kPanel;
        if (!segment.transposed) {
          scatterRows(piece, lanes, columnCount, lane, panel);
        } else {
          for (int64_t k = 0; k < columnCount; ++k)
            std::copy_n(piece + k * rowCount, lanes, panel + k * kPanel + lane);
        }
        piece += lanes * stride;
        row += lanes;
      }
    };
    if (llvm::Error error = readPieces(segment, first, last, kPanel, scratch, place))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error WeightReader::readRows(int64_t first, int64_t count, float *values,
                                   ReadScratch &scratch) const {
  for (const Segment &segment : segments) {
    auto place = [&](int64_t row, int64_t column, int64_t rowCount, int64_t columnCount,
                     const float *piece) {
      for (int64_t r = 0; r < rowCount; ++r)
        for (int64_t k = 0; k < columnCount; ++k)
          values[(row - first + r) * depth + column + k] =
              segment.transposed ? piece[k * rowCount + r] : piece[r * columnCount + k];
    };
    if (llvm::Error error = readPieces(segment, first, first + count, 1, scratch, place))
      return error;
  }
  return llvm::Error::success();
}
