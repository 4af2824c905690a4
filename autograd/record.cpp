#include "autograd/record.h"

#include <atomic>

namespace juxta {

void RefOps<Node>::retain(Node* p) { p->retain(); }
void RefOps<Node>::drop(Node* p) {
  if (p->drop()) p->dispose();
}

namespace {
std::atomic<uint64_t> g_sequence{0};
thread_local bool t_no_grad = false;
thread_local OpObserver* t_observer = nullptr;
thread_local std::vector<Node*>* t_dying = nullptr;

bool any_requires(std::span<const Var* const> inputs) {
  if (t_no_grad) return false;
  for (const Var* v : inputs)
    if (v->requires_grad()) return true;
  return false;
}

Ref<Node> make_node(const char* op, std::span<const Var* const> inputs, std::span<const Saved> saved,
                    BackwardFn backward) {
  Ref<Node> node(new Node);
  node->op = op;
  node->sequence = next_sequence();
  node->backward = backward;
  for (const Var* v : inputs) node->inputs.push_back({v->node(), v->slot()});
  for (const Saved& s : saved) node->saved.push_back({s, s.tensor.content_version()});
  return node;
}
}  // namespace

uint64_t next_sequence() { return g_sequence.fetch_add(1, std::memory_order_relaxed) + 1; }

Var Var::leaf(Tensor value) {
  JX_CHECK(is_float(value.dtype()), "leaf: gradients need a float tensor, got ", value);
  Ref<Node> node(new Node);
  node->leaf = true;
  node->sequence = next_sequence();
  node->outputs.push_back({value.dims(), value.dtype(), value.device()});
  return GraphAccess::make(std::move(value), std::move(node), 0);
}

bool Var::is_leaf() const { return node_ && node_->leaf; }

const Tensor& Var::grad() const {
  JX_CHECK(is_leaf(), "grad: only a leaf holds its gradient; for others call grad(roots, inputs)");
  return node_->grad;
}
void Var::set_grad(Tensor g) {
  JX_CHECK(is_leaf(), "set_grad: only a leaf holds a gradient");
  JX_CHECK(!g.defined() || g.dims() == dims(), "set_grad: expected ", dims(), ", got ", g);
  node_->grad = std::move(g);
}
void Var::set_value(Tensor value) {
  JX_CHECK(!node_ || node_->leaf, "set_value: the result of an op cannot be replaced");
  JX_CHECK(!node_ || value.dims() == dims(), "set_value: expected ", dims(), ", got ", value);
  if (node_) node_->outputs[0] = {value.dims(), value.dtype(), value.device()};
  value_ = std::move(value);
}

NoGrad::NoGrad() : outer_(t_no_grad) { t_no_grad = true; }
NoGrad::~NoGrad() { t_no_grad = outer_; }
EnableGrad::EnableGrad() : outer_(t_no_grad) { t_no_grad = false; }
EnableGrad::~EnableGrad() { t_no_grad = outer_; }
bool NoGrad::active() { return t_no_grad; }

bool wants_grad(std::initializer_list<const Var*> inputs) {
  return any_requires(std::span(inputs.begin(), inputs.size()));
}

Var record(const char* op, std::initializer_list<Attr> attrs, std::span<const Var* const> inputs,
           Tensor output, std::span<const Saved> saved, BackwardFn backward) {
  if (t_observer)
    t_observer->forward(op, std::span(attrs.begin(), attrs.size()), inputs, std::span(&output, 1), saved);
  if (!any_requires(inputs)) return Var(std::move(output));
  Ref<Node> node = make_node(op, inputs, saved, backward);
  node->outputs.push_back({output.dims(), output.dtype(), output.device()});
  return GraphAccess::make(std::move(output), std::move(node), 0);
}

std::vector<Var> record_n(const char* op, std::initializer_list<Attr> attrs,
                          std::span<const Var* const> inputs, std::span<const Tensor> outputs,
                          std::span<const Saved> saved, BackwardFn backward) {
  if (t_observer) t_observer->forward(op, std::span(attrs.begin(), attrs.size()), inputs, outputs, saved);
  std::vector<Var> vars;
  if (!any_requires(inputs)) {
    for (const Tensor& t : outputs) vars.emplace_back(t);
    return vars;
  }
  Ref<Node> node = make_node(op, inputs, saved, backward);
  for (const Tensor& t : outputs) node->outputs.push_back({t.dims(), t.dtype(), t.device()});
  for (size_t k = 0; k < outputs.size(); ++k)
    vars.push_back(GraphAccess::make(outputs[k], node, static_cast<int>(k)));
  return vars;
}

ObserverScope::ObserverScope(OpObserver& observer) {
  JX_CHECK(!t_observer, "observer: one is already listening on this thread");
  t_observer = &observer;
}
ObserverScope::~ObserverScope() { t_observer = nullptr; }
namespace detail {
OpObserver* observer() { return t_observer; }
}  // namespace detail

void Node::free() {
  released = true;
  saved.clear();
  inputs.clear();
  context = nullptr;
}

void Node::dispose() {
  if (t_dying) {  // an outer call below is draining: queue here, do not recurse
    t_dying->push_back(this);
    return;
  }
  std::vector<Node*> dying{this};
  t_dying = &dying;
  while (!dying.empty()) {
    Node* n = dying.back();
    dying.pop_back();
    delete n;  // drops its edges; nodes whose count falls to zero come back through the branch above
  }
  t_dying = nullptr;
}

}  // namespace juxta
