#pragma once
// Augmentation of time series [T, C]: T samples of C channels. Every rule is a function of given draws;
// draw_cascade() draws them. Computed in double; the result has x's dtype. Error naming the rule and the
// argument when a size does not fit.
#include <array>
#include <cstdint>
#include <vector>

#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

// (x - mean) / standard deviation (over T, biased) of each channel; a constant channel becomes 0.
Tensor zscore(const Tensor& x);
// Zeros from `start` on, `length` samples of every channel.
Tensor cut_out(const Tensor& x, int64_t start, int64_t length);
// x times the cubic curve through the knots, which stand at equal distances from the first sample to the
// last. knots [K, 1], the same for all channels, or [K, C]; K >= 2.
Tensor magnitude_warp(const Tensor& x, const Tensor& knots);
// Time runs along the cubic curve through (t_k, t_k knot_k), stretched so that it ends at T - 1 and kept
// within [0, T - 1]; x is interpolated linearly at the whole samples. Where strong knots make time run
// backwards, it waits (running maximum). knots [K, C], K >= 2; Error when the curve does not end above 0.
Tensor time_warp(const Tensor& x, const Tensor& knots);
// x + sigma noise, noise [T, C] standard normal.
Tensor add_noise(const Tensor& x, const Tensor& noise, double sigma);
// Channel c of the result is channel order[c] of x; order i64 [C], a permutation.
Tensor permute_channels(const Tensor& x, const Tensor& order);

// The cascade of Abbaspourazad et al. 2024 (arXiv 2312.05409) on the z-scored series: cut-out, magnitude
// warp, time warp, noise, channel permutation, in this order, each applied or not.
struct Cascade {
  std::array<bool, 5> apply{};
  int64_t start = 0, length = 0;                     // cut-out
  Tensor magnitude_knots, time_knots, noise, order;  // needed where applied
  double sigma = 0;
};
Tensor apply_cascade(const Tensor& x, const Cascade& c);

struct CascadeRates {
  std::array<double, 5> probability{0.4, 0.25, 0.15, 0.25,
                                    0.25};           // optical pulse; ECG: 0.8, 0.5, 0.3, 0.5, 0
  double min_cut = 0.3, max_cut = 0.5;               // as shares of T
  double magnitude_stddev = 0.2, time_stddev = 0.1;  // of knots around 1
  int64_t knots = 7;
  double min_sigma = 0.05, max_sigma = 0.1;
};
// An independent coin per rule, and its draws, for a series [t, channels].
Cascade draw_cascade(int64_t t, int64_t channels, const CascadeRates& rates, Rng& rng);

// Values at `at` of the cubic spline through (x_k, y_k), x ascending, with the "not-a-knot" condition at both
// ends (de Boor 1978); a parabola for three points, a line for two. Beyond the ends the outer cubics go on.
std::vector<double> cubic_spline(const std::vector<double>& x, const std::vector<double>& y,
                                 const std::vector<double>& at);

}  // namespace juxta::ssl
