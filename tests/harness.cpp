#include "tests/harness.h"

#include "kernels/gpu_emu.h"
#include "tensor/allocator.h"
#include "tensor/parallel.h"

namespace juxta::test {

namespace {

constexpr Device kEmu{DeviceKind::emu, 0}, kGpu{DeviceKind::cuda, 0};
bool g_gpu = false;  // --gpu; set before the first test

struct Run {
  std::vector<Tensor> outputs, grads;  // grads: one per input, undefined where there is none
};

Tensor strided_copy(
    const Tensor& t) {  // same values, every axis but the last with a gap, memory order reversed
  if (t.ndim() == 0) return t;
  Dims padded = t.dims();
  padded[t.ndim() - 1] += 3;
  if (t.ndim() == 1) {
    Tensor wide = Tensor::full({t.size(0), 2}, 7.0, t.dtype(), t.device());
    Tensor view = wide.select(1, 1);
    view.copy_from(t, "strided_copy");
    return view;
  }
  Tensor wide = Tensor::full(padded, 7.0, t.dtype(), t.device());
  Tensor view = wide.slice(-1, 2, 2 + t.size(-1));
  view.copy_from(t, "strided_copy");
  return view;
}

DType dtype_for(const Input& in, DType dtype) {
  if (in.role == Role::constant || !is_float(in.value.dtype())) return in.value.dtype();
  return in.role == Role::param ? acc_dtype(dtype) : dtype;
}

Run run_case(const OpCase& c, DType dtype, Device device, bool strided,
             const std::vector<Tensor>* values = nullptr) {
  std::vector<Var> in;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const Input& input = c.inputs[i];
    Tensor t = (values ? (*values)[i] : input.value).to(dtype_for(input, dtype)).clone().to(device);
    if (strided) t = strided_copy(t);
    const bool leaf = c.differentiable && is_float(input.value.dtype()) && input.role != Role::constant &&
                      input.role != Role::frozen;
    in.push_back(leaf ? Var::leaf(t) : Var(t));
  }
  const std::vector<Var> out = c.op(in);
  Run r;
  std::vector<Var> roots;
  std::vector<Tensor> cotangents;
  for (size_t k = 0; k < out.size(); ++k) {
    r.outputs.push_back(out[k].value().to(kCpu).contiguous());
    if (!out[k].requires_grad()) continue;
    roots.push_back(out[k]);
    cotangents.push_back(normal(out[k].dims(), 77 + k).to(out[k].dtype()).to(device));
  }
  if (!roots.empty()) backward(roots, cotangents);
  for (const Var& v : in) {
    const bool has = v.is_leaf() && v.grad().defined();
    r.grads.push_back(has ? v.grad().to(kCpu).contiguous() : Tensor());
  }
  return r;
}

double epsilon(DType d) { return d == DType::bf16 ? 0x1p-8 : d == DType::f32 ? 0x1p-23 : 0x1p-52; }

void compare(const std::string& where, const Run& got, const Run& plain, const Run& truth, double floor,
             std::vector<std::string>& failures) {
  const auto one = [&](const std::string& what, const Tensor& g, const Tensor& p, const Tensor& t) {
    if (g.defined() != t.defined()) {
      failures.push_back(where + what + ": one has a value and the reference has none, or the reverse");
      return;
    }
    if (!g.defined()) return;
    if (!is_float(g.dtype())) {
      if (!same_bits(g, t)) failures.push_back(where + what + ": integer output differs");
      return;
    }
    const double error = max_abs_diff(g, t), naive = max_abs_diff(p, t);
    const double allowed = 2 * naive + floor * epsilon(g.dtype()) * max_abs(t) + 1e-37;
    if (!(error <= allowed))
      failures.push_back(
          concat(where, what, ": error ", error, ", allowed ", allowed, " (plain kernel ", naive, ")"));
  };
  for (size_t k = 0; k < truth.outputs.size(); ++k)
    one(concat("output ", k), got.outputs[k], plain.outputs[k], truth.outputs[k]);
  for (size_t i = 0; i < truth.grads.size(); ++i)
    one(concat("gradient ", i), got.grads[i], plain.grads[i], truth.grads[i]);
}

void expect_same(const std::string& where, const Run& a, const Run& b, std::vector<std::string>& failures) {
  for (size_t k = 0; k < a.outputs.size(); ++k)
    if (!same_bits(a.outputs[k], b.outputs[k]))
      failures.push_back(concat(where, "output ", k, " has other bits"));
  for (size_t i = 0; i < a.grads.size(); ++i)
    if (a.grads[i].defined() && !same_bits(a.grads[i], b.grads[i]))
      failures.push_back(concat(where, "gradient ", i, " has other bits"));
}

// The family's .cu on one device.
void check_device(const OpCase& c, DType dtype, Device device, const Run& plain, const Run& truth,
                  std::vector<std::string>& failures) {
  const std::string where = concat(c.name, " ", dtype, " ", device, ": ");
  const Run got = run_case(c, dtype, device, false);
  compare(where, got, plain, truth, c.floor, failures);
  {
    const emu::ForceSchedule shuffled(emu::Schedule::shuffled);  // a device has an order of its own anyway
    expect_same(where + "run again: ", got, run_case(c, dtype, device, false), failures);
  }
  if (c.strided) expect_same(where + "strided: ", got, run_case(c, dtype, device, true), failures);
}

void check_dtype(const OpCase& c, DType dtype, std::vector<std::string>& failures) {
  // The truth is f64 on the values as the narrow type holds them: rounding of inputs is not the kernel's
  // error.
  std::vector<Tensor> rounded;
  for (const Input& in : c.inputs)
    rounded.push_back(is_float(in.value.dtype()) ? in.value.to(dtype_for(in, dtype)).to(in.value.dtype())
                                                 : in.value);
  const Run truth = run_case(c, DType::f64, kCpu, false, &rounded);
  Run plain;
  {
    const ForceTable reference(ForceTable::kReference);
    plain = run_case(c, dtype, kCpu, false);
  }
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const std::string where = concat(c.name, " ", dtype, " ", isa, ": ");
    const int threads = num_threads();
    set_num_threads(1);
    const Run one = run_case(c, dtype, kCpu, false);
    set_num_threads(3);
    const Run three = run_case(c, dtype, kCpu, false);
    set_num_threads(threads);
    compare(where, one, plain, truth, c.floor, failures);
    expect_same(where + "3 threads: ", one, three, failures);
    if (c.strided) expect_same(where + "strided: ", one, run_case(c, dtype, kCpu, true), failures);
  }
  if (!c.emulated) return;
  check_device(c, dtype, kEmu, plain, truth, failures);
  if (g_gpu) check_device(c, dtype, kGpu, plain, truth, failures);
}

struct DebugMemory {
  DebugMemory() {
    emu::register_device();
    set(true);
  }
  ~DebugMemory() { set(false); }
  static void set(bool on) {
    allocator(kCpu).set_debug(on);
    allocator(kEmu).set_debug(on);
  }
};

}  // namespace

void run_cases_on_gpu() { g_gpu = true; }

std::vector<std::string> check_op_case(const OpCase& c) {
  std::vector<std::string> failures;
  const DebugMemory debug;
  try {
    if (c.differentiable) {
      std::vector<Tensor> values;
      for (const Input& in :
           c.inputs)  // frozen inputs enter as constants: gradcheck differentiates f64 inputs only
        values.push_back(in.value);
      const OpFn masked = [&](std::span<const Var> v) {
        std::vector<Var> in(v.begin(), v.end());
        for (size_t i = 0; i < in.size(); ++i)
          if (c.inputs[i].role == Role::frozen || c.inputs[i].role == Role::constant)
            in[i] = Var(c.inputs[i].value);
        return c.op(in);
      };
      const GradCheckResult g = gradcheck(masked, values, c.gradcheck);
      if (!g.ok) failures.push_back(c.name + " f64 gradcheck: " + g.message);
    }
    check_dtype(c, DType::f32, failures);
    if (c.bf16) check_dtype(c, DType::bf16, failures);
  } catch (const std::exception& e) {
    failures.push_back(c.name + " threw: " + e.what());
  }
  return failures;
}

void run_op_case(const OpCase& c) {
  for (const std::string& f : check_op_case(c)) ADD_FAILURE() << f;
}

void expect_caught(const OpCase& wrong) {
  EXPECT_FALSE(check_op_case(wrong).empty()) << wrong.name << ": the mutant passed every check";
}

void for_every_table(const std::function<void(DType, Device)>& check) {
  for (DType d : {DType::f32, DType::bf16, DType::f64}) {
    const ForceTable force(ForceTable::kReference);
    check(d, kCpu);
  }
  emu::register_device();
  for (DType d : {DType::f32, DType::bf16}) {
    for (Isa isa : host_isas()) {
      const ForceTable force(isa);
      check(d, kCpu);
    }
    check(d, kEmu);
    if (g_gpu) check(d, kGpu);
  }
}

std::span<const int64_t> edge_sizes() {
  static constexpr int64_t kSizes[] = {1, 3, 4, 5, 15, 16, 17, 31, 33, 64, 67, 130};
  return kSizes;
}

}  // namespace juxta::test
