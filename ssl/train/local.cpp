#include "ssl/train/local.h"

#include "autograd/ops.h"
#include "ssl/momentum/ema.h"

namespace juxta::ssl {

LocalStep local_step(std::span<const LocalModule> modules, const Var& x, double momentum) {
  JX_CHECK(!modules.empty(), "local_step: modules: expected at least one");
  JX_CHECK(momentum >= 0 && momentum <= 1, "local_step: momentum: expected 0 to 1, got ", momentum);
  LocalStep step;
  step.output = stop_gradient(x);
  for (const LocalModule& m : modules) {
    JX_CHECK(m.forward && m.loss, "local_step: module ", step.losses.size(), ": it lacks forward or loss");
    const Var h = m.forward(step.output);
    Var u = m.bias ? m.bias(h) : Var();
    if (m.follower) u = u.defined() ? add(u, m.follower(h)) : m.follower(h);
    const Var loss = m.loss(u.defined() ? u : h);
    backward(loss);
    step.losses.push_back(loss.item());
    step.output = stop_gradient(h);
    if (m.follower && !m.follows.empty()) ema_update(m.follows, m.leader, momentum);
  }
  return step;
}

double local_weight(double first, double last, int64_t b, int64_t modules) {
  JX_CHECK(b >= 0 && b + 1 < modules, "local_weight: b: expected a module before the last of ", modules,
           ", got ", b);
  const double r = modules > 2 ? static_cast<double>(b) / static_cast<double>(modules - 2) : 0.0;
  return first * (1 - r) + last * r;
}

Var infopro_loss(const Var& reconstruction, const Tensor& image, const Var& logits, const Tensor& y,
                 double w_rec, double w_ce) {
  JX_CHECK(image.defined() && is_float(image.dtype()) && image.dims() == reconstruction.dims(),
           "infopro_loss: image: expected ", reconstruction.dims(), " like the reconstruction, got ", image);
  const double low = amin(Var(image)).item(), high = amax(Var(image)).item();
  JX_CHECK(low >= 0 && high <= 1, "infopro_loss: image: expected values in [0, 1], got ", low, " to ", high);
  // -x log sigma(l) - (1 - x) log(1 - sigma(l)) = softplus(l) - x l
  const Var bce =
      mean(sub(softplus(reconstruction), mul(reconstruction, Var(image.to(reconstruction.dtype())))));
  const Var ce = mean(cross_entropy(logits, y));
  return add(affine(bce, w_rec, 0.0), affine(cast(ce, bce.dtype()), w_ce, 0.0));
}

}  // namespace juxta::ssl
