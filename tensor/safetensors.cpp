#include "tensor/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "tensor/file.h"

namespace juxta {

namespace {

using nlohmann::json;

constexpr std::pair<const char*, DType> kTypes[] = {
    {"F32", DType::f32}, {"F64", DType::f64}, {"F16", DType::f16}, {"BF16", DType::bf16},
    {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8},   {"BOOL", DType::boolean}};

struct Entry {
  std::string name;
  DType dtype;
  Dims dims;
  uint64_t begin, end;
};

uint64_t unsigned_at(const json& j, const std::string& what, const std::string& field) {
  JX_CHECK(j.is_number_unsigned(), what, ": ", field, ": expected a non-negative integer, got ", j.dump());
  return j.get<uint64_t>();
}

Entry read_entry(const std::string& name, const json& j, uint64_t data_bytes, const std::string& file) {
  const std::string what = concat(file, ": tensor '", name.substr(0, 200), "'");
  JX_CHECK(j.is_object() && j.contains("dtype") && j.contains("shape") && j.contains("data_offsets"), what,
           ": expected dtype, shape and data_offsets");
  Entry e{name, DType::f32, {}, 0, 0};
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) {
    return j["dtype"].is_string() && j["dtype"] == t.first;
  });
  JX_CHECK(type != std::end(kTypes), what, ": dtype ", j["dtype"].dump(), " is not supported");
  e.dtype = type->second;
  JX_CHECK(j["shape"].is_array() && j["shape"].size() <= kMaxDims, what, ": expected a shape of at most ",
           kMaxDims, " sizes");
  uint64_t bytes = static_cast<uint64_t>(size_of(e.dtype));
  for (const json& s : j["shape"]) {
    const uint64_t n = unsigned_at(s, what, "shape");
    JX_CHECK(n <= uint64_t{1} << 48 && !__builtin_mul_overflow(bytes, n, &bytes), what, ": shape ",
             j["shape"].dump(), " overflows");
    e.dims.push_back(static_cast<int64_t>(n));
  }
  const json& offsets = j["data_offsets"];
  JX_CHECK(offsets.is_array() && offsets.size() == 2, what, ": expected two data_offsets");
  e.begin = unsigned_at(offsets[0], what, "data_offsets");
  e.end = unsigned_at(offsets[1], what, "data_offsets");
  JX_CHECK(e.begin <= e.end && e.end <= data_bytes, what, ": data_offsets [", e.begin, ", ", e.end,
           "] leave the file, which has ", data_bytes, " data bytes; is it truncated?");
  JX_CHECK(e.end - e.begin == bytes, what, ": ", e.end - e.begin, " bytes for ", e.dtype, " ", e.dims,
           ", expected ", bytes);
  return e;
}

std::string hex(uint32_t v) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", v);
  return text;
}

uint32_t crc_of(const void* data, size_t bytes) {
  return static_cast<uint32_t>(crc32_z(0, static_cast<const unsigned char*>(data), bytes));
}

}  // namespace

const Tensor* SafeTensors::find(const std::string& name) const {
  for (const auto& [n, t] : tensors)
    if (n == name) return &t;
  return nullptr;
}

const Tensor& SafeTensors::at(const std::string& name) const {
  if (const Tensor* t = find(name)) return *t;
  std::vector<std::string> names;
  for (const auto& [n, t] : tensors) names.push_back(n);
  const std::string near = nearest_name(name, names);
  JX_FAIL("no tensor '", name, "'", near.empty() ? "" : "; the nearest name is '" + near + "'");
}

SafeTensors parse_safetensors(std::span<const unsigned char> bytes, const std::string& what) {
  JX_CHECK(bytes.size() >= 8, what, ": not a safetensors file: ", bytes.size(),
           " bytes, expected at least 8");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | bytes[static_cast<size_t>(i)];
  JX_CHECK(length <= bytes.size() - 8, what, ": not a safetensors file, or truncated: its header claims ",
           length, " bytes of ", bytes.size());
  const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  const json header = json::parse(text, text + length, nullptr, /*allow_exceptions=*/false);
  JX_CHECK(header.is_object(), what, ": not a safetensors file: its header is not a JSON object");
  const auto data = bytes.subspan(8 + static_cast<size_t>(length));

  SafeTensors file;
  std::vector<Entry> entries;
  for (const auto& [name, j] : header.items()) {
    if (name == "__metadata__") {
      JX_CHECK(j.is_object(), what, ": __metadata__: expected an object of strings");
      for (const auto& [k, v] : j.items()) {
        JX_CHECK(v.is_string(), what, ": __metadata__: '", k, "' is not a string");
        file.metadata[k] = v.get<std::string>();
      }
    } else {
      entries.push_back(read_entry(name, j, data.size(), what));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  json sums = json::object();
  if (const auto it = file.metadata.find("crc32"); it != file.metadata.end()) {
    sums = json::parse(it->second, nullptr, false);
    file.metadata.erase(it);
  }
  uint64_t previous = 0;
  for (const Entry& e : entries) {
    JX_CHECK(e.begin >= previous, what, ": tensor '", e.name, "' overlaps another tensor's data");
    previous = e.end;
    const auto part = data.subspan(static_cast<size_t>(e.begin), static_cast<size_t>(e.end - e.begin));
    if (sums.is_object() && sums.contains(e.name))
      JX_CHECK(sums[e.name] == hex(crc_of(part.data(), part.size())), what, ": tensor '", e.name,
               "' does not match its checksum; the file is damaged");
    Tensor t = Tensor::empty(e.dims, e.dtype);
    if (!part.empty()) std::memcpy(t.write("load_safetensors"), part.data(), part.size());
    if (e.dtype == DType::boolean) normalize_bools(t);
    file.tensors.emplace_back(e.name, std::move(t));
  }
  JX_CHECK(previous == data.size(), what, ": ", data.size() - previous,
           " bytes follow the last tensor; the file is damaged");
  return file;
}

SafeTensors load_safetensors(const std::string& path) { return parse_safetensors(read_file(path), path); }

void save_safetensors(const std::string& path, const SafeTensors& file) {
  json header = json::object(), sums = json::object();
  std::vector<Tensor> data;
  uint64_t offset = 0;
  for (const auto& [name, value] : file.tensors) {
    JX_CHECK(!header.contains(name) && name != "__metadata__", "save ", path, ": two tensors are named '",
             name, "'");
    data.push_back((value.device() == kCpu ? value : value.to(kCpu)).contiguous());
    const Tensor& t = data.back();
    const auto bytes = static_cast<uint64_t>(t.bytes());
    const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const auto& k) { return k.second == t.dtype(); });
    json shape = json::array();
    for (int64_t n : t.dims()) shape.push_back(n);
    header[name] = {{"dtype", type->first}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    sums[name] = hex(crc_of(t.raw(), static_cast<size_t>(bytes)));
    offset += bytes;
  }
  json metadata = json::object();
  for (const auto& [k, v] : file.metadata) metadata[k] = v;
  metadata["crc32"] = sums.dump();
  header["__metadata__"] = metadata;
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // readers may map the data: keep it aligned
  unsigned char length[8];
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(text.size() >> (8 * i));
  AtomicFile out(path);
  out.write(length, 8);
  out.write(text);
  for (const Tensor& t : data) out.write(t.raw(), static_cast<size_t>(t.bytes()));
  out.commit();
}

}  // namespace juxta
