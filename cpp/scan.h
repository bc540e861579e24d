// One neuron layer over time for training: fused forward and backward scans in float32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiploop {

enum class Slope { exponential, fast_sigmoid, triangle, rectangle };

// The neuron's constants; with x = v / v_th - 1 (at most 0 where a step may have several spikes), the surrogate is
// slope(x) / v_th.
struct ScanNeuron {
  float keep;   // factor on the old potential
  float gain;   // factor on the current
  float v_th;
  float v_min;  // minus infinity: no floor
  bool reset_to_zero;
  bool all_spikes;  // floor(v / v_th) spikes a step, else one
  Slope slope;
  float shape;  // sharpness or width of the slope
};

// Maps whose spikes are summed over squares before they go on: [frame][y][x][channel], the last rows and columns left
// out where `size` does not divide them. Size 1: no map, nothing is summed.
struct ScanPool {
  std::size_t size = 1;
  std::size_t height = 1, width = 1, channels = 1;

  std::size_t map() const { return height * width * channels; }
  std::size_t out_row() const { return width / size * channels; }
  std::size_t out_map() const { return height / size * out_row(); }
};

// Arrays of [steps][size], time slowest; null where absent. `before` may be the memory of `current`.
struct ScanForward {
  const float* current;
  const float* v_seen;  // observed potentials, which replace the modelled ones
  float* before;        // potential before floor and reset, all that the gradient needs
  float* spikes;        // what goes on: spikes, or observed counts; [steps][size / map * out_map] where there is a pool
  float* after;         // potential after the reset, or the observed one
  const std::int16_t* v_levels = nullptr;        // observed potentials in units of
  float v_unit = 1.0f;                           // this
  const std::uint16_t* counts_seen = nullptr;    // observed counts, which go on in place of the modelled spikes
  ScanPool pool = {};
};

// Without `before`, the potential before the reset is that of the chip: what it ended a step with, and what it spent on
// the spikes it sent, v_levels v_unit + counts_seen v_th.
struct ScanBackward {
  const float* before;
  const float* grad_spikes;  // of what went on; null: zero
  const float* grad_v;
  float* grad_current;
  ScanPool pool = {};
  const std::int16_t* v_levels = nullptr;
  float v_unit = 1.0f;
  const std::uint16_t* counts_seen = nullptr;
};

void scan_forward(const ScanNeuron& neuron, const ScanForward& arrays, std::size_t steps, std::size_t size, int threads);
void scan_backward(const ScanNeuron& neuron, const ScanBackward& arrays, std::size_t steps, std::size_t size, int threads);


// Sends observed counts on, as float32: summed over squares where there is a pool.
void send_counts(const std::uint16_t* counts, const ScanPool& pool, std::size_t steps, std::size_t size, int threads,
                 float* sent);

}  // namespace chiploop
