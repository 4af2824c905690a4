// State of momentum methods: EMA teachers, queues of keys, shuffled batch norm.
#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/momentum/ema.h"
#include "ssl/momentum/queue.h"
#include "ssl/momentum/shuffle_bn.h"
#include "ssl/objectives/history.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

Tensor floats(const std::vector<double>& v) {
  return Tensor::from(std::span<const double>(v), {static_cast<int64_t>(v.size())});
}
Tensor integers(const std::vector<int64_t>& v) {
  return Tensor::from(std::span<const int64_t>(v), {static_cast<int64_t>(v.size())});
}

void check_shape(const char* who, const char* name, const Tensor& x, const Dims& dims, DType dtype) {
  JX_CHECK(x.dims() == dims && x.dtype() == dtype, who, ": ", name, ": expected ", dtype, " ", dims, ", got ",
           x);
}

// ---- ema_update

struct EmaUpdateParams {
  std::vector<double> momentum;  // one per step
  EmaOrder order = EmaOrder::before_forward;
  BufferPolicy buffers = BufferPolicy::own;
  void fields(Params& f) {
    f("momentum", momentum);
    f("order", order, {"before_forward", "after_step"});
    f("buffers", buffers, {"own", "copy", "average"});
  }
};

// A network of one parameter and one buffer.
struct Network {
  nn::Parameter weight;
  Tensor buffer;
  void visit(nn::Visitor& v) { v("weight", weight), v("buffer", buffer); }
};

// online [T+1, P]: the weights before each step and after the last. buffers [T, B]: the student's at each
// step; the teacher starts with the first of them.
Outcome run_ema_update(const Inputs& in, Params& f) {
  const auto p = f.read<EmaUpdateParams>();
  const Tensor &start = in.tensor("teacher0"), &online = in.tensor("online");
  const Tensor buffers = in.optional_tensor("buffers");
  const auto T = static_cast<int64_t>(p.momentum.size());
  JX_CHECK(T >= 1, "ema_update: momentum: expected one value per step, got none");
  JX_CHECK(start.ndim() == 1, "ema_update: teacher0: expected [P], got ", start);
  check_shape("ema_update", "online", online, {T + 1, start.size(0)}, start.dtype());
  Network student, teacher;
  student.weight = nn::Parameter(at_step(online, 0));
  teacher.weight = nn::Parameter(start.clone());
  if (buffers.defined()) {
    JX_CHECK(buffers.ndim() == 2 && buffers.size(0) == T && buffers.dtype() == start.dtype(),
             "ema_update: buffers: expected ", start.dtype(), " [", T, ", B], got ", buffers);
    student.buffer = at_step(buffers, 0);
    teacher.buffer = at_step(buffers, 0);
  }
  EmaTeacher ema(nn::named_state(student), nn::named_state(teacher), p.order, p.buffers);
  teacher.weight.var().set_value(start.clone());  // EmaTeacher starts as a copy of the student
  const auto update = [&](int64_t weights, int64_t t) {
    student.weight.var().set_value(at_step(online, weights));
    if (buffers.defined()) student.buffer.copy_from(buffers.select(0, t), "ema_update");
    ema.update(p.momentum[static_cast<size_t>(t)]);
  };
  History forward;
  for (int64_t t = 0; t < T; ++t) {
    if (ema.order() == EmaOrder::before_forward) update(t, t);
    forward.put(t, T, teacher.weight.value());
    if (ema.order() == EmaOrder::after_step) update(t + 1, t);
  }
  Terms out{{"teacher_forward", Var(forward.all)}, {"teacher_final", Var(teacher.weight.value())}};
  if (buffers.defined()) out.emplace_back("buffer_final", teacher.buffer);
  return {{}, out};
}

// ---- negative_queue

struct NegativeQueueParams {
  double temperature = 0.07;
  QueueOverflow overflow = QueueOverflow::wrap;
  QueueInit init = QueueInit::random;
  bool mask_same_id = false;
  int64_t queue_size = 0;  // 0: that of queue0
  void fields(Params& f) {
    f("temperature", temperature), f("overflow", overflow, {"wrap", "truncate"});
    f("init", init, {"random", "empty"}), f("mask_same_id", mask_same_id), f("queue_size", queue_size);
  }
};

// T steps of MoCo: loss against the queue as it was, gradient of the queries, push.
Outcome run_negative_queue(const Inputs& in, Params& f) {
  const auto p = f.read<NegativeQueueParams>();
  const Tensor &q = in.tensor("q"), &k = in.tensor("k"), &start = in.tensor("queue0");
  const Tensor ids = in.optional_tensor("ids");
  JX_CHECK(q.ndim() == 3 && q.size(0) >= 1 && q.size(1) >= 1, "negative_queue: q: expected [T, N, D], got ",
           q);
  const int64_t T = q.size(0), N = q.size(1), D = q.size(2);
  check_shape("negative_queue", "k", k, q.dims(), q.dtype());
  JX_CHECK(start.ndim() == 2 && start.size(1) == D && start.dtype() == q.dtype() &&
               (p.queue_size == 0 || start.size(0) == p.queue_size),
           "negative_queue: queue0: expected ", q.dtype(), " [", p.queue_size, ", ", D, "], got ", start);
  if (ids.defined()) check_shape("negative_queue", "ids", ids, {T, N}, DType::i64);
  JX_CHECK(ids.defined() || !p.mask_same_id, "negative_queue: ids: mask_same_id needs them");
  Queue queue = Queue::from_rows(start, p.init, p.overflow);
  std::vector<double> losses, accuracy;
  std::vector<int64_t> pointers, valid;
  History grad;
  for (int64_t t = 0; t < T; ++t) {
    const Var query = Var::leaf(at_step(q, t));
    const Tensor key = at_step(k, t), id = ids.defined() ? at_step(ids, t) : Tensor();
    const QueueIds mask = p.mask_same_id ? QueueIds{id, queue.ids()} : QueueIds{};
    const InfoNceParams loss{.temperature = p.temperature, .normalize = false};
    const Var l = info_nce(query, Var(key), Var(queue.rows()), loss, mask).loss;
    backward(l);
    grad.put(t, T, query.grad().defined() ? query.grad() : Tensor::zeros(query.dims(), query.dtype()));
    losses.push_back(l.item());
    accuracy.push_back(queue_accuracy(query.value(), key, queue.rows(), mask.rows, mask.queue));
    valid.push_back(queue.valid());
    queue.push(key, id);
    pointers.push_back(queue.pointer());
  }
  return {{},
          {{"loss", Var(floats(losses))},
           {"grad_q", Var(grad.all)},
           {"acc", Var(floats(accuracy))},
           {"ptr", Var(integers(pointers))},
           {"n_valid", Var(integers(valid))},
           {"queue_final", Var(queue.all_rows())},
           {"ids_final", Var(queue.all_ids())}}};
}

// ---- shuffle_bn

struct ShuffleBnParams {
  int64_t groups = 1;
  double eps = 1e-5, momentum = 0.1;
  void fields(Params& f) { f("groups", groups), f("eps", eps), f("momentum", momentum); }
};

Outcome run_shuffle_bn(const Inputs& in, Params& f) {
  const auto p = f.read<ShuffleBnParams>();
  const Var &x = in["x"], &gain = in["gain"];
  BatchNormState state{Tensor::zeros(gain.dims(), gain.dtype()), Tensor::full(gain.dims(), 1.0, gain.dtype()),
                       p.momentum};
  const Var y = shuffle_bn(x, in.tensor("perm"), gain, in["bias"], state, p.groups, p.eps);
  return {{}, {{"y", y}, {"running_mean", Var(state.running_mean)}, {"running_var", Var(state.running_var)}}};
}

// ---- albef_momentum_state

struct AlbefMomentumParams {
  double momentum = 0.995;
  int64_t batch = 0, queue = 0;  // 0: those of the inputs
  void fields(Params& f) { f("momentum", momentum), f("batch", batch), f("queue", queue); }
};

// The order of one step: EMA with the weights of the previous optimiser step, momentum features (given here),
// loss against the old queues, then both queues take the batch at one pointer.
Outcome run_albef_momentum_state(const Inputs& in, Params& f) {
  const auto p = f.read<AlbefMomentumParams>();
  const Tensor &param = in.tensor("param"), &image = in.tensor("image_feat_m"),
               &text = in.tensor("text_feat_m");
  const Tensor& start = in.tensor("image_queue");
  JX_CHECK(image.ndim() == 3, "albef_momentum_state: image_feat_m: expected [T, N, D], got ", image);
  const int64_t T = image.size(0), N = image.size(1);
  check_shape("albef_momentum_state", "text_feat_m", text, image.dims(), image.dtype());
  JX_CHECK(start.ndim() == 2 && start.size(1) == image.size(2) && start.dtype() == image.dtype(),
           "albef_momentum_state: image_queue: expected ", image.dtype(), " [Q, ", image.size(2), "], got ",
           start);
  check_shape("albef_momentum_state", "text_queue", in.tensor("text_queue"), start.dims(), start.dtype());
  check_shape("albef_momentum_state", "param", param, {T, in.tensor("param_m").numel()},
              in.tensor("param_m").dtype());
  JX_CHECK(
      (p.batch == 0 || p.batch == N) && (p.queue == 0 || p.queue == start.size(0)) && start.size(0) % N == 0,
      "albef_momentum_state: a batch of ", N, " must divide a queue of ", start.size(0),
      " and both be as the parameters batch = ", p.batch, " and queue = ", p.queue, " say");
  const Tensor follower = in.tensor("param_m").clone();
  Queue images = Queue::from_rows(start, QueueInit::random),
        texts = Queue::from_rows(in.tensor("text_queue"), QueueInit::random);
  History weights, image_rows, text_rows;
  std::vector<int64_t> pointers;
  for (int64_t t = 0; t < T; ++t) {
    const Tensor leader = at_step(param, t);
    ema_update({&follower, 1}, {&leader, 1}, p.momentum);
    images.push(at_step(image, t));
    texts.push(at_step(text, t));
    weights.put(t, T, follower);
    image_rows.put(t, T, images.all_rows());
    text_rows.put(t, T, texts.all_rows());
    pointers.push_back(images.pointer());
  }
  return {{},
          {{"param_m", Var(weights.all)},
           {"image_queue", Var(image_rows.all)},
           {"text_queue", Var(text_rows.all)},
           {"ptr", Var(integers(pointers))}}};
}

constexpr InputRow kEmaInputs[] = {{"teacher0", "[P]"}, {"online", "[T+1, P]"}, {"buffers", "[T, B]", true}};
constexpr InputRow kQueueInputs[] = {
    {"q", "[T, N, D]"}, {"k", "[T, N, D]"}, {"ids", "i64 [T, N]", true}, {"queue0", "[K, D]"}};
constexpr InputRow kShuffleInputs[] = {
    {"x", "[N, D]"}, {"perm", "i64 [N]"}, {"gain", "[D]"}, {"bias", "[D]"}};
constexpr InputRow kAlbefInputs[] = {{"param", "[T, P]"},           {"param_m", "[P]"},
                                     {"image_feat_m", "[T, N, D]"}, {"text_feat_m", "[T, N, D]"},
                                     {"image_queue", "[Q, D]"},     {"text_queue", "[Q, D]"}};

constexpr Objective kRows[] = {
    {"ema_update", "MoCo, BYOL, DINO",
     "He et al. 2020, arXiv 1911.05722; Grill et al. 2020, arXiv 2006.07733",
     "xi = m xi + (1 - m) theta, before the teacher's forward pass or after the optimiser step", Kind::state,
     Across::local, kEmaInputs, list_params<EmaUpdateParams>, run_ema_update},
    {"negative_queue", "MoCo", "He et al. 2020, arXiv 1911.05722",
     "L = mean_i CE([q_i . k_i ; q_i Q^T] / temperature, 0) on the queue as it was; then k enters at the "
     "pointer",
     Kind::state, Across::negatives, kQueueInputs, list_params<NegativeQueueParams>, run_negative_queue},
    {"shuffle_bn", "MoCo", "He et al. 2020, arXiv 1911.05722", "y[perm[r]] = bn_group(x[perm])[r]",
     Kind::state, Across::statistics, kShuffleInputs, list_params<ShuffleBnParams>, run_shuffle_bn},
    {"albef_momentum_state", "ALBEF", "Li et al. 2021, arXiv 2107.07651",
     "theta' = m theta' + (1 - m) theta before the momentum pass; image and text keys enter their queues "
     "together",
     Kind::state, Across::local, kAlbefInputs, list_params<AlbefMomentumParams>, run_albef_momentum_state},
};

}  // namespace

std::span<const Objective> momentum_rows() { return kRows; }

}  // namespace juxta::ssl
