#include "ssl/losses/temperatures.h"

#include "autograd/ops.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr InputRow kTau[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"tau", "[N]"}, {"tau2", "[N]", true}};
constexpr InputRow kSteps[] = {{"z1", "[S, B, D]"}, {"z2", "[S, B, D]"}, {"index", "i64 [S, B]"}};
constexpr InputRow kBimodalSteps[] = {
    {"z1", "[S, B, D]"}, {"z2", "[S, B, D]"}, {"index1", "i64 [S, B]"}, {"index2", "i64 [S, B]"}};

// A column of the table after every step, as [S, n].
struct History {
  std::vector<Var> log_s, u, tau, visited;
  void add(const SampleTable& t) {
    log_s.emplace_back(t.log_s.clone());
    u.emplace_back(t.u.clone());
    tau.emplace_back(t.tau.clone());
    visited.emplace_back(t.visited.clone());
  }
};

// Stacks i64 vectors; stack() is for floats.
Var stacked(const std::vector<Var>& rows) {
  if (is_float(rows[0].dtype())) return stack(rows, 0);
  Tensor all = Tensor::empty({static_cast<int64_t>(rows.size()), rows[0].size(0)}, rows[0].dtype());
  for (size_t s = 0; s < rows.size(); ++s)
    all.select(0, static_cast<int64_t>(s)).copy_from(rows[s].value(), "objectives");
  return Var(all);
}

void check_steps(const Inputs& in, int64_t n_total) {
  const Var& z1 = in["z1"];
  JX_CHECK(z1.ndim() == 3 && z1.size(0) >= 1, in.objective(), ": z1: expected [S, B, D] of S steps, got ",
           z1);
  JX_CHECK(in["z2"].dims() == z1.dims(), in.objective(), ": z2: expected ", z1, " like z1, got ", in["z2"]);
  JX_CHECK(n_total >= 1, in.objective(), ": n_total: expected the size of the data set, got ", n_total);
}

Tensor step_of(const Inputs& in, const char* name, int64_t s) {
  const Tensor& index = in.tensor(name);
  JX_CHECK(index.ndim() == 2 && index.size(0) == in["z1"].size(0), in.objective(), ": ", name,
           ": expected i64 [S, B], got ", index);
  return index.select(0, s).contiguous();
}

template <class P, class Fn>
Outcome run_steps(const Inputs& in, const P& p, double tau, const char* denominator, bool temperatures,
                  Fn loss) {
  check_steps(in, p.n_total);
  SampleTable table(p.n_total, tau);
  History after;
  std::vector<Var> losses;
  for (int64_t s = 0; s < in["z1"].size(0); ++s) {
    losses.push_back(
        loss(select(in["z1"], 0, s), select(in["z2"], 0, s), step_of(in, "index", s), table, p).loss);
    after.add(table);
  }
  Outcome out{stack(losses, 0), {{denominator, stacked(after.log_s)}, {"visited", stacked(after.visited)}}};
  if (temperatures) {
    out.terms.emplace_back("u", stacked(after.u));
    out.terms.emplace_back("tau", stacked(after.tau));
  }
  return out;
}

Outcome run_bimodal(const Inputs& in, Params& f) {
  const auto p = f.read<IsogclrBimodalParams>();
  check_steps(in, p.n_total);
  SampleTable tables[2] = {{p.n_total, p.tau_init}, {p.n_total, p.tau_init}};
  History after[2];
  std::vector<Var> losses;
  for (int64_t s = 0; s < in["z1"].size(0); ++s) {
    losses.push_back(isogclr_bimodal(select(in["z1"], 0, s), select(in["z2"], 0, s), step_of(in, "index1", s),
                                     step_of(in, "index2", s), tables[0], tables[1], p)
                         .loss);
    for (int k = 0; k < 2; ++k) after[k].add(tables[k]);
  }
  Outcome out{stack(losses, 0), {}};
  for (int k = 0; k < 2; ++k) {
    const std::string end = std::to_string(k + 1);
    out.terms.emplace_back("log_s" + end, stacked(after[k].log_s));
    out.terms.emplace_back("visited" + end, stacked(after[k].visited));
    out.terms.emplace_back("u" + end, stacked(after[k].u));
    out.terms.emplace_back("tau" + end, stacked(after[k].tau));
  }
  return out;
}

constexpr Objective kRows[] = {
    {"temperature_free_nce", "temperature-free InfoNCE", "Kim & Kim 2025, arXiv 2501.17683",
     "InfoNCE with 2 artanh(s) in place of s / temperature", Kind::loss, Across::negatives, kViews,
     list_params<TemperatureFreeParams>,
     [](const Inputs& in, Params& f) {
       return temperature_free_nce(in["z1"], in["z2"], f.read<TemperatureFreeParams>());
     }},
    {"rgcl", "iSogCLR", "Qiu et al. 2023, arXiv 2305.11965",
     "F = mean_i tau_i log mean_j e^{(s_ij - s_i+)/tau_i} + tau_i rho", Kind::loss, Across::negatives, kTau,
     list_params<RgclParams>,
     [](const Inputs& in, Params& f) {
       return rgcl(in["z1"], in["z2"], in["tau"], in.optional("tau2"), f.read<RgclParams>());
     }},
    {"sogclr", "SogCLR", "Yuan et al. 2022, arXiv 2202.12387",
     "w_ij = e^{s_ij/t} / s_i, s_i <- (1 - gamma) s_i + gamma mean_j e^{s_ij/t};  L = mean_i sum_a [mean_j w "
     "s_ij - "
     "s_i+]",
     Kind::state, Across::negatives, kSteps, list_params<SogclrParams>,
     [](const Inputs& in, Params& f) {
       const auto p = f.read<SogclrParams>();
       return run_steps(in, p, p.temperature, "log_u", false, sogclr);
     }},
    {"isogclr", "iSogCLR", "Qiu et al. 2023, arXiv 2305.11965",
     "SogCLR with tau_i <- clip(tau_i - eta u_i), u_i a moving average of log s_i + rho - mean_j w s_ij / "
     "tau_i",
     Kind::state, Across::negatives, kSteps, list_params<IsogclrParams>,
     [](const Inputs& in, Params& f) {
       const auto p = f.read<IsogclrParams>();
       return run_steps(in, p, p.tau_init, "log_s", true, isogclr);
     }},
    {"isogclr_bimodal", "iSogCLR", "Qiu et al. 2023, arXiv 2305.11965",
     "iSogCLR between images and texts, each with its own table", Kind::state, Across::negatives,
     kBimodalSteps, list_params<IsogclrBimodalParams>, run_bimodal},
};

}  // namespace

std::span<const Objective> temperatures_rows() { return kRows; }

}  // namespace juxta::ssl
