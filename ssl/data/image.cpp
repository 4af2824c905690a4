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

// The decoded image and the limits it has to keep.
struct Pixels {
  const ImageLimits& limits;
  Tensor image;
  int64_t height = 0, width = 0;
};

// Memory for an image of h x w x c; null when it is too large. A plain function for the decoders in C.
using MakePixels = unsigned char* (*)(void* pixels, int64_t h, int64_t w, int64_t c);
unsigned char* make_pixels(void* pixels, int64_t h, int64_t w, int64_t c) {
  auto* p = static_cast<Pixels*>(pixels);
  p->height = h;
  p->width = w;
  if (h > p->limits.max_side || w > p->limits.max_side) return nullptr;
  p->image = Tensor::empty({h, w, c}, DType::u8);
  return p->image.write<uint8_t>("decode_image");
}

// libjpeg reports errors by longjmp: no object with a destructor lives between setjmp and the last libjpeg
// call.
bool decode_jpeg_into(std::span<const unsigned char> bytes, JpegFailure& failure,
                      jpeg_decompress_struct& info, MakePixels make, void* context) {
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
  Pixels pixels{limits, {}, 0, 0};
  JpegFailure failure;
  jpeg_decompress_struct info;
  if (!decode_jpeg_into(bytes, failure, info, make_pixels, &pixels)) {
    if (pixels.width > 0) check_size(pixels.width, pixels.height, what, limits);
    JX_FAIL(what, ": not a readable JPEG: ", failure.message);
  }
  return pixels.image.size(2) == 4 ? cmyk_to_rgb(pixels.image) : pixels.image;
}

struct PngInput {
  std::span<const unsigned char> rest;
  char message[128];
};

void on_png_error(png_structp png, png_const_charp text) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::snprintf(input->message, sizeof input->message, "%s", text);
  png_longjmp(png, 1);
}

void next_png_bytes(png_structp png, png_bytep out, size_t n) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (n > input->rest.size()) png_error(png, "the file ends early");
  std::memcpy(out, input->rest.data(), n);
  input->rest = input->rest.subspan(n);
}

// Rows of 8-bit samples as stored, 1 to 4 channels. libpng's simplified interface would take 16 bits for
// linear light and convert them; here they are scaled, and chunks about colour change nothing. As with
// libjpeg, errors jump: no object with a destructor lives here.
bool decode_png_into(PngInput& input, MakePixels make, void* context) {
  std::strcpy(input.message, "out of memory");
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, on_png_error,
                                           [](png_structp, png_const_charp) {});  // silent
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  const size_t size = input.rest.size();
  png_set_read_fn(png, &input, next_png_bytes);
  png_read_info(png, info);
  const png_uint_32 height = png_get_image_height(png, info), width = png_get_image_width(png, info);
  // Deflate packs at most 1032 to 1: a small file that promises more must not have memory for it.
  if (png_get_rowbytes(png, info) > 1032 * size / height)
    png_error(png, "the file is too short for its size");
  png_set_expand(png);    // palettes to colours, 1 to 4 bits to 8, a transparent colour to alpha
  png_set_scale_16(png);  // v 255 / 65535, rounded
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  unsigned char* out = make(context, height, width, png_get_channels(png, info));
  if (!out) png_error(png, "size");
  const size_t stride = png_get_rowbytes(png, info);
  for (int pass = 0; pass < passes; ++pass)
    for (png_uint_32 y = 0; y < height; ++y) png_read_row(png, out + stride * y, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

// The last channel is alpha: c alpha / 255, over black.
Tensor over_black(const Tensor& image) {
  const int64_t channels = image.size(2) - 1;
  Tensor opaque = Tensor::empty({image.size(0), image.size(1), channels}, DType::u8);
  const auto* in = image.data<uint8_t>();
  auto* out = opaque.write<uint8_t>("decode_image");
  for (int64_t i = 0; i < image.size(0) * image.size(1); ++i, in += channels + 1)
    for (int64_t c = 0; c < channels; ++c) *out++ = static_cast<uint8_t>((in[c] * in[channels] + 127) / 255);
  return opaque;
}

Tensor decode_png(std::span<const unsigned char> bytes, const std::string& what, const ImageLimits& limits) {
  Pixels pixels{limits, {}, 0, 0};
  PngInput input{bytes, {}};
  if (!decode_png_into(input, make_pixels, &pixels)) {
    if (pixels.width > 0) check_size(pixels.width, pixels.height, what, limits);
    JX_FAIL(what, ": not a readable PNG: ", input.message);
  }
  return pixels.image.size(2) % 2 == 0 ? over_black(pixels.image) : pixels.image;
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
