#pragma once
// Rules that prepare the batches of image-text models: which false pairs to form, which words to mask. Random
// numbers are arguments, uniform in [0, 1); everything is computed in double.
#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

// False partners of the N pairs of a batch: weights f64 [N, N] and drawn rows i64 [N].
struct HardPairs {
  Tensor weight_i2t, weight_t2i;
  Tensor text_of_image, image_of_text;
};

// ALBEF (Li et al. 2021, arXiv 2107.07651): sim_i2t, sim_t2i [N, C] with the batch in the first N columns;
// ids i64 [N] (undefined: all different) say which columns are no negatives of a row.
//   weight_i = softmax(sim_i[:N]), 0 where the ids are equal
// Drawn is the smallest j whose cumulative weight exceeds u_i times the total; where all weights are 0 (the
// positive holds all probability), row i + 1. N >= 2.
HardPairs hard_pairs(const Tensor& sim_i2t, const Tensor& sim_t2i, const Tensor& ids, const Tensor& u_text,
                     const Tensor& u_image);

struct TeacherPick {
  Tensor index;  // i64 [B, 1 + H]: 0, then the H best-scored false captions, ties by the lower index
  Tensor aligned, sorted;  // the teacher's scores at index; its 1 + H best of all, for comparison
};

// DCD (Rao et al. 2022, arXiv 2207.01426): the teacher chooses the student's negatives. teacher_score [B, 1 +
// F], column 0 the true caption; hard_negative = H <= F.
TeacherPick teacher_pick(const Tensor& teacher_score, int64_t hard_negative);

struct MaskWordsParams {
  double mlm_probability = 0.15, p_mask_token = 0.8, p_random_token = 0.5;
  int64_t ignore_index = -100, pad_id = 0, cls_id = 101, mask_id = 103;
};
struct MaskedWords {
  Tensor ids, labels;  // i64 [N, L]; labels are ignore_index where nothing was masked
};

// Masked words as in BERT (Devlin et al. 2019, arXiv 1810.04805). input_ids, random_words i64 [N, L];
// u_select, u_mask_token, u_random_token [N, L]. A word that is neither pad nor class is selected where
// u_select < mlm_probability; it becomes mask_id where u_mask_token < p_mask_token, else random_words where
// u_random_token < p_random_token, else stays.
MaskedWords mask_words(const Tensor& input_ids, const Tensor& random_words, const Tensor& u_select,
                       const Tensor& u_mask_token, const Tensor& u_random_token,
                       const MaskWordsParams& p = {});

}  // namespace juxta::ssl
