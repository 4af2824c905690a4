// Text encoders: their losses, what is done to tokens, and the training steps of ESimCSE and CoCoSoDa.
#include "autograd/ops.h"
#include "nn/layers.h"
#include "nn/sentence.h"
#include "ssl/eval/values.h"
#include "ssl/losses/in_batch.h"
#include "ssl/losses/sentences.h"
#include "ssl/momentum/ema.h"
#include "ssl/momentum/queue.h"
#include "ssl/objectives/history.h"
#include "ssl/objectives/rows.h"
#include "ssl/optim/optimizer.h"
#include "ssl/views/text.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kRetrieval[] = {
    {"anchors", "[N, D]"}, {"positives", "[N, D]"}, {"hard_negatives", "[H, N, D]", true}};
constexpr InputRow kCocosoda[] = {{"code_q", "[N, D]"},     {"nl_q", "[N, D]"},
                                  {"code_k", "[N, D]"},     {"nl_k", "[N, D]"},
                                  {"code_queue", "[K, D]"}, {"masked_code_queue", "[K, D]"},
                                  {"nl_queue", "[K, D]"},   {"masked_nl_queue", "[K, D]"}};
constexpr InputRow kCocosodaTraining[] = {{"table", "[V, D]"},
                                          {"code", "i64 [T, N, L]"},
                                          {"code_aug", "i64 [T, N, L]"},
                                          {"nl", "i64 [T, N, L]"},
                                          {"nl_aug", "i64 [T, N, L]"},
                                          {"code_queue", "[K, D]"},
                                          {"masked_code_queue", "[K, D]"},
                                          {"nl_queue", "[K, D]"},
                                          {"masked_nl_queue", "[K, D]"}};
constexpr InputRow kSoftAugmentation[] = {
    {"ids", "i64 [L]"},        {"special", "i64 [L]"}, {"types", "i64 [L]"},   {"type_ids", "i64 [Y]"},
    {"random_ids", "i64 [L]"}, {"select_draw", "[L]"}, {"action_draw", "[L]"}, {"swap_draw", "[L]"}};
constexpr InputRow kEsimcseTraining[] = {{"x", "[T, N, D]"},
                                         {"x_rep", "[T, N, D]"},
                                         {"drop1", "[T, N, D]"},
                                         {"drop2", "[T, N, D]"},
                                         {"w", "[D, H]"},
                                         {"a", "[H, E]"},
                                         {"b", "[E]"}};
constexpr InputRow kRepetition[] = {
    {"tokens", "i64 [L]"}, {"special", "i64 [L]"}, {"length_draw", "[1]"}, {"keys", "[L]"}};
constexpr InputRow kHidden[] = {{"hidden", "[L+1, B, T, D]"}, {"mask", "i64 [B, T]"}};
constexpr InputRow kPairs[] = {{"text", "[N, D]"},
                               {"label_emb", "[L, E]"},
                               {"label_ids", "i64 [N, M]"},
                               {"target", "i64 [N, M]"},
                               {"valid", "i64 [N, M]"},
                               {"u", "[U, J]"},
                               {"a", "[J]"},
                               {"v", "[E, J]", true},
                               {"c", "[J]", true},
                               {"w", "[J]"},
                               {"b", "[1]"}};
constexpr InputRow kTokens[] = {{"hidden", "[N, T, D]"}, {"lengths", "i64 [N]"}};

Outcome run_cocosoda(const Inputs& in, Params& f) {
  return cocosoda({in["code_q"], in["nl_q"], in["code_k"], in["nl_k"], in["code_queue"],
                   in["masked_code_queue"], in["nl_queue"], in["masked_nl_queue"]},
                  f.read<CocosodaParams>());
}

Outcome run_input_label_nce(const Inputs& in, Params& f) {
  return input_label_nce(
      {in["text"], in["label_emb"], in.tensor("label_ids"), in.tensor("target"), in.tensor("valid"), in["u"],
       in["a"], in.optional("v"), in.optional("c"), in["w"], in["b"]},
      f.read<InputLabelNceParams>());
}

// ---- cocosoda_training

struct CocosodaTrainingParams {
  int64_t pad_id = 1;
  double momentum = 0.999, lr = 2e-5;
  CocosodaParams loss;
  void fields(Params& f) {
    f("pad_id", pad_id), f("momentum", momentum), f("lr", lr);
    f("temperature", loss.temperature), f("logit_scale", loss.logit_scale), f("intra", loss.intra);
  }
};

// Mean of the word vectors, unit length: one weight set for code and for queries.
struct BagOfWords {
  nn::Embedding words;
  void visit(nn::Visitor& v) { v("words", words); }
  Var operator()(const Tensor& ids, int64_t pad_id) const {
    const Tensor flat = ids.contiguous();
    Tensor mask = Tensor::empty(ids.dims(), DType::i64);
    for (int64_t i = 0; i < ids.numel(); ++i)
      mask.write<int64_t>("cocosoda_training")[i] = flat.data<int64_t>()[i] != pad_id;
    return l2_normalize(nn::masked_mean(words(flat), mask));
  }
};

constexpr const char* kQueueNames[] = {"code_queue", "masked_code_queue", "nl_queue", "masked_nl_queue"};

// The four queues after checking the tokens [T, N, L] of all four sides.
std::vector<Queue> cocosoda_queues(const Inputs& in) {
  constexpr const char* kRow = "cocosoda_training";
  const Tensor& code = in.tensor("code");
  JX_CHECK(code.ndim() == 3 && code.numel() > 0, kRow, ": code: expected i64 [T, N, L], got ", code);
  const int64_t steps = code.size(0), batch = code.size(1);
  for (const char* name : {"code_aug", "nl", "nl_aug"}) {
    const Tensor& ids = in.tensor(name);
    JX_CHECK(ids.ndim() == 3 && ids.size(0) == steps && ids.size(1) == batch, kRow, ": ", name,
             ": expected i64 [", steps, ", ", batch, ", L], got ", ids);
  }
  std::vector<Queue> queues;
  for (const char* name : kQueueNames) {
    queues.push_back(Queue::from_rows(in.tensor(name), QueueInit::random));
    JX_CHECK(queues.back().size() % batch == 0, kRow, ": ", name, ": expected a multiple of ", batch,
             " rows, the batch, got ", queues.back().size());
  }
  return queues;
}

// T steps: live encodings, EMA, momentum encodings, loss against the queues as they are, queues, plain SGD.
Outcome run_cocosoda_training(const Inputs& in, Params& f) {
  const auto p = f.read<CocosodaTrainingParams>();
  std::vector<Queue> queues = cocosoda_queues(in);
  BagOfWords live, slow;
  live.words.weight = nn::Parameter(in.tensor("table").clone());
  slow.words.weight = nn::Parameter(in.tensor("table").clone());
  EmaTeacher ema(nn::named_state(live), nn::named_state(slow), EmaOrder::before_forward, BufferPolicy::own);
  OptimizerOptions options;
  options.momentum = 0;
  Optimizer sgd("sgd", nn::parameters(live), options);
  CocosodaParams loss = p.loss;
  loss.normalize = false;  // the encoders give unit rows
  std::vector<double> losses;
  for (int64_t t = 0; t < in.tensor("code").size(0); ++t) {
    const auto ids = [&](const char* name) { return at_step(in.tensor(name), t); };
    const Var code_q = live(ids("code"), p.pad_id), nl_q = live(ids("nl"), p.pad_id);
    ema.update(p.momentum);
    Var code_k, nl_k;
    {
      const NoGrad no_grad;
      code_k = slow(ids("code_aug"), p.pad_id), nl_k = slow(ids("nl_aug"), p.pad_id);
    }
    sgd.zero_grad();
    const Var l = cocosoda({code_q, nl_q, code_k, nl_k, Var(queues[0].rows()), Var(queues[1].rows()),
                            Var(queues[2].rows()), Var(queues[3].rows())},
                           loss)
                      .loss;
    losses.push_back(l.item());
    backward(l);
    const Var* rows[] = {&code_q, &code_k, &nl_q, &nl_k};
    for (size_t q = 0; q < 4; ++q) queues[q].push(rows[q]->value());
    sgd.step(p.lr, 0.0);
  }
  Terms out{{"loss", Var(tensor_of(losses))},
            {"table", Var(live.words.weight.value())},
            {"table_momentum", Var(slow.words.weight.value())}};
  for (size_t q = 0; q < 4; ++q) out.emplace_back(kQueueNames[q], Var(queues[q].all_rows()));
  return {{}, out};
}

// ---- soft_data_augmentation, word_repetition

struct SoftParams : SoftAugmentationParams {
  void fields(Params& f) {
    f("kind", kind, {"dm", "dr", "drst", "dmst"});
    f("ratio", ratio), f("mask_id", mask_id), f("chosen_type", chosen_type);
  }
};

std::vector<int64_t> tokens_of(const Inputs& in, const char* name) {
  const Tensor& t = in.tensor(name);
  JX_CHECK(t.ndim() == 1, in.objective(), ": ", name, ": expected i64 [L], got ", t);
  return integers_of(concat(in.objective(), ": ", name).c_str(), t, t.dims());
}
std::vector<double> draws_of(const Inputs& in, const char* name) {
  return doubles_of(concat(in.objective(), ": ", name).c_str(), in.tensor(name));
}

Outcome run_soft_augmentation(const Inputs& in, Params& f) {
  const auto p = f.read<SoftParams>();
  const auto ids = tokens_of(in, "ids"), special = tokens_of(in, "special"), types = tokens_of(in, "types"),
             type_ids = tokens_of(in, "type_ids"), random_ids = tokens_of(in, "random_ids");
  const auto select = draws_of(in, "select_draw"), action = draws_of(in, "action_draw"),
             swap = draws_of(in, "swap_draw");
  const AugmentedTokens a =
      soft_data_augmentation({ids, special, types, type_ids, random_ids, select, action, swap}, p);
  return {{},
          {{"ids", Var(tensor_of(a.ids))},
           {"picked", Var(tensor_of(a.picked))},
           {"replaced", Var(tensor_of(a.replaced))}}};
}

struct RepetitionParams {
  RepetitionMode mode = RepetitionMode::code;
  double dup_rate = 0.32;
  void fields(Params& f) { f("mode", mode, {"paper", "code"}), f("dup_rate", dup_rate); }
};
Outcome run_word_repetition(const Inputs& in, Params& f) {
  const auto p = f.read<RepetitionParams>();
  const auto tokens = tokens_of(in, "tokens"), special = tokens_of(in, "special");
  const auto length = draws_of(in, "length_draw"), keys = draws_of(in, "keys");
  JX_CHECK(length.size() == 1, "word_repetition: length_draw: expected one number, got ", length.size());
  const RepeatedTokens r = word_repetition(tokens, special, length[0], keys, p.dup_rate, p.mode);
  const auto count = static_cast<int64_t>(r.positions.size());
  return {{},
          {{"tokens", Var(tensor_of(r.tokens))},
           {"positions", Var(tensor_of(r.positions))},
           {"dup_len", Var(Tensor::from<int64_t>({count}, {}))}}};
}

// ---- esimcse_training

struct EsimcseTrainingParams {
  int64_t queue_size = 160;
  double momentum = 0.995, lr = 3e-5, temperature = 0.05;
  void fields(Params& f) {
    f("queue_size", queue_size), f("momentum", momentum), f("lr", lr), f("temperature", temperature);
  }
};

// One layer as the encoder, and SimCSE's head; both with tanh.
struct TanhEncoder {
  nn::Parameter w;
  void visit(nn::Visitor& v) { v("w", w); }
};
struct TanhHead {
  nn::Parameter a, b;
  void visit(nn::Visitor& v) { v("a", a), v("b", b); }
  Var operator()(const TanhEncoder& encoder, const Var& x) const {
    return tanh(add(matmul(tanh(matmul(x, encoder.w)), a), b));
  }
};

void check_esimcse_training(const Inputs& in, const EsimcseTrainingParams& p) {
  constexpr const char* kRow = "esimcse_training";
  const Tensor &x = in.tensor("x"), &w = in.tensor("w"), &a = in.tensor("a"), &b = in.tensor("b");
  JX_CHECK(x.ndim() == 3 && x.numel() > 0, kRow, ": x: expected [T, N, D], got ", x);
  for (const char* name : {"x_rep", "drop1", "drop2"})
    JX_CHECK(in.tensor(name).dims() == x.dims(), kRow, ": ", name, ": expected ", x.dims(), " like x, got ",
             in.tensor(name));
  JX_CHECK(w.ndim() == 2 && w.size(0) == x.size(2), kRow, ": w: expected [", x.size(2), ", H], got ", w);
  JX_CHECK(a.ndim() == 2 && a.size(0) == w.size(1), kRow, ": a: expected [", w.size(1), ", E], got ", a);
  JX_CHECK(b.dims() == Dims({a.size(1)}), kRow, ": b: expected [", a.size(1), "], got ", b);
  JX_CHECK(p.queue_size >= 1, kRow, ": queue_size: expected at least 1, got ", p.queue_size);
}

// T steps: both copies through the live encoder, EMA, loss against the queue as it is, momentum encodings of
// the originals without dropout through the live head (they join the queue), plain SGD.
Outcome run_esimcse_training(const Inputs& in, Params& f) {
  const auto p = f.read<EsimcseTrainingParams>();
  check_esimcse_training(in, p);
  const Tensor &x = in.tensor("x"), &b = in.tensor("b");
  const int64_t steps = x.size(0);
  TanhEncoder live, slow;
  TanhHead head;
  live.w = nn::Parameter(in.tensor("w").clone()), slow.w = nn::Parameter(in.tensor("w").clone());
  head.a = nn::Parameter(in.tensor("a").clone()), head.b = nn::Parameter(b.clone());
  EmaTeacher ema(nn::named_state(live), nn::named_state(slow), EmaOrder::before_forward, BufferPolicy::own);
  std::vector<nn::NamedParameter> trained = nn::parameters(live);
  for (const nn::NamedParameter& q : nn::parameters(head)) trained.push_back(q);
  OptimizerOptions options;
  options.momentum = 0;
  Optimizer sgd("sgd", trained, options);
  Queue queue = Queue::from_rows(Tensor::zeros({p.queue_size, b.size(0)}, x.dtype()), QueueInit::empty);
  std::vector<double> losses;
  std::vector<int64_t> lengths;
  History rows;
  for (int64_t t = 0; t < steps; ++t) {
    const auto view = [&](const char* tokens, const char* drop) {
      return head(live, mul(Var(at_step(in.tensor(tokens), t)), Var(at_step(in.tensor(drop), t))));
    };
    const Var h = view("x", "drop1"), positive = view("x_rep", "drop2");
    ema.update(p.momentum);
    sgd.zero_grad();
    const Var l = esimcse(h, positive, Var(queue.rows()), {.temperature = p.temperature}).loss;
    losses.push_back(l.item());
    backward(l);
    {
      const NoGrad no_grad;
      queue.push(head(slow, Var(at_step(x, t))).value());
    }
    sgd.step(p.lr, 0.0);
    lengths.push_back(queue.valid());
    Tensor padded = Tensor::zeros(queue.all_rows().dims(), x.dtype());
    Tensor filled = padded.slice(0, 0, queue.valid());
    filled.copy_from(queue.oldest_first(), "esimcse_training");
    rows.put(t, steps, padded);
  }
  return {{},
          {{"loss", Var(tensor_of(losses))},
           {"queue", Var(rows.all)},
           {"queue_len", Var(tensor_of(lengths))},
           {"w", Var(live.w.value())},
           {"a", Var(head.a.value())},
           {"b", Var(head.b.value())},
           {"w_momentum", Var(slow.w.value())}}};
}

// ---- sentence_pooling

struct PoolingParams {
  int64_t first_index = 1;
  void fields(Params& f) { f("first_index", first_index); }
};
Outcome run_sentence_pooling(const Inputs& in, Params& f) {
  const nn::SentencePooling s =
      nn::sentence_pooling(in["hidden"], in.tensor("mask"), f.read<PoolingParams>().first_index);
  return {{},
          {{"cls", s.cls}, {"avg", s.avg}, {"avg_top2", s.avg_top2}, {"avg_first_last", s.avg_first_last}}};
}

constexpr const char* kCocosodaPaper = "Shi et al. 2022, arXiv 2204.03293";
constexpr const char* kEsimcsePaper = "Wu et al. 2021, arXiv 2109.04380";

constexpr Objective kRows[] = {
    {"multiple_negatives_ranking", "multiple negatives ranking", "Henderson et al. 2017, arXiv 1705.00652",
     "L = mean_i [ log sum_{d in docs (and the other directions)} e^{scale cos(a_i, d)} - scale cos(a_i, "
     "p_i) ]",
     Kind::loss, Across::negatives, kRetrieval, list_params<MultipleNegativesRankingParams>,
     [](const Inputs& in, Params& f) {
       return multiple_negatives_ranking(in["anchors"], in["positives"], in.optional("hard_negatives"),
                                         f.read<MultipleNegativesRankingParams>());
     }},
    {"cocosoda", "CoCoSoDa", kCocosodaPaper,
     "L = mean over blocks (a, b, Q) of CE([a b^T, a Q^T] scale / t, i)", Kind::loss, Across::negatives,
     kCocosoda, list_params<CocosodaParams>, run_cocosoda},
    {"cocosoda_training", "CoCoSoDa", kCocosodaPaper,
     "theta_m <- m theta_m + (1 - m) theta before the momentum encodings; queues after the loss", Kind::state,
     Across::negatives, kCocosodaTraining, list_params<CocosodaTrainingParams>, run_cocosoda_training},
    {"soft_data_augmentation", "CoCoSoDa", kCocosodaPaper,
     "15 % of the eligible tokens: 80 % mask or the token of their type, dm 10 % a random token", Kind::rule,
     Across::local, kSoftAugmentation, list_params<SoftParams>, run_soft_augmentation},
    {"esimcse_training", "ESimCSE", kEsimcsePaper,
     "L = mean_i CE([cos(h_i, h+_.); cos(h_i, queue)] / t, i); queue of momentum encodings", Kind::state,
     Across::negatives, kEsimcseTraining, list_params<EsimcseTrainingParams>, run_esimcse_training},
    {"word_repetition", "ESimCSE", kEsimcsePaper,
     "dup_len ~ U{0 .. max(2, int(rate n))} tokens doubled in place", Kind::rule, Across::local, kRepetition,
     list_params<RepetitionParams>, run_word_repetition},
    {"sentence_pooling", "SimCSE", "Gao et al. 2021, arXiv 2104.08821",
     "first token, or masked means of the last, the last two, the first and the last layer", Kind::layer,
     Across::local, kHidden, list_params<PoolingParams>, run_sentence_pooling},
    {"input_label_nce", "GILE, CLESS",
     "Pappas & Henderson 2019, arXiv 1806.06219; Rethmeier & Augenstein 2021, arXiv 2010.01061",
     "L = mean over pairs of softplus(s) - y s,  s = (act(x u + a) * act(e v + c)) . w + b or act([x; e] u + "
     "a) "
     ". w + b",
     Kind::loss, Across::local, kPairs, list_params<InputLabelNceParams>, run_input_label_nce},
    {"simctg", "SimCTG", "Su et al. 2022, arXiv 2202.06417",
     "L = mean_{i != j} max(0, margin - 1 + cos(h_i, h_j)) over tokens of one text", Kind::loss,
     Across::local, kTokens, list_params<SimCtgParams>,
     [](const Inputs& in, Params& f) {
       return simctg(in["hidden"], in.tensor("lengths"), f.read<SimCtgParams>());
     }},
};

}  // namespace

std::span<const Objective> sentences_rows() { return kRows; }

}  // namespace juxta::ssl
