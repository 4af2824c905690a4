// Emulated global memory: guard pages, watched bytes, and the handler that turns a fault into an Error.
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/gpu_emu_engine.h"
#include "tensor/allocator.h"
#include "tensor/error.h"

namespace juxta::emu {

namespace {

constexpr unsigned char kCanary = 0xA5;
constexpr uintptr_t kAlign = 16;  // of float4 and of cp.async

//   guard page | watched bytes | the user's bytes | at most 15 watched bytes | guard page
struct Buffer {
  uintptr_t base;  // of the mapping
  size_t mapped;   // with both guard pages
  size_t bytes;
  uintptr_t front() const;
  uintptr_t back() const { return base + mapped - page_bytes(); }
  static size_t page_bytes() {
    static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
  }
};
uintptr_t Buffer::front() const { return base + page_bytes(); }

std::mutex g_mutex;
std::map<uintptr_t, Buffer>& buffers() {  // by the user's address
  static auto* map = new std::map<uintptr_t, Buffer>;  // tensors may outlive main's statics
  return *map;
}
std::atomic<uint64_t> g_generation{1};  // changes when a buffer goes

// The buffer whose mapping holds `a`, guard pages included.
const std::pair<const uintptr_t, Buffer>* find_mapping(uintptr_t a) {
  auto it = buffers().upper_bound(a);
  if (it != buffers().end() && a >= it->second.base) return &*it;
  if (it == buffers().begin()) return nullptr;
  --it;
  return a < it->second.base + it->second.mapped ? &*it : nullptr;
}

bool canaries_intact(uintptr_t user, const Buffer& b) {
  for (uintptr_t p = b.front(); p < user; ++p)
    if (*reinterpret_cast<const volatile unsigned char*>(p) != kCanary) return false;
  for (uintptr_t p = user + b.bytes; p < b.back(); ++p)
    if (*reinterpret_cast<const volatile unsigned char*>(p) != kCanary) return false;
  return true;
}

}  // namespace

void* emu_malloc(size_t bytes) {
  const size_t page = Buffer::page_bytes();
  JX_CHECK(bytes < (size_t{1} << 46), "emu_malloc: ", bytes, " bytes are more than any machine has");
  const size_t inner = (bytes / page + 1) * page, mapped = inner + 2 * page;
  void* p = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  JX_CHECK(p != MAP_FAILED, "emu_malloc: no memory for ", bytes, " bytes");
  const auto base = reinterpret_cast<uintptr_t>(p);
  if (mprotect(reinterpret_cast<void*>(base + page), inner, PROT_READ | PROT_WRITE) != 0) {
    munmap(p, mapped);
    JX_FAIL("emu_malloc: no memory for ", bytes, " bytes");
  }
  const Buffer b{base, mapped, bytes};
  const uintptr_t user = (b.back() - bytes) & ~(kAlign - 1);
  std::memset(reinterpret_cast<void*>(b.front()), kCanary, user - b.front());
  std::memset(reinterpret_cast<void*>(user), 0xFF, bytes);
  std::memset(reinterpret_cast<void*>(user + bytes), kCanary, b.back() - user - bytes);
  const std::lock_guard lock(g_mutex);
  buffers().emplace(user, b);
  return reinterpret_cast<void*>(user);
}

void emu_free(void* p) {
  if (!p) return;
  const std::lock_guard lock(g_mutex);
  const auto it = buffers().find(reinterpret_cast<uintptr_t>(p));
  JX_CHECK(it != buffers().end(),
           "emu_free: the pointer is not one that emu_malloc gave, or was freed before");
  munmap(reinterpret_cast<void*>(it->second.base), it->second.mapped);
  buffers().erase(it);
  g_generation.fetch_add(1, std::memory_order_relaxed);
}

void register_device() {
  set_raw_memory(DeviceKind::emu, {[](size_t bytes) -> void* {
                                     try {
                                       return emu_malloc(bytes);
                                     } catch (const Error&) {
                                       return nullptr;  // the allocator says what it has in use
                                     }
                                   },
                                   [](void* p, size_t) { emu_free(p); }, true, true});
}

std::string check_canaries() {
  const std::lock_guard lock(g_mutex);
  for (const auto& [user, b] : buffers()) {
    if (canaries_intact(user, b)) continue;
    std::memset(reinterpret_cast<void*>(b.front()), kCanary, user - b.front());  // report it once
    std::memset(reinterpret_cast<void*>(user + b.bytes), kCanary, b.back() - user - b.bytes);
    return concat("out of bounds: bytes beside a buffer of ", b.bytes, " bytes were written");
  }
  return {};
}

std::string describe_address(const void* address) {
  const auto a = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(g_mutex);
  const auto* found = find_mapping(a);
  if (!found) {
    return a < 65536 ? concat("address ", a, " (a null pointer?)")
                     : std::string("an address that no emulated buffer holds (host or freed memory?)");
  }
  const auto& [user, b] = *found;
  if (a < user) return concat(user - a, " bytes before a buffer of ", b.bytes, " bytes");
  if (a >= user + b.bytes)
    return concat(a - user - b.bytes, " bytes past the end of a buffer of ", b.bytes, " bytes");
  return concat("offset ", a - user, " of a buffer of ", b.bytes, " bytes");
}

void check_global(const void* p, size_t bytes, bool writes) {
  struct Hit {
    uintptr_t begin = 1, end = 0;
  };
  static thread_local Hit recent[4];
  static thread_local unsigned next = 0;
  static thread_local uint64_t generation = 0;
  const auto a = reinterpret_cast<uintptr_t>(p);
  if (const uint64_t now = g_generation.load(std::memory_order_relaxed); generation != now) {
    for (Hit& h : recent) h = {};
    generation = now;
  }
  for (const Hit& h : recent)
    if (a >= h.begin && a + bytes <= h.end) return;
  {
    const std::lock_guard lock(g_mutex);
    auto it = buffers().upper_bound(a);
    if (it != buffers().begin()) {
      --it;
      const uintptr_t end = it->first + it->second.bytes;
      if (a >= it->first && a + bytes <= end) {
        recent[next++ % 4] = {it->first, end};
        return;
      }
    }
  }
  Engine& e = Engine::mine();
  e.fault(concat("out of bounds: ", e.thread_name(e.current), writes ? " writes " : " reads ", bytes,
                 " bytes at ", describe_address(p)));
}

// ---- faults of raw pointers ----

namespace {

struct sigaction g_outer[2];  // SIGSEGV, SIGBUS

// The running thread of an emulated block takes its faults itself: the handler makes it continue in
// memory_fault() on the empty stack, as if called, so that no code runs in the signal's context.
bool redirect(siginfo_t* info, void* context) {
  if (!t_engine || !t_engine->inside) return false;
  Engine& e = *t_engine;
  auto* c = static_cast<ucontext_t*>(context);
  Fiber& fiber = *e.threads[e.current].fiber;
  const auto top = reinterpret_cast<uintptr_t>(fiber.top()) & ~uintptr_t{15};
  void (*const landing)() = [] { Engine::mine().memory_fault(); };
  e.fault_address = info->si_addr;
  e.fault_has_address = info->si_code > 0 && info->si_code != SI_KERNEL;
  fiber.unpoison();
#if defined(__x86_64__)
  e.fault_writes = (c->uc_mcontext.gregs[REG_ERR] & 2) != 0;
  c->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(landing);
  c->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(top - 8);  // as after a call
  c->uc_mcontext.gregs[REG_EFL] &= ~0x400;                       // string operations count up
  return true;
#elif defined(__aarch64__)
  e.fault_writes = false;
  c->uc_mcontext.pc = reinterpret_cast<uintptr_t>(landing);
  c->uc_mcontext.sp = top;
  return true;
#else
  static constexpr char kText[] = "juxta: emu: an emulated thread touched memory outside its buffers\n";
  if (write(2, kText, sizeof kText - 1) < 0) return false;
  static_cast<void>(c);
  static_cast<void>(landing);
  static_cast<void>(top);
  return false;
#endif
}

void on_signal(int signal, siginfo_t* info, void* context) {
  if (redirect(info, context)) return;
  const struct sigaction& outer = g_outer[signal == SIGSEGV ? 0 : 1];
  if ((outer.sa_flags & SA_SIGINFO) && outer.sa_sigaction) {
    outer.sa_sigaction(signal, info, context);
  } else if (outer.sa_handler != SIG_DFL && outer.sa_handler != SIG_IGN) {
    outer.sa_handler(signal);
  } else {
    sigaction(signal, &outer, nullptr);  // the instruction faults again and the process ends as it would have
  }
}

// A stack for the handler: the thread's own may be the one that overflowed.
struct SignalStack {
  void* memory = nullptr;
  static constexpr size_t kBytes = size_t{64} << 10;
  SignalStack() {
    stack_t now{};
    if (sigaltstack(nullptr, &now) == 0 && !(now.ss_flags & SS_DISABLE)) return;  // a sanitizer's, say
    memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    JX_CHECK(memory != MAP_FAILED, "emu: no memory for the signal stack");
    stack_t mine{};
    mine.ss_sp = memory;
    mine.ss_size = kBytes;
    sigaltstack(&mine, nullptr);
  }
  ~SignalStack() {
    if (!memory) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    munmap(memory, kBytes);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;
};

}  // namespace

void arm_signal_handler() {
  static thread_local const SignalStack stack;
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction mine {};
    mine.sa_sigaction = on_signal;
    mine.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&mine.sa_mask);
    sigaction(SIGSEGV, &mine, &g_outer[0]);
    sigaction(SIGBUS, &mine, &g_outer[1]);
  });
}

void Engine::memory_fault() {
  if (fault_has_address && threads[current].fiber->owns_guard(fault_address))
    fault(concat("stack overflow: the local variables of ", thread_name(current),
                 " exceed the emulated stack"));
  fault(concat("out of bounds: ", thread_name(current), fault_writes ? " writes " : " reads ",
               fault_has_address ? describe_address(fault_address)
                                 : std::string("through a misaligned or wild pointer")));
}

}  // namespace juxta::emu
