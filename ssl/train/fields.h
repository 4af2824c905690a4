#pragma once
// Fields: a struct declares each of its settings once, by key, reference and help text. Defaults, TOML files,
// --set a.b=c,
// --help, errors with the nearest name and the dump in each checkpoint all come from that declaration.
//
//   void TrainConfig::fields(Fields& f) { f("epochs", epochs, "passes over the training set"); ... }
#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "tensor/dtype.h"

namespace juxta::ssl {

// The numbers that a field takes, ends included; NaN is in no range.
struct Range {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool above_low = false, below_high = false;  // the end itself is not included
};
inline constexpr Range kPositive{.low = 0, .above_low = true}, kNotNegative{.low = 0}, kFraction{0, 1},
    kBelowOne{.low = 0, .high = 1, .below_high = true}, kAtLeastOne{.low = 1};
// Sizes of layers and sides of images; beyond them lie misprints.
inline constexpr Range kLayerSize{1, 65536}, kLayerSizeOrOwn{0, 65536};
inline constexpr double kMostSide = 16384;

class Fields {
 public:
  using Target = std::variant<int64_t*, double*, bool*, std::string*, std::vector<double>*, DType*>;
  struct Row {
    std::string key;  // "train.epochs"
    Target target;
    std::string help;
    std::vector<std::string> choices;  // allowed strings; empty: any
    Range range;                       // of numbers and of each number in a list
  };

  template <class T>
  void operator()(const std::string& key, T& target, std::string help,
                  std::vector<std::string> choices = {}) {
    rows_.push_back({prefix_ + key, Target(&target), std::move(help), std::move(choices), {}});
  }
  template <class T>
  void operator()(const std::string& key, T& target, std::string help, Range range) {
    rows_.push_back({prefix_ + key, Target(&target), std::move(help), {}, range});
  }
  // Declares the fields of a nested struct under "section.".
  template <class S>
  void section(const std::string& name, S& s) {
    const std::string outer = prefix_;
    prefix_ += name + ".";
    s.fields(*this);
    prefix_ = outer;
  }
  const std::vector<Row>& rows() const { return rows_; }

  // Sets one field from text ("4", "0.5", "true", "bf16", "[1, 2]", plain or quoted strings). `where` names
  // the source in errors: unknown keys (with the nearest name), wrong types, values outside the choices or
  // the range.
  void set(const std::string& key, const std::string& value, const std::string& where);
  // Sets every key of a TOML text; `where` is its path.
  void set_toml(const std::string& text, const std::string& where);
  // The same, ignoring keys that are not declared.
  void set_toml_known(const std::string& text, const std::string& where);
  // "a.b=c" as on the command line.
  void set_assignment(const std::string& assignment);
  // Error if a number lies outside its field's range: for values that were set in code.
  void check(const std::string& where) const;
  std::vector<std::pair<std::string, std::string>> values() const;  // every key with its value as text
  std::string dump_toml() const;  // every field, in sections, readable by set_toml
  std::string help() const;       // one line per field: key, default, help

 private:
  const Row& find(const std::string& key, const std::string& where) const;
  std::string prefix_;
  std::vector<Row> rows_;
};

}  // namespace juxta::ssl
