#include "ssl/report/canvas.h"

#include <algorithm>
#include <cmath>

#include "ssl/data/image.h"

namespace juxta::ssl {

namespace {

int64_t side_in_pixels(double side, double scale) {
  const double pixels = std::round(side * scale);
  JX_CHECK(pixels >= 1 && pixels <= 16384, "Canvas: a side of ", pixels, " pixels; expected 1..16384");
  return static_cast<int64_t>(pixels);
}

bool finite(Point p) { return std::isfinite(p.x) && std::isfinite(p.y); }

// Distance of (x, y) to the segment from a to b.
double segment_distance(double x, double y, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, len2 = dx * dx + dy * dy;
  const double t = len2 > 0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / len2, 0.0, 1.0) : 0.0;
  return std::hypot(x - a.x - t * dx, y - a.y - t * dy);
}

// Share of the pixel [p, p + 1) that lies in [lo, hi).
double overlap(int64_t p, double lo, double hi) {
  const auto a = static_cast<double>(p);
  return std::clamp(std::min(hi, a + 1) - std::max(lo, a), 0.0, 1.0);
}

}  // namespace

Canvas::Canvas(double width, double height, double scale, Colour background)
    : width_(side_in_pixels(width, scale)),
      height_(side_in_pixels(height, scale)),
      scale_(scale),
      rgb_(static_cast<size_t>(width_ * height_ * 3)),
      cover_(static_cast<size_t>(width_ * height_), 0.0f),
      x0_(width_),
      y0_(height_),
      x1_(0),
      y1_(0) {
  for (size_t i = 0; i < rgb_.size(); i += 3) {
    rgb_[i] = background.r;
    rgb_[i + 1] = background.g;
    rgb_[i + 2] = background.b;
  }
}

void Canvas::blend(int64_t x, int64_t y, Colour colour, double cover) {
  unsigned char* p = &rgb_[static_cast<size_t>((y * width_ + x) * 3)];
  const auto mix = [cover](unsigned char old, unsigned char now) {
    return static_cast<unsigned char>(std::lround(old + (now - old) * cover));
  };
  p[0] = mix(p[0], colour.r);
  p[1] = mix(p[1], colour.g);
  p[2] = mix(p[2], colour.b);
}

// Coverage is the maximum over segments: joints of one line are not painted twice.
void Canvas::cover_segment(Point a, Point b, double radius) {
  const auto lo = [](double v) { return std::max<int64_t>(0, static_cast<int64_t>(std::floor(v))); };
  const auto hi = [](double v, int64_t n) {
    return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(std::min(v, 1e6))), 0, n);
  };
  const int64_t x0 = lo(std::max(-1e6, std::min(a.x, b.x) - radius - 1));
  const int64_t y0 = lo(std::max(-1e6, std::min(a.y, b.y) - radius - 1));
  const int64_t x1 = hi(std::max(a.x, b.x) + radius + 1, width_);
  const int64_t y1 = hi(std::max(a.y, b.y) + radius + 1, height_);
  for (int64_t y = y0; y < y1; ++y) {
    float* row = &cover_[static_cast<size_t>(y * width_)];
    for (int64_t x = x0; x < x1; ++x) {
      const double d = segment_distance(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5, a, b);
      row[x] = std::max(row[x], static_cast<float>(std::clamp(radius - d + 0.5, 0.0, 1.0)));
    }
  }
  x0_ = std::min(x0_, x0);
  y0_ = std::min(y0_, y0);
  x1_ = std::max(x1_, x1);
  y1_ = std::max(y1_, y1);
}

void Canvas::blend_cover(Colour colour, double opacity) {
  for (int64_t y = y0_; y < y1_; ++y)
    for (int64_t x = x0_; x < x1_; ++x) {
      float& c = cover_[static_cast<size_t>(y * width_ + x)];
      if (c > 0) blend(x, y, colour, c * opacity);
      c = 0;
    }
  x0_ = width_;
  y0_ = height_;
  x1_ = y1_ = 0;
}

void Canvas::polyline(std::span<const Point> points, double width, Colour colour, double opacity) {
  const auto px = [this](Point p) { return Point{p.x * scale_, p.y * scale_}; };
  const double radius = width * scale_ / 2;
  for (size_t i = 0; i < points.size(); ++i) {
    if (!finite(points[i])) continue;
    const bool joined = i + 1 < points.size() && finite(points[i + 1]);
    // A point between two gaps is drawn as a dot.
    if (joined || i == 0 || !finite(points[i - 1]))
      cover_segment(px(points[i]), px(joined ? points[i + 1] : points[i]), radius);
  }
  blend_cover(colour, opacity);
}

void Canvas::line(Point a, Point b, double width, Colour colour, double opacity) {
  const Point both[] = {a, b};
  polyline(both, width, colour, opacity);
}

void Canvas::circle(Point centre, double radius, Colour colour, double opacity) {
  line(centre, centre, 2 * radius, colour, opacity);
}

void Canvas::rect(double x, double y, double w, double h, Colour colour, double opacity) {
  if (!(w > 0) || !(h > 0)) return;
  const double left = std::clamp(x * scale_, 0.0, static_cast<double>(width_));
  const double right = std::clamp((x + w) * scale_, 0.0, static_cast<double>(width_));
  const double top = std::clamp(y * scale_, 0.0, static_cast<double>(height_));
  const double bottom = std::clamp((y + h) * scale_, 0.0, static_cast<double>(height_));
  for (auto py = static_cast<int64_t>(top); static_cast<double>(py) < bottom; ++py)
    for (auto px = static_cast<int64_t>(left); static_cast<double>(px) < right; ++px)
      blend(px, py, colour, overlap(px, left, right) * overlap(py, top, bottom) * opacity);
}

void Canvas::frame(double x, double y, double w, double h, double width, Colour colour) {
  rect(x, y, w, width, colour);
  rect(x, y + h - width, w, width, colour);
  rect(x, y + width, width, h - 2 * width, colour);
  rect(x + w - width, y + width, width, h - 2 * width, colour);
}

void Canvas::text(Point at, std::string_view text, double size, Colour colour, double weight, double halo,
                  Colour halo_colour) {
  const std::vector<Stroke> strokes = text_strokes(text, size);
  const auto draw = [&](double width, Colour c) {
    for (const Stroke& s : strokes)
      for (size_t i = 0; i + 1 < s.size(); ++i)
        cover_segment({(at.x + s[i].x) * scale_, (at.y + s[i].y) * scale_},
                      {(at.x + s[i + 1].x) * scale_, (at.y + s[i + 1].y) * scale_}, width * scale_ / 2);
    blend_cover(c, 1);
  };
  if (halo > 0) draw(weight * size + 2 * halo, halo_colour);
  draw(weight * size, colour);
}

void Canvas::image(double x, double y, double w, double h, const Tensor& pixels) {
  JX_CHECK(pixels.dtype() == DType::u8 && pixels.ndim() == 3 && (pixels.size(2) == 1 || pixels.size(2) == 3),
           "Canvas::image: expected u8 [H, W, 1 or 3], got ", to_text(pixels));
  const Tensor source = pixels.contiguous();
  const auto* in = source.data<unsigned char>();
  const int64_t sh = source.size(0), sw = source.size(1), c = source.size(2);
  const auto left = static_cast<int64_t>(std::lround(x * scale_));
  const auto top = static_cast<int64_t>(std::lround(y * scale_));
  const auto tw = std::max<int64_t>(1, std::lround(w * scale_));
  const auto th = std::max<int64_t>(1, std::lround(h * scale_));
  // Source pixels [first, last) that one target pixel stands for.
  const auto first = [](int64_t t, int64_t n, int64_t m) { return t * n / m; };
  const auto last = [](int64_t t, int64_t n, int64_t m) { return std::max(t * n / m + 1, (t + 1) * n / m); };
  for (int64_t ty = 0; ty < th; ++ty)
    for (int64_t tx = 0; tx < tw; ++tx) {
      const int64_t px = left + tx, py = top + ty;
      if (px < 0 || py < 0 || px >= width_ || py >= height_) continue;
      const int64_t u0 = first(tx, sw, tw), u1 = last(tx, sw, tw), v0 = first(ty, sh, th),
                    v1 = last(ty, sh, th);
      int64_t sum[3] = {0, 0, 0};
      for (int64_t v = v0; v < v1; ++v)
        for (int64_t u = u0; u < u1; ++u)
          for (int64_t k = 0; k < 3; ++k) sum[k] += in[(v * sw + u) * c + (c == 3 ? k : 0)];
      const int64_t n = (u1 - u0) * (v1 - v0);
      for (int64_t k = 0; k < 3; ++k)
        rgb_[static_cast<size_t>((py * width_ + px) * 3 + k)] =
            static_cast<unsigned char>((sum[k] + n / 2) / n);
    }
}

Tensor Canvas::pixels() const {
  return Tensor::from(std::span<const unsigned char>(rgb_), {height_, width_, 3});
}

std::vector<unsigned char> Canvas::png() const { return encode_png(pixels()); }

Tensor shrink_to(const Tensor& image, int64_t side) {
  Tensor source = image.contiguous();
  const int64_t h = source.size(0), w = source.size(1), c = source.size(2);
  const int64_t factor = (std::max(h, w) + side - 1) / side;
  if (factor <= 1) return source;
  const int64_t oh = std::max<int64_t>(1, h / factor), ow = std::max<int64_t>(1, w / factor);
  Tensor out = Tensor::empty({oh, ow, c}, DType::u8);
  const auto* in = source.data<unsigned char>();
  auto* o = out.write<unsigned char>("shrink_to");
  for (int64_t y = 0; y < oh; ++y)
    for (int64_t x = 0; x < ow; ++x)
      for (int64_t k = 0; k < c; ++k) {
        int64_t sum = 0, n = 0;
        for (int64_t v = y * factor; v < std::min((y + 1) * factor, h); ++v)
          for (int64_t u = x * factor; u < std::min((x + 1) * factor, w); ++u, ++n)
            sum += in[(v * w + u) * c + k];
        *o++ = static_cast<unsigned char>((sum + n / 2) / n);
      }
  return out;
}

std::string base64(std::span<const unsigned char> bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) {
      return i + k < bytes.size() ? static_cast<uint32_t>(bytes[i + k]) : 0u;
    };
    const uint32_t word = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += kAlphabet[word >> 18];
    out += kAlphabet[word >> 12 & 63];
    out += i + 1 < bytes.size() ? kAlphabet[word >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kAlphabet[word & 63] : '=';
  }
  return out;
}

}  // namespace juxta::ssl
