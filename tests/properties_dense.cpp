#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> dense_properties() { return {}; }

}  // namespace juxta::test
