#include "ssl/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>

#include "tensor/file.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace juxta::ssl {

const Tensor& Batch::operator[](const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [n, t] : tensors) {
    if (n == name) return t;
    names.push_back(n);
  }
  std::string list;
  for (const std::string& n : names) list += (list.empty() ? "" : ", ") + n;
  JX_FAIL("batch: no tensor '", name, "'; it holds ", list);
}

std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const Draw draw{mix_key(seed, stream_id("order")), static_cast<uint64_t>(epoch)};
  for (int64_t i = n - 1; i > 0;
       --i) {  // Fisher-Yates; 64 bits of randomness keep the modulo unbiased enough
    const uint64_t high = draw.bits(2 * static_cast<uint64_t>(i)),
                   low = draw.bits(2 * static_cast<uint64_t>(i) + 1);
    std::swap(order[static_cast<size_t>(i)],
              order[static_cast<size_t>((high << 32 | low) % static_cast<uint64_t>(i + 1))]);
  }
  return order;
}

struct Loader::Impl {
  const ImageSet& set;
  std::vector<ViewSpec> views;
  LoaderOptions options;
  const PixelStats* stats;
  int64_t per_epoch;

  std::mutex mutex;
  std::condition_variable ready, room;
  std::map<int64_t, Batch> done;  // by serial number: epoch * per_epoch + index
  std::map<int64_t, std::exception_ptr> failed;
  int64_t to_render = 0, to_deliver = 0;
  uint64_t generation = 0;  // bumped by seek(): what older workers finish is dropped
  bool stopping = false;
  int64_t order_epoch = -1;
  std::vector<int64_t> order;
  std::vector<std::thread> workers;

  Impl(const ImageSet& s, std::vector<ViewSpec> v, const LoaderOptions& o, const PixelStats* p)
      : set(s), views(std::move(v)), options(o), stats(p) {
    for (const ViewSpec& view : views) view.config.check("loader: " + view.name);
    JX_CHECK(o.workers >= 0 && o.workers <= 256, "train.workers: expected 0 to 256, got ", o.workers);
    JX_CHECK(o.batch >= 1, "train.batch: expected at least 1, got ", o.batch);
    per_epoch = o.drop_last ? set.size() / o.batch : (set.size() + o.batch - 1) / o.batch;
    JX_CHECK(per_epoch > 0, "train.batch: ", o.batch, " is more than the ", set.size(),
             " training images; use a smaller batch");
  }

  // Samples of one batch; the permutation of an epoch is made once.
  std::vector<int64_t> samples_of(int64_t epoch, int64_t index) {
    const std::lock_guard lock(mutex);
    if (order_epoch != epoch) {
      order = epoch_order(set.size(), options.seed, epoch);
      order_epoch = epoch;
    }
    const int64_t begin = index * options.batch, end = std::min(begin + options.batch, set.size());
    return {order.begin() + begin, order.begin() + end};
  }

  Batch render(int64_t serial) {
    Batch b;
    b.epoch = serial / per_epoch;
    b.index = serial % per_epoch;
    const std::vector<int64_t> samples = samples_of(b.epoch, b.index);
    const std::vector<int64_t> occurrences(samples.size(),
                                           0);  // a permutation draws each sample once an epoch
    b.ids = Tensor::from(std::span<const int64_t>(samples), {static_cast<int64_t>(samples.size())});
    int number = 0;
    for (const ViewSpec& v : views)
      b.tensors.emplace_back(
          v.name, make_views(set, samples, occurrences, v.config, options.seed, b.epoch, number++, stats));
    return b;
  }

  void work() {
    set_num_threads(1);
    std::unique_lock lock(mutex);
    while (!stopping) {
      if (to_render >= to_deliver + options.prefetch) {
        room.wait(lock);
        continue;
      }
      const int64_t serial = to_render++;
      const uint64_t mine = generation;
      lock.unlock();
      Batch b;
      std::exception_ptr failure;
      try {
        b = render(serial);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (mine != generation) continue;
      if (failure)
        failed[serial] = failure;
      else
        done[serial] = std::move(b);
      ready.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    room.notify_all();
    for (std::thread& t : workers) t.join();
    workers.clear();
  }
};

Loader::Loader(const ImageSet& set, std::vector<ViewSpec> views, const LoaderOptions& options,
               const PixelStats* stats)
    : impl_(std::make_unique<Impl>(set, std::move(views), options, stats)) {
  try {
    for (int i = 0; i < options.workers; ++i) impl_->workers.emplace_back([this] { impl_->work(); });
  } catch (const std::system_error& e) {
    const size_t started = impl_->workers.size();
    impl_->stop();
    JX_FAIL("train.workers: only ", started, " of ", options.workers, " threads could be started: ", e.what(),
            "; use fewer");
  }
}
Loader::~Loader() { impl_->stop(); }

int64_t Loader::batches_per_epoch() const { return impl_->per_epoch; }

void Loader::seek(int64_t epoch, int64_t index) {
  const std::lock_guard lock(impl_->mutex);
  impl_->to_render = impl_->to_deliver = epoch * impl_->per_epoch + index;
  ++impl_->generation;
  impl_->done.clear();
  impl_->failed.clear();
  impl_->room.notify_all();
}

Batch Loader::next() {
  Impl& p = *impl_;
  if (p.workers.empty()) return p.render(p.to_deliver++);
  std::unique_lock lock(p.mutex);
  const int64_t serial = p.to_deliver;
  p.ready.wait(lock, [&] { return p.done.count(serial) || p.failed.count(serial); });
  if (const auto it = p.failed.find(serial); it != p.failed.end()) std::rethrow_exception(it->second);
  Batch b = std::move(p.done.extract(serial).mapped());
  ++p.to_deliver;
  p.room.notify_all();
  return b;
}

}  // namespace juxta::ssl
