// The augment kernels: every ISA against the reference, and the reference against what each step must do.
#include "kernels/augment.h"

#include <cmath>
#include <cstring>

#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

struct Job {
  int64_t side_h = 9, side_w = 11, channels = 3;
  std::vector<uint8_t> image;  // 13 x 17
  ViewParams view{};
  std::vector<float> mean, inv_std;
};

Job job(int64_t channels) {
  Job j;
  j.channels = channels;
  const Tensor t = indices({13 * 17 * channels}, 3, 256);
  for (int64_t i = 0; i < t.numel(); ++i) j.image.push_back(static_cast<uint8_t>(t.data<int64_t>()[i]));
  j.view.height = 13;
  j.view.width = 17;
  j.view.w = 17;
  j.view.h = 13;
  return j;
}

std::vector<float> render(Job j, int table) {
  const ForceTable force(table);
  std::vector<float> out(static_cast<size_t>(j.side_h * j.side_w * j.channels), NAN);
  std::vector<float> scratch(static_cast<size_t>(AugmentArgs::scratch_floats(j.side_h, j.side_w, j.channels)),
                             NAN);
  j.view.image = j.image.data();
  prepare_view(j.view, j.side_h, j.side_w);
  const AugmentArgs args{&j.view,
                         out.data(),
                         scratch.data(),
                         j.side_h,
                         j.side_w,
                         j.channels,
                         j.mean.empty() ? nullptr : j.mean.data(),
                         j.inv_std.empty() ? nullptr : j.inv_std.data()};
  augment_tables().on(kCpu).view(args, 0, 1);
  return out;
}

void expect_all_tables_agree(const Job& j) {
  const std::vector<float> truth = render(j, ForceTable::kReference);
  for (Isa isa : host_isas()) {
    const std::vector<float> got = render(j, static_cast<int>(isa));
    for (size_t i = 0; i < truth.size(); ++i)
      ASSERT_NEAR(got[i], truth[i], 4e-6) << name_of(isa) << " at " << i;
  }
}

TEST(Augment, EveryStepOnEveryIsa) {
  for (int64_t channels : {1, 2, 3, 4}) {
    Job j = job(channels);
    expect_all_tables_agree(j);
    j.view.x = 2.25f, j.view.y = 1.5f, j.view.w = 9.5f, j.view.h = 7.75f, j.view.flip = true;
    expect_all_tables_agree(j);
    j.view.jitter = true;
    j.view.brightness = 1.3f, j.view.contrast = 0.7f, j.view.saturation = 1.4f, j.view.hue = 0.07f,
    j.view.gain[0] = 0.9f;
    std::swap(j.view.order[0], j.view.order[2]);
    expect_all_tables_agree(j);
    j.view.blur = 1.1f;
    expect_all_tables_agree(j);
    j.view.grey = true;
    expect_all_tables_agree(j);
    j.view.blur = 30.0f;  // wider than the image: the kernel is cut, indices stay inside
    expect_all_tables_agree(j);
    j.mean.assign(static_cast<size_t>(channels), 0.45f);
    j.inv_std.assign(static_cast<size_t>(channels), 4.0f);
    expect_all_tables_agree(j);
  }
  Job one = job(3);
  one.side_h = one.side_w = 1;
  one.view.blur = 2.0f;
  expect_all_tables_agree(one);
}

TEST(Augment, SolariseOnEveryIsa) {
  Job j = job(3);
  j.side_h = 13, j.side_w = 17;  // no interpolation: no value lies within rounding of the threshold
  j.view.solarize = 0.501f;
  expect_all_tables_agree(j);
  for (float v : render(j, ForceTable::kReference)) EXPECT_LT(v, 0.502f);
}

TEST(Augment, TheFullBoxIsTheImage) {
  Job j = job(3);
  j.side_h = 13, j.side_w = 17;
  const std::vector<float> out = render(j, ForceTable::kReference);
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], static_cast<float>(j.image[i]) / 255.0f, 1e-6);
  j.view.flip = true;
  const std::vector<float> flipped = render(j, ForceTable::kReference);
  for (int64_t x = 0; x < 17; ++x)
    ASSERT_NEAR(flipped[static_cast<size_t>(3 * x)], out[static_cast<size_t>(3 * (16 - x))], 1e-6);
}

TEST(Augment, GreyHueAndBlurKeepWhatTheyMust) {
  Job j = job(3);
  j.side_h = 13, j.side_w = 17;
  const std::vector<float> plain = render(j, ForceTable::kReference);
  j.view.grey = true;
  const std::vector<float> grey = render(j, ForceTable::kReference);
  for (size_t i = 0; i < grey.size(); i += 3) {
    ASSERT_NEAR(grey[i], 0.299f * plain[i] + 0.587f * plain[i + 1] + 0.114f * plain[i + 2], 1e-5);
    ASSERT_EQ(grey[i], grey[i + 2]);
  }
  j.view.grey = false;
  j.view.jitter = true;
  j.view.hue = 0.1f;
  ViewParams v = j.view;
  prepare_view(v, 13, 17);
  for (int i = 0; i < 3; ++i)  // white stays white
    EXPECT_NEAR(v.hue_matrix[3 * i] + v.hue_matrix[3 * i + 1] + v.hue_matrix[3 * i + 2], 1.0f, 0.01f);
  v.blur = 2.0f;
  prepare_view(v, 13, 17);
  float sum = v.taps_w[0];
  for (int k = 1; k <= v.radius_w; ++k) sum += 2 * v.taps_w[k];
  EXPECT_NEAR(sum, 1.0f, 1e-6f);
}

// Several views in one call, and calls from several threads, give the bits of one view at a time.
TEST(Augment, ViewsOfOneCallDoNotDisturbEachOther) {
  Job j = job(3);
  std::vector<ViewParams> views;
  for (int i = 0; i < 7; ++i) {
    ViewParams v = j.view;
    v.x = 0.5f * static_cast<float>(i), v.w = 17.0f - static_cast<float>(i), v.flip = i % 2 == 1;
    v.jitter = i % 3 == 0, v.contrast = 0.8f, v.hue = 0.05f, v.grey = i == 4;
    v.blur = i % 3 == 1 ? 0.9f : 0.0f, v.solarize = i == 5 ? 0.4f : 2.0f;
    v.image = j.image.data();
    prepare_view(v, j.side_h, j.side_w);
    views.push_back(v);
  }
  const int64_t one = j.side_h * j.side_w * 3, n = static_cast<int64_t>(views.size());
  // A run of views per call, each call with a scratch of its own as the loader's threads have.
  const auto render_all = [&](int64_t per_call) {
    std::vector<float> out(static_cast<size_t>(n * one), NAN);
    const AugmentTable& table = augment_tables().on(kCpu);  // ForceTable is this thread's
    parallel_for(n, per_call, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(AugmentArgs::scratch_floats(j.side_h, j.side_w, 3)),
                                 NAN);
      const AugmentArgs args{views.data(), out.data(), scratch.data(), j.side_h,
                             j.side_w,     3,          nullptr,        nullptr};
      table.view(args, begin, end);
    });
    return out;
  };
  const int before = num_threads();
  for (const int which : cpu_tables()) {
    const ForceTable force(which);
    set_num_threads(1);
    const std::vector<float> alone = render_all(1);
    for (const float v : alone) ASSERT_FALSE(std::isnan(v)) << table_name(which);
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      for (const int64_t per_call : {int64_t{1}, int64_t{3}, n})
        EXPECT_EQ(render_all(per_call), alone) << table_name(which) << " " << threads << " " << per_call;
    }
  }
  set_num_threads(before);
}

// The mutant of this file: a view that was not flipped must differ from one that was.
TEST(Augment, MutantIsCaught) {
  Job j = job(3);
  const std::vector<float> plain = render(j, ForceTable::kReference);
  j.view.flip = true;
  EXPECT_NE(std::memcmp(plain.data(), render(j, ForceTable::kReference).data(), plain.size() * sizeof(float)),
            0);
}

}  // namespace
}  // namespace juxta::test
