#include "ssl/objectives/rows.h"

namespace juxta::ssl {

std::span<const Objective> clusters_rows() { return {}; }

}  // namespace juxta::ssl
