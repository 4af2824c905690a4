#pragma once
// A stroke font of the project's own for text in PNG figures: printable ASCII, drawn with one pen width,
// legible from 11 pixels up. It needs no font file, so a report looks the same on every machine.
#include <string_view>
#include <vector>

namespace juxta::ssl {

struct Point {
  double x = 0, y = 0;
};
using Stroke = std::vector<Point>;

// Height of capitals and of the letter x, as shares of the size of the text.
inline constexpr double kCapHeight = 0.70, kXHeight = 0.50;

// Whether `c` has a glyph of its own; others are drawn as a hollow box.
bool font_has(char c);
// Advance of `text` at `size`. UTF-8 sequences count as one hollow box each.
double text_width(std::string_view text, double size);
// Pen strokes of `text`: baseline at y = 0, y downwards, starting at x = 0.
std::vector<Stroke> text_strokes(std::string_view text, double size);

}  // namespace juxta::ssl
