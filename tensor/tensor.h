#pragma once
// Tensor: a small value {storage, dtype, dims, strides, offset}. Copying it is a reference; clone() copies
// data. It knows no gradients (see autograd/var.h).
#include <initializer_list>
#include <span>
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace juxta {

class Tensor {
 public:
  Tensor() = default;  // undefined: stands for "absent" in optional arguments
  Tensor(Ref<Storage> storage, DType dtype, Dims dims, Dims strides, int64_t offset);

  static Tensor empty(Dims dims, DType dtype = DType::f32, Device device = kCpu);
  static Tensor zeros(Dims dims, DType dtype = DType::f32, Device device = kCpu);
  static Tensor full(Dims dims, double value, DType dtype = DType::f32, Device device = kCpu);
  static Tensor arange(int64_t n);  // i64 [0, 1, ..., n-1]
  template <class T>
  static Tensor from(std::span<const T> values, Dims dims);
  template <class T>
  static Tensor from(std::initializer_list<T> values, Dims dims) {
    return from(std::span<const T>(values.begin(), values.size()), dims);
  }
  static Tensor scalar(double value, DType dtype = DType::f32) { return full({}, value, dtype); }

  bool defined() const { return static_cast<bool>(storage_); }
  explicit operator bool() const { return defined(); }
  int ndim() const { return dims_.size(); }
  int64_t size(int dim) const { return dims_[wrap_dim(dim, ndim(), "size")]; }
  int64_t stride(int dim) const { return strides_[wrap_dim(dim, ndim(), "stride")]; }
  const Dims& dims() const { return dims_; }
  const Dims& strides() const { return strides_; }
  int64_t offset() const { return offset_; }
  int64_t numel() const { return numel_; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : kCpu; }
  bool is_contiguous() const { return contiguous_; }
  const Ref<Storage>& storage() const { return storage_; }
  uint64_t version() const { return storage_ ? storage_->version() : 0; }
  // Changes with every write to these bytes, also through an arena that they lie in or a part of them.
  uint64_t content_version() const { return storage_ ? storage_->content_version() : 0; }
  // Bytes that the elements occupy (numel times element size).
  int64_t bytes() const { return numel_ * size_of(dtype_); }

  // Address of the first element. Reading is free; Error when T is not the dtype.
  const void* raw() const;
  template <class T>
  const T* data() const {
    check_type(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  // The only mutable access: it bumps the storage's version, so a pending backward that saved this tensor
  // will notice. `who` is a string literal naming the writer.
  void* write(const char* who);
  template <class T>
  T* write(const char* who) {
    check_type(dtype_of<T>);
    return static_cast<T*>(write(who));
  }

  // Views (share the storage). One size of view/reshape may be -1.
  Tensor view(Dims dims) const;     // Error unless contiguous
  Tensor reshape(Dims dims) const;  // a view when contiguous, else a contiguous copy
  Tensor transpose(int a, int b) const;
  Tensor permute(Dims order) const;
  Tensor slice(int dim, int64_t begin, int64_t end) const;  // [begin, end)
  Tensor select(int dim, int64_t index) const;              // removes the dimension
  Tensor unsqueeze(int dim) const;
  Tensor squeeze(int dim) const;   // Error unless its size is 1
  Tensor expand(Dims dims) const;  // broadcast by zero strides
  Tensor detach_version() const;   // the same memory behind a storage part with its own version

  // Copies.
  Tensor clone() const;  // contiguous
  Tensor contiguous() const { return contiguous_ ? *this : clone(); }
  Tensor to(DType dtype) const;  // itself when nothing changes
  Tensor to(Device device) const;
  void copy_from(const Tensor& src, const char* who);  // shapes equal; converts the dtype
  void fill(double value, const char* who);

  double item() const;  // the single element as double; Error when numel != 1
  double at(std::initializer_list<int64_t> index) const;

 private:
  void check_type(DType t) const;
  Ref<Storage> storage_;
  Dims dims_, strides_;
  int64_t offset_ = 0, numel_ = 0;
  DType dtype_ = DType::f32;
  bool contiguous_ = true;
};

std::string to_text(const Tensor& t);                             // "f32 [2, 3] on cpu", for messages
std::string print(const Tensor& t, int64_t max_elements = 1000);  // values, for people

// Makes every byte of a bool tensor 0 or 1: files may hold others, and reading those as bool is undefined.
void normalize_bools(Tensor& t);

// Shapes with one -1 replaced so that the product is n; Error naming `who` when impossible.
Dims infer_dims(Dims dims, int64_t n, const char* who);

template <class T>
Tensor Tensor::from(std::span<const T> values, Dims dims) {
  JX_CHECK(static_cast<int64_t>(values.size()) == juxta::numel(dims), "Tensor::from: ", values.size(),
           " values for shape ", dims);
  Tensor t = empty(dims, dtype_of<T>);
  T* out = t.write<T>("Tensor::from");
  for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

}  // namespace juxta
