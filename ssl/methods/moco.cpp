// MoCo v2: Improved Baselines with Momentum Contrastive Learning (Chen et al. 2020, arXiv 2003.04297; v1: He
// et al., arXiv 1911.05722).
//
//   for each batch, a query view x_q and a key view x_k:
//     q = norm(g(f(x_q)))                                   gradient
//     xi <- m xi + (1 - m) theta                            EMA, once a step, before the key forward
//     k = norm(g_xi(f_xi(shuffle(x_k)))), unshuffled        no gradient
//     minimise InfoNCE(q, k, queue) at temperature tau      the queue as it was before this batch
//     push k                                                after backward
//   evaluate f
// Buffers: the EMA moves parameters only; the key network keeps its own BN statistics.
// Shuffling BN on one device (card 23b): batch norm works on `bn_groups` equal parts of each batch, and the
// key batch is permuted before and restored after, so that a query and its key do not share their companions.
#include "nn/heads.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/methods/ema_schedule.h"
#include "ssl/methods/systems.h"
#include "ssl/momentum/ema.h"
#include "ssl/momentum/queue.h"
#include "ssl/momentum/shuffle_bn.h"

namespace juxta::ssl {

namespace {

class Moco : public Method {
 public:
  void fields(Fields& f) override {
    f("temperature", temperature_, "tau of InfoNCE", kPositive);
    momentum_.fields(f);
    f("queue", queue_size_, "keys held as negatives", kAtLeastOne);
    f("queue_init", queue_init_, "random unit rows (MoCo), or empty: only pushed keys count",
      {"random", "empty"});
    f("queue_overflow", queue_overflow_, "a batch that reaches the end goes on at the start, or is cut there",
      {"wrap", "truncate"});
    f("mask_same_id", mask_same_id_, "keys of the query's own image, from earlier epochs, are no negatives");
    f("projection_dim", projection_dim_, "size of q and k", kLayerSize);
    f("projection_hidden", projection_hidden_, "hidden size of the head; 0: as wide as the features",
      kLayerSizeOrOwn);
    f("bn_groups", bn_groups_,
      "equal parts of a batch that batch norm sees by themselves; above 1 the keys are shuffled",
      kAtLeastOne);
  }

  std::vector<ViewSpec> views(const ViewConfig& base) const override {
    return {{"query", base}, {"key", base}};
  }

  void build(const Task& task) override {
    Rng init(task.seed, "init"), queue_rng(task.seed, "queue");
    query_ = Network(task.model, projection_hidden_, projection_dim_, init);
    key_ = Network(task.model, projection_hidden_, projection_dim_, init);
    ema_ = EmaTeacher(nn::named_state(query_), nn::named_state(key_), EmaOrder::before_forward,
                      BufferPolicy::own);
    queue_ =
        Queue(queue_size_, projection_dim_, queue_init_ == "random" ? QueueInit::random : QueueInit::empty,
              queue_rng, queue_overflow_ == "wrap" ? QueueOverflow::wrap : QueueOverflow::truncate);
    shuffles_ = Tensor::full({}, 0, DType::i64);
  }

  StepResult step(const Batch& batch, StepContext& context) override {
    context.nn.bn_groups = bn_groups_;
    const Var q = l2_normalize(forward(query_, batch["query"], context));  // [B, D]
    const Tensor k = keys(batch["key"], context);                          // [B, D], constant
    const QueueIds ids = mask_same_id_ ? QueueIds{batch.ids, queue_.ids()} : QueueIds{};
    const Loss loss = info_nce(q, Var(k), Var(queue_.rows()), {.temperature = temperature_}, ids);
    context.minimize(loss.loss);
    queue_.push(k, batch.ids);
    return {loss.loss.item(), figures_of(loss), q.value(), k};
  }

  void visit(nn::Visitor& v) override {
    v("query", query_), v("key", key_), v("queue", queue_), v("shuffles", shuffles_);
  }
  std::vector<nn::NamedParameter> trainable() override { return nn::parameters(query_, "query."); }
  nn::Encoder& encoder() override { return *query_.encoder; }

 private:
  struct Network {
    std::unique_ptr<nn::Encoder> encoder;
    nn::MlpHead head;
    Network() = default;
    Network(const nn::ModelConfig& model, int64_t hidden, int64_t dim, Rng& init)
        : encoder(nn::make_encoder(model, init)) {
      const int64_t width = encoder->feature_dim();
      head = nn::MlpHead({width, hidden ? hidden : width, dim}, {}, init);
    }
    Var operator()(const Var& x, const nn::Ctx& ctx) { return head(encoder->features(x, ctx), ctx); }
    void visit(nn::Visitor& v) { v("encoder", *encoder), v("head", head); }
  };

  static Var forward(Network& network, const Var& x, const StepContext& context) {
    return in_chunks([&](const Var& part) { return network(part, context.nn); }, x, context.chunk);
  }

  Tensor keys(const Tensor& view, StepContext& context) {
    const NoGrad constant;
    if (context.first_part) ema_.update(momentum_.at(context.step, context.total_steps));
    if (bn_groups_ == 1) return l2_normalize(forward(key_, Var(view), context)).value();
    // The permutation is keyed by a counter that is part of the state.
    const std::vector<int64_t> order =
        epoch_order(view.size(0), stream_id("shuffle"), static_cast<int64_t>(shuffles_.item()));
    shuffles_.fill(shuffles_.item() + 1, "moco");
    const Tensor perm = Tensor::from(std::span<const int64_t>(order), {view.size(0)});
    return shuffled(Var(view), perm, [&](const Var& x) { return l2_normalize(forward(key_, x, context)); })
        .value();
  }

  double temperature_ = 0.2;
  EmaSchedule momentum_;
  int64_t queue_size_ = 4096, projection_dim_ = 128, projection_hidden_ = 0;
  std::string queue_init_ = "random", queue_overflow_ = "wrap";
  bool mask_same_id_ = false;
  int64_t bn_groups_ = 1;
  Network query_, key_;
  EmaTeacher ema_;
  Queue queue_;
  Tensor shuffles_;
};

}  // namespace

std::unique_ptr<Method> make_moco() { return std::make_unique<Moco>(); }

}  // namespace juxta::ssl
