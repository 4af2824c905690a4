#pragma once
// Files, read whole or written so that a crash leaves the old file or the new one, never half of one.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"

namespace juxta {

// Bytes of a file. Error naming the path and the system's reason.
std::vector<unsigned char> read_file(const std::string& path);
// Size in bytes; Error when there is no such file.
int64_t file_size(const std::string& path);

// A file being written under a temporary name beside `path`. commit() syncs it, renames it to `path` and
// syncs the folder; without commit() the temporary file is removed. Every failure (a full disk) is an Error
// that names the path, and leaves whatever stood at `path` untouched. A device or pipe is written in place.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail(const char* what);
  std::string path_, temporary_;
  int fd_ = -1;
};
void write_file(const std::string& path, std::string_view content);  // through AtomicFile

// The candidate with the smallest edit distance to `name`, for "did you mean"; empty when none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace juxta
