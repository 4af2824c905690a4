#pragma once
// Objective: one row of a registry. Everything that lists, verifies or tries a loss reads these rows; the
// functions behind them are the ones that methods call.
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ssl/losses/loss.h"
#include "ssl/losses/params.h"

namespace juxta::ssl {

struct InputRow {
  const char* name;
  const char* shape;      // "[N, D]", "i64 [N]"
  bool optional = false;  // may be absent
  bool image = false;     // an image map: [N, H, W, C] here, [N, C, H, W] in golden files
};

// What a loss needs from other processes to equal that of one process on the whole batch.
enum class Across {
  local,       // nothing: the mean of the parts is the whole
  negatives,   // every process's rows as columns, with their gradient
  statistics,  // sums over the batch (means, covariances)
};

// Named tensors of one call. Integer tensors are constants.
class Inputs {
 public:
  explicit Inputs(const char* objective) : objective_(objective) {}
  void add(std::string name, Var value) { values_.emplace_back(std::move(name), std::move(value)); }
  const Var& operator[](const std::string& name) const;  // Error naming objective and input when absent
  Var optional(const std::string& name) const;           // undefined when absent
  const std::vector<std::pair<std::string, Var>>& all() const { return values_; }
  const char* objective() const { return objective_; }

 private:
  const char* objective_;
  std::vector<std::pair<std::string, Var>> values_;
};

struct Objective {
  const char* name;      // "nt_xent"
  const char* system;    // "SimCLR"
  const char* paper;     // "Chen et al. 2020, arXiv 2002.05709"
  const char* equation;  // one line
  std::span<const InputRow> inputs;
  Across across;
  void (*list)(Params&);                      // declares its parameters with their defaults
  Loss (*run)(const Inputs&, Params& given);  // Error on unknown inputs or parameters
};

template <class P>
void list_params(Params& f) {
  P p;
  p.fields(f);
}

// Error when an input is given that the row does not have, with the nearest name.
void check_inputs(const Objective& row, const Inputs& inputs);

}  // namespace juxta::ssl
