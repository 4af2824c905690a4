#pragma once
// How an op enters the graph. Every rule file ends in record(); there is no other way to make a Var with a
// history.
#include <cstddef>
#include <initializer_list>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "autograd/var.h"
#include "tensor/inline_vector.h"

namespace juxta {

// A number that describes an op to observers ("eps", "stride"). The name is a string literal.
struct Attr {
  const char* name;
  double value;
};

// A tensor that backward will need, by name. An undefined tensor may be saved (an absent bias).
struct Saved {
  const char* name = "";
  Tensor tensor;
};

// What a backward function sees: its saved tensors, the cotangents of its outputs, and where to put
// gradients.
class Backward {
 public:
  // Saved tensor i in the order given to record(); Error when it was written since.
  const Tensor& saved(int i) const;
  // Cotangent of output k, contiguous. Undefined when that output did not reach the roots (several outputs
  // only).
  const Tensor& dy(int k = 0) const { return dy_[static_cast<size_t>(k)]; }
  // Is a gradient wanted for input i? Rules skip work that nobody needs.
  bool needs(int i) const;
  // Hands over the gradient of input i: same shape and dtype as the input.
  void set(int i, Tensor dx);

 private:
  friend struct Engine;
  Backward(Node& node, std::span<Tensor> dy, std::span<Tensor> dx) : node_(node), dy_(dy), dx_(dx) {}
  Node& node_;
  std::span<Tensor> dy_, dx_;
};

// A backward function of plain data, stored inside the node. Captures must be trivially destructible: tensors
// belong in the saved list, where dump() counts them and versions are checked.
class BackwardFn {
 public:
  static constexpr size_t kBytes = 256;
  BackwardFn() = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, BackwardFn>) BackwardFn(F fn) {
    static_assert(sizeof(F) <= kBytes, "captures too large: save tensors, capture scalars");
    static_assert(std::is_trivially_destructible_v<F>,
                  "captures must be plain data: put tensors in the saved list");
    new (buffer_) F(std::move(fn));
    call_ = [](void* f, Backward& b) { (*static_cast<F*>(f))(b); };
  }
  void operator()(Backward& b) { call_(buffer_, b); }
  explicit operator bool() const { return call_ != nullptr; }

 private:
  alignas(std::max_align_t) unsigned char buffer_[kBytes];
  void (*call_)(void*, Backward&) = nullptr;
};

using Inputs = std::initializer_list<const Var*>;  // undefined Vars are allowed: absent optional inputs
using SavedList = std::initializer_list<Saved>;

// The common path of all rules: tells the observer, and unless NoGrad or no input needs a gradient, makes the
// node. `op` and the names in attrs and saved are string literals.
Var record(const char* op, std::initializer_list<Attr> attrs, std::span<const Var* const> inputs,
           Tensor output, std::span<const Saved> saved, BackwardFn backward);
std::vector<Var> record_n(const char* op, std::initializer_list<Attr> attrs,
                          std::span<const Var* const> inputs, std::span<const Tensor> outputs,
                          std::span<const Saved> saved, BackwardFn backward);
inline Var record(const char* op, std::initializer_list<Attr> attrs, Inputs inputs, Tensor output,
                  SavedList saved, BackwardFn backward) {
  return record(op, attrs, std::span(inputs.begin(), inputs.size()), std::move(output),
                std::span(saved.begin(), saved.size()), backward);
}

// Does any of these inputs want a gradient here and now? Rules may skip saving work when not.
bool wants_grad(std::initializer_list<const Var*> inputs);

// Listens to every op on this thread, forward and backward, also under NoGrad: inspect, the profiler and the
// first-non-finite watch are observers. One at a time.
class OpObserver {
 public:
  virtual ~OpObserver() = default;
  virtual void forward(const char* op, std::span<const Attr> attrs, std::span<const Var* const> inputs,
                       std::span<const Tensor> outputs, std::span<const Saved> saved) = 0;
  virtual void backward(const char* op, std::span<const Tensor> dy, std::span<const Tensor> dx) = 0;
};
// Installs an observer on this thread for the scope's life; Error when one is installed already.
class ObserverScope {
 public:
  explicit ObserverScope(OpObserver& observer);
  ~ObserverScope();
  ObserverScope(const ObserverScope&) = delete;
  ObserverScope& operator=(const ObserverScope&) = delete;
};

// ---- the node itself (engine, dump and checkpoint only) ----

struct Edge {
  Ref<Node> node;  // null: this input wants no gradient
  int slot = 0;
};

// Extra state of a node that is not plain data (the function of a checkpoint).
class NodeContext : public Counted {
 public:
  virtual ~NodeContext() = default;
  void dispose() { delete this; }
};

class Node : public Counted, public Pooled<Node> {
 public:
  struct SavedSlot {
    Saved saved;
    uint64_t version = 0;  // of the contents
  };
  struct Output {
    Dims dims;
    DType dtype = DType::f32;
    Device device;
  };
  const char* op = "leaf";
  uint64_t sequence = 0;
  bool leaf = false, released = false;
  InlineVector<Edge, 4> inputs;
  InlineVector<Output, 2> outputs;
  InlineVector<SavedSlot, 6> saved;
  BackwardFn backward;
  Ref<NodeContext> context;
  Tensor grad;  // leaves only

  void free();     // releases saved tensors, edges and context
  void dispose();  // never recurses: dying nodes queue on a list that the outermost call drains
};

struct GraphAccess {
  static Var make(Tensor value, Ref<Node> node, int slot) {
    Var v(std::move(value));
    v.node_ = std::move(node);
    v.slot_ = slot;
    return v;
  }
};

uint64_t next_sequence();

// Records again inside a backward call: the replay of a checkpoint needs a graph of its own.
class EnableGrad {
 public:
  EnableGrad();
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool outer_;
};

}  // namespace juxta
