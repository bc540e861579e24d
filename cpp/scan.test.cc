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

constexpr std::size_t kSteps = 9, kSize = 13377;  // neither a whole number of blocks nor of vectors, and enough for a second thread
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

// Frames of 7 x 6 x 3 with squares of 2: a row is left over. Everything with sums equals the same without, added up here.
struct Squares {
  static constexpr std::size_t kFrames = 200, kChannels = 3;
  ScanPool pool{2, 7, 6, kChannels};
  std::size_t size = kFrames * pool.map(), sent = kFrames * pool.out_map();

  // Where a neuron's spikes go, or `sent` if nowhere.
  std::size_t place(std::size_t i) const {
    const std::size_t frame = i / pool.map(), y = i % pool.map() / (6 * kChannels), x = i / kChannels % 6, c = i % kChannels;
    return y / 2 < 3 ? frame * pool.out_map() + (y / 2 * 3 + x / 2) * kChannels + c : sent;
  }

  std::vector<float> summed(const std::vector<float>& spikes) const {
    std::vector<float> sums(kSteps * sent);
    for (std::size_t at = 0; at < spikes.size(); ++at) {
      if (place(at % size) < sent) sums[at / size * sent + place(at % size)] += spikes[at];
    }
    return sums;
  }

  std::vector<float> spread(const std::vector<float>& grad) const {
    std::vector<float> wide(kSteps * size);
    for (std::size_t at = 0; at < wide.size(); ++at) {
      if (place(at % size) < sent) wide[at] = grad[at / size * sent + place(at % size)];
    }
    return wide;
  }
};

template <class T>
std::vector<T> drawn(std::mt19937& random, std::size_t n, int low, int high) {
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(std::uniform_int_distribution<int>(low, high)(random));
  return values;
}

void sums_are_those_of_the_spikes() {
  std::mt19937 random(3);
  const Squares q;
  const ScanNeuron n{1.0f, 1.0f, 4.0f, -2.0f, false, true, Slope::triangle, 2.0f};
  const std::size_t all = kSteps * q.size;
  const std::vector<float> current = drawn<float>(random, all, -3, 5), grad = drawn<float>(random, kSteps * q.sent, -9, 9);
  const auto counts = drawn<std::uint16_t>(random, all, 0, 3);
  const auto levels = drawn<std::int16_t>(random, all, -8, 15);
  for (const int threads : {1, 3}) {
    for (const bool seen : {false, true}) {
      std::vector<float> used = current, sums(kSteps * q.sent), before(all), spikes(all), grad_flat(all), grad_used(all);
      const std::int16_t* const v = seen ? levels.data() : nullptr;
      const std::uint16_t* const s = seen ? counts.data() : nullptr;
      scan_forward(n, {current.data(), nullptr, before.data(), spikes.data(), nullptr, v, 0.25f, s, {}}, kSteps, q.size, threads);
      scan_forward(n, {used.data(), nullptr, used.data(), sums.data(), nullptr, v, 0.25f, s, q.pool}, kSteps, q.size, threads);
      CHECK(used == before);  // currents are used up: their memory holds the potentials now
      CHECK(sums == q.summed(spikes));
      const std::vector<float> wide = q.spread(grad);
      scan_backward(n, {before.data(), wide.data(), nullptr, grad_flat.data()}, kSteps, q.size, threads);
      scan_backward(n, {used.data(), grad.data(), nullptr, grad_used.data(), q.pool}, kSteps, q.size, threads);
      CHECK(grad_used == grad_flat);
    }
    std::vector<float> sums(kSteps * q.sent), had(all), by_chip(all), by_had(all);
    send_counts(counts.data(), q.pool, kSteps, q.size, threads, sums.data());
    CHECK(sums == q.summed({counts.begin(), counts.end()}));
    for (std::size_t at = 0; at < all; ++at) had[at] = levels[at] * 0.25f + counts[at] * n.v_th;
    scan_backward(n, {nullptr, grad.data(), nullptr, by_chip.data(), q.pool, levels.data(), 0.25f, counts.data()}, kSteps, q.size, threads);
    scan_backward(n, {had.data(), grad.data(), nullptr, by_had.data(), q.pool}, kSteps, q.size, threads);
    CHECK(by_chip == by_had);
  }
}

}  // namespace

int main() {
  scans_equal_the_plain_loop();
  sums_are_those_of_the_spikes();
}
