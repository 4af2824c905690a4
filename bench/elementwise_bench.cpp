// Element-wise ops on every table, beside plain loops of the compiler and Eigen; bytes are the floor: each
// tensor once.
#include <Eigen/Core>

#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/elementwise.h"

namespace juxta::bench {
namespace {

constexpr int64_t kRows = 8192, kCols = 768;

struct UnaryRow {
  const char* name;
  Var (*op)(const Var&);
};
const UnaryRow kUnaryRows[] = {{"relu", relu}, {"gelu", gelu}, {"silu", silu}, {"exp", exp}, {"tanh", tanh}};

void unary_forward(benchmark::State& state, int table, DType dtype, Var (*op)(const Var&)) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({kRows, kCols}, 0.5, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(op(x).value().raw());
  report_bytes(state, 2.0 * static_cast<double>(x.value().bytes()));
}

void unary_both(benchmark::State& state, int table, DType dtype, Var (*op)(const Var&)) {
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({kRows, kCols}, 0.5, dtype));
  const std::vector<Tensor> dy{Tensor::full({kRows, kCols}, 1.0, dtype)};
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{op(x)}, std::vector{x}, dy));
  report_bytes(state, 5.0 * static_cast<double>(x.value().bytes()));
}

// b has shape {kRows, kCols}, {kCols} or {kRows, 1}.
void binary_forward(benchmark::State& state, int table, DType dtype, Dims b_dims) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({kRows, kCols}, 0.5, dtype)), b(Tensor::full(b_dims, 0.25, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(mul(x, b).value().raw());
  report_bytes(state, 2.0 * static_cast<double>(x.value().bytes()) + static_cast<double>(b.value().bytes()));
}

void binary_both(benchmark::State& state, int table, DType dtype, Dims b_dims) {
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({kRows, kCols}, 0.5, dtype)),
            b = Var::leaf(Tensor::full(b_dims, 0.25, dtype));
  const std::vector<Tensor> dy{Tensor::full({kRows, kCols}, 1.0, dtype)};
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{mul(x, b)}, std::vector{x, b}, dy));
  // forward reads x, b, writes y; backward reads x, b, dy, writes dx, db
  report_bytes(state,
               5.0 * static_cast<double>(x.value().bytes()) + 3.0 * static_cast<double>(b.value().bytes()));
}

void dropout_forward(benchmark::State& state, int table, DType dtype) {
  const ForceTable force(table);
  const NoGrad no_grad;
  Rng rng(1, "dropout");
  const Var x(Tensor::full({kRows, kCols}, 0.5, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(dropout(x, 0.1, rng, true).value().raw());
  report_bytes(state, 2.0 * static_cast<double>(x.value().bytes()));
}

void cast_forward(benchmark::State& state, int table, DType dtype) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({kRows, kCols}, 0.5, dtype));
  const DType to = dtype == DType::f32 ? DType::bf16 : DType::f32;
  for (auto _ : state) benchmark::DoNotOptimize(cast(x, to).value().raw());
  report_bytes(state, 6.0 * static_cast<double>(kRows * kCols));
}

// The rival: Eigen's vectorised expressions on one thread.
void eigen_tanh(benchmark::State& state) {
  Eigen::ArrayXf x = Eigen::ArrayXf::Constant(kRows * kCols, 0.5f), y(kRows * kCols);
  for (auto _ : state) {
    y = x.tanh();
    benchmark::DoNotOptimize(y.data());
  }
  report_bytes(state, 8.0 * static_cast<double>(x.size()));
}
void eigen_mul(benchmark::State& state) {
  const Eigen::ArrayXf x = Eigen::ArrayXf::Constant(kRows * kCols, 0.5f),
                       b = Eigen::ArrayXf::Constant(kRows * kCols, 0.25f);
  Eigen::ArrayXf y(kRows * kCols);
  for (auto _ : state) {
    y = x * b;
    benchmark::DoNotOptimize(y.data());
  }
  report_bytes(state, 12.0 * static_cast<double>(x.size()));
}

void register_all(int table, const std::string& label, DType d) {
  const std::string tail = concat("/", d, "/", label);
  const auto add = [](const std::string& name, auto fn, auto... args) {
    benchmark::RegisterBenchmark(name.c_str(), fn, args...)->UseRealTime();
  };
  for (const UnaryRow& row : kUnaryRows) {
    add(concat(row.name, "/forward", tail), unary_forward, table, d, row.op);
    add(concat(row.name, "/both", tail), unary_both, table, d, row.op);
  }
  add("mul_same/forward" + tail, binary_forward, table, d, Dims{kRows, kCols});
  add("mul_row/forward" + tail, binary_forward, table, d, Dims{kCols});
  add("mul_column/forward" + tail, binary_forward, table, d, Dims{kRows, 1});
  add("mul_same/both" + tail, binary_both, table, d, Dims{kRows, kCols});
  add("mul_row/both" + tail, binary_both, table, d, Dims{kCols});
  add("mul_column/both" + tail, binary_both, table, d, Dims{kRows, 1});
  add("dropout/forward" + tail, dropout_forward, table, d);
  add("cast/forward" + tail, cast_forward, table, d);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    for (DType d : {DType::f32, DType::bf16}) register_all(table, label, d);
  }
  benchmark::RegisterBenchmark("tanh/forward/f32/eigen", eigen_tanh)->UseRealTime();
  benchmark::RegisterBenchmark("mul_same/forward/f32/eigen", eigen_mul)->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
