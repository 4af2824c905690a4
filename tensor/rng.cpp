#include "tensor/rng.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace juxta {

namespace {
thread_local RecordDraws* t_record = nullptr;
thread_local ReplayDraws* t_replay = nullptr;

uint64_t splitmix(uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
}  // namespace

uint64_t mix_key(uint64_t seed, uint64_t stream) { return splitmix(splitmix(seed) ^ stream); }

float Draw::normal(uint64_t i) const {
  const Philox4 b = block(i / 4);
  const unsigned pair = static_cast<unsigned>(i % 4) & 2u;
  const double u1 = (static_cast<double>(b.v[pair]) + 1.0) * 0x1p-32;  // (0, 1]: the logarithm is finite
  const double u2 = static_cast<double>(b.v[pair + 1]) * 0x1p-32;
  const double r = std::sqrt(-2.0 * std::log(u1)), angle = 2.0 * std::numbers::pi * u2;
  return static_cast<float>(i % 2 ? r * std::sin(angle) : r * std::cos(angle));
}

Draw Rng::next() {
  if (t_replay) return t_replay->take();
  const Draw d{key_, draws_++};
  if (t_record) t_record->taken.push_back(d);
  return d;
}

RecordDraws::RecordDraws() : outer_(t_record) { t_record = this; }
RecordDraws::~RecordDraws() {
  t_record = outer_;
  if (outer_)
    outer_->taken.insert(outer_->taken.end(), taken.begin(),
                         taken.end());  // nested checkpoints replay in order
}

ReplayDraws::ReplayDraws(const std::vector<Draw>& draws) : draws_(draws), outer_(t_replay) {
  t_replay = this;
}
ReplayDraws::~ReplayDraws() { t_replay = outer_; }
bool ReplayDraws::active() { return t_replay != nullptr; }
Draw ReplayDraws::take() {
  JX_CHECK(next_ < draws_.size(),
           "checkpoint: the replay asks for more random draws than the first run took; "
           "the function must do the same work both times");
  return draws_[next_++];
}

}  // namespace juxta
