#include "ssl/report/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "ssl/report/chart.h"
#include "ssl/report/embedding_map.h"
#include "ssl/report/pictures.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

using nlohmann::json;

// The columns of metrics.jsonl by kind; a figure that a line lacks leaves a gap.
struct Log {
  std::vector<json> steps, epochs;
};

Log read_log(const std::string& run) {
  Log log;
  std::string text;
  try {
    const std::vector<unsigned char> bytes = read_file(run + "/metrics.jsonl");
    text.assign(bytes.begin(), bytes.end());
  } catch (const Error&) {
    return log;  // a run without a log has no curves
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    json line = json::parse(text.substr(at, end - at), nullptr, false);
    if (line.is_object() && line.contains("step"))
      (line.value("kind", "") == "epoch" ? log.epochs : log.steps).push_back(std::move(line));
    at = end + 1;
  }
  return log;
}

Series column(const std::vector<json>& lines, const char* figure, const char* name, int colour) {
  Series s;
  s.name = name;
  s.colour = colour;
  for (const json& line : lines) {
    if (!line.contains(figure) || !line["step"].is_number()) continue;
    s.x.push_back(line["step"].get<double>());
    s.y.push_back(line[figure].is_number() ? line[figure].get<double>() : NAN);
  }
  s.marks = s.x.size() < 30;
  return s;
}

Chart make_chart(const char* title, const char* y_label, std::vector<Series> lines) {
  Chart c;
  c.title = title;
  c.x_label = "step";
  c.y_label = y_label;
  c.series = std::move(lines);
  return c;
}

// ---- the page

constexpr const char* kStyle = R"(
*{box-sizing:border-box}body{margin:0;background:var(--surface);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:960px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:30px;margin:0 0 4px;letter-spacing:-.02em}
h2{font-size:20px;margin:48px 0 8px}p{max-width:68ch;margin:6px 0 14px;color:var(--muted)}
table{border-collapse:collapse;margin:12px 0}
th,td{padding:7px 18px 7px 0;text-align:right;border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{text-align:left}td b{font-weight:650}th{font-weight:500;color:var(--muted)}
figure{margin:12px 0;overflow-x:auto}
figure img{max-width:100%;border-radius:6px;image-rendering:auto;background:#fff}
svg{max-width:100%;height:auto;display:block}
svg path{fill:none;stroke-linecap:round;stroke-linejoin:round}
pre{overflow-x:auto;padding:14px;border:1px solid var(--grid);border-radius:6px;font-size:13px}
summary{cursor:pointer;margin-top:40px})";

std::string figure_png(const Canvas& canvas, const std::string& label) {
  const std::vector<unsigned char> png = canvas.png();
  return concat("<figure><img alt=\"", escape_html(label), "\" width=\"", canvas.width() / 2,
                "\" src=\"data:image/png;base64,", base64(png), "\"></figure>\n");
}

void save_png(const std::string& path, const Canvas& canvas) {
  const std::vector<unsigned char> png = canvas.png();
  write_file(path, std::string_view(reinterpret_cast<const char*>(png.data()), png.size()));
}

std::string section(const std::string& title, const std::string& text) {
  return concat("<h2>", escape_html(title), "</h2>\n<p>", text, "</p>\n");
}

std::string score_table(const ReportScores& s) {
  const std::pair<const char*, double Scores::*> columns[] = {
      {"kNN", &Scores::knn_top1},
      {"linear probe", &Scores::linear_top1},
      {"10 labels per class", &Scores::linear_10_per_class}};
  const std::pair<const char*, const Scores*> rows[] = {
      {"trained", &s.trained}, {"untrained network", &s.untrained}, {"raw pixels", &s.raw_pixels}};
  std::string html = "<table><tr><th>accuracy, %</th>";
  for (const auto& [name, member] : columns) html += concat("<th>", name, "</th>");
  html += "</tr>\n";
  for (const auto& [name, scores] : rows) {
    html += concat("<tr><td>", name, "</td>");
    for (const auto& [title, member] : columns) {
      const double best = std::max({s.trained.*member, s.untrained.*member, s.raw_pixels.*member});
      char text[16];
      std::snprintf(text, sizeof text, "%.1f", 100 * scores->*member);
      html += scores->*member >= best ? concat("<td><b>", text, "</b></td>") : concat("<td>", text, "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string curves(const std::string& run) {
  const Log log = read_log(run);
  std::string html = section("Loss",
                             "What the optimiser minimises. A contrastive loss starts near the logarithm of "
                             "the number of candidates and "
                             "flattens early, long before the features stop improving: read it beside kNN.");
  if (log.steps.empty()) return html + "<p>No steps were logged.</p>\n";
  const std::vector<Chart> loss{
      make_chart("loss", "loss", {column(log.steps, "loss", "loss", 0)}),
      make_chart("learning rate", "lr", {column(log.steps, "lr", "learning rate", 1)})};
  for (const Chart& c : loss) html += "<figure>" + chart_svg(c, 900, 260) + "</figure>\n";
  save_png(run + "/loss.png", chart_canvas(loss, 1, 900, 260));
  html += section("kNN during training",
                  "Accuracy of a 20-nearest-neighbour vote on the frozen features (a quick monitor on part "
                  "of the data; the table "
                  "above has the full protocol).");
  if (log.epochs.empty()) return html + "<p>No epoch was monitored.</p>\n";
  Chart knn = make_chart("kNN accuracy", "accuracy", {column(log.epochs, "knn_top1", "kNN", 2)});
  knn.percent = true;
  if (knn.series[0].x.empty()) {
    html += "<p>Not measured: it takes labels of two classes or more.</p>\n";
  } else {
    html += "<figure>" + chart_svg(knn, 900, 260) + "</figure>\n";
    save_png(run + "/knn.png", chart_canvas({knn}, 1, 900, 260));
  }
  html += section(
      "Health of the embeddings",
      "RankMe counts the dimensions in use: a fall towards 1 is collapse. The feature std is 1/&radic;D when "
      "directions are spread evenly and "
      "0 when all images fall on one point. Alignment is the distance between two views of an image, "
      "uniformity the spread over the "
      "sphere: both are better when lower, and they pull against each other (Wang &amp; Isola 2020).");
  const std::vector<Chart> health{
      make_chart("RankMe", "dimensions", {column(log.epochs, "rankme", "RankMe", 3)}),
      make_chart("feature std", "std", {column(log.epochs, "feature_std", "feature std", 4)}),
      make_chart("alignment", "alignment", {column(log.epochs, "alignment", "alignment", 5)}),
      make_chart("uniformity", "uniformity", {column(log.epochs, "uniformity", "uniformity", 6)})};
  html += "<div style=\"display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:8px\">\n";
  for (const Chart& c : health) html += "<figure>" + chart_svg(c, 450, 240) + "</figure>\n";
  html += "</div>\n";
  const Series collapsed = column(log.epochs, "collapsed", "", 0);
  const auto first = std::find(collapsed.y.begin(), collapsed.y.end(), 1.0);
  if (first != collapsed.y.end())
    html += concat("<p><b>Warning: the representation had collapsed by step ",
                   static_cast<int64_t>(collapsed.x[static_cast<size_t>(first - collapsed.y.begin())]),
                   ".</b></p>\n");
  save_png(run + "/health.png", chart_canvas(health, 2, 450, 240));
  return html;
}

std::string pictures(const ReportInput& in) {
  std::string html = section("Pairs of views",
                             "What the network is asked to find alike: two random views of each image, as "
                             "the recipe draws them. If you "
                             "cannot see that a pair belongs together, it cannot either; if both look the "
                             "same, there is nothing to learn.");
  if (in.view1.defined() && in.view1.size(0) > 0) {
    const Canvas sheet = view_sheet(in.view1, in.view2);
    html += figure_png(sheet, "pairs of views");
    save_png(in.run + "/views.png", sheet);
  } else {
    html += "<p>No views were given.</p>\n";
  }
  const bool embedded = in.features.defined() && in.features.size(0) > 2;
  html += section("Nearest neighbours",
                  "A test image of each class, and the eight test images whose features are nearest by "
                  "cosine. Blue frames: the same "
                  "class; orange: another. The mistakes show what the features take for alike.");
  if (embedded) {
    const Canvas grid = neighbour_grid(in.images, in.labels, in.classes, in.features);
    html += figure_png(grid, "nearest neighbours");
    save_png(in.run + "/neighbours.png", grid);
  } else {
    html += "<p>No features were given.</p>\n";
  }
  html += section("Map of the embeddings",
                  "Test features laid out in the plane by t-SNE. Neighbours in the map are neighbours in "
                  "feature space; distances "
                  "between far groups, and their sizes, mean little.");
  if (!embedded) return html + "<p>No features were given.</p>\n";
  const NoGrad no_grad;
  const int64_t n = std::min<int64_t>(in.features.size(0), 2000);
  const Tensor points = embedding_map(l2_normalize(Var(in.features.slice(0, 0, n))).value());
  const Canvas map = map_picture(points, in.labels.slice(0, 0, n), in.classes);
  save_png(in.run + "/map.png", map);
  return html + figure_png(map, "map of the embeddings");
}

}  // namespace

void write_report(const ReportInput& in) {
  std::string html = concat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      escape_html(in.title), "</title>\n<style>:root{", css_colours(false),
      "}\n@media (prefers-color-scheme:dark){:root{", css_colours(true), "}}", kStyle,
      "</style></head>\n<body><main>\n<h1>", escape_html(in.title), "</h1>\n");
  if (in.scores) {
    html += "<p>Frozen features, before any head, on the test images.</p>\n" + score_table(*in.scores);
  } else {
    html += "<p>Not evaluated yet: <code>juxta eval RUN</code> adds the table of scores.</p>\n";
  }
  html += curves(in.run) + pictures(in);
  html += concat("<details><summary>Recipe as run</summary><pre>", escape_html(in.recipe),
                 "</pre></details>\n</main></body></html>\n");
  write_file(in.run + "/report.html", html);
}

}  // namespace juxta::ssl
