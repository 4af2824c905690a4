#pragma once
// One drawing surface for two outputs: inline SVG, whose colours are CSS variables and so follow the page's
// light or dark scheme, and the Canvas behind a PNG, in the light scheme. A figure drawn through a Pen is the
// same in both.
#include <string>

#include "ssl/report/canvas.h"

namespace juxta::ssl {

// What a stroke is for; the colour follows from it. series(k): the k-th data colour, cyclic.
struct Ink {
  enum Kind { surface, text, muted, grid, data } kind = text;
  int index = 0;
};
inline Ink series(int k) { return {Ink::data, k}; }

// Data colours, told apart with the common colour-vision deficiencies (after Okabe & Ito, and Tol).
inline constexpr int kSeriesColours = 10;
Colour light_colour(Ink ink);
// CSS declarations of every colour, for :root in the light and in the dark scheme.
std::string css_colours(bool dark);

enum class Anchor { start, middle, end };

class Pen {
 public:
  virtual ~Pen() = default;
  virtual void polyline(std::span<const Point> points, double width, Ink ink, double opacity = 1) = 0;
  virtual void rect(double x, double y, double w, double h, Ink ink, double opacity = 1) = 0;
  virtual void dots(std::span<const Point> centres, double radius, Ink ink, double opacity = 1) = 0;
  // halo: an outline in the colour of the surface, in units.
  virtual void text(Point at, const std::string& text, double size, Ink ink, Anchor anchor = Anchor::start,
                    bool bold = false, double halo = 0) = 0;
  void line(Point a, Point b, double width, Ink ink, double opacity = 1) {
    const Point both[] = {a, b};
    polyline(both, width, ink, opacity);
  }
};

class CanvasPen : public Pen {
 public:
  explicit CanvasPen(Canvas& canvas) : canvas_(canvas) {}
  void polyline(std::span<const Point> points, double width, Ink ink, double opacity) override;
  void rect(double x, double y, double w, double h, Ink ink, double opacity) override;
  void dots(std::span<const Point> centres, double radius, Ink ink, double opacity) override;
  void text(Point at, const std::string& text, double size, Ink ink, Anchor anchor, bool bold,
            double halo) override;

 private:
  Canvas& canvas_;
};

class SvgPen : public Pen {
 public:
  // `label` names the figure for readers who do not see it.
  SvgPen(double width, double height, const std::string& label);
  std::string svg() const { return out_ + "</svg>\n"; }
  void polyline(std::span<const Point> points, double width, Ink ink, double opacity) override;
  void rect(double x, double y, double w, double h, Ink ink, double opacity) override;
  void dots(std::span<const Point> centres, double radius, Ink ink, double opacity) override;
  void text(Point at, const std::string& text, double size, Ink ink, Anchor anchor, bool bold,
            double halo) override;

 private:
  std::string out_;
};

// & < > " ' as entities; control characters other than newline and tab are dropped.
std::string escape_html(std::string_view text);

}  // namespace juxta::ssl
