#pragma once
// Augmentation of token sequences, from given uniforms in [0, 1).
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// Soft data augmentation of code (CoCoSoDa, Shi et al. 2022, arXiv 2204.03293): which tokens are eligible,
// and what becomes of one that is picked.
enum class SoftAugmentation {
  dm,    // all; 80 % mask, 10 % a random token, 10 % unchanged
  dr,    // all; 80 % the token of its syntactic type, else unchanged
  drst,  // those of the chosen type; 80 % that type's token
  dmst,  // those of the chosen type; 80 % mask
};

struct SoftAugmentationParams {
  SoftAugmentation kind = SoftAugmentation::dm;
  double ratio = 0.15;       // share of the eligible tokens that are picked
  int64_t mask_id = 0;       // token written by dm and dmst
  int64_t chosen_type = -1;  // drst, dmst
};

// A sequence of L tokens: ids; special (not 0: never eligible, as first three, last and padding); types,
// indices into type_ids, the vocabulary's token of each syntactic type; random_ids, what a random token would
// be. Draws [L]: select < ratio picks, action < 0.8 replaces, swap < 0.5 takes the random token.
struct SoftAugmentationInputs {
  std::span<const int64_t> ids, special, types, type_ids, random_ids;
  std::span<const double> select_draw, action_draw, swap_draw;
};
struct AugmentedTokens {
  std::vector<int64_t> ids;
  std::vector<int64_t> picked, replaced;  // 0, 1: was drawn; became the mask or its type's token
};
AugmentedTokens soft_data_augmentation(const SoftAugmentationInputs& in, const SoftAugmentationParams& p);

// Word repetition (ESimCSE, Wu et al. 2022, arXiv 2109.04380): dup_len tokens are doubled in place.
enum class RepetitionMode {
  paper,  // dup_len uniform over 0 .. max(2, int(rate n)), n the tokens that are not special
  code,   // over 0 .. min(10, int(rate L)) - 1, L the whole length; nothing when int(rate L) = 0
};
struct RepeatedTokens {
  std::vector<int64_t> tokens;     // [L + dup_len]
  std::vector<int64_t> positions;  // [dup_len], ascending: the tokens that were doubled
};
// tokens, special [L] (not 0: never repeated). length_draw chooses dup_len (at most the number of tokens that
// may repeat); the tokens with the smallest keys [L] repeat, ties by position.
RepeatedTokens word_repetition(std::span<const int64_t> tokens, std::span<const int64_t> special,
                               double length_draw, std::span<const double> keys, double dup_rate,
                               RepetitionMode mode);

}  // namespace juxta::ssl
