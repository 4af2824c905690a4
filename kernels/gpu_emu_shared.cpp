#include <algorithm>
#include <cstring>

#include "kernels/gpu_emu_engine.h"
#include "tensor/error.h"

namespace juxta::emu {

namespace {
constexpr uint16_t kAtomic = 0x8000, kThread = 0x07ff, kSeveral = 0x4000;
constexpr uint64_t kNever = 0;
}  // namespace

// Times before the start of the block mean never. Two readers are kept: the later of two ordered ones says
// all, and of several unordered ones two are enough to accuse any writer, preferably from different warps.
struct Region::Cell {
  uint64_t written = kNever, read[2] = {kNever, kNever}, claimed = kNever;  // claimed: cp.async in flight
  uint16_t writer = 0, reader[2] = {0, 0}, claimer = 0;
};

Region::Region(unsigned char* data, int64_t bytes, bool is_static)
    : data_(data), bytes_(bytes), granule_(4), static_(is_static) {}
Region::~Region() = default;

Region& dynamic_shared() { return *Engine::mine().dynamic; }

void Region::resize(unsigned char* data, int64_t bytes) {
  data_ = data;
  bytes_ = bytes;
  cells_.reset();
}

// Every access begins here: first touch in a launch or block, bounds, alignment.
void Region::enter(int64_t offset, int bytes, int align, const char* verb) {
  Engine& e = Engine::mine();
  if (launch_ != e.launch_serial) {
    launch_ = e.launch_serial;
    if (static_) {
      e.static_shared += static_cast<size_t>((bytes_ + 15) / 16 * 16);
      const size_t all = e.static_shared + e.shape.shared.bytes;
      const size_t limit = e.shape.shared.large ? kLargeSharedBytes : kPlainSharedBytes;
      if (e.static_shared > kPlainSharedBytes || all > limit)
        e.fault(concat("launch limit: ", e.static_shared, " bytes of static and ", e.shape.shared.bytes,
                       " of dynamic shared memory; at most ", kPlainSharedBytes, " static and ", limit,
                       " together", e.shape.shared.large ? "" : " (more with large_shared())"));
    }
  }
  if (block_ != e.start) {
    block_ = e.start;
    std::memset(data_, 0xFF, static_cast<size_t>(bytes_));  // NaN in every float type
  }
  if (!cells_) cells_ = std::make_unique<Cell[]>(static_cast<size_t>((bytes_ + granule_ - 1) / granule_));
  if (offset < 0 || offset + bytes > bytes_)
    e.fault(concat(e.thread_name(e.current), " ", verb, " ", bytes, " bytes at offset ", offset, " of ",
                   static_ ? "a shared array" : "dynamic shared memory", " of ", bytes_, " bytes"));
  if (offset % align != 0)
    e.fault(concat(e.thread_name(e.current), " ", verb, " shared memory at offset ", offset,
                   ", which is not aligned to ", align, " bytes"));
  if (bytes % granule_ != 0 || offset % granule_ != 0) {
    int g = granule_;
    while (bytes % g != 0 || offset % g != 0) g /= 2;
    refine(g);
  }
}

// Narrower accesses than any before: each part inherits the history of its whole.
void Region::refine(int granule) {
  const int64_t old_count = (bytes_ + granule_ - 1) / granule_, count = (bytes_ + granule - 1) / granule;
  auto cells = std::make_unique<Cell[]>(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) cells[i] = cells_[std::min(i * granule / granule_, old_count - 1)];
  cells_ = std::move(cells);
  granule_ = granule;
}

std::string Region::place(int64_t offset) const {
  return concat("offset ", offset, " of ", static_ ? "a shared array of " : "the dynamic shared memory of ",
                bytes_, " bytes");
}

void Region::race(const char* verb, int64_t offset, const char* earlier, unsigned thread) {
  Engine& e = Engine::mine();
  const bool named = (thread & kSeveral) == 0;
  e.fault(concat("shared memory race: ", e.thread_name(e.current), " ", verb, " ", place(offset), ", which ",
                 named ? e.thread_name(thread & kThread) : std::string("other threads"), " ", earlier,
                 " with no barrier between", e.last_barrier()));
}

void Region::check_read(Cell& c, int64_t offset) {
  Engine& e = Engine::mine();
  if (c.claimed >= e.start)
    e.fault(concat(e.thread_name(e.current), " reads ", place(offset), " before the cp.async of ",
                   e.thread_name(c.claimer), " to it was waited for"));
  if (c.written < e.start)
    e.fault(concat("uninitialised shared memory: ", e.thread_name(e.current), " reads ", place(offset),
                   ", which no thread of this block has written", e.last_barrier()));
  const bool several = (c.writer & kSeveral) != 0;
  if (several ? c.written >= e.base : !e.ordered(c.writer & kThread, c.written))
    race("reads", offset, (c.writer & kAtomic) ? "changes atomically" : "has written", c.writer);
}

void Region::check_write(Cell& c, int64_t offset, const char* verb) {
  Engine& e = Engine::mine();
  if (c.claimed >= e.start)
    e.fault(concat(e.thread_name(e.current), " ", verb, " ", place(offset), " before the cp.async of ",
                   e.thread_name(c.claimer), " to it was waited for"));
  if (c.written >= e.start) {
    const bool several = (c.writer & kSeveral) != 0;
    if (several ? c.written >= e.base : !e.ordered(c.writer & kThread, c.written))
      race(verb, offset, (c.writer & kAtomic) ? "changes atomically" : "has written", c.writer);
  }
  for (int k = 0; k < 2; ++k)
    if (c.read[k] >= e.start && !e.ordered(c.reader[k], c.read[k]))
      race(verb, offset, "has read", c.reader[k]);
}

void Region::read(void* to, int64_t offset, int bytes, int align) {
  enter(offset, bytes, align, "reads");
  Engine& e = Engine::mine();
  const auto me = static_cast<uint16_t>(e.current);
  for (int64_t o = offset; o < offset + bytes; o += granule_) {
    Cell& c = cells_[o / granule_];
    check_read(c, o);
    const auto replaceable = [&](int k) {
      return c.reader[k] == me || c.read[k] < e.start || e.ordered(c.reader[k], c.read[k]);
    };
    const bool same_warp = c.reader[0] / kWarp == c.reader[1] / kWarp;
    const int k = replaceable(0)                                                       ? 0
                  : replaceable(1) || (same_warp && me / kWarp != c.reader[1] / kWarp) ? 1
                                                                                       : -1;
    if (k < 0) continue;
    c.reader[k] = me;
    c.read[k] = e.clock;
  }
  e.note(Access::shared_load, reinterpret_cast<uint64_t>(data_) + static_cast<uint64_t>(offset),
         static_cast<uint32_t>(bytes));
  std::memcpy(to, data_ + offset, static_cast<size_t>(bytes));
}

void Region::write(const void* from, int64_t offset, int bytes, int align) {
  enter(offset, bytes, align, "writes");
  Engine& e = Engine::mine();
  for (int64_t o = offset; o < offset + bytes; o += granule_) {
    Cell& c = cells_[o / granule_];
    check_write(c, o, "writes");
    c = {e.clock, {kNever, kNever}, kNever, static_cast<uint16_t>(e.current), {0, 0}, 0};
  }
  e.note(Access::shared_store, reinterpret_cast<uint64_t>(data_) + static_cast<uint64_t>(offset),
         static_cast<uint32_t>(bytes));
  std::memcpy(data_ + offset, from, static_cast<size_t>(bytes));
}

void* Region::atomic(int64_t offset, int bytes) {
  enter(offset, bytes, bytes, "changes");
  Engine& e = Engine::mine();
  ++e.counts.atomics;
  for (int64_t o = offset; o < offset + bytes; o += granule_) {
    Cell& c = cells_[o / granule_];
    if (c.written < e.start) check_read(c, o);
    uint16_t me = static_cast<uint16_t>(e.current | kAtomic);
    const bool pending_atomic = (c.writer & kAtomic) != 0 && c.written >= e.base;
    if (pending_atomic) {  // atomics need no order among themselves, but all need one before a plain access
      if ((c.writer & (kSeveral | kThread)) != (me & kThread)) me |= kSeveral;
    } else {
      check_write(c, o, "changes atomically");
    }
    c = {e.clock, {kNever, kNever}, kNever, me, {0, 0}, 0};
  }
  return data_ + offset;
}

void Region::begin_copy(int64_t offset, int bytes) {
  enter(offset, bytes, bytes, "copies to");
  Engine& e = Engine::mine();
  for (int64_t o = offset; o < offset + bytes; o += granule_) {
    Cell& c = cells_[o / granule_];
    check_write(c, o, "copies to");
    c.claimed = e.clock;
    c.claimer = static_cast<uint16_t>(e.current);
  }
  e.note(Access::shared_store, reinterpret_cast<uint64_t>(data_) + static_cast<uint64_t>(offset),
         static_cast<uint32_t>(bytes));
}

void Region::finish_copy(const void* from, int64_t offset, int bytes, int copied) {
  Engine& e = Engine::mine();
  for (int64_t o = offset; o < offset + bytes; o += granule_)
    cells_[o / granule_] = {e.clock, {kNever, kNever}, kNever, static_cast<uint16_t>(e.current), {0, 0}, 0};
  std::memset(data_ + offset, 0, static_cast<size_t>(bytes));
  if (copied > 0) std::memcpy(data_ + offset, from, static_cast<size_t>(copied));
}

}  // namespace juxta::emu
