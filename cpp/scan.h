// One neuron layer over time for training: fused forward and backward scans in float32.
#pragma once

#include <cstddef>

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

// Arrays of [steps][size], time slowest; null where absent.
struct ScanForward {
  const float* current;
  const float* v_seen;  // observed potentials, which replace the modelled ones
  float* before;        // potential before floor and reset, all that the gradient needs
  float* spikes;
  float* after;  // potential after the reset, or the observed one
};

struct ScanBackward {
  const float* before;
  const float* grad_spikes;
  const float* grad_v;
  float* grad_current;
};

void scan_forward(const ScanNeuron& neuron, const ScanForward& arrays, std::size_t steps, std::size_t size, int threads);
void scan_backward(const ScanNeuron& neuron, const ScanBackward& arrays, std::size_t steps, std::size_t size, int threads);

}  // namespace chiploop
