#include "ssl/train/metrics.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/file.h"

namespace juxta::ssl {

MetricsLog::MetricsLog(const std::string& run, int64_t resume_step) : path_(run + "/metrics.jsonl") {
  if (std::filesystem::exists(path_)) {
    const std::vector<unsigned char> bytes = read_file(path_);
    std::string kept;
    const std::string text(bytes.begin(), bytes.end());
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      const auto j =
          nlohmann::json::parse(line, nullptr, false);  // a line cut by a crash does not parse: dropped
      if (j.is_object() && j.value("step", int64_t{-1}) >= 0 && j.value("step", int64_t{0}) <= resume_step)
        kept += line + "\n";
      at = end + 1;
    }
    write_file(path_, kept);
  }
  file_ = std::fopen(path_.c_str(), "a");
  JX_CHECK(file_, "cannot write ", path_);
}
MetricsLog::~MetricsLog() { std::fclose(file_); }

void MetricsLog::write(const std::string& kind, int64_t step, const Figures& figures) {
  nlohmann::ordered_json j;
  j["kind"] = kind;
  j["step"] = step;
  for (const auto& [name, value] : figures) {
    if (std::isfinite(value))
      j[name] = value;
    else
      j[name] = nullptr;  // JSON has no NaN
  }
  const std::string line = j.dump() + "\n";
  const bool ok = std::fputs(line.c_str(), file_) >= 0 && std::fflush(file_) == 0;
  JX_CHECK(ok, "cannot write ", path_, ": is the disk full?");
}

namespace {
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s < 60) return concat(s, "s");
  if (s < 3600) return concat(s / 60, "m ", s % 60, "s");
  return concat(s / 3600, "h ", s / 60 % 60, "m");
}

Progress::Progress(bool quiet) : terminal_(isatty(STDERR_FILENO) != 0), quiet_(quiet) {}

void Progress::show(int64_t step, int64_t total, double loss, double lr, double images_per_second,
                    double left) {
  const double t = now();
  if (quiet_ || t - last_ < (terminal_ ? 0.2 : 10.0)) return;
  last_ = t;
  char text[160];
  std::snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  lr %.2e  %.0f images/s  ETA %s",
                static_cast<long long>(step), static_cast<long long>(total), loss, lr, images_per_second,
                duration_text(left).c_str());
  std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", text);
  std::fflush(stderr);
  open_ = terminal_;
}

void Progress::finish() {
  if (open_) std::fputc('\n', stderr);
  open_ = false;
}

void Progress::warn(const std::string& text) { line("juxta: warning: " + text); }

void Progress::message(const std::string& text) {
  if (!quiet_) line(text);
}

void Progress::line(const std::string& text) {
  if (open_) std::fputs("\r\033[K", stderr);
  open_ = false;
  std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace juxta::ssl
