#pragma once
// The juxta program run as a person runs it, for the tests of program_test.cpp and program_data_test.cpp.
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tensor/file.h"
#include "tensor/npy.h"
#include "tests/support.h"

namespace juxta::test {

struct Outcome {
  int status = -1;
  std::string out, err;
};

inline std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

// Runs `juxta ARGUMENTS` in a shell (so redirections and limits may stand before or behind).
inline Outcome juxta_shell(const TempDir& dir, const std::string& arguments, const std::string& before = "") {
  const std::string command = before + std::string(JUXTA_BINARY_DIR) + "/bin/juxta " + arguments + " >" +
                              (dir / "out.txt") + " 2>" + (dir / "err.txt");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), text_of(dir / "out.txt"),
          text_of(dir / "err.txt")};
}

inline void expect_bad_input(const TempDir& dir, const std::string& arguments,
                             std::initializer_list<const char*> parts, const std::string& before = "") {
  const Outcome o = juxta_shell(dir, arguments, before);
  EXPECT_EQ(o.status, 2) << arguments << "\n" << o.err;
  const size_t at = o.err.find("juxta: error: ");
  ASSERT_NE(at, std::string::npos) << arguments << "\n" << o.err;
  const std::string line = o.err.substr(at);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << o.err;
  for (const char* p : parts)
    EXPECT_NE(line.find(p), std::string::npos) << "'" << p << "' is missing in: " << line;
}

// Training (64) and 32 test images of 8 x 8 in two classes that differ in brightness and stripes.
inline void write_data(const std::string& folder, int64_t images = 64) {
  std::filesystem::create_directories(folder);
  const auto split = [&](const std::string& name, int64_t n, uint64_t seed) {
    const Tensor noise = uniform({n, 8, 8, 1}, seed);
    Tensor x = Tensor::empty({n, 8, 8, 1}), y = Tensor::empty({n}, DType::i64);
    for (int64_t i = 0; i < n; ++i) {
      y.write<int64_t>("test")[i] = i % 2;
      for (int64_t p = 0; p < 64; ++p) {
        const double stripe = i % 2 ? (p / 8) % 2 : (p % 8) % 2;
        x.write<float>("test")[i * 64 + p] =
            static_cast<float>(0.6 * stripe + 0.4 * noise.data<double>()[i * 64 + p]);
      }
    }
    save_npy(folder + "/" + name + ".npy", x);
    save_npy(folder + "/" + name + "_labels.npy", y);
  };
  split("train", images, 1);
  split("test", 32, 2);
}

inline const std::string kSmall =
    " --quiet --set train.dtype=f32 --set train.batch=16 --set model.width=4 --set model.name=resnet20 --set "
    "optim.warmup_steps=2"
    " --set train.monitor_images=64";

inline std::string run_arguments(const TempDir& dir, const std::string& out, const std::string& more,
                                 const std::string& recipe = "simclr_fashion_mnist") {
  return "train " + recipe + " --data " + (dir / "data") + " --out " + (dir / out) + kSmall + " " + more;
}

}  // namespace juxta::test
