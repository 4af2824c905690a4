#include "autograd/accumulate.h"

#include "kernels/elementwise.h"

namespace juxta {

void accumulate(Tensor& into, Tensor x) {
  if (!into.defined()) {
    into = x.contiguous();  // rules may hand over views (slices of dy, transposes)
    return;
  }
  JX_CHECK(into.dims() == x.dims() && into.dtype() == x.dtype(), "accumulate: cannot add ", x, " to ", into);
  x = x.contiguous();
  const bool sole_owner =
      into.is_contiguous() && into.storage()->use_count() == 1 && !into.storage()->has_parent();
  if (!sole_owner) into = into.clone();
  dispatch_float(into.dtype(), "accumulate", [&]<class T>() {
    run(into.device(), elementwise_tables<T>().on(into.device()).axpby,
        Axpby<T>{x.data<T>(), into.write<T>("accumulate"), 1.0, 1.0}, x.numel(), kElementGrain);
  });
}

}  // namespace juxta
