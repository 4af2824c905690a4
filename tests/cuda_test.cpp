// CUDA devices from the host's side: the shim of tensor/cuda.h and tensors that live there. Without a GPU the
// latter use the fake runtime of tests/fake_cudart, in a process of their own.
#include "tensor/cuda.h"

#include <sys/wait.h>

#include <cstdlib>
#include <vector>

#include "tensor/file.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

constexpr Device kCuda{DeviceKind::cuda, 0};

TEST(Cuda, WithoutADeviceEveryUseIsAClearError) {
  if (cuda::available()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_EQ(cuda::device_count(), 0);
  EXPECT_FALSE(cuda::unavailable_reason().empty());
  char byte = 0;
  const std::string& why = cuda::unavailable_reason();
  expect_error([] { cuda::allocate(16); }, {"cuda::allocate", "no CUDA device", why.c_str(), "use the CPU"});
  expect_error([&] { cuda::copy_to_device(&byte, &byte, 1); }, {"copy_to_device", "no CUDA device"});
  expect_error([&] { cuda::copy_to_host(&byte, &byte, 1); }, {"copy_to_host", "no CUDA device"});
  expect_error([] { cuda::synchronize(); }, {"synchronize", "no CUDA device"});
  expect_error([] { cuda::set_device(0); }, {"set_device", "no CUDA device"});
  expect_error([] { cuda::register_device(); }, {"no CUDA device"});
  cuda::release(nullptr);
}

TEST(Cuda, MemoryRoundTrip) {
  if (!cuda::available()) GTEST_SKIP() << cuda::unavailable_reason();
  const std::vector<int> host{1, 2, 3, 4};
  std::vector<int> back(4);
  void *a = cuda::allocate(16), *b = cuda::allocate(16);
  cuda::copy_to_device(a, host.data(), 16);
  cuda::fill_bytes(b, 0, 16);
  cuda::copy_on_device(b, a, 8);
  cuda::copy_to_host(back.data(), b, 16);
  cuda::synchronize();
  EXPECT_EQ(back, (std::vector<int>{1, 2, 0, 0}));
  cuda::release(a);
  cuda::release(b);
}

TEST(Cuda, StreamScopesNest) {
  int x = 0, y = 0;
  EXPECT_EQ(cuda::current_stream(), nullptr);
  {
    const cuda::StreamScope outer(&x);
    {
      const cuda::StreamScope inner(&y);
      EXPECT_EQ(cuda::current_stream(), &y);
    }
    EXPECT_EQ(cuda::current_stream(), &x);
  }
  EXPECT_EQ(cuda::current_stream(), nullptr);
}

// Runs body in a process whose CUDA runtime is the fake one; its status is 1 when an expectation failed.
void on_fake_device(void (*body)(), int status = 0) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fresh process: the runtime is opened once
  EXPECT_EXIT(
      {
        setenv("JUXTA_CUDART", JUXTA_FAKE_CUDART, 1);
        cuda::register_device();
        body();
        std::exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(status), "");
}

// The mutant of this file: one element that changed on the device must be seen, out of that process too.
TEST(Cuda, MutantIsCaught) {
  on_fake_device(
      [] {
        const Tensor host = normal({7, 5}, 1).to(DType::f32);
        Tensor there = host.to(kCuda).clone(), element = there.slice(0, 3, 4).slice(1, 2, 3);
        element.fill(2.0, "test");
        EXPECT_TRUE(same_bits(there.to(kCpu), host));
      },
      1);
}

TEST(Cuda, TensorsMoveThereAndBack) {
  on_fake_device([] {
    for (DType d : {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i64, DType::i32, DType::u8}) {
      const Tensor host = uniform({7, 5}, 1, 0, 100).to(d), there = host.to(kCuda);
      EXPECT_EQ(there.device(), kCuda);
      EXPECT_TRUE(same_bits(there.to(kCpu), host)) << name_of(d);
      EXPECT_TRUE(same_bits(there.clone().to(kCpu), host)) << name_of(d);
      EXPECT_EQ(there.at({6, 4}), host.at({6, 4})) << name_of(d);
    }
    EXPECT_EQ(Tensor::empty({0, 3}, DType::f32, kCuda).to(kCpu).dims(), Dims({0, 3}));
    EXPECT_EQ(print(Tensor::full({2}, 1.5).to(kCuda)),
              print(Tensor::full({2}, 1.5)).substr(0, 10) + " f32 [2] on cuda:0");
  });
}

TEST(Cuda, StridedAndConvertingCopiesPassThroughTheHost) {
  on_fake_device([] {
    const Tensor host = normal({6, 8}, 2).to(DType::f32), there = host.to(kCuda);
    EXPECT_TRUE(same_bits(there.transpose(0, 1).contiguous().to(kCpu), host.transpose(0, 1)));
    EXPECT_TRUE(same_bits(there.slice(1, 3, 5).to(kCpu), host.slice(1, 3, 5)));
    EXPECT_TRUE(same_bits(there.slice(0, 1, 2).expand({4, 8}).to(kCpu), host.slice(0, 1, 2).expand({4, 8})));
    EXPECT_TRUE(same_bits(there.to(DType::bf16).to(kCpu), host.to(DType::bf16)));
    // into a strided destination: what lies between its elements stays
    Tensor a = host.clone(), b = host.to(kCuda).clone();
    for (Tensor* t : {&a, &b}) {
      Tensor columns = t->slice(1, 2, 4), rows = t->slice(0, 5, 6);
      columns.copy_from(normal({6, 2}, 3).to(t->device()), "test");
      rows.fill(4.0, "test");
      t->select(1, 7).fill(0.0, "test");
    }
    EXPECT_TRUE(same_bits(b.to(kCpu), a));
    Tensor back = Tensor::zeros({8, 6});
    back.copy_from(there.transpose(0, 1), "test");
    EXPECT_TRUE(same_bits(back, host.transpose(0, 1)));
    const Tensor zeros = Tensor::zeros({3, 3}, DType::f32, kCuda),
                 twos = Tensor::full({3}, 2.0, DType::f64, kCuda);
    EXPECT_TRUE(same_bits(zeros.to(kCpu), Tensor::zeros({3, 3})));
    EXPECT_TRUE(same_bits(twos.to(kCpu), Tensor::full({3}, 2.0, DType::f64)));
  });
}

TEST(Cuda, AFullDeviceAndAMissingKernelAreClearErrors) {
  on_fake_device([] {
    expect_error([] { Tensor::empty({int64_t{1} << 30}, DType::u8, kCuda); },
                 {"out of memory on cuda:0", "1073741824 bytes", "smaller batch"});
    const Var x(Tensor::zeros({2, 4}, DType::f32, kCuda));
    expect_error([&] { rms_norm(x, Var()); }, {"cuda:0", "to(kCpu)"});  // in no table yet
    expect_error([&] { softmax(Var(Tensor::zeros({2, 4}, DType::f64, kCuda))); }, {"softmax", "cuda:0"});
    if (!built_with_cuda()) expect_error([&] { softmax(x); }, {"softmax: no kernels for cuda:0", "to(kCpu)"});
  });
}

// --gpu where there is none, or where the build has no kernels: one line, status 2.
TEST(Cuda, TestsOnAMissingGpuAreOneLineAndStatusTwo) {
  if (built_with_cuda() && cuda::available()) GTEST_SKIP() << "this machine has a CUDA device";
  const TempDir dir;
  std::string command = JUXTA_BINARY_DIR "/bin/juxta_tests --gpu --gtest_filter=Norm.* >";
  command += dir / "out.txt";
  command += " 2>";
  command += dir / "err.txt";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 2);
  const auto bytes = read_file(dir / "err.txt");
  const std::string text(bytes.begin(), bytes.end());
  EXPECT_EQ(text.find("juxta_tests: error: --gpu: "), 0u) << text;
  EXPECT_NE(text.find(built_with_cuda() ? "no CUDA device: " : "no CUDA kernels"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
}

}  // namespace
}  // namespace juxta::test
