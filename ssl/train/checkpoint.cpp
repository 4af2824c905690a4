#include "ssl/train/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "tensor/error.h"

namespace juxta::ssl {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kSuffix = ".safetensors";

int64_t number_of(const std::map<std::string, std::string>& m, const char* key, const std::string& file) {
  const auto it = m.find(key);
  JX_CHECK(it != m.end(), file, ": not a checkpoint of juxta: its metadata lacks '", key, "'");
  char* end = nullptr;
  const long long v = std::strtoll(it->second.c_str(), &end, 10);
  JX_CHECK(end && *end == 0 && !it->second.empty() && v >= 0, file, ": metadata '", key, "' is '", it->second,
           "', expected a number");
  return v;
}

int64_t step_of(const std::string& path) {
  const std::string name = fs::path(path).stem().string();
  return std::strtoll(name.c_str() + std::string(kPrefix).size(), nullptr, 10);
}

}  // namespace

std::vector<std::string> checkpoint_files(const std::string& run) {
  std::vector<std::string> files;
  std::error_code code;
  for (const auto& e : fs::directory_iterator(run, code)) {
    const std::string name = e.path().filename().string();
    if (name.rfind(kPrefix, 0) == 0 && e.path().extension() == kSuffix) files.push_back(e.path().string());
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
  return files;
}

void save_checkpoint(const std::string& run, const Checkpoint& c, int64_t keep) {
  SafeTensors file;
  file.metadata = c.extra;
  file.metadata["juxta.format"] = std::to_string(kCheckpointFormat);
  file.metadata["juxta.recipe"] = c.recipe;
  file.metadata["juxta.step"] = std::to_string(c.step);
  file.metadata["juxta.epoch"] = std::to_string(c.epoch);
  file.metadata["juxta.batch_in_epoch"] = std::to_string(c.batch_in_epoch);
  file.metadata["juxta.milliseconds"] = std::to_string(static_cast<int64_t>(c.seconds * 1000));
  file.tensors = c.tensors;
  char name[64];
  std::snprintf(name, sizeof name, "/%s%08lld%s", kPrefix, static_cast<long long>(c.step), kSuffix);
  save_safetensors(run + name, file);
  const std::vector<std::string> files = checkpoint_files(run);
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(keep, 1)) < files.size(); ++i) {
    std::error_code ignored;
    fs::remove(files[i], ignored);
  }
}

Checkpoint read_checkpoint(const std::string& path) {
  SafeTensors file = load_safetensors(path);
  Checkpoint c;
  const int64_t format = number_of(file.metadata, "juxta.format", path);
  JX_CHECK(format == kCheckpointFormat, path, ": checkpoint format ", format, ", this program reads ",
           kCheckpointFormat);
  c.step = number_of(file.metadata, "juxta.step", path);
  c.epoch = number_of(file.metadata, "juxta.epoch", path);
  c.batch_in_epoch = number_of(file.metadata, "juxta.batch_in_epoch", path);
  c.seconds = static_cast<double>(number_of(file.metadata, "juxta.milliseconds", path)) / 1000.0;
  const auto recipe = file.metadata.find("juxta.recipe");
  JX_CHECK(recipe != file.metadata.end(), path, ": not a checkpoint of juxta: it holds no recipe");
  c.recipe = recipe->second;
  for (auto& [key, value] : file.metadata)
    if (key.rfind("juxta.", 0) != 0) c.extra[key] = value;
  c.tensors = std::move(file.tensors);
  return c;
}

Checkpoint load_checkpoint(const std::string& run) {
  std::error_code code;
  JX_CHECK(fs::exists(run, code), "run ", run, ": no such file or folder");
  if (!fs::is_directory(run)) return read_checkpoint(run);
  std::vector<std::string> files = checkpoint_files(run);
  JX_CHECK(!files.empty(), "run ", run, ": no checkpoint there; was it made by juxta train?");
  while (files.size() > 1) {
    try {
      return read_checkpoint(files.back());
    } catch (const Error& e) {
      std::fprintf(stderr, "juxta: warning: %s; trying the checkpoint before it\n", e.what());
      files.pop_back();
    }
  }
  return read_checkpoint(files.back());
}

}  // namespace juxta::ssl
