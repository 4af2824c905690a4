// Batch, group and RMS norm.
#include "tests/harness.h"

namespace juxta::test {
namespace {

struct BnOptions {
  bool training = true, affine = true, residual = false;
  Act act = Act::none;
  int64_t groups = 1;
};

OpCase batch_norm_case(Dims x, const BnOptions& o) {
  const int64_t C = x.back();
  OpCase c{
      .name = concat("batch_norm ", x, o.training ? " training" : " evaluation",
                     o.residual ? " residual" : "", o.act == Act::relu ? " relu" : "", " groups ", o.groups),
      .inputs = {{normal(x, 1, 0.5, 2.0)}},
      .op = {},
      .emulated = true};
  if (o.affine) {
    c.inputs.push_back({normal({C}, 2), Role::param});
    c.inputs.push_back({normal({C}, 3), Role::param});
  }
  if (o.residual) c.inputs.push_back({normal(x, 4)});
  c.op = [o, C](std::span<const Var> in) {
    const DType acc = acc_dtype(in[0].dtype());
    const Device device = in[0].device();
    BatchNormState state{normal({C}, 5).to(acc).to(device), uniform({C}, 6, 0.5, 2.0).to(acc).to(device),
                         0.1};
    const Var none;
    return std::vector<Var>{batch_norm(in[0], o.affine ? in[1] : none, o.affine ? in[2] : none, state,
                                       o.training, 1e-5, o.act, o.residual ? in[o.affine ? 3 : 1] : none,
                                       o.groups)};
  };
  return c;
}

TEST(BatchNorm, EveryWidthTrainingAndEvaluation) {
  for (int64_t C : edge_sizes()) {
    run_op_case(batch_norm_case({6, C}, {}));
    run_op_case(batch_norm_case({6, C}, {.training = false}));
  }
}

TEST(BatchNorm, FusedReluAndResidual) {
  for (int64_t C : {3, 16, 70}) {
    // A kink within the finite difference's step would spoil the check: the seeds keep |y| away from 0.
    run_op_case(batch_norm_case({2, 3, 3, C}, {.act = Act::relu}));
    run_op_case(batch_norm_case({2, 3, 3, C}, {.residual = true, .act = Act::relu}));
    run_op_case(batch_norm_case({2, 3, 3, C}, {.affine = false, .residual = true}));
    run_op_case(batch_norm_case({2, 3, 3, C}, {.training = false, .residual = true, .act = Act::relu}));
  }
  run_op_case(batch_norm_case({4, 5}, {.act = Act::gelu}));
}

TEST(BatchNorm, GroupsAndManyChunks) {
  run_op_case(batch_norm_case({8, 2, 5}, {.groups = 4}));
  run_op_case(batch_norm_case({150, 3}, {.groups = 3}));  // two chunks a group, the second short
  run_op_case(batch_norm_case({101, 17}, {}));
}

TEST(BatchNorm, RunningStatisticsFollowPyTorch) {
  BatchNormState state{Tensor::zeros({1}), Tensor::full({1}, 1.0), 0.1};
  batch_norm(Var(Tensor::from<float>({1.0f, 2.0f, 6.0f}, {3, 1})), Var(), Var(), state, true);
  EXPECT_NEAR(state.running_mean.item(), 0.3, 1e-6);
  EXPECT_NEAR(state.running_var.item(), 0.9 + 0.1 * 7.0, 1e-6);  // unbiased variance 7
}

TEST(BatchNorm, ACheckpointTouchesStatisticsOnce) {
  BatchNormState state{Tensor::zeros({2}), Tensor::full({2}, 1.0), 0.1};
  const Var x = Var::leaf(normal({4, 2}, 1).to(DType::f32));
  const Var y = checkpoint([&](const Var& v) { return batch_norm(v, Var(), Var(), state, true); }, x);
  const Tensor after_forward = state.running_mean.clone();
  backward(y);
  EXPECT_TRUE(same_bits(state.running_mean, after_forward));
  EXPECT_GT(max_abs(after_forward), 0.0);
}

TEST(BatchNorm, KeepsDigitsFarFromZero) {
  const Tensor x = normal({4000, 3}, 1, 1e4, 1.0).to(DType::f32);
  BatchNormState none;
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const Tensor y = batch_norm(Var(x), Var(), Var(), none, true).value();
    const Tensor truth = batch_norm(Var(x.to(DType::f64)), Var(), Var(), none, true).value();
    EXPECT_LT(max_abs_diff(y, truth), 2e-3) << name_of(isa);  // f32 holds the mean 1e4 to 5e-4
  }
}

TEST(BatchNorm, ErrorsSayWhatToDo) {
  BatchNormState none;
  const Var one(Tensor::zeros({1, 4}));
  expect_error([&] { batch_norm(one, Var(), Var(), none, true); }, {"batch_norm", "[1, 4]", "larger batch"});
  expect_error([&] { batch_norm(one, Var(), Var(), none, false); }, {"running statistics"});
  const Var x(Tensor::zeros({6, 4}));
  expect_error([&] { batch_norm(x, Var(), Var(), none, true, 1e-5, Act::none, Var(), 4); },
               {"groups", "4", "6"});
  expect_error([&] { batch_norm(x, Var(), Var(), none, true, 1e-5, Act::none, one); },
               {"residual", "[6, 4]", "[1, 4]"});
  expect_error([&] { batch_norm(x, Var(Tensor::zeros({3})), Var(), none, true); }, {"weight", "[4]", "[3]"});
}

TEST(RmsNorm, EveryWidth) {
  for (int64_t cols : edge_sizes())
    run_op_case({.name = concat("rms_norm ", cols),
                 .inputs = {{normal({40, cols}, 1)}, {normal({cols}, 2), Role::param}},
                 .op = [](std::span<const Var> in) { return std::vector<Var>{rms_norm(in[0], in[1])}; },
                 .emulated = true,
                 .gradcheck = {.tolerance = cols == 1 ? 1e-4 : 1e-6}});
}

TEST(GroupNorm, GroupsOfEveryWidth) {
  for (const auto& [C, G] :
       std::vector<std::pair<int64_t, int64_t>>{{6, 2}, {12, 12}, {8, 1}, {40, 2}, {66, 3}}) {
    const int64_t groups = G;
    run_op_case({.name = concat("group_norm ", C, "/", G),
                 .inputs = {{normal({3, 2, 4, C}, 1, 0.3)},
                            {normal({C}, 2), Role::param},
                            {normal({C}, 3), Role::param}},
                 .op =
                     [groups](std::span<const Var> in) {
                       return std::vector<Var>{group_norm(in[0], groups, in[1], in[2])};
                     },
                 .emulated = true});
  }
  expect_error([] { group_norm(Var(Tensor::zeros({2, 6})), 4, Var(), Var()); }, {"group_norm", "4", "6"});
}

// The mutant of this file: batch norm whose gradient treats the statistics as constants.
TEST(BatchNorm, MutantIsCaught) {
  OpCase c = batch_norm_case({5, 4}, {.affine = false});
  c.op = [](std::span<const Var> in) {
    BatchNormState none;
    const Tensor y = batch_norm(Var(in[0].value()), Var(), Var(), none, true).value();
    return std::vector<Var>{
        record("wrong_batch_norm", {}, {&in[0]}, y, {}, [](Backward& b) { b.set(0, b.dy()); })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test
