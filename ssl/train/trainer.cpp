#include "ssl/train/trainer.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>

#include "ssl/train/health.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

std::atomic<int> g_stop{0};
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The recipe's model for these images.
nn::ModelConfig model_for(const Recipe& r, const ImageSet& set) {
  nn::ModelConfig m = r.model;
  const int64_t side = r.view.size ? r.view.size : set.images.size(1);
  JX_CHECK(r.view.size || set.images.size(1) == set.images.size(2), "data: images of ", set.images.size(1),
           " x ", set.images.size(2), " pixels are not square; set view.size");
  JX_CHECK(r.view.eval_size == 0 || r.view.eval_size == side || !m.name.starts_with("vit"),
           "view.eval_size: ", m.name, " has position embeddings for images of ", side, " pixels, got ",
           r.view.eval_size, "; leave it out");
  m.in_channels = set.channels();
  m.image_size = side;
  if (m.stem.empty() && side < 96) m.stem = "cifar";
  m.compute = r.train.dtype;
  return m;
}

// What a checkpoint remembers of its training set.
std::string describe(const ImageSet& set) {
  return concat(set.size(), " images of ", set.images.size(1), " x ", set.images.size(2), " x ",
                set.images.size(3), " in ", set.classes.size(), " classes");
}

Task task_for(const Recipe& r, const ImageSet& train, int64_t total_steps) {
  return {model_for(r, train), train.size(), total_steps, r.train.batch, static_cast<uint64_t>(r.train.seed)};
}

int64_t steps_of(const Recipe& r, int64_t per_epoch) {
  const int64_t all = r.train.epochs * per_epoch;
  return r.train.max_steps > 0 ? std::min(all, r.train.max_steps) : all;
}

void on_signal(int number) {
  if (g_stop.fetch_add(1) > 0) {  // the second one does not wait
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

}  // namespace

void request_stop() { g_stop = 1; }
bool stop_requested() { return g_stop != 0; }
void stop_on_signals() {
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, on_signal);
  if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // nohup
  // A closed pipe or a file at its size limit is an error of the write, not the end of the process.
  for (const int number : {SIGPIPE, SIGXFSZ}) std::signal(number, SIG_IGN);
}

Trainer::Trainer(Recipe& recipe, const ImageData& data)
    : recipe_(recipe), data_(data), dropout_rng_(static_cast<uint64_t>(recipe.train.seed), "dropout") {
  recipe.check("recipe");
  const TrainConfig& t = recipe.train;
  JX_CHECK(t.batch / t.accumulate >= 2, "train.batch: ", t.batch, t.accumulate > 1 ? " in parts of 1" : "",
           ": batch norm and contrast need at least 2 images a step");
  JX_CHECK(t.batch <= data.train.size(), "train.batch: ", t.batch, " images a step, the training set has ",
           data.train.size());
  batches_per_epoch_ = data.train.size() / t.batch;
  total_steps_ = steps_of(recipe, batches_per_epoch_);
  if (recipe.view.normalize) stats_ = pixel_stats(data.train);
  recipe.method->build(task_for(recipe, data.train, std::max<int64_t>(total_steps_, 1)));
  const OptimConfig& o = recipe.optim;
  optimizer_ = std::make_unique<Optimizer>(o.name, recipe.method->trainable(), o.options());
  lr_ = o.lr_schedule(t.batch, batches_per_epoch_, total_steps_);
  weight_decay_ = o.weight_decay_schedule(total_steps_);
}

Trainer::~Trainer() = default;

double Trainer::lr_at(int64_t step) const { return lr_.at(step); }

void Trainer::check_finite(double loss) const {
  JX_CHECK(std::isfinite(loss), "train: the loss of step ", step_, " is ", loss,
           "; the last checkpoint is kept. Try a lower optim.lr, a longer optim.warmup_steps, "
           "train.clip_norm=1, or look for NaN "
           "in the data");
}

bool Trainer::minimize(const Var& loss, bool last_part) {
  check_finite(loss.item());
  const double scale = 1.0 / static_cast<double>(recipe_.train.accumulate);
  const Tensor seed = Tensor::full(loss.dims(), scale, loss.dtype());
  backward(std::span(&loss, 1), std::span(&seed, 1));
  if (!last_part) return false;
  const double clip = recipe_.train.clip_norm;
  grad_norm_ =
      clip > 0 ? clip_grad_norm(optimizer_->parameters(), clip) : grad_norm(optimizer_->parameters());
  optimizer_->step(lr_at(step_), weight_decay_.at(step_));
  optimizer_->zero_grad();
  return true;
}

double Trainer::step_once(Loader& loader) {
  const int64_t parts = recipe_.train.accumulate, size = recipe_.train.batch / parts;
  double loss = 0;
  const Batch whole = loader.next();
  for (int64_t part = 0; part < parts; ++part) {
    Batch b = whole;
    if (parts > 1) {
      for (auto& [name, t] : b.tensors) t = t.slice(0, part * size, (part + 1) * size);
      b.ids = b.ids.slice(0, part * size, (part + 1) * size);
    }
    StepContext context;
    context.step = step_;
    context.total_steps = total_steps_;
    context.epoch = epoch_;
    context.nn = {.training = true, .rng = &dropout_rng_};
    context.first_part = part == 0;
    context.last_part = part + 1 == parts;
    context.chunk = recipe_.train.chunk;
    context.minimize = [&](const Var& l) { return minimize(l, part + 1 == parts); };
    last_ = recipe_.method->step(b, context);
    loss += last_.loss / static_cast<double>(parts);
  }
  last_.loss = loss;
  ++step_;
  if (++batch_ == batches_per_epoch_) {
    batch_ = 0;
    ++epoch_;
  }
  return loss;
}

void Trainer::end_of_epoch(MetricsLog& log, Progress& progress) {
  const auto pass = [this](const std::function<void(const Batch&)>& visit) {
    const int64_t n = data_.train.size(), size = recipe_.train.batch;
    for (int64_t begin = 0; begin < n; begin += size) {
      const int64_t end = std::min(begin + size, n);
      Batch b;
      b.ids = Tensor::arange(n).slice(0, begin, end).contiguous();
      b.tensors.emplace_back("image", plain_images(data_.train, begin, end, recipe_.view, stats()));
      visit(b);
    }
  };
  recipe_.method->epoch_end(epoch_ - 1, pass);
  const int64_t every = recipe_.train.monitor_every;
  if (every > 0 && (epoch_ % every == 0 || step_ == total_steps_)) monitor(log, progress);
}

void Trainer::monitor(MetricsLog& log, Progress& progress) {
  const HealthReport health =
      check_health(*recipe_.method, last_, data_, recipe_.view, stats(), recipe_.train.monitor_images);
  Figures figures = health.figures;
  figures.insert(figures.begin(), {"epoch", static_cast<double>(epoch_)});
  figures.emplace_back("collapsed", health.alarm.empty() ? 0.0 : 1.0);
  log.write("epoch", step_, figures);
  progress.message(concat("epoch ", epoch_, ": ", health.line));
  if (!health.alarm.empty()) progress.warn(health.alarm);
}

Checkpoint Trainer::snapshot() const {
  Checkpoint c;
  c.recipe = recipe_.to_toml();
  c.step = step_, c.epoch = epoch_, c.batch_in_epoch = batch_, c.seconds = seconds_;
  c.extra["rng.dropout"] = std::to_string(dropout_rng_.draws());
  c.extra["data.train"] = describe(data_.train);
  for (auto& [name, t] : nn::state_dict(*recipe_.method, "method.")) c.tensors.emplace_back(name, t);
  for (auto& [name, t] : optimizer_->state()) c.tensors.emplace_back("optim." + name, t);
  return c;
}

namespace {
// The tensors of `c` whose names start with `prefix`, without it.
nn::StateDict part_of(const Checkpoint& c, const std::string& prefix) {
  nn::StateDict out;
  for (const auto& [name, t] : c.tensors)
    if (name.rfind(prefix, 0) == 0) out.emplace_back(name.substr(prefix.size()), t);
  return out;
}
}  // namespace

void Trainer::restore(const Checkpoint& c) {
  const auto data = c.extra.find("data.train");
  JX_CHECK(data == c.extra.end() || data->second == describe(data_.train), "checkpoint: trained on ",
           data->second, ", this data set has ", describe(data_.train));
  JX_CHECK(c.epoch <= c.step && c.batch_in_epoch < batches_per_epoch_ &&
               c.step == c.epoch * batches_per_epoch_ + c.batch_in_epoch,
           "checkpoint: step ", c.step, " is not batch ", c.batch_in_epoch, " of epoch ", c.epoch, " with ",
           batches_per_epoch_, " batches an epoch; the file is damaged, or of other data");
  nn::load_state_strict(nn::named_state(*recipe_.method), part_of(c, "method."), "checkpoint");
  optimizer_->load_state(part_of(c, "optim."));
  step_ = c.step, epoch_ = c.epoch, batch_ = c.batch_in_epoch, seconds_ = c.seconds;
  const auto draws = c.extra.find("rng.dropout");
  if (draws != c.extra.end()) dropout_rng_.set_draws(std::strtoull(draws->second.c_str(), nullptr, 10));
}

namespace {
// Mean momentum coefficient of an adaptive optimiser's last step; NaN for the others.
double mean_beta(const Optimizer& optimizer) {
  double sum = 0, count = 0;
  for (const double b : optimizer.last_beta())
    if (std::isfinite(b)) sum += b, count += 1;
  return sum / count;
}
}  // namespace

void Trainer::resume(const std::string& run, Progress& progress) {
  const Checkpoint c = load_checkpoint(run);
  const std::vector<std::string> changes = resume_changes(c.recipe, recipe_, run);
  JX_CHECK(c.step <= total_steps_, run, ": --resume: it is at step ", c.step, ", the recipe ends at step ",
           total_steps_, "; raise train.max_steps or train.epochs");
  restore(c);
  for (const std::string& change : changes) progress.warn("resumed with " + change);
}

RunSummary Trainer::train(const RunOptions& options) {
  namespace fs = std::filesystem;
  const TrainConfig& t = recipe_.train;
  std::error_code code;
  fs::create_directories(options.out, code);
  JX_CHECK(fs::is_directory(options.out), "run ", options.out, ": cannot make this folder");
  const bool has_run = !checkpoint_files(options.out).empty();
  JX_CHECK(options.resume || !has_run, "run ", options.out,
           ": there is a run already; use --resume, or another --out");
  Progress progress(options.quiet);
  if (options.resume && has_run) resume(options.out, progress);
  write_file(options.out + "/recipe.toml", recipe_.to_toml());
  MetricsLog log(options.out, step_);
  Loader loader(
      data_.train, recipe_.method->views(recipe_.view),
      {.batch = t.batch, .seed = static_cast<uint64_t>(t.seed), .workers = static_cast<int>(t.workers)},
      stats());
  loader.seek(epoch_, batch_);

  RunSummary s;
  const double seconds_before = seconds_;
  const int64_t first_step = step_;
  double last_save = now();
  while (step_ < total_steps_) {
    const double start = now();
    const double lr = lr_at(step_);
    s.loss = step_once(loader);
    seconds_ += now() - start;
    const double rate = static_cast<double>((step_ - first_step) * t.batch) / (seconds_ - seconds_before);
    progress.show(step_, total_steps_, s.loss, lr, rate,
                  static_cast<double>((total_steps_ - step_) * t.batch) / rate);
    if (step_ % std::max<int64_t>(t.log_every, 1) == 0 || step_ == total_steps_) {
      Figures f{{"loss", s.loss},
                {"lr", lr},
                {"grad_norm", grad_norm_},
                {"images_per_second", rate},
                {"seconds", seconds_}};
      if (const double beta = mean_beta(*optimizer_); std::isfinite(beta)) f.push_back({"beta", beta});
      f.insert(f.end(), last_.terms.begin(), last_.terms.end());
      log.write("step", step_, f);
    }
    s.images_per_second = rate;
    if (stop_requested())
      s.end = RunEnd::interrupted;
    else if (t.max_seconds > 0 && seconds_ >= t.max_seconds && step_ < total_steps_)
      s.end = RunEnd::time_limit;
    try {
      if (batch_ == 0 || step_ == total_steps_)
        end_of_epoch(log, progress);
      else if (s.end == RunEnd::time_limit && t.monitor_every > 0)
        monitor(log, progress);
    } catch (const Error&) {  // the training done so far is not lost to what looks at it
      save_checkpoint(options.out, snapshot(), t.keep);
      throw;
    }
    if (s.end != RunEnd::finished) break;
    if (now() - last_save > 60 * t.checkpoint_minutes) {
      save_checkpoint(options.out, snapshot(), t.keep);
      last_save = now();
    }
  }
  progress.finish();
  save_checkpoint(options.out, snapshot(), t.keep);
  s.steps = step_;
  s.seconds = seconds_;
  return s;
}

LoadedRun open_run(const std::string& run) {
  LoadedRun r;
  r.checkpoint = load_checkpoint(run);
  r.recipe = parse_recipe(r.checkpoint.recipe, run + " (recipe in the checkpoint)");
  return r;
}

void build_untrained(LoadedRun& run, const ImageSet& train) {
  Recipe& r = run.recipe;
  const int64_t per_epoch = std::max<int64_t>(1, train.size() / r.train.batch);
  r.method->build(task_for(r, train, std::max<int64_t>(1, steps_of(r, per_epoch))));
}

void build_method(LoadedRun& run, const ImageSet& train) {
  build_untrained(run, train);
  nn::load_state_strict(nn::named_state(*run.recipe.method), part_of(run.checkpoint, "method."),
                        "checkpoint");
}

}  // namespace juxta::ssl
