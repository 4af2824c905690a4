// Properties of every loss, by table, and their errors. Exact values are in golden_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ssl/losses/batch_contrastive.h"
#include "ssl/losses/registry.h"
#include "ssl/losses/without_negatives.h"
#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using ssl::Loss;
using ssl::Objective;
using ssl::ParamTexts;

// What holds for one loss with one setting. Inputs are those of its registry row; rows of `batch` inputs
// belong together.
struct Property {
  const char* loss;
  ParamTexts params{};
  std::vector<const char*> batch{};                          // permuting their rows together changes nothing
  std::vector<std::pair<const char*, const char*>> swaps{};  // exchanging all these pairs changes nothing
  std::vector<const char*> scale_free{};                     // scaling their rows changes nothing
  std::vector<const char*> constants{};                      // never receive a gradient
  bool temperature = true;                                   // has a parameter of that name
  double one_row = 0;                                        // loss of identical rows at N = 1
  double (*equal_rows)(double n, double k) = nullptr;        // loss when all rows are one vector
};

const std::vector<Property>& properties() {
  static const std::vector<Property> rows{{"nt_xent",
                                           {},
                                           {"z1", "z2"},
                                           {{"z1", "z2"}},
                                           {"z1", "z2"},
                                           {},
                                           true,
                                           0,
                                           [](double n, double) { return std::log(2 * n - 1); }},
                                          {"info_nce",
                                           {{"negatives", "queue"}},
                                           {"query", "key"},
                                           {},
                                           {"query", "key"},
                                           {"key", "queue"},
                                           true,
                                           std::log(1 + 5.0),
                                           [](double, double k) { return std::log(1 + k); }},
                                          {"info_nce",
                                           {{"negatives", "queue"}, {"symmetric", "true"}},
                                           {"query", "key"},
                                           {{"query", "key"}},
                                           {"query", "key"},
                                           {"queue"},
                                           true,
                                           std::log(1 + 5.0),
                                           [](double, double k) { return std::log(1 + k); }},
                                          {"info_nce",
                                           {{"negatives", "in_batch"}},
                                           {"query", "key"},
                                           {},
                                           {"query", "key"},
                                           {},
                                           true,
                                           0,
                                           [](double n, double) { return std::log(n); }},
                                          {"info_nce",
                                           {{"negatives", "in_batch"}, {"symmetric", "true"}},
                                           {"query", "key"},
                                           {{"query", "key"}},
                                           {"query", "key"},
                                           {},
                                           true,
                                           0,
                                           [](double n, double) { return std::log(n); }},
                                          {"info_nce",
                                           {{"negatives", "both"}},
                                           {"query", "key"},
                                           {},
                                           {"query", "key"},
                                           {"key", "queue"},
                                           true,
                                           std::log(1 + 5.0),
                                           [](double n, double k) { return std::log(n + k); }},
                                          {"info_nce",
                                           {{"negatives", "both"}, {"symmetric", "true"}},
                                           {"query", "key"},
                                           {{"query", "key"}},
                                           {"query", "key"},
                                           {"queue"},
                                           true,
                                           std::log(1 + 5.0),
                                           [](double n, double k) { return std::log(n + k); }},
                                          {"negative_cosine",
                                           {{"form", "simsiam"}},
                                           {"p1", "p2", "z1", "z2"},
                                           {{"p1", "p2"}, {"z1", "z2"}},
                                           {"p1", "p2", "z1", "z2"},
                                           {"z1", "z2"},
                                           false,
                                           -1,
                                           [](double, double) { return -1.0; }},
                                          {"negative_cosine",
                                           {{"form", "byol"}},
                                           {"p1", "p2", "z1", "z2"},
                                           {{"p1", "p2"}, {"z1", "z2"}},
                                           {"p1", "p2", "z1", "z2"},
                                           {"z1", "z2"},
                                           false,
                                           0,
                                           [](double, double) { return 0.0; }}};
  return rows;
}

using Values = std::vector<std::pair<std::string, Tensor>>;
constexpr int64_t kQueueRows = 5;

bool uses_queue(const Property& p) { return p.params.empty() || p.params[0].second != "in_batch"; }

// Random values for every input of the loss, f64; [N, D], the queue [K, D] of unit rows.
Values random_inputs(const Property& p, int64_t n, int64_t depth, uint64_t seed = 1) {
  Values v;
  for (const ssl::InputRow& i : ssl::loss_objective(p.loss).inputs) {
    const bool queue = std::string(i.name) == "queue";
    if (queue && !uses_queue(p)) continue;
    Tensor t = normal({queue ? kQueueRows : n, depth}, seed++);
    if (queue)
      for (int64_t r = 0; r < kQueueRows; ++r) {
        double norm = 0;
        for (int64_t d = 0; d < depth; ++d) norm += t.at({r, d}) * t.at({r, d});
        for (int64_t d = 0; d < depth; ++d) t.write<double>("test")[r * depth + d] /= std::sqrt(norm);
      }
    v.emplace_back(i.name, t);
  }
  return v;
}

struct Result {
  double loss;
  Values grads;
  const Tensor& grad(const std::string& name) const {
    return std::find_if(grads.begin(), grads.end(), [&](const auto& g) { return g.first == name; })->second;
  }
};

Result run(const Property& p, const Values& values, const ParamTexts& more = {}, DType dtype = DType::f64) {
  const Objective& row = ssl::loss_objective(p.loss);
  ssl::Inputs in(row.name);
  for (const auto& [name, t] : values) in.add(name, Var::leaf(t.to(dtype).clone()));
  ParamTexts params = p.params;
  params.insert(params.end(), more.begin(), more.end());
  const Loss loss = ssl::run_objective(row, in, params);
  backward(loss.loss);
  Result r{loss.loss.item(), {}};
  for (const auto& [name, v] : in.all()) r.grads.emplace_back(name, v.grad());
  return r;
}

bool listed(const std::vector<const char*>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string text(const Property& p) {
  std::string s = p.loss;
  for (const auto& [k, v] : p.params) s += " " + k + "=" + v;
  return s;
}

Tensor permuted(const Tensor& t) {  // row i goes to (2 i + 1) mod N, N odd
  Tensor out = t.clone();
  const int64_t n = t.size(0), d = t.size(1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < d; ++c) out.write<double>("test")[(2 * i + 1) % n * d + c] = t.at({i, c});
  return out;
}

TEST(Losses, EveryLossHasARowOfProperties) {
  for (const Objective* row : ssl::loss_objectives())
    EXPECT_TRUE(std::any_of(properties().begin(), properties().end(), [&](const Property& p) {
      return std::string(p.loss) == row->name;
    })) << row->name;
}

TEST(Losses, PermutingTheBatchPermutesTheGradient) {
  for (const Property& p : properties()) {
    Values v = random_inputs(p, 7, 6);
    const Result before = run(p, v);
    for (auto& [name, t] : v)
      if (listed(p.batch, name)) t = permuted(t);
    const Result after = run(p, v);
    EXPECT_NEAR(before.loss, after.loss, 1e-12) << text(p);
    for (const auto& [name, g] : before.grads) {
      if (g.defined() && listed(p.batch, name)) {
        EXPECT_LT(max_abs_diff(permuted(g), after.grad(name)), 1e-12) << text(p) << " " << name;
      }
    }
  }
}

TEST(Losses, ExchangingTheViewsChangesNothing) {
  for (const Property& p : properties()) {
    Values v = random_inputs(p, 6, 5);
    const double before = run(p, v).loss;
    const auto find = [&](const char* name) -> Tensor& {
      return std::find_if(v.begin(), v.end(), [&, key = name](const auto& x) { return x.first == key; })
          ->second;
    };
    for (const auto& [a, b] : p.swaps) std::swap(find(a), find(b));
    EXPECT_NEAR(before, run(p, v).loss, 1e-12) << text(p);
  }
}

TEST(Losses, LengthsDoNotMatterAndGradientsAreOrthogonal) {
  for (const Property& p : properties()) {
    Values v = random_inputs(p, 5, 6);
    const Result before = run(p, v);
    for (auto& [name, g] : before.grads) {
      if (!listed(p.scale_free, name) || !g.defined()) continue;
      const Tensor& z =
          std::find_if(v.begin(), v.end(), [&, key = name](const auto& x) { return x.first == key; })->second;
      for (int64_t i = 0; i < z.size(0); ++i) {
        double along = 0;
        for (int64_t d = 0; d < z.size(1); ++d) along += z.at({i, d}) * g.at({i, d});
        EXPECT_NEAR(along, 0, 1e-12) << text(p) << " " << name;
      }
    }
    for (auto& [name, t] : v)
      for (int64_t i = 0; listed(p.scale_free, name) && i < t.numel(); ++i)
        t.write<double>("test")[i] *= std::pow(10.0, static_cast<double>(i / t.size(1) % 3) - 1.0);
    EXPECT_NEAR(before.loss, run(p, v).loss, 1e-12) << text(p);
  }
}

TEST(Losses, ConstantsReceiveNoGradient) {
  for (const Property& p : properties())
    for (const auto& [name, g] : run(p, random_inputs(p, 5, 6)).grads)
      EXPECT_EQ(g.defined() && max_abs(g) > 0, !listed(p.constants, name)) << text(p) << " " << name;
}

TEST(Losses, EqualRowsHaveAClosedForm) {
  for (const Property& p : properties()) {
    for (const int64_t n : {1, 2, 9, 40}) {
      Values v = random_inputs(p, n, 4);
      for (auto& [name, t] : v)
        for (int64_t i = 0; i < t.numel(); ++i) t.write<double>("test")[i] = i % 4 == 1 ? 1.0 : 0.0;
      const double wanted = p.equal_rows(static_cast<double>(n), static_cast<double>(kQueueRows));
      EXPECT_NEAR(run(p, v).loss, wanted, 1e-12) << text(p) << " N = " << n;
      EXPECT_NEAR(run(p, v, {}, DType::f32).loss, wanted, 2e-6 * std::max(1.0, std::abs(wanted))) << text(p);
      if (n == 1) {
        EXPECT_NEAR(wanted, p.one_row, 1e-12) << text(p);
      }
    }
  }
}

TEST(Losses, GradientsMatchFiniteDifferences) {
  for (const Property& p : properties()) {
    if (!p.swaps.empty() && uses_queue(p) && std::string(p.loss) == "info_nce") continue;  // see below
    for (const int64_t n : {1, 2, 5}) {
      const Values v = random_inputs(p, n, 5);
      std::vector<Tensor> inputs;
      for (const auto& [name, t] : v)
        inputs.push_back(listed(p.constants, name) ? t.to(DType::f32).to(DType::f64) : t);
      const OpFn op = [&](std::span<const Var> in) {
        const Objective& row = ssl::loss_objective(p.loss);
        ssl::Inputs named(row.name);
        for (size_t i = 0; i < in.size(); ++i)
          named.add(v[i].first, listed(p.constants, v[i].first) ? Var(inputs[i]) : in[i]);
        return std::vector<Var>{ssl::run_objective(row, named, p.params).loss};
      };
      // A constant enters by its own copy, so that moving it changes nothing and its gradient of 0 is right
      for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[i].clone();
      const GradCheckResult g = gradcheck(op, inputs, {.tolerance = 1e-5});
      EXPECT_TRUE(g.ok) << text(p) << " N = " << n << ": " << g.message;
    }
  }
}

// Each direction holds its keys constant, so that the gradient is not the derivative of the value.
TEST(Losses, SymmetricWithAQueueIsTheMeanOfBothDirections) {
  for (const char* negatives : {"queue", "both"}) {
    const Property p{.loss = "info_nce", .params = {{"negatives", negatives}}};
    const Values v = random_inputs(p, 5, 6);
    Values mirrored = v;
    std::swap(mirrored[0].second, mirrored[1].second);
    const Result one = run(p, v), other = run(p, mirrored), both = run(p, v, {{"symmetric", "true"}});
    EXPECT_NEAR(both.loss, (one.loss + other.loss) / 2, 1e-12);
    EXPECT_LT(max_abs_diff(both.grad("query"), affine(Var(one.grad("query")), 0.5, 0).value()), 1e-12);
    EXPECT_LT(max_abs_diff(both.grad("key"), affine(Var(other.grad("query")), 0.5, 0).value()), 1e-12);
  }
}

TEST(Losses, TemperaturesFromTinyToLarge) {
  for (const Property& p : properties()) {
    if (!p.temperature) continue;
    for (const char* temperature : {"0.002", "0.02", "0.1", "1", "10"}) {
      const Values v = random_inputs(p, 9, 6);
      const Result wide = run(p, v, {{"temperature", temperature}});
      const Result narrow = run(p, v, {{"temperature", temperature}}, DType::f32);
      EXPECT_TRUE(std::isfinite(wide.loss)) << text(p);
      EXPECT_NEAR(wide.loss, narrow.loss, 1e-5 * std::max(1.0, std::abs(wide.loss)))
          << text(p) << " " << temperature;
      for (const auto& [name, g] : wide.grads) {
        if (g.defined()) {
          EXPECT_LT(max_abs_diff(g, narrow.grad(name)), 2e-3 * max_abs(g) + 2e-6)
              << text(p) << " " << temperature;
        }
      }
    }
  }
}

TEST(Losses, Bf16EmbeddingsGiveF32Losses) {
  for (const Property& p : properties()) {
    const Values v = random_inputs(p, 9, 16);
    const Result wide = run(p, v), narrow = run(p, v, {}, DType::bf16);
    EXPECT_NEAR(wide.loss, narrow.loss, 0.05 * std::max(1.0, std::abs(wide.loss))) << text(p);
    for (const auto& [name, g] : narrow.grads)
      if (g.defined()) {
        EXPECT_EQ(g.dtype(), DType::bf16);
      }
  }
}

TEST(Losses, EmptyQueue) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Var q = Var::leaf(normal({4, 6}, 1).to(dtype)), k(normal({4, 6}, 2).to(dtype));
    const Var none(Tensor::empty({0, 6}, dtype));
    const Var loss = ssl::info_nce(q, k, none, {}).loss;  // one candidate each: nothing to learn
    backward(loss);
    EXPECT_EQ(loss.item(), 0.0);
    EXPECT_EQ(max_abs(q.grad()), 0.0);
    q.is_leaf();
    const double both = ssl::info_nce(q, k, none, {.negatives = ssl::Negatives::both}).loss.item();
    EXPECT_NEAR(both, ssl::info_nce(q, k, Var(), {.negatives = ssl::Negatives::in_batch}).loss.item(), 1e-6);
  }
}

TEST(Losses, NoMatrixOfSimilaritiesIsStored) {
  constexpr int64_t kN = 2048, kDepth = 32;
  const Var z1 = Var::leaf(normal({kN, kDepth}, 1).to(DType::f32)),
            z2 = Var::leaf(normal({kN, kDepth}, 2).to(DType::f32));
  CachingAllocator& memory = allocator(kCpu);
  memory.reset_peak();
  const size_t before = memory.stats().live_bytes;
  backward(ssl::nt_xent(z1, z2).loss);
  const size_t used = memory.stats().peak_bytes - before, inputs = 2 * kN * kDepth * sizeof(float);
  EXPECT_LT(
      used,
      3 * inputs);  // the gradients, and a few numbers per row; the matrix would be 128 times the inputs
}

TEST(Losses, NamedTerms) {
  const Var z(normal({4, 6}, 1));
  const Loss l = ssl::nt_xent(z, z);
  EXPECT_NEAR(l.term("positive").item(), 1.0, 1e-12);
  EXPECT_NEAR(l.term("lse").item() - l.term("positive").item() / 0.5, l.loss.item(), 1e-12);
  expect_error([&] { l.term("negative"); }, {"negative", "positive", "lse"});
}

TEST(Losses, ErrorsNameLossArgumentAndRule) {
  const Var z(normal({4, 6}, 1)), other(normal({5, 6}, 2)), queue(normal({3, 6}, 3));
  Tensor bad = normal({4, 6}, 1);
  bad.write<double>("test")[9] = std::nan("");
  expect_error([&] { ssl::nt_xent(z, other); }, {"nt_xent", "z2", "[4, 6]", "[5, 6]"});
  expect_error([&] { ssl::nt_xent(z, Var()); }, {"nt_xent", "z2", "missing"});
  expect_error([&] { ssl::nt_xent(z, Var(normal({4, 6}, 1).to(DType::f32))); }, {"z2", "f64", "f32"});
  expect_error([&] { ssl::nt_xent(Var(bad), z); }, {"nt_xent", "z1", "finite", "nan", "row 1"});
  expect_error([&] { ssl::nt_xent(z, z, {.temperature = 0}); }, {"nt_xent", "temperature", "positive", "0"});
  expect_error([&] { ssl::nt_xent(z, z, {.temperature = -0.1}); }, {"temperature", "-0.1"});
  expect_error([&] { ssl::nt_xent(Var(Tensor::zeros({4})), z); }, {"nt_xent", "z1", "[N, D]", "[4]"});
  expect_error([&] { ssl::nt_xent(Var(Tensor::zeros({0, 6})), z); }, {"nt_xent", "z1", "N, D >= 1"});
  expect_error([&] { ssl::info_nce(z, z, Var()); }, {"info_nce", "queue", "in_batch"});
  expect_error(
      [&] {
        ssl::info_nce(z, z, Var(normal({3, 5}, 3)));
      },
      {"info_nce", "queue", "[K, 6]", "[3, 5]"});
  expect_error([&] { ssl::info_nce(z, z, Var(bad)); }, {"info_nce", "queue", "finite"});
  expect_error([&] { ssl::info_nce(z, z, queue, {.negatives = ssl::Negatives::in_batch}); },
               {"queue", "both"});
  expect_error([&] { ssl::info_nce(z, z, queue, {.temperature = std::nan("")}); },
               {"info_nce", "temperature"});
  expect_error([&] { ssl::negative_cosine(z, z, z, other); }, {"negative_cosine", "z2", "[5, 6]"});
  expect_error([&] { ssl::negative_cosine(z, Var(bad), z, z); }, {"negative_cosine", "p2", "finite"});
}

TEST(Losses, RegistryListsInputsAndParameters) {
  EXPECT_EQ(ssl::find_loss("no_such_loss"), nullptr);
  expect_error([] { ssl::loss_objective("nt_xnet"); }, {"nt_xnet", "did you mean nt_xent"});
  for (const Objective* row : ssl::loss_objectives()) {
    EXPECT_GT(row->inputs.size(), 0u) << row->name;
    for (const char* s : {row->name, row->system, row->paper, row->equation})
      EXPECT_GT(std::string(s).size(), 2u);
  }
  ssl::Params listing("info_nce");
  ssl::loss_objective("info_nce").list(listing);
  ASSERT_EQ(listing.infos().size(), 4u);
  EXPECT_EQ(listing.infos()[0].value, "0.07");
  EXPECT_EQ(listing.infos()[2].value, "\"queue\"");
  EXPECT_EQ(listing.infos()[2].choices.size(), 3u);
  const auto set = [](ParamTexts t) { ssl::Params("info_nce", std::move(t)).read<ssl::InfoNceParams>(); };
  expect_error([&] { set({{"temprature", "1"}}); }, {"info_nce", "temprature", "did you mean temperature"});
  expect_error([&] { set({{"temperature", "warm"}}); }, {"info_nce", "temperature", "a number", "warm"});
  expect_error([&] { set({{"symmetric", "1"}}); }, {"symmetric", "true or false"});
  expect_error([&] { set({{"negatives", "\"none\""}}); }, {"negatives", "queue, in_batch, both", "none"});
  ssl::Inputs in("nt_xent");
  in.add("z1", Var(normal({4, 6}, 1)));
  expect_error([&] { ssl::run_objective(ssl::loss_objective("nt_xent"), in, {}); },
               {"nt_xent", "z2", "missing"});
  in.add("z3", Var(normal({4, 6}, 1)));
  expect_error([&] { ssl::run_objective(ssl::loss_objective("nt_xent"), in, {}); }, {"z3", "no such input"});
}

TEST(Losses, ParametersOfEveryKindAreRead) {
  struct Everything {
    double a = 1;
    int64_t b = 2;
    std::optional<double> c = 0.5;
    std::vector<double> d{1, 2};
    std::vector<int64_t> e{3};
    std::vector<bool> f;
    std::vector<std::string> g{"x"};
    std::string h = "text";
    void fields(ssl::Params& p) {
      p("a", a), p("b", b), p("c", c), p("d", d), p("e", e), p("f", f), p("g", g), p("h", h);
    }
  };
  ssl::Params given("all", {{"a", "2e-3"},
                            {"b", "7.0"},
                            {"c", "null"},
                            {"d", "[0.5, 1]"},
                            {"e", "[]"},
                            {"f", "[true,false]"},
                            {"g", "[\"p\", \"q\"]"},
                            {"h", "\"word\""}});
  const auto e = given.read<Everything>();
  EXPECT_EQ(e.a, 2e-3);
  EXPECT_EQ(e.b, 7);
  EXPECT_FALSE(e.c.has_value());
  EXPECT_EQ(e.d, (std::vector<double>{0.5, 1}));
  EXPECT_TRUE(e.e.empty());
  EXPECT_EQ(e.f, (std::vector<bool>{true, false}));
  EXPECT_EQ(e.g, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(e.h, "word");
  EXPECT_EQ(given.infos()[3].value, "[1, 2]");
  for (const auto& [name, bad] :
       ParamTexts{{"b", "1.5"}, {"c", "no"}, {"d", "1"}, {"e", "[1.5]"}, {"f", "[yes]"}})
    expect_error(
        [&, name = name, bad = bad] {
          ssl::Params("all", {{name, bad}}).read<Everything>();
        },
        {"all", name.c_str(), bad.c_str()});
}

// The mutant of this file: NT-Xent that counts an anchor among its own negatives.
TEST(Losses, MutantBreaksTheClosedForm) {
  const Var z(Tensor::full({8, 4}, 1.0, DType::f64));
  const double wrong = ssl::info_nce(z, z, Var(), {.negatives = ssl::Negatives::in_batch}).loss.item();
  EXPECT_GT(std::abs(wrong - std::log(2 * 4 - 1)), 1e-2);
}

}  // namespace
}  // namespace juxta::test
