#pragma once
// Element types. f32 and narrower types accumulate in float, f64 in double (see Acc).
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#if defined(__CUDACC__)
#define JX_HD __host__ __device__
#else
#define JX_HD
#endif

namespace juxta {

enum class DType : uint8_t { f32, bf16, f16, f64, i64, i32, u8, boolean };

// bfloat16: the upper half of a float. Conversion rounds to nearest even; NaN stays NaN.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  JX_HD explicit bf16(float f) {
    const uint32_t u = __builtin_bit_cast(uint32_t, f);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  template <class N>
  requires std::is_arithmetic_v<N> JX_HD explicit bf16(N n) : bf16(static_cast<float>(n)) {}
  JX_HD operator float() const { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }
};

// IEEE half precision; storage only, no kernel computes in it.
struct f16 {
  uint16_t bits = 0;
  f16() = default;
  explicit f16(float f);
  template <class N>
  requires std::is_arithmetic_v<N>
  explicit f16(N n) : f16(static_cast<float>(n)) {}
  operator float() const;
};

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// The type that sums, statistics and parameters beside elements of type T have.
template <class T>
using Acc = std::conditional_t<std::is_same_v<T, double>, double, float>;

int64_t size_of(DType dtype);           // bytes of one element
const char* name_of(DType dtype);       // "f32", "bool", ...
DType parse_dtype(std::string_view s);  // throws Error listing the names
inline std::string to_text(DType dtype) { return name_of(dtype); }
inline bool is_float(DType d) {
  return d == DType::f32 || d == DType::bf16 || d == DType::f64 || d == DType::f16;
}
// f32 for f32 and narrower, f64 for f64: dtype of statistics and parameters (the DType twin of Acc).
inline DType acc_dtype(DType d) { return d == DType::f64 ? DType::f64 : DType::f32; }

namespace detail {
[[noreturn]] void bad_float(DType dtype, const char* who);
}

// Calls fn.operator()<T>() with T the element type of `dtype`; Error naming `who` unless dtype is f32, bf16
// or f64.
template <class F>
decltype(auto) dispatch_float(DType dtype, const char* who, F&& fn) {
  switch (dtype) {
    case DType::f32:
      return fn.template operator()<float>();
    case DType::bf16:
      return fn.template operator()<bf16>();
    case DType::f64:
      return fn.template operator()<double>();
    default:
      detail::bad_float(dtype, who);
  }
}

// Calls fn.operator()<T>() for every element type (copies, casts, printing).
template <class F>
decltype(auto) dispatch_any(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::f32:
      return fn.template operator()<float>();
    case DType::bf16:
      return fn.template operator()<bf16>();
    case DType::f16:
      return fn.template operator()<f16>();
    case DType::f64:
      return fn.template operator()<double>();
    case DType::i64:
      return fn.template operator()<int64_t>();
    case DType::i32:
      return fn.template operator()<int32_t>();
    case DType::u8:
      return fn.template operator()<uint8_t>();
    case DType::boolean:
      break;
  }
  return fn.template operator()<bool>();
}

}  // namespace juxta
