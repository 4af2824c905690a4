#pragma once
// Data sets of labelled images. Labels are 0..classes-1 whatever the files number them by, in the order of
// the files' own values (or folder names).
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

struct DataOptions {
  bool strict = false;       // a corrupt image is an Error instead of a counted warning
  int64_t image_size = 0;    // folders: side that images are cropped and resized to, up to max_side; 0: the
                             // size of the first image, or 224 if sizes differ
  int64_t max_side = 16384;  // largest image accepted, pixels
};

// One split, in memory.
struct ImageSet {
  Tensor images;                     // u8 [N, H, W, C], no axis empty, C at most 16 (kMaxChannels)
  Tensor labels;                     // i64 [N]
  std::vector<std::string> classes;  // names, or the files' own label values as text
  std::string source;                // what it was read from, for messages
  int64_t skipped = 0;               // corrupt images left out

  int64_t size() const { return images.defined() ? images.size(0) : 0; }
  int64_t channels() const { return images.size(3); }
};

struct ImageData {
  ImageSet train, test;  // test is empty when the source has no test split
  std::string format;    // "idx", "cifar10", "cifar100", "folder", "npy"
};

// Reads `path`, telling its format by what is there:
// - a folder with IDX files (train-images-idx3-ubyte[.gz] and its three companions)
// - a folder with CIFAR-10 binary batches (data_batch_1..5.bin, test_batch.bin) or CIFAR-100 ones (train.bin,
//   test.bin)
// - a folder with train/ and test/ (or val/), or directly with one folder of JPEG/PNG files per class; links
//   to a folder above are passed over
// - a folder with train.npy [, test.npy] [, train_labels.npy [, test_labels.npy]], or one .npy file: images
//   u8 or f32 in [0, 1], [N, H, W(, C)], C from 1 to 16; labels N whole numbers of any dtype. What views do
//   to other than three channels: views.h.
// Errors name the file, what was expected and what came.
ImageData load_images(const std::string& path, const DataOptions& options = {});

// The parts, for programs of their own.
Tensor load_idx(const std::string& path);  // u8, any rank; plain or gzip
std::vector<unsigned char> gunzip(std::span<const unsigned char> bytes, const std::string& what);
// Maps raw labels to 0..classes-1 by ascending value; both splits share one map, built from `train`. Error on
// a test label that train does not have, by its name where `test.classes` has it.
void compact_labels(ImageSet& train, ImageSet& test);

}  // namespace juxta::ssl
