#pragma once
// Losses between the cells of two maps of one image: PixContrast, PixPro (Xie et al. 2021, arXiv 2011.10043).
// Maps are [N, H, W, C], raw; every cell is normalised over its channels inside.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// Crops of images: [N, 4] with (x0, y0, x1, y1) relative to the image; a horizontal flip swaps x0 and x1, a
// vertical one y0 and y1. Cell (r, c) of an H x W map lies at x0 + (c + 1/2) (x1 - x0) / W, y likewise.
// Distances of cells of two crops, in diagonals of the larger cell: f64 [N, H W, H W].
Tensor cell_distances(const char* loss, const Tensor& coord1, const Tensor& coord2, int64_t height,
                      int64_t width);

struct PixelPropagationParams {
  double gamma = 2, clamp = 0;
  int64_t transform_layers = 1;
  bool normalize_value = true;
  void fields(Params& f) {
    f("gamma", gamma), f("clamp", clamp), f("transform_layers", transform_layers);
    f("normalize_value", normalize_value);
  }
};

// Pixel propagation module: every cell becomes a sum over its map, weighted by similarity. feat [N, H, W, C];
// g is a 1 x 1 convolution with weight [C, C] and bias [C] (either may be undefined), or the identity with no
// layer.
//   y_i = sum_j max(cos(x_i, x_j), clamp)^gamma g(x_j)
// normalize_value: g(x_j) is normalised first, as the authors' code does and the paper does not say. For
// gamma < 1 the similarity has 1e-6 added, so that its power has a derivative at 0. Returns [N, H, W, C].
Var pixel_propagation(const Var& feat, const Var& weight, const Var& bias,
                      const PixelPropagationParams& p = {});

struct PixProParams {
  double gamma = 2, clamp = 0;
  int64_t transform_layers = 1;
  double pos_ratio = 0.7;
  void fields(Params& f) {
    f("gamma", gamma), f("clamp", clamp), f("transform_layers", transform_layers), f("pos_ratio", pos_ratio);
  }
};

// The two views of the online branch and of the momentum branch (constants).
struct PixelViews {
  const Var& proj1;
  const Var& proj2;
  const Var& key1;
  const Var& key2;
  const Tensor& coord1;  // [N, 4]
  const Tensor& coord2;
};

// PixPro. y = pixel_propagation(proj), x' the other view's key, pairs are cells closer than pos_ratio.
//   L_12(n) = -2 sum_pairs cos(y_i, x'_j) / (#pairs + 1e-6),   L = mean_n L_12 + mean_n L_21
// An image whose crops share nothing adds 0 and counts. Terms: pairs, pairs_reverse [N].
Loss pixpro(const PixelViews& x, const Var& weight, const Var& bias, const PixProParams& p = {});

struct PixContrastParams {
  double temperature = 0.3, pos_ratio = 0.7;
  void fields(Params& f) { f("temperature", temperature), f("pos_ratio", pos_ratio); }
};

// PixContrast. For every cell of one view with a positive, a cell of the other view within pos_ratio:
//   L(i) = -log [ sum_{j positive} e^{cos(x_i, x'_j) / temperature} / sum_j e^{cos(x_i, x'_j) / temperature}
//   ]
// over the cells of the same image; mean over such cells, over the two directions, over images (0 for an
// image without).
Loss pixcontrast(const PixelViews& x, const PixContrastParams& p = {});

struct DenseClParams {
  double temperature = 0.2, dense_weight = 0.5;
  void fields(Params& f) { f("temperature", temperature), f("dense_weight", dense_weight); }
};

// DenseCL (Wang et al. 2021, arXiv 2011.09157). Image embeddings query, key [N, D], queue [K, D]; cells
// query_grid, key_grid [N, S, D], matched by their backbone features [N, S, C]; queue_dense [K, D] holds the
// average dense key of images.
//   match(s) = argmax_t cos(query_backbone_s, key_backbone_t)                                 (constant)
//   L = (1 - dense_weight) info_nce(query, key, queue)
//       + dense_weight info_nce(query_grid_s, key_grid_match(s), queue_dense) over all N S cells
// Terms: global, dense, match i64 [N, S].
struct DenseClInputs {
  const Var& query;
  const Var& key;
  const Var& query_grid;
  const Var& key_grid;
  const Tensor& query_backbone;
  const Tensor& key_backbone;
  const Var& queue;
  const Var& queue_dense;
};
Loss dense_cl(const DenseClInputs& x, const DenseClParams& p = {});

}  // namespace juxta::ssl
