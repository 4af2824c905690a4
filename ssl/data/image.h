#pragma once
// Decoding of JPEG and PNG files (libjpeg-turbo, libpng) to 8-bit pixels, and PNG writing for reports.
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

struct ImageLimits {
  int64_t max_side = 16384;  // larger images are an Error before any pixel is decoded
};

// u8 [H, W, C], C = 1 (grey) or 3; alpha is composed over black, CMYK converted, 16 bits scaled to 8; chunks
// about gamma and colour spaces change nothing. The format is told by the first bytes. `what` names the
// source in errors.
Tensor decode_image(std::span<const unsigned char> bytes, const std::string& what,
                    const ImageLimits& limits = {});
Tensor load_image(const std::string& path, const ImageLimits& limits = {});
// u8 [H, W, 1 or 3] as PNG bytes.
std::vector<unsigned char> encode_png(const Tensor& image);

}  // namespace juxta::ssl
