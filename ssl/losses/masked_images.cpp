#include "ssl/losses/masked_images.h"

#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_image_batch(const char* loss, Named x) {
  JX_CHECK(x.value.defined() && is_float(x.value.dtype()) && x.value.ndim() == 4 && x.value.numel() > 0, loss,
           ": ", x.name, ": expected a float [N, H, W, C], got ", x.value);
  check_finite(loss, x);
}

// 0 and 1 as numbers of x's dtype, and how many are 1.
struct Mask {
  Tensor values;
  int64_t count = 0;
};
Mask mask_of(const char* loss, const Tensor& mask, const Var& like) {
  const Tensor m = mask.contiguous();
  Mask out{m.to(DType::f64).to(like.dtype())};
  for (int64_t i = 0; i < m.numel(); ++i) {
    const int64_t v = m.data<int64_t>()[i];
    JX_CHECK(v == 0 || v == 1, loss, ": mask: expected 0 or 1, got ", v, " in row ", i / m.size(-1));
    out.count += v;
  }
  return out;
}

}  // namespace

Loss mae_loss(const Var& images, const Var& pred, const Tensor& mask, const MaeLossParams& p) {
  constexpr const char* kLoss = "mae_loss";
  check_image_batch(kLoss, {"images", images});
  JX_CHECK(p.patch_size >= 1 && images.size(1) % p.patch_size == 0 && images.size(2) % p.patch_size == 0,
           kLoss, ": patch_size: expected a divisor of ", images.size(1), " and ", images.size(2), ", got ",
           p.patch_size);
  JX_CHECK(p.eps >= 0 && std::isfinite(p.eps), kLoss, ": eps: expected 0 or more, got ", p.eps);
  const Var x = at_least_f32(pred);
  Var target = stop_gradient(patchify(cast(images, acc_dtype(images.dtype())), p.patch_size));
  JX_CHECK(pred.defined() && is_float(pred.dtype()) && pred.dims() == target.dims(), kLoss,
           ": pred: expected a float ", target.dims(), ", got ", pred);
  check_finite(kLoss, {"pred", pred});
  JX_CHECK(mask.defined() && mask.dtype() == DType::i64 && mask.dims() == Dims({x.size(0), x.size(1)}), kLoss,
           ": mask: expected i64 [", x.size(0), ", ", x.size(1), "], got ", mask);
  JX_CHECK(!p.norm_pix || target.size(2) >= 2, kLoss,
           ": patch_size: norm_pix needs patches of at least two values");
  const Mask removed = mask_of(kLoss, mask, x);
  JX_CHECK(removed.count > 0, kLoss, ": mask: nothing is removed, so there is nothing to reconstruct");
  target = cast(target, x.dtype());
  // About the patch's first value, where a nearly flat patch has no rounding for 1/sqrt(eps) to enlarge.
  if (p.norm_pix) target = sub(target, slice(target, 2, 0, 1));
  if (p.norm_pix)
    target = div(sub(target, mean(target, {2}, true)), sqrt(affine(variance(target, {2}, true), 1.0, p.eps)));
  const Var per_patch = mean(square(sub(x, target)), {2});
  const Var total = sum(mul(per_patch, Var(removed.values)));
  return {affine(total, 1 / static_cast<double>(removed.count), 0.0), {{"target", target}}};
}

Loss simmim(const Var& images, const Var& recon, const Tensor& mask, const SimMimParams& p) {
  constexpr const char* kLoss = "simmim";
  check_image_batch(kLoss, {"images", images});
  check_image_batch(kLoss, {"recon", recon});
  JX_CHECK(recon.dims() == images.dims() && recon.dtype() == images.dtype(), kLoss, ": recon: expected ",
           images, " like images, got ", recon);
  const int64_t n = images.size(0), side = images.size(1), channels = images.size(3);
  JX_CHECK(mask.defined() && mask.dtype() == DType::i64 && mask.ndim() == 3 && mask.size(0) == n &&
               mask.size(1) == mask.size(2) && mask.size(1) >= 1 && images.size(2) == side &&
               side % mask.size(1) == 0,
           kLoss, ": mask: expected i64 [", n, ", P, P] with P dividing the side of square images, got ",
           mask, " for ", images);
  JX_CHECK(p.eps >= 0 && std::isfinite(p.eps), kLoss, ": eps: expected 0 or more, got ", p.eps);
  const Var x = at_least_f32(recon);
  const Mask masked = mask_of(kLoss, mask, x);
  JX_CHECK(masked.count > 0 || p.eps > 0, kLoss, ": eps: with nothing masked it is the divisor; got ", p.eps);
  const int64_t patches = mask.size(1), patch = side / patches;
  const Var error = patchify(abs(sub(x, stop_gradient(cast(images, x.dtype())))), patch);  // [N, P P, p p C]
  const Var per_patch = reshape(sum(error, {2}), {n, patches, patches});
  const double pixels = static_cast<double>(masked.count) * static_cast<double>(patch * patch);
  return {affine(sum(mul(per_patch, Var(masked.values))),
                 1 / ((pixels + p.eps) * static_cast<double>(channels)), 0.0),
          {}};
}

}  // namespace juxta::ssl
