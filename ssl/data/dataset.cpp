#include "ssl/data/dataset.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>

#include "kernels/augment.h"
#include "ssl/data/formats.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace fs = std::filesystem;

std::vector<unsigned char> gunzip(std::span<const unsigned char> bytes, const std::string& what) {
  z_stream z{};
  JX_CHECK(bytes.size() <= std::numeric_limits<uInt>::max(), what, ": more than 4 GiB of gzip data");
  JX_CHECK(inflateInit2(&z, 15 + 32) == Z_OK, what, ": cannot start zlib");
  struct End {
    z_stream* z;
    ~End() { inflateEnd(z); }
  } end{&z};
  std::vector<unsigned char> out(std::max<size_t>(bytes.size() * 4, 1 << 16));
  z.next_in = const_cast<Bytef*>(bytes.data());
  z.avail_in = static_cast<uInt>(bytes.size());
  size_t done = 0;
  for (;;) {
    if (done == out.size()) {
      JX_CHECK(out.size() < size_t{1} << 34, what, ": unpacks to more than 16 GiB");
      out.resize(out.size() * 2);
    }
    z.next_out = out.data() + done;
    z.avail_out = static_cast<uInt>(std::min<size_t>(out.size() - done, 1u << 30));
    const uInt room = z.avail_out;
    const int r = inflate(&z, Z_NO_FLUSH);
    done += room - z.avail_out;
    if (r == Z_STREAM_END) break;
    JX_CHECK(r == Z_OK && (z.avail_in > 0 || z.avail_out == 0), what, ": damaged or truncated gzip data",
             z.msg ? concat(" (", z.msg, ")") : "");
  }
  out.resize(done);
  return out;
}

Tensor load_idx(const std::string& path) {
  std::vector<unsigned char> bytes = read_file(path);
  if (bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) bytes = gunzip(bytes, path);
  JX_CHECK(bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 0, path, ": not an IDX file (wrong magic)");
  JX_CHECK(bytes[2] == 0x08, path, ": IDX element type ", static_cast<int>(bytes[2]),
           ", expected 8 (unsigned byte)");
  const size_t rank = bytes[3];
  JX_CHECK(rank >= 1 && rank <= 4, path, ": IDX rank ", rank, ", expected 1 to 4");
  JX_CHECK(bytes.size() >= 4 + 4 * rank, path, ": truncated IDX header");
  Dims dims;
  for (size_t i = 0; i < rank; ++i) {
    const unsigned char* p = bytes.data() + 4 + 4 * i;
    dims.push_back(int64_t{p[0]} << 24 | int64_t{p[1]} << 16 | int64_t{p[2]} << 8 | p[3]);
  }
  const size_t data = bytes.size() - 4 - 4 * rank;
  int64_t most = 1;
  for (const int64_t n : dims)
    JX_CHECK(!__builtin_mul_overflow(most, std::max<int64_t>(n, 1), &most), path, ": IDX of ", dims,
             " overflows 64 bits");
  JX_CHECK(numel(dims) == static_cast<int64_t>(data), path, ": IDX of ", dims, " needs ", numel(dims),
           " bytes, the file has ", data, "; is it truncated?");
  Tensor t = Tensor::empty(dims, DType::u8);
  if (data) std::memcpy(t.write("load_idx"), bytes.data() + 4 + 4 * rank, data);
  return t;
}

namespace {

std::string label_text(const ImageSet& set, int64_t value) {
  if (value >= 0 && value < static_cast<int64_t>(set.classes.size()))
    return "class '" + set.classes[static_cast<size_t>(value)] + "'";
  return "label " + std::to_string(value);
}

}  // namespace

void compact_labels(ImageSet& train, ImageSet& test) {
  std::map<int64_t, int64_t> order;
  const Tensor raw = train.labels.contiguous();
  for (int64_t i = 0; i < raw.numel(); ++i) order[raw.data<int64_t>()[i]] = 0;
  int64_t next = 0;
  const bool named = !train.classes.empty();
  std::vector<std::string> names;
  for (auto& [value, index] : order) {
    index = next++;
    names.push_back(named && value >= 0 && value < static_cast<int64_t>(train.classes.size())
                        ? train.classes[static_cast<size_t>(value)]
                        : std::to_string(value));
  }
  for (ImageSet* set : {&train, &test}) {
    if (!set->labels.defined()) continue;
    Tensor mapped = Tensor::empty({set->labels.numel()}, DType::i64);
    auto* out = mapped.write<int64_t>("compact_labels");
    const Tensor from = set->labels.contiguous();
    for (int64_t i = 0; i < from.numel(); ++i) {
      const int64_t value = from.data<int64_t>()[i];
      const auto it = order.find(value);
      JX_CHECK(it != order.end(), set->source, ": ", label_text(*set, value), " of image ", i,
               " does not occur in the training set");
      out[i] = it->second;
    }
    set->labels = mapped;
    set->classes = names;
  }
}

namespace {

void check_set(const ImageSet& set) {
  JX_CHECK(set.images.ndim() == 4 && set.images.numel() > 0 && set.channels() <= kMaxChannels, set.source,
           ": expected images [N, H, W, C] with H and W of at least 1 and C from 1 to ", kMaxChannels,
           ", got ", set.images, "; is the channel axis the last one?");
  JX_CHECK(set.labels.dims() == Dims({set.size()}), set.source, ": ", set.size(), " images but ",
           set.labels.numel(), " labels");
}

}  // namespace

ImageData load_images(const std::string& path, const DataOptions& options) {
  std::error_code code;
  JX_CHECK(fs::exists(path, code), "data: ", path, ": no such file or folder");
  // Once, here: every image of a folder would fail by it.
  JX_CHECK(options.image_size >= 0 && options.image_size <= options.max_side,
           "data.image_size: expected 1 to ", options.max_side, ", or 0 for the images' own size, got ",
           options.image_size);
  ImageData data;
  if (!fs::is_directory(path)) {
    JX_CHECK(path.size() > 4 && path.substr(path.size() - 4) == ".npy", "data: ", path,
             ": expected a folder or an .npy file");
    data = read_npy_file(path);
  } else if (is_idx_folder(path)) {
    data = read_idx_folder(path);
  } else if (is_cifar_folder(path)) {
    data = read_cifar_folder(path);
  } else if (fs::exists(path + "/train.npy")) {
    data = read_npy_folder(path);
  } else {
    data = read_image_folder(path, options);
  }
  JX_CHECK(data.train.size() > 0, "data: ", path, ": no images");
  check_set(data.train);
  if (data.test.size() > 0) {
    check_set(data.test);
    JX_CHECK(data.test.images.size(1) == data.train.images.size(1) &&
                 data.test.images.size(2) == data.train.images.size(2) &&
                 data.test.channels() == data.train.channels(),
             data.test.source, ": test images ", data.test.images.dims(), " differ from training images ",
             data.train.images.dims());
  }
  compact_labels(data.train, data.test);
  return data;
}

}  // namespace juxta::ssl
