#pragma once
// The one error type of the project and the check that raises it.
//
// A message reads: what failed, at which argument, what was expected, what came, and a hint, e.g.
//   "layer_norm: weight: expected [64], got [32]; pass the module's own weight"
// Programs print what() on one line and exit with status 2; where() tells developers the line of code.
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace juxta {

class Error : public std::runtime_error {
 public:
  Error(const std::string& message, const char* file, int line)
      : std::runtime_error(message), file_(file), line_(line) {}
  explicit Error(const std::string& message) : Error(message, "", 0) {}
  // Source position of the failed check, "kernels/norm.cpp:42"; empty when unknown.
  std::string where() const {
    return *file_ ? std::string(file_) + ":" + std::to_string(line_) : std::string();
  }

 private:
  const char* file_;
  int line_;
};

// to_text turns one part of a message into text; other headers add overloads for their types (found by ADL).
inline std::string to_text(std::string_view s) { return std::string(s); }
inline std::string to_text(const std::string& s) { return s; }
inline std::string to_text(const char* s) { return s; }
inline std::string to_text(bool b) { return b ? "true" : "false"; }
std::string to_text(double v);  // shortest text that reads back to the same value
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) std::string to_text(T v) {
  return std::to_string(v);
}

namespace detail {
// One part of a message, by reference: nothing is copied before the text is made, and a check costs its
// caller a few stores in a cold path, whatever the types of its parts. Lives no longer than its expression.
class Part {
 public:
  Part(std::string_view s) : kind_(Kind::text) { value_.text = {s.data(), s.size()}; }
  Part(const char* s) : Part(std::string_view(s)) {}
  Part(const std::string& s) : Part(std::string_view(s)) {}
  Part(bool b) : Part(b ? "true" : "false") {}
  Part(std::floating_point auto v) : kind_(Kind::real) { value_.real = v; }
  Part(std::signed_integral auto v) : kind_(Kind::integer) { value_.integer = v; }
  Part(std::unsigned_integral auto v) : kind_(Kind::natural) { value_.natural = v; }
  template <class T>
  requires(!std::is_arithmetic_v<T> && !std::is_convertible_v<const T&, std::string_view>) Part(const T& v)
      : kind_(Kind::other) {
    value_.other = {&v, [](const void* p) { return std::string(to_text(*static_cast<const T*>(p))); }};
  }
  void append_to(std::string& out) const;

 private:
  enum class Kind : uint8_t { text, real, integer, natural, other };
  struct Text {
    const char* data;
    size_t size;
  };
  struct Other {
    const void* object;
    std::string (*text)(const void*);
  };
  union Value {
    Text text;
    double real;
    long long integer;
    unsigned long long natural;
    Other other;
  } value_;
  Kind kind_;
};

std::string join(std::initializer_list<Part> parts);
[[noreturn, gnu::cold]] void throw_error(std::initializer_list<Part> message, const char* file, int line);
}  // namespace detail

// The texts of all parts, one after the other.
template <class... Parts>
std::string concat(const Parts&... parts) {
  return detail::join({detail::Part(parts)...});
}

// Throws Error with the given parts as its message; file and line are the caller's.
#define JX_FAIL(...) ::juxta::detail::throw_error({__VA_ARGS__}, __builtin_FILE(), __builtin_LINE())

// Stays on in release builds: user input reaches every check.
#define JX_CHECK(cond, ...)   \
  do {                        \
    if (!(cond)) [[unlikely]] \
      JX_FAIL(__VA_ARGS__);   \
  } while (false)

}  // namespace juxta
