// Runs grids: the scheduler of an emulated block, its barriers and the launch itself.
#include "kernels/gpu_emu.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "kernels/gpu_emu_engine.h"
#include "tensor/error.h"

namespace juxta::emu {

namespace {

std::string to_text(dim3 d) { return concat("(", d.x, ",", d.y, ",", d.z, ")"); }

// xorshift64*: the order of threads needs variety, not quality.
uint64_t next_random(uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545F4914F6CDD1Du;
}

void shuffle_order(std::vector<unsigned>& order, uint64_t& state) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next_random(state) % i]);
}

void fill_order(std::vector<unsigned>& order, unsigned count) {
  order.resize(count);
  const bool backward = current_schedule().schedule == Schedule::backward;
  for (unsigned i = 0; i < count; ++i) order[i] = backward ? count - 1 - i : i;
}

thread_local ScheduleChoice t_schedule{Schedule::forward, 1};

}  // namespace

ScheduleChoice current_schedule() { return t_schedule; }

ForceSchedule::ForceSchedule(Schedule schedule, uint64_t seed)
    : outer_(t_schedule.schedule), outer_seed_(t_schedule.seed) {
  t_schedule = {schedule, seed ? seed : 1};
}
ForceSchedule::~ForceSchedule() { t_schedule = {outer_, outer_seed_}; }

std::string to_text(const LaunchShape& s) {
  return concat(s.name, "<<<", to_text(s.grid), ", ", to_text(s.block), ", ", s.shared.bytes, ">>>");
}

constinit thread_local Engine* t_engine = nullptr;

Engine::Engine() { t_engine = this; }
Engine::~Engine() { t_engine = nullptr; }

Engine& Engine::mine() {
  if (t_engine) return *t_engine;
  static thread_local Engine engine;
  return engine;
}

std::string Engine::thread_name(unsigned thread) const {
  const uint3 i = threads[thread].index;
  return concat("thread ", to_text(dim3(i.x, i.y, i.z)));
}

std::string Engine::last_barrier() const {
  const Site s = threads[current].site;
  return s.line ? concat("; its last barrier was at ", to_text(s)) : "; it has passed no barrier yet";
}

std::string to_text(Site s) {  // the last two parts of the path say enough
  const std::string_view file = s.file;
  size_t cut = file.rfind('/');
  if (cut != std::string_view::npos && cut > 0) cut = file.rfind('/', cut - 1);
  return concat(cut == std::string_view::npos ? file : file.substr(cut + 1), ":", s.line);
}

void Engine::fault(std::string what) {
  error_ = std::move(what);
  suspend(true);
  std::abort();  // a faulty thread is never continued
}

void Engine::suspend(bool forever) {
  switch_flow(threads[current].fiber->flow(), home_, forever);
}

void Engine::resume(unsigned thread) {
  current = thread;
  threadIdx = threads[thread].index;
  inside = true;
  switch_flow(home_, threads[thread].fiber->flow());
  inside = false;
}

// What each fiber runs: one thread of every block in turn, so that a stack is prepared once only.
void Engine::thread_main() {
  arrive(home_);
  for (;;) {
    try {
      body_(arg_);
    } catch (const std::exception& e) {
      fault(concat(thread_name(current), " threw: ", e.what()));
    } catch (...) {
      fault(concat(thread_name(current), " threw"));
    }
    Thread& t = threads[current];
    t.state = State::done;
    ++exited_;
    warps_[current / kWarp].exited |= 1u << current % kWarp;
    suspend();
  }
}

void Engine::set_up(unsigned thread_count) {
  count_ = thread_count;
  while (threads.size() < thread_count) {
    threads.emplace_back();
    threads.back().fiber = std::make_unique<Fiber>(threads.size() - 1);
  }
  warps_.resize((thread_count + kWarp - 1) / kWarp);
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread& t = threads[i];
    t.index = {i % shape.block.x, i / shape.block.x % shape.block.y, i / (shape.block.x * shape.block.y)};
  }
}

void Engine::order_threads() {
  if (current_schedule().schedule == Schedule::shuffled) shuffle_order(order_, random_);
}

void Engine::run_block() {
  arrived_ = exited_ = 0;
  votes_ = 0;
  start = base = ++clock;
  for (unsigned w = 0; w < warps_.size(); ++w) {
    const unsigned lanes = std::min(kWarp, count_ - w * kWarp);
    warps_[w].present = lanes == kWarp ? kFullMask : (1u << lanes) - 1;
    warps_[w].exited = warps_[w].waiting = 0;
    warps_[w].base = start;
  }
  for (unsigned i = 0; i < count_; ++i) {
    Thread& t = threads[i];
    if (!t.started) t.fiber->restart([] { Engine::mine().thread_main(); });
    t.started = true;
    t.state = State::ready;
    t.site = {};
    t.copies.clear();
    t.groups = 0;
  }
  for (;;) {
    bool ran = false;
    order_threads();
    for (const unsigned i : order_) {
      if (threads[i].state != State::ready) continue;
      ran = true;
      resume(i);
      if (!error_.empty()) return;
    }
    if (ran) continue;
    if (exited_ < count_) error_ = diagnose();
    flush_all();
    return;
  }
}

int Engine::block_barrier(int predicate, Site site) {
  Thread& me = threads[current];
  me.site = site;
  votes_ += predicate != 0;
  if (++arrived_ < count_) {
    me.state = State::block_wait;
    suspend();
    return vote_result_;
  }
  for (unsigned i = 0; i < count_; ++i)
    if (threads[i].site.line != site.line || std::strcmp(threads[i].site.file, site.file) != 0) {
      me.state = State::block_wait;
      fault(diagnose());
    }
  for (unsigned i = 0; i < count_; ++i) threads[i].state = State::ready;
  vote_result_ = votes_;
  votes_ = 0;
  arrived_ = 0;
  base = ++clock;
  ++counts.barriers;
  flush_all();
  return vote_result_;
}

void Engine::check_shape() const {
  const auto& s = shape;
  const unsigned block[3] = {s.block.x, s.block.y, s.block.z}, grid[3] = {s.grid.x, s.grid.y, s.grid.z};
  static constexpr const char* kAxis[] = {"x", "y", "z"};
  for (int k = 0; k < 3; ++k) {
    JX_CHECK(block[k] >= 1 && block[k] <= kMaxBlock[k], s, ": launch limit: block.", kAxis[k],
             ": expected 1 to ", kMaxBlock[k], ", got ", block[k]);
    JX_CHECK(grid[k] >= 1 && grid[k] <= kMaxGrid[k], s, ": launch limit: grid.", kAxis[k], ": expected 1 to ",
             kMaxGrid[k], ", got ", grid[k], grid[k] ? "" : "; skip the launch when there is no work");
  }
  const uint64_t total = uint64_t{block[0]} * block[1] * block[2];
  JX_CHECK(total <= kMaxBlockThreads, s, ": launch limit: ", total, " threads in a block; at most ",
           kMaxBlockThreads);
  JX_CHECK(s.shared.bytes <= kPlainSharedBytes || s.shared.large, s, ": launch limit: ", s.shared.bytes,
           " bytes of dynamic shared memory; more than ", kPlainSharedBytes, " need large_shared()");
  JX_CHECK(s.shared.bytes <= kLargeSharedBytes, s, ": launch limit: ", s.shared.bytes,
           " bytes of dynamic shared memory; at most ", kLargeSharedBytes);
}

void Engine::run(const LaunchShape& launch_shape, void (*body)(void*), void* arg) {
  if (inside) fault(concat("a kernel launches ", launch_shape.name, "; only the host may"));
  shape = launch_shape;
  check_shape();
  arm_signal_handler();
  adopt_thread(home_);
  set_up(shape.block.x * shape.block.y * shape.block.z);
  dynamic_bytes.resize(shape.shared.bytes + 128);
  const auto at = (reinterpret_cast<uintptr_t>(dynamic_bytes.data()) + 127) & ~uintptr_t{127};
  if (!dynamic) dynamic = std::make_unique<Region>(nullptr, 0, false);
  dynamic->resize(reinterpret_cast<unsigned char*>(at), static_cast<int64_t>(shape.shared.bytes));
  body_ = body;
  arg_ = arg;
  ++launch_serial;
  static_shared = 0;
  random_ = current_schedule().seed;
  counts = {};
  counts.kernel = shape.name;
  counts.launches = 1;
  blockDim = shape.block;
  gridDim = shape.grid;
  fill_order(order_, count_);
  const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  JX_CHECK(blocks <= 0x7fffffffu, shape, ": ", blocks, " blocks are too many to emulate");
  std::vector<unsigned> block_order;
  fill_order(block_order, static_cast<unsigned>(blocks));
  if (current_schedule().schedule == Schedule::shuffled) shuffle_order(block_order, random_);
  for (const unsigned b : block_order) {
    blockIdx = {b % shape.grid.x, b / shape.grid.x % shape.grid.y, b / shape.grid.x / shape.grid.y};
    ++counts.blocks;
    run_block();
    if (!error_.empty()) break;
  }
  add_counters(counts);
  if (error_.empty()) {
    const std::string beside = check_canaries();
    JX_CHECK(beside.empty(), shape, ": ", beside);
    return;
  }
  for (Thread& t : threads) t.started = false;  // their stacks hold the frames of an unfinished kernel
  for (Warp& w : warps_) w = Warp{};
  const std::string what = std::exchange(error_, {});
  JX_FAIL(shape, ": block ", to_text(dim3(blockIdx.x, blockIdx.y, blockIdx.z)), ": ", what);
}

namespace detail {
void run_grid(const LaunchShape& shape, void (*body)(void*), void* arg) {
  Engine::mine().run(shape, body, arg);
}
int block_barrier(int predicate, Site site) { return Engine::mine().block_barrier(predicate, site); }
}  // namespace detail

}  // namespace juxta::emu
