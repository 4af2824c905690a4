#include "ssl/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tensor/error.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

std::string trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return std::string(s);
}

std::string unquote(const std::string& s) {
  return s.size() >= 2 && s.front() == '"' && s.back() == '"' ? s.substr(1, s.size() - 2) : s;
}

template <class T>
bool parse_number(const std::string& s, T& v) {
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  return error == std::errc() && end == s.data() + s.size() && !s.empty();
}

// "0.5" or "2", finite.
bool parse_float(const std::string& s, double& v) { return parse_number(s, v) && std::isfinite(v); }
// "20", also written "20.0".
bool parse_int(const std::string& s, int64_t& v) {
  if (parse_number(s, v)) return true;
  double d = 0;
  if (!parse_float(s, d) || d != std::floor(d) || std::abs(d) > 0x1p53) return false;
  v = static_cast<int64_t>(d);
  return true;
}
bool parse_bool(const std::string& s, bool& v) {
  v = s == "true";
  return v || s == "false";
}
bool parse_text(const std::string& s, std::string& v) {
  v = unquote(s);
  return true;
}

std::string show(double v) { return to_text(v); }
std::string show(int64_t v) { return to_text(v); }
std::string show(bool v) { return v ? "true" : "false"; }
std::string show(const std::string& v) { return '"' + v + '"'; }

// "[a, b]" cut at its commas; false unless it is a list.
bool split_list(const std::string& s, std::vector<std::string>& items) {
  if (s.size() < 2 || s.front() != '[' || s.back() != ']') return false;
  const std::string body = trim(std::string_view(s).substr(1, s.size() - 2));
  for (size_t begin = 0; !body.empty() && begin <= body.size();) {
    const size_t end = std::min(body.find(',', begin), body.size());
    items.push_back(trim(std::string_view(body).substr(begin, end - begin)));
    begin = end + 1;
  }
  return true;
}

}  // namespace

const std::string* Params::given(const char* name) {
  for (auto& [key, text] : values_)
    if (key == name) return &(text = trim(text));
  return nullptr;
}

void Params::bad(const char* name, const char* type, const std::string& text) const {
  JX_FAIL(who_, ": ", name, ": expected ", type, ", got ", text);
}

void Params::operator()(const char* name, double& v) {
  infos_.push_back({name, "float", show(v), {}});
  if (const std::string* s = given(name))
    if (!parse_float(*s, v)) bad(name, "a number", *s);
}
void Params::operator()(const char* name, int64_t& v) {
  infos_.push_back({name, "int", show(v), {}});
  if (const std::string* s = given(name))
    if (!parse_int(*s, v)) bad(name, "an integer", *s);
}
void Params::operator()(const char* name, bool& v) {
  infos_.push_back({name, "bool", show(v), {}});
  if (const std::string* s = given(name))
    if (!parse_bool(*s, v)) bad(name, "true or false", *s);
}
void Params::operator()(const char* name, std::string& v) {
  infos_.push_back({name, "text", show(v), {}});
  if (const std::string* s = given(name)) v = unquote(*s);
}
void Params::operator()(const char* name, std::optional<double>& v) {
  infos_.push_back({name, "float or null", v ? show(*v) : "null", {}});
  const std::string* s = given(name);
  if (!s) return;
  double number = 0;
  if (*s != "null" && !parse_float(*s, number)) bad(name, "a number or null", *s);
  v = *s == "null" ? std::nullopt : std::optional(number);
}

template <class T, class Parse>
void Params::list(const char* name, const char* type, std::vector<T>& v, Parse parse) {
  std::string now = "[";
  for (size_t i = 0; i < v.size(); ++i) now += (i ? ", " : "") + show(static_cast<T>(v[i]));
  infos_.push_back({name, std::string("list of ") + type, now + "]", {}});
  const std::string* s = given(name);
  if (!s) return;
  std::vector<std::string> items;
  bool ok = split_list(*s, items);
  v.clear();
  for (const std::string& item : items) {
    T value{};
    ok = ok && parse(item, value);
    v.push_back(value);
  }
  if (!ok) bad(name, (std::string("a list of ") + type + ", as [a, b]").c_str(), *s);
}
void Params::operator()(const char* name, std::vector<double>& v) { list(name, "float", v, parse_float); }
void Params::operator()(const char* name, std::vector<int64_t>& v) { list(name, "int", v, parse_int); }
void Params::operator()(const char* name, std::vector<bool>& v) { list(name, "bool", v, parse_bool); }
void Params::operator()(const char* name, std::vector<std::string>& v) { list(name, "text", v, parse_text); }

int Params::choice(const char* name, int now, std::initializer_list<const char*> choices) {
  const std::vector<std::string> names(choices.begin(), choices.end());
  infos_.push_back({name, "choice", show(names[static_cast<size_t>(now)]), names});
  const std::string* s = given(name);
  if (!s) return now;
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == unquote(*s)) return static_cast<int>(i);
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
  JX_FAIL(who_, ": ", name, ": expected one of ", all, "; got ", unquote(*s));
}

void Params::check_all_used() const {
  std::vector<std::string> names;
  for (const ParamInfo& i : infos_) names.push_back(i.name);
  for (const auto& [key, text] : values_) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    const std::string near = nearest_name(key, names);
    JX_FAIL(who_, ": ", key, ": no such parameter", near.empty() ? "" : "; did you mean " + near + "?");
  }
}

}  // namespace juxta::ssl
