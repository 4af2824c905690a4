#include "tensor/npy.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "tensor/file.h"

namespace juxta {

namespace {

// Tensors come to and from the first seven; the integers behind them are read into a wider dtype.
constexpr std::pair<const char*, DType> kTypes[] = {
    {"f4", DType::f32}, {"f8", DType::f64}, {"f2", DType::f16},     {"i8", DType::i64},
    {"i4", DType::i32}, {"u1", DType::u8},  {"b1", DType::boolean}, {"i1", DType::i32},
    {"i2", DType::i32}, {"u2", DType::i32}, {"u4", DType::i64},     {"u8", DType::i64}};

// Little-endian integers of `width` bytes at p, as i64.
Tensor widen(const unsigned char* p, int width, bool has_sign, const Dims& dims, const std::string& path) {
  Tensor t = Tensor::empty(dims, DType::i64);
  auto* out = t.write<int64_t>("load_npy");
  const int unused = 64 - 8 * width;
  for (int64_t i = 0; i < t.numel(); ++i, p += width) {
    uint64_t bits = 0;
    for (int b = width; b-- > 0;) bits = bits << 8 | p[b];
    // The shift down takes the sign along.
    out[i] = has_sign ? static_cast<int64_t>(bits << unused) >> unused : static_cast<int64_t>(bits);
    JX_CHECK(has_sign || out[i] >= 0, path, ": element ", i, " is ", bits, "; expected below 2^63");
  }
  return t;
}

// The text after 'key': in the header's Python dictionary.
std::string_view value_of(std::string_view header, const char* key, const std::string& path) {
  const size_t at = header.find(concat("'", key, "'"));
  JX_CHECK(at != std::string_view::npos, path, ": .npy header lacks '", key, "'");
  size_t colon = header.find(':', at);
  JX_CHECK(colon != std::string_view::npos, path, ": .npy header is malformed");
  header.remove_prefix(colon + 1);
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

Dims parse_shape(std::string_view text, const std::string& path) {
  JX_CHECK(!text.empty() && text[0] == '(', path, ": .npy shape is malformed");
  Dims dims;
  for (size_t i = 1; i < text.size() && text[i] != ')';) {
    if (text[i] == ',' || text[i] == ' ') {
      ++i;
      continue;
    }
    JX_CHECK(std::isdigit(static_cast<unsigned char>(text[i])), path, ": .npy shape is malformed");
    int64_t n = 0;
    for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) {
      n = n * 10 + (text[i] - '0');
      JX_CHECK(n < int64_t{1} << 48, path, ": .npy shape is too large");
    }
    dims.push_back(n);
  }
  return dims;
}

}  // namespace

Tensor load_npy(const std::string& path) {
  const std::vector<unsigned char> bytes = read_file(path);
  JX_CHECK(bytes.size() >= 10 && std::memcmp(bytes.data(), "\x93NUMPY", 6) == 0, path,
           ": not a .npy file (wrong magic)");
  const int version = bytes[6];
  JX_CHECK(version >= 1 && version <= 3, path, ": .npy version ", version, " is unknown");
  const size_t prefix = version == 1 ? 10 : 12;
  JX_CHECK(bytes.size() >= prefix, path, ": truncated .npy header");
  size_t length = bytes[8] | static_cast<size_t>(bytes[9]) << 8;
  if (version > 1) length |= static_cast<size_t>(bytes[10]) << 16 | static_cast<size_t>(bytes[11]) << 24;
  JX_CHECK(length <= bytes.size() - prefix, path, ": truncated .npy header");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + prefix, length);

  const std::string_view descr = value_of(header, "descr", path);
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) {
    return descr.size() >= 5 && descr.substr(2, 2) == t.first && (descr[1] == '<' || descr[1] == '|');
  });
  JX_CHECK(type != std::end(kTypes), path, ": .npy dtype ", std::string(descr.substr(0, 6)),
           " is not supported; expected little-endian f2, f4, f8, i1 to i8, u1 to u8 or b1");
  const int width = type->first[1] - '0';
  const Dims dims = parse_shape(value_of(header, "shape", path), path);
  const bool fortran = value_of(header, "fortran_order", path).substr(0, 4) == "True";
  int64_t want = width;  // of an array without empty axes, so that no stride overflows either
  for (const int64_t n : dims)
    JX_CHECK(!__builtin_mul_overflow(want, std::max<int64_t>(n, 1), &want), path, ": .npy shape overflows");
  want = numel(dims) * width;
  const size_t have = bytes.size() - prefix - length;
  JX_CHECK(have == static_cast<size_t>(want), path, ": .npy of ", type->second, " ", dims, " needs ", want,
           " data bytes, the file has ", have, "; is it truncated?");
  Dims order, stored;
  for (int i = dims.size() - 1; i >= 0; --i) {
    order.push_back(i);
    stored.push_back(dims[i]);
  }
  const unsigned char* data = bytes.data() + prefix + length;
  const Dims& laid_out = fortran ? stored : dims;
  Tensor t;
  if ((type->first[0] == 'u' && width > 1) || width < size_of(type->second)) {
    t = widen(data, width, type->first[0] == 'i', laid_out, path).to(type->second);
  } else {
    t = Tensor::empty(laid_out, type->second);
    if (want) std::memcpy(t.write("load_npy"), data, static_cast<size_t>(want));
  }
  if (t.dtype() == DType::boolean) normalize_bools(t);
  return fortran ? t.permute(order).contiguous() : t;
}

void save_npy(const std::string& path, const Tensor& value) {
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const auto& k) { return k.second == value.dtype(); });
  JX_CHECK(type != std::end(kTypes), "save_npy: ", path, ": NumPy has no ", value.dtype(),
           "; convert to f32");
  const Tensor t = (value.device() == kCpu ? value : value.to(kCpu)).contiguous();
  std::string shape = "(";
  for (int64_t n : t.dims()) shape += std::to_string(n) + ",";
  const bool one_byte = size_of(t.dtype()) == 1;
  std::string header = concat("{'descr': '", one_byte ? "|" : "<", type->first,
                              "', 'fortran_order': False, 'shape': ", shape, "), }");
  header.resize((header.size() + 1 + 10 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  AtomicFile out(path);
  const unsigned char prefix[10] = {0x93,
                                    'N',
                                    'U',
                                    'M',
                                    'P',
                                    'Y',
                                    1,
                                    0,
                                    static_cast<unsigned char>(header.size()),
                                    static_cast<unsigned char>(header.size() >> 8)};
  out.write(prefix, 10);
  out.write(header);
  out.write(t.raw(), static_cast<size_t>(t.bytes()));
  out.commit();
}

}  // namespace juxta
