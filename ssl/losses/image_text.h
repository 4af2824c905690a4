#pragma once
// Losses of paired encoders (images and texts): CLIP, and the leave-one-out bound of CLOOB.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct ClipParams {
  bool normalize = true;
  void fields(Params& f) { f("normalize", normalize); }
};

// CLIP (Radford et al. 2021, arXiv 2103.00020). image, text [N, D]; logit_scale of one element, learned from
// ln(1/0.07) and clamped to ln 100 after each optimiser step, outside of this loss.
//   S = e^logit_scale image text^T,  L = 1/2 (mean_i CE(S_i., i) + mean_j CE(S_.j, j))
Loss clip(const Var& image, const Var& text, const Var& logit_scale, const ClipParams& p = {});

struct InfoLoobParams {
  double temperature = 1 / 14.3;
  bool scale_by_temperature = true;
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("scale_by_temperature", scale_by_temperature), f("normalize", normalize);
  }
};

// InfoLOOB (Poole et al. 2019; Fürst et al. 2022, arXiv 2110.11316). z1, z2 [N, D], N >= 2; s = z1 z2^T /
// temperature.
//   L = temperature [ mean_i (log sum_{j != i} e^{s_ij} - s_ii) + mean_j (log sum_{i != j} e^{s_ij} - s_jj) ]
// Both directions are added; without scale_by_temperature the factor is 1. Unbounded below.
Loss info_loob(const Var& z1, const Var& z2, const InfoLoobParams& p = {});

struct CloobParams {
  double temperature = 1 / 14.3, beta = 14.3;
  bool scale_by_temperature = true;
  bool normalize = true;  // of image and text; what is retrieved is always unit
  void fields(Params& f) {
    f("temperature", temperature), f("beta", beta), f("scale_by_temperature", scale_by_temperature);
    f("normalize", normalize);
  }
};

// CLOOB (Fürst et al. 2022, arXiv 2110.11316). image, text [N, D], N >= 2, are first retrieved from modern
// Hopfield memories, which are the batch: ret(X|M) = unit(softmax(beta X M^T) M) of unit rows. With loob one
// direction of InfoLOOB:
//   L = loob(ret(image|image), ret(text|image)) + loob(ret(text|text), ret(image|text))
Loss cloob(const Var& image, const Var& text, const CloobParams& p = {});

struct SlipParams {
  double ssl_scale = 1, ssl_temperature = 0.1;
  void fields(Params& f) { f("ssl_scale", ssl_scale), f("ssl_temperature", ssl_temperature); }
};

// SLIP (Mu et al. 2022, arXiv 2112.12750): L = clip(image, text) + ssl_scale nt_xent(aug1, aug2;
// ssl_temperature). image, text [N, D], aug1, aug2 [N, E]: two strong views of the image. Terms: clip_loss,
// ssl_loss.
Loss slip(const Var& image, const Var& text, const Var& logit_scale, const Var& aug1, const Var& aug2,
          const SlipParams& p = {});

enum class PairSum { avg, sum };

struct Cl2lParams {
  double label_smoothing = 0.1;  // of the local pairs
  PairSum reduction = PairSum::avg;
  void fields(Params& f) { f("label_smoothing", label_smoothing), f("reduction", reduction, {"avg", "sum"}); }
};

// CL2L, the stronger recipe of CLIP (Fini et al. 2023, arXiv 2305.08675). z_image, z_text [N, D]: one weak
// view; h_image, h_text [A, N, E]: A strong views through projectors of their own, undefined for A = 0, which
// is CLIP. All vectors are scaled to unit length here; the scales are logarithms.
//   g_i = mean CE(s Z_i Z_t^T),  l_i = mean_{a,b} mean CE_eps(s' H_i^a H_t^bT)        and alike g_t, l_t
//   L = 1/2 [ (g_i + A l_i)/(1 + A) + (g_t + A l_t)/(1 + A) ]                         sum: twice that
//   CE_eps of row i: log sum_j e^{s_ij} - (1 - eps) s_ii - eps/N sum_j s_ij
// Terms: image_global g_i, text_global g_t, image_local l_i, text_local l_t (0 for A = 0).
Loss cl2l(const Var& z_image, const Var& z_text, const Var& logit_scale, const Var& h_image,
          const Var& h_text, const Var& h_logit_scale, const Cl2lParams& p = {});

}  // namespace juxta::ssl
