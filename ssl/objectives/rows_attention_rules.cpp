#include "ssl/objectives/rows.h"

namespace juxta::ssl {

std::span<const Objective> attention_rules_rows() { return {}; }

}  // namespace juxta::ssl
