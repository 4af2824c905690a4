#include "ssl/report/pen.h"

#include <cmath>
#include <cstdio>

namespace juxta::ssl {

namespace {

struct Pair {
  uint32_t light, dark;
};
// Light and dark twin of each data colour: blue, vermilion, green, purple, amber, sky, wine, olive, indigo,
// grey.
constexpr Pair kSeries[kSeriesColours] = {{0x0072B2, 0x4AAEE6}, {0xD55E00, 0xF28444}, {0x009E73, 0x2FC79B},
                                          {0xB8559A, 0xE595C8}, {0xE69F00, 0xF2B84B}, {0x56B4E9, 0xA3DAF9},
                                          {0x882255, 0xD46A98}, {0x8A8A1F, 0xC6C65E}, {0x3D348B, 0x9389EE},
                                          {0x7F7F7F, 0xA6A6A6}};
// surface, text, muted, grid.
constexpr Pair kInks[4] = {
    {0xFFFFFF, 0x15191E}, {0x1B2027, 0xE8EBEF}, {0x5C6672, 0x9BA6B2}, {0xE3E7EB, 0x2C333B}};

Pair pair_of(Ink ink) {
  return ink.kind == Ink::data ? kSeries[ink.index % kSeriesColours] : kInks[ink.kind];
}

std::string hex(uint32_t rgb) {
  char text[8];
  std::snprintf(text, sizeof text, "#%06x", rgb);
  return text;
}

std::string name_of(Ink ink) {
  static constexpr const char* kNames[] = {"--surface", "--text", "--muted", "--grid"};
  return ink.kind == Ink::data ? concat("--s", ink.index % kSeriesColours) : kNames[ink.kind];
}

// A number for SVG: two decimals at most, no trailing zeros.
std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", v);
  std::string s = text;
  while (s.back() == '0') s.pop_back();
  if (s.back() == '.') s.pop_back();
  return s == "-0" ? "0" : s;
}

std::string opacity_of(double opacity) {
  return opacity < 1 ? concat("\" opacity=\"", number(opacity)) : std::string();
}

}  // namespace

Colour light_colour(Ink ink) {
  const uint32_t c = pair_of(ink).light;
  return {static_cast<unsigned char>(c >> 16), static_cast<unsigned char>(c >> 8 & 255),
          static_cast<unsigned char>(c & 255)};
}

std::string css_colours(bool dark) {
  std::string css;
  const auto add = [&](Ink ink) {
    const Pair p = pair_of(ink);
    css += name_of(ink) + ":" + hex(dark ? p.dark : p.light) + ";";
  };
  for (Ink::Kind k : {Ink::surface, Ink::text, Ink::muted, Ink::grid}) add({k, 0});
  for (int k = 0; k < kSeriesColours; ++k) add(series(k));
  return css;
}

void CanvasPen::polyline(std::span<const Point> points, double width, Ink ink, double opacity) {
  canvas_.polyline(points, width, light_colour(ink), opacity);
}
void CanvasPen::rect(double x, double y, double w, double h, Ink ink, double opacity) {
  canvas_.rect(x, y, w, h, light_colour(ink), opacity);
}
void CanvasPen::dots(std::span<const Point> centres, double radius, Ink ink, double opacity) {
  for (const Point& c : centres) canvas_.circle(c, radius, light_colour(ink), opacity);
}
void CanvasPen::text(Point at, const std::string& text, double size, Ink ink, Anchor anchor, bool bold,
                     double halo) {
  const double width = text_width(text, size);
  if (anchor == Anchor::middle) at.x -= width / 2;
  if (anchor == Anchor::end) at.x -= width;
  canvas_.text(at, text, size, light_colour(ink), bold ? 0.125 : 0.085, halo,
               light_colour({Ink::surface, 0}));
}

SvgPen::SvgPen(double width, double height, const std::string& label) {
  out_ = "<svg viewBox=\"0 0 " + number(width) + " " + number(height) + "\" role=\"img\" aria-label=\"" +
         escape_html(label) + "\">\n";
}

void SvgPen::polyline(std::span<const Point> points, double width, Ink ink, double opacity) {
  std::string d;
  bool down = false;
  for (const Point& p : points) {
    const bool drawn = std::isfinite(p.x) && std::isfinite(p.y);
    if (drawn) {
      d += concat(down ? "L" : "M", number(p.x), " ", number(p.y));
      if (!down) d += "h0";  // a lone point shows as a dot of the line's width
    }
    down = drawn;
  }
  if (d.empty()) return;
  out_ += "<path d=\"" + d + "\" style=\"stroke:var(" + name_of(ink) + ")\" stroke-width=\"" + number(width) +
          opacity_of(opacity) + "\"/>\n";
}

void SvgPen::rect(double x, double y, double w, double h, Ink ink, double opacity) {
  out_ += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" +
          number(h) + "\" style=\"fill:var(" + name_of(ink) + ")" + opacity_of(opacity) + "\"/>\n";
}

// All dots of one call are one path of zero-length strokes: a few bytes each.
void SvgPen::dots(std::span<const Point> centres, double radius, Ink ink, double opacity) {
  std::string d;
  for (const Point& c : centres)
    if (std::isfinite(c.x) && std::isfinite(c.y)) d += concat("M", number(c.x), " ", number(c.y), "h0");
  if (d.empty()) return;
  const std::string style =
      "stroke:var(" + name_of(ink) + ")" + (opacity < 1 ? ";stroke-opacity:" + number(opacity) : "");
  out_ += "<path d=\"" + d + "\" style=\"" + style + "\" stroke-width=\"" + number(2 * radius) + "\"/>\n";
}

void SvgPen::text(Point at, const std::string& text, double size, Ink ink, Anchor anchor, bool bold,
                  double halo) {
  static constexpr const char* kAnchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  out_ += "<text x=\"" + number(at.x) + "\" y=\"" + number(at.y) + "\" font-size=\"" + number(size) + "\"" +
          kAnchors[static_cast<int>(anchor)] + (bold ? " font-weight=\"600\"" : "") + " style=\"fill:var(" +
          name_of(ink) + ")";
  if (halo > 0) out_ += ";paint-order:stroke;stroke:var(--surface);stroke-width:" + number(2 * halo);
  out_ += "\">" + escape_html(text) + "</text>\n";
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 32 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

}  // namespace juxta::ssl
