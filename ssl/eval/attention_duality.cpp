#include "ssl/eval/attention_duality.h"

#include <cmath>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

constexpr const char* kDual = "dual_form_attention";

using Vector = Eigen::VectorXd;

Matrix checked(const char* name, const Tensor& t, int64_t rows, int64_t columns, int64_t least_rows = 1) {
  JX_CHECK(t.defined() && t.ndim() == 2 && (rows < 0 || t.size(0) == rows) &&
               (columns < 0 || t.size(1) == columns),
           kDual, ": ", name, ": expected [", rows < 0 ? "." : std::to_string(rows), ", ",
           columns < 0 ? "." : std::to_string(columns), "], got ", t);
  return matrix_of(concat(kDual, ": ", name).c_str(), t, least_rows);
}

Tensor vector_of(const Vector& v) {
  return tensor_of(std::span<const double>(v.data(), static_cast<size_t>(v.size())));
}

// Softmax attention of q over the rows of keys.
Vector attend(const Matrix& keys, const Matrix& values, const Vector& q) {
  const Vector scores = keys * q / std::sqrt(static_cast<double>(q.size()));
  const Vector e = (scores.array() - scores.maxCoeff()).exp().matrix();
  return values.transpose() * (e / e.sum());
}

}  // namespace

DualForm dual_form_attention(const DualFormInputs& in, double lr, double eta) {
  const Matrix wq = checked("wq", in.wq, -1, -1);
  const int64_t e = wq.rows(), d = wq.cols();
  const Matrix wk = checked("wk", in.wk, e, d), wv = checked("wv", in.wv, e, d);
  const Matrix demo = checked("demo", in.demo, -1, d, 0), seen = checked("seen", in.seen, -1, d, 0);
  JX_CHECK(demo.rows() + seen.rows() >= 1, kDual,
           ": demo, seen: both are empty; there is nothing to attend to");
  JX_CHECK(in.x.defined() && in.x.dims() == Dims({d}), kDual, ": x: expected [", d, "], got ", in.x);
  const Vector x = matrix_of("dual_form_attention: x", in.x.contiguous().view({1, d}), 1).row(0).transpose();
  const Matrix w0 = checked("w0", in.w0, -1, d), inputs = checked("inputs", in.inputs, -1, d);
  const Matrix grads = checked("grads", in.grads, inputs.rows(), w0.rows());
  JX_CHECK(std::isfinite(lr), kDual, ": lr: expected a number, got ", lr);
  JX_CHECK(eta >= 0 && eta < 1, kDual, ": eta: expected 0 to below 1, got ", eta);

  const Vector q = wq * x;
  const Matrix seen_k = seen * wk.transpose(), seen_v = seen * wv.transpose();
  const Matrix demo_k = demo * wk.transpose(), demo_v = demo * wv.transpose();
  const Matrix w_zsl = seen_v.transpose() * seen_k, dw_icl = demo_v.transpose() * demo_k;
  Matrix keys(demo.rows() + seen.rows(), e), values(keys.rows(), e);
  keys << demo_k, seen_k;
  values << demo_v, seen_v;

  const Matrix dw_gd = -lr * grads.transpose() * inputs;
  Matrix velocity = Matrix::Zero(w0.rows(), d), w = w0;
  for (Eigen::Index i = 0; i < inputs.rows(); ++i) {
    velocity = eta * velocity + grads.row(i).transpose() * inputs.row(i);
    w -= lr * velocity;
  }
  return {tensor_of(w_zsl),
          tensor_of(dw_icl),
          vector_of(w_zsl * q),
          vector_of((w_zsl + dw_icl) * q),
          vector_of(attend(keys, values, q)),
          tensor_of(dw_gd),
          tensor_of(w),
          vector_of((w0 + dw_gd) * x)};
}

KinematicFilter kinematic_filter(const Tensor& gamma, const Tensor& omega, const Tensor& x,
                                 const Tensor& layers, int64_t head_dim, double base) {
  constexpr const char* kName = "kinematic_filter";
  JX_CHECK(gamma.defined() && gamma.ndim() == 1, kName, ": gamma: expected [G], got ", gamma);
  JX_CHECK(omega.defined() && omega.ndim() == 1, kName, ": omega: expected [W], got ", omega);
  const std::vector<double> gammas = doubles_of("kinematic_filter: gamma", gamma),
                            frequencies = doubles_of("kinematic_filter: omega", omega);
  const Matrix signal = matrix_of("kinematic_filter: x", x, 1);
  JX_CHECK(layers.defined() && layers.ndim() == 1, kName, ": layers: expected i64 [N], got ", layers);
  const std::vector<int64_t> depths = integers_of("kinematic_filter: layers", layers, layers.dims());
  JX_CHECK(head_dim >= 2 && head_dim % 2 == 0, kName, ": head_dim: expected an even number, got ", head_dim);
  JX_CHECK(base > 0 && std::isfinite(base), kName, ": base: expected a positive number, got ", base);

  const auto groups = static_cast<Eigen::Index>(gammas.size());
  const auto magnitude = [](double g, double w) {
    return std::sqrt(1 + 2 * g * (1 + g) * (1 - std::cos(w)));
  };
  const auto phase = [](double g, double w) { return std::atan2(g * std::sin(w), 1 + g - g * std::cos(w)); };
  const auto table = [&](const std::vector<double>& at, const auto& f) {
    Matrix m(groups, static_cast<Eigen::Index>(at.size()));
    for (Eigen::Index i = 0; i < m.rows(); ++i)
      for (Eigen::Index j = 0; j < m.cols(); ++j)
        m(i, j) = f(gammas[static_cast<size_t>(i)], at[static_cast<size_t>(j)]);
    return m;
  };
  std::vector<double> rope;
  for (int64_t m = 0; m < head_dim / 2; ++m)
    rope.push_back(std::pow(base, -2.0 * static_cast<double>(m) / static_cast<double>(head_dim)));
  const Matrix gain = table(frequencies, magnitude);

  Matrix momentum = Matrix::Zero(signal.rows(), signal.cols());
  momentum.bottomRows(signal.rows() - 1) =
      signal.bottomRows(signal.rows() - 1) - signal.topRows(signal.rows() - 1);
  Matrix filtered(groups * signal.rows(), signal.cols());
  for (Eigen::Index i = 0; i < groups; ++i)
    filtered.middleRows(i * signal.rows(), signal.rows()) =
        signal + gammas[static_cast<size_t>(i)] * momentum;

  std::vector<double> best;
  for (const int64_t n : depths) {
    JX_CHECK(n >= 1, kName, ": layers: expected 1 or more, got ", n);
    best.push_back(4.17 * std::pow(static_cast<double>(n), -0.74));
  }
  return {tensor_of(gain),
          tensor_of(Matrix(20 * gain.array().log10())),
          tensor_of(table(frequencies, phase)),
          tensor_of(table(rope, magnitude)),
          tensor_of(table(rope, phase)),
          tensor_of(filtered).view({static_cast<int64_t>(groups), x.size(0), x.size(1)}),
          tensor_of(best)};
}

}  // namespace juxta::ssl
