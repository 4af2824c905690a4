#include "ssl/losses/without_negatives.h"

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// Mean over the rows of cos(p_i, sg z_i).
Var mean_cosine(const Var& p, const Var& z) {
  const Var unit_p = l2_normalize(at_least_f32(p)), unit_z = l2_normalize(stop_gradient(at_least_f32(z)));
  return mean(sum(mul(unit_p, unit_z), {-1}));
}

}  // namespace

Loss negative_cosine(const Var& p1, const Var& p2, const Var& z1, const Var& z2,
                     const NegativeCosineParams& p) {
  check_embeddings("negative_cosine", {{"p1", p1}, {"p2", p2}, {"z1", z1}, {"z2", z2}});
  const Var cosine1 = mean_cosine(p1, z2), cosine2 = mean_cosine(p2, z1);
  // simsiam: -1/2 (c1 + c2); byol: (2 - 2 c1) + (2 - 2 c2)
  const Var both = add(cosine1, cosine2);
  const Var loss = p.form == CosineForm::simsiam ? affine(both, -0.5, 0.0) : affine(both, -2.0, 4.0);
  return {loss, {{"cosine1", stop_gradient(cosine1)}, {"cosine2", stop_gradient(cosine2)}}};
}

Loss siamlip(const SiamLipSide& image, const SiamLipSide& text, const SiamLipParams& p) {
  check_embeddings("siamlip",
                   {{"p_image", image.p}, {"v_text", text.v}, {"p_text", text.p}, {"v_image", image.v}});
  JX_CHECK(p.views >= 0, "siamlip: views: expected 0 or more, got ", p.views);
  const auto distance = [](const Var& a, const Var& b) { return affine(mean_cosine(a, b), -2.0, 2.0); };
  std::vector<Var> terms{distance(image.p, text.v), distance(text.p, image.v)};
  if (p.views > 0) {
    const Dims expected{p.views, image.p.size(0), image.p.size(1)};
    for (const Named& local : {Named{"p_image_local", image.p_local}, Named{"v_text_local", text.v_local},
                               Named{"p_text_local", text.p_local}, Named{"v_image_local", image.v_local}}) {
      JX_CHECK(local.value.defined() && local.value.ndim() == 3 && local.value.size(0) == expected[0] &&
                   local.value.size(1) == expected[1],
               "siamlip: ", local.name, ": expected [", expected[0], ", ", expected[1], ", D], got ",
               local.value);
      check_finite("siamlip", local);
    }
    for (int64_t a = 0; a < p.views; ++a) {
      for (int64_t b = 0; b < p.views; ++b) {
        terms.push_back(distance(select(image.p_local, 0, a), select(text.v_local, 0, b)));
        terms.push_back(distance(select(text.p_local, 0, a), select(image.v_local, 0, b)));
      }
    }
  }
  return {mean(stack(terms, 0)), {}};
}

}  // namespace juxta::ssl
