#pragma once
// Views: what is drawn at random for each image, as SimCLR, MoCo v2 and BYOL state it. The numbers of a view
// are keyed by (seed, epoch, sample id, occurrence, view): loader threads cannot change a run, and a sample
// drawn twice gets different views.
#include <string>
#include <vector>

#include "kernels/augment.h"
#include "ssl/data/dataset.h"
#include "ssl/train/fields.h"

namespace juxta::ssl {

// One distribution of views. Probabilities and ranges; a strength of 0 leaves the step out.
struct ViewConfig {
  double min_crop = 0.2, max_crop = 1.0;  // area of the crop, as a fraction of the image
  double min_aspect = 0.75;               // aspect log-uniform in [min_aspect, 1 / min_aspect]
  bool crop_search = false;  // whole pixels by torchvision's ten tries (crop.h), instead of clipping
  double flip = 0.5;         // probability of a horizontal flip
  double jitter = 0.8;       // probability of colour jitter
  double brightness = 0.4, contrast = 0.4, saturation = 0.4;  // factors U(1 - s, 1 + s)
  double hue = 0.1;                                           // turns U(-h, h)
  double gain = 0.0;                                          // gain per channel U(1 - g, 1 + g)
  bool shuffle_jitter = true;  // random order of the four jitter steps, as torchvision
  double grey = 0.2;           // probability of grey
  double blur = 0.5, blur_min = 0.1,
         blur_max = 2.0;  // probability, and sigma in pixels of a 224-pixel side (scaled to the output)
  double solarize = 0.0, solarize_threshold = 0.5;  // probability; values from the threshold on are inverted
  int64_t size = 0;                                 // output side; 0: the image's own
  // Side of the whole images that evaluation sees; 0: `size`. Random crops enlarge what they show, so that a
  // network knows its objects larger than whole images of the same side show them (Touvron et al., arXiv
  // 1906.06423).
  int64_t eval_size = 0;
  bool normalize = false;  // subtract the channel means and divide by the stddevs of the training set

  void fields(Fields& f);
  void check(const std::string& where) const;  // Error on values out of range; make_views calls it
};

// Key of one view.
struct ViewKey {
  uint64_t seed = 0;
  int64_t epoch = 0, sample = 0, occurrence = 0;
  int view = 0;
};

// Draws the parameters of one view of `image` (u8 [H, W, C], contiguous). Image channels other than 3 skip
// saturation, hue and grey.
ViewParams draw_view(const ViewConfig& config, const ViewKey& key, const uint8_t* image, int64_t height,
                     int64_t width, int64_t channels, int64_t out_side_h, int64_t out_side_w);

// Channel means and standard deviations of a training set, in [0, 1] units.
struct PixelStats {
  std::vector<float> mean, inv_std;
};
PixelStats pixel_stats(const ImageSet& set);

// Renders one view of each of `samples` (indices into set): f32 [n, side, side, C]. `occurrences` (same
// length) tells repeated draws of one sample in an epoch apart. Runs on the threads of the caller.
Tensor make_views(const ImageSet& set, std::span<const int64_t> samples, std::span<const int64_t> occurrences,
                  const ViewConfig& config, uint64_t seed, int64_t epoch, int view,
                  const PixelStats* stats = nullptr);
// The images as evaluation sees them: f32 [n, H, W, C] in [0, 1] (or normalised), no augmentation, resized to
// `eval_size` or `size` if not 0.
Tensor plain_images(const ImageSet& set, int64_t begin, int64_t end, const ViewConfig& config,
                    const PixelStats* stats = nullptr);

}  // namespace juxta::ssl
