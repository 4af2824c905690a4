#include "ssl/views/text.h"

#include <algorithm>
#include <cmath>

namespace juxta::ssl {

namespace {

template <class T>
void check_length(const char* who, const char* name, std::span<const T> x, size_t n) {
  JX_CHECK(x.size() == n, who, ": ", name, ": expected ", n, " entries like the tokens, got ", x.size());
}

void check_uniform(const char* who, const char* name, double u) {
  JX_CHECK(u >= 0 && u < 1, who, ": ", name, ": expected a uniform in [0, 1), got ", u);
}

bool by_type(SoftAugmentation kind) {
  return kind == SoftAugmentation::drst || kind == SoftAugmentation::dmst;
}
bool masks(SoftAugmentation kind) { return kind == SoftAugmentation::dm || kind == SoftAugmentation::dmst; }

void check_soft(const SoftAugmentationInputs& in, const SoftAugmentationParams& p) {
  constexpr const char* kRule = "soft_data_augmentation";
  const size_t n = in.ids.size();
  JX_CHECK(p.ratio >= 0 && p.ratio <= 1, kRule, ": ratio: expected 0 to 1, got ", p.ratio);
  check_length(kRule, "special", in.special, n);
  check_length(kRule, "types", in.types, n);
  check_length(kRule, "random_ids", in.random_ids, n);
  check_length(kRule, "select_draw", in.select_draw, n);
  check_length(kRule, "action_draw", in.action_draw, n);
  check_length(kRule, "swap_draw", in.swap_draw, n);
  const auto types = static_cast<int64_t>(in.type_ids.size());
  JX_CHECK(!by_type(p.kind) || (p.chosen_type >= 0 && p.chosen_type < types), kRule,
           ": chosen_type: expected 0 to ", types - 1, ", got ", p.chosen_type);
  for (size_t i = 0; i < n; ++i) {
    check_uniform(kRule, "select_draw", in.select_draw[i]);
    check_uniform(kRule, "action_draw", in.action_draw[i]);
    check_uniform(kRule, "swap_draw", in.swap_draw[i]);
    // a special token has no type to speak of
    JX_CHECK(
        in.special[i] != 0 || p.kind == SoftAugmentation::dm || (in.types[i] >= 0 && in.types[i] < types),
        kRule, ": types: expected 0 to ", types - 1, ", got ", in.types[i], " at ", i);
  }
}

}  // namespace

AugmentedTokens soft_data_augmentation(const SoftAugmentationInputs& in, const SoftAugmentationParams& p) {
  constexpr double kReplaced = 0.8, kSwapped = 0.5;
  check_soft(in, p);
  const size_t n = in.ids.size();
  AugmentedTokens out{{in.ids.begin(), in.ids.end()}, std::vector<int64_t>(n), std::vector<int64_t>(n)};
  for (size_t i = 0; i < n; ++i) {
    const bool eligible = in.special[i] == 0 && (!by_type(p.kind) || in.types[i] == p.chosen_type);
    if (!eligible || in.select_draw[i] >= p.ratio) continue;
    out.picked[i] = 1;
    if (in.action_draw[i] < kReplaced) {
      out.replaced[i] = 1;
      out.ids[i] = masks(p.kind) ? p.mask_id : in.type_ids[static_cast<size_t>(in.types[i])];
    } else if (p.kind == SoftAugmentation::dm && in.swap_draw[i] < kSwapped) {
      out.ids[i] = in.random_ids[i];
    }
  }
  return out;
}

RepeatedTokens word_repetition(std::span<const int64_t> tokens, std::span<const int64_t> special,
                               double length_draw, std::span<const double> keys, double dup_rate,
                               RepetitionMode mode) {
  constexpr const char* kRule = "word_repetition";
  check_length(kRule, "special", special, tokens.size());
  check_length(kRule, "keys", keys, tokens.size());
  check_uniform(kRule, "length_draw", length_draw);
  JX_CHECK(dup_rate >= 0 && dup_rate <= 1, kRule, ": dup_rate: expected 0 to 1, got ", dup_rate);
  std::vector<size_t> order;  // tokens that may repeat
  for (size_t i = 0; i < tokens.size(); ++i) {
    JX_CHECK(std::isfinite(keys[i]), kRule, ": keys: expected finite values, got ", keys[i], " at ", i);
    if (special[i] == 0) order.push_back(i);
  }
  const auto share = [&](size_t n) { return static_cast<int64_t>(dup_rate * static_cast<double>(n)); };
  // number of values that dup_len may take
  const int64_t choices = mode == RepetitionMode::paper ? std::max<int64_t>(2, share(order.size())) + 1
                                                        : std::min<int64_t>(10, share(tokens.size()));
  const auto drawn = static_cast<size_t>(length_draw * static_cast<double>(choices));
  const size_t dup_len = std::min(drawn, order.size());
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return keys[i] < keys[j]; });
  std::vector<bool> doubled(tokens.size());
  for (size_t i = 0; i < dup_len; ++i) doubled[order[i]] = true;
  RepeatedTokens out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    out.tokens.push_back(tokens[i]);
    if (!doubled[i]) continue;
    out.tokens.push_back(tokens[i]);
    out.positions.push_back(static_cast<int64_t>(i));
  }
  return out;
}

}  // namespace juxta::ssl
