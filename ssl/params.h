#pragma once
// Params: a loss declares each of its parameters once, in its struct,
//
//   struct NtXentParams {
//     double temperature = 0.5;
//     void fields(Params& f) { f("temperature", temperature); }
//   };
//
// and from that come the listing with defaults, reading of named values, and errors with the nearest name.
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace juxta::ssl {

// Named values as JSON texts: "0.1", "true", "queue" (quotes optional), "null", "[20, 4]".
using ParamTexts = std::vector<std::pair<std::string, std::string>>;

struct ParamInfo {
  std::string name, type, value;     // type: float, int, bool, choice, text, or list of; value as JSON text
  std::vector<std::string> choices;  // of type choice
};

class Params {
 public:
  // `who` is named in errors. Values not given keep their defaults.
  explicit Params(std::string who, ParamTexts values = {})
      : who_(std::move(who)), values_(std::move(values)) {}

  void operator()(const char* name, double& v);
  void operator()(const char* name, int64_t& v);
  void operator()(const char* name, bool& v);
  void operator()(const char* name, std::optional<double>& v);  // null: none
  void operator()(const char* name, std::vector<double>& v);
  void operator()(const char* name, std::vector<int64_t>& v);
  void operator()(const char* name, std::vector<bool>& v);
  void operator()(const char* name, std::vector<std::string>& v);
  void operator()(const char* name, std::string& v);
  // An enum whose values 0, 1, ... are called by these names.
  template <class E>
  void operator()(const char* name, E& v, std::initializer_list<const char*> choices) {
    v = static_cast<E>(choice(name, static_cast<int>(v), choices));
  }

  // A parameter struct with the given values. Error on a value of the wrong type or an unknown name.
  template <class P>
  P read() {
    P p;
    p.fields(*this);
    check_all_used();
    return p;
  }
  const std::vector<ParamInfo>& infos() const { return infos_; }

 private:
  const std::string* given(const char* name);
  int choice(const char* name, int now, std::initializer_list<const char*> choices);
  void check_all_used() const;
  [[noreturn]] void bad(const char* name, const char* type, const std::string& text) const;
  template <class T, class Parse>
  void list(const char* name, const char* type, std::vector<T>& v, Parse parse);

  std::string who_;
  ParamTexts values_;
  std::vector<ParamInfo> infos_;
};

}  // namespace juxta::ssl
