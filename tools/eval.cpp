// juxta eval RUN: scores the frozen features of a run beside the untrained network and raw pixels.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "ssl/eval/evaluate.h"
#include "tensor/file.h"
#include "tensor/parallel.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

struct Options {
  std::string run, data;
  bool json = false;
  int threads = 0;
};

constexpr const char* kProtocol =
    "Protocol. Features: pooled, before any head, network in evaluation mode, whole images "
    "(resized to view.eval_size or view.size, where the recipe sets them). kNN: "
    "cosine, k = 20, votes "
    "exp(cos / 0.07). Linear probe: features standardised by the training statistics, mean cross-entropy + "
    "l2/2 |W|^2 with "
    "l2 = 10/n, solved to its optimum; on all labels, and on 10 labels per class (mean of 5 draws). The same "
    "for the untrained "
    "network and for raw pixels. Data without a test split: every fifth training image is held out.";

nlohmann::ordered_json to_json(const ssl::Scores& s) {
  return {{"knn_top1", s.knn_top1},
          {"linear_top1", s.linear_top1},
          {"linear_10_per_class", s.linear_10_per_class}};
}

void show(const Options& o, const ssl::Evaluation& e) {
  nlohmann::ordered_json j = to_json(e.trained);
  j["untrained"] = to_json(e.untrained);
  j["raw_pixels"] = to_json(e.raw_pixels);
  j["rankme"] = e.rankme, j["alignment"] = e.alignment, j["uniformity"] = e.uniformity;
  if (o.json) {
    std::printf("%s\n", j.dump().c_str());
    std::fflush(stdout);
    return ssl::save_evaluation(o.run, j.dump(2) + "\n");
  }
  const auto row = [](const char* name, const ssl::Scores& s) {
    std::printf("  %-12s %8.1f %8.1f %14.1f\n", name, 100 * s.knn_top1, 100 * s.linear_top1,
                100 * s.linear_10_per_class);
  };
  std::printf("  accuracy, %%      kNN   linear   10 per class\n");
  row("trained", e.trained);
  row("untrained", e.untrained);
  row("raw pixels", e.raw_pixels);
  std::printf("  rankme %.1f of %lld, alignment %.3f, uniformity %.3f\n", e.rankme,
              static_cast<long long>(e.feature_dim), e.alignment, e.uniformity);
  std::fflush(stdout);
  ssl::save_evaluation(o.run, j.dump(2) + "\n");
}

int run_eval(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  ssl::evaluate_run(o.run, o.data, [&](const ssl::Evaluation& e) { show(o, e); });
  return kOk;
}

}  // namespace

Command add_eval(CLI::App& app) {
  auto o = std::make_shared<Options>();
  Subcommand c(app, "eval", "evaluate a run's frozen features");
  c.footer(kProtocol);
  c.text("RUN", o->run, "run folder or checkpoint file", Need::required);
  c.text("--data", o->data, "data set [the one it was trained on]");
  c.flag("--json", o->json, "print one JSON object");
  c.threads(o->threads);
  return [o] { return run_eval(*o); };
}

}  // namespace juxta::tools
