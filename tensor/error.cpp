#include "tensor/error.h"

#include <charconv>

namespace juxta {

std::string to_text(double v) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  return std::string(buffer, end);
}

namespace detail {
void Part::append_to(std::string& out) const {
  switch (kind_) {
    case Kind::text:
      out.append(value_.text.data, value_.text.size);
      break;
    case Kind::real:
      out += to_text(value_.real);
      break;
    case Kind::integer:
      out += std::to_string(value_.integer);
      break;
    case Kind::natural:
      out += std::to_string(value_.natural);
      break;
    case Kind::other:
      out += value_.other.text(value_.other.object);
      break;
  }
}

std::string join(std::initializer_list<Part> parts) {
  std::string out;
  for (const Part& p : parts) p.append_to(out);
  return out;
}

void throw_error(std::initializer_list<Part> message, const char* file, int line) {
  throw Error(join(message), file, line);
}
}  // namespace detail

}  // namespace juxta
