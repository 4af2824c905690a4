// Calls that the lanes of a warp make together, and what is said when threads wait for ever.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/gpu_emu_engine.h"
#include "tensor/error.h"

namespace juxta::emu {

namespace {

std::string hex(unsigned mask) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string s = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) s += kDigits[mask >> shift & 15];
  return s;
}

bool same_site(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

// __syncwarp may stand on several lines; a shuffle or vote is one instruction.
bool same_call(const Thread& a, const Thread& b) {
  return a.mask == b.mask && a.call == b.call &&
         (a.call == detail::sync_warp || same_site(a.site, b.site));
}

}  // namespace

bool Engine::ordered(unsigned thread, uint64_t when) const {
  if (thread == current || when < base) return true;
  if (thread / kWarp != current / kWarp) return false;
  const Warp& w = warps_[current / kWarp];
  return when < w.base || when < w.seen[current % kWarp][thread % kWarp];
}

void Engine::warp_call(WarpFn call, unsigned mask, void* data, Site site) {
  const unsigned lane = current % kWarp, first = current - lane;
  Warp& w = warps_[current / kWarp];
  Thread& me = threads[current];
  me.site = site;
  if (!(mask >> lane & 1))
    fault(concat("warp mask at ", to_text(site), ": ", thread_name(current), " is lane ", lane,
                 ", which its own mask ", hex(mask), " does not name"));
  if (const unsigned absent = mask & ~w.present)
    fault(concat("warp mask at ", to_text(site), ": mask ", hex(mask), " names lane ",
                 std::countr_zero(absent), ", but the warp has ", std::popcount(w.present), " lanes"));
  if (const unsigned gone = mask & w.exited)
    fault(concat("warp mask at ", to_text(site), ": mask ", hex(mask), " names lane ", std::countr_zero(gone),
                 " (", thread_name(first + static_cast<unsigned>(std::countr_zero(gone))),
                 "), which has exited"));
  me.mask = mask;
  me.call = call;
  me.data = data;
  w.waiting |= 1u << lane;
  bool complete = (w.waiting & mask) == mask;
  for (unsigned l = 0; complete && l < kWarp; ++l)
    complete = !(mask >> l & 1) || same_call(threads[first + l], me);
  if (complete) {
    complete_warp_call(w, mask);
    return;
  }
  me.state = State::warp_wait;
  suspend();
}

void Engine::complete_warp_call(Warp& w, unsigned mask) {
  const unsigned first = current - current % kWarp;
  void* data[kWarp] = {};
  for (unsigned l = 0; l < kWarp; ++l) {
    if (!(mask >> l & 1)) continue;
    data[l] = threads[first + l].data;
    threads[first + l].state = State::ready;
  }
  w.waiting &= ~mask;
  ++counts.warp_calls;
  const WarpFn call = threads[current].call;
  if (call == detail::sync_warp) {
    sync_lanes(w, mask);
  } else {
    call(data, mask);
  }
  if (mask == (w.present & ~w.exited)) flush(w);
}

// Everything a lane of the mask did, or knew to come before it, now comes before what the others do next.
void Engine::sync_lanes(Warp& w, unsigned mask) {
  const uint64_t now = ++clock;
  if (mask == (w.present & ~w.exited)) {
    w.base = now;
    return;
  }
  uint64_t known[kWarp] = {};
  for (unsigned l = 0; l < kWarp; ++l) {
    if (!(mask >> l & 1)) continue;
    for (unsigned k = 0; k < kWarp; ++k) known[k] = std::max(known[k], w.seen[l][k]);
  }
  for (unsigned l = 0; l < kWarp; ++l)
    if (mask >> l & 1) known[l] = now;
  for (unsigned l = 0; l < kWarp; ++l)
    if (mask >> l & 1) std::copy(known, known + kWarp, w.seen[l]);
}

// No thread can go on. A warp call that can never complete explains more than the barrier behind it.
std::string Engine::diagnose() const {
  if (std::string text = diagnose_warps(); !text.empty()) return text;
  struct Group {
    Site site;
    unsigned threads;
  };
  std::vector<Group> groups;
  for (unsigned i = 0; i < count_; ++i) {
    const Thread& t = threads[i];
    if (t.state == State::done) continue;
    const auto it =
        std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return same_site(g.site, t.site); });
    if (it == groups.end()) groups.push_back({t.site, 1});
    else ++it->threads;
  }
  std::string text = "barrier divergence: ";
  for (size_t k = 0; k < groups.size(); ++k)
    text += concat(k ? " and " : "", groups[k].threads, k ? "" : concat(" of ", count_, " threads"),
                   " wait at ", to_text(groups[k].site));
  if (exited_) text += concat(", ", exited_, " have exited");
  return text;
}

std::string Engine::diagnose_warps() const {
  for (unsigned i = 0; i < count_; ++i) {
    const Thread& t = threads[i];
    if (t.state != State::warp_wait) continue;
    const unsigned first = i - i % kWarp;
    const Warp& w = warps_[i / kWarp];
    if (const unsigned gone = t.mask & w.exited) {
      const auto lane = static_cast<unsigned>(std::countr_zero(gone));
      return concat("warp mask at ", to_text(t.site), ": mask ", hex(t.mask), " of ", thread_name(i),
                    " names lane ", lane, " (", thread_name(first + lane), "), which has exited");
    }
    for (unsigned l = 0; l < kWarp; ++l) {
      if (!(t.mask >> l & 1)) continue;
      const Thread& other = threads[first + l];
      if (other.state == State::warp_wait && same_call(t, other)) continue;
      const bool in_warp_call = other.state == State::warp_wait;
      return concat("warp divergence: ", thread_name(i), " waits at ", to_text(t.site), " with mask ",
                    hex(t.mask), ", but ", thread_name(first + l), " waits at ", to_text(other.site),
                    in_warp_call ? concat(" with mask ", hex(other.mask)) : " for the whole block");
    }
  }
  return {};
}

namespace detail {

void warp_call(WarpFn call, unsigned mask, void* data, Site site) {
  Engine::mine().warp_call(call, mask, data, site);
}

void sync_warp(void* const*, unsigned) {}  // its address marks the call; the engine does the work

void shuffle(void* const data[kWarp], unsigned mask) {
  Engine& e = Engine::mine();
  for (unsigned l = 0; l < kWarp; ++l) {
    if (!(mask >> l & 1)) continue;
    auto* s = static_cast<Shuffle*>(data[l]);
    if (!s->own && !(mask >> s->source & 1))
      e.fault(concat("shuffle at ", to_text(e.threads[e.current].site), ": lane ", l, " reads lane ",
                     s->source, ", which mask ", hex(mask), " does not name"));
    s->out = s->own ? s->in : static_cast<const Shuffle*>(data[s->source])->in;
  }
}

void ballot(void* const data[kWarp], unsigned mask) {
  unsigned votes = 0;
  for (unsigned l = 0; l < kWarp; ++l)
    if (mask >> l & 1) votes |= (*static_cast<unsigned*>(data[l]) & 1u) << l;
  for (unsigned l = 0; l < kWarp; ++l)
    if (mask >> l & 1) *static_cast<unsigned*>(data[l]) = votes;
}

void bad_width(int width) {
  Engine::mine().fault(
      concat("shuffle: width: expected a power of two from 1 to 32, got ", width));
}

}  // namespace detail

}  // namespace juxta::emu
