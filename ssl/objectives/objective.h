#pragma once
// Objective: one row of the registry. Everything that lists, verifies or tries an objective reads these rows;
// the functions behind them are the ones that methods, trainer and evaluation call.
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// A named input. '#' in a name stands for a number from 0 up: "grad#" takes grad0, grad1, ...
struct InputRow {
  const char* name;
  const char* shape;      // "[N, D]", "i64 [N]", "[]"; equal letters are equal sizes
  bool optional = false;  // may be absent
  bool image = false;     // image maps: [.., H, W, C] here, [.., C, H, W] in files
};

// What a loss needs from other processes to equal that of one process on the whole batch.
enum class Across {
  local,       // nothing: the mean of the parts is the whole
  negatives,   // every process's rows as columns, with their gradient
  statistics,  // sums over the batch (means, covariances)
};

enum class Kind {
  loss,    // a scalar to minimise, and its terms
  layer,   // a differentiable part of a model; "loss" is a sum over its output that stands for what follows
  state,   // one update of state: optimisers, moving averages, queues, memories, assignments
  rule,    // sampling, masking, augmentation, decoding: what to do next
  metric,  // figures about embeddings, rankings or predictions
};
const char* to_text(Kind kind);

// Named tensors of one call. Integer tensors are constants.
class Inputs {
 public:
  explicit Inputs(const char* objective) : objective_(objective) {}
  void add(std::string name, Var value) { values_.emplace_back(std::move(name), std::move(value)); }
  const Var& operator[](const std::string& name) const;  // Error naming objective and input when absent
  Var optional(const std::string& name) const;           // undefined when absent
  const Tensor& tensor(const std::string& name) const { return (*this)[name].value(); }
  Tensor optional_tensor(const std::string& name) const;  // undefined when absent
  // Those called prefix0, prefix1, ... up to the first that is absent.
  std::vector<Var> numbered(const std::string& prefix) const;
  std::vector<Tensor> numbered_tensors(const std::string& prefix) const;
  bool has(const std::string& name) const { return find(name) != nullptr; }
  const std::vector<std::pair<std::string, Var>>& all() const { return values_; }
  const char* objective() const { return objective_; }

 private:
  const Var* find(const std::string& name) const;

  const char* objective_;
  std::vector<std::pair<std::string, Var>> values_;
};

// What a row computed: the loss (undefined for rows that have none) and its other outputs by name, as in
// files.
using Outcome = Loss;
using Terms = std::vector<std::pair<std::string, Var>>;
// A number as an output, in f64.
inline Var figure(double value) { return Var(Tensor::scalar(value, DType::f64)); }

struct Objective {
  const char* name;      // "nt_xent"
  const char* system;    // "SimCLR"
  const char* paper;     // "Chen et al. 2020, arXiv 2002.05709"
  const char* equation;  // one line
  Kind kind;
  Across across;
  std::span<const InputRow> inputs;
  void (*list)(Params&);                         // declares its parameters with their defaults
  Outcome (*run)(const Inputs&, Params& given);  // Error on unknown inputs or parameters
  std::span<const char* const> image_outputs{};  // outputs that are image maps, as InputRow::image
};

template <class P>
void list_params(Params& f) {
  P p;
  p.fields(f);
}

// For rows without parameters: f.read<NoParams>() refuses any.
struct NoParams {
  void fields(Params&) {}
};

// The row of the input, or null. A '#' in the row's name matches digits.
const InputRow* find_input(const Objective& row, const std::string& name);
// Error when an input is given that the row does not have, with the nearest name.
void check_inputs(const Objective& row, const Inputs& inputs);

}  // namespace juxta::ssl
