#pragma once
// Primitives that kernels are made of: counted loads and stores, reductions with a fixed order, and the
// instructions that need PTX (mma, ldmatrix, cp.async) with emulated twins. No other file has inline PTX.
#include "kernels/gpu.h"

namespace juxta::JX_GPU {

// N neighbouring elements moved by one instruction: Pack<float, 4> and Pack<bf16, 8> are 128 bits.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
  __host__ __device__ T& operator[](int i) { return v[i]; }
  __host__ __device__ const T& operator[](int i) const { return v[i]; }
};
// Elements of T in 128 bits.
template <class T>
inline constexpr int kPack = static_cast<int>(16 / sizeof(T));

// Can [p, p + n) be read in 128-bit packs: base and length are multiples of a pack.
template <class T>
__host__ __device__ bool packable(const T* p, int64_t n) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && n % kPack<T> == 0;
}

#ifdef __CUDACC__

namespace detail {
// A builtin type of the size, so that one load or store instruction moves the whole value.
template <int N>
struct WordOf;
template <>
struct WordOf<1> { using type = unsigned char; };
template <>
struct WordOf<2> { using type = unsigned short; };
template <>
struct WordOf<4> { using type = unsigned; };
template <>
struct WordOf<8> { using type = uint2; };
template <>
struct WordOf<16> { using type = uint4; };
template <class T>
using Word = typename WordOf<sizeof(T)>::type;
template <class To, class From>
__device__ To bits(const From& from) {
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace detail

// Global loads and stores of 1, 2, 4, 8 or 16 bytes, aligned to their size. The _stream forms mark data that
// is not used again (evict first).
template <class T>
__device__ T ld(const T* p) {
  return detail::bits<T>(*reinterpret_cast<const detail::Word<T>*>(p));
}
template <class T>
__device__ T ld_stream(const T* p) {
  return detail::bits<T>(__ldcs(reinterpret_cast<const detail::Word<T>*>(p)));
}
template <class T>
__device__ void st(T* p, const std::type_identity_t<T>& v) {
  *reinterpret_cast<detail::Word<T>*>(p) = detail::bits<detail::Word<T>>(v);
}
template <class T>
__device__ void st_stream(T* p, const std::type_identity_t<T>& v) {
  __stcs(reinterpret_cast<detail::Word<T>*>(p), detail::bits<detail::Word<T>>(v));
}

__device__ inline void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

namespace detail {
__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
}  // namespace detail

__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

template <class T>
__device__ void cp_async_16(T* to, const T* from, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
__device__ inline void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#else

namespace detail {
void copy_async(Region* to, int64_t offset, const void* from, int bytes);
void commit_copies();
void wait_copies(int left);  // < 0: all, committed or not
struct Mma {
  float* d;
  const uint32_t *a, *b;
};
void mma(void* const data[kWarp], unsigned mask);
struct MatrixRow {
  uint32_t* r;
  uint16_t row[8];
  bool trans;
};
void ldmatrix(void* const data[kWarp], unsigned mask);
inline void ldmatrix_x4(uint32_t* r, SharedPtr<const bf16> row, bool trans, Site site) {
  MatrixRow m{r, {}, trans};
  row.region()->read(m.row, row.offset(), 16, 16);
  warp_call(ldmatrix, kFullMask, &m, site);
}
}  // namespace detail

// Global loads and stores of 1, 2, 4, 8 or 16 bytes, checked to the byte and counted. The _stream forms mark
// data that is not used again (evict first on the device).
template <class T>
T ld(const T* p) {
  detail::note_global(p, sizeof(T), sizeof(T), false);
  return *p;
}
template <class T>
T ld_stream(const T* p) {
  return ld(p);
}
template <class T>
void st(T* p, const std::type_identity_t<T>& v) {
  detail::note_global(p, sizeof(T), sizeof(T), true);
  *p = v;
}
template <class T>
void st_stream(T* p, const std::type_identity_t<T>& v) {
  st(p, v);
}

// d [16, 8] += a [16, 16] b [16, 8] by one warp: bf16 operands, f32 accumulation (PTX mma.m16n8k16, row.col).
// With g = lane / 4 and t = lane % 4, the lane holds, two bf16 to a register:
//   a[0] = A[g][2t, 2t+1], a[1] = A[g+8][..], a[2] = A[g][2t+8, 2t+9], a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g],  b[1] = B[2t+8, 2t+9][g];   d[0,1] = D[g][2t, 2t+1],  d[2,3] = D[g+8][2t, 2t+1]
inline void mma_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], JX_SITE) {
  detail::Mma m{d, a, b};
  detail::warp_call(detail::mma, kFullMask, &m, {file, line});
}

// Four 8x8 matrices of bf16 from shared memory into mma fragments: lane l gives the row l % 8 of matrix l / 8
// (8 elements, 16-byte aligned) and receives, of matrix i in r[i], row lane / 4, columns 2 (lane % 4) and
// + 1; _trans: of the transposed matrix.
inline void ldmatrix_x4(uint32_t (&r)[4], SharedPtr<const bf16> row, JX_SITE) {
  detail::ldmatrix_x4(r, row, false, {file, line});
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], SharedPtr<const bf16> row, JX_SITE) {
  detail::ldmatrix_x4(r, row, true, {file, line});
}

// Starts a copy of 16 bytes from global to shared memory, both aligned to 16: `bytes` of them are read (0
// reads nothing), the rest become zero. Copies since the last commit form a group; wait<N> returns when all
// groups of this thread but the last N have arrived. Other threads see them after a barrier that follows.
template <class T>
void cp_async_16(SharedPtr<T> to, const T* from, int bytes = 16) {
  detail::copy_async(to.region(), to.offset(), from, bytes);
}
inline void cp_async_commit() { detail::commit_copies(); }
template <int N>
void cp_async_wait() {
  static_assert(N >= 0, "cp_async_wait: number of groups that may be left");
  detail::wait_copies(N);
}
inline void cp_async_wait_all() { detail::wait_copies(-1); }

#endif

// ---- elements as floats

template <class T>
__device__ float value(const T* p) {
  return static_cast<float>(ld(p));
}

// The K elements from p on: one instruction where p is aligned for it. Those beyond `left` are 0 (load) or
// stay as they are (store); left may be negative.
template <int K, class T>
__device__ void load_lanes(const T* p, int64_t left, float (&v)[K]) {
  static_assert(K * sizeof(T) <= 16, "load_lanes: more than one instruction moves");
  if (left >= K && reinterpret_cast<uintptr_t>(p) % sizeof(Pack<T, K>) == 0) {
    const Pack<T, K> pack = ld(reinterpret_cast<const Pack<T, K>*>(p));
    JX_UNROLL
    for (int k = 0; k < K; ++k) v[k] = static_cast<float>(pack[k]);
    return;
  }
  JX_UNROLL
  for (int k = 0; k < K; ++k) v[k] = k < left ? value(p + k) : 0.0f;
}
template <int K, class T>
__device__ void store_lanes(T* p, int64_t left, const float (&v)[K]) {
  static_assert(K * sizeof(T) <= 16, "store_lanes: more than one instruction moves");
  if (left >= K && reinterpret_cast<uintptr_t>(p) % sizeof(Pack<T, K>) == 0) {
    Pack<T, K> pack;
    JX_UNROLL
    for (int k = 0; k < K; ++k) pack[k] = T(v[k]);
    st(reinterpret_cast<Pack<T, K>*>(p), pack);
    return;
  }
  JX_UNROLL
  for (int k = 0; k < K; ++k)
    if (k < left) st(p + k, T(v[k]));
}

// ---- launch shapes

inline unsigned blocks_for(int64_t items, int64_t per_block = 1) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}
// Threads for a row: whole warps, at most 256, so that short rows do not idle.
inline unsigned threads_for_row(int64_t cols) {
  const unsigned warps = blocks_for(cols, kWarp);
  return kWarp * (warps < 1 ? 1 : warps > 8 ? 8 : warps);
}

// ---- reductions: a fixed tree over the lanes and warps, so that the bits do not vary; every thread of the
// warp or block gets the result. Blocks are whole warps, and all threads call together.

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {  // NaN wins, as in the reference kernels
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

template <class T, class Op>
__device__ T warp_reduce(T v, Op op) {
  for (int offset = 16; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(kFullMask, v, offset));
  return v;
}
template <class T>
__device__ T warp_sum(T v) {
  return warp_reduce(v, Sum{});
}
template <class T>
__device__ T warp_max(T v) {
  return warp_reduce(v, Max{});
}

// `scratch`: kWarp elements per value, free again when the call returns. `empty`: the value of no elements.
template <class T, class Op, int K>
__device__ void block_reduce(T (&v)[K], T empty, Op op, SharedPtr<T> scratch) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), warp = static_cast<int>(threadIdx.x / kWarp);
  const int warps = static_cast<int>(blockDim.x / kWarp);
  for (int k = 0; k < K; ++k) v[k] = warp_reduce(v[k], op);
  if (warps == 1) return;
  if (lane == 0)
    for (int k = 0; k < K; ++k) scratch[k * warps + warp] = v[k];
  __syncthreads();
  for (int k = 0; k < K; ++k) {
    const T part = lane < warps ? static_cast<T>(scratch[k * warps + lane]) : empty;
    v[k] = warp_reduce(part, op);
  }
  __syncthreads();  // nobody writes scratch again before all have read it
}
template <class T>
__device__ T block_sum(T v, SharedPtr<std::type_identity_t<T>> scratch) {
  T values[1] = {v};
  block_reduce<T, Sum, 1>(values, T(0), Sum{}, scratch);
  return values[0];
}
template <class T>
__device__ T block_max(T v, SharedPtr<std::type_identity_t<T>> scratch) {
  T values[1] = {v};
  block_reduce<T, Max, 1>(values, -INFINITY, Max{}, scratch);
  return values[0];
}
// Two sums for the barriers of one; scratch [2 kWarp].
template <class T>
__device__ void block_sum2(T& a, T& b, SharedPtr<std::type_identity_t<T>> scratch) {
  T values[2] = {a, b};
  block_reduce<T, Sum, 2>(values, T(0), Sum{}, scratch);
  a = values[0];
  b = values[1];
}

}  // namespace juxta::JX_GPU
