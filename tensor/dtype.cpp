#include "tensor/dtype.h"

#include "tensor/error.h"

namespace juxta {

namespace {
struct Row {
  DType dtype;
  const char* name;
  int64_t bytes;
};
constexpr Row kRows[] = {{DType::f32, "f32", 4}, {DType::bf16, "bf16", 2},   {DType::f16, "f16", 2},
                         {DType::f64, "f64", 8}, {DType::i64, "i64", 8},     {DType::i32, "i32", 4},
                         {DType::u8, "u8", 1},   {DType::boolean, "bool", 1}};
}  // namespace

int64_t size_of(DType dtype) { return kRows[static_cast<int>(dtype)].bytes; }
const char* name_of(DType dtype) { return kRows[static_cast<int>(dtype)].name; }

DType parse_dtype(std::string_view s) {
  std::string names;
  for (const Row& r : kRows) {
    if (s == r.name) return r.dtype;
    names += (names.empty() ? "" : ", ") + std::string(r.name);
  }
  JX_FAIL("dtype: expected one of ", names, "; got '", s, "'");
}

namespace detail {
void bad_float(DType dtype, const char* who) {
  JX_FAIL(who, ": expected f32, bf16 or f64, got ", dtype, "; convert with to(DType::f32)");
}
}  // namespace detail

f16::f16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  const uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    bits = static_cast<uint16_t>(sign | 0x7e00u);
  } else if (magnitude >= 0x477ff000u) {  // rounds to infinity from 65520 on
    bits = static_cast<uint16_t>(sign | 0x7c00u);
  } else if (magnitude < 0x38800000u) {  // subnormal half: let float addition do the rounding
    const float scaled = std::bit_cast<float>(magnitude) + 0.5f;
    bits = static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(scaled) - 0x3f000000u));
  } else {
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    bits = static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
}

f16::operator float() const {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u, mantissa = bits & 0x3ffu;
  if (exponent == 0) {
    const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }
  const uint32_t e = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (e << 23) | (mantissa << 13));
}

}  // namespace juxta
