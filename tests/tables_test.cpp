// Which entries of the kernel tables are served by the reference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
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

// Every entry exists for every instruction set; a family without a .cu reports nothing and serves the
// reference.
const std::set<std::string> kKnownHoles{};

std::set<std::string> holes() {
  const std::vector<std::string> found = table_holes();
  return {found.begin(), found.end()};
}

TEST(Tables, HolesAreThoseListedHere) {
  for (const Isa isa : host_isas()) {
    const ForceTable force(isa);
    fill_tables(kCpu);
  }
  fill_tables({DeviceKind::emu, 0});
  EXPECT_EQ(holes(), kKnownHoles);
}

// The mutant of this file: a table that lacks one entry. In a process of its own: holes stay listed.
TEST(Tables, MutantIsCaught) {
  EXPECT_EXIT(
      {
        PoolTable<float> lacking = pool_tables<float>().reference();
        std::memset(&lacking, 0, sizeof(void*));
        const TableChoice<PoolTable<float>> choice(DType::f32, pool_tables<float>().reference(), {&lacking});
        const ForceTable force(Isa::generic);
        choice.on(kCpu);
        std::set<std::string> found = holes();
        for (const std::string& known : kKnownHoles) found.erase(known);
        std::exit(found.size() == 1 && found.begin()->find(PoolTable<float>::kNames[0]) != std::string::npos
                      ? 0
                      : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace juxta::test
