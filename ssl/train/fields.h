#pragma once
// Fields: a struct declares each of its settings once, by key, reference and help text. Defaults, TOML files,
// --set a.b=c,
// --help, errors with the nearest name and the dump in each checkpoint all come from that declaration.
//
//   void TrainConfig::fields(Fields& f) { f("epochs", epochs, "passes over the training set"); ... }
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "tensor/dtype.h"

namespace juxta::ssl {

class Fields {
 public:
  using Target = std::variant<int64_t*, double*, bool*, std::string*, std::vector<double>*, DType*>;
  struct Row {
    std::string key;  // "train.epochs"
    Target target;
    std::string help;
    std::vector<std::string> choices;  // allowed strings; empty: any
  };

  template <class T>
  void operator()(const std::string& key, T& target, std::string help,
                  std::vector<std::string> choices = {}) {
    rows_.push_back({prefix_ + key, Target(&target), std::move(help), std::move(choices)});
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
  // the source in errors: unknown keys (with the nearest name), wrong types, values outside the choices.
  void set(const std::string& key, const std::string& value, const std::string& where);
  // Sets every key of a TOML text; `where` is its path.
  void set_toml(const std::string& text, const std::string& where);
  // The same, ignoring keys that are not declared.
  void set_toml_known(const std::string& text, const std::string& where);
  // "a.b=c" as on the command line.
  void set_assignment(const std::string& assignment);
  std::string dump_toml() const;  // every field, in sections, readable by set_toml
  std::string help() const;       // one line per field: key, default, help

 private:
  const Row& find(const std::string& key, const std::string& where) const;
  std::string prefix_;
  std::vector<Row> rows_;
};

}  // namespace juxta::ssl
