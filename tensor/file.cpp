#include "tensor/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace juxta {

namespace {
std::string reason() { return std::strerror(errno); }

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row.back();
}
}  // namespace

int64_t file_size(const std::string& path) {
  struct stat info {};
  JX_CHECK(stat(path.c_str(), &info) == 0, "cannot read ", path, ": ", reason());
  JX_CHECK(!S_ISDIR(info.st_mode), "cannot read ", path, ": it is a folder, expected a file");
  return info.st_size;
}

std::vector<unsigned char> read_file(const std::string& path) {
  std::vector<unsigned char> bytes(static_cast<size_t>(file_size(path)));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  JX_CHECK(fd >= 0, "cannot read ", path, ": ", reason());
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  close(fd);
  JX_CHECK(done == bytes.size(), "cannot read ", path, ": got ", done, " of ", bytes.size(), " bytes");
  return bytes;
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  struct stat info {};
  const bool special = stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
  if (special) {  // a device or pipe: a rename would put a file in its place
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary_ = path_ + ".tmp." + std::to_string(getpid());
    fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
  if (fd_ < 0) fail("cannot create");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what) {
  const std::string why = reason();
  struct stat info {};
  const bool old = !temporary_.empty() && stat(path_.c_str(), &info) == 0;
  JX_FAIL(what, " ", path_, ": ", why, old ? "; the file that stood there is untouched" : "");
}

void AtomicFile::write(const void* data, size_t bytes) {
  const auto* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("cannot write");
    p += n;
    bytes -= static_cast<size_t>(n);
  }
}

void AtomicFile::commit() {
  if (!temporary_.empty() && fsync(fd_) != 0) fail("cannot sync");
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) fail("cannot close");
  if (temporary_.empty()) return;
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename to");
  temporary_.clear();
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return;
  fsync(dir);  // some file systems cannot sync a folder; the rename stands all the same
  close(dir);
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t least = std::max<size_t>(2, name.size() / 2) + 1;
  for (const std::string& c : candidates) {
    const size_t d = edit_distance(name, c);
    if (d < least) {
      least = d;
      best = c;
    }
  }
  return best;
}

}  // namespace juxta
