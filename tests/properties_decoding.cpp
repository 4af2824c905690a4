#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> decoding_properties() { return {}; }

}  // namespace juxta::test
