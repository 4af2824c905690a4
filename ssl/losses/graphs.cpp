#include "ssl/losses/graphs.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

Var unit(const Var& x) { return l2_normalize(at_least_f32(x)); }

Tensor finite(const Tensor& x) {
  const Tensor wide = x.to(DType::f64).contiguous();
  Tensor out = Tensor::empty(x.dims(), DType::boolean);
  for (int64_t i = 0; i < x.numel(); ++i)
    out.write<bool>("meow_contrast")[i] = std::isfinite(wide.data<double>()[i]);
  return out;
}

// log sum_j w_ij e^{s_ij}: w counts the clusterings that part i and j, so the sum is one over clusterings of
// sums over the other clusters; -inf where nobody is parted from i.
Var parted_lse(const Var& a, const Var& o, const Tensor& assign, double tau) {
  std::vector<Var> by_clustering;
  for (int64_t r = 0; r < assign.size(0); ++r) {
    ContrastOptions options;
    options.op = "meow_contrast";
    options.row_ids = options.column_ids = assign.select(0, r).contiguous();
    by_clustering.push_back(contrast({&a, 1}, {&o, 1}, constant_temperature(tau, a), options).lse);
  }
  const Var all = stack(by_clustering, 1);
  return logsumexp(all, finite(all.value()));
}

// Softmax over centroids, each with its temperature: columns mu_k / phi_k.
Var to_centroids(const Var& a, const Tensor& cluster, const MeowClustering& c) {
  const Var density(c.density.to(a.dtype()));
  const Var columns = stop_gradient(div(unit(Var(c.centroids)), unsqueeze(density, 1)));
  ContrastOptions options;
  options.op = "meow_contrast";
  options.positive = cluster;
  const ContrastResult s = contrast({&a, 1}, {&columns, 1}, constant_temperature(1, a), options);
  const double ratio = static_cast<double>(a.size(0)) / static_cast<double>(columns.size(0));
  return affine(sub(s.lse, s.positive), 1.0, std::log(ratio));
}

void check_clustering(const Tensor& assign, const MeowClustering& c, const Var& anchor, int64_t r) {
  const std::string centroids = concat("proto", r), density = concat("density", r);
  JX_CHECK(c.centroids.defined() && is_float(c.centroids.dtype()) && c.centroids.ndim() == 2 &&
               c.centroids.size(0) >= 1 && c.centroids.size(1) == anchor.size(1) &&
               c.centroids.dtype() == anchor.dtype(),
           "meow_contrast: ", centroids, ": expected ", anchor.dtype(), " [K, ", anchor.size(1), "], got ",
           c.centroids);
  const int64_t k = c.centroids.size(0);
  JX_CHECK(c.density.defined() && is_float(c.density.dtype()) && c.density.dims() == Dims({k}),
           "meow_contrast: ", density, ": expected a float [", k, "], got ", c.density);
  check_finite("meow_contrast", {centroids.c_str(), Var(c.centroids)});
  check_finite("meow_contrast", {density.c_str(), Var(c.density)});
  for (int64_t i = 0; i < k; ++i)
    JX_CHECK(c.density.at({i}) > 0, "meow_contrast: ", density, ": expected positive numbers, got ",
             c.density.at({i}), " of cluster ", i);
  check_indices("meow_contrast", concat("assign[", r, "]").c_str(), assign.select(0, r), {anchor.size(0)}, k);
}

}  // namespace

Loss meow_contrast(const Var& anchor, const Var& other, const Tensor& assign,
                   std::span<const MeowClustering> clusterings, const MeowParams& p) {
  check_embeddings("meow_contrast", {{"anchor", anchor}, {"other", other}});
  check_temperature("meow_contrast", p.tau, "tau");
  const int64_t n = anchor.size(0), count = static_cast<int64_t>(clusterings.size());
  JX_CHECK(
      count >= 1 && assign.defined() && assign.dtype() == DType::i64 && assign.dims() == Dims({count, n}),
      "meow_contrast: assign: expected i64 [R, ", n, "] with as many rows as clusterings (", count,
      ", at least 1), got ", assign);
  for (int64_t r = 0; r < count; ++r)
    check_clustering(assign, clusterings[static_cast<size_t>(r)], anchor, r);
  const Var a = unit(anchor), o = unit(other);
  const Var lse = parted_lse(a, o, assign, p.tau), own = affine(sum(mul(a, o), {1}), 1 / p.tau, 0.0);
  const Var info_rows =
      where(finite(lse.value()), sub(lse, own), Var(Tensor::zeros(lse.dims(), lse.dtype())));
  std::vector<Var> proto_rows;
  for (int64_t r = 0; r < count; ++r)
    proto_rows.push_back(
        to_centroids(a, assign.select(0, r).contiguous(), clusterings[static_cast<size_t>(r)]));
  const Var of_clusters = mean(stack(proto_rows, 1), {1});
  const Var samples = add(info_rows, affine(of_clusters, p.lam_proto, 0.0));
  return {mean(samples),
          {{"info", stop_gradient(mean(info_rows))}, {"proto", stop_gradient(mean(of_clusters))}},
          stop_gradient(samples)};
}

namespace {

// W1 a_i and W1 o_j + b1: W1 (a_i + o_j) + b1 is their sum.
struct Pairs {
  Var a, o;                // [N, D], unit length
  Var hidden_a, hidden_o;  // [N, H]
  Var w2, b2;
};

Pairs pairs_of(const Var& anchor, const Var& other, const WeightNet& net) {
  constexpr const char* kLoss = "adameow_contrast";
  check_embeddings(kLoss, {{"anchor", anchor}, {"other", other}});
  JX_CHECK(net.w1.defined() && is_float(net.w1.dtype()) && net.w1.ndim() == 2 && net.w1.size(0) >= 1 &&
               net.w1.size(1) == anchor.size(1),
           kLoss, ": W1: expected a float [H, ", anchor.size(1), "], got ", net.w1);
  const int64_t h = net.w1.size(0);
  const auto check = [&](const char* name, const Var& w, Dims dims) {
    JX_CHECK(w.defined() && is_float(w.dtype()) && w.dims() == dims, kLoss, ": ", name, ": expected a float ",
             dims, ", got ", w);
    check_finite(kLoss, {name, w});
  };
  check("W1", net.w1, net.w1.dims());
  check("b1", net.b1, {h});
  check("W2", net.w2, {1, h});
  check("b2", net.b2, {1});
  const Var a = unit(anchor), o = unit(other), w1 = at_least_f32(net.w1);
  return {a,
          o,
          linear(a, w1, {}),
          linear(o, w1, at_least_f32(net.b1)),
          at_least_f32(net.w2),
          at_least_f32(net.b2)};
}

// Logits of w for a block of anchors: [B, N].
Var pair_logits(const Var& hidden_a, const Var& hidden_o, const Var& w2, const Var& b2) {
  const Var hidden = tanh(add(unsqueeze(hidden_a, 1), unsqueeze(hidden_o, 0)));
  return squeeze(linear(hidden, w2, b2), 2);
}

// Calls block(begin, end) for blocks of anchors whose [B, N, H] activations have about four million numbers.
template <class F>
void for_blocks(const Pairs& x, F block) {
  const int64_t n = x.a.size(0), rows = std::max<int64_t>(1, (int64_t{1} << 22) / (n * x.hidden_o.size(1)));
  for (int64_t begin = 0; begin < n; begin += rows) block(begin, std::min(n, begin + rows));
}

}  // namespace

Loss adameow_contrast(const Var& anchor, const Var& other, const WeightNet& net, const AdameowParams& p) {
  check_temperature("adameow_contrast", p.tau, "tau");
  const Pairs x = pairs_of(anchor, other, net);
  const double scale = 1 / p.tau;
  // log sum_j e^{s_ij + log w_ij}
  const CheckpointFn weighted_lse = [scale](std::span<const Var> in) {
    const Var s = affine(matmul(in[0], transpose(in[1], 0, 1)), scale, 0.0);
    return std::vector<Var>{logsumexp(add(s, log_sigmoid(pair_logits(in[2], in[3], in[4], in[5]))))};
  };
  std::vector<Var> lse;
  for_blocks(x, [&](int64_t begin, int64_t end) {
    const std::vector<Var> in{
        slice(x.a, 0, begin, end), x.o, slice(x.hidden_a, 0, begin, end), x.hidden_o, x.w2, x.b2};
    lse.push_back(checkpoint(weighted_lse, in)[0]);
  });
  const Var samples = sub(cat(lse, 0), affine(sum(mul(x.a, x.o), {1}), scale, 0.0));
  return {mean(samples), {}, stop_gradient(samples)};
}

Tensor adameow_weights(const Var& anchor, const Var& other, const WeightNet& net) {
  const NoGrad constants;
  const Pairs x = pairs_of(anchor, other, net);
  std::vector<Var> w;
  for_blocks(x, [&](int64_t begin, int64_t end) {
    w.push_back(sigmoid(pair_logits(slice(x.hidden_a, 0, begin, end), x.hidden_o, x.w2, x.b2)));
  });
  return cat(w, 0).value();
}

}  // namespace juxta::ssl
