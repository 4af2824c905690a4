#include "ssl/losses/temperatures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// 1 + s, and 1 - s by way of -b: from the difference where the rows are close.
Var one_minus_cosine(const Var& a, const Var& b, const Var& s) {
  const Var near = affine(pairwise_sq_distance(a, b), 0.5, 0.0);
  Tensor close = Tensor::empty(s.dims(), DType::boolean);
  const Tensor value = s.value().to(DType::f64).contiguous();
  for (int64_t i = 0; i < value.numel(); ++i)
    close.write<bool>("temperature_free_nce")[i] = value.data<double>()[i] > 0.9;
  return where(close, near, affine(s, -1.0, 1.0));
}

}  // namespace

Loss temperature_free_nce(const Var& z1, const Var& z2, const TemperatureFreeParams& p) {
  check_embeddings("temperature_free_nce", {{"z1", z1}, {"z2", z2}});
  JX_CHECK(p.eps > 0 && p.eps < 1, "temperature_free_nce: eps: expected above 0 and below 1, got ", p.eps);
  const int64_t n = z1.size(0);
  const bool both = p.form == FreeForm::nt_xent;
  const Var x = l2_normalize(at_least_f32(z1)), y = l2_normalize(at_least_f32(z2));
  const Var rows = both ? cat(std::vector{x, y}, 0) : x, columns = both ? rows : y;
  const Var s = matmul(rows, transpose(columns, 0, 1));
  const auto bounded = [&](const Var& v) { return log(clamp(v, p.eps, 2 - p.eps)); };
  const Var logits =
      sub(bounded(one_minus_cosine(rows, neg(columns), neg(s))), bounded(one_minus_cosine(rows, columns, s)));
  const int64_t anchors = rows.size(0);
  Tensor others = Tensor::empty({anchors, anchors}, DType::boolean),
         own = Tensor::empty({anchors, 1}, DType::i64);
  for (int64_t a = 0; a < anchors; ++a) {
    own.write<int64_t>("temperature_free_nce")[a] = both ? (a + n) % anchors : a;
    for (int64_t b = 0; b < anchors; ++b)
      others.write<bool>("temperature_free_nce")[a * anchors + b] = !both || a != b;
  }
  const Var samples = sub(logsumexp(logits, others), squeeze(gather(logits, own), 1));
  return {mean(samples), {}, stop_gradient(samples)};
}

namespace {

// Log-sum-exp over the negatives of every anchor, with a temperature per anchor, and s+ (not divided by it).
struct Anchors {
  Var lse, positive;  // [A]
  int64_t negatives;  // M
};

// Both views of every sample against both views of the others: anchor a = 0 .. 2B - 1 of [z1; z2].
Anchors both_views(const char* op, const Var& z1, const Var& z2, const Var& tau) {
  const int64_t n = z1.size(0);
  const std::vector<Var> z{z1, z2};
  Tensor ids = Tensor::empty({2 * n}, DType::i64);
  for (int64_t a = 0; a < 2 * n; ++a) ids.write<int64_t>(op)[a] = a % n;
  ContrastOptions o;
  o.op = op;
  o.row_ids = ids;  // neither view of the sample itself
  const Var lse = contrast_symmetric(z, tau, o).lse, own = sum(mul(z1, z2), {1});
  return {lse, cat(std::vector{own, own}, 0), 2 * n - 2};
}

// Rows of `a` against the rows of `b` at other places.
Anchors across(const char* op, const Var& a, const Var& b, const Var& tau) {
  ContrastOptions o;
  o.op = op;
  o.row_ids = o.column_ids = Tensor::arange(a.size(0));
  return {contrast({&a, 1}, {&b, 1}, tau, o).lse, sum(mul(a, b), {1}), a.size(0) - 1};
}

Var prepared(const Var& z, bool normalize) {
  return normalize ? l2_normalize(at_least_f32(z)) : at_least_f32(z);
}

void check_batch(const char* loss, const Var& z1, const Var& z2) {
  check_embeddings(loss, {{"z1", z1}, {"z2", z2}});
  JX_CHECK(z1.size(0) >= 2, loss,
           ": z1: expected at least 2 samples, since the others are the negatives, got ", z1);
}

void check_tau(const char* name, const Var& tau, const Var& z) {
  JX_CHECK(tau.defined() && is_float(tau.dtype()) && tau.dims() == Dims({z.size(0)}), "rgcl: ", name,
           ": expected a float [", z.size(0), "], got ", tau);
  for (int64_t i = 0; i < tau.numel(); ++i)
    JX_CHECK(tau.value().at({i}) > 0 && std::isfinite(tau.value().at({i})), "rgcl: ", name,
             ": expected positive temperatures, got ", tau.value().at({i}), " in row ", i);
}

// tau (lse - log M) - s+ + tau rho, per anchor
Var robust(const Anchors& a, const Var& tau, double rho) {
  return sub(mul(tau, affine(a.lse, 1.0, rho - std::log(static_cast<double>(a.negatives)))), a.positive);
}

}  // namespace

Loss rgcl(const Var& z1, const Var& z2, const Var& tau, const Var& tau2, const RgclParams& p) {
  check_batch("rgcl", z1, z2);
  check_tau("tau", tau, z1);
  JX_CHECK(std::isfinite(p.rho) && p.rho >= 0, "rgcl: rho: expected 0 or more, got ", p.rho);
  JX_CHECK(tau2.defined() == p.bimodal, "rgcl: tau2: ",
           p.bimodal ? "bimodal needs the temperatures of the texts" : "only bimodal takes it");
  if (p.bimodal) check_tau("tau2", tau2, z1);
  const Var x = prepared(z1, p.normalize), y = prepared(z2, p.normalize);
  const Var t = cast(tau, x.dtype());
  if (!p.bimodal) {
    const Var twice = cat(std::vector{t, t}, 0);
    const Var both = robust(both_views("rgcl", x, y, twice), twice, p.rho);
    const int64_t n = x.size(0);
    const Var samples = add(slice(both, 0, 0, n), slice(both, 0, n, 2 * n));
    return {mean(samples), {}, stop_gradient(samples)};
  }
  const Var s = cast(tau2, x.dtype());
  const Var samples =
      add(robust(across("rgcl", x, y, t), t, p.rho), robust(across("rgcl", y, x, s), s, p.rho));
  return {mean(samples), {}, stop_gradient(samples)};
}

SampleTable::SampleTable(int64_t n, double tau_init)
    : log_s(Tensor::zeros({n}, DType::f64)),
      u(Tensor::zeros({n}, DType::f64)),
      tau(Tensor::full({n}, tau_init, DType::f64)),
      visited(Tensor::zeros({n}, DType::i64)) {}

namespace {

constexpr double kEmpty = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  if (a == kEmpty) return b;
  if (b == kEmpty) return a;
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

void check_index(const char* loss, const char* name, const Tensor& index, int64_t batch,
                 const SampleTable& table) {
  const int64_t n = table.tau.size(0);
  JX_CHECK(index.defined() && index.dtype() == DType::i64 && index.dims() == Dims({batch}), loss, ": ", name,
           ": expected i64 [", batch, "], got ", index);
  std::vector<bool> seen(static_cast<size_t>(n), false);
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t row = static_cast<int64_t>(index.at({i}));
    JX_CHECK(row >= 0 && row < n, loss, ": ", name, ": expected 0 to ", n - 1, " (n_total - 1), got ", row);
    JX_CHECK(!seen[static_cast<size_t>(row)], loss, ": ", name, ": sample ", row,
             " occurs twice in the batch; draw without repetition, or its state would depend on the order");
    seen[static_cast<size_t>(row)] = true;
  }
}

void check_moving(const char* loss, const IsogclrParams& p) {
  check_temperature(loss, p.tau_min, "tau_min");
  JX_CHECK(p.tau_max >= p.tau_min && std::isfinite(p.tau_max), loss,
           ": tau_max: expected at least tau_min = ", p.tau_min, ", got ", p.tau_max);
  JX_CHECK(p.gamma > 0 && p.gamma <= 1, loss, ": gamma: expected above 0 to 1, got ", p.gamma);
  JX_CHECK(p.beta >= 0 && p.beta <= 1, loss, ": beta: expected 0 to 1, got ", p.beta);
  JX_CHECK(p.grad_clip > 0, loss, ": grad_clip: expected a positive number, got ", p.grad_clip);
}

// The table's rows as a constant per anchor; anchor a belongs to index[a mod B].
Tensor taus_of(const SampleTable& table, const Tensor& index, int64_t anchors, DType dtype) {
  Tensor t = Tensor::empty({anchors}, DType::f64);
  for (int64_t a = 0; a < anchors; ++a)
    t.write<double>("isogclr")[a] = table.tau.at({static_cast<int64_t>(index.at({a % index.size(0)}))});
  return t.to(dtype);
}

// What the table makes of one batch: for each anchor the ratio r of the batch's denominator to the moving
// one, and E = mean under the batch's softmax of s_ij. w_ij / M = r p_ij.
struct Moved {
  std::vector<double> ratio, expected, log_s;
};

// E_p[s_ij] per anchor, from the derivative of the log-sum-exp: d lse / d tau = -E_p[s] / tau^2.
template <class MakeAnchors>
std::vector<double> expected_similarity(const MakeAnchors& make, const Tensor& tau) {
  const Var t = Var::leaf(tau.clone());
  const std::vector<Var> root{sum(make(t).lse)}, wanted{t};
  const Tensor d = grad(root, wanted)[0].to(DType::f64).contiguous(), value = tau.to(DType::f64);
  std::vector<double> e;
  for (int64_t a = 0; a < tau.numel(); ++a) e.push_back(-value.at({a}) * value.at({a}) * d.at({a}));
  return e;
}

// Moves s: log g per anchor in, ratio and the mixed log s per anchor out. The table is written by store().
Moved move(const std::vector<double>& log_g, const std::vector<double>& log_sum, std::vector<double> expected,
           int64_t negatives, const Tensor& index, const SampleTable& table, double gamma, bool first_visit) {
  Moved m{{}, std::move(expected), {}};
  const double log_m = std::log(static_cast<double>(negatives));
  for (size_t a = 0; a < log_g.size(); ++a) {
    const int64_t row = static_cast<int64_t>(index.at({static_cast<int64_t>(a) % index.size(0)}));
    const bool fresh = table.visited.at({row}) == 0;
    const double old = fresh ? kEmpty : std::log1p(-gamma) + table.log_s.at({row});
    const double mixed = fresh && first_visit ? log_g[a] : log_add(old, std::log(gamma) + log_g[a]);
    m.log_s.push_back(mixed);
    m.ratio.push_back(std::exp(log_sum[a] - log_m - mixed));
  }
  return m;
}

// Writes the batch's rows: the mean over each sample's anchors, and the step of its temperature.
void store(const Moved& m, const std::vector<double>& G, const Tensor& index, SampleTable& table,
           const IsogclrParams& p, bool learn_tau) {
  const int64_t batch = index.size(0), per = static_cast<int64_t>(m.log_s.size()) / batch;
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t row = static_cast<int64_t>(index.at({i}));
    double log_s = kEmpty, g = 0;
    for (int64_t k = 0; k < per; ++k) {
      log_s = log_add(log_s, m.log_s[static_cast<size_t>(k * batch + i)]);
      g += G[static_cast<size_t>(k * batch + i)] / static_cast<double>(per);
    }
    table.log_s.write<double>("isogclr")[row] = log_s - std::log(static_cast<double>(per));
    table.visited.write<int64_t>("isogclr")[row] = 1;
    if (!learn_tau) continue;
    double &u = table.u.write<double>("isogclr")[row], &tau = table.tau.write<double>("isogclr")[row];
    u = (1 - p.beta) * u + p.beta * std::clamp(g, -p.grad_clip, p.grad_clip);
    tau = std::clamp(tau - p.eta * u, p.tau_min, p.tau_max);
  }
}

Var constant(const std::vector<double>& v, DType dtype) {
  return Var(Tensor::from(std::span<const double>(v), {static_cast<int64_t>(v.size())}).to(dtype));
}

std::vector<double> values(const Var& v) {
  const Tensor t = v.value().to(DType::f64).contiguous();
  return {t.data<double>(), t.data<double>() + t.numel()};
}

// A Var with the gradient of `like` and the given value.
Var valued(const Var& like, const std::vector<double>& value) {
  return add(like, sub(constant(value, like.dtype()), stop_gradient(like)));
}

// One batch of views. d(1/M sum_j w_ij s_ij) = r sum_j p_ij ds_ij = r tau d lse.
Loss unimodal(const char* op, const Var& z1, const Var& z2, const Tensor& index, SampleTable& table,
              const IsogclrParams& p, bool learn_tau) {
  check_batch(op, z1, z2);
  check_index(op, "index", index, z1.size(0), table);
  const Var x = prepared(z1, p.normalize), y = prepared(z2, p.normalize);
  const int64_t batch = x.size(0);
  const Tensor tau = taus_of(table, index, 2 * batch, x.dtype());
  const Anchors a = both_views(op, x, y, Var(tau));
  const auto fixed = [&](const Var& t) { return both_views(op, stop_gradient(x), stop_gradient(y), t); };
  const std::vector<double> lse = values(a.lse), t = values(Var(tau));
  std::vector<double> log_g = lse;
  for (double& g : log_g) g -= std::log(static_cast<double>(a.negatives));
  const Moved m = move(log_g, lse, expected_similarity(fixed, tau), a.negatives, index, table, p.gamma, true);
  std::vector<double> weighted, G;
  for (size_t i = 0; i < lse.size(); ++i) {
    weighted.push_back(m.ratio[i] * m.expected[i]);
    G.push_back(m.log_s[i] + p.rho - weighted[i] / t[i]);
  }
  store(m, G, index, table, p, learn_tau);
  std::vector<double> slope;
  for (size_t i = 0; i < t.size(); ++i) slope.push_back(m.ratio[i] * t[i]);
  const Var pushed = valued(mul(constant(slope, x.dtype()), a.lse), weighted);
  const Var anchors = sub(pushed, a.positive);
  const Var samples = add(slice(anchors, 0, 0, batch), slice(anchors, 0, batch, 2 * batch));
  return {mean(samples), {}, stop_gradient(samples)};
}

// Rows of a against b: mean_i 1/M sum_j w_ij h_ij, h_ij = S_ij - S_ii, and the move of a's table.
Var one_way(const Var& a, const Var& b, const Tensor& index, SampleTable& table,
            const IsogclrBimodalParams& p) {
  constexpr const char* kOp = "isogclr_bimodal";
  const Tensor tau = taus_of(table, index, a.size(0), a.dtype());
  const Anchors s = across(kOp, a, b, Var(tau));
  const auto fixed = [&](const Var& t) { return across(kOp, stop_gradient(a), stop_gradient(b), t); };
  const std::vector<double> lse = values(s.lse), own = values(s.positive), t = values(Var(tau));
  std::vector<double> sums, log_g;  // log sum_{j != i} e^{h/tau}; log g
  for (size_t i = 0; i < lse.size(); ++i) {
    sums.push_back(lse[i] - own[i] / t[i]);
    log_g.push_back((p.include_diagonal ? log_add(sums[i], 0.0) : sums[i]) -
                    std::log(static_cast<double>(s.negatives)));
  }
  const Moved m =
      move(log_g, sums, expected_similarity(fixed, tau), s.negatives, index, table, p.gamma, p.first_visit);
  std::vector<double> weighted, G, slope;
  for (size_t i = 0; i < lse.size(); ++i) {
    weighted.push_back(m.ratio[i] * (m.expected[i] - own[i]));
    G.push_back(m.log_s[i] + p.rho - weighted[i] / t[i]);
    slope.push_back(m.ratio[i] * t[i]);
  }
  store(m, G, index, table, p, p.learn_tau);
  const Var pushed =
      sub(mul(constant(slope, a.dtype()), s.lse), mul(constant(m.ratio, a.dtype()), s.positive));
  return valued(pushed, weighted);
}

}  // namespace

Loss sogclr(const Var& z1, const Var& z2, const Tensor& index, SampleTable& table, const SogclrParams& p) {
  check_temperature("sogclr", p.temperature);
  JX_CHECK(p.gamma > 0 && p.gamma <= 1, "sogclr: gamma: expected above 0 to 1, got ", p.gamma);
  IsogclrParams fixed;
  fixed.gamma = p.gamma, fixed.normalize = p.normalize;
  return unimodal("sogclr", z1, z2, index, table, fixed, false);
}

Loss isogclr(const Var& z1, const Var& z2, const Tensor& index, SampleTable& table, const IsogclrParams& p) {
  check_moving("isogclr", p);
  return unimodal("isogclr", z1, z2, index, table, p, true);
}

Loss isogclr_bimodal(const Var& z1, const Var& z2, const Tensor& index1, const Tensor& index2,
                     SampleTable& images, SampleTable& texts, const IsogclrBimodalParams& p) {
  check_moving("isogclr_bimodal", p);
  check_batch("isogclr_bimodal", z1, z2);
  check_index("isogclr_bimodal", "index1", index1, z1.size(0), images);
  check_index("isogclr_bimodal", "index2", index2, z1.size(0), texts);
  const Var x = prepared(z1, p.normalize), y = prepared(z2, p.normalize);
  const Var image = one_way(x, y, index1, images, p), text = one_way(y, x, index2, texts, p);
  const Var samples = add(image, text);
  return {mean(samples), {}, stop_gradient(samples)};
}

}  // namespace juxta::ssl
