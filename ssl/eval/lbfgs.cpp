#include "ssl/eval/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace juxta::ssl {

namespace {

using Vec = std::vector<double>;

double dot(const Vec& a, const Vec& b) {
  double s = 0;
  for (size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}
double largest(const Vec& a) {
  double m = 0;
  for (double v : a) m = std::max(m, std::abs(v));
  return m;
}

struct Pair {
  Vec s, y;
  double rho;    // 1 / s'y
  double scale;  // s'y / y'B^-1 y: how much of B^-1 the last step found
};

// Two-loop recursion: -H g, from H0 = scale B^-1.
Vec direction(const Vec& g, const std::deque<Pair>& history, const Preconditioner& precondition) {
  Vec q = g;
  std::vector<double> alpha(history.size());
  for (size_t k = history.size(); k-- > 0;) {
    alpha[k] = history[k].rho * dot(history[k].s, q);
    for (size_t i = 0; i < q.size(); ++i) q[i] -= alpha[k] * history[k].y[i];
  }
  if (precondition) precondition(q);
  if (!history.empty())
    for (double& v : q) v *= history.back().scale;
  for (size_t k = 0; k < history.size(); ++k) {
    const double beta = history[k].rho * dot(history[k].y, q);
    for (size_t i = 0; i < q.size(); ++i) q[i] += (alpha[k] - beta) * history[k].s[i];
  }
  for (double& v : q) v = -v;
  return q;
}

// One line search along d from (x, value, slope): fills the point with the best step that it accepts.
struct Line {
  const SmoothFunction& f;
  const Vec &x, &d;
  double value0, slope0, slack;  // slack: what rounding may add to f
  Vec point, gradient;
  double value = 0;

  double slope_at(double t) {
    for (size_t i = 0; i < x.size(); ++i) point[i] = x[i] + t * d[i];
    value = f(point, gradient);
    return dot(gradient, d);
  }

  // Strong Wolfe with c1 = 1e-4, c2 = 0.9; bisection with cubic interpolation inside the bracket. False when
  // no step lowers f.
  bool search(double first) {
    double low = 0, low_value = value0, low_slope = slope0, high = 0, t = first;
    bool bracketed = false;
    for (int i = 0; i < 25; ++i) {
      const double slope = slope_at(t);
      const bool too_long = !std::isfinite(value) || value > value0 + 1e-4 * t * slope0 + slack ||
                            (i > 0 && value >= low_value + slack);
      if (!too_long && std::abs(slope) <= -0.9 * slope0) return true;
      if (too_long) {
        high = t;
        bracketed = true;
      } else {
        if (slope * (bracketed ? high - low : 1.0) >= 0) {
          high = low;
          bracketed = true;
        }
        low = t;
        low_value = value;
        low_slope = slope;
      }
      if (!bracketed) {
        t *= 2;
        continue;
      }
      const double width = high - low;
      if (std::abs(width) < 1e-12 * std::max(1.0, std::abs(low))) break;
      const double curvature =
          too_long && std::isfinite(value) ? (value - low_value - low_slope * width) / (width * width) : 0;
      double guess = curvature > 0 ? low - low_slope / (2 * curvature) : low + 0.5 * width;
      const double edge = 0.1 * std::abs(width), from = std::min(low, high) + edge,
                   to = std::max(low, high) - edge;
      t = std::clamp(guess, from, to);
    }
    if (low == 0) return false;
    slope_at(low);
    return value < value0 + slack;
  }
};

}  // namespace

LbfgsResult minimize_lbfgs(const SmoothFunction& f, std::vector<double>& x, const LbfgsOptions& options) {
  Vec g(x.size());
  LbfgsResult r;
  r.value = f(x, g);
  std::deque<Pair> history;
  for (r.iterations = 0; r.iterations < options.max_iterations; ++r.iterations) {
    if (largest(g) <= options.tolerance) break;
    Vec d = direction(g, history, options.precondition);
    if (!(dot(d, g) < 0)) {  // rounding spoilt the curvature: start afresh
      history.clear();
      d = direction(g, history, options.precondition);
    }
    Line line{
        f, x, d, r.value, dot(d, g), options.rounding * std::abs(r.value), Vec(x.size()), Vec(x.size())};
    const bool steepest = history.empty() && !options.precondition;  // its length says nothing
    if (!line.search(steepest ? std::min(1.0, 1.0 / std::max(largest(g), 1e-30)) : 1.0)) break;
    Pair p{Vec(x.size()), Vec(x.size()), 0, 0};
    for (size_t i = 0; i < x.size(); ++i) {
      p.s[i] = line.point[i] - x[i];
      p.y[i] = line.gradient[i] - g[i];
    }
    const double curvature = dot(p.s, p.y);
    if (curvature > 1e-12 * dot(p.y, p.y)) {
      Vec solved = p.y;
      if (options.precondition) options.precondition(solved);
      p.rho = 1.0 / curvature;
      p.scale = curvature / dot(p.y, solved);
      history.push_back(std::move(p));
      if (static_cast<int64_t>(history.size()) > options.history) history.pop_front();
    }
    x = line.point;
    g = line.gradient;
    r.value = line.value;
  }
  r.gradient = largest(g);
  return r;
}

}  // namespace juxta::ssl
