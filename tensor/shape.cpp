#include "tensor/shape.h"

#include <algorithm>

namespace juxta {

std::string to_text(const Dims& d) {
  std::string s = "[";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + "]";
}

int64_t numel(const Dims& d) {
  int64_t n = 1;
  for (int64_t x : d) {
    JX_CHECK(x >= 0, "shape: sizes must not be negative, got ", d);
    JX_CHECK(!__builtin_mul_overflow(n, x, &n), "shape: number of elements overflows 64 bits: ", d);
  }
  return n;
}

Dims contiguous_strides(const Dims& d) {
  Dims s = d;
  int64_t step = 1;
  for (int i = d.size() - 1; i >= 0; --i) {
    s[i] = step;
    step *= std::max<int64_t>(d[i], 1);
  }
  return s;
}

Dims broadcast(const Dims& a, const Dims& b, const char* who) {
  const int n = std::max(a.size(), b.size());
  Dims out;
  for (int i = 0; i < n; ++i) {
    const int ia = i - (n - a.size()), ib = i - (n - b.size());
    const int64_t x = ia >= 0 ? a[ia] : 1, y = ib >= 0 ? b[ib] : 1;
    JX_CHECK(x == y || x == 1 || y == 1, who, ": shapes ", a, " and ", b, " do not broadcast (", x,
             " against ", y, "); sizes must be equal or 1, aligned at the last dimension");
    out.push_back(x == 1 ? y : x);
  }
  return out;
}

int wrap_dim(int dim, int n, const char* who) {
  JX_CHECK(dim >= -n && dim < n, who, ": dimension ", dim, " is out of range for a tensor of ", n,
           " dimensions");
  return dim < 0 ? dim + n : dim;
}

}  // namespace juxta
