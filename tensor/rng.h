#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011).
//
// The value of element i of a draw depends on (seed, stream, draw, i) and on nothing else: not on threads,
// blocks, ranks or the device. A stream is a named purpose ("init", "dropout"); its state is one integer, the
// number of draws taken.
#include <cstdint>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace juxta {

struct Philox4 {
  uint32_t v[4];
};

// The Philox4x32-10 block function.
JX_HD inline Philox4 philox(Philox4 c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c.v[0], p1 = uint64_t{0xCD9E8D57u} * c.v[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.v[1] ^ k0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.v[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// One draw: `key` mixes seed and stream, `draw` numbers the call. bits(i / 4) holds the four words of
// elements i..i+3.
struct Draw {
  uint64_t key = 0;
  uint64_t draw = 0;
  JX_HD Philox4 block(uint64_t i) const {
    return philox({{static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), static_cast<uint32_t>(draw),
                    static_cast<uint32_t>(draw >> 32)}},
                  static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
  }
  JX_HD uint32_t bits(uint64_t i) const { return block(i / 4).v[i % 4]; }
  // Uniform in [0, 1), 24 bits.
  JX_HD float uniform(uint64_t i) const { return static_cast<float>(bits(i) >> 8) * 0x1p-24f; }
  // Standard normal (Box-Muller on words 2j, 2j+1); evaluated in double so that libm's last bit seldom
  // reaches the float.
  float normal(uint64_t i) const;
};

// Key of a (seed, stream) pair: SplitMix64 finaliser over both, so that neighbouring seeds share nothing.
uint64_t mix_key(uint64_t seed, uint64_t stream);
// Stream number of a name (FNV-1a).
constexpr uint64_t stream_id(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// A named stream. `draws` is its whole state (saved in checkpoints).
class Rng {
 public:
  Rng(uint64_t seed, std::string_view stream) : key_(mix_key(seed, stream_id(stream))) {}
  // The next draw. Inside a ReplayDraws scope, the draw that was recorded there.
  Draw next();
  uint64_t draws() const { return draws_; }
  void set_draws(uint64_t n) { draws_ = n; }

 private:
  uint64_t key_;
  uint64_t draws_ = 0;
};

// Activation checkpointing runs a function twice with the same random numbers: RecordDraws notes every draw
// taken on this thread in its scope, ReplayDraws hands the same ones out again without advancing any Rng.
class RecordDraws {
 public:
  RecordDraws();
  ~RecordDraws();
  RecordDraws(const RecordDraws&) = delete;
  RecordDraws& operator=(const RecordDraws&) = delete;
  std::vector<Draw> taken;

 private:
  RecordDraws* outer_;
};
class ReplayDraws {
 public:
  explicit ReplayDraws(const std::vector<Draw>& draws);
  ~ReplayDraws();
  ReplayDraws(const ReplayDraws&) = delete;
  ReplayDraws& operator=(const ReplayDraws&) = delete;
  static bool active();  // true inside a replay: running statistics and counters must not be touched again
  Draw take();

 private:
  const std::vector<Draw>& draws_;
  size_t next_ = 0;
  ReplayDraws* outer_;
};

}  // namespace juxta
