#include "ssl/momentum/ema.h"

#include "kernels/optim.h"

namespace juxta::ssl {

namespace {

template <class T>
void lerp(std::span<const Tensor> teacher, std::span<const Tensor> student, double m) {
  std::vector<OptimTensor<T>> rows;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < teacher.size(); ++i) {
    Tensor to = teacher[i];
    rows.push_back({.p = to.write<T>("ema.update"), .g = student[i].data<T>(), .n = to.numel()});
    sizes.push_back(to.numel());
  }
  const std::vector<OptimChunk> chunks = optim_chunks(sizes);
  OptimArgs<T> args{};
  args.tensors = rows.data();
  args.chunks = chunks.data();
  args.scale = m;
  run(kCpu, optim_tables<T>().on(kCpu).ema, args, static_cast<int64_t>(chunks.size()), 1);
}

}  // namespace

void ema_update(std::span<const Tensor> teacher, std::span<const Tensor> student, double m) {
  JX_CHECK(m >= 0 && m <= 1, "ema: momentum: expected a value in [0, 1], got ", m);
  JX_CHECK(teacher.size() == student.size(), "ema: ", teacher.size(), " and ", student.size(), " tensors");
  if (teacher.empty()) return;
  const DType dtype = teacher[0].dtype();
  for (size_t i = 0; i < teacher.size(); ++i)
    JX_CHECK(teacher[i].dims() == student[i].dims() && teacher[i].dtype() == dtype &&
                 student[i].dtype() == dtype && teacher[i].is_contiguous() && student[i].is_contiguous(),
             "ema: tensor ", i, ": teacher ", teacher[i], ", student ", student[i]);
  JX_CHECK(dtype == DType::f32 || dtype == DType::f64, "ema: expected f32 or f64, got ", dtype);
  dtype == DType::f32 ? lerp<float>(teacher, student, m) : lerp<double>(teacher, student, m);
}

EmaTeacher::EmaTeacher(nn::NamedState student, nn::NamedState teacher, EmaOrder order, BufferPolicy buffers)
    : student_(std::move(student)), teacher_(std::move(teacher)), order_(order), buffers_(buffers) {
  JX_CHECK(student_.parameters.size() == teacher_.parameters.size() &&
               student_.buffers.size() == teacher_.buffers.size(),
           "ema: student has ", student_.parameters.size(), " parameters, teacher ",
           teacher_.parameters.size());
  for (size_t i = 0; i < student_.parameters.size(); ++i) {
    const auto &s = student_.parameters[i], &t = teacher_.parameters[i];
    JX_CHECK(s.name == t.name && s.var->dims() == t.var->dims(), "ema: student's ", s.name, " ",
             s.var->dims(), " stands beside teacher's ", t.name, " ", t.var->dims());
  }
  nn::copy_state(student_, teacher_);
}

void EmaTeacher::update(double m) {
  std::vector<Tensor> to, from;
  for (size_t i = 0; i < student_.parameters.size(); ++i) {
    to.push_back(teacher_.parameters[i].var->value());
    from.push_back(student_.parameters[i].var->value());
  }
  for (size_t i = 0; buffers_ != BufferPolicy::own && i < student_.buffers.size(); ++i) {
    Tensor &s = *student_.buffers[i].tensor, &t = *teacher_.buffers[i].tensor;
    if (buffers_ == BufferPolicy::average && is_float(s.dtype())) {
      to.push_back(t);
      from.push_back(s);
    } else {
      t.copy_from(s, "ema.update");
    }
  }
  ema_update(to, from, m);
}

}  // namespace juxta::ssl
