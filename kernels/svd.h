#pragma once
// The singular value decomposition of one matrix in double: Eigen's divide and conquer, behind a plain
// function so that its templates, the slowest of the project to compile, are instantiated once.
#include <cstdint>

namespace juxta {

// a [rows, cols] = U diag(s) V^T with k = min(rows, cols), all matrices column-major: u [rows, k], s [k] in
// descending order, v [cols, k]. Every value of a must be finite.
void thin_svd(const double* a, int64_t rows, int64_t cols, double* u, double* s, double* v);

// s alone. Much faster than thin_svd where one side is more than twice the other.
void singular_values(const double* a, int64_t rows, int64_t cols, double* s);

}  // namespace juxta
