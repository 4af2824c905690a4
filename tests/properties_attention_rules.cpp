#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> attention_rules_properties() { return {}; }

}  // namespace juxta::test
