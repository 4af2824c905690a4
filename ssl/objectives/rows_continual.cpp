#include "ssl/objectives/rows.h"

namespace juxta::ssl {

std::span<const Objective> continual_rows() { return {}; }

}  // namespace juxta::ssl
