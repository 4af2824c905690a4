#pragma once
// Tables of kernel entry points: one per family, element type and instruction set, and how one is chosen.
//
// An entry is a function void(const Args&, int64_t begin, int64_t end) over a range of independent work items
// (rows, tiles, chunks). On the CPU run() cuts the range over threads; a GPU entry gets the whole range in
// one launch. A family's table is a plain struct of such pointers with `kFamily` and `kNames`; a null entry
// falls back to the reference.
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tensor/cpu.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"

// The tables of one name in all ISA namespaces, for TableChoice; null for a level the build leaves out.
// Declare them with JX_DECLARE_ISA_TABLES.
#if defined(__x86_64__)
#define JX_DECLARE_ISA_TABLES(Type, name) \
  namespace generic {                     \
  extern const Type name;                 \
  }                                       \
  namespace avx2 {                        \
  extern const Type name;                 \
  }                                       \
  namespace avx512 {                      \
  extern const Type name;                 \
  }                                       \
  namespace avx512bf16 {                  \
  extern const Type name;                 \
  }
#define JX_IF_BUILT(isa, name) (JUXTA_ISA_MASK >> static_cast<int>(Isa::isa) & 1 ? &isa::name : nullptr)
#define JX_ISA_TABLES(name) \
  { &generic::name, JX_IF_BUILT(avx2, name), JX_IF_BUILT(avx512, name), JX_IF_BUILT(avx512bf16, name) }
// avx512bf16 has no f32 kernels of its own.
#define JX_ISA_TABLES_F32(name) \
  { &generic::name, JX_IF_BUILT(avx2, name), JX_IF_BUILT(avx512, name), JX_IF_BUILT(avx512, name) }
#else
#define JX_DECLARE_ISA_TABLES(Type, name) \
  namespace generic {                     \
  extern const Type name;                 \
  }
#define JX_ISA_TABLES(name) \
  { &generic::name, nullptr, nullptr, nullptr }
#define JX_ISA_TABLES_F32(name) JX_ISA_TABLES(name)
#endif

// The tables of a family's .cu: of the emulator always, of CUDA devices where nvcc compiled it.
#if defined(JUXTA_WITH_CUDA)
#define JX_DECLARE_GPU_TABLES(Type, name)    \
  namespace emu { extern const Type name; }  \
  namespace cuda { extern const Type name; }
#define JX_GPU_TABLES(name) &emu::name, &cuda::name
#else
#define JX_DECLARE_GPU_TABLES(Type, name) \
  namespace emu { extern const Type name; }
#define JX_GPU_TABLES(name) &emu::name, nullptr
#endif

namespace juxta {

// Does this program hold CUDA kernels (JUXTA_CUDA)?
bool built_with_cuda();

// Which table CPU calls from this thread use; tests force each in turn.
class ForceTable {
 public:
  static constexpr int kReference = -2, kActive = -1;
  explicit ForceTable(int which);  // kReference, or static_cast<int>(Isa)
  explicit ForceTable(Isa isa) : ForceTable(static_cast<int>(isa)) {}
  ~ForceTable();
  ForceTable(const ForceTable&) = delete;
  ForceTable& operator=(const ForceTable&) = delete;
  static int current();

 private:
  int outer_;
};

// What ForceTable takes on this machine, the reference and every level of host_isas(), and their names.
std::vector<int> cpu_tables();
const char* table_name(int which);

// Entries that fell back to the reference, as "norm.layer_norm_fwd<f32> on avx2"; tests compare it with the
// known list.
std::vector<std::string> table_holes();

namespace detail {
void report_hole(const char* family, const char* entry, DType dtype, const char* table);
template <class Table>
Table fill_holes(const Table* fast, const Table& reference, DType dtype, const char* label) {
  using Entry = void (*)();
  constexpr size_t kCount = Table::kNames.size();
  static_assert(sizeof(Table) == kCount * sizeof(Entry), "kNames must name every entry of the table");
  Entry entries[kCount], fallback[kCount];
  std::memcpy(fallback, &reference, sizeof reference);
  std::memcpy(entries, fast ? fast : &reference, sizeof reference);
  for (size_t i = 0; i < kCount; ++i) {
    if (entries[i]) continue;
    report_hole(Table::kFamily, Table::kNames[i], dtype, label);
    entries[i] = fallback[i];
  }
  Table filled;
  std::memcpy(&filled, entries, sizeof filled);
  return filled;
}
}  // namespace detail

// All tables of one family and element type.
template <class Table>
class TableChoice {
 public:
  // `isa` may hold nulls (machine without it); f64 families pass none and serve the reference.
  TableChoice(DType dtype, const Table& reference, std::array<const Table*, kIsaCount> isa = {},
              const Table* emu = nullptr, const Table* cuda = nullptr)
      : dtype_(dtype), reference_(reference), isa_(isa), emu_(emu), cuda_(cuda) {}

  const Table& on(Device device) const {
    if (device.kind == DeviceKind::emu) return gpu(emu_, device, emu_filled_);
    if (device.kind == DeviceKind::cuda) return gpu(cuda_, device, cuda_filled_);
    const int forced = ForceTable::current();
    if (forced == ForceTable::kReference || dtype_ == DType::f64) return reference_;
    const int which = forced == ForceTable::kActive ? static_cast<int>(active_isa()) : forced;
    return filled(isa_[static_cast<size_t>(which)], isa_filled_[static_cast<size_t>(which)],
                  name_of(static_cast<Isa>(which)));
  }
  const Table& reference() const { return reference_; }

 private:
  struct Slot {
    std::once_flag once;
    Table table;
  };
  const Table& filled(const Table* fast, Slot& slot, const char* label) const {
    std::call_once(slot.once, [&] { slot.table = detail::fill_holes(fast, reference_, dtype_, label); });
    return slot.table;
  }
  // A GPU has no fallback: the reference cannot read its memory. The emulator's memory is host memory, so
  // there a family without a .cu serves its reference.
  const Table& gpu(const Table* table, Device device, Slot& slot) const {
    if (device.kind == DeviceKind::emu) return table ? filled(table, slot, "emu") : reference_;
    JX_CHECK(table, Table::kFamily, ": no kernels for ", device, "; move the tensors with to(kCpu)");
    return *table;
  }

  DType dtype_;
  const Table& reference_;
  std::array<const Table*, kIsaCount> isa_;
  const Table *emu_, *cuda_;
  mutable std::array<Slot, kIsaCount> isa_filled_;
  mutable Slot emu_filled_, cuda_filled_;
};

// Runs one entry over n items: on the CPU in ranges of `grain` over threads, on a GPU in one launch.
template <class Args>
void run(Device device, void (*entry)(const Args&, int64_t, int64_t), const Args& args, int64_t n,
         int64_t grain) {
  if (n <= 0) return;
  JX_CHECK(entry, "no kernel for this op on ", device, "; move the tensors with to(kCpu)");
  if (device.kind == DeviceKind::cpu) {
    parallel_for(n, grain, [&](int64_t begin, int64_t end) { entry(args, begin, end); });
  } else {
    entry(args, 0, n);
  }
}

}  // namespace juxta
