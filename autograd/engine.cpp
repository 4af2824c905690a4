// backward(), grad(), dump() and checkpoint(): everything that walks the graph.
#include <algorithm>
#include <unordered_set>

#include "autograd/accumulate.h"
#include "autograd/record.h"
#include "tensor/rng.h"

namespace juxta {

namespace detail {
OpObserver* observer();
}

namespace {

// The place of each node in one backward call's list of entries. It is not noted in the nodes themselves:
// other threads may walk graphs with the same leaves. Open addressing; what an earlier call left counts as
// empty, so that a table serves the next call as it is.
class NodeTable {
 public:
  void begin() { ++call_, used_ = 0; }
  // The node's place; `next` becomes its place when it has none.
  size_t place(const Node* node, size_t next) {
    if (2 * used_ >= slots_.size()) grow();
    Slot& s = find(node);
    if (s.call != call_) s = {node, call_, next}, ++used_;
    return s.place;
  }

 private:
  struct Slot {
    const Node* node = nullptr;
    uint64_t call = 0;
    size_t place = 0;
  };
  Slot& find(const Node* node) {
    const size_t mask = slots_.size() - 1;
    size_t at = static_cast<size_t>((reinterpret_cast<uintptr_t>(node) * 0x9E3779B97F4A7C15u) >> 20);
    while (slots_[at & mask].call == call_ && slots_[at & mask].node != node) ++at;
    return slots_[at & mask];
  }
  void grow() {
    std::vector<Slot> old = std::move(slots_);
    slots_.assign(std::max<size_t>(64, 2 * old.size()), {});
    for (const Slot& s : old)
      if (s.call == call_) find(s.node) = s;
  }
  std::vector<Slot> slots_;  // a power of two, at most half of them used
  uint64_t call_ = 0;
  size_t used_ = 0;
};
thread_local std::vector<NodeTable> t_tables;  // idle ones: a call inside a call needs its own

}  // namespace

// One backward call. Cotangents live here; only leaves keep gradients.
struct Engine {
  struct Entry {
    Ref<Node> node;
    InlineVector<Tensor, 2> dy;
  };
  struct Target {
    const Node* node;
    int slot;
    Tensor* out;
  };
  std::vector<Entry> entries;
  NodeTable places;
  std::vector<std::pair<uint64_t, size_t>> heap;  // (sequence, entry), largest sequence first
  std::vector<Target> targets;                    // grad(): where to put what
  bool keep_graph = false, into_leaves = true;

  Engine() {
    if (!t_tables.empty()) {
      places = std::move(t_tables.back());
      t_tables.pop_back();
    }
    places.begin();
  }
  ~Engine() { t_tables.push_back(std::move(places)); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  static thread_local Engine*
      outer;  // checkpoint runs a backward inside a backward and shares its leaf policy

  void add(const Ref<Node>& node, int slot, Tensor dy) {
    const size_t place = places.place(node.get(), entries.size());
    if (place == entries.size()) {
      entries.push_back({node, {}});
      entries.back().dy.resize(node->outputs.size());
      heap.emplace_back(node->sequence, place);
      std::push_heap(heap.begin(), heap.end());
    }
    accumulate(entries[place].dy[static_cast<size_t>(slot)], std::move(dy));
  }

  void seed(std::span<const Var> roots, std::span<const Tensor> cotangents) {
    JX_CHECK(cotangents.empty() || cotangents.size() == roots.size(), "backward: ", roots.size(),
             " roots but ", cotangents.size(), " cotangents");
    for (size_t i = 0; i < roots.size(); ++i) {
      const Var& r = roots[i];
      JX_CHECK(r.requires_grad(), "backward: root ", i, " (", r,
               ") depends on no leaf that wants a gradient");
      Tensor dy = cotangents.empty() ? Tensor::full(r.dims(), 1.0, r.dtype(), r.device()) : cotangents[i];
      JX_CHECK(dy.dims() == r.dims() && dy.dtype() == r.dtype(), "backward: cotangent ", i, ": expected ", r,
               ", got ", dy);
      add(r.node(), r.slot(), std::move(dy));
    }
  }

  void finish_leaf(Node& leaf, Tensor dy) {
    bool wanted_by_name = false, into = into_leaves;
    for (Engine* e = this; e; e = e->outer_engine) {
      into = e->into_leaves;  // the outermost call decides
      for (const Target& t : e->targets) {
        if (t.node != &leaf) continue;
        accumulate(*t.out, dy);
        wanted_by_name = true;
      }
    }
    if (!into || wanted_by_name) return;
    // A leaf owns its gradient alone: optimisers and clipping write to it, and a rule may have handed one
    // tensor to two leaves.
    if (!leaf.grad.defined() && dy.storage()->use_count() > 1) dy = dy.clone();
    accumulate(leaf.grad, std::move(dy));
  }

  void run_node(Entry entry) {
    Node& node = *entry.node;
    for (const Target& t : targets)
      if (t.node == &node && !node.leaf) accumulate(*t.out, entry.dy[static_cast<size_t>(t.slot)]);
    if (node.leaf) {
      finish_leaf(node, std::move(entry.dy[0]));
      return;
    }
    JX_CHECK(!node.released, "backward: the graph of ", node.op,
             " was already walked and freed; pass keep_graph = true to the first call");
    for (Tensor& dy : entry.dy)
      if (dy.defined() && !dy.is_contiguous()) dy = dy.contiguous();
    InlineVector<Tensor, 4> dx;
    dx.resize(node.inputs.size());
    Backward b(node, std::span(entry.dy.data(), entry.dy.size()), std::span(dx.data(), dx.size()));
    node.backward(b);
    if (OpObserver* o = detail::observer())
      o->backward(node.op, std::span(entry.dy.data(), entry.dy.size()), std::span(dx.data(), dx.size()));
    entry.dy.clear();
    for (size_t i = 0; i < dx.size(); ++i) {
      const Edge& e = node.inputs[i];
      if (e.node && dx[i].defined()) add(e.node, e.slot, std::move(dx[i]));
    }
    if (!keep_graph) node.free();
  }

  void run() {
    outer_engine = outer;
    outer = this;
    struct Restore {
      Engine* e;
      ~Restore() { outer = e->outer_engine; }
    } restore{this};
    const NoGrad no_graph_of_the_backward;  // first order only
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const size_t i = heap.back().second;
      heap.pop_back();
      run_node(std::move(entries[i]));
    }
  }

  static const Tensor& saved(const Node& node, int i) {
    const Node::SavedSlot& s = node.saved[static_cast<size_t>(i)];
    JX_CHECK(!s.saved.tensor.defined() || s.saved.tensor.content_version() == s.version, node.op,
             ": backward needs '", s.saved.name, "' (", s.saved.tensor, "), but '",
             s.saved.tensor.storage()->last_writer(),
             "' wrote to it after the forward pass; move that write behind backward, or clone first");
    return s.saved.tensor;
  }

  Engine* outer_engine = nullptr;
};
thread_local Engine* Engine::outer = nullptr;

const Tensor& Backward::saved(int i) const { return Engine::saved(node_, i); }
bool Backward::needs(int i) const { return static_cast<bool>(node_.inputs[static_cast<size_t>(i)].node); }
void Backward::set(int i, Tensor dx) {
  const Edge& e = node_.inputs[static_cast<size_t>(i)];
  if (!e.node) return;
  const Node::Output& want = e.node->outputs[static_cast<size_t>(e.slot)];
  JX_CHECK(dx.dims() == want.dims && dx.dtype() == want.dtype, node_.op, ": gradient of input ", i,
           ": expected ", want.dtype, " ", want.dims, ", the rule gave ", dx);
  dx_[static_cast<size_t>(i)] = std::move(dx);
}

void backward(std::span<const Var> roots, std::span<const Tensor> cotangents, bool keep_graph) {
  Engine engine;
  engine.keep_graph = keep_graph;
  engine.seed(roots, cotangents);
  engine.run();
}
void backward(const Var& root, bool keep_graph) { backward(std::span(&root, 1), {}, keep_graph); }

std::vector<Tensor> grad(std::span<const Var> roots, std::span<const Var> inputs,
                         std::span<const Tensor> cotangents, bool keep_graph) {
  std::vector<Tensor> out(inputs.size());
  Engine engine;
  engine.keep_graph = keep_graph;
  engine.into_leaves = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    JX_CHECK(inputs[i].requires_grad(), "grad: input ", i, " (", inputs[i],
             ") is a constant; make it a leaf");
    engine.targets.push_back({inputs[i].node().get(), inputs[i].slot(), &out[i]});
  }
  engine.seed(roots, cotangents);
  engine.run();
  return out;
}

std::string dump(const Var& root) {
  if (!root.requires_grad()) return "no graph\n";
  std::vector<const Node*> nodes{root.node().get()};
  std::unordered_set<const Node*> found{nodes[0]};
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const Edge& e : nodes[i]->inputs)
      if (e.node && found.insert(e.node.get()).second) nodes.push_back(e.node.get());
  std::sort(nodes.begin(), nodes.end(),
            [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
  std::string text;
  int64_t total = 0;
  std::vector<const Storage*> seen;  // a tensor saved twice is held once
  for (const Node* n : nodes) {
    text += concat("#", n->sequence, " ", n->op, " -> ", n->outputs.empty() ? Dims() : n->outputs[0].dims);
    for (const Node::SavedSlot& s : n->saved) {
      if (!s.saved.tensor.defined()) continue;
      const Storage* storage = s.saved.tensor.storage().get();
      const bool again = std::find(seen.begin(), seen.end(), storage) != seen.end();
      if (!again) {
        seen.push_back(storage);
        total += s.saved.tensor.bytes();
      }
      text += concat("  ", s.saved.name, " ", s.saved.tensor, " ", s.saved.tensor.bytes(),
                     again ? " B (shared)" : " B");
    }
    text += "\n";
  }
  return text + concat("saved for backward: ", total, " bytes in ", nodes.size(), " nodes\n");
}

namespace {

struct CheckpointContext : NodeContext {
  CheckpointFn fn;
  std::vector<Draw> draws;
};

void replay(Backward& b, CheckpointContext& context, size_t n_inputs, size_t n_outputs) {
  std::vector<Var> inputs, outputs;
  for (size_t i = 0; i < n_inputs; ++i) {
    const Tensor& x = b.saved(static_cast<int>(i));
    inputs.push_back(b.needs(static_cast<int>(i)) ? Var::leaf(x) : Var(x));
  }
  {
    const EnableGrad own_graph;
    const ReplayDraws same_numbers(context.draws);
    outputs = context.fn(inputs);
  }
  std::vector<Var> roots;
  std::vector<Tensor> cotangents;
  for (size_t k = 0; k < n_outputs; ++k) {
    if (!b.dy(static_cast<int>(k)).defined() || !outputs[k].requires_grad()) continue;
    roots.push_back(outputs[k]);
    cotangents.push_back(b.dy(static_cast<int>(k)));
  }
  Engine inner;
  std::vector<Tensor> dx(n_inputs);
  for (size_t i = 0; i < n_inputs; ++i)
    if (inputs[i].requires_grad()) inner.targets.push_back({inputs[i].node().get(), 0, &dx[i]});
  inner.seed(roots, cotangents);
  inner.run();
  for (size_t i = 0; i < n_inputs; ++i)
    if (dx[i].defined()) b.set(static_cast<int>(i), std::move(dx[i]));
}

}  // namespace

std::vector<Var> checkpoint(CheckpointFn fn, std::span<const Var> inputs) {
  if (NoGrad::active()) return fn(inputs);
  std::vector<Var> outputs;
  Ref<CheckpointContext> context(new CheckpointContext);
  {
    RecordDraws record_draws;
    const NoGrad no_graph;
    outputs = fn(inputs);
    context->draws = std::move(record_draws.taken);
  }
  // The node is made by hand: it must exist even when no input wants a gradient, for the sake of fn's
  // parameters.
  Ref<Node> node(new Node);
  node->op = "checkpoint";
  node->sequence = next_sequence();
  for (const Var& x : inputs) {
    node->inputs.push_back({x.node(), x.slot()});
    const uint64_t version = x.value().content_version();
    node->saved.push_back({{"input", x.value()}, version});
  }
  CheckpointContext* c = context.get();
  c->fn = std::move(fn);
  node->context = Ref<NodeContext>(c);
  const size_t n_inputs = inputs.size(), n_outputs = outputs.size();
  node->backward = [c, n_inputs, n_outputs](Backward& b) { replay(b, *c, n_inputs, n_outputs); };
  std::vector<Var> result;
  for (const Var& y : outputs) node->outputs.push_back({y.dims(), y.dtype(), y.device()});
  for (size_t k = 0; k < n_outputs; ++k)
    result.push_back(GraphAccess::make(outputs[k].value(), node, static_cast<int>(k)));
  return result;
}

Var checkpoint(std::function<Var(const Var&)> fn, const Var& input) {
  return checkpoint([f = std::move(fn)](std::span<const Var> in) { return std::vector<Var>{f(in[0])}; },
                    std::span(&input, 1))[0];
}

}  // namespace juxta
