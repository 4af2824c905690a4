// What holds for every loss, tried on every row of the tables of properties (loss_properties.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/objectives/registry.h"
#include "tests/harness.h"
#include "tests/loss_properties.h"

namespace juxta::test {
namespace {

using ssl::Loss;
using ssl::Objective;
using ssl::ParamTexts;

const std::vector<Property>& properties() {
  static const std::vector<Property> all = [] {
    std::vector<Property> rows;
    for (const auto family : {batch_contrastive_properties,
                              in_batch_properties,
                              multiview_properties,
                              pairs_properties,
                              metric_losses_properties,
                              scores_properties,
                              without_negatives_properties,
                              attention_rules_properties,
                              clusters_properties,
                              continual_properties,
                              decoding_properties,
                              dense_properties,
                              distillation_properties,
                              graphs_properties,
                              masks_properties,
                              policy_properties,
                              sentences_properties,
                              signals_properties,
                              temperatures_properties,
                              video_properties,
                              vision_language_properties,
                              your_loss_properties})
      for (Property& p : family()) rows.push_back(std::move(p));
    return rows;
  }();
  return all;
}

using Values = std::vector<std::pair<std::string, Tensor>>;

bool listed(const std::vector<const char*>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string text(const Property& p) {
  std::string s = p.loss;
  for (const auto& [k, v] : p.params) s += " " + k + "=" + v;
  return s;
}

// "[N, D]" or "i64 [N]" in parts: the names of the axes.
std::vector<std::string> axes_of(const std::string& shape) {
  std::vector<std::string> axes(1);
  for (size_t i = shape.find('[') + 1; i < shape.size() && shape[i] != ']'; ++i) {
    if (shape[i] == ',')
      axes.emplace_back();
    else if (shape[i] != ' ')
      axes.back() += shape[i];
  }
  if (axes.back().empty()) axes.pop_back();
  return axes;
}

// The size of an axis: N varies, other letters have theirs; "2M" and "V N" are products.
int64_t size_of(const Property& p, const std::string& axis, int64_t n) {
  if (axis == "N") return n;
  if (std::isdigit(static_cast<unsigned char>(axis[0]))) {
    size_t used = 0;
    const int64_t factor = std::stoll(axis, &used);
    return used == axis.size() ? factor : factor * size_of(p, axis.substr(used), n);
  }
  for (const auto& [letter, size] : p.sizes)
    if (axis == letter) return size;
  if (axis == "VN") return size_of(p, "V", n) * n;
  if (axis == "D") return 6;
  if (axis == "K") return 5;
  return 3;
}

const Objective& row_of(const Property& p) { return p.row ? *p.row : ssl::objective(p.loss); }

const ssl::InputRow& row_of(const Property& p, const std::string& name) {
  const ssl::InputRow* row = ssl::find_input(row_of(p), name);
  JX_CHECK(row, p.loss, ": no input ", name);
  return *row;
}

// The length of every vector along the last axis times scale(i).
template <class F>
void scale_vectors(Tensor& t, F scale) {
  const int64_t d = t.ndim() ? t.size(-1) : 1;
  double* x = t.write<double>("test");
  for (int64_t i = 0; i < t.numel(); ++i) x[i] *= scale(x + i / d * d, d, i / d);
}

void make_unit(Tensor& t) {
  Tensor squares = t.clone();
  const int64_t d = t.size(-1);
  for (int64_t r = 0; r < t.numel() / d; ++r) {
    double norm = 0;
    for (int64_t c = 0; c < d; ++c)
      norm += squares.data<double>()[r * d + c] * squares.data<double>()[r * d + c];
    for (int64_t c = 0; c < d; ++c) t.write<double>("test")[r * d + c] /= std::sqrt(norm);
  }
}

Tensor integers_for(const Property& p, const std::string& name, Dims dims, uint64_t seed) {
  int64_t below = 4;
  for (const auto& [key, n] : p.integers)
    if (name == key) below = n;
  if (below > 0) return indices(dims, seed, below);
  Tensor in_order = Tensor::empty(dims, DType::i64);
  for (int64_t i = 0; i < in_order.numel(); ++i)
    in_order.write<int64_t>("test")[i] = dims.empty() ? 0 : i % dims.back();
  return in_order;
}

// Random values for every input of the loss that this setting takes, f64.
Values random_inputs(const Property& p, int64_t n, uint64_t seed = 1) {
  Values v;
  for (const ssl::InputRow& i : row_of(p).inputs) {
    if (listed(p.absent, i.name)) continue;
    Dims dims;
    for (const std::string& axis : axes_of(i.shape)) dims.push_back(size_of(p, axis, n));
    std::string name = i.name;
    for (char& c : name)
      if (c == '#') c = '0';
    if (std::string(i.shape).rfind("i64", 0) == 0) {
      v.emplace_back(name, integers_for(p, name, dims, seed++));
      continue;
    }
    Tensor t = normal(dims, seed++);
    if (listed(p.unit, i.name)) make_unit(t);
    if (listed(p.positive, i.name)) t = affine(sigmoid(Var(t)), 0.9, 0.1).value();
    v.emplace_back(name, t);
  }
  return v;
}

Tensor& value_of(Values& v, const std::string& name) {
  return std::find_if(v.begin(), v.end(), [&](const auto& x) { return x.first == name; })->second;
}

struct Result {
  double loss;
  Values grads;  // undefined where there is none
  const Tensor& grad(const std::string& name) const {
    return std::find_if(grads.begin(), grads.end(), [&](const auto& g) { return g.first == name; })->second;
  }
};

ParamTexts params_with(const Property& p, const ParamTexts& more) {
  ParamTexts params = more;
  for (const auto& [key, value] : p.params)
    if (std::none_of(more.begin(), more.end(), [&, name = key](const auto& m) { return m.first == name; }))
      params.emplace_back(key, value);
  return params;
}

Result run(const Property& p, const Values& values, const ParamTexts& more = {}, DType dtype = DType::f64) {
  const Objective& row = row_of(p);
  ssl::Inputs in(row.name);
  for (const auto& [name, t] : values)
    in.add(name, is_float(t.dtype()) ? Var::leaf(t.to(dtype).clone()) : Var(t));
  const Loss loss = ssl::run_objective(row, in, params_with(p, more));
  if (loss.loss.requires_grad()) backward(loss.loss);
  Result r{loss.loss.item(), {}};
  for (const auto& [name, v] : in.all())
    r.grads.emplace_back(name, is_float(v.dtype()) ? v.grad() : Tensor());
  return r;
}

// Index i of every axis called N goes to (2 i + 1) mod N, N odd.
Tensor permuted(const Property& p, const std::string& name, const Tensor& t) {
  const std::vector<std::string> axes = axes_of(row_of(p, name).shape);
  Tensor out = t;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    if (axes[axis] != "N") continue;
    const int64_t n = t.size(static_cast<int>(axis));
    Tensor source = Tensor::empty({n}, DType::i64);
    for (int64_t i = 0; i < n; ++i) source.write<int64_t>("test")[(2 * i + 1) % n] = i;
    const DType dtype = out.dtype();  // index_select takes floats; f64 holds every label exactly
    out = index_select(Var(out.to(DType::f64)), static_cast<int>(axis), source).value().to(dtype);
  }
  return out;
}

TEST(Losses, EveryLossHasARowOfProperties) {
  for (const Objective* row : ssl::objectives()) {
    if (row->kind != ssl::Kind::loss) continue;
    EXPECT_TRUE(std::any_of(properties().begin(), properties().end(), [&](const Property& p) {
      return std::string(p.loss) == row->name;
    })) << row->name;
  }
}

TEST(Losses, PermutingTheBatchPermutesTheGradient) {
  for (const Property& p : properties()) {
    if (p.batch.empty()) continue;
    Values v = random_inputs(p, 7);
    const Result before = run(p, v);
    for (auto& [name, t] : v)
      if (listed(p.batch, name)) t = permuted(p, name, t);
    const Result after = run(p, v);
    EXPECT_NEAR(before.loss, after.loss, 1e-12 * std::max(1.0, std::abs(before.loss))) << text(p);
    for (const auto& [name, g] : before.grads) {
      if (g.defined() && listed(p.batch, name)) {
        EXPECT_LT(max_abs_diff(permuted(p, name, g), after.grad(name)), 1e-11 * std::max(1.0, max_abs(g)))
            << text(p) << " " << name;
      }
    }
  }
}

TEST(Losses, ExchangingTheViewsChangesNothing) {
  for (const Property& p : properties()) {
    if (p.swaps.empty()) continue;
    Values v = random_inputs(p, 6);
    const double before = run(p, v).loss;
    for (const auto& [a, b] : p.swaps) std::swap(value_of(v, a), value_of(v, b));
    EXPECT_NEAR(before, run(p, v).loss, 1e-12 * std::max(1.0, std::abs(before))) << text(p);
  }
}

TEST(Losses, LengthsDoNotMatterAndGradientsAreOrthogonal) {
  for (const Property& p : properties()) {
    if (p.scale_free.empty()) continue;
    Values v = random_inputs(p, 5);
    const Result before = run(p, v);
    for (auto& [name, g] : before.grads) {
      if (!listed(p.scale_free, name) || !g.defined()) continue;
      const Tensor& z = value_of(v, name);
      const int64_t d = z.size(-1);
      for (int64_t r = 0; r < z.numel() / d; ++r) {
        double along = 0;
        for (int64_t c = 0; c < d; ++c)
          along += z.data<double>()[r * d + c] * g.contiguous().data<double>()[r * d + c];
        EXPECT_NEAR(along, 0, 1e-11 * std::max(1.0, max_abs(g))) << text(p) << " " << name;
      }
    }
    for (auto& [name, t] : v)
      if (listed(p.scale_free, name))
        scale_vectors(t, [](const double*, int64_t, int64_t row) {
          return std::pow(10.0, static_cast<double>(row % 3) - 1.0);
        });
    EXPECT_NEAR(before.loss, run(p, v).loss, 1e-11 * std::max(1.0, std::abs(before.loss))) << text(p);
  }
}

TEST(Losses, ConstantsReceiveNoGradient) {
  for (const Property& p : properties())
    for (const auto& [name, g] : run(p, random_inputs(p, 5)).grads)
      if (listed(p.constants, name)) {
        EXPECT_FALSE(g.defined() && max_abs(g) > 0) << text(p) << " " << name;
      }
}

TEST(Losses, EqualRowsHaveAClosedForm) {
  for (const Property& p : properties()) {
    if (!p.equal_rows) continue;
    for (const int64_t n : {1, 2, 9, 40}) {
      if (n < p.smallest) continue;
      Values v = random_inputs(p, n);
      for (auto& [name, t] : v)
        for (int64_t i = 0; i < t.numel() && is_float(t.dtype()) && t.ndim() >= 2; ++i)
          t.write<double>("test")[i] = i % t.size(-1) == 1 ? 1.0 : 0.0;
      const double wanted = p.equal_rows(static_cast<double>(n), static_cast<double>(size_of(p, "K", n)));
      EXPECT_NEAR(run(p, v).loss, wanted, 1e-12 * std::max(1.0, std::abs(wanted))) << text(p) << " N = " << n;
      EXPECT_NEAR(run(p, v, {}, DType::f32).loss, wanted, 2e-6 * std::max(1.0, std::abs(wanted)))
          << text(p) << " N = " << n;
    }
  }
}

TEST(Losses, GradientsMatchFiniteDifferences) {
  for (const Property& p : properties()) {
    if (!p.finite_differences) continue;
    for (const int64_t n : {1, 2, 5}) {
      if (n < p.smallest) continue;
      const Values v = random_inputs(p, n);
      std::vector<Tensor> moving;
      std::vector<size_t> which;
      for (size_t i = 0; i < v.size(); ++i) {
        if (!is_float(v[i].second.dtype()) || listed(p.constants, v[i].first)) continue;
        moving.push_back(v[i].second.clone());
        which.push_back(i);
      }
      const OpFn op = [&](std::span<const Var> in) {
        const Objective& row = row_of(p);
        ssl::Inputs named(row.name);
        for (size_t i = 0; i < v.size(); ++i) {
          const auto at = std::find(which.begin(), which.end(), i);
          named.add(v[i].first,
                    at == which.end() ? Var(v[i].second) : in[static_cast<size_t>(at - which.begin())]);
        }
        return std::vector<Var>{ssl::run_objective(row, named, p.params).loss};
      };
      const GradCheckResult g = gradcheck(op, moving, {.tolerance = 1e-5});
      EXPECT_TRUE(g.ok) << text(p) << " N = " << n << ": " << g.message;
    }
  }
}

TEST(Losses, TemperaturesFromTinyToLarge) {
  for (const Property& p : properties()) {
    for (const char* name : p.temperatures) {
      for (const char* temperature : {"0.002", "0.02", "0.1", "1", "10"}) {
        const Values v = random_inputs(p, 9);
        const Result wide = run(p, v, {{name, temperature}});
        const Result narrow = run(p, v, {{name, temperature}}, DType::f32);
        EXPECT_TRUE(std::isfinite(wide.loss)) << text(p);
        EXPECT_NEAR(wide.loss, narrow.loss, 1e-5 * std::max(1.0, std::abs(wide.loss)))
            << text(p) << " " << name << " " << temperature;
        for (const auto& [input, g] : wide.grads) {
          if (g.defined()) {
            EXPECT_LT(max_abs_diff(g, narrow.grad(input)), 2e-3 * max_abs(g) + 2e-6)
                << text(p) << " " << name << " " << temperature << " " << input;
          }
        }
      }
    }
  }
}

TEST(Losses, Bf16EmbeddingsGiveF32Losses) {
  for (const Property& p : properties()) {
    if (p.batch.empty()) continue;
    const Objective& row = row_of(p);
    Values v = random_inputs(p, 9);
    const Result wide = run(p, v);
    ssl::Inputs in(row.name);
    for (const auto& [name, t] :
         v)  // embeddings in bf16; temperatures and weights in f32, integers as they are
      in.add(name, !is_float(t.dtype()) ? Var(t)
                                        : Var::leaf(t.to(t.ndim() >= 2 ? DType::bf16 : DType::f32).clone()));
    const Loss loss = ssl::run_objective(row, in, p.params);
    EXPECT_EQ(loss.loss.dtype(), DType::f32) << text(p);
    EXPECT_NEAR(wide.loss, loss.loss.item(), 0.05 * std::max(1.0, std::abs(wide.loss))) << text(p);
    if (loss.loss.requires_grad()) backward(loss.loss);
    for (const auto& [name, x] : in.all())
      if (is_float(x.dtype()) && x.grad().defined()) {
        EXPECT_EQ(x.grad().dtype(), x.dtype()) << text(p) << " " << name;
      }
  }
}

TEST(Losses, AnInputOfNaNIsAnErrorThatNamesIt) {
  for (const Property& p : properties()) {
    for (const auto& [name, value] : random_inputs(p, 5)) {
      if (!is_float(value.dtype()) || value.numel() == 0) continue;
      Values v = random_inputs(p, 5);
      value_of(v, name).write<double>("test")[value.numel() - 1] = std::nan("");
      try {
        run(p, v);
        ADD_FAILURE() << text(p) << " " << name << ": no error";
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find(p.loss), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      }
    }
  }
}

TEST(Losses, TemperaturesBelowZeroAreErrors) {
  for (const Property& p : properties())
    for (const char* name : p.temperatures)
      for (const char* value : {"0", "-0.1"})
        expect_error([&] { run(p, random_inputs(p, 5), {{name, value}}); }, {p.loss, name, value});
}

// The mutant of this file: NT-Xent that counts an anchor among its own negatives.
TEST(Losses, MutantBreaksTheClosedForm) {
  const Tensor z = Tensor::full({8, 4}, 1.0, DType::f64);
  const Property in_batch{.loss = "info_nce", .params = {{"negatives", "in_batch"}}};
  const double wrong = run(in_batch, {{"query", z}, {"key", z}}).loss;
  EXPECT_GT(std::abs(wrong - std::log(2 * 4 - 1)), 1e-2);
}

}  // namespace
}  // namespace juxta::test
