#include "ssl/data/formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ssl/data/image.h"
#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace fs = std::filesystem;

namespace {

// `stem` or `stem`.gz in the folder; empty when neither is there.
std::string plain_or_gz(const std::string& folder, const std::string& stem) {
  for (const char* suffix : {"", ".gz"})
    if (fs::exists(folder + "/" + stem + suffix)) return folder + "/" + stem + suffix;
  return {};
}

Tensor grey_images(const Tensor& t) {
  return t.ndim() == 3 ? t.view({t.size(0), t.size(1), t.size(2), 1}) : t;
}

ImageSet read_idx_pair(const std::string& folder, const std::string& prefix) {
  ImageSet set;
  const std::string images = plain_or_gz(folder, prefix + "-images-idx3-ubyte");
  const std::string labels = plain_or_gz(folder, prefix + "-labels-idx1-ubyte");
  JX_CHECK(!images.empty(), "data: ", folder, ": ", prefix, "-images-idx3-ubyte[.gz] is missing");
  JX_CHECK(!labels.empty(), "data: ", folder, ": ", prefix, "-labels-idx1-ubyte[.gz] is missing");
  set.source = images;
  const Tensor pixels = load_idx(images), values = load_idx(labels);
  JX_CHECK(pixels.ndim() == 3, images, ": expected images [N, H, W], got ", pixels);
  JX_CHECK(values.ndim() == 1, labels, ": expected labels [N], got ", values);
  set.images = grey_images(pixels);
  set.labels = values.to(DType::i64);
  return set;
}

struct CifarLayout {
  int64_t label_bytes;  // 1, or 2 with the coarse label first
  std::vector<std::string> train;
  std::string test, names;
};
constexpr int64_t kCifarPixels = 3072;

ImageSet read_cifar(const std::string& folder, const std::vector<std::string>& files, int64_t label_bytes) {
  const int64_t record = kCifarPixels + label_bytes;
  std::vector<std::vector<unsigned char>> contents;
  int64_t n = 0;
  for (const std::string& f : files) {
    contents.push_back(read_file(folder + "/" + f));
    const auto bytes = static_cast<int64_t>(contents.back().size());
    JX_CHECK(bytes > 0 && bytes % record == 0, folder, "/", f, ": ", bytes, " bytes, expected a multiple of ",
             record, " (one record an image); is it truncated?");
    n += bytes / record;
  }
  ImageSet set;
  set.source = folder + "/" + files[0];
  set.images = Tensor::empty({n, 32, 32, 3}, DType::u8);
  set.labels = Tensor::empty({n}, DType::i64);
  auto* pixels = set.images.write<uint8_t>("read_cifar");
  auto* labels = set.labels.write<int64_t>("read_cifar");
  for (const auto& bytes : contents) {
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(record)) {
      *labels++ = bytes[at + static_cast<size_t>(label_bytes) - 1];
      const unsigned char* planes = bytes.data() + at + label_bytes;
      for (int64_t i = 0; i < 1024; ++i)
        for (int64_t c = 0; c < 3; ++c) *pixels++ = planes[c * 1024 + i];
    }
  }
  return set;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

Tensor npy_images(const std::string& path) {
  Tensor t = load_npy(path);
  JX_CHECK(t.ndim() == 3 || t.ndim() == 4, path, ": expected images [N, H, W] or [N, H, W, C], got ", t);
  if (t.dtype() != DType::u8) {
    JX_CHECK(t.dtype() == DType::f32 || t.dtype() == DType::f64, path,
             ": expected u8, or f32 in [0, 1], got ", t);
    const Tensor f = t.to(DType::f32);
    t = Tensor::empty(f.dims(), DType::u8);
    auto* out = t.write<uint8_t>("npy_images");
    for (int64_t i = 0; i < f.numel(); ++i) {
      const float v = f.data<float>()[i];
      JX_CHECK(v >= 0.0f && v <= 1.0f, path, ": value ", static_cast<double>(v), " at element ", i,
               ": float images must lie in [0, 1]");
      out[i] = static_cast<uint8_t>(std::lround(v * 255.0f));
    }
  }
  return grey_images(t);
}

// The labels of n images: whole numbers [n], of any integer dtype or of floats without fractions.
Tensor npy_labels(const std::string& path, int64_t n) {
  const Tensor t = load_npy(path);
  JX_CHECK(t.dims() == Dims({n}), path, ": expected labels [", n, "], one for each image, got ", t);
  if (!is_float(t.dtype())) return t.to(DType::i64);
  const Tensor values = t.to(DType::f64);
  constexpr double kExact = 9007199254740992.0;  // 2^53: from there on doubles skip whole numbers
  for (int64_t i = 0; i < n; ++i) {
    const double v = values.data<double>()[i];
    JX_CHECK(v == std::floor(v) && std::abs(v) < kExact, path, ": label ", v, " of image ", i,
             ": expected whole numbers");
  }
  return values.to(DType::i64);
}

// `labels` empty: there are none, and every image is of class 0.
ImageSet read_npy_split(const std::string& images, const std::string& labels) {
  ImageSet set;
  set.source = images;
  set.images = npy_images(images);
  set.labels = labels.empty() ? Tensor::zeros({set.size()}, DType::i64) : npy_labels(labels, set.size());
  return set;
}

bool is_image_name(const fs::path& p) {
  std::string e = p.extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return std::tolower(c); });
  return e == ".jpg" || e == ".jpeg" || e == ".png";
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> list;
  for (const auto& e : fs::directory_iterator(folder)) list.push_back(e.path());
  std::sort(list.begin(), list.end());
  return list;
}

struct Found {
  fs::path path;
  int64_t label;
};

// Is `sub` a link to `folder` or to one above it, below which every image would be found again? Links to
// folders elsewhere are classes like others.
bool leads_back(const fs::path& sub, const fs::path& folder) {
  if (!fs::is_symlink(sub)) return false;
  const fs::path target = fs::canonical(sub), here = fs::canonical(folder);
  return std::mismatch(target.begin(), target.end(), here.begin(), here.end()).first == target.end();
}

// Image files below each class folder, in name order.
std::vector<Found> find_images(const std::string& folder, std::vector<std::string>& classes) {
  std::vector<Found> found;
  std::error_code code;  // links that lead nowhere are neither folders nor files
  for (const fs::path& sub : sorted_entries(folder)) {
    if (!fs::is_directory(sub, code) || leads_back(sub, folder)) continue;
    std::vector<fs::path> files;
    for (const auto& e : fs::recursive_directory_iterator(sub))
      if (e.is_regular_file(code) && is_image_name(e.path())) files.push_back(e.path());
    if (files.empty()) continue;
    std::sort(files.begin(), files.end());
    const std::string name = sub.filename().string();
    auto at = std::find(classes.begin(), classes.end(), name);
    if (at == classes.end()) at = classes.insert(classes.end(), name);
    for (fs::path& f : files) found.push_back({std::move(f), at - classes.begin()});
  }
  return found;
}

// Centre crop to a square, then area-weighted resize to side x side (sharp when shrinking, bilinear when
// enlarging).
void fit_square(const Tensor& image, int64_t side, int64_t channels, uint8_t* out) {
  const int64_t h = image.size(0), w = image.size(1), c_in = image.size(2), s = std::min(h, w);
  const int64_t y0 = (h - s) / 2, x0 = (w - s) / 2;
  const auto* p = image.data<uint8_t>();
  const double scale = static_cast<double>(s) / static_cast<double>(side), reach = std::max(scale, 1.0);
  for (int64_t oy = 0; oy < side; ++oy) {
    for (int64_t ox = 0; ox < side; ++ox) {
      const double cy = (oy + 0.5) * scale - 0.5, cx = (ox + 0.5) * scale - 0.5;
      double sum[3] = {0, 0, 0}, weight = 0;
      for (auto iy = static_cast<int64_t>(std::ceil(cy - reach)); iy <= cy + reach; ++iy) {
        const double wy = 1.0 - std::abs(static_cast<double>(iy) - cy) / reach;
        for (auto ix = static_cast<int64_t>(std::ceil(cx - reach)); wy > 0 && ix <= cx + reach; ++ix) {
          const double wgt = wy * (1.0 - std::abs(static_cast<double>(ix) - cx) / reach);
          if (wgt <= 0) continue;
          const int64_t sy = y0 + std::clamp<int64_t>(iy, 0, s - 1),
                        sx = x0 + std::clamp<int64_t>(ix, 0, s - 1);
          for (int64_t c = 0; c < c_in; ++c) sum[c] += wgt * p[(sy * w + sx) * c_in + c];
          weight += wgt;
        }
      }
      for (int64_t c = 0; c < channels; ++c) {
        double v = sum[c_in == 1 ? 0 : c];
        if (channels == 1 && c_in == 3) v = 0.299 * sum[0] + 0.587 * sum[1] + 0.114 * sum[2];
        *out++ = static_cast<uint8_t>(std::lround(v / weight));
      }
    }
  }
}

int64_t choose_side(const std::vector<Found>& found, const DataOptions& options) {
  if (options.image_size > 0) return options.image_size;
  int64_t side = 0;
  for (size_t i = 0; i < found.size(); i += std::max<size_t>(1, found.size() / 16)) {
    try {
      const Tensor t = load_image(found[i].path.string(), {options.max_side});
      if (t.size(0) != t.size(1) || (side && t.size(0) != side)) return 224;
      side = t.size(0);
    } catch (const Error&) {  // the full pass reports it
    }
  }
  return side ? side : 224;
}

ImageSet read_class_folders(const std::string& folder, std::vector<std::string>& classes, int64_t& side,
                            int64_t& channels, const DataOptions& options) {
  const std::vector<Found> found = find_images(folder, classes);
  ImageSet set;
  set.source = folder;
  if (found.empty()) return set;
  if (!side) side = choose_side(found, options);
  std::vector<Tensor> decoded(found.size());
  std::vector<std::string> errors(found.size());
  parallel_for(static_cast<int64_t>(found.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto k = static_cast<size_t>(i);
      try {
        const Tensor t = load_image(found[k].path.string(), {options.max_side});
        decoded[k] = Tensor::empty({side, side, t.size(2)}, DType::u8);
        fit_square(t, side, t.size(2), decoded[k].write<uint8_t>("read_image_folder"));
      } catch (const Error& e) {
        errors[k] = e.what();
      }
    }
  });
  std::vector<size_t> good;
  std::string first;  // what is wrong with the first bad one
  for (size_t k = 0; k < found.size(); ++k) {
    if (errors[k].empty()) {
      good.push_back(k);
      if (!channels || decoded[k].size(2) > channels) channels = decoded[k].size(2);
      continue;
    }
    JX_CHECK(!options.strict, errors[k], " (--strict)");
    if (set.skipped++ == 0) first = errors[k];
  }
  JX_CHECK(!good.empty(), folder, ": none of ", found.size(), " images can be read; the first: ", first);
  if (set.skipped > 0)
    std::fprintf(stderr, "juxta: warning: left out %lld of %zu images below %s; %s%s\n",
                 static_cast<long long>(set.skipped), found.size(), folder.c_str(),
                 set.skipped > 1 ? "the first: " : "", first.c_str());
  set.images = Tensor::empty({static_cast<int64_t>(good.size()), side, side, channels}, DType::u8);
  set.labels = Tensor::empty({static_cast<int64_t>(good.size())}, DType::i64);
  for (size_t k = 0; k < good.size(); ++k) {
    Tensor slot = set.images.select(0, static_cast<int64_t>(k));
    slot.copy_from(decoded[good[k]].expand({side, side, channels}), "read_image_folder");
    set.labels.write<int64_t>("read_image_folder")[k] = found[good[k]].label;
  }
  return set;
}

}  // namespace

bool is_idx_folder(const std::string& path) { return !plain_or_gz(path, "train-images-idx3-ubyte").empty(); }

ImageData read_idx_folder(const std::string& path) {
  return {read_idx_pair(path, "train"), read_idx_pair(path, "t10k"), "idx"};
}

bool is_cifar_folder(const std::string& path) {
  return fs::exists(path + "/data_batch_1.bin") ||
         (fs::exists(path + "/train.bin") && fs::exists(path + "/test.bin"));
}

ImageData read_cifar_folder(const std::string& path) {
  const bool ten = fs::exists(path + "/data_batch_1.bin");
  std::vector<std::string> files{"train.bin"};
  if (ten) {
    files.clear();
    for (int i = 1; i <= 5; ++i) files.push_back("data_batch_" + std::to_string(i) + ".bin");
  }
  ImageData data{read_cifar(path, files, ten ? 1 : 2),
                 read_cifar(path, {ten ? "test_batch.bin" : "test.bin"}, ten ? 1 : 2),
                 ten ? "cifar10" : "cifar100"};
  data.train.classes = read_lines(path + (ten ? "/batches.meta.txt" : "/fine_label_names.txt"));
  return data;
}

ImageData read_npy_file(const std::string& path) { return {read_npy_split(path, ""), {}, "npy"}; }

ImageData read_npy_folder(const std::string& path) {
  // Labels of one split alone would have the other's images taken for class 0.
  const std::string test_labels = path + "/test_labels.npy";
  std::string labels = path + "/train_labels.npy";
  const bool labelled = fs::exists(labels), tested = fs::exists(path + "/test.npy");
  JX_CHECK(!tested || labelled == fs::exists(test_labels), "data: ", path, ": expected train_labels.npy and ",
           "test_labels.npy, or neither; ", labelled ? "test" : "train", "_labels.npy is missing");
  if (!labelled) labels.clear();
  ImageData data{read_npy_split(path + "/train.npy", labels), {}, "npy"};
  if (tested) data.test = read_npy_split(path + "/test.npy", labelled ? test_labels : "");
  return data;
}

ImageData read_image_folder(const std::string& path, const DataOptions& options) {
  const bool split = fs::is_directory(path + "/train");
  std::vector<std::string> classes;
  int64_t side = options.image_size, channels = 0;
  ImageData data;
  data.format = "folder";
  data.train = read_class_folders(split ? path + "/train" : path, classes, side, channels, options);
  JX_CHECK(data.train.size() > 0, "data: ", path,
           ": neither IDX files, CIFAR batches, .npy files nor folders of images (one ",
           "folder per class) are there");
  data.train.classes = classes;
  for (const char* name : {"/test", "/val"}) {
    if (!split || !fs::is_directory(path + name)) continue;
    data.test = read_class_folders(path + name, classes, side, channels, options);
    data.test.classes = classes;  // with those that only it has
    if (data.test.size() > 0) break;
  }
  return data;
}

}  // namespace juxta::ssl
