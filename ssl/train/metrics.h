#pragma once
// metrics.jsonl: one JSON object a line, each with a "kind" ("step", "epoch", "eval"), and the progress line
// on a terminal.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace juxta::ssl {

using Figures = std::vector<std::pair<std::string, double>>;

class MetricsLog {
 public:
  // Appends to RUN/metrics.jsonl. On resume, lines of steps after `resume_step` (written after the
  // checkpoint) are dropped first.
  MetricsLog(const std::string& run, int64_t resume_step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;
  void write(const std::string& kind, int64_t step, const Figures& figures);

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

// One line that rewrites itself on a terminal, or a plain line every ten seconds elsewhere.
class Progress {
 public:
  explicit Progress(bool quiet);
  void show(int64_t step, int64_t total, double loss, double lr, double images_per_second,
            double seconds_left);
  void finish();                          // ends the rewriting line
  void message(const std::string& text);  // a line of its own
  void warn(const std::string& text);     // the same as a warning, also when quiet

 private:
  void line(const std::string& text);
  bool terminal_, quiet_, open_ = false;
  double last_ = 0;
};

std::string duration_text(double seconds);  // "1m 40s"

}  // namespace juxta::ssl
