#include "ssl/methods/method.h"
#include "ssl/methods/systems.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {
constexpr MethodRow kMethods[] = {
    {"simclr", "SimCLR", "arXiv 2002.05709", make_simclr},
    {"moco", "MoCo v2", "arXiv 2003.04297", make_moco},
    {"byol", "BYOL", "arXiv 2006.07733", make_byol},
};
}  // namespace

std::span<const MethodRow> methods() { return kMethods; }

std::vector<std::pair<std::string, double>> figures_of(const Loss& loss) {
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [name, value] : loss.terms) out.emplace_back(name, value.item());
  return out;
}

std::unique_ptr<Method> make_method(const std::string& name) {
  std::vector<std::string> names;
  for (const MethodRow& row : kMethods) {
    if (name == row.name) return row.make();
    names.emplace_back(row.name);
  }
  const std::string near = nearest_name(name, names);
  JX_FAIL("method.name: '", name, "' is unknown", near.empty() ? "" : "; did you mean '" + near + "'?");
}

}  // namespace juxta::ssl
