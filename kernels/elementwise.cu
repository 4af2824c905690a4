// Element-wise ops on CUDA devices, and on the emulator; formulas in elementwise.h and elementwise_ref.h. A
// thread works on a pack of neighbouring elements, 16 bytes where the addresses allow it. Every op is a
// kernel of its own: the choice lies outside.
#include "kernels/elementwise.h"
#include "kernels/gpu_prims.h"

namespace juxta::JX_GPU {

namespace {

namespace formula = ref::formula;
using Axes = BroadcastAxes;

constexpr unsigned kThreads = 256;

// First element of this thread's pack of K.
template <int K>
__device__ int64_t pack_of(int64_t first) {
  return first + (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * K;
}
// One thread for every K elements of [first, end).
template <int K, class Args>
void launch_packs(const char* name, void (*kernel)(Args, int64_t, int64_t), const Args& a, int64_t first,
                  int64_t end) {
  launch(name, kernel, blocks_for(end - first, kThreads * K), kThreads, 0, current_stream(), a, first, end);
}

// ---- unary ops

template <Unary op>
__device__ float unary_value(float x, float p, float q) {
#define JX_CASE(name, ...) \
  if constexpr (op == Unary::name) return formula::name##_value(x, p, q);
  JX_UNARY_OPS(JX_CASE)
#undef JX_CASE
}
template <Unary op>
__device__ float unary_grad(float kept, float g, float p, float q) {
#define JX_CASE(name, ...) \
  if constexpr (op == Unary::name) return formula::name##_grad(kept, g, p, q);
  JX_UNARY_OPS(JX_CASE)
#undef JX_CASE
}

template <Unary op, class T>
__global__ void unary_fwd_pack_per_thread(UnaryFwd<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  const float p = static_cast<float>(a.p), q = static_cast<float>(a.q);
  float x[K];
  load_lanes<K>(a.x + i, end - i, x);
  JX_UNROLL
  for (int k = 0; k < K; ++k) x[k] = unary_value<op>(x[k], p, q);
  store_lanes<K>(a.y + i, end - i, x);
}

template <Unary op, class T>
__global__ void unary_bwd_pack_per_thread(UnaryBwd<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  const float p = static_cast<float>(a.p), q = static_cast<float>(a.q);
  float kept[K] = {}, g[K];
  if constexpr (kUnaryKeeps[static_cast<int>(op)] != Keeps::none) load_lanes<K>(a.kept + i, end - i, kept);
  load_lanes<K>(a.dy + i, end - i, g);
  JX_UNROLL
  for (int k = 0; k < K; ++k) g[k] = unary_grad<op>(kept[k], g[k], p, q);
  store_lanes<K>(a.dx + i, end - i, g);
}

#define JX_CASE(name, ...) \
  case Unary::name:        \
    return launch_packs<kPack<T>>(JX_KERNEL_NAME, JX_KERNEL<Unary::name, T>, a, begin, end);
#define JX_KERNEL unary_fwd_pack_per_thread
#define JX_KERNEL_NAME "unary_fwd_pack_per_thread"
template <class T>
void unary_fwd(const UnaryFwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_UNARY_OPS(JX_CASE) }
}
#undef JX_KERNEL
#undef JX_KERNEL_NAME
#define JX_KERNEL unary_bwd_pack_per_thread
#define JX_KERNEL_NAME "unary_bwd_pack_per_thread"
template <class T>
void unary_bwd(const UnaryBwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_UNARY_OPS(JX_CASE) }
}
#undef JX_KERNEL
#undef JX_KERNEL_NAME
#undef JX_CASE

// ---- binary ops

template <Binary op>
__device__ float binary_value(float a, float b, bool m) {
#define JX_CASE(name, ...) \
  if constexpr (op == Binary::name) return formula::name##_value(a, b, m);
  JX_BINARY_OPS(JX_CASE)
#undef JX_CASE
}
template <Binary op>
__device__ float binary_grad(bool second, float a, float b, float g, bool m) {
#define JX_CASE(name, ...)          \
  if constexpr (op == Binary::name) \
    return second ? formula::name##_db(a, b, g, m) : formula::name##_da(a, b, g, m);
  JX_BINARY_OPS(JX_CASE)
#undef JX_CASE
}
// Does a gradient (of b if `second`) read operand b (else a)? What it does not read is not loaded.
template <Binary op>
__device__ constexpr bool gradient_reads(bool second, bool b) {
  if constexpr (kBinaryKeeps[static_cast<int>(op)] != Keeps::ab) return false;
  if (op == Binary::mul) return b != second;  // the other factor
  if (op == Binary::div) return b || second;
  return true;
}

// Where an element of the result lies in the operands.
struct Place {
  int64_t a, b, mask;
  int64_t left;  // elements of its run along the innermost axis, from this one on
};
__device__ inline Place place_of(const Axes& axes, int64_t i) {
  Place p{0, 0, 0, axes.size[axes.n - 1] - i % axes.size[axes.n - 1]};
  for (int d = axes.n - 1; d >= 0; --d) {
    const int64_t index = i % axes.size[d];
    i /= axes.size[d];
    p.a += index * axes.step[Axes::kA][d];
    p.b += index * axes.step[Axes::kB][d];
    p.mask += index * axes.step[Axes::kMask][d];
  }
  return p;
}

// K elements `step` apart, all of them there.
template <int K, class T>
__device__ void load_steps(const T* p, int64_t step, float (&v)[K]) {
  if (step == 1) return load_lanes<K>(p, K, v);
  JX_UNROLL
  for (int k = 0; k < K; ++k) v[k] = value(p + k * step);
}

template <int K>
struct Operands {
  float a[K], b[K];
  bool m[K];
};
// The operands of elements [i, i + K) of the result, as far as they lie before `end` and are read. A pack
// within one run takes one division per axis, any other one per axis and element.
template <Binary op, int K, class Args>
__device__ void load_operands(const Args& args, int64_t i, int64_t end, bool read_a, bool read_b,
                              Operands<K>& v) {
  constexpr bool kMasked = op == Binary::where;
  if (!read_a && !read_b && !kMasked) return;
  const Axes& axes = args.axes;
  const int in = axes.n - 1;
  const Place first = place_of(axes, i);
  if (i + K <= end && first.left >= K) {
    if (read_a) load_steps<K>(args.a + first.a, axes.step[Axes::kA][in], v.a);
    if (read_b) load_steps<K>(args.b + first.b, axes.step[Axes::kB][in], v.b);
    if constexpr (kMasked) {
      JX_UNROLL
      for (int k = 0; k < K; ++k) v.m[k] = ld(args.mask + first.mask + k * axes.step[Axes::kMask][in]);
    }
    return;
  }
  JX_UNROLL
  for (int k = 0; k < K; ++k) {
    if (i + k >= end) break;
    const Place p = place_of(axes, i + k);
    if (read_a) v.a[k] = value(args.a + p.a);
    if (read_b) v.b[k] = value(args.b + p.b);
    if constexpr (kMasked) v.m[k] = ld(args.mask + p.mask);
  }
}

template <Binary op, class T>
__global__ void binary_fwd_pack_per_thread(BinaryFwd<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  if (i >= end) return;
  Operands<K> v{};
  load_operands<op>(a, i, end, true, true, v);
  JX_UNROLL
  for (int k = 0; k < K; ++k) v.a[k] = binary_value<op>(v.a[k], v.b[k], v.m[k]);
  store_lanes<K>(a.y + i, end - i, v.a);
}

template <Binary op, class T>
__global__ void binary_bwd_pack_per_thread(BinaryBwd<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  if (i >= end) return;
  Operands<K> v{};
  float g[K], d[K];
  load_operands<op>(a, i, end,
                    (a.da && gradient_reads<op>(false, false)) || (a.db && gradient_reads<op>(true, false)),
                    (a.da && gradient_reads<op>(false, true)) || (a.db && gradient_reads<op>(true, true)), v);
  load_lanes<K>(a.dy + i, end - i, g);
  if (a.da) {
    JX_UNROLL
    for (int k = 0; k < K; ++k) d[k] = binary_grad<op>(false, v.a[k], v.b[k], g[k], v.m[k]);
    store_lanes<K>(a.da + i, end - i, d);
  }
  if (a.db) {
    JX_UNROLL
    for (int k = 0; k < K; ++k) d[k] = binary_grad<op>(true, v.a[k], v.b[k], g[k], v.m[k]);
    store_lanes<K>(a.db + i, end - i, d);
  }
}

// ---- sums over broadcast axes. The chunks of BinaryReduce say which partial sums there are. Here a partial
// sum is gathered by threads of its own instead of scattered to by those of the elements: no two threads
// write the same place.

// Where index `i` along the kept or along the summed axes lies in y and in the operands. The place of an
// element is the sum of both.
struct Share {
  int64_t y, a, b, mask;
};
__device__ inline Share share_of(const Axes& axes, bool kept, int64_t i) {
  Share s{0, 0, 0, 0};
  int64_t y_step = 1;
  for (int d = axes.n - 1; d >= 0; --d) {
    if ((axes.step[Axes::kTarget][d] != 0) == kept) {
      const int64_t index = i % axes.size[d];
      i /= axes.size[d];
      s.y += index * y_step;
      s.a += index * axes.step[Axes::kA][d];
      s.b += index * axes.step[Axes::kB][d];
      s.mask += index * axes.step[Axes::kMask][d];
    }
    y_step *= axes.size[d];
  }
  return s;
}

// The part of one partial sum that thread `lane` of `lanes` takes: target `t`, elements [begin, end) of y.
// Summed indices run in order of y.
template <Binary op, class T>
__device__ float sum_share(const BinaryReduce<T>& a, int64_t t, int64_t begin, int64_t end, int64_t lane,
                           int64_t lanes) {
  // Kept axes together hold the target's elements, contiguous and in order, so t counts along them.
  const Share kept = share_of(a.axes, true, t);
  const int64_t outer = a.axes.size[0];
  int64_t summed = 1;
  for (int d = 0; d < a.axes.n; ++d)
    if (a.axes.step[Axes::kTarget][d] == 0) summed *= a.axes.size[d];
  int64_t from = 0, to = summed;
  if (a.axes.step[Axes::kTarget][0] == 0) {  // only the outer indices that [begin, end) touches
    const int64_t inner = a.n / outer;
    from = begin / inner * (summed / outer);
    to = (end + inner - 1) / inner * (summed / outer);
  }
  float sum = 0;
  for (int64_t s = from + lane; s < to; s += lanes) {
    const Share at = share_of(a.axes, false, s);
    const int64_t i = kept.y + at.y;
    if (i < begin || i >= end) continue;
    float u = 0, v = 0;
    bool m = false;
    if (gradient_reads<op>(a.second, false)) u = value(a.a + kept.a + at.a);
    if (gradient_reads<op>(a.second, true)) v = value(a.b + kept.b + at.b);
    if constexpr (op == Binary::where) m = ld(a.mask + kept.mask + at.mask);
    sum += binary_grad<op>(a.second, u, v, value(a.dy + i), m);
  }
  return sum;
}

// The range of y and the place in `partial` that belong to blockIdx.y: a chunk with its own copy (base > 0),
// or all chunks at once, which own disjoint targets.
struct Chunk {
  int64_t begin, end, base;
};
template <class T>
__device__ Chunk chunk_of(const BinaryReduce<T>& a, int64_t first) {
  if (a.base == 0) return {0, a.n, 0};
  const int64_t c = first + blockIdx.y, end = (c + 1) * a.chunk;
  return {c * a.chunk, end < a.n ? end : a.n, c * a.base};
}

// Neighbouring targets lie beside each other in y: 32 of them by 8 threads each, so that loads coalesce.
constexpr int kTargets = 32, kSlices = 8;
template <Binary op, class T>
__global__ void binary_reduce_targets_per_block(BinaryReduce<T> a, int64_t first, int64_t target,
                                                int64_t target_end) {
  __shared__ Shared<float, kTargets * kSlices> part;
  const Chunk c = chunk_of(a, first);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t t = target + static_cast<int64_t>(blockIdx.x) * kTargets + x;
  part[y * kTargets + x] = t < target_end ? sum_share<op>(a, t, c.begin, c.end, y, kSlices) : 0.0f;
  __syncthreads();
  if (y != 0 || t >= target_end) return;
  float sum = 0;
  for (int k = 0; k < kSlices; ++k) sum += part[k * kTargets + x];
  st(a.partial + c.base + t, sum);
}

// The elements of one target lie beside each other: a block sums them.
template <Binary op, class T>
__global__ void binary_reduce_target_per_block(BinaryReduce<T> a, int64_t first, int64_t target) {
  __shared__ Shared<float, kWarp> scratch;
  const Chunk c = chunk_of(a, first);
  const int64_t t = target + blockIdx.x;
  const float sum = block_sum(sum_share<op>(a, t, c.begin, c.end, threadIdx.x, blockDim.x), scratch);
  if (threadIdx.x == 0) st(a.partial + c.base + t, sum);
}

template <Binary op, class T>
void launch_reduce(const BinaryReduce<T>& a, int64_t chunk, int64_t chunk_end) {
  const int64_t target = a.base == 0 ? chunk * a.owned : 0;
  const int64_t all = a.base == 0 ? chunk_end * a.owned : a.base;
  const int64_t target_end = all < a.total ? all : a.total;
  const unsigned chunks = a.base == 0 ? 1 : blocks_for(chunk_end - chunk);
  if (a.axes.step[Axes::kTarget][a.axes.n - 1] != 0) {
    launch("binary_reduce_targets_per_block", binary_reduce_targets_per_block<op, T>,
           dim3(blocks_for(target_end - target, kTargets), chunks), dim3(kTargets, kSlices), 0,
           current_stream(), a, chunk, target, target_end);
  } else {
    // Elements of y that one block sums.
    const int64_t per_target = a.base == 0 ? a.n / a.total : a.chunk / a.base;
    launch("binary_reduce_target_per_block", binary_reduce_target_per_block<op, T>,
           dim3(blocks_for(target_end - target), chunks), threads_for_row(per_target), 0, current_stream(), a,
           chunk, target);
  }
}

#define JX_CASE(name, ...) \
  case Binary::name:       \
    return launch_packs<kPack<T>>(JX_KERNEL_NAME, JX_KERNEL<Binary::name, T>, a, begin, end);
#define JX_KERNEL binary_fwd_pack_per_thread
#define JX_KERNEL_NAME "binary_fwd_pack_per_thread"
template <class T>
void binary_fwd(const BinaryFwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_OPS(JX_CASE) }
}
#undef JX_KERNEL
#undef JX_KERNEL_NAME
#define JX_KERNEL binary_bwd_pack_per_thread
#define JX_KERNEL_NAME "binary_bwd_pack_per_thread"
template <class T>
void binary_bwd(const BinaryBwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_OPS(JX_CASE) }
}
#undef JX_KERNEL
#undef JX_KERNEL_NAME
#undef JX_CASE
#define JX_CASE(name, ...) \
  case Binary::name:       \
    return launch_reduce<Binary::name>(a, chunk, chunk_end);
template <class T>
void binary_reduce(const BinaryReduce<T>& a, int64_t chunk, int64_t chunk_end) {
  switch (a.op) { JX_BINARY_OPS(JX_CASE) }
}
#undef JX_CASE

template <class T>
__global__ void sum_partials_column_per_thread(SumPartials<T> a, int64_t first, int64_t end) {
  const int64_t c = pack_of<1>(first);
  if (c >= end) return;
  float sum = 0;
  for (int64_t r = 0; r < a.rows; ++r) sum += ld(a.x + r * a.cols + c);
  st(a.out + c, T(sum));
}
template <class T>
void sum_partials(const SumPartials<T>& a, int64_t column, int64_t column_end) {
  launch_packs<1>("sum_partials_column_per_thread", sum_partials_column_per_thread<T>, a, column, column_end);
}

// ---- dropout, axpby, casts

__device__ inline float unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

template <class T>
__global__ void dropout_pack_per_thread(Dropout<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  const float p = static_cast<float>(a.p), scale = 1.0f / (1.0f - p);
  const auto global = static_cast<uint64_t>(a.base + i), group = static_cast<uint64_t>(a.group);
  float x[K], u[K];
  load_lanes<K>(a.x + i, end - i, x);
  if (group == 1 && global % 4 == 0) {  // four elements to a block of Philox
    JX_UNROLL
    for (int k = 0; k < K; k += 4) {
      const Philox4 words = a.draw.block(global / 4 + k / 4);
      JX_UNROLL
      for (int j = 0; j < 4; ++j) u[k + j] = unit(words.v[j]);
    }
  } else {
    JX_UNROLL
    for (int k = 0; k < K; ++k) u[k] = a.draw.uniform((global + k) / group);
  }
  JX_UNROLL
  for (int k = 0; k < K; ++k) x[k] = u[k] >= p ? x[k] * scale : 0.0f;
  store_lanes<K>(a.y + i, end - i, x);
}
template <class T>
void dropout(const Dropout<T>& a, int64_t begin, int64_t end) {
  launch_packs<kPack<T>>("dropout_pack_per_thread", dropout_pack_per_thread<T>, a, begin, end);
}

template <class T>
__global__ void axpby_pack_per_thread(Axpby<T> a, int64_t first, int64_t end) {
  constexpr int K = kPack<T>;
  const int64_t i = pack_of<K>(first);
  const float alpha = static_cast<float>(a.alpha), beta = static_cast<float>(a.beta);
  float x[K], y[K];
  load_lanes<K>(a.x + i, end - i, x);
  load_lanes<K>(a.y + i, end - i, y);
  JX_UNROLL
  for (int k = 0; k < K; ++k) y[k] = alpha * x[k] + beta * y[k];
  store_lanes<K>(a.y + i, end - i, y);
}
template <class T>
void axpby(const Axpby<T>& a, int64_t begin, int64_t end) {
  launch_packs<kPack<T>>("axpby_pack_per_thread", axpby_pack_per_thread<T>, a, begin, end);
}

template <class S, class D>
__global__ void cast_pack_per_thread(Cast<S, D> a, int64_t first, int64_t end) {
  constexpr int K = kPack<float>;  // of the wider type
  const int64_t i = pack_of<K>(first);
  float x[K];
  load_lanes<K>(a.x + i, end - i, x);
  store_lanes<K>(a.y + i, end - i, x);
}
template <class S, class D>
void cast(const Cast<S, D>& a, int64_t begin, int64_t end) {
  launch_packs<kPack<float>>("cast_pack_per_thread", cast_pack_per_thread<S, D>, a, begin, end);
}

template <class T>
constexpr ElementwiseTable<T> make_table() {
  return {unary_fwd<T>,    unary_bwd<T>, binary_fwd<T>, binary_bwd<T>,  binary_reduce<T>,
          sum_partials<T>, dropout<T>,   axpby<T>,      cast<T, float>, cast<float, T>};
}

}  // namespace

extern const ElementwiseTable<float> elementwise_f32;
extern const ElementwiseTable<bf16> elementwise_bf16;
const ElementwiseTable<float> elementwise_f32 = make_table<float>();
const ElementwiseTable<bf16> elementwise_bf16 = make_table<bf16>();

}  // namespace juxta::JX_GPU
