#include "ssl/objectives/verify.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "kernels/table.h"
#include "ssl/objectives/registry.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

std::string golden_path(const std::string& objective) {
  return JUXTA_TEST_DATA "/golden/" + objective + ".safetensors";
}

void expect_passes(const SafeTensors& file, const ssl::Objective& row, DType dtype) {
  const ssl::VerifyReport r = ssl::verify(file, row, dtype);
  EXPECT_GT(r.cases, 0) << row.name;
  EXPECT_EQ(r.passed, r.cases) << row.name;
  for (const ssl::VerifyFailure& f : r.failures) ADD_FAILURE() << to_text(f);
}

// The outputs of every case, to compare bits; each has its own name, or they could not be written.
std::vector<Tensor> all_outputs(const SafeTensors& file, const ssl::Objective& row, DType dtype) {
  std::vector<Tensor> out;
  for (const std::string& c : ssl::golden_cases(file)) {
    std::set<std::string> names;
    for (const auto& [name, value] : ssl::golden_outputs(file, c, row, dtype)) {
      EXPECT_TRUE(names.insert(name).second) << row.name << "/" << c << ": two outputs are named " << name;
      out.push_back(value);
    }
  }
  return out;
}

class EveryObjective : public testing::TestWithParam<const ssl::Objective*> {};

TEST_P(EveryObjective, PassesItsGoldenCasesOnEveryTable) {
  const ssl::Objective& row = *GetParam();
  const SafeTensors file = load_safetensors(golden_path(row.name));
  expect_passes(file, row, DType::f64);
  for (const int which : cpu_tables()) {
    const ForceTable force(which);
    expect_passes(file, row, DType::f32);
    {
      const ForceContrastBlock block(3);  // these small batches then cross the borders of blocks
      expect_passes(file, row, DType::f32);
      expect_passes(file, row, DType::f64);
    }
    set_num_threads(1);
    const std::vector<Tensor> one = all_outputs(file, row, DType::f32);
    set_num_threads(2);
    const std::vector<Tensor> two = all_outputs(file, row, DType::f32);
    ASSERT_EQ(one.size(), two.size());
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_TRUE(same_bits(one[i], two[i])) << row.name << " output " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, EveryObjective,
                         testing::ValuesIn(ssl::objectives().begin(), ssl::objectives().end()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(Golden, OneChangedNumberFails) {
  const ssl::Objective& row = ssl::objective("nt_xent");
  const SafeTensors file = load_safetensors(golden_path(row.name));
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const char* name : {"n8_d16/out/loss", "n8_d16/out/grad.z2", "n8_d16/in/z1"}) {
      SafeTensors changed = file;
      for (auto& [key, tensor] : changed.tensors) {
        if (key != name) continue;
        tensor = tensor.clone();
        const int64_t at = argmax(tensor.view({tensor.numel()}), 0).data<int64_t>()[0];
        if (tensor.dtype() == DType::f64)
          tensor.write<double>("test")[at] *= 1.001;
        else
          tensor.write<float>("test")[at] *= 1.1f;
      }
      const ssl::VerifyReport r = ssl::verify(changed, row, dtype);
      EXPECT_EQ(r.passed, r.cases - 1) << name;
      ASSERT_FALSE(r.failures.empty());
      EXPECT_EQ(r.failures[0].case_name, "n8_d16");
    }
  }
}

TEST(Golden, UnknownParametersAndMissingOutputsFail) {
  const ssl::Objective& row = ssl::objective("nt_xent");
  SafeTensors file = load_safetensors(golden_path(row.name));
  file.metadata["n2_d4"] = R"({"temperature": 0.2, "normalise": true})";
  ssl::VerifyReport r = ssl::verify(file, row, DType::f64);
  EXPECT_EQ(r.passed, r.cases - 1);
  ASSERT_EQ(r.failures.size(), 1u);
  EXPECT_NE(to_text(r.failures[0]).find("did you mean normalize"), std::string::npos)
      << to_text(r.failures[0]);
  file = load_safetensors(golden_path(row.name));
  file.tensors.emplace_back("n2_d4/out/entropy", Tensor::scalar(1.0, DType::f64));
  r = ssl::verify(file, row, DType::f64);
  ASSERT_EQ(r.failures.size(), 1u);
  EXPECT_EQ(r.failures[0].what, "not computed");
}

TEST(Golden, SaturationRule) {
  EXPECT_TRUE(ssl::saturated({{"temperature", "0.005"}}));
  EXPECT_TRUE(ssl::saturated({{"teacher_temperature", "0.002"}, {"tau", "1"}}));
  EXPECT_TRUE(ssl::saturated({{"temp_start", "0.001"}}));
  EXPECT_TRUE(ssl::saturated({{"tau_s", "0.001"}}));
  EXPECT_FALSE(ssl::saturated({{"tau_plus", "0.001"}, {"temperature", "0.0051"}, {"sigma", "0.001"}}));
}

}  // namespace
}  // namespace juxta::test
