#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> temperatures_properties() { return {}; }

}  // namespace juxta::test
