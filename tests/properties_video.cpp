#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> video_properties() { return {}; }

}  // namespace juxta::test
