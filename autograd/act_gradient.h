#pragma once
// The way back through an epilogue act(z + bias), for the rules whose kernels have one (linear, convolution).
#include "autograd/rule.h"
#include "kernels/matmul.h"

namespace juxta {

// dz = dy act'(saved) of dy [R, C] (dy itself without an activation), and b's gradient 2, that of the bias.
template <class T>
Tensor act_gradient(const char* op, Backward& b, const Tensor& dy, const Tensor& saved, Act act) {
  const int64_t rows = dy.size(0), cols = dy.size(1), chunk = rows_per_chunk(rows),
                chunks = (rows + chunk - 1) / chunk;
  if (act == Act::none && !b.needs(2)) return dy;
  Tensor dz, sums;
  if (act != Act::none) dz = Tensor::empty(dy.dims(), dy.dtype(), dy.device());
  if (b.needs(2)) sums = Tensor::empty({chunks, cols}, acc_dtype(dy.dtype()), dy.device());
  const ActBwd<T> args{dy.data<T>(),
                       data_or_null<T>(saved),
                       write_or_null<T>(dz, op),
                       write_or_null<Acc<T>>(sums, op),
                       rows,
                       cols,
                       chunk,
                       act};
  run(dy.device(), matmul_tables<T>().on(dy.device()).act_bwd, args, chunks, 1);
  if (sums) {
    Tensor dbias = Tensor::empty({cols}, sums.dtype(), dy.device());
    matmul_add_parts<T>(dy.device(), sums.data<Acc<T>>(), chunks, 1, cols, nullptr, dbias.write<Acc<T>>(op));
    b.set(2, dbias);
  }
  return dz ? dz : dy;
}

}  // namespace juxta
