#include "ssl/losses/masked_contrast.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/in_batch.h"

namespace juxta::ssl {

namespace {

void check_maps(const char* name, const Var& x, int64_t n, int64_t patches) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 3 && x.size(0) == n && x.size(1) == patches &&
               x.size(2) >= 1,
           "mmc: ", name, ": expected a float [", n, ", ", patches, ", .], got ", x);
  check_finite("mmc", {name, x});
}

void check_inputs(const MmcInputs& in) {
  check_embeddings("mmc", {{"q", in.q}, {"k", in.k}});
  const int64_t n = in.q.size(0);
  JX_CHECK(n % 2 == 0, "mmc: q: expected the rows of two views, an even number, got ", in.q);
  JX_CHECK(in.mask.defined() && in.mask.dtype() == DType::i64 && in.mask.ndim() == 2 &&
               in.mask.size(0) == n && in.mask.size(1) >= 1,
           "mmc: mask: expected i64 [", n, ", L], got ", in.mask);
  const int64_t patches = in.mask.size(1);
  check_maps("recon", in.recon, n, patches);
  check_maps("target", in.target, n, patches);
  check_maps("s_patch", in.s_patch, n, patches);
  check_maps("t_patch", in.t_patch, n, patches);
  JX_CHECK(in.target.dims() == in.recon.dims(), "mmc: target: expected ", in.recon.dims(),
           " like recon, got ", in.target);
  JX_CHECK(in.t_patch.dims() == in.s_patch.dims(), "mmc: t_patch: expected ", in.s_patch.dims(),
           " like s_patch, got ", in.t_patch);
  JX_CHECK(
      in.center.defined() && is_float(in.center.dtype()) && in.center.dims() == Dims({in.s_patch.size(2)}),
      "mmc: center: expected a float [", in.s_patch.size(2), "], got ", in.center);
  check_finite("mmc", {"center", Var(in.center)});
}

void check_params(const MmcParams& p) {
  check_temperature("mmc", p.temp_student, "temp_student");
  check_temperature("mmc", p.temp_teacher, "temp_teacher");
  check_temperature("mmc", p.temperature);
  JX_CHECK(std::isfinite(p.w_rec) && std::isfinite(p.w_dist) && std::isfinite(p.w_con),
           "mmc: w_rec, w_dist, w_con: expected numbers, got ", p.w_rec, ", ", p.w_dist, ", ", p.w_con);
  JX_CHECK(p.center_momentum >= 0 && p.center_momentum <= 1, "mmc: center_momentum: expected 0 to 1, got ",
           p.center_momentum);
}

// The mask in the dtype of the losses, [2N, L], and its sum.
struct Corrupted {
  Var mask;
  double count = 0;
};
Corrupted corrupted(const Tensor& mask, DType dtype) {
  const Tensor given = mask.contiguous();
  double count = 0;
  for (int64_t i = 0; i < given.numel(); ++i) {
    const int64_t m = given.data<int64_t>()[i];
    JX_CHECK(m == 0 || m == 1, "mmc: mask: expected 0 or 1, got ", m, " in row ", i / given.size(1));
    count += static_cast<double>(m);
  }
  return {Var(given.to(dtype)), count};
}

}  // namespace

Loss mmc(const MmcInputs& in, const MmcParams& p) {
  check_inputs(in);
  check_params(p);
  const Var recon = at_least_f32(in.recon), s = at_least_f32(in.s_patch);
  const Var target = stop_gradient(cast(in.target, recon.dtype())),
            t = stop_gradient(cast(in.t_patch, s.dtype()));
  const Corrupted m = corrupted(in.mask, recon.dtype());

  const Var differences = mul(abs(sub(recon, target)), unsqueeze(m.mask, 2));
  const Var rec =
      affine(sum(differences), 1 / std::max(m.count * static_cast<double>(recon.size(2)), 1.0), 0.0);

  const Var center(in.center.to(s.dtype()));
  const Var p_t = softmax(affine(sub(t, center), 1 / p.temp_teacher, 0.0));
  const Var entropies = soft_cross_entropy(affine(s, 1 / p.temp_student, 0.0), p_t.value());  // [2N, L]
  const Var dist = p.masked_only ? affine(sum(mul(entropies, cast(m.mask, entropies.dtype()))),
                                          1 / std::max(m.count, 1.0), 0.0)
                                 : mean(entropies);

  const int64_t n = in.q.size(0), half = n / 2;
  const Loss contrast = moco_v3(slice(in.q, 0, 0, half), slice(in.q, 0, half, n), slice(in.k, 0, 0, half),
                                slice(in.k, 0, half, n), {.temperature = p.temperature});
  const Var con = p.two_tau ? contrast.loss : affine(contrast.loss, 1 / (2 * p.temperature), 0.0);

  const Var next =
      add(affine(center, p.center_momentum, 0.0), affine(mean(t, {0, 1}), 1 - p.center_momentum, 0.0));
  const Var loss = add(add(affine(rec, p.w_rec, 0.0), affine(cast(dist, rec.dtype()), p.w_dist, 0.0)),
                       affine(cast(con, rec.dtype()), p.w_con, 0.0));
  return {loss,
          {{"rec", stop_gradient(rec)},
           {"dist", stop_gradient(dist)},
           {"con", stop_gradient(con)},
           {"next_center", next}}};
}

}  // namespace juxta::ssl
