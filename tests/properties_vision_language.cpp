#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> vision_language_properties() { return {}; }

}  // namespace juxta::test
