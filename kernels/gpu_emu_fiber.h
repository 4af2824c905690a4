#pragma once
// Fibers: flows of control with a stack each, switched by hand on one host thread.
//
// x86-64 switches in nine instructions (about 10 ns); other machines, and builds with JUXTA_EMU_UCONTEXT, use
// ucontext (about 300 ns: it makes a system call). AddressSanitizer and ThreadSanitizer are told of every
// switch.
#include <cstddef>

#if !defined(__x86_64__) && !defined(JUXTA_EMU_UCONTEXT)
#define JUXTA_EMU_UCONTEXT
#endif
#ifdef JUXTA_EMU_UCONTEXT
#include <ucontext.h>
#endif

namespace juxta::emu {

// Where a flow of control continues, and what the sanitizers know of it.
struct Flow {
#ifdef JUXTA_EMU_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
  const void* bottom = nullptr;  // lowest address of its stack
  size_t size = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's frames of this flow
  void* tsan = nullptr;        // ThreadSanitizer's fiber
};

// A stack above a guard region with the flow that runs on it. Not movable: the flow points into it.
class Fiber {
 public:
  explicit Fiber(size_t index);  // neighbouring indices start at different cache sets; Error without memory
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() starts entry() on an empty stack; whatever ran there is forgotten, its destructors do
  // not run. entry must not return.
  void restart(void (*entry)());
  bool owns_guard(const void* address) const;  // a fault below the stack is an overflow
  void* top() const { return top_; }
  void unpoison();  // tells AddressSanitizer that no frame lies on the stack
  Flow& flow() { return flow_; }

 private:
  char* base_;  // guard, then the stack (the guard of the next fiber bounds it above)
  char* top_;
  Flow flow_;
};

// Leaves `from`, which continues here later, and continues `to`. `forever`: `from` will not be continued.
void switch_flow(Flow& from, Flow& to, bool forever = false);
// The first thing entry() does: completes the switch that started it and notes the stack of `home`, from
// which it was started.
void arrive(Flow& home);
// Prepares a Flow for the running thread's own stack.
void adopt_thread(Flow& home);

}  // namespace juxta::emu
