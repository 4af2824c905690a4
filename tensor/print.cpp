// Text of tensors for people: values in nested brackets, one row a line.
#include <cstdio>

#include "tensor/tensor.h"

namespace juxta {

namespace {
void print_into(std::string& out, const Tensor& t, int depth) {
  if (t.ndim() == 0) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", t.item());
    out += text;
    return;
  }
  out += "[";
  for (int64_t i = 0; i < t.size(0); ++i) {
    if (i) out += t.ndim() > 1 ? ",\n" + std::string(static_cast<size_t>(depth + 1), ' ') : ", ";
    print_into(out, t.select(0, i), depth + 1);
  }
  out += "]";
}
}  // namespace

std::string print(const Tensor& t, int64_t max_elements) {
  if (!t.defined() || t.numel() > max_elements) return to_text(t);
  std::string out;
  print_into(out, t.device().on_host() ? t : t.to(kCpu), 0);
  return out + " " + to_text(t);
}

}  // namespace juxta
