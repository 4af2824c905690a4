// juxta verify: golden files through the shipped code.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "ssl/objectives/registry.h"
#include "ssl/objectives/verify.h"
#include "tensor/cpu.h"
#include "tensor/parallel.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> paths;
  std::string dtype = "f64", isa, write;
  bool json = false;
  int threads = 0;
};

// The files named, and those of the folders named, in order.
std::vector<std::string> golden_files(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".safetensors") inside.push_back(entry.path().string());
    JX_CHECK(!inside.empty(), "verify: ", path, ": no .safetensors files in this folder");
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

// JSON has no infinity: an output of another shape or not computed has no error to print.
Json number_or_null(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

struct Totals {
  int objectives = 0, cases = 0, passed = 0;
  std::vector<ssl::VerifyFailure> failed;
  std::vector<std::string> unimplemented;
};

void print_json(const Totals& t) {
  Json j{{"objectives", t.objectives},
         {"cases", t.cases},
         {"passed", t.passed},
         {"failed", Json::array()},
         {"unimplemented", t.unimplemented}};
  for (const ssl::VerifyFailure& f : t.failed) {
    Json row{{"objective", f.objective},
             {"case", f.case_name},
             {"output", f.output},
             {"error", number_or_null(f.error)},
             {"tolerance", f.tolerance}};
    if (!f.what.empty()) row["what"] = f.what;
    j["failed"].push_back(row);
  }
  std::printf("%s\n", j.dump().c_str());
}

void verify_one(const std::string& path, const Options& o, DType dtype, Totals& t) {
  const SafeTensors file = load_safetensors(path);
  const std::string stem = fs::path(path).stem().string();
  const int cases = static_cast<int>(ssl::golden_cases(file).size());
  JX_CHECK(cases > 0, "verify: ", path,
           ": no cases; expected CASE/in/NAME and CASE/out/NAME tensors and the "
           "parameters of each CASE in the metadata");
  ++t.objectives;
  t.cases += cases;
  const ssl::Objective* row = ssl::find_objective(stem);
  if (!row) {
    t.unimplemented.push_back(stem);
    if (!o.json) std::printf("%-28s %3d cases   not implemented\n", stem.c_str(), cases);
    return;
  }
  SafeTensors computed;
  const ssl::VerifyReport r = ssl::verify(file, *row, dtype, o.write.empty() ? nullptr : &computed);
  t.passed += r.passed;
  t.failed.insert(t.failed.end(), r.failures.begin(), r.failures.end());
  if (!o.write.empty()) save_safetensors(o.write + "/" + stem + ".safetensors", computed);
  if (o.json) return;
  std::printf("%-28s %3d of %3d cases   largest error %.3f of its tolerance\n", stem.c_str(), r.passed,
              r.cases, r.worst);
  for (const ssl::VerifyFailure& f : r.failures) std::printf("    %s\n", to_text(f).c_str());
}

int run_verify(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  // Read once by the kernel tables, before the first of them is chosen.
  if (!o.isa.empty()) setenv("JUXTA_ISA", o.isa.c_str(), 1);
  active_isa();
  JX_CHECK(o.dtype == "f32" || o.dtype == "f64", "verify: --dtype: expected f32 or f64, got '", o.dtype, "'");
  if (!o.write.empty()) fs::create_directories(o.write);
  Totals t;
  for (const std::string& path : golden_files(o.paths))
    verify_one(path, o, o.dtype == "f32" ? DType::f32 : DType::f64, t);
  if (o.json)
    print_json(t);
  else
    std::printf("%d objectives, %d of %d cases passed in %s, %zu objectives not implemented\n", t.objectives,
                t.passed, t.cases, o.dtype.c_str(), t.unimplemented.size());
  return t.passed == t.cases ? kOk : kNo;
}

}  // namespace

Command add_verify(CLI::App& app) {
  Subcommand c(app, "verify", "run golden files through the shipped objectives");
  auto o = std::make_shared<Options>();
  c.texts("PATH", o->paths, "OBJECTIVE.safetensors files, or folders of them", Need::required);
  c.text("--dtype", o->dtype, "f32 or f64 (default f64)");
  c.text("--isa", o->isa, "kernel table: generic, avx2, avx512, avx512bf16 (default: the best)");
  c.text("--write", o->write, "folder for what was computed, as OBJECTIVE.safetensors");
  c.threads(o->threads);
  c.flag("--json", o->json, "print one JSON object");
  c.footer(
      "Tolerances: in f64 1e-8 of the largest entry + 1e-12; in f32 a scalar loss 1e-5 max(1, |loss|), other "
      "tensors "
      "2e-4 of the largest entry + 2e-6 (2e-3 where a temperature is at most 0.005); integers are equal. "
      "Status 0: all "
      "cases pass; 1: some do not, or an objective or parameter is unknown; 2: a file cannot be read.");
  return [o] { return run_verify(*o); };
}

}  // namespace juxta::tools
