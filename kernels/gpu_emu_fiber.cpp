#include "kernels/gpu_emu_fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "tensor/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define JX_EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JX_EMU_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define JX_EMU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define JX_EMU_TSAN 1
#endif
#endif

#ifdef JX_EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef JX_EMU_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifndef JUXTA_EMU_UCONTEXT
// Saves the registers that a callee must keep (System V ABI) on the old stack and takes those of the new one.
asm(R"(
.text
.p2align 4
.globl juxta_emu_switch
.hidden juxta_emu_switch
.type juxta_emu_switch, @function
juxta_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size juxta_emu_switch, .-juxta_emu_switch
)");
extern "C" void juxta_emu_switch(void** save_stack_pointer, void* stack_pointer);
#endif

namespace juxta::emu {

namespace {
#if defined(JX_EMU_ASAN) || defined(JX_EMU_TSAN)
constexpr size_t kStackBytes = size_t{256} << 10;  // red zones around every local
#else
constexpr size_t kStackBytes = size_t{64} << 10;
#endif
constexpr size_t kGuardBytes = size_t{64} << 10;  // below: a frame of a large array steps over a page
constexpr size_t kMapped = kGuardBytes + kStackBytes;
}  // namespace

Fiber::Fiber(size_t index) {
  void* p = mmap(nullptr, kMapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  JX_CHECK(p != MAP_FAILED &&
               mprotect(static_cast<char*>(p) + kGuardBytes, kStackBytes, PROT_READ | PROT_WRITE) == 0,
           "emu: no memory for the stack of an emulated thread (", kStackBytes, " bytes)");
  base_ = static_cast<char*>(p);
  // Stacks lie a whole number of pages apart: without a stagger all their tops share one set of the L1 cache.
  top_ = base_ + kMapped - index % 32 * 192;
  flow_.bottom = base_ + kGuardBytes;
  flow_.size = kStackBytes;
}

Fiber::~Fiber() {
  unpoison();
#ifdef JX_EMU_TSAN
  if (flow_.tsan) __tsan_destroy_fiber(flow_.tsan);
#endif
  munmap(base_, kMapped);
}

void Fiber::restart(void (*entry)()) {
  unpoison();
  flow_.fake_stack = nullptr;
#ifdef JX_EMU_TSAN
  if (flow_.tsan) __tsan_destroy_fiber(flow_.tsan);
  flow_.tsan = __tsan_create_fiber(0);
#endif
#ifdef JUXTA_EMU_UCONTEXT
  getcontext(&flow_.context);
  flow_.context.uc_stack.ss_sp = base_ + kGuardBytes;
  flow_.context.uc_stack.ss_size = static_cast<size_t>(top_ - (base_ + kGuardBytes));
  flow_.context.uc_link = nullptr;
  makecontext(&flow_.context, entry, 0);
#else
  // As if entry had been called: a return address of zero on a stack aligned to 16 before the call.
  auto** s = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top_) & ~uintptr_t{15});
  *--s = nullptr;
  *--s = reinterpret_cast<void*>(entry);
  for (int reg = 0; reg < 6; ++reg) *--s = nullptr;
  flow_.stack_pointer = s;
#endif
}

bool Fiber::owns_guard(const void* address) const {
  const auto* a = static_cast<const char*>(address);
  return a >= base_ && a < base_ + kGuardBytes;
}

void Fiber::unpoison() {
#ifdef JX_EMU_ASAN
  __asan_unpoison_memory_region(flow_.bottom, flow_.size);
#endif
}

#ifdef JX_EMU_TSAN
__attribute__((no_sanitize("thread")))
#endif
void switch_flow(Flow& from, Flow& to, bool forever) {
  static_cast<void>(forever);  // AddressSanitizer alone needs it
#ifdef JX_EMU_ASAN
  __sanitizer_start_switch_fiber(forever ? nullptr : &from.fake_stack, to.bottom, to.size);
#endif
#ifdef JX_EMU_TSAN
  __tsan_switch_to_fiber(to.tsan, 0);
#endif
#ifdef JUXTA_EMU_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  juxta_emu_switch(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef JX_EMU_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void arrive(Flow& home) {
  static_cast<void>(home);
#ifdef JX_EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &home.bottom, &home.size);
#endif
}

void adopt_thread(Flow& home) {
  static_cast<void>(home);
#ifdef JX_EMU_TSAN
  home.tsan = __tsan_get_current_fiber();
#endif
}

}  // namespace juxta::emu
