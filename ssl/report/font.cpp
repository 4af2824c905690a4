#include "ssl/report/font.h"

#include <cstddef>

namespace juxta::ssl {

namespace {

// One string per character from ' ' to '~'. The first digit is the width; then strokes follow, each a chain
// of points xy: x is a hexadecimal digit, y a letter (a = below the line, e = baseline, o = top of x, s = top
// of X). A stroke that begins with ~ is a smooth curve through its points; the unit is 1/20 of the size.
constexpr const char* kGlyphs[95] = {
    "3",                                                     // space
    "0 0s0i 0f0e",                                           // !
    "3 0s0o 3s3o",                                           // "
    "9 3s2e 7s6e 0n9n 0i9i",                                 // #
    "8 ~8p7r4s1r0p1m4l7j8h7f4e1f0g 4t4d",                    // $
    "A 9s1e ~2s0q2o4q2s ~8i6g8eAg8i",                        // %
    "9 ~9e2n1p2r4s6r6p4m1j0h1f3e5e7g9j",                     // &
    "0 0s0o",                                                // '
    "3 ~3t1p0k1e3b",                                         // (
    "3 ~0t2p3k2e0b",                                         // )
    "6 3s3m 0r6n 6r0n",                                      // *
    "8 4n4f 0j8j",                                           // +
    "1 1f0c",                                                // ,
    "5 0j5j",                                                // -
    "0 0e0f",                                                // .
    "6 0c6s",                                                // /
    "8 ~4s1q0l1g4e7g8l7q4s",                                 // 0
    "8 1p4s4e 1e7e",                                         // 1
    "8 ~0p1r4s7r8o7l3h0e 0e8e",                              // 2
    "8 ~0q2s5s7q7n5l3l ~3l6l8j8g6e2e0g",                     // 3
    "8 6e6s0i8i",                                            // 4
    "8 7s1s0l ~0l2m5n7l8j7g4e1f0g",                          // 5
    "8 ~7r5s3r1p0j1f4e7f8i7l4m1l0j",                         // 6
    "8 0s8s3e",                                              // 7
    "8 ~4s2r1p2m4l6m7p6r4s ~4l1k0h1f4e7f8h7k4l",             // 8
    "8 ~1f3e5f7h8n7r4s1r0o1l4k7l8n",                         // 9
    "0 0e0f 0m0n",                                           // :
    "1 1f0c 1m1n",                                           // ;
    "8 8o0j8e",                                              // <
    "8 0l8l 0h8h",                                           // =
    "8 0o8j0e",                                              // >
    "7 ~0p1r3s6r7o5l3k3h 3f3e",                              // ?
    "C ~6n4m3j4h6g8h9j8m6n 9n9i ~9iAgCiCmAq6s2q0l0i2e6c9d",  // @
    "A 0e5sAe 2j8j",                                         // A
    "8 4e0e0s4s 0l4l ~4s6r7p6m4l ~4l7k8h7f4e",               // B
    "9 ~9p8r5s2r0n0i2f5e8f9h",                               // C
    "9 4e0e0s4s ~4s7r9n9i7f4e",                              // D
    "7 7e0e0s7s 0l6l",                                       // E
    "7 0e0s7s 0l6l",                                         // F
    "9 ~9p8r5s2r0n0i2f5e7e9g 9g9k5k",                        // G
    "9 0e0s 9e9s 0l9l",                                      // H
    "0 0e0s",                                                // I
    "6 6s6i ~6i5f3e1f0h",                                    // J
    "8 0e0s 8s0j 3m8e",                                      // K
    "7 0s0e7e",                                              // L
    "A 0e0s5hAsAe",                                          // M
    "9 0e0s9e9s",                                            // N
    "A ~5s2r0n0i2f5e8fAiAn8r5s",                             // O
    "8 0e0s4s ~4s7r8o7l4k 4k0k",                             // P
    "A ~5s2r0n0i2f5e8fAiAn8r5s 6hAd",                        // Q
    "8 0e0s4s ~4s7r8o7l4k 4k0k 4k8e",                        // R
    "8 ~8p7r4s1r0p1m4l7j8h7f4e1f0g",                         // S
    "8 4e4s 0s8s",                                           // T
    "9 0s0i 9s9i ~0i1f4e5e8f9i",                             // U
    "A 0s5eAs",                                              // V
    "E 0s4e7sAeEs",                                          // W
    "9 0s9e 9s0e",                                           // X
    "8 0s4k8s 4k4e",                                         // Y
    "8 0s8s0e8e",                                            // Z
    "3 3t0t0b3b",                                            // [
    "6 0s6c",                                                // backslash
    "3 0t3t3b0b",                                            // ]
    "6 0n3s6n",                                              // ^
    "8 0c8c",                                                // _
    "2 0s2p",                                                // `
    "7 ~0m1n3o6n7k 7k7e ~7j4j1i0h1e3e6f7h",                  // a
    "8 0e0s ~0k1n4o7n8j7f4e1f0i",                            // b
    "7 ~7m6n4o1n0j1f4e6f7g",                                 // c
    "8 8e8s ~8k7n4o1n0j1f4e7f8i",                            // d
    "8 0j8j ~8j7n4o1n0j1f4e6e8g",                            // e
    "5 2e2p ~2p3s5s 0o5o",                                   // f
    "8 ~8k7n4o1n0j1f4e7f8i 8o8d ~8d7b4a1b",                  // g
    "7 0e0s ~0k1n4o6n7k 7k7e",                               // h
    "0 0e0o 0r0s",                                           // i
    "2 2o2c ~2c1a0a 2r2s",                                   // j
    "7 0e0s 7o0i 3k7e",                                      // k
    "2 0s0g ~0g1e2e",                                        // l
    "C 0e0o ~0k1n3o5n6k 6k6e ~6k7n9oBnCk CkCe",              // m
    "7 0e0o ~0k1n4o6n7k 7k7e",                               // n
    "8 ~4o1n0j1f4e7f8j7n4o",                                 // o
    "8 0o0a ~0k1n4o7n8j7f4e1f0i",                            // p
    "8 8o8a ~8k7n4o1n0j1f4e7f8i",                            // q
    "5 0e0o ~0k2n5o",                                        // r
    "7 ~6n3o1n0l1k4j6i7g6f3e1e0g",                           // s
    "5 2s2h ~2h3e5e 0o5o",                                   // t
    "7 0o0i ~0i1f3e6f7i 7o7e",                               // u
    "8 0o4e8o",                                              // v
    "C 0o3e6o9eCo",                                          // w
    "7 0o7e 7o0e",                                           // x
    "8 0o4e 8o3b ~3b2a0a",                                   // y
    "7 0o7o0e7e",                                            // z
    "4 ~4t2s2m0k ~0k2i2c4b",                                 // {
    "0 0t0b",                                                // |
    "4 ~0t2s2m4k ~4k2i2c0b",                                 // }
    "9 ~0i2k5j7i9k",                                         // ~
};
constexpr const char* kBox = "8 0e8e8s0s0e";
constexpr double kUnit = 1.0 / 20, kGap = 4.6;  // kGap: units between neighbouring letters

int digit(char c) { return c <= '9' ? c - '0' : c - 'A' + 10; }

// The glyphs of a text in order; a UTF-8 sequence gives one box.
template <class F>
void for_each_glyph(std::string_view text, F&& f) {
  for (char c : text) {
    if (font_has(c)) {
      f(kGlyphs[c - ' ']);
    } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      f(kBox);
    }
  }
}

// Catmull-Rom spline through the points, 6 pieces a span; a chain that ends where it began is closed.
Stroke smooth(const Stroke& p) {
  constexpr int kPieces = 6;
  const auto n = static_cast<int>(p.size());
  const bool closed = p.front().x == p.back().x && p.front().y == p.back().y;
  const auto at = [&](int i) {
    if (i < 0) return closed ? p[static_cast<size_t>(n - 2)] : p.front();
    if (i >= n) return closed ? p[1] : p.back();
    return p[static_cast<size_t>(i)];
  };
  Stroke out{p.front()};
  for (int i = 0; i + 1 < n; ++i) {
    const Point a = at(i - 1), b = at(i), c = at(i + 1), d = at(i + 2);
    for (int k = 1; k <= kPieces; ++k) {
      const double t = static_cast<double>(k) / kPieces;
      const auto mix = [t](double a0, double a1, double a2, double a3) {
        return a1 + 0.5 * t * (a2 - a0 + t * (2 * a0 - 5 * a1 + 4 * a2 - a3 + t * (3 * (a1 - a2) + a3 - a0)));
      };
      out.push_back({mix(a.x, b.x, c.x, d.x), mix(a.y, b.y, c.y, d.y)});
    }
  }
  return out;
}

void append_glyph(const char* g, double x0, double unit, std::vector<Stroke>& out) {
  for (++g; *g;) {
    while (*g == ' ') ++g;
    const bool curve = *g == '~';
    if (curve) ++g;
    Stroke s;
    for (; *g && *g != ' '; g += 2) s.push_back({x0 + digit(g[0]) * unit, ('e' - g[1]) * unit});
    if (!s.empty()) out.push_back(curve ? smooth(s) : s);
  }
}

}  // namespace

bool font_has(char c) { return c >= ' ' && c <= '~'; }

double text_width(std::string_view text, double size) {
  double units = 0;
  for_each_glyph(text, [&](const char* g) { units += digit(*g) + kGap; });
  return units > 0 ? (units - kGap) * kUnit * size : 0;
}

std::vector<Stroke> text_strokes(std::string_view text, double size) {
  std::vector<Stroke> out;
  double x = 0;
  for_each_glyph(text, [&](const char* g) {
    append_glyph(g, x, kUnit * size, out);
    x += (digit(*g) + kGap) * kUnit * size;
  });
  return out;
}

}  // namespace juxta::ssl
