#pragma once
// Who is excluded and who is a positive, as the tiles of the contrast family read it: 32-bit keys that are
// equal when the caller's 64-bit ids are, and their ranges per block, so that most tiles need no comparison.
#include "autograd/contrast.h"

namespace juxta {

// i32 tensors; undefined where there is no such relation. Row i excludes column j when row_id[i] ==
// column_id[j]; j is a positive when row_want[i] == column_key[j]. same: the relation is its own mirror
// image.
struct ContrastRelation {
  Tensor row_id, column_id, row_want, column_key;
  bool same = true;
};

// Checks ids, groups, positive indices and masks of a call with R rows and C columns and turns them into
// keys. symmetric: columns are the rows.
ContrastRelation contrast_relation(const ContrastOptions& options, int64_t rows, int64_t columns,
                                   bool symmetric, Device device);

// Ranges [blocks, 6] of the keys of each block (see ContrastSide::range); undefined when there are none.
template <class T>
Tensor contrast_ranges(const ContrastSide<T>& side, const Tensor& id, const Tensor& want, const Tensor& key);

}  // namespace juxta
