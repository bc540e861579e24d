// Tests of the fused scans against a plain loop in double precision, on threads; also meant for the sanitizers.
#include "scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"

using namespace chiploop;

namespace {

constexpr std::size_t kSteps = 9, kSize = 1337;  // neither a whole number of blocks nor of vectors
constexpr double kTolerance = 1e-4;

double slope_of(const ScanNeuron& n, double x) {
  const double d = std::abs(x), root = 1.0 + n.shape * d;
  switch (n.slope) {
    case Slope::exponential: return std::exp(-n.shape * d);
    case Slope::fast_sigmoid: return 1.0 / (root * root);
    case Slope::triangle: return std::max(0.0, 1.0 - d / n.shape);
    default: return d <= n.shape ? 1.0 : 0.0;
  }
}

struct Arrays {
  std::vector<float> current, before, spikes, after, grad_spikes, grad_v, grad_current;
};

std::vector<float> random_array(std::mt19937& random, float low, float high) {
  std::vector<float> values(kSteps * kSize);
  for (float& value : values) value = std::uniform_real_distribution<float>(low, high)(random);
  return values;
}

Arrays scanned(std::mt19937& random, const ScanNeuron& n, int threads) {
  const std::vector<float> empty(kSteps * kSize);
  Arrays a{random_array(random, -0.6f, 1.4f), empty, empty, empty, random_array(random, -1, 1),
           random_array(random, -1, 1), empty};
  scan_forward(n, {a.current.data(), nullptr, a.before.data(), a.spikes.data(), a.after.data()}, kSteps, kSize, threads);
  scan_backward(n, {a.before.data(), a.grad_spikes.data(), a.grad_v.data(), a.grad_current.data()}, kSteps, kSize, threads);
  return a;
}

// Spikes are taken from the scan where the potential lies within rounding of a threshold's multiple.
void require_forward(const ScanNeuron& n, const Arrays& a, std::size_t i) {
  double v = 0;
  for (std::size_t t = 0; t < kSteps; ++t) {
    const std::size_t at = t * kSize + i;
    const double raw = n.keep * v + double{n.gain} * a.current[at];
    CHECK(std::abs(raw - a.before[at]) < kTolerance);
    const double p = std::max(raw, double{n.v_min}), ratio = p / n.v_th;
    const double fired = n.all_spikes ? std::max(0.0, std::floor(ratio)) : (ratio >= 1.0 ? 1.0 : 0.0);
    const bool is_close = std::abs(ratio - std::round(ratio)) < kTolerance;
    CHECK(fired == a.spikes[at] || is_close);
    v = n.reset_to_zero ? (a.spikes[at] == 0.0f ? p : 0.0) : p - a.spikes[at] * double{n.v_th};
    CHECK(std::abs(v - a.after[at]) < kTolerance);
    v = a.after[at];
  }
}

// v' = p - v_th s, or p (1 - s) where the reset is to zero (several spikes clear it no further), and ds/dp is the slope.
void require_backward(const ScanNeuron& n, const Arrays& a, std::size_t i) {
  double carry = 0;
  for (std::size_t t = kSteps; t-- > 0;) {
    const std::size_t at = t * kSize + i;
    const double g = carry + a.grad_v[at], raw = a.before[at], p = std::max(raw, double{n.v_min});
    double x = p / n.v_th - 1.0;
    if (n.all_spikes) x = std::min(x, 0.0);
    const double slope = slope_of(n, x) / n.v_th;
    const double through = n.reset_to_zero ? (a.spikes[at] == 0.0f ? 1.0 : 0.0) : 1.0;
    const double jump = !n.reset_to_zero ? n.v_th : a.spikes[at] <= 1.0f ? p : 0.0;
    const double grad_p = a.grad_spikes[at] * slope + g * (through - jump * slope);
    const double grad_raw = raw >= n.v_min ? grad_p : 0.0;
    const bool on_edge = std::abs(std::abs(x) - n.shape) < kTolerance || std::abs(raw - n.v_min) < kTolerance;
    CHECK(on_edge || std::abs(grad_raw * n.gain - a.grad_current[at]) < kTolerance * 10);
    carry = a.grad_current[at] / double{n.gain} * n.keep;
  }
}

void scans_equal_the_plain_loop() {
  std::mt19937 random(2);
  for (const Slope slope : {Slope::exponential, Slope::fast_sigmoid, Slope::triangle, Slope::rectangle}) {
    for (int form = 0; form < 4; ++form) {
      const bool zero = form & 1, all = form & 2;
      const ScanNeuron n{0.9f, 0.7f, 0.8f, form == 0 ? -0.5f : -std::numeric_limits<float>::infinity(), zero, all, slope, 0.6f};
      for (const int threads : {1, 3}) {
        const Arrays a = scanned(random, n, threads);
        for (std::size_t i = 0; i < kSize; ++i) require_forward(n, a, i), require_backward(n, a, i);
      }
    }
  }
}

}  // namespace

int main() { scans_equal_the_plain_loop(); }
