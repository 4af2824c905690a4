#pragma once
// Pictures of a report made of images: contact sheet of views, nearest-neighbour grid, map of embeddings.
#include <string>
#include <vector>

#include "ssl/report/canvas.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

// Pairs of views side by side, `pairs` of them in rows of six. f32 [n, H, W, C] in [0, 1].
Canvas view_sheet(const Tensor& view1, const Tensor& view2, int64_t pairs = 18);

// One row per class (at most ten): a query and its eight nearest images by cosine of the features, framed in
// blue where the class is the query's and in vermilion where it is not. images u8 [M, H, W, C], labels i64
// [M], features f32 [M, F].
Canvas neighbour_grid(const Tensor& images, const Tensor& labels, const std::vector<std::string>& classes,
                      const Tensor& features);

// Dots coloured by class, with a legend. points f32 [M, 2], labels i64 [M].
Canvas map_picture(const Tensor& points, const Tensor& labels, const std::vector<std::string>& classes);

}  // namespace juxta::ssl
