#pragma once
// Var: a Tensor together with the graph node that made it. Reverse-mode differentiation, first order.
//
// A node holds {op, sequence number, input edges (never values), named saved tensors, backward function}.
// Nodes are owned by the Vars and edges that need them, so a graph that nobody needs is freed at once and
// inference does not leak. backward() visits reachable nodes by descending sequence number: creation order is
// a topological order, hence no recursion and a fixed order of accumulation.
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace juxta {

class Node;
template <>
struct RefOps<Node> {
  static void retain(Node* p);
  static void drop(Node* p);
};

class Var {
 public:
  Var() = default;                                 // undefined: an absent optional argument
  Var(Tensor value) : value_(std::move(value)) {}  // a constant
  static Var leaf(Tensor value);                   // a variable whose gradient is wanted (parameter, input)

  const Tensor& value() const { return value_; }
  bool defined() const { return value_.defined(); }
  explicit operator bool() const { return defined(); }
  bool requires_grad() const { return static_cast<bool>(node_); }
  bool is_leaf() const;

  // Gradient of a leaf; undefined before the first backward. Error on anything but a leaf.
  const Tensor& grad() const;
  void set_grad(Tensor g);
  void clear_grad() { set_grad(Tensor()); }
  // Replaces the tensor of a leaf or constant (loading weights, moving parameters into one arena).
  void set_value(Tensor value);

  const Dims& dims() const { return value_.dims(); }
  int ndim() const { return value_.ndim(); }
  int64_t size(int d) const { return value_.size(d); }
  int64_t numel() const { return value_.numel(); }
  DType dtype() const { return value_.dtype(); }
  Device device() const { return value_.device(); }
  double item() const { return value_.item(); }

  const Ref<Node>& node() const { return node_; }
  int slot() const { return slot_; }

 private:
  friend struct GraphAccess;
  Tensor value_;
  Ref<Node> node_;
  int slot_ = 0;
};

inline std::string to_text(const Var& v) { return to_text(v.value()); }

// While alive, ops on this thread record nothing (teachers, evaluation).
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;
  static bool active();

 private:
  bool outer_;
};

// Adds d(sum of roots . cotangents)/d(leaf) to the gradient of every leaf that the roots depend on.
// Cotangents default to ones (roots are then usually scalars). The graph is freed as it is walked unless
// keep_graph. Errors: a root without a graph; a graph walked twice; a saved tensor that was written since it
// was saved.
// Threads: several may walk graphs at once. Graphs that share leaves (one model, several batches) are safe
// with grad(); backward() adds to the leaves' gradients without a lock, so two calls at a time must not reach
// the same leaf.
void backward(std::span<const Var> roots, std::span<const Tensor> cotangents = {}, bool keep_graph = false);
void backward(const Var& root, bool keep_graph = false);

// The same derivatives for `inputs` (leaves or intermediate Vars), returned; no leaf's gradient is touched.
// An input that the roots do not depend on yields an undefined Tensor. First order only: the result carries
// no graph.
std::vector<Tensor> grad(std::span<const Var> roots, std::span<const Var> inputs,
                         std::span<const Tensor> cotangents = {}, bool keep_graph = false);

// One line per node of the graph behind `root`, newest first: op, sequence number, saved tensors and their
// bytes.
std::string dump(const Var& root);

// Runs fn(inputs) without keeping its graph and runs it again, with the same random numbers, when backward
// arrives: memory for one more forward pass (Chen et al., arXiv 1604.06174). Running statistics are not
// touched a second time. fn must be a pure function of its inputs, of parameters and of random draws.
using CheckpointFn = std::function<std::vector<Var>(std::span<const Var>)>;
std::vector<Var> checkpoint(CheckpointFn fn, std::span<const Var> inputs);
Var checkpoint(std::function<Var(const Var&)> fn, const Var& input);

// fn on `rows` rows (axis 0) of the inputs at a time, each part a checkpoint, outputs joined: the graph holds
// one part's activations, and gradients are those of the whole to rounding as long as fn treats rows
// independently (GradCache, Gao et al. 2021, arXiv 2101.06983). A loss on the result sees all rows. rows 0:
// fn on the whole, without a checkpoint.
using ChunkFn = std::function<Var(std::span<const Var>)>;
Var in_chunks(const ChunkFn& fn, std::span<const Var> inputs, int64_t rows);
Var in_chunks(std::function<Var(const Var&)> fn, const Var& input, int64_t rows);

}  // namespace juxta
