#pragma once
// The file formats that load_images() knows. Each reader fills raw labels (dataset.cpp compacts them) and
// class names where the format has them.
#include "ssl/data/dataset.h"

namespace juxta::ssl {

bool is_idx_folder(const std::string& path);
ImageData read_idx_folder(const std::string& path);  // LeCun's MNIST format
bool is_cifar_folder(const std::string& path);
ImageData read_cifar_folder(const std::string& path);  // Krizhevsky's binary version, planes R, G, B
ImageData read_npy_file(const std::string& path);      // images without labels: every label 0
ImageData read_npy_folder(const std::string& path);
ImageData read_image_folder(const std::string& path, const DataOptions& options);

}  // namespace juxta::ssl
