#include "ssl/report/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace juxta::ssl {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr Ink kText{Ink::text, 0}, kMuted{Ink::muted, 0}, kGrid{Ink::grid, 0};
constexpr double kTitleSize = 14, kLabelSize = 11.5;

// Grows to hold values.
struct Range {
  double lo = std::numeric_limits<double>::infinity(), hi = -std::numeric_limits<double>::infinity();
  void add(double v) {
    if (!std::isfinite(v)) return;
    lo = std::min(lo, v);
    hi = std::max(hi, v);
  }
  bool empty() const { return lo > hi; }
};

// Values to places on the surface.
struct Frame {
  double left, top, right, bottom;
  Range x, y;
  bool log_y;
  double px(double v) const {
    return x.hi > x.lo ? left + (v - x.lo) / (x.hi - x.lo) * (right - left) : (left + right) / 2;
  }
  double py(double v) const {
    if (log_y) return v > 0 ? place(std::log(v), std::log(y.lo), std::log(y.hi)) : kNaN;
    return place(v, y.lo, y.hi);
  }
  double place(double v, double lo, double hi) const {
    return bottom - (v - lo) / (hi - lo) * (bottom - top);
  }
};

Frame frame_of(const Chart& c) {
  Frame f{0, 0, 0, 0, {}, {}, c.log_y};
  for (const Series& s : c.series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.y[i]) || (c.log_y && s.y[i] <= 0)) continue;
      f.x.add(s.x[i]);
      f.y.add(s.y[i]);
    }
  if (f.y.empty()) return f;
  for (const Reference& r : c.references)
    if (!c.log_y || r.y > 0) f.y.add(r.y);
  if (c.y_min) f.y.add(*c.y_min);
  if (c.y_max) f.y.add(*c.y_max);
  if (c.log_y) {
    const double pad = f.y.hi > f.y.lo ? std::pow(f.y.hi / f.y.lo, 0.04) : 2;
    f.y.lo /= pad;
    f.y.hi *= pad;
  } else {
    const double span = f.y.hi - f.y.lo;
    const double pad = span > 0 ? 0.06 * span : std::max(1e-6, 0.1 * std::abs(f.y.hi));
    if (!c.y_min || f.y.lo < *c.y_min) f.y.lo -= pad;
    if (!c.y_max || f.y.hi > *c.y_max) f.y.hi += pad;
  }
  return f;
}

double step_of(const std::vector<double>& ticks) { return ticks.size() > 1 ? ticks[1] - ticks[0] : 0; }

void draw_y_axis(Pen& pen, const Chart& c, const Frame& f, const std::vector<double>& ticks,
                 const std::vector<std::string>& labels) {
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double y = f.py(ticks[i]);
    pen.line({f.left, y}, {f.right, y}, 1, kGrid);
    pen.text({f.left - 8, y + kLabelSize * 0.34}, labels[i], kLabelSize, kMuted, Anchor::end);
  }
  for (const Reference& r : c.references) {
    const double y = f.py(r.y);
    if (!std::isfinite(y)) continue;
    for (double x = f.left; x < f.right; x += 9)
      pen.line({x, y}, {std::min(x + 4.5, f.right), y}, 1.2, kMuted);
    pen.text({f.right, y - 5}, r.name, kLabelSize, kMuted, Anchor::end, false, 2);
  }
}

// Steps and epochs are whole: between two of them there is nothing to mark.
bool whole_x(const Chart& c) {
  for (const Series& s : c.series)
    for (double x : s.x)
      if (x != std::floor(x)) return false;
  return true;
}

void draw_x_axis(Pen& pen, const Chart& c, const Frame& f) {
  double most = std::max(2.0, std::floor((f.right - f.left) / 75));
  if (whole_x(c)) most = std::min(most, f.x.hi - f.x.lo);
  const std::vector<double> ticks = nice_ticks(f.x.lo, f.x.hi, static_cast<int>(most));
  for (double t : ticks) {
    pen.line({f.px(t), f.bottom}, {f.px(t), f.bottom + 4}, 1, kMuted);
    pen.text({f.px(t), f.bottom + 17}, tick_text(t, step_of(ticks), ticks.back()), kLabelSize, kMuted,
             Anchor::middle);
  }
  pen.line({f.left, f.bottom}, {f.right, f.bottom}, 1, kMuted);
  pen.text({f.right, f.bottom + 33}, c.x_label, kLabelSize, kMuted, Anchor::end);
}

void draw_series(Pen& pen, const Frame& f, const Series& s) {
  std::vector<Point> points, dots;
  for (size_t i = 0; i < s.x.size(); ++i) {
    points.push_back({f.px(s.x[i]), f.py(s.y[i])});
    if (std::isfinite(points.back().y)) dots.push_back(points.back());
  }
  pen.polyline(points, s.width, series(s.colour), s.opacity);
  if (s.marks || dots.size() == 1) pen.dots(dots, std::max(2.6, 1.5 * s.width), series(s.colour), s.opacity);
}

// Names of the series in one row that ends at `right`.
void draw_legend(Pen& pen, const Chart& c, double right, double baseline) {
  std::vector<const Series*> named;
  for (const Series& s : c.series)
    if (s.legend && !s.name.empty()) named.push_back(&s);
  if (named.size() + c.references.size() < 2) return;
  for (size_t i = named.size(); i-- > 0;) {
    const Series& s = *named[i];
    // System fonts of the page are up to a tenth wider than the stroke font.
    right -= 1.1 * text_width(s.name, kLabelSize);
    pen.text({right, baseline}, s.name, kLabelSize, kMuted);
    pen.line({right - 20, baseline - 4}, {right - 6, baseline - 4}, std::max(2.0, s.width), series(s.colour),
             s.opacity);
    right -= 34;
  }
}

}  // namespace

std::vector<double> nice_ticks(double lo, double hi, int most) {
  JX_CHECK(std::isfinite(lo) && std::isfinite(hi), "nice_ticks: a bound is not finite: ", lo, ", ", hi);
  if (!(hi > lo)) return {lo};
  const double raw = (hi - lo) / std::max(1, most);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double m : {5.0, 2.0, 1.0})
    if (m * power >= raw * (1 - 1e-9)) step = m * power;
  std::vector<double> ticks;
  // Multiples of the step, so that 0 is 0 and 0.3 is not 0.30000000000000004 from repeated sums.
  for (double k = std::ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * step; ++k)
    ticks.push_back(k == 0 ? 0 : k * step);
  return ticks.empty() ? std::vector<double>{lo} : ticks;
}

std::vector<double> log_ticks(double lo, double hi, int most) {
  JX_CHECK(lo > 0 && std::isfinite(hi), "log_ticks: expected 0 < lo, hi finite, got ", lo, ", ", hi);
  const auto within = [&](std::initializer_list<double> factors, int stride) {
    std::vector<double> ticks;
    for (double d = std::floor(std::log10(lo)); d <= std::log10(hi) + 1e-9; d += stride)
      for (double m : factors) {
        const double v = m * std::pow(10.0, d);
        if (v >= lo * (1 - 1e-9) && v <= hi * (1 + 1e-9)) ticks.push_back(v);
      }
    return ticks;
  };
  std::vector<double> ticks = within({1}, 1);
  for (int stride = 2; static_cast<int>(ticks.size()) > most + 1; ++stride) ticks = within({1}, stride);
  if (ticks.size() < 3) ticks = within({1, 2, 5}, 1);
  return ticks.size() >= 2 ? ticks : nice_ticks(lo, hi, most);
}

std::string tick_text(double value, double step, double largest) {
  const double size = std::max({std::abs(value), std::abs(step), largest});
  char text[32];
  if (size > 0 && (size < 1e-3 || size >= 1e9)) {
    std::snprintf(text, sizeof text, "%.3g", value);
    return value == 0 ? "0" : text;
  }
  const char* suffix = "";
  if (size >= 1e6 && value != 0) {
    value /= 1e6;
    step /= 1e6;
    suffix = "M";
  } else if (size >= 1e4 && value != 0) {
    value /= 1e3;
    step /= 1e3;
    suffix = "k";
  }
  int decimals = 0;
  // Without a step (a single tick) three digits tell enough, and a whole number needs no more.
  const double grain = step != 0 ? std::abs(step) : value == std::floor(value) ? 1 : std::abs(value) / 100;
  for (double g = grain; grain > 0 && decimals < 8 && std::abs(g - std::round(g)) > 1e-6 * std::max(g, 1.0);
       g *= 10)
    if (++decimals >= 3 && step == 0) break;
  std::snprintf(text, sizeof text, "%.*f%s", decimals, value, suffix);
  return text;
}

void draw_chart(Pen& pen, const Chart& c, double x, double y, double width, double height) {
  for (const Series& s : c.series)
    JX_CHECK(s.x.size() == s.y.size(), "draw_chart: series '", s.name, "' has ", s.x.size(), " x and ",
             s.y.size(), " y values");
  pen.text({x, y + 16}, c.title, kTitleSize, kText, Anchor::start, true);
  Frame f = frame_of(c);
  if (f.y.empty()) {
    pen.text({x, y + 40}, "no data", kLabelSize, kMuted);
    return;
  }
  draw_legend(pen, c, x + width, y + 15);
  f.top = y + 48;
  f.bottom = y + height - 40;
  const int most = std::max(2, static_cast<int>((f.bottom - f.top) / 32));
  const std::vector<double> ticks =
      c.log_y ? log_ticks(f.y.lo, f.y.hi, most) : nice_ticks(f.y.lo, f.y.hi, most);
  std::vector<std::string> labels;
  double widest = 0;
  for (double t : ticks) {
    const double scale = c.percent ? 100 : 1;
    const double step = c.log_y ? t : step_of(ticks), largest = c.log_y ? 0 : std::abs(ticks.back());
    labels.push_back(tick_text(t * scale, step * scale, largest * scale) + (c.percent ? "%" : ""));
    widest = std::max(widest, text_width(labels.back(), kLabelSize));
  }
  f.left = x + widest * 1.1 + 10;
  f.right = x + width - 8;
  pen.text({x, y + 34}, c.y_label, kLabelSize, kMuted);
  draw_y_axis(pen, c, f, ticks, labels);
  draw_x_axis(pen, c, f);
  for (const Series& s : c.series) draw_series(pen, f, s);
}

std::string chart_svg(const Chart& chart, double width, double height) {
  SvgPen pen(width, height, chart.title);
  draw_chart(pen, chart, 0, 0, width, height);
  return pen.svg();
}

Canvas chart_canvas(const std::vector<Chart>& charts, int columns, double width, double height) {
  constexpr double kMargin = 24;
  const int rows = (static_cast<int>(charts.size()) + columns - 1) / columns;
  Canvas canvas(kMargin + columns * (width + kMargin), kMargin + rows * (height + kMargin));
  CanvasPen pen(canvas);
  for (int i = 0; i < static_cast<int>(charts.size()); ++i) {
    const int row = i / columns, column = i % columns;
    draw_chart(pen, charts[static_cast<size_t>(i)], kMargin + column * (width + kMargin),
               kMargin + row * (height + kMargin), width, height);
  }
  return canvas;
}

}  // namespace juxta::ssl
