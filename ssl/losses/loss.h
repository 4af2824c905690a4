#pragma once
// What every loss returns, and the checks they share. A loss is a pure function of Vars: no module, no
// trainer, no global; its state (queues, centres) goes in and comes out by argument. Values and statistics
// are f32 (f64 for f64 inputs), whatever the dtype of the embeddings.
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "autograd/var.h"

namespace juxta::ssl {

struct Loss {
  Var loss;                                        // scalar
  std::vector<std::pair<std::string, Var>> terms;  // named parts and figures, for logs and tests
  Var samples{};  // one number per anchor, where the loss is their mean (or sum); undefined otherwise
  // The term of that name; Error when there is none.
  const Var& term(const std::string& name) const;
};

// A named input of a loss, for checks.
struct Named {
  const char* name;
  const Var& value;
};

// Error naming the loss and the argument unless all are float [N, D] of one shape, dtype and device with N >=
// 1 and D >= 1, and finite.
void check_embeddings(const char* loss, std::initializer_list<Named> inputs);
// Error unless every element is finite. An undefined Var passes.
void check_finite(const char* loss, Named input);
// The elements in order; Error unless it is i64 of these dims.
std::vector<int64_t> integers_for(const char* loss, const char* name, const Tensor& t, const Dims& dims);
// Error unless `t` is i64 of these dims with every value in [0, n).
void check_indices(const char* loss, const char* name, const Tensor& t, const Dims& dims, int64_t n);
// bf16 as f32; f32 and f64 as they are.
Var at_least_f32(const Var& x);
// Error unless temperature > 0 and finite.
void check_temperature(const char* loss, double temperature, const char* name = "temperature");

}  // namespace juxta::ssl
