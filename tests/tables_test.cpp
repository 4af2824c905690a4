// Which entries of the kernel tables are served by the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/attention.h"
#include "kernels/augment.h"
#include "kernels/contrast.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/index.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/pool.h"
#include "kernels/reduce.h"
#include "kernels/resize.h"
#include "kernels/softmax.h"

namespace juxta::test {
namespace {

template <class T>
void fill_tables_of(Device device) {
  attention_tables<T>().on(device), contrast_tables<T>().on(device), conv_tables<T>().on(device);
  elementwise_tables<T>().on(device), index_tables<T>().on(device), matmul_tables<T>().on(device);
  norm_tables<T>().on(device), pool_tables<T>().on(device), reduce_tables<T>().on(device);
  resize_tables<T>().on(device), softmax_tables<T>().on(device);
}

void fill_tables(Device device) {
  fill_tables_of<float>(device), fill_tables_of<bf16>(device);
  optim_tables<float>().on(device), augment_tables().on(device);
}

TEST(Tables, HolesAreThoseListedHere) {
  for (const Isa isa : host_isas()) {
    const ForceTable force(isa);
    fill_tables(kCpu);
  }
  fill_tables({DeviceKind::emu, 0});
  const std::vector<std::string> found = table_holes();
  const std::set<std::string> holes(found.begin(), found.end());
  // Every entry exists for every instruction set; a family without a .cu reports nothing and serves the
  // reference.
  const std::set<std::string> known{};
  EXPECT_EQ(holes, known);
}

}  // namespace
}  // namespace juxta::test
