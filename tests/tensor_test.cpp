// Tensors, storage versions, the allocator, dtypes, threads and Philox.
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "tensor/allocator.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

TEST(Errors, EveryKindOfPartIsText) {
  const std::string owned = "s";
  const std::string_view view("views", 4);
  const uint8_t byte = 255;
  EXPECT_EQ(concat("a", owned, view, std::string("t"), 'b', byte), "asviewt98255");
  EXPECT_EQ(concat(true, " ", std::numeric_limits<int64_t>::min(), " ", std::numeric_limits<uint64_t>::max()),
            "true -9223372036854775808 18446744073709551615");
  EXPECT_EQ(concat(0.1, " ", 0.5f, " ", -1), "0.1 0.5 -1");
  EXPECT_EQ(concat(DType::bf16, " ", Dims{2, 3}, " ", kCpu, " ", Tensor::zeros({2})),
            "bf16 [2, 3] cpu f32 [2]");
  EXPECT_EQ(concat(), "");
  expect_error([&] { JX_CHECK(owned.empty(), "x: expected ", Dims{1}, ", got ", owned + "!"); },
               {"x: expected [1], got s!"});
}

TEST(Tensor, ViewsShareMemoryAndCopiesDoNot) {
  Tensor t = Tensor::arange(24).view({2, 3, 4});
  const Tensor v = t.permute({2, 0, 1});
  EXPECT_EQ(v.dims(), Dims({4, 2, 3}));
  EXPECT_EQ(v.at({1, 1, 2}), 21.0);
  EXPECT_FALSE(v.is_contiguous());
  const Tensor c = v.contiguous();
  t.fill(7, "test");
  EXPECT_EQ(v.at({1, 1, 2}), 7.0);
  EXPECT_EQ(c.at({1, 1, 2}), 21.0);
  EXPECT_EQ(c.slice(0, 1, 3).select(1, 0).at({1, 2}), 10.0);
  EXPECT_EQ(Tensor::arange(3).unsqueeze(1).expand({2, 3, 4}).at({1, 2, 3}), 2.0);
}

// Lives as long as the program: it is destroyed after this thread's free lists, and the program must still
// end well.
const Tensor kStatic = Tensor::arange(3);

TEST(Tensor, MayBeStatic) { EXPECT_EQ(kStatic.at({2}), 2.0); }

TEST(Tensor, WritesBumpTheVersionAndNameTheWriter) {
  Tensor t = Tensor::zeros({4});
  const Tensor view = t.slice(0, 1, 3);
  const uint64_t before = view.version();
  t.write<float>("queue.push")[0] = 1;
  EXPECT_GT(view.version(), before);
  EXPECT_STREQ(view.storage()->last_writer(), "queue.push");
  const Tensor a = t.slice(0, 0, 2).detach_version(), b = t.slice(0, 2, 4).detach_version();
  Tensor write_a = a;
  write_a.fill(3, "test");
  EXPECT_EQ(b.version(), 0u);  // parts of one arena do not accuse each other
  EXPECT_EQ(t.at({1}), 3.0);
}

TEST(Tensor, ErrorsSayWhatWasExpected) {
  const Tensor t = Tensor::zeros({2, 3});
  expect_error([&] { t.view({4, -1}); }, {"view", "6 elements", "[4, -1]"});
  expect_error([&] { t.transpose(0, 1).view({6}); }, {"contiguous", "reshape"});
  expect_error([&] { t.data<double>(); }, {"f64", "f32", "[2, 3]"});
  expect_error([&] { t.slice(1, 2, 5); }, {"slice", "[2, 3]"});
  expect_error([&] { t.item(); }, {"item", "[2, 3]"});
  expect_error([] { Tensor().raw(); }, {"undefined"});
  expect_error([] { Tensor::empty({int64_t{1} << 40, int64_t{1} << 40}); }, {"overflow"});
  expect_error([] { broadcast({2, 3}, {4}, "add"); }, {"add", "[2, 3]", "[4]"});
}

// How many of some floats `narrow` does not round to the nearest bf16, ties to even.
template <class F>
int misrounded(F narrow) {
  int wrong = 0;
  for (uint32_t low = 0; low < 0x20000; low += 0x100) {  // two steps of bf16 from 1 upward
    const uint32_t bits = 0x3f800000u + low, kept = bits & 0xffff0000u, rest = bits & 0xffffu;
    const bool up = rest > 0x8000u || (rest == 0x8000u && (kept & 0x10000u) != 0);
    const uint32_t want = kept + (up ? 0x10000u : 0u);
    float x, y;
    std::memcpy(&x, &bits, 4), std::memcpy(&y, &want, 4);
    wrong += narrow(x) != y;
  }
  return wrong;
}

// The mutants of this file: conversions that cut, and that round ties away from zero.
TEST(DTypes, MutantsAreCaught) {
  EXPECT_EQ(misrounded([](float x) { return static_cast<float>(bf16(x)); }), 0);
  const auto upper_half = [](float x, uint32_t added) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits = (bits + added) & 0xffff0000u;
    std::memcpy(&x, &bits, 4);
    return x;
  };
  EXPECT_GT(misrounded([&](float x) { return upper_half(x, 0); }), 0);
  EXPECT_GT(misrounded([&](float x) { return upper_half(x, 0x8000u); }), 0);
}

TEST(DTypes, NarrowTypesRoundToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0f + 0x1p-8f)), 1.0f);  // tie to even
  EXPECT_EQ(static_cast<float>(bf16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(NAN))));
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(3.4e38f))));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half survives the trip through float
    f16 h;
    h.bits = static_cast<uint16_t>(bits);
    const float f = h;
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(f16(f))));
    } else {
      EXPECT_EQ(f16(f).bits, bits);
    }
  }
  EXPECT_EQ(f16(1.0f + 0x1p-11f).bits, 0x3c00);  // tie to even
  EXPECT_EQ(f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(f16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(f16(0x1p-25f).bits, 0);
  expect_error([] { parse_dtype("float"); }, {"float", "bf16"});
}

TEST(Allocator, ReusesBlocksAndCounts) {
  CachingAllocator& a = allocator(kCpu);
  { const Tensor warm = Tensor::empty({1000, 1000}); }
  const AllocatorStats before = a.stats();
  for (int i = 0; i < 10; ++i) const Tensor t = Tensor::empty({1000, 1000});
  const AllocatorStats after = a.stats();
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.requests, before.requests + 10);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
}

TEST(Allocator, SizeClassesHoldTheRequestAndWasteLittle) {
  for (size_t n = 1; n < 3'000'000; n += n / 7 + 1) {
    const size_t r = CachingAllocator::rounded(n);
    EXPECT_GE(r, n);
    if (n < (size_t{1} << 20)) {
      EXPECT_LE(r, n + n / 8 + 64) << n;
    }
    EXPECT_EQ(CachingAllocator::rounded(r), r) << n;  // releasing by the rounded size finds the same class
  }
}

TEST(Allocator, DebugModeSeesAWriteOnePastTheEnd) {
  EXPECT_DEATH(
      {
        allocator(kCpu).set_debug(true);
        Tensor t = Tensor::empty({5});
        t.write<float>("test")[5] = 1;
        t = Tensor();
      },
      "outside its bounds");
}

// The same values in memory that came from outside, one byte off any alignment.
Tensor at_odd_address(const Tensor& t) {
  auto* block = new unsigned char[static_cast<size_t>(t.bytes()) + 2];
  const auto release = [](void* context, void*, size_t) { delete[] static_cast<unsigned char*>(context); };
  unsigned char* odd = block + 1 - reinterpret_cast<uintptr_t>(block) % 2;
  std::memcpy(odd, t.contiguous().raw(), static_cast<size_t>(t.bytes()));
  return {Storage::adopt(odd, static_cast<size_t>(t.bytes()), kCpu, release, block), t.dtype(), t.dims(),
          t.strides(), 0};
}

TEST(ForeignMemory, KernelsAssumeNoAlignment) {
  const auto results = [](const std::function<Tensor(const Tensor&)>& place, DType d) {
    const auto input = [&](Dims dims, uint64_t seed, DType dtype) {
      return Var(place(normal(dims, seed).to(dtype)));
    };
    const Var x = input({5, 67}, 1, d), w = input({33, 67}, 2, acc_dtype(d)),
              b = input({33}, 3, acc_dtype(d)), gain = input({67}, 4, acc_dtype(d)),
              image = input({2, 9, 7, 19}, 5, d), kernel = input({21, 19, 3, 3}, 6, acc_dtype(d)),
              bias = input({21}, 7, acc_dtype(d));
    std::vector<Tensor> out;
    for (const Var& y : {relu(x), linear(x, w, b, Act::gelu), softmax(x), layer_norm(x, gain, gain),
                         sum(x, {1}), sum(x, {0}), conv2d(image, kernel, bias, {.padding = 1})})
      out.push_back(y.value());
    return out;
  };
  for (const DType d : {DType::f32, DType::bf16}) {
    for (const int table : cpu_tables()) {
      const ForceTable force(table);
      const auto own = results([](const Tensor&t) { return t; }, d), odd = results(at_odd_address, d);
      for (size_t i = 0; i < own.size(); ++i)
        EXPECT_TRUE(same_bits(own[i], odd[i])) << name_of(d) << " " << table_name(table) << " result " << i;
    }
  }
}

TEST(Parallel, RangesCoverEverythingOnceWhateverTheThreads) {
  const int threads = num_threads();
  for (int n : {1, 2, 5}) {
    set_num_threads(n);
    std::vector<int> hits(1003);
    parallel_for(1003, 10, [&](int64_t b, int64_t e) {
      EXPECT_EQ(b % 10, 0);
      for (int64_t i = b; i < e; ++i) ++hits[static_cast<size_t>(i)];
    });
    for (int h : hits) EXPECT_EQ(h, 1);
  }
  set_num_threads(3);
  expect_error([] { parallel_for(100, 1, [](int64_t b, int64_t) { JX_CHECK(b != 57, "range 57"); }); },
               {"range 57"});
  set_num_threads(threads);
  expect_error([] { set_num_threads(0); }, {"threads"});
}

TEST(Philox, MatchesTheKnownAnswersOfRandom123) {
  const Philox4 zero = philox({{0, 0, 0, 0}}, 0, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const Philox4 ones = philox({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u);
  EXPECT_EQ(ones.v[0], 0x408f276du);
  EXPECT_EQ(ones.v[3], 0x6d5451fdu);
  const Philox4 pi = philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
  EXPECT_EQ(pi.v[0], 0xd16cfe09u);
  EXPECT_EQ(pi.v[3], 0x24126ea1u);
}

TEST(Philox, StreamsDrawsAndMomentsAreAsStated) {
  Rng a(1, "init"), b(1, "dropout"), c(1, "init");
  const Draw d = a.next();
  EXPECT_EQ(d.bits(5), c.next().bits(5));
  EXPECT_NE(d.bits(5), b.next().bits(5));
  EXPECT_NE(d.bits(5), a.next().bits(5));
  double mean = 0, square = 0, uniform_mean = 0;
  const int n = 100000;
  for (uint64_t i = 0; i < n; ++i) {
    const double x = d.normal(i);
    mean += x / n;
    square += x * x / n;
    uniform_mean += d.uniform(i) / n;
  }
  EXPECT_NEAR(mean, 0.0, 0.02);
  EXPECT_NEAR(square, 1.0, 0.02);
  EXPECT_NEAR(uniform_mean, 0.5, 0.005);
}

}  // namespace
}  // namespace juxta::test
