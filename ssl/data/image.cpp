#include "ssl/data/image.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include "tensor/file.h"

namespace juxta::ssl {

namespace {

struct JpegFailure {
  jpeg_error_mgr base;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

void on_jpeg_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  info->err->format_message(info, failure->message);
  std::longjmp(failure->back, 1);
}

void check_size(int64_t width, int64_t height, const std::string& what, const ImageLimits& limits) {
  JX_CHECK(width > 0 && height > 0, what, ": an image of ", width, " x ", height, " pixels");
  JX_CHECK(width <= limits.max_side && height <= limits.max_side, what, ": ", width, " x ", height,
           " pixels; at most ", limits.max_side, " a side are accepted");
}

// libjpeg reports errors by longjmp: no object with a destructor lives between setjmp and the last libjpeg
// call.
bool decode_jpeg_into(std::span<const unsigned char> bytes, JpegFailure& failure,
                      jpeg_decompress_struct& info,
                      unsigned char* (*make)(void* context, int64_t h, int64_t w, int64_t c), void* context) {
  info.err = jpeg_std_error(&failure.base);
  failure.base.error_exit = on_jpeg_error;
  failure.base.emit_message = [](j_common_ptr i, int level) {
    // Level -1 is a corrupt-data warning: libjpeg would go on with grey filler; here the file counts as
    // damaged.
    if (level < 0) on_jpeg_error(i);
  };
  if (setjmp(failure.back)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
  const bool four = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = grey ? JCS_GRAYSCALE : four ? JCS_CMYK : JCS_RGB;
  unsigned char* out = make(context, info.image_height, info.image_width, grey ? 1 : four ? 4 : 3);
  if (!out) {
    std::strcpy(failure.message, "size");
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_start_decompress(&info);
  const size_t stride = static_cast<size_t>(info.output_width) * static_cast<size_t>(info.output_components);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = out + stride * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

// Adobe's CMYK JPEGs are stored inverted: RGB = C K / 255.
Tensor cmyk_to_rgb(const Tensor& cmyk) {
  Tensor rgb = Tensor::empty({cmyk.size(0), cmyk.size(1), 3}, DType::u8);
  const auto* in = cmyk.data<uint8_t>();
  auto* out = rgb.write<uint8_t>("decode_image");
  for (int64_t i = 0; i < cmyk.size(0) * cmyk.size(1); ++i)
    for (int64_t c = 0; c < 3; ++c)
      out[3 * i + c] = static_cast<uint8_t>(in[4 * i + c] * in[4 * i + 3] / 255);
  return rgb;
}

Tensor decode_jpeg(std::span<const unsigned char> bytes, const std::string& what, const ImageLimits& limits) {
  struct Context {
    const ImageLimits& limits;
    Tensor image;
    int64_t height = 0, width = 0;
  } context{limits, {}, 0, 0};
  JpegFailure failure;
  jpeg_decompress_struct info;
  const auto make = [](void* p, int64_t h, int64_t w, int64_t c) -> unsigned char* {
    auto* x = static_cast<Context*>(p);
    x->height = h;
    x->width = w;
    if (h > x->limits.max_side || w > x->limits.max_side) return nullptr;
    x->image = Tensor::empty({h, w, c}, DType::u8);
    return x->image.write<uint8_t>("decode_image");
  };
  if (!decode_jpeg_into(bytes, failure, info, make, &context)) {
    if (context.width > 0) check_size(context.width, context.height, what, limits);
    JX_FAIL(what, ": not a readable JPEG: ", failure.message);
  }
  return context.image.size(2) == 4 ? cmyk_to_rgb(context.image) : context.image;
}

Tensor decode_png(std::span<const unsigned char> bytes, const std::string& what, const ImageLimits& limits) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  JX_CHECK(png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()), what,
           ": not a readable PNG: ", png.message);
  struct Free {
    png_image* p;
    ~Free() { png_image_free(p); }
  } free_at_end{&png};
  check_size(png.width, png.height, what, limits);
  const bool colour = png.format & PNG_FORMAT_FLAG_COLOR;
  png.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Tensor image = Tensor::empty({png.height, png.width, colour ? 3 : 1}, DType::u8);
  png_color black{0, 0, 0};
  JX_CHECK(png_image_finish_read(&png, &black, image.write<uint8_t>("decode_image"), 0, nullptr), what,
           ": not a readable PNG: ", png.message);
  return image;
}

}  // namespace

Tensor decode_image(std::span<const unsigned char> bytes, const std::string& what,
                    const ImageLimits& limits) {
  if (bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8) return decode_jpeg(bytes, what, limits);
  if (bytes.size() >= 8 && std::memcmp(bytes.data(), "\x89PNG", 4) == 0)
    return decode_png(bytes, what, limits);
  JX_FAIL(what, ": neither a JPEG nor a PNG (", bytes.size(), " bytes)");
}

Tensor load_image(const std::string& path, const ImageLimits& limits) {
  return decode_image(read_file(path), path, limits);
}

std::vector<unsigned char> encode_png(const Tensor& image) {
  JX_CHECK(image.ndim() == 3 && image.dtype() == DType::u8 && (image.size(2) == 1 || image.size(2) == 3),
           "encode_png: expected u8 [H, W, 1 or 3], got ", image);
  const Tensor pixels = image.contiguous();
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.size(1));
  png.height = static_cast<png_uint_32>(image.size(0));
  png.format = image.size(2) == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t bytes = 0;
  JX_CHECK(png_image_write_to_memory(&png, nullptr, &bytes, 0, pixels.raw(), 0, nullptr),
           "encode_png: ", png.message);
  std::vector<unsigned char> out(bytes);
  JX_CHECK(png_image_write_to_memory(&png, out.data(), &bytes, 0, pixels.raw(), 0, nullptr),
           "encode_png: ", png.message);
  out.resize(bytes);
  return out;
}

}  // namespace juxta::ssl
