#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> distillation_properties() { return {}; }

}  // namespace juxta::test
