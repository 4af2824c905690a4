#pragma once
// The one error type of the project and the check that raises it.
//
// A message reads: what failed, at which argument, what was expected, what came, and a hint, e.g.
//   "layer_norm: weight: expected [64], got [32]; pass the module's own weight"
// Programs print what() on one line and exit with status 2; where() tells developers the line of code.
#include <cstdint>
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

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string s;
  (s.append(to_text(parts)), ...);
  return s;
}

namespace detail {
[[noreturn]] void throw_error(const std::string& message, const char* file, int line);
}  // namespace detail

// Throws Error with the given parts as its message; file and line are the caller's.
#define JX_FAIL(...) \
  ::juxta::detail::throw_error(::juxta::concat(__VA_ARGS__), __builtin_FILE(), __builtin_LINE())

// Stays on in release builds: user input reaches every check.
#define JX_CHECK(cond, ...)   \
  do {                        \
    if (!(cond)) [[unlikely]] \
      JX_FAIL(__VA_ARGS__);   \
  } while (false)

}  // namespace juxta
