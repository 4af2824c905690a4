#include "autograd/accumulate.h"

#include "tensor/parallel.h"

namespace juxta {

void accumulate(Tensor& into, Tensor x) {
  if (!into.defined()) {
    into = std::move(x);
    return;
  }
  JX_CHECK(into.dims() == x.dims() && into.dtype() == x.dtype(), "accumulate: cannot add ", x, " to ", into);
  x = x.contiguous();
  const bool sole_owner =
      into.is_contiguous() && into.storage()->use_count() == 1 && !into.storage()->has_parent();
  if (!sole_owner) into = into.clone();
  dispatch_float(into.dtype(), "accumulate", [&]<class T>() {
    T* a = into.write<T>("accumulate");
    const T* b = x.data<T>();
    parallel_for(x.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        a[i] = static_cast<T>(static_cast<Acc<T>>(a[i]) + static_cast<Acc<T>>(b[i]));
    });
  });
}

}  // namespace juxta
