// juxta_tests [--gpu] [--gtest_...]: all tests. --gpu also runs every emulated case on the first CUDA device;
// status 2 where there is none, or no CUDA kernels in this build.
#include <cstdio>
#include <cstring>

#include "kernels/table.h"
#include "tensor/cuda.h"
#include "tests/harness.h"

namespace {

// Takes --gpu out of the arguments; true when it was there.
bool take_gpu(int& argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], "--gpu") != 0) argv[kept++] = argv[i];
  const bool found = kept < argc;
  argc = kept;
  argv[argc] = nullptr;
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  const bool gpu = take_gpu(argc, argv);  // first: tests that start this program again must not inherit it
  testing::InitGoogleTest(&argc, argv);
  if (gpu) {
    if (!juxta::built_with_cuda()) {
      std::fprintf(stderr,
                   "juxta_tests: error: --gpu: this build has no CUDA kernels; use the preset cuda\n");
      return 2;
    }
    if (!juxta::cuda::available()) {
      std::fprintf(stderr, "juxta_tests: error: --gpu: no CUDA device: %s\n",
                   juxta::cuda::unavailable_reason().c_str());
      return 2;
    }
    juxta::cuda::register_device();
    juxta::test::run_cases_on_gpu();
  }
  return RUN_ALL_TESTS();
}
