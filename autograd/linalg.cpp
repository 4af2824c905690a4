// Small dense linear algebra: Cholesky factors, triangular systems, singular values. Matrices are the last
// two axes, one Eigen call each, in double whatever the dtype: their sizes are a batch or a feature width,
// and a factor that loses digits spoils everything after it.
#include <Eigen/Dense>
#include <algorithm>

#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/svd.h"
#include "tensor/parallel.h"

namespace juxta {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Error unless x is f32 or f64 with at least two axes on the CPU.
void check_matrices(const char* op, const char* what, const Var& x) {
  JX_CHECK(x.defined() && (x.dtype() == DType::f32 || x.dtype() == DType::f64) && x.ndim() >= 2 &&
               x.device() == kCpu,
           op, ": ", what, ": expected f32 or f64 [.., M, N] on the CPU, got ", x);
}
void check_square(const char* op, const char* what, const Var& x) {
  check_matrices(op, what, x);
  JX_CHECK(x.size(-1) == x.size(-2), op, ": ", what, ": expected square matrices [.., N, N], got ", x);
}

// Number of matrices of [.., M, N].
int64_t count_of(const Dims& dims) {
  int64_t n = 1;
  for (int d = 0; d + 2 < dims.size(); ++d) n *= dims[d];
  return n;
}
Dims matrix_dims(const Dims& like, int64_t rows, int64_t columns) {
  Dims dims;
  for (int d = 0; d + 2 < like.size(); ++d) dims.push_back(like[d]);
  dims.push_back(rows), dims.push_back(columns);
  return dims;
}

// Matrix i of a contiguous [.., M, N], and back.
Matrix matrix(const Tensor& x, int64_t i) {
  const int64_t m = x.size(-2), n = x.size(-1);
  return dispatch_float(x.dtype(), "linalg", [&]<class T>() -> Matrix {
    Matrix out(m, n);
    const T* from = x.data<T>() + i * m * n;
    for (int64_t k = 0; k < m * n; ++k) out.data()[k] = static_cast<double>(from[k]);
    return out;
  });
}
// `to` is the first element of a contiguous tensor of `dtype`.
void put(void* to, DType dtype, int64_t i, const Matrix& m) {
  dispatch_float(dtype, "linalg", [&]<class T>() {
    T* out = static_cast<T*>(to) + i * m.size();
    for (Eigen::Index k = 0; k < m.size(); ++k) out[k] = static_cast<T>(m.data()[k]);
  });
}

int64_t grain_of(int64_t m, int64_t n) { return grain_for(m * n * std::min(m, n)); }

void cholesky_backward(Backward& b) {
  const Tensor &factor = b.saved(0), &dy = b.dy();
  const int64_t n = factor.size(-1);
  Tensor da = Tensor::empty(factor.dims(), factor.dtype());
  void* to = da.write("cholesky");
  parallel_for(count_of(factor.dims()), grain_of(n, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Matrix l = matrix(factor, i);
      const auto lower = l.triangularView<Eigen::Lower>();
      // A = L L^T gives dL = L phi(L^-1 dA L^-T), phi: the lower half, its diagonal halved.
      Matrix middle = l.transpose() * matrix(dy, i).triangularView<Eigen::Lower>().toDenseMatrix();
      middle = middle.triangularView<Eigen::Lower>().toDenseMatrix();
      middle.diagonal() *= 0.5;
      const Matrix left = lower.transpose().solve(middle);                                // L^-T phi
      const Matrix both = lower.transpose().solve(Matrix(left.transpose())).transpose();  // .. L^-1
      put(to, da.dtype(), i, 0.5 * (both + both.transpose()));
    }
  });
  b.set(0, da);
}

void triangular_solve_backward(Backward& back) {
  const Tensor &l = back.saved(0), &x = back.saved(1), &dx = back.dy();
  const int64_t n = l.size(-1), m = x.size(-1);
  Tensor dl = Tensor::empty(l.dims(), l.dtype()), db = Tensor::empty(x.dims(), x.dtype());
  void *to_l = dl.write("triangular_solve"), *to_b = db.write("triangular_solve");
  parallel_for(count_of(l.dims()), grain_of(n, n + m), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Matrix g = matrix(l, i).triangularView<Eigen::Lower>().transpose().solve(matrix(dx, i));
      put(to_b, db.dtype(), i, g);
      const Matrix full = -g * matrix(x, i).transpose();
      put(to_l, dl.dtype(), i, full.triangularView<Eigen::Lower>().toDenseMatrix());
    }
  });
  if (back.needs(0)) back.set(0, dl);
  if (back.needs(1)) back.set(1, db);
}

void singular_values_backward(Backward& b) {
  const Tensor &u = b.saved(0), &v = b.saved(1), &dy = b.dy();
  const int64_t m = u.size(-2), n = v.size(-2), k = u.size(-1);
  Tensor dx = Tensor::empty(matrix_dims(u.dims(), m, n), u.dtype());
  void* to = dx.write("singular_values");
  const Tensor cotangents = dy.view(matrix_dims(u.dims(), 1, k));
  parallel_for(count_of(u.dims()), grain_of(m, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Eigen::VectorXd g = matrix(cotangents, i).row(0);
      put(to, dx.dtype(), i, matrix(u, i) * g.asDiagonal() * matrix(v, i).transpose());
    }
  });
  b.set(0, dx);
}

}  // namespace

Var cholesky(const Var& a) {
  constexpr const char* kOp = "cholesky";
  check_square(kOp, "a", a);
  const Tensor x = a.value().contiguous();
  const int64_t n = x.size(-1);
  Tensor out = Tensor::empty(x.dims(), x.dtype());
  void* to = out.write(kOp);
  parallel_for(count_of(x.dims()), grain_of(n, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Matrix one = matrix(x, i);
      const Eigen::LLT<Matrix> factor(0.5 * (one + one.transpose()));
      const Matrix l = factor.matrixL();
      JX_CHECK(factor.info() == Eigen::Success && l.allFinite(), kOp, ": a: matrix ", i,
               " is not positive definite; add to its diagonal, or estimate it from more rows");
      put(to, out.dtype(), i, l);
    }
  });
  return record(kOp, {}, {&a}, out, {{"factor", out}}, [](Backward& b) { cholesky_backward(b); });
}

Var triangular_solve(const Var& l, const Var& b) {
  constexpr const char* kOp = "triangular_solve";
  check_square(kOp, "l", l);
  check_matrices(kOp, "b", b);
  JX_CHECK(b.dtype() == l.dtype() && b.size(-2) == l.size(-1) && b.ndim() == l.ndim() &&
               matrix_dims(b.dims(), 1, 1) == matrix_dims(l.dims(), 1, 1),
           kOp, ": b: expected [.., ", l.size(-1), ", M] with the leading axes of l, ", l, ", got ", b);
  const Tensor factor = l.value().contiguous(), right = b.value().contiguous();
  const int64_t n = l.size(-1), m = b.size(-1);
  Tensor out = Tensor::empty(right.dims(), right.dtype());
  void* to = out.write(kOp);
  parallel_for(count_of(factor.dims()), grain_of(n, n + m), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Matrix one = matrix(factor, i);
      JX_CHECK((one.diagonal().array() != 0).all(), kOp, ": l: matrix ", i, " has a 0 on its diagonal");
      put(to, out.dtype(), i, one.triangularView<Eigen::Lower>().solve(matrix(right, i)));
    }
  });
  return record(kOp, {}, {&l, &b}, out, {{"l", factor}, {"x", out}},
                [](Backward& back) { triangular_solve_backward(back); });
}

Var singular_values(const Var& x) {
  constexpr const char* kOp = "singular_values";
  check_matrices(kOp, "x", x);
  const Tensor in = x.value().contiguous();
  const int64_t m = in.size(-2), n = in.size(-1), k = std::min(m, n);
  JX_CHECK(k >= 1, kOp, ": x: expected matrices with rows and columns, got ", x);
  Tensor s = Tensor::empty(matrix_dims(in.dims(), 1, k), in.dtype());
  Tensor u = Tensor::empty(matrix_dims(in.dims(), m, k), in.dtype());
  Tensor v = Tensor::empty(matrix_dims(in.dims(), n, k), in.dtype());
  void *to_s = s.write(kOp), *to_u = u.write(kOp), *to_v = v.write(kOp);
  // Values below this share of the largest are 0 to rounding, and their vectors are noise.
  const double epsilon = (in.dtype() == DType::f64 ? 0x1p-52 : 0x1p-23) * static_cast<double>(std::max(m, n));
  parallel_for(count_of(in.dims()), grain_of(m, n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Eigen::MatrixXd one = matrix(in, i);
      JX_CHECK(one.allFinite(), kOp, ": x: matrix ", i, " has values that are not finite");
      Eigen::MatrixXd left(m, k), right(n, k);
      Eigen::RowVectorXd values(k);
      thin_svd(one.data(), m, n, left.data(), values.data(), right.data());
      for (int64_t j = 0; j < k; ++j)
        if (values[j] <= epsilon * values[0]) left.col(j).setZero();
      put(to_s, s.dtype(), i, values);
      put(to_u, u.dtype(), i, left);
      put(to_v, v.dtype(), i, right);
    }
  });
  Dims dims;  // one row of values per matrix
  for (int d = 0; d + 2 < in.ndim(); ++d) dims.push_back(in.size(d));
  dims.push_back(k);
  return record(kOp, {}, {&x}, s.view(dims), {{"u", u}, {"v", v}},
                [](Backward& b) { singular_values_backward(b); });
}

}  // namespace juxta
