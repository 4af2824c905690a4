#pragma once
// Line charts: one description, drawn through a Pen as inline SVG and as PNG.
#include <optional>
#include <string>
#include <vector>

#include "ssl/report/pen.h"

namespace juxta::ssl {

struct Series {
  std::string name;
  std::vector<double> x, y;  // of equal length; a y that is not finite leaves a gap
  int colour = 0;            // index of a data colour
  double width = 2;
  double opacity = 1;
  bool marks = false;  // a dot at each point
  bool legend = true;  // named in the legend
};

// A horizontal line at a value worth comparing with.
struct Reference {
  std::string name;
  double y = 0;
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  std::vector<Reference> references;
  bool log_y = false;                  // points that are not positive become gaps
  bool percent = false;                // y holds fractions, written as percentages
  std::optional<double> y_min, y_max;  // extend the range of y to these values
};

// At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) within [lo, hi]; just {lo} when hi
// is not greater than lo. Error when either is not finite.
std::vector<double> nice_ticks(double lo, double hi, int most);
// Powers of ten within [lo, hi] (with 2 and 5 times them when there are fewer than three); nice_ticks when
// even those are fewer than two. Error unless 0 < lo.
std::vector<double> log_ticks(double lo, double hi, int most);
// 0.25, 1200, 12k, 3.5M, 1e-05: as short as the distance between ticks permits. All ticks up to `largest`
// share one suffix. step 0: a single number, about three digits.
std::string tick_text(double value, double step, double largest = 0);

// Draws the chart into the box. A chart without finite points shows its title and "no data".
void draw_chart(Pen& pen, const Chart& chart, double x, double y, double width, double height);
std::string chart_svg(const Chart& chart, double width, double height);
// Charts side by side in rows of `columns`, each width x height, as one picture.
Canvas chart_canvas(const std::vector<Chart>& charts, int columns, double width, double height);

}  // namespace juxta::ssl
