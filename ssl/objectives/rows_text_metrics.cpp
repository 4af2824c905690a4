// Metrics of text models.
#include "ssl/eval/text_metrics.h"
#include "ssl/eval/values.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

Outcome run_isotropy(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const Isotropy m = isotropy(in.tensor("hidden"), in.tensor("lengths"));
  return {{}, {{"micro", figure(m.micro)}, {"macro", figure(m.macro)}}};
}

struct TextDegenerationParams {
  bool drop_last = false;
  void fields(Params& f) { f("drop_last", drop_last); }
};
Outcome run_text_degeneration(const Inputs& in, Params& f) {
  const auto p = f.read<TextDegenerationParams>();
  const TextDegeneration m = text_degeneration(in.tensor("tokens"), in.tensor("lengths"), p.drop_last);
  return {{},
          {{"rep_2", figure(m.rep_2)},
           {"rep_3", figure(m.rep_3)},
           {"rep_4", figure(m.rep_4)},
           {"diversity", figure(m.diversity)}}};
}

Outcome run_word_error_rate(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const WordErrorRate m =
      word_error_rate(in.tensor("ref"), in.tensor("hyp"), in.tensor("ref_len"), in.tensor("hyp_len"));
  return {{}, {{"distance", Var(tensor_of(m.distance))}, {"wer", figure(m.wer)}}};
}

Outcome run_icl_similarity(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const IclSimilarity m = icl_similarity(
      {in.tensor("gold"), in.tensor("pred_zs"), in.tensor("pred_icl"), in.tensor("pred_ft"),
       in.tensor("h_zs"), in.tensor("h_icl"), in.tensor("h_ft"), in.tensor("m_zs"), in.tensor("m_icl"),
       in.tensor("m_ft"), in.tensor("ctx_icl"), in.tensor("q_train"), in.tensor("q_test")});
  return {{},
          {{"rec2ftp", figure(m.rec2ftp)},
           {"simaou", Var(tensor_of(m.simaou))},
           {"simam_after", Var(tensor_of(m.simam_after))},
           {"simam_before", Var(tensor_of(m.simam_before))},
           {"kendall", Var(tensor_of(m.kendall))}}};
}

constexpr InputRow kHidden[] = {{"hidden", "[B, T, D]"}, {"lengths", "i64 [B]"}};
constexpr InputRow kTokens[] = {{"tokens", "i64 [B, T]"}, {"lengths", "i64 [B]"}};
constexpr InputRow kSentences[] = {
    {"ref", "i64 [N, L]"}, {"hyp", "i64 [N, M]"}, {"ref_len", "i64 [N]"}, {"hyp_len", "i64 [N]"}};
constexpr InputRow kIcl[] = {{"gold", "i64 [E]"},      {"pred_zs", "i64 [E]"},   {"pred_icl", "i64 [E]"},
                             {"pred_ft", "i64 [E]"},   {"h_zs", "[E, L, D]"},    {"h_icl", "[E, L, D]"},
                             {"h_ft", "[E, L, D]"},    {"m_zs", "[E, L, H, S]"}, {"m_icl", "[E, L, H, S]"},
                             {"m_ft", "[E, L, H, S]"}, {"ctx_icl", "[E, L, N]"}, {"q_train", "[L, N, Q]"},
                             {"q_test", "[E, L, Q]"}};

constexpr Objective kRows[] = {
    {"isotropy", "contrastive search", "Su & Collier 2022, arXiv 2210.14140",
     "1 - mean cosine of h_i, h_j over i != j of one text; micro over pairs, macro over texts", Kind::metric,
     Across::local, kHidden, list_params<NoParams>, run_isotropy},
    {"text_degeneration", "contrastive search, momentum decoding", "Su et al. 2022, arXiv 2202.06417",
     "rep_n = 1 - unique n-grams / n-grams; diversity = prod_{n = 2..4} (1 - rep_n)", Kind::metric,
     Across::local, kTokens, list_params<TextDegenerationParams>, run_text_degeneration},
    {"word_error_rate", "COCONUT", "Cappellazzo et al. 2023, arXiv 2310.02699",
     "sum of edit distances / sum of reference lengths", Kind::metric, Across::local, kSentences,
     list_params<NoParams>, run_word_error_rate},
    {"icl_similarity", "in-context learning as fine-tuning", "Dai et al. 2022, arXiv 2212.10559",
     "Rec2FTP, SimAOU = cos(h_icl - h_zs, h_ft - h_zs), SimAM = cos(m_icl, m_ft), Kendall's tau of attention "
     "to demonstrations",
     Kind::metric, Across::local, kIcl, list_params<NoParams>, run_icl_similarity},
};

}  // namespace

std::span<const Objective> text_metrics_rows() { return kRows; }

}  // namespace juxta::ssl
