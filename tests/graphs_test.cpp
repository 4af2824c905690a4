// Graph contrast, recommendation and layers on graphs: small examples, edge cases, errors.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/graph.h"
#include "ssl/data/metapath.h"
#include "ssl/losses/graphs.h"
#include "ssl/losses/recommendation.h"
#include "tests/support.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor ids(std::initializer_list<int64_t> v) {
  return Tensor::from<int64_t>(v, {static_cast<int64_t>(v.size())});
}

TEST(Meow, PositivesAreNotInTheDenominator) {
  // a = o = the axes of the plane, parted in one of two clusterings: w = [[0, 1], [1, 0]]
  const Var z(Tensor::from<double>({1, 0, 0, 1}, {2, 2}));
  const Tensor& axes = z.value();
  const Tensor one = Tensor::full({2}, 1.0, DType::f64);
  const std::vector<MeowClustering> both{{axes, one}, {axes, one}};
  MeowParams p;
  p.tau = 1, p.lam_proto = 0;
  const Loss parted = meow_contrast(z, z, Tensor::from<int64_t>({0, 1, 0, 0}, {2, 2}), both, p);
  EXPECT_NEAR(parted.loss.item(), -1.0, 1e-14);  // -log(e^1 / e^0)
  const Loss shared = meow_contrast(z, z, Tensor::zeros({2, 2}, DType::i64), both, p);
  EXPECT_EQ(shared.loss.item(), 0.0);
  // a mutant that keeps the positive (w_ii = 1): log(1 + e) - 1
  EXPECT_GT(std::abs(parted.loss.item() - (std::log(1 + std::exp(1.0)) - 1)), 1.0);
}

TEST(Meow, RefusesBadInput) {
  const Var z(normal({3, 2}, 1));
  const Tensor mu = normal({2, 2}, 2), phi = Tensor::full({2}, 0.5, DType::f64);
  const std::vector<MeowClustering> one{{mu, phi}}, zero{{mu, Tensor::from<double>({0.5, 0}, {2})}};
  const Tensor assign = Tensor::zeros({1, 3}, DType::i64);
  expect_error(
      [&] {
        meow_contrast(z, z, Tensor::full({1, 3}, 2, DType::i64), one);
      },
      {"meow_contrast", "assign[0]", "[0, 2)", "got 2"});
  expect_error([&] { meow_contrast(z, z, assign, zero); }, {"density0", "positive", "cluster 1"});
  expect_error([&] { meow_contrast(z, z, assign, {}); }, {"meow_contrast", "assign", "at least 1"});
}

TEST(Adameow, BlocksGiveTheWholeLoss) {
  // 1100 nodes with 4 hidden units are two blocks
  const int64_t n = 1100;
  const Var a = Var::leaf(normal({n, 3}, 1)), o(normal({n, 3}, 2));
  const WeightNet net{Var(normal({4, 3}, 3)), Var(normal({4}, 4)), Var(normal({1, 4}, 5)),
                      Var(normal({1}, 6))};
  AdameowParams p;
  p.tau = 0.5;
  const Loss l = adameow_contrast(a, o, net, p);
  backward(l.loss);
  const Var x = Var::leaf(a.value().clone()), u = l2_normalize(x), v = l2_normalize(o);
  const Var s = affine(matmul(u, transpose(v, 0, 1)), 2.0, 0.0);
  const Var hidden = tanh(add(
      add(unsqueeze(matmul(u, transpose(net.w1, 0, 1)), 1), unsqueeze(matmul(v, transpose(net.w1, 0, 1)), 0)),
      net.b1));
  const Var w = log_sigmoid(add(sum(mul(hidden, reshape(net.w2, {4})), {2}), net.b2));
  const Var whole = mean(sub(logsumexp(add(s, w)), affine(sum(mul(u, v), {1}), 2.0, 0.0)));
  backward(whole);
  EXPECT_NEAR(l.loss.item(), whole.item(), 1e-12);
  EXPECT_LT(max_abs_diff(a.grad(), x.grad()), 1e-13);
  EXPECT_LT(max_abs_diff(adameow_weights(a, o, net), exp(w).value()), 1e-13);
  expect_error([&] { adameow_contrast(a, o, {net.w1, net.w2, net.w2, net.b2}); }, {"adameow_contrast", "b1"});
}

TEST(Metapath, KeepsTheBestAndTransposes) {
  const Tensor c = Tensor::from<int64_t>({4, 2, 2, 2, 0, 0, 2, 0, 1}, {3, 3});
  const MetapathGraph g = metapath_pathsim(c, 2);
  EXPECT_NEAR(g.score.at({0, 1}), 1.0, 1e-15);        // 2 2 / (4 + 0)
  EXPECT_NEAR(g.score.at({0, 2}), 4.0 / 5.0, 1e-15);  // dropped: 1 and 1 are better
  EXPECT_EQ(g.score.at({1, 1}), 0.0);                 // 0 / 0
  EXPECT_EQ(g.top.at({0, 2}), 0);
  EXPECT_EQ(g.top.at({2, 0}), 2);
  EXPECT_NEAR(g.normalized.at({0, 2}), 2 / std::sqrt(6.0 * 3.0), 1e-15);
  EXPECT_EQ(g.normalized.at({2, 0}), 0.0);
  expect_error([&] { metapath_pathsim(c, 0); }, {"metapath_pathsim", "k"});
  expect_error([&] { metapath_pathsim(Tensor::full({2, 2}, -1, DType::i64), 1); }, {"counts >= 0"});
}

TEST(GraphLayers, NodesWithoutContextKeepTheirOwn) {
  const Var h(Tensor::from<double>({1, 2, 3, 4}, {2, 2})),
      features(Tensor::from<double>({1, 0, 3, 0}, {2, 2}));
  const Tensor incidence = Tensor::from<int64_t>({1, 1, 0, 0}, {2, 2});
  const Var eye(Tensor::from<double>({1, 0, 0, 1}, {2, 2}));
  const nn::MetapathContext context{features, incidence, eye};
  const Tensor out = nn::add_metapath_context(h, {&context, 1}).value();
  EXPECT_EQ(out.at({0, 0}), 3.0);  // 1 + (1 + 3) / 2
  EXPECT_EQ(out.at({1, 0}), 3.0);
  const nn::MetapathContext wrong{features, Tensor::full({2, 2}, 2, DType::i64), eye};
  expect_error([&] { nn::add_metapath_context(h, {&wrong, 1}); }, {"incidence", "0 or 1", "2"});
  expect_error(
      [&] {
        nn::meow_encode(h, SparseMatrix(3, 3, {}), {eye, eye, Var()});
      },
      {"adjacency", "2 x 2"});
  expect_error([&] { nn::semantic_attention(h, eye, eye, eye); }, {"semantic_attention", "views"});
}

TEST(Recommendation, BprByHand) {
  const Var u(Tensor::from<double>({2, 0}, {1, 2})), p(Tensor::from<double>({1, 5}, {1, 2})),
      n(Tensor::from<double>({3, 5}, {1, 2}));
  BprParams exact;
  exact.eps = 0;
  EXPECT_NEAR(bpr_loss(u, p, n, exact).loss.item(), std::log(1 + std::exp(4.0)), 1e-14);
  exact.eps = -1;
  expect_error([&] { bpr_loss(u, p, n, exact); }, {"bpr_loss", "eps", "-1"});
}

TEST(Recommendation, AdjacencyIsNormalisedAndRepeatsCountOnce) {
  const SparseMatrix a =
      bipartite_adjacency("test", Tensor::from<int64_t>({0, 0, 0, 1, 0, 1, 1, 1}, {4, 2}), 3, 2);
  Tensor eye = Tensor::zeros({5, 5}, DType::f64);
  for (int64_t i = 0; i < 5; ++i) eye.write<double>("test")[6 * i] = 1;
  const Tensor dense = spmm(a, Var(eye)).value();
  EXPECT_NEAR(dense.at({0, 3}), 1 / std::sqrt(2.0), 1e-15);
  EXPECT_NEAR(dense.at({4, 0}), 0.5, 1e-15);  // degrees 2 and 2
  EXPECT_EQ(dense.at({2, 3}), 0.0);           // user 2 is isolated
  EXPECT_EQ(a.size(), 6);
  expect_error(
      [] {
        bipartite_adjacency("simgcl", Tensor::full({1, 2}, 3, DType::i64), 4, 3);
      },
      {"simgcl", "edges", "(3, 3)"});
}

TEST(Recommendation, WithoutNoiseTheMethodsMeet) {
  // eps = 0: the three passes of SimGCL are one, and XSimGCL's final is SimGCL's
  const RecommendationGraph g{Var(normal({4, 3}, 1)), Var(normal({5, 3}, 2)),
                              Tensor::from<int64_t>({0, 0, 1, 1, 2, 4, 3, 3, 0, 2}, {5, 2})};
  const RecommendationBatch batch{ids({0, 1, 1}), ids({2, 1, 1}), ids({3, 0, 4})};
  SimgclParams s;
  s.eps = 0;
  XsimgclParams x;
  x.eps = 0;
  EXPECT_EQ(max_abs_diff(simgcl(g, {}, {}, batch, s).term("final").value(),
                         xsimgcl(g, {}, batch, x).term("final").value()),
            0.0);
  x.l_star = 3;
  expect_error([&] { xsimgcl(g, {}, batch, x); }, {"xsimgcl", "l_star", "0 to 2", "3"});
  x.l_star = 1, x.eps = 0.1;
  expect_error([&] { xsimgcl(g, {}, batch, x); }, {"xsimgcl", "noise", "[2, 9, 3]"});
  LightgcnParams l;
  expect_error(
      [&] {
        lightgcn_bpr(g, {ids({0}), ids({5}), ids({0})}, l);
      },
      {"lightgcn_bpr", "pos_idx", "[0, 5)", "got 5"});
}

}  // namespace
}  // namespace juxta::test
