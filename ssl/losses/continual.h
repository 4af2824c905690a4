#pragma once
// Losses of continual learning and of memories that outlive a batch.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class NsptNegatives { student, teacher };
enum class AnchorMean { mean, sum };

struct CoconutNsptParams {
  double temperature = 0.1;
  NsptNegatives negatives = NsptNegatives::student;  // teacher: NTPT
  bool include_self = true;                          // an anchor's own teacher vector is a positive
  bool skip_anchor = false;                          // leave i = k out of the denominator
  AnchorMean reduction = AnchorMean::mean;
  void fields(Params& f) {
    f("temperature", temperature), f("negatives", negatives, {"student", "teacher"});
    f("include_self", include_self), f("skip_anchor", skip_anchor),
        f("reduction", reduction, {"mean", "sum"});
  }
};

// Negatives through the student, positives through the teacher (COCONUT, Cappellazzo et al. 2023, arXiv
// 2310.02699). student, teacher [N, D] of one batch by the new and the previous model (a constant), scaled to
// unit length here; labels, rehearsal i64 [N]: anchors k are the rows whose rehearsal is not 0, P(k) the rows
// of k's class.
//   L = mean_k -1/|P(k)| sum_p log[ e^{s_k . t_p / temperature} / sum_{i in batch} e^{s_k . s_i /
//   temperature} ]
// The mean is over anchors with positives; without any: 0.
Loss coconut_nspt(const Var& student, const Var& teacher, const Tensor& labels, const Tensor& rehearsal,
                  const CoconutNsptParams& p = {});

enum class MmAnchors { new_samples, all };

struct CoconutMmParams {
  double temperature = 0.1;
  MmAnchors anchors = MmAnchors::new_samples;
  AnchorMean reduction = AnchorMean::mean;
  void fields(Params& f) {
    f("temperature", temperature), f("anchors", anchors, {"new", "all"}),
        f("reduction", reduction, {"mean", "sum"});
  }
};

// The multimodal loss of COCONUT: audio, text [N, D], labels, is_new i64 [N]; anchors k are new samples (or
// all), the denominators run over the batch.
//   L = mean_k -1/|P(k)| sum_p ( log[ e^{a_k.t_p/t} / sum_i e^{a_k.t_i/t} ] + log[ e^{t_k.a_p/t} / sum_i
//   e^{t_k.a_i/t} ] )
Loss coconut_mm(const Var& audio, const Var& text, const Tensor& labels, const Tensor& is_new,
                const CoconutMmParams& p = {});

enum class Denominator { negatives, all };

struct HpclParams {
  double temperature = 0.1;
  Denominator denominator = Denominator::negatives;
  void fields(Params& f) {
    f("temperature", temperature), f("denominator", denominator, {"negatives", "all"});
  }
};

// Hyper-pixel contrast against a queue per class (HPCL-Net, arXiv 2308.01251, in the instantiation of its
// card). q [M, D], labels i64 [M] in {0, 1}, -1 skipped; queue0 [K0, D], queue1 [K1, D]: constants. P the
// queue of the anchor's class, Q the other:
//   L = mean_i -1/|P| sum_p log [ e^{q_i.p/t} / (e^{q_i.p/t} + sum_{n in Q} e^{q_i.n/t}) ]       negatives
// all: every positive is in the denominator (SupCon). Anchors count if both queues are given and
// not empty; without any: 0.
Loss hpcl(const Var& q, const Tensor& labels, const Tensor& queue0, const Tensor& queue1,
          const HpclParams& p = {});

enum class Uniformity { ss, st, tt };

struct BeclrParams {
  double lamb_neg = 0.1, temperature = 2;
  Uniformity uniformity = Uniformity::ss;
  void fields(Params& f) {
    f("lamb_neg", lamb_neg), f("temperature", temperature), f("uniformity", uniformity, {"SS", "ST", "TT"});
  }
};

// BECLR (Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444). p, z_teacher (constant), z_student [2M,
// D]: both views, view 1 first.
//   L_pos = -1/2 ( mean cos(p1, z_teacher2) + mean cos(p2, z_teacher1) )
//   L_neg = log mean_i [ 1/(2M - 2) sum_{j != i, i's other view} e^{cos(u_i, u_j)/temperature} ]
//   L = L_pos + lamb_neg L_neg
// u: the student's rows (SS), student view 1 and teacher view 2 (ST), or the teacher's (TT). M >= 2. Terms:
// loss_pos, loss_neg, std (of the teacher's unit
// rows, mean over channels).
Loss beclr(const Var& p, const Var& z_teacher, const Var& z_student, const BeclrParams& params = {});

}  // namespace juxta::ssl
