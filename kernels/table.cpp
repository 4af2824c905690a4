#include "kernels/table.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace juxta {

namespace {
thread_local int t_forced = ForceTable::kActive;
std::mutex g_mutex;
std::vector<std::string>& holes() {
  static std::vector<std::string> list;
  return list;
}
}  // namespace

bool built_with_cuda() {
#if defined(JUXTA_WITH_CUDA)
  return true;
#else
  return false;
#endif
}

ForceTable::ForceTable(int which) : outer_(t_forced) {
  JX_CHECK(
      which == kReference || std::ranges::find(host_isas(), static_cast<Isa>(which)) != host_isas().end(),
      "ForceTable: this CPU does not run ", table_name(which), ", or the build left it out");
  t_forced = which;
}
ForceTable::~ForceTable() { t_forced = outer_; }
int ForceTable::current() { return t_forced; }

std::vector<int> cpu_tables() {
  std::vector<int> all{ForceTable::kReference};
  for (const Isa isa : host_isas()) all.push_back(static_cast<int>(isa));
  return all;
}
const char* table_name(int which) { return which < 0 ? "reference" : name_of(static_cast<Isa>(which)); }

std::vector<std::string> table_holes() {
  const std::lock_guard lock(g_mutex);
  return holes();
}

namespace detail {
void report_hole(const char* family, const char* entry, DType dtype, const char* table) {
  const std::lock_guard lock(g_mutex);
  holes().push_back(concat(family, ".", entry, "<", dtype, "> on ", table));
  if (!std::getenv("JUXTA_QUIET"))
    std::fprintf(stderr, "juxta: no %s kernel for %s; using the reference\n", table, holes().back().c_str());
}
}  // namespace detail

}  // namespace juxta
