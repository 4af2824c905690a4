// Text encoders: losses at their edges, what is done to tokens, poolings; the rules that choose the next
// token.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/sentence.h"
#include "ssl/decode/contrastive_search.h"
#include "ssl/decode/momentum_decoding.h"
#include "ssl/losses/in_batch.h"
#include "ssl/losses/sentences.h"
#include "ssl/momentum/queue.h"
#include "ssl/views/text.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

TEST(Sentences, HardNegativesOfTheOwnAnchorAreNotAmongTheOtherDocuments) {
  // With N = 2 and doc_to_doc alone beside the positive's block, the own hard negative appears once, not
  // twice.
  MultipleNegativesRankingParams p;
  p.scale = 1, p.directions = {"query_to_doc", "doc_to_doc"};
  const Var x(Tensor::from<double>({1, 0, 1, 0}, {2, 2})), h(Tensor::from<double>({1, 0, 1, 0}, {1, 2, 2}));
  // per row: 4 documents for the query; the other's positive and the other's hard negative for the document
  EXPECT_NEAR(multiple_negatives_ranking(x, x, h, p).loss.item(), std::log(6.0), 1e-12);
}

TEST(Sentences, RetrievalIsSimcseWithoutWeights) {
  const Var a(normal({5, 4}, 1)), b(normal({5, 4}, 2)), h(normal({5, 4}, 3));
  MultipleNegativesRankingParams p;
  p.scale = 20;
  EXPECT_NEAR(multiple_negatives_ranking(a, b, unsqueeze(h, 0), p).loss.item(),
              simcse(a, b, h, {.temperature = 0.05}).loss.item(), 1e-12);
  EXPECT_NE(multiple_negatives_ranking(a, b, {}, p).loss.item(),
            multiple_negatives_ranking(a, b, unsqueeze(h, 0), p).loss.item());  // the mutant: h forgotten
}

TEST(Sentences, RefuseBadInput) {
  const Var z(normal({3, 4}, 1));
  MultipleNegativesRankingParams p;
  p.directions = {"query_to_docs"};
  expect_error([&] { multiple_negatives_ranking(z, z, {}, p); }, {"directions", "query_to_docs"});
  p.directions = {"query_to_doc", "query_to_doc"};
  expect_error([&] { multiple_negatives_ranking(z, z, {}, p); }, {"directions", "twice"});
  p.directions = {"doc_to_doc"}, p.partition = Partition::per_direction;
  expect_error([&] { multiple_negatives_ranking(z, z, {}, p); }, {"per_direction", "doc_to_doc"});
  expect_error([&] { multiple_negatives_ranking(z, z, z); }, {"hard_negatives", "[H, 3, 4]"});
  const Var one = slice(z, 0, 0, 1);
  p.directions = {"query_to_query"}, p.partition = Partition::joint;
  expect_error([&] { multiple_negatives_ranking(one, one, {}, p); }, {"N = 1"});
  CocosodaParams off;
  off.inter = off.intra = false;
  const Var q(normal({2, 4}, 2));
  expect_error([&] { cocosoda({z, z, z, z, q, q, q, q}, off); }, {"cocosoda", "inter, intra"});
  expect_error(
      [&] {
        cocosoda({z, z, z, z, q, q, q, Var(normal({2, 3}, 1))});
      },
      {"masked_nl_queue", "[K, 4]"});
  expect_error(
      [&] {
        simctg(Var(normal({2, 3, 4}, 1)), Tensor::from<int64_t>({3, 4}, {2}));
      },
      {"simctg", "lengths", "got 4"});
}

TEST(Sentences, CocosodaWithEmptyQueuesIsInBatch) {
  const Var z(normal({3, 4}, 1)), k(normal({3, 4}, 2)), none(Tensor::zeros({0, 4}, DType::f64));
  CocosodaParams p;
  p.inter = false;
  const SimCseParams same{.temperature = p.temperature, .hard_negative_weight = 0};
  EXPECT_NEAR(cocosoda({z, z, k, k, none, none, none, none}, p).loss.item(),
              simcse(z, k, {}, same).loss.item(), 1e-14);
  EXPECT_EQ(esimcse(z, k, none, {.temperature = p.temperature}).loss.item(),
            esimcse(z, k, {}, {.temperature = p.temperature}).loss.item());
}

TEST(Sentences, OneTokenSpreadsNothing) {
  const Var h = Var::leaf(normal({2, 3, 4}, 1));
  const Loss l = simctg(h, Tensor::from<int64_t>({1, 0}, {2}));
  EXPECT_EQ(l.loss.item(), 0.0);
  backward(l.loss);
  EXPECT_EQ(max_abs(h.grad()), 0.0);
}

TEST(Sentences, PairsThatDoNotExistAreNotRead) {
  const auto loss = [](int64_t unused, int64_t target) {
    InputLabelPairs in;
    in.text = Var(normal({1, 2}, 1)), in.label_emb = Var(normal({3, 2}, 2));
    in.label_ids = Tensor::from<int64_t>({1, unused}, {1, 2});
    in.target = Tensor::from<int64_t>({1, target}, {1, 2});
    in.valid = Tensor::from<int64_t>({1, 0}, {1, 2});
    in.u = Var(normal({2, 3}, 3)), in.v = Var(normal({2, 3}, 4));
    in.a = in.c = in.w = Var(normal({3}, 5)), in.b = Var(normal({1}, 6));
    return input_label_nce(in);
  };
  EXPECT_EQ(loss(-1, 0).loss.item(), loss(2, 1).loss.item());
  const double s = loss(-1, 0).term("score").value().at({0, 0});
  EXPECT_NEAR(loss(-1, 0).loss.item(), std::log1p(std::exp(-s)), 1e-12);
  expect_error([&] { loss(-1, 2); }, {"input_label_nce", "target", "got 2"});
}

TEST(Sentences, Poolings) {
  // two layers of one text of three tokens, the last one padding
  const Var hidden(Tensor::from<double>({1, 3, 100, 3, 7, 100}, {2, 1, 3, 1}));
  const Tensor mask = Tensor::from<int64_t>({1, 1, 0}, {1, 3});
  const nn::SentencePooling s = nn::sentence_pooling(hidden, mask, 0);
  EXPECT_EQ(s.cls.item(), 3);
  EXPECT_EQ(s.avg.item(), 5);
  EXPECT_EQ(s.avg_first_last.item(), 3.5);
  expect_error([&] { nn::sentence_pooling(hidden, mask, 2); }, {"first_index", "0 to 1"});
  expect_error(
      [&] {
        nn::masked_mean(select(hidden, 0, 0), Tensor::zeros({1, 3}, DType::i64));
      },
      {"mask", "no token"});
}

TEST(Queue, OldestFirstAfterTheRingClosed) {
  Queue q = Queue::from_rows(Tensor::zeros({3, 1}, DType::f64), QueueInit::empty);
  EXPECT_EQ(q.oldest_first().size(0), 0);
  q.push(Tensor::from<double>({1, 2}, {2, 1}));
  EXPECT_EQ(max_abs_diff(q.oldest_first(), Tensor::from<double>({1, 2}, {2, 1})), 0);
  q.push(Tensor::from<double>({3, 4}, {2, 1}));
  EXPECT_EQ(max_abs_diff(q.oldest_first(), Tensor::from<double>({2, 3, 4}, {3, 1})), 0);
}

TEST(TextViews, SoftAugmentation) {
  const std::vector<int64_t> ids{0, 11, 12, 13, 14}, special{1, 0, 0, 0, 0}, types{9, 0, 1, 1, 1},
      type_ids{100, 101}, random{50, 51, 52, 53, 54};
  const std::vector<double> select{0, 0.4, 0.4, 0.4, 0.6}, action{0, 0.1, 0.9, 0.9, 0},
      swap{0, 0, 0.4, 0.6, 0};
  const SoftAugmentationInputs in{ids, special, types, type_ids, random, select, action, swap};
  SoftAugmentationParams p;
  p.ratio = 0.5, p.mask_id = 3;
  EXPECT_EQ(soft_data_augmentation(in, p).ids, (std::vector<int64_t>{0, 3, 52, 13, 14}));
  EXPECT_EQ(soft_data_augmentation(in, p).replaced, (std::vector<int64_t>{0, 1, 0, 0, 0}));
  p.kind = SoftAugmentation::drst, p.chosen_type = 0, p.ratio = 1;
  EXPECT_EQ(soft_data_augmentation(in, p).ids, (std::vector<int64_t>{0, 100, 12, 13, 14}));
  p.chosen_type = 2;
  expect_error([&] { soft_data_augmentation(in, p); }, {"chosen_type", "0 to 1", "got 2"});
  p.kind = SoftAugmentation::dm, p.ratio = 1.5;
  expect_error([&] { soft_data_augmentation(in, p); }, {"ratio", "1.5"});
}

TEST(TextViews, WordRepetition) {
  const std::vector<int64_t> tokens{1, 7, 8, 9, 2}, special{1, 0, 0, 0, 1};
  const std::vector<double> keys{0, 0.5, 0.2, 0.9, 0};
  const RepeatedTokens r = word_repetition(tokens, special, 0.7, keys, 0.2, RepetitionMode::paper);  // 0 .. 2
  EXPECT_EQ(r.tokens, (std::vector<int64_t>{1, 7, 7, 8, 8, 9, 2}));
  EXPECT_TRUE(word_repetition(tokens, special, 0.9, keys, 0.1, RepetitionMode::code).positions.empty());
  expect_error([&] { word_repetition(tokens, special, 1.0, keys, 0.2, RepetitionMode::code); },
               {"length_draw", "[0, 1)"});
}

TEST(Decoding, ThePenaltyTurnsTheChoice) {
  const Tensor context = Tensor::from<double>({1, 0, 0, 5}, {1, 2, 2}),
               candidates = Tensor::from<double>({2, 0, -1, 0}, {1, 2, 2}),
               probs = Tensor::from<double>({0.7, 0.3}, {1, 2});
  const Tensor one = Tensor::from<int64_t>({1}, {1});  // the second state is padding
  EXPECT_EQ(contrastive_search_step(context, one, candidates, probs, 0).selected[0], 0);
  const ContrastiveChoice c = contrastive_search_step(context, one, candidates, probs, 0.6);
  EXPECT_EQ(c.selected[0], 1);
  EXPECT_NEAR(c.score[0], 0.4 * 0.7 - 0.6, 1e-12);
  EXPECT_NEAR(c.penalty[1], -1, 1e-12);
  expect_error(
      [&] { contrastive_search_step(context, Tensor::from<int64_t>({3}, {1}), candidates, probs, 0.6); },
      {"lengths", "1 to 2", "got 3"});
  expect_error([&] { contrastive_search_step(context, one, candidates, probs, 1.5); }, {"alpha", "1.5"});
  RecurrentModel model(normal({4, 3}, 1), normal({3, 3}, 2), normal({4, 3}, 3));
  const std::vector<int64_t> prefix{1, 4};
  expect_error([&] { contrastive_search(model, prefix, {.k = 2}); }, {"prefix", "0 to 3", "got 4"});
  expect_error([&] { contrastive_search(model, {prefix.data(), 1}, {.k = 5}); }, {"k", "1 to 4"});
}

TEST(Decoding, DepthIsTheLongestRepeatedGram) {
  TokenGraph g;
  for (const int64_t token : {0, 1, 2, 0, 1}) g.append(token);
  EXPECT_EQ(g.depth(2, 5), 3);  // 0 1 2 occurs
  EXPECT_EQ(g.depth(2, 2), 2);
  EXPECT_EQ(g.depth(0, 5), 1);  // 1 0 does not
  EXPECT_EQ(g.depth(7, 5), 0);
  const std::vector<double> logits{0, 0, 2, 1};
  const MomentumStep s = momentum_decoding_step(g, logits, {.k = 2});
  EXPECT_EQ(s.token, 3);  // 2 is the most probable and closes a loop of three
  EXPECT_EQ(s.label, 2);
  MomentumDecodingParams p;
  p.k = 2, p.max_depth = 6;
  expect_error([&] { momentum_decoding_step(g, logits, p); }, {"table", "0 to 6"});
}

}  // namespace
}  // namespace juxta::test
