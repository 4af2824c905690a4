#pragma once
// A small RGB raster for figures: anti-aliased by the exact distance of each pixel to the shape, so nothing
// is rendered twice. Coordinates are logical units, x to the right, y down; one unit is `scale` pixels.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ssl/report/font.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct Colour {
  unsigned char r = 0, g = 0, b = 0;
};

class Canvas {
 public:
  // Error unless width and height are in 1..16384 pixels after scaling.
  Canvas(double width, double height, double scale = 2, Colour background = {255, 255, 255});

  int64_t width() const { return width_; }    // pixels
  int64_t height() const { return height_; }  // pixels

  // Shapes outside the canvas are clipped; opacity is 0..1. Points that are not finite break a polyline.
  void polyline(std::span<const Point> points, double width, Colour colour, double opacity = 1);
  void line(Point a, Point b, double width, Colour colour, double opacity = 1);
  void rect(double x, double y, double w, double h, Colour colour, double opacity = 1);
  void frame(double x, double y, double w, double h, double width, Colour colour);  // drawn inside the box
  void circle(Point centre, double radius, Colour colour, double opacity = 1);
  // Text with its baseline at `at`. weight: pen width as a share of the size. halo: width of an outline in
  // `halo_colour` under the text, to keep it readable over points.
  void text(Point at, std::string_view text, double size, Colour colour, double weight = 0.085,
            double halo = 0, Colour halo_colour = {255, 255, 255});
  // u8 [H, W, 1 or 3] stretched over the box: nearest pixel when it grows, mean of the covered ones when it
  // shrinks.
  void image(double x, double y, double w, double h, const Tensor& pixels);

  Tensor pixels() const;                   // u8 [height, width, 3]
  std::vector<unsigned char> png() const;  // bytes of a PNG file

 private:
  void cover_segment(Point a, Point b, double radius);
  void blend_cover(Colour colour, double opacity);
  void blend(int64_t x, int64_t y, Colour colour, double cover);

  int64_t width_, height_;
  double scale_;
  std::vector<unsigned char> rgb_;
  // Coverage of the shape in work, and the box of pixels it touches.
  std::vector<float> cover_;
  int64_t x0_, y0_, x1_, y1_;
};

// u8 [H, W, C] shrunk by an integer factor (mean of blocks) until both sides are at most `side`.
Tensor shrink_to(const Tensor& image, int64_t side);

std::string base64(std::span<const unsigned char> bytes);  // RFC 4648, with padding

}  // namespace juxta::ssl
