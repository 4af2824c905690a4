#pragma once
// The 2-D map of candidate moments of a video (2D-TAN, Zhang et al. 2020, arXiv 1912.03590; MMN; G2L).
#include <vector>

#include "autograd/var.h"

namespace juxta::nn {

struct MomentMap {
  Var map;      // [T, T, D]: at (i, j), i <= j, the maximum over clips i .. j; 0 off the pattern
  Tensor mask;  // i64 [T, T]: 1 on the pattern
};

// clips [T, D] of one video. The pattern is sparse: all single clips; then counts[0] diagonals 1 apart,
// counts[1] diagonals 2 apart that start at every second clip, counts[2] 4 apart, and so on. Gradients go to
// the first clip of the maximum.
MomentMap moment_map(const Var& clips, const std::vector<int64_t>& counts);

}  // namespace juxta::nn
