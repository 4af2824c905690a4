// Losses between the cells of maps, and labels of cells.
#include "autograd/ops.h"
#include "ssl/data/hyper_pixels.h"
#include "ssl/losses/pixels.h"
#include "ssl/losses/vicregl.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kPixelViews[] = {
    {"proj1", "[N, H, W, C]", false, true},
    {"proj2", "[N, H, W, C]", false, true},
    {"key1", "[N, H, W, C]", false, true},
    {"key2", "[N, H, W, C]", false, true},
    {"coord1", "[N, 4]"},
    {"coord2", "[N, 4]"},
};
constexpr InputRow kPropagatedViews[] = {
    {"proj1", "[N, H, W, C]", false, true},
    {"proj2", "[N, H, W, C]", false, true},
    {"key1", "[N, H, W, C]", false, true},
    {"key2", "[N, H, W, C]", false, true},
    {"coord1", "[N, 4]"},
    {"coord2", "[N, 4]"},
    {"weight", "[C, C]", true},
    {"bias", "[C]", true},
};
constexpr InputRow kPropagation[] = {{"feat", "[N, H, W, C]", false, true},
                                     {"weight", "[C, C]", true},
                                     {"bias", "[C]", true},
                                     {"cotangent", "[N, H, W, C]", false, true}};
constexpr const char* kMapOut[] = {"y"};
constexpr InputRow kDense[] = {
    {"query", "[N, D]"},
    {"key", "[N, D]"},
    {"query_grid", "[N, S, D]"},
    {"key_grid", "[N, S, D]"},
    {"query_backbone", "[N, S, C]"},
    {"key_backbone", "[N, S, C]"},
    {"queue", "[K, D]"},
    {"queue_dense", "[K, D]"},
};
constexpr InputRow kLocal[] = {{"global1", "[N, D]"}, {"global2", "[N, D]"},  {"map1", "[N, S, C]"},
                               {"map2", "[N, S, C]"}, {"grid1", "[N, S, 2]"}, {"grid2", "[N, S, 2]"}};
constexpr InputRow kMask[] = {{"mask", "i64 [N, H, W]"}};

PixelViews views(const Inputs& in) {
  return {in["proj1"], in["proj2"], in["key1"], in["key2"], in.tensor("coord1"), in.tensor("coord2")};
}

Outcome run_propagation(const Inputs& in, Params& f) {
  const Var y = pixel_propagation(in["feat"], in.optional("weight"), in.optional("bias"),
                                  f.read<PixelPropagationParams>());
  return {sum(mul(y, in["cotangent"])), {{"y", y}}};
}

Outcome run_hyper_pixels(const Inputs& in, Params& f) {
  const HyperPixels r = hyper_pixel_labels(in.tensor("mask"), f.read<HyperPixelParams>());
  return {{}, {{"frac", Var(r.frac)}, {"label", Var(r.label)}, {"boundary", Var(r.boundary)}}};
}

constexpr const char* kPixPro = "Xie et al. 2021, arXiv 2011.10043";

constexpr Objective kRows[] = {
    {"pixcontrast", "PixContrast", kPixPro,
     "L(i) = -log sum_{j near i} e^{cos(x_i, x'_j)/t} / sum_j e^{cos(x_i, x'_j)/t}; mean of cells, views, "
     "images",
     Kind::loss, Across::local, kPixelViews, list_params<PixContrastParams>,
     [](const Inputs& in, Params& f) { return pixcontrast(views(in), f.read<PixContrastParams>()); }},
    {"pixel_propagation", "PixPro", kPixPro, "y_i = sum_j max(cos(x_i, x_j), clamp)^gamma g(x_j)",
     Kind::layer, Across::local, kPropagation, list_params<PixelPropagationParams>, run_propagation, kMapOut},
    {"pixpro", "PixPro", kPixPro, "L = sum of both ways of mean_n -2 mean_{pairs} cos(y_i, x'_j)", Kind::loss,
     Across::local, kPropagatedViews, list_params<PixProParams>,
     [](const Inputs& in, Params& f) {
       return pixpro(views(in), in.optional("weight"), in.optional("bias"), f.read<PixProParams>());
     }},
    {"dense_cl", "DenseCL", "Wang et al. 2021, arXiv 2011.09157",
     "L = (1 - w) info_nce(image, queue) + w info_nce(cells matched by backbone cosine, queue of mean cells)",
     Kind::loss, Across::local, kDense, list_params<DenseClParams>,
     [](const Inputs& in, Params& f) {
       return dense_cl({in["query"], in["key"], in["query_grid"], in["key_grid"], in.tensor("query_backbone"),
                        in.tensor("key_backbone"), in["queue"], in["queue_dense"]},
                       f.read<DenseClParams>());
     }},
    {"vicregl", "VICRegL", "Bardes et al. 2022, arXiv 2210.01571",
     "L = alpha V(global1, global2) + (1 - alpha) V(matched cells, by features and by place); V: vicreg, cov "
     "/ 2",
     Kind::loss, Across::statistics, kLocal, list_params<VicRegLParams>,
     [](const Inputs& in, Params& f) {
       return vicregl(
           {in["global1"], in["global2"], in["map1"], in["map2"], in.tensor("grid1"), in.tensor("grid2")},
           f.read<VicRegLParams>());
     }},
    {"hyper_pixel_labels", "HPCL-Net", "Zhou et al. 2023, arXiv 2308.01251",
     "frac = #ones / #known under a cell; label by low and high, boundary between", Kind::rule, Across::local,
     kMask, list_params<HyperPixelParams>, run_hyper_pixels},
};

}  // namespace

std::span<const Objective> dense_rows() { return kRows; }

}  // namespace juxta::ssl
