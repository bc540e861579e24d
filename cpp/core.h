// One chip core: a spike adds a kernel to int16 states, neurons saturate, clamp, fire and reset, spikes are sum-pooled.
//
// Layout. Neurons stand as [y][x][F], features fastest and padded to blocks of 16; weights as [c][row][column][F], with
// rows and columns ordered so that the outputs an event reaches ascend with the weights it adds. One kernel row is then
// one contiguous run of blocks at every stride. Padding features have weight 0 and state 0 and thus never fire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "event.h"

namespace chiploop {

inline constexpr std::size_t kLanes = 16;  // features in a block: one 256-bit register of int16

struct alignas(32) StateBlock {
  std::int16_t lane[kLanes];
};

struct alignas(16) WeightBlock {
  std::int8_t lane[kLanes];
};

struct Shape {
  std::uint32_t channels;
  std::uint32_t height;
  std::uint32_t width;
  std::size_t size() const { return std::size_t{channels} * height * width; }
};

enum class Reset { subtract, zero };
enum class SpikesPerUpdate { one, all };
enum class Isa { portable, avx2 };

// The fastest instruction set of this machine that a kernel was built for.
Isa best_isa();

// What a program says about a core; the weight is int8[C, kernel_height, kernel_width, F].
struct CoreConfig {
  const std::int8_t* weight;
  std::uint32_t kernel_height;
  std::uint32_t kernel_width;
  std::int32_t threshold;
  std::int32_t floor;
  Reset reset;
  SpikesPerUpdate spikes_per_update;
  std::uint32_t stride;
  std::uint32_t padding;
  std::uint32_t pool;
  Shape in;
  Shape neurons;
};

// The output rows (or columns) that an input row (or column) reaches.
struct Reach {
  std::uint32_t first;   // first output row
  std::uint32_t count;   // number of output rows
  std::uint32_t weight;  // place of the weight row that goes with `first`; the others follow
};

// Where the neurons of one block stand, by block index (y * width + x) * blocks + feature / 16.
struct Site {
  std::uint32_t neuron;   // index of lane 0 in the unpadded map [y][x][F]
  std::uint16_t channel;  // feature of lane 0
  std::uint16_t y;        // pooled address
  std::uint16_t x;
  std::uint16_t leaves;  // 1 if the pooled address lies inside the output map, else the spike has nowhere to go
};

// Exact counts of one run; the order is that of COUNTER_NAMES in Python.
struct Counters {
  std::int64_t events_in = 0;
  std::int64_t synops = 0;
  std::int64_t spikes = 0;
  std::int64_t saturated_high = 0;
  std::int64_t saturated_low = 0;
  std::int64_t floored = 0;
  std::int64_t dropped = 0;
  std::int64_t fifo_peak = 0;
};

// A block in which neurons fired. Kernels write one for every block they update and keep it only if a lane fired, which
// costs less than a branch that nobody can predict; spikes are made from the list afterwards.
struct Hit {
  std::uint64_t place;  // event of the chunk << 32 | block
  std::uint32_t lanes;  // two bits a lane, as the byte mask of int16 lanes comes out of the register
  std::uint32_t unused;

  std::uint32_t event() const { return static_cast<std::uint32_t>(place >> 32); }
  std::uint32_t block() const { return static_cast<std::uint32_t>(place); }
};

struct Job;  // in kernel.h
using Scatter = void (*)(const Job&);

// What changes while a core runs; one for each stream that is run at the same time.
struct CoreState {
  std::vector<StateBlock> v;  // membrane potentials, by block
  Counters counters;
  std::int64_t lost = 0;  // spikes that did not fit a count
  std::vector<Hit> hits;  // room for the kernel's list
};

// Where spikes are reported besides the next core; null where nobody asked. Indexed by neuron, [y][x][F].
struct Tap {
  std::uint16_t* counts = nullptr;
  std::int64_t* totals = nullptr;
  EventBuffer* spikes = nullptr;
  bool any() const { return counts != nullptr || totals != nullptr || spikes != nullptr; }
};

class Core {
 public:
  Core(const CoreConfig& config, Isa isa);

  CoreState fresh_state() const;

  // Runs the events through the core in order; appends the spikes that leave to `out`.
  void run(CoreState& state, std::span<const Event> in, const Tap& tap, EventBuffer& out) const;

  // Copies the potentials to an unpadded [y][x][F] map.
  void copy_potentials(const CoreState& state, std::int16_t* to) const;

  CoreConfig config;
  std::size_t blocks;         // blocks of one position: ceil(F / 16)
  std::size_t row_blocks;     // state blocks of one output row
  std::size_t weight_row;     // weight blocks of one kernel row
  std::size_t weight_plane;   // weight blocks of one input channel
  std::size_t most_hits;      // blocks that one event can reach
  bool saturates;             // whether any stream could drive a state out of int16
  bool multiple;              // whether one update can give more than one spike
  std::vector<WeightBlock> weights;
  std::vector<Reach> rows;     // by input y
  std::vector<Reach> columns;  // by input x
  std::vector<Site> sites;     // by block

 private:
  Scatter scatter_;
};

}  // namespace chiploop
