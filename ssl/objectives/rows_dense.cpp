#include "ssl/objectives/rows.h"

namespace juxta::ssl {

std::span<const Objective> dense_rows() { return {}; }

}  // namespace juxta::ssl
