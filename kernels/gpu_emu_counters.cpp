// Counts global traffic, bank conflicts and barriers; runs the copies of cp.async when they are waited for.
#include <algorithm>
#include <map>
#include <mutex>

#include "kernels/gpu_emu_engine.h"
#include "tensor/error.h"

namespace juxta::emu {

namespace {

std::mutex g_mutex;
std::map<std::string, Counters>& totals() {
  static std::map<std::string, Counters> map;
  return map;
}

constexpr size_t kLogged = 1 << 14;  // touches of a lane kept until a barrier; more count one by one

// Distinct 32-byte sectors under the touches of one warp instruction.
uint64_t sectors(const Touch* const touches[kWarp]) {
  uint64_t found[kWarp * 2];
  uint64_t n = 0;
  for (unsigned l = 0; l < kWarp; ++l) {
    if (!touches[l]) continue;
    const uint64_t last = (touches[l]->address + touches[l]->bytes - 1) / 32;
    for (uint64_t s = touches[l]->address / 32; s <= last; ++s)
      if (std::find(found, found + n, s) == found + n && n < kWarp * 2) found[n++] = s;
  }
  return n;
}

// Extra passes of one shared memory instruction: 32 banks of 4 bytes; lanes are served 32, 16 or 8 at a time
// for accesses of up to 4, 8 or 16 bytes, and lanes that want the same word share it.
uint64_t conflicts(const Touch* const touches[kWarp]) {
  uint32_t widest = 4;
  for (unsigned l = 0; l < kWarp; ++l)
    if (touches[l]) widest = std::max(widest, touches[l]->bytes);
  const unsigned together = widest <= 4 ? 32 : widest <= 8 ? 16 : 8;
  uint64_t extra = 0;
  for (unsigned begin = 0; begin < kWarp; begin += together) {
    uint64_t words[32][kWarp];  // per bank
    unsigned count[32] = {}, most = 0;
    for (unsigned l = begin; l < begin + together; ++l) {
      if (!touches[l]) continue;
      const uint64_t last = (touches[l]->address + touches[l]->bytes - 1) / 4;
      for (uint64_t w = touches[l]->address / 4; w <= last; ++w) {
        uint64_t* bank = words[w % 32];
        unsigned& n = count[w % 32];
        if (std::find(bank, bank + n, w) == bank + n && n < kWarp) bank[n++] = w;
        most = std::max(most, n);
      }
    }
    if (most > 1) extra += most - 1;
  }
  return extra;
}

}  // namespace

void Engine::note(Access kind, uint64_t address, uint32_t bytes) {
  if (kind == Access::global_load) counts.load_bytes += bytes;
  else if (kind == Access::global_store) counts.store_bytes += bytes;
  else ++counts.shared_accesses;
  Warp& w = warps_[current / kWarp];
  const int k = static_cast<int>(kind);
  auto& list = w.touched[k][current % kWarp];
  if (list.size() < kLogged) {
    list.push_back({address, bytes});
    w.dirty[k] = true;
  } else if (kind <= Access::global_store) {
    const uint64_t alone = (address + bytes - 1) / 32 - address / 32 + 1;
    (kind == Access::global_load ? counts.load_sectors : counts.store_sectors) += alone;
  }
}

void Engine::flush(Warp& w) {
  for (int k = 0; k < kAccessKinds; ++k) {
    if (!w.dirty[k]) continue;
    w.dirty[k] = false;
    size_t longest = 0;
    for (const auto& list : w.touched[k]) longest = std::max(longest, list.size());
    uint64_t* const to = k == static_cast<int>(Access::global_load)    ? &counts.load_sectors
                         : k == static_cast<int>(Access::global_store) ? &counts.store_sectors
                                                                       : &counts.bank_conflicts;
    for (size_t n = 0; n < longest; ++n) {
      const Touch* touches[kWarp];
      for (unsigned l = 0; l < kWarp; ++l)
        touches[l] = n < w.touched[k][l].size() ? &w.touched[k][l][n] : nullptr;
      *to += to == &counts.bank_conflicts ? conflicts(touches) : sectors(touches);
    }
    for (auto& list : w.touched[k]) list.clear();
  }
}

void Engine::flush_all() {
  for (Warp& w : warps_) flush(w);
}

void add_counters(const Counters& c) {
  const std::lock_guard lock(g_mutex);
  Counters& t = totals()[c.kernel];
  t.kernel = c.kernel;
  t.launches += c.launches;
  t.blocks += c.blocks;
  t.load_bytes += c.load_bytes;
  t.load_sectors += c.load_sectors;
  t.store_bytes += c.store_bytes;
  t.store_sectors += c.store_sectors;
  t.atomics += c.atomics;
  t.shared_accesses += c.shared_accesses;
  t.bank_conflicts += c.bank_conflicts;
  t.barriers += c.barriers;
  t.warp_calls += c.warp_calls;
}

std::vector<Counters> counters() {
  const std::lock_guard lock(g_mutex);
  std::vector<Counters> all;
  for (const auto& [name, c] : totals()) all.push_back(c);
  return all;
}

Counters counters(const std::string& name) {
  const std::lock_guard lock(g_mutex);
  const auto it = totals().find(name);
  return it == totals().end() ? Counters{.kernel = name} : it->second;
}

void reset_counters() {
  const std::lock_guard lock(g_mutex);
  totals().clear();
}

namespace detail {

void note_global(const void* p, size_t bytes, size_t align, bool writes) {
  Engine& e = Engine::mine();
  if (reinterpret_cast<uintptr_t>(p) % align != 0)
    e.fault(concat("misaligned: ", e.thread_name(e.current), writes ? " writes " : " reads ", bytes,
                   " bytes at ", describe_address(p)));
  check_global(p, bytes, writes);
  e.note(writes ? Access::global_store : Access::global_load, reinterpret_cast<uint64_t>(p),
         static_cast<uint32_t>(bytes));
}

void note_atomic(const void* p, size_t bytes) {
  check_global(p, bytes, true);
  ++Engine::mine().counts.atomics;
}

void copy_async(Region* to, int64_t offset, const void* from, int bytes) {
  Engine& e = Engine::mine();
  if (bytes < 0 || bytes > 16) e.fault(concat("cp.async: bytes: expected 0 to 16, got ", bytes));
  if (bytes > 0) note_global(from, static_cast<size_t>(bytes), 16, false);
  to->begin_copy(offset, 16);
  Thread& t = e.threads[e.current];
  t.copies.push_back({to, offset, from, bytes, t.groups});
}
void commit_copies() { Engine::mine().commit_copies(); }
void wait_copies(int left) { Engine::mine().wait_copies(left); }

}  // namespace detail

void Engine::commit_copies() { ++threads[current].groups; }

// Lands the copies of all groups but the last `left`; left < 0: also those not committed.
void Engine::wait_copies(int left) {
  Thread& t = threads[current];
  const auto landed = [&](const AsyncCopy& c) { return left < 0 || c.group < t.groups - left; };
  for (const AsyncCopy& c : t.copies)
    if (landed(c)) c.to->finish_copy(c.from, c.offset, 16, c.bytes);
  std::erase_if(t.copies, landed);
}

}  // namespace juxta::emu
