#include "nn/class_gate.h"

namespace juxta::nn {

Var class_gate(const Tensor& y1, const Tensor& y2, const ClassGateWeights& w, bool fuse,
               ClassGateState& state, bool training) {
  JX_CHECK(y1.defined() && y1.dtype() == DType::i64 && y1.ndim() == 1 && y1.numel() >= 1,
           "class_gate: y1: expected i64 [B], got ", y1);
  JX_CHECK(y2.defined() && y2.dtype() == DType::i64 && y2.dims() == y1.dims(),
           "class_gate: y2: expected i64 ", y1.dims(), ", got ", y2);
  JX_CHECK(w.embedding.defined() && w.embedding.ndim() == 2, "class_gate: embedding: expected [C, E], got ",
           w.embedding);
  const int64_t classes = w.embedding.size(0);
  for (const auto& [name, y] : {std::pair{"y1", y1}, std::pair{"y2", y2}}) {
    const Tensor labels = y.contiguous();
    for (int64_t b = 0; b < labels.numel(); ++b) {
      const int64_t label = labels.data<int64_t>()[b];
      JX_CHECK(label >= 0 && label < classes, "class_gate: ", name, ": expected classes in [0, ", classes,
               "), got ", label, " at ", b);
    }
  }
  const auto mlp = [&](const Var& e) {
    const Var h = batch_norm(relu(e), w.scale0, w.shift0, state.input, training);
    const Var g = batch_norm(linear(h, w.w1, w.b1, Act::relu), w.scale1, w.shift1, state.hidden, training);
    return linear(g, w.w2, w.b2, Act::sigmoid);
  };
  const Var e1 = embedding(w.embedding, y1), e2 = embedding(w.embedding, y2);
  if (fuse) return mlp(affine(add(e1, e2), 0.5, 0.0));
  const Var first = mlp(e1);  // in this order: both update the running statistics
  return mul(first, mlp(e2));
}

GateFigures gate_figures(const Var& gate) {
  const NoGrad no_grad;
  // 0 log 0 = 0
  const auto plogp = [](const Var& p) { return mul(p, log(clamp(p, 1e-300, 1.0))); };
  const Var g = cast(gate, DType::f64);
  const Var s = affine(g, -1.0, 1.0);
  return {mean(sum(gate, {-1})), neg(mean(add(plogp(g), plogp(s))))};
}

}  // namespace juxta::nn
