#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

#include "tensor/copy.h"
#include "tensor/cuda.h"

namespace juxta {

namespace {
bool dense(const Dims& dims, const Dims& strides) {
  int64_t step = 1;
  for (int i = dims.size() - 1; i >= 0; --i) {
    if (dims[i] == 0) return true;
    if (dims[i] != 1 && strides[i] != step) return false;
    step *= dims[i];
  }
  return true;
}
}  // namespace

Tensor::Tensor(Ref<Storage> storage, DType dtype, Dims dims, Dims strides, int64_t offset)
    : storage_(std::move(storage)),
      dims_(dims),
      strides_(strides),
      offset_(offset),
      numel_(juxta::numel(dims)),
      dtype_(dtype),
      contiguous_(dense(dims, strides)) {}

Tensor Tensor::empty(Dims dims, DType dtype, Device device) {
  int64_t bytes = 0;
  JX_CHECK(!__builtin_mul_overflow(juxta::numel(dims), size_of(dtype), &bytes), "tensor: ", dims, " ", dtype,
           " overflows the address space");
  return Tensor(Storage::allocate(static_cast<size_t>(bytes), device), dtype, dims, contiguous_strides(dims),
                0);
}

Tensor Tensor::zeros(Dims dims, DType dtype, Device device) { return full(dims, 0.0, dtype, device); }

Tensor Tensor::full(Dims dims, double value, DType dtype, Device device) {
  Tensor t = empty(dims, dtype, device);
  t.fill(value, "Tensor::full");
  return t;
}

Tensor Tensor::arange(int64_t n) {
  Tensor t = empty({n}, DType::i64);
  auto* p = t.write<int64_t>("Tensor::arange");
  for (int64_t i = 0; i < n; ++i) p[i] = i;
  return t;
}

void Tensor::check_type(DType t) const { JX_CHECK(t == dtype_, "tensor: asked for ", t, " data of ", *this); }

const void* Tensor::raw() const {
  JX_CHECK(defined(), "tensor: undefined tensor used; an optional argument was passed on without a check");
  return static_cast<const char*>(storage_->data()) + offset_ * size_of(dtype_);
}

void* Tensor::write(const char* who) {
  const void* p = raw();
  storage_->bump(who);
  return const_cast<void*>(p);
}

Dims infer_dims(Dims dims, int64_t n, const char* who) {
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < dims.size(); ++i) {
    if (dims[i] == -1) {
      JX_CHECK(unknown < 0, who, ": only one size may be -1, got ", dims);
      unknown = i;
    } else {
      known *= dims[i];
    }
  }
  if (unknown >= 0) {
    JX_CHECK(known > 0 && n % known == 0, who, ": ", n, " elements do not fill ", dims);
    dims[unknown] = n / known;
  }
  JX_CHECK(numel(dims) == n, who, ": shape ", dims, " needs ", numel(dims), " elements, got ", n);
  return dims;
}

Tensor Tensor::view(Dims dims) const {
  JX_CHECK(contiguous_, "view: expected a contiguous tensor, got strides ", strides_, " for ", dims_,
           "; use reshape");
  dims = infer_dims(dims, numel_, "view");
  return Tensor(storage_, dtype_, dims, contiguous_strides(dims), offset_);
}

Tensor Tensor::reshape(Dims dims) const { return contiguous().view(dims); }

Tensor Tensor::transpose(int a, int b) const {
  a = wrap_dim(a, ndim(), "transpose");
  b = wrap_dim(b, ndim(), "transpose");
  Dims d = dims_, s = strides_;
  std::swap(d[a], d[b]);
  std::swap(s[a], s[b]);
  return Tensor(storage_, dtype_, d, s, offset_);
}

Tensor Tensor::permute(Dims order) const {
  JX_CHECK(order.size() == ndim(), "permute: order ", order, " for ", dims_);
  Dims d, s;
  unsigned seen = 0;
  for (int64_t o : order) {
    const int k = wrap_dim(static_cast<int>(o), ndim(), "permute");
    JX_CHECK(!(seen >> k & 1u), "permute: dimension ", k, " appears twice in ", order);
    seen |= 1u << k;
    d.push_back(dims_[k]);
    s.push_back(strides_[k]);
  }
  return Tensor(storage_, dtype_, d, s, offset_);
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
  dim = wrap_dim(dim, ndim(), "slice");
  JX_CHECK(0 <= begin && begin <= end && end <= dims_[dim], "slice: [", begin, ", ", end,
           ") outside dimension ", dim, " of ", dims_);
  Dims d = dims_;
  d[dim] = end - begin;
  return Tensor(storage_, dtype_, d, strides_, offset_ + begin * strides_[dim]);
}

Tensor Tensor::select(int dim, int64_t index) const {
  dim = wrap_dim(dim, ndim(), "select");
  JX_CHECK(0 <= index && index < dims_[dim], "select: index ", index, " outside dimension ", dim, " of ",
           dims_);
  Dims d = dims_, s = strides_;
  d.erase(dim);
  s.erase(dim);
  return Tensor(storage_, dtype_, d, s, offset_ + index * strides_[dim]);
}

Tensor Tensor::unsqueeze(int dim) const {
  dim = wrap_dim(dim, ndim() + 1, "unsqueeze");
  Dims d = dims_, s = strides_;
  d.insert(dim, 1);
  s.insert(dim, dim < ndim() ? strides_[dim] * dims_[dim] : 1);
  return Tensor(storage_, dtype_, d, s, offset_);
}

Tensor Tensor::squeeze(int dim) const {
  dim = wrap_dim(dim, ndim(), "squeeze");
  JX_CHECK(dims_[dim] == 1, "squeeze: dimension ", dim, " of ", dims_, " is not 1");
  return select(dim, 0);
}

Tensor Tensor::expand(Dims dims) const {
  JX_CHECK(broadcast(dims_, dims, "expand") == dims, "expand: ", dims_, " does not expand to ", dims);
  Dims s = dims;
  for (int i = 0; i < dims.size(); ++i) {
    const int k = i - (dims.size() - ndim());
    s[i] = k >= 0 && dims_[k] == dims[i] ? strides_[k] : 0;
  }
  return Tensor(storage_, dtype_, dims, s, offset_);
}

Tensor Tensor::detach_version() const {
  JX_CHECK(contiguous_, "detach_version: expected a contiguous tensor");
  const auto begin = static_cast<size_t>(offset_ * size_of(dtype_));
  return Tensor(Storage::part(storage_, begin, static_cast<size_t>(bytes())), dtype_, dims_, strides_, 0);
}

Tensor Tensor::clone() const {
  Tensor t = empty(dims_, dtype_, device());
  copy_elements(*this, t, "clone");
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor t = empty(dims_, dtype, device());
  copy_elements(*this, t, "to");
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  const Tensor from = contiguous();
  Tensor t = empty(dims_, dtype_, device);
  copy_bytes(from, t, "to");
  return t;
}

void Tensor::copy_from(const Tensor& src, const char* who) {
  JX_CHECK(src.dims() == dims_, who, ": cannot copy ", src, " into ", *this);
  copy_elements(src, *this, who);
}

void Tensor::fill(double value, const char* who) {
  if (numel_ == 0) return;
  if (value == 0.0 && contiguous_) {
    const auto n = static_cast<size_t>(bytes());
    if (device().on_host())
      std::memset(write(who), 0, n);
    else
      cuda::fill_bytes(write(who), 0, n);
    return;
  }
  fill_elements(*this, value, who);
}

double Tensor::item() const {
  JX_CHECK(numel_ == 1, "item: expected one element, got ", *this);
  const Tensor host = device().on_host() ? *this : to(kCpu);
  return dispatch_any(dtype_, [&]<class T>() { return static_cast<double>(*host.data<T>()); });
}

double Tensor::at(std::initializer_list<int64_t> index) const {
  JX_CHECK(static_cast<int>(index.size()) == ndim(), "at: ", index.size(), " indices for ", *this);
  Tensor t = *this;
  for (int64_t i : index) t = t.select(0, i);
  return t.item();
}

void normalize_bools(Tensor& t) {
  auto* p = static_cast<unsigned char*>(t.write("normalize_bools"));
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = p[i] != 0;
}

std::string to_text(const Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  return concat(t.dtype(), " ", t.dims(), t.device() == kCpu ? "" : " on " + to_text(t.device()));
}

}  // namespace juxta
