#include "kernels/attention.h"

#include "kernels/attention_ref.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(AttentionTable<float>, attention_f32)
JX_DECLARE_ISA_TABLES(AttentionTable<bf16>, attention_bf16)

template <>
const TableChoice<AttentionTable<float>>& attention_tables<float>() {
  static const TableChoice<AttentionTable<float>> c(DType::f32, ref::attention_table<float>,
                                                    JX_ISA_TABLES_F32(attention_f32));
  return c;
}
template <>
const TableChoice<AttentionTable<bf16>>& attention_tables<bf16>() {
  static const TableChoice<AttentionTable<bf16>> c(DType::bf16, ref::attention_table<bf16>,
                                                   JX_ISA_TABLES(attention_bf16));
  return c;
}
template <>
const TableChoice<AttentionTable<double>>& attention_tables<double>() {
  static const TableChoice<AttentionTable<double>> c(DType::f64, ref::attention_table<double>);
  return c;
}

namespace {
thread_local int64_t t_key_block = 0;
}

KeyBlockScope::KeyBlockScope(int64_t keys) : outer_(t_key_block) { t_key_block = keys; }
KeyBlockScope::~KeyBlockScope() { t_key_block = outer_; }
int64_t KeyBlockScope::current() { return t_key_block; }

}  // namespace juxta
