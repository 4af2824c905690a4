#include "ssl/report/pictures.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/report/pen.h"

namespace juxta::ssl {

namespace {

constexpr Colour kRight{0, 114, 178}, kWrong{213, 94, 0},
    kText{40, 44, 52};  // Okabe & Ito's blue and vermilion

// f32 in [0, 1] to u8.
Tensor to_bytes(const Tensor& view) {
  const Tensor v = view.contiguous();
  Tensor out = Tensor::empty(v.dims(), DType::u8);
  auto* p = out.write<uint8_t>("report");
  for (int64_t i = 0; i < v.numel(); ++i)
    p[i] = static_cast<uint8_t>(std::lround(255.0f * std::clamp(v.data<float>()[i], 0.0f, 1.0f)));
  return out;
}

// Only grey and colour can be shown: of more channels the first three, of two the first.
Tensor showable(const Tensor& image) { return image.slice(2, 0, image.size(2) >= 3 ? 3 : 1).contiguous(); }

std::string class_name(const std::vector<std::string>& classes, int64_t label) {
  return label < static_cast<int64_t>(classes.size()) ? classes[static_cast<size_t>(label)]
                                                      : std::to_string(label);
}

}  // namespace

Canvas view_sheet(const Tensor& view1, const Tensor& view2, int64_t pairs) {
  constexpr double kSide = 56, kGap = 3, kMargin = 14;
  constexpr int64_t kColumns = 6;
  pairs = std::min(pairs, view1.size(0));
  const int64_t rows = std::max<int64_t>(1, (pairs + kColumns - 1) / kColumns);
  const double step_x = 2 * kSide + kGap + kMargin, step_y = kSide + kMargin;
  Canvas canvas(kMargin + static_cast<double>(std::min(pairs, kColumns)) * step_x,
                kMargin + static_cast<double>(rows) * step_y);
  for (int64_t i = 0; i < pairs; ++i) {
    const int64_t column = i % kColumns, row = i / kColumns;
    const double x = kMargin + static_cast<double>(column) * step_x;
    const double y = kMargin + static_cast<double>(row) * step_y;
    canvas.image(x, y, kSide, kSide, showable(to_bytes(view1.select(0, i))));
    canvas.image(x + kSide + kGap, y, kSide, kSide, showable(to_bytes(view2.select(0, i))));
  }
  return canvas;
}

Canvas neighbour_grid(const Tensor& images, const Tensor& labels, const std::vector<std::string>& classes,
                      const Tensor& features) {
  constexpr double kSide = 56, kGap = 8, kMargin = 14;
  constexpr int64_t kNeighbours = 8;
  const NoGrad no_grad;
  const int64_t n = images.size(0), k = std::min(kNeighbours, n - 1);
  const auto* label = labels.data<int64_t>();
  std::vector<int64_t> queries;  // the first image of each class
  for (int64_t c = 0; c < 10 && c < static_cast<int64_t>(classes.size()); ++c)
    for (int64_t i = 0; i < n; ++i)
      if (label[i] == c) {
        queries.push_back(i);
        break;
      }
  size_t longest = 1;
  for (int64_t q : queries)
    longest = std::max(longest, std::min<size_t>(16, class_name(classes, label[q]).size()));
  const double name_width = 12 + 7 * static_cast<double>(longest);
  Canvas canvas(kMargin + name_width + (kSide + kGap) * static_cast<double>(1 + k) + 2 * kGap,
                2 * kMargin + (kSide + kGap) * static_cast<double>(queries.size()));
  const Var bank = l2_normalize(Var(features));
  for (size_t row = 0; row < queries.size(); ++row) {
    const int64_t q = queries[row];
    const double y = kMargin + static_cast<double>(row) * (kSide + kGap);
    canvas.text({kMargin, y + kSide / 2 + 4}, class_name(classes, label[q]).substr(0, 16), 12, kText);
    canvas.image(kMargin + name_width, y, kSide, kSide, showable(images.select(0, q)));
    const Var query = reshape(select(bank, 0, q), {1, bank.size(1)});
    const TopK best = topk(matmul(query, transpose(bank, 0, 1)), k + 1);  // the query finds itself first
    double x = kMargin + name_width + kSide + 3 * kGap;
    int64_t shown = 0;
    for (int64_t j = 0; j < k + 1 && shown < k; ++j) {
      const int64_t i = best.indices.data<int64_t>()[j];
      if (i == q) continue;
      canvas.image(x, y, kSide, kSide, showable(images.select(0, i)));
      canvas.frame(x - 2, y - 2, kSide + 4, kSide + 4, 2.5, label[i] == label[q] ? kRight : kWrong);
      x += kSide + kGap;
      ++shown;
    }
  }
  return canvas;
}

Canvas map_picture(const Tensor& points, const Tensor& labels, const std::vector<std::string>& classes) {
  constexpr double kPlot = 560, kMargin = 16, kLegend = 150;
  const int64_t n = points.size(0);
  const auto* p = points.data<float>();
  const auto* label = labels.data<int64_t>();
  float reach = 1e-6f;
  for (int64_t i = 0; i < 2 * n; ++i) reach = std::max(reach, std::abs(p[i]));
  Canvas canvas(kPlot + 2 * kMargin + kLegend, kPlot + 2 * kMargin);
  CanvasPen pen(canvas);
  const double scale = kPlot / 2 / static_cast<double>(reach), centre = kMargin + kPlot / 2;
  for (int64_t i = 0; i < n; ++i) {
    const Point at{centre + scale * static_cast<double>(p[2 * i]),
                   centre - scale * static_cast<double>(p[2 * i + 1])};
    canvas.circle(at, 2.4, light_colour(series(static_cast<int>(label[i]))), 0.75);
  }
  const auto shown = std::min<int64_t>(static_cast<int64_t>(classes.size()), 24);
  for (int64_t c = 0; c < shown; ++c) {
    const double y = kMargin + 14 + 20 * static_cast<double>(c);
    canvas.circle({kPlot + 2 * kMargin + 6, y - 4}, 5, light_colour(series(static_cast<int>(c))));
    canvas.text({kPlot + 2 * kMargin + 18, y}, class_name(classes, c).substr(0, 18), 12, kText);
  }
  return canvas;
}

}  // namespace juxta::ssl
