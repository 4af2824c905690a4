// Views of 32 x 32 x 3 and 28 x 28 x 1 images: images a second on one thread.
#include "kernels/augment.h"

#include "bench/peak.h"

namespace juxta::bench {
namespace {

void view(benchmark::State& state, int table, bool colour, bool blur) {
  const ForceTable force(table);
  const int64_t side = colour ? 32 : 28, channels = colour ? 3 : 1;
  std::vector<uint8_t> image(static_cast<size_t>(side * side * channels), 100);
  std::vector<float> out(image.size()),
      scratch(static_cast<size_t>(AugmentArgs::scratch_floats(side, side, channels)));
  ViewParams v{};
  v.image = image.data();
  v.height = v.width = static_cast<int32_t>(side);
  v.x = 3.3f, v.y = 2.1f, v.w = 20.5f, v.h = 24.5f, v.jitter = true, v.brightness = 1.1f, v.contrast = 0.8f,
  v.hue = 0.1f;
  v.blur = blur ? 1.0f : 0.0f;
  prepare_view(v, side, side);
  const AugmentArgs args{&v, out.data(), scratch.data(), side, side, channels, nullptr, nullptr};
  for (auto _ : state) {
    augment_tables().on(kCpu).view(args, 0, 1);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    for (bool colour : {false, true})
      for (bool blur : {false, true})
        benchmark::RegisterBenchmark(
            concat("view/", colour ? "32x32x3" : "28x28x1", blur ? "/blur/" : "/plain/", label).c_str(), view,
            table, colour, blur);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
