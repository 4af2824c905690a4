#pragma once
// OpCase: one op on one set of inputs, checked in every way that the project promises.
//
//   1. f64 gradients against finite differences with a random cotangent;
//   2. every kernel table (reference, each ISA of this host, the emulator where the family has a .cu) in f32
//      and bf16, outputs and gradients, against f64: error <= 2x that of the plain f32/bf16 reference kernel,
//      plus a floor;
//   3. the same bits with 1 thread and with 3; on the emulator, with threads and blocks in another order; on
//      a GPU, in a second run;
//   4. strided (non-contiguous) inputs give the bits of contiguous ones;
//   5. everything under the debug allocator: guard bytes, NaN in fresh memory.
#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "autograd/record.h"
#include "kernels/table.h"
#include "tests/support.h"

namespace juxta::test {

// activation: f32 or bf16 by the run. param: f32 beside bf16 activations. constant: never cast (indices,
// masks). A constant or `frozen` float input gets no gradient.
enum class Role { activation, param, frozen, constant };

struct Input {
  Tensor value;  // floats as f64
  Role role = Role::activation;
};

struct OpCase {
  std::string name;
  std::vector<Input> inputs;
  OpFn op;                     // through autograd/ops.h
  bool bf16 = true;            // run in bf16 too
  bool differentiable = true;  // false: forward only
  bool emulated = false;       // also on Device emu, and with --gpu on cuda (families with a .cu)
  bool strided = true;         // step 4
  GradCheck gradcheck = {};
  double floor = 8;  // allowed besides the 2x rule, in units of epsilon(dtype) * max|reference|
};

// From now on emulated cases, and for_every_table, also run on the first CUDA device (juxta_tests --gpu).
void run_cases_on_gpu();

// Failures in words; empty when all is well.
std::vector<std::string> check_op_case(const OpCase& c);
// check_op_case as a GoogleTest expectation.
void run_op_case(const OpCase& c);
// The mutant of a test file: a wrong op that check_op_case must catch.
void expect_caught(const OpCase& wrong);

// Calls check with f32, bf16 and f64 on the reference kernels, f32 and bf16 on each ISA of this host, on the
// emulator and, with --gpu, on the GPU: for values that must be the same everywhere.
void for_every_table(const std::function<void(DType, Device)>& check);

// Sizes around the widths of all vectors and the usual tiles: 1, 3, 4, 5, 15, 16, 17, 31, 33, 64, 67, 130.
std::span<const int64_t> edge_sizes();

}  // namespace juxta::test
