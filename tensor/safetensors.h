#pragma once
// Safetensors: 8 bytes of header length (little endian), a JSON header {name: {dtype, shape, data_offsets}},
// raw data. Files are treated as hostile: lengths, overlaps, products that overflow and truncation are
// checked before any use.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace juxta {

struct SafeTensors {
  std::map<std::string, std::string> metadata;          // the header's __metadata__
  std::vector<std::pair<std::string, Tensor>> tensors;  // in the order of their data

  const Tensor* find(const std::string& name) const;  // null when absent
  const Tensor& at(const std::string& name) const;    // Error with the nearest name when absent
};

// dtypes F32, F64, F16, BF16, I64, I32, U8, BOOL. Checksums written by save_safetensors are verified.
SafeTensors load_safetensors(const std::string& path);
// The same from bytes in memory; `what` names the source in errors.
SafeTensors parse_safetensors(std::span<const unsigned char> bytes, const std::string& what);
// Atomic (see AtomicFile). A CRC-32 per tensor goes into the metadata under "crc32".
void save_safetensors(const std::string& path, const SafeTensors& file);

}  // namespace juxta
