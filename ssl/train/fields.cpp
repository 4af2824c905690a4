#include "ssl/train/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <sstream>

#include "tensor/error.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

std::string number(double v) {
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  std::string s = to_text(v);
  return s.find_first_of(".en") == std::string::npos ? s + ".0" : s;  // TOML tells floats from integers
}

struct ToText {
  std::string operator()(const int64_t* v) const { return std::to_string(*v); }
  std::string operator()(const double* v) const { return number(*v); }
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const std::string* v) const { return quoted(*v); }
  std::string operator()(const DType* v) const { return quoted(name_of(*v)); }
  std::string operator()(const std::vector<double>* v) const {
    std::string s = "[";
    for (size_t i = 0; i < v->size(); ++i) s += (i ? ", " : "") + number((*v)[i]);
    return s + "]";
  }
};

const char* kind_of(const Fields::Target& t) {
  constexpr const char* kNames[] = {"an integer", "a number",          "true or false",
                                    "a string",   "a list of numbers", "a dtype"};
  return kNames[t.index()];
}

// Puts a TOML value into a field; false when the types differ. Integers serve as numbers, numbers never as
// integers.
bool assign(const Fields::Target& target, const toml::node& node) {
  switch (target.index()) {
    case 0: {
      const auto v = node.value_exact<int64_t>();
      if (v) *std::get<int64_t*>(target) = *v;
      return v.has_value();
    }
    case 1: {
      if (!node.is_number()) return false;
      *std::get<double*>(target) = *node.value<double>();
      return true;
    }
    case 2: {
      const auto v = node.value_exact<bool>();
      if (v) *std::get<bool*>(target) = *v;
      return v.has_value();
    }
    case 3: {
      const auto v = node.value_exact<std::string>();
      if (v) *std::get<std::string*>(target) = *v;
      return v.has_value();
    }
    case 4: {
      const toml::array* list = node.as_array();
      if (!list) return false;
      std::vector<double> values;
      for (const toml::node& e : *list) {
        if (!e.is_number()) return false;
        values.push_back(*e.value<double>());
      }
      *std::get<std::vector<double>*>(target) = values;
      return true;
    }
    default: {
      const auto v = node.value_exact<std::string>();
      if (v) *std::get<DType*>(target) = parse_dtype(*v);
      return v.has_value();
    }
  }
}

std::string text_of(const toml::node& node) {
  std::ostringstream s;
  node.visit([&](const auto& n) { s << n; });
  return s.str();
}

std::string text_of(const Range& r) {
  if (std::isinf(r.high)) return concat(r.above_low ? "more than " : "at least ", r.low);
  return concat(r.above_low ? "above " : "", r.low, r.below_high ? " to below " : " to ", r.high);
}

bool holds(const Range& r, double v) {
  return (r.above_low ? v > r.low : v >= r.low) && (r.below_high ? v < r.high : v <= r.high);
}

bool is_bounded(const Range& r) { return !std::isinf(r.low) || !std::isinf(r.high); }

template <class T>  // whole numbers are told as such
void check_range(const Fields::Row& row, T value, const std::string& where) {
  const auto v = static_cast<double>(value);
  JX_CHECK(!std::isnan(v), where, ": ", row.key, ": expected a number, got nan");
  JX_CHECK(holds(row.range, v), where, ": ", row.key, ": expected ", text_of(row.range), ", got ", value);
}

void check_range(const Fields::Row& row, const std::string& where) {
  if (const auto* whole = std::get_if<int64_t*>(&row.target))
    check_range(row, **whole, where);
  else if (const auto* real = std::get_if<double*>(&row.target))
    check_range(row, **real, where);
  else if (const auto* list = std::get_if<std::vector<double>*>(&row.target))
    for (const double v : **list) check_range(row, v, where);
}

void put(const Fields::Row& row, const toml::node& node, const std::string& where) {
  JX_CHECK(assign(row.target, node), where, ": ", row.key, ": expected ", kind_of(row.target), ", got ",
           text_of(node));
  check_range(row, where);
  if (row.choices.empty()) return;
  const std::string& value = *std::get<std::string*>(row.target);
  if (std::find(row.choices.begin(), row.choices.end(), value) != row.choices.end()) return;
  std::string list;
  for (const std::string& c : row.choices) list += (list.empty() ? "" : ", ") + c;
  const std::string near = nearest_name(value, row.choices);
  JX_FAIL(where, ": ", row.key, ": '", value, "' is unknown",
          near.empty() ? "" : "; did you mean '" + near + "'?", " (one of: ", list, ")");
}

toml::table parse(const std::string& text, const std::string& where) {
  toml::parse_result parsed = toml::parse(text);
  JX_CHECK(parsed.succeeded(), where, ": line ", static_cast<int64_t>(parsed.error().source().begin.line),
           ": ", std::string(parsed.error().description()));
  return std::move(parsed).table();
}

// Every value of a table by its full key; an empty section counts as a value, so that its name is looked at.
void walk(const toml::table& table, const std::string& prefix,
          const std::function<void(const std::string&, const toml::node&)>& visit) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const toml::table* inner = node.as_table();
    if (inner && !inner->empty())
      walk(*inner, name + ".", visit);
    else
      visit(name, node);
  }
}

}  // namespace

const Fields::Row& Fields::find(const std::string& key, const std::string& where) const {
  const std::string last = key.substr(key.rfind('.') + 1);
  std::vector<std::string> names;
  std::string near;
  for (const Row& r : rows_) {
    if (r.key == key) return r;
    names.push_back(r.key);
    names.push_back(r.key.substr(0, r.key.rfind('.')));                            // its section
    if (near.empty() && r.key.substr(r.key.rfind('.') + 1) == last) near = r.key;  // in another section
  }
  if (near.empty()) near = nearest_name(key, names);
  JX_FAIL(where, ": unknown key '", key, "'", near.empty() ? "" : "; did you mean '" + near + "'?");
}

void Fields::set_toml(const std::string& text, const std::string& where) {
  walk(parse(text, where), "", [&](const std::string& key, const toml::node& node) {
    const auto in_section = [&](const Row& r) { return r.key.starts_with(key + "."); };
    if (node.is_table() && std::any_of(rows_.begin(), rows_.end(), in_section)) return;
    put(find(key, where), node, where);
  });
}

void Fields::check(const std::string& where) const {
  for (const Row& r : rows_) check_range(r, where);
}

void Fields::set_toml_known(const std::string& text, const std::string& where) {
  walk(parse(text, where), "", [&](const std::string& key, const toml::node& node) {
    for (const Row& r : rows_)
      if (r.key == key) put(r, node, where);
  });
}

void Fields::set(const std::string& key, const std::string& value, const std::string& where) {
  const Row& row = find(key, where);
  const bool text = row.target.index() == 3 || row.target.index() == 5;
  const bool bare = text && (value.empty() || (value.front() != '"' && value.front() != '\''));
  const toml::parse_result parsed = toml::parse("v = " + (bare ? quoted(value) : value));
  JX_CHECK(parsed.succeeded() && parsed.table().size() == 1, where, ": ", key, ": expected ",
           kind_of(row.target), ", got '", value, "'");
  put(row, *parsed.table().get("v"), where);
}

void Fields::set_assignment(const std::string& assignment) {
  const size_t eq = assignment.find('=');
  JX_CHECK(eq != std::string::npos && eq > 0, "--set ", assignment,
           ": expected key=value, e.g. --set train.epochs=4");
  set(assignment.substr(0, eq), assignment.substr(eq + 1), "--set");
}

std::vector<std::pair<std::string, std::string>> Fields::values() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Row& r : rows_) all.emplace_back(r.key, std::visit(ToText{}, r.target));
  return all;
}

std::string Fields::dump_toml() const {
  std::string out, section;
  for (const Row& r : rows_) {
    const size_t dot = r.key.rfind('.');
    const std::string in = dot == std::string::npos ? "" : r.key.substr(0, dot);
    if (in != section) {
      out += (out.empty() ? "[" : "\n[") + in + "]\n";
      section = in;
    }
    out +=
        r.key.substr(dot == std::string::npos ? 0 : dot + 1) + " = " + std::visit(ToText{}, r.target) + "\n";
  }
  return out;
}

std::string Fields::help() const {
  size_t width = 0;
  for (const Row& r : rows_) width = std::max(width, r.key.size());
  std::string out;
  for (const Row& r : rows_) {
    out += "  " + r.key + std::string(width + 2 - r.key.size(), ' ') + r.help + " [" +
           std::visit(ToText{}, r.target) + "]";
    if (!r.choices.empty()) {
      out += " {";
      for (size_t i = 0; i < r.choices.size(); ++i) out += (i ? ", " : "") + r.choices[i];
      out += "}";
    }
    if (is_bounded(r.range)) out += " {" + text_of(r.range) + "}";
    out += "\n";
  }
  return out;
}

}  // namespace juxta::ssl
