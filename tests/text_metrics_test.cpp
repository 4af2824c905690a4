// Metrics of text models against examples worked out by hand, and their errors.
#include "ssl/eval/text_metrics.h"

#include <cmath>

#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor ints(std::initializer_list<int64_t> v, Dims dims) { return Tensor::from<int64_t>(v, dims); }
Tensor reals(std::initializer_list<double> v, Dims dims) { return Tensor::from<double>(v, dims); }

TEST(Isotropy, ByHand) {
  // Text 0: two parallel and one orthogonal state; text 1: one state, no pairs (its second is padding).
  const Tensor h = reals({1, 0, 2, 0, 0, 5, 1, 1, 9, 9, 9, 9}, {2, 3, 2});
  const Isotropy m = isotropy(h, ints({3, 1}, {2}));
  EXPECT_NEAR(m.micro, 1 - 1.0 / 3, 1e-15);
  EXPECT_EQ(m.macro, m.micro);
  // Micro weighs by pairs: 3 of them with mean cosine 1/3, 1 with cosine 1.
  const Isotropy both = isotropy(h, ints({3, 2}, {2}));
  EXPECT_NEAR(both.micro, 1 - (1.0 + 1.0) / 4, 1e-15);
  EXPECT_NEAR(both.macro, (2.0 / 3 + 0.0) / 2, 1e-15);
  expect_error([&] { isotropy(h, ints({1, 1}, {2})); }, {"isotropy", "two tokens"});
  expect_error([&] { isotropy(h, ints({4, 1}, {2})); }, {"lengths", "3", "4"});
  expect_error([&] { isotropy(Tensor::zeros({2, 3}), ints({1, 1}, {2})); }, {"hidden", "[B, T, D]"});
}

TEST(TextDegeneration, ByHand) {
  const Tensor t = ints({1, 2, 1, 2, 1, 7}, {1, 6});
  const TextDegeneration m = text_degeneration(t, ints({5}, {1}));
  EXPECT_EQ(m.rep_2, 0.5);               // 12 21 12 21
  EXPECT_NEAR(m.rep_3, 1.0 / 3, 1e-15);  // 121 212 121
  EXPECT_EQ(m.rep_4, 0.0);               // 1212 2121
  EXPECT_NEAR(m.diversity, 1.0 / 3, 1e-15);
  EXPECT_NEAR(text_degeneration(t, ints({5}, {1}), true).rep_2, 1.0 / 3, 1e-15);
  expect_error([&] { text_degeneration(t, ints({3}, {1})); }, {"text_degeneration", "4-gram"});
  expect_error([&] { text_degeneration(t, ints({7}, {1})); }, {"lengths", "6", "7"});
}

TEST(WordErrorRate, ByHand) {
  // kitten -> sitting by 3 edits; an empty reference costs every word of the hypothesis.
  const Tensor ref = ints({11, 9, 20, 20, 5, 14, 0, 0, 0, 0, 0, 0, 0, 0}, {2, 7});
  const Tensor hyp = ints({19, 9, 20, 20, 9, 14, 7, 1, 2, 0, 0, 0, 0, 0}, {2, 7});
  const WordErrorRate m = word_error_rate(ref, hyp, ints({6, 0}, {2}), ints({7, 2}, {2}));
  EXPECT_EQ(m.distance, (std::vector<int64_t>{3, 2}));
  EXPECT_NEAR(m.wer, 5.0 / 6, 1e-15);
  expect_error(
      [&] {
        word_error_rate(ref, hyp, ints({0, 0}, {2}), ints({1, 1}, {2}));
      },
      {"ref_len", "empty"});
  expect_error(
      [&] {
        word_error_rate(ref, hyp, ints({8, 0}, {2}), ints({1, 1}, {2}));
      },
      {"ref_len", "7", "8"});
  expect_error(
      [&] {
        word_error_rate(ref, ints({1}, {1, 1}), ints({1, 0}, {2}), ints({1}, {1}));
      },
      {"hyp", "2"});
}

IclInputs one_example() {
  IclInputs in;
  in.gold = ints({1, 1}, {2}), in.pred_zs = ints({0, 0}, {2});
  in.pred_ft = ints({1, 1}, {2}), in.pred_icl = ints({1, 0}, {2});
  const auto twice = [](std::initializer_list<double> v, Dims dims) { return reals(v, dims); };
  in.h_zs = twice({3, 0, 1, 0}, {2, 1, 2}), in.h_icl = twice({0, 2, 0, 1}, {2, 1, 2});
  in.h_ft = twice({0, 7, 1, 0.5}, {2, 1, 2});
  in.m_zs = in.m_ft = twice({1, 0, 1, 0}, {2, 1, 1, 2}), in.m_icl = twice({2, 0, 0, 2}, {2, 1, 1, 2});
  in.ctx_icl = twice({1, 2, 3, 1, 2, 3}, {2, 1, 3});
  in.q_train = twice({1, 2, 3}, {1, 3, 1}), in.q_test = twice({1, -1}, {2, 1, 1});
  return in;
}

TEST(IclSimilarity, ByHand) {
  const IclSimilarity m = icl_similarity(one_example());
  EXPECT_EQ(m.rec2ftp, 50.0);
  const double c = 1 / std::sqrt(1.25), dx = c - 1, dy = c * 0.5;
  EXPECT_NEAR(m.simaou[0], (1 + (dy - dx) / (std::sqrt(2.0) * std::hypot(dx, dy))) / 2, 1e-12);
  EXPECT_EQ(m.simam_after[0], 0.5);
  EXPECT_EQ(m.kendall[0], 0.0);  // +1 and -1
  IclInputs in = one_example();
  in.pred_ft = in.pred_zs;
  expect_error([&] { icl_similarity(in); }, {"Rec2FTP"});
  in = one_example();
  in.m_zs = Tensor::zeros({2, 1, 1, 3}, DType::f64);
  expect_error([&] { icl_similarity(in); }, {"m_zs", "[2, 1, 1, 2]"});
  in = one_example();
  in.pred_icl = ints({1}, {1});
  expect_error([&] { icl_similarity(in); }, {"pred_icl", "[2]"});
}

// The mutant of this file: substitutions at no cost would be another distance.
TEST(WordErrorRate, MutantIsCaught) {
  const Tensor a = ints({1, 2}, {1, 2}), b = ints({1, 3}, {1, 2}), n = ints({2}, {1});
  EXPECT_EQ(word_error_rate(a, b, n, n).distance[0], 1);
  EXPECT_EQ(word_error_rate(a, a, n, n).distance[0], 0);
}

}  // namespace
}  // namespace juxta::test
