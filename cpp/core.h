// One chip core: a spike adds a kernel to int16 states, neurons saturate, clamp, fire and reset, spikes are sum-pooled.
//
// Layout. Neurons stand as [y][x][F], features fastest and padded to blocks of 16; weights as [c][row][column][F], with
// rows and columns ordered so that the outputs an event reaches ascend with the weights it adds. One kernel row is then
// one contiguous run of blocks at every stride. Padding features have weight 0 and state 0 and thus never fire.
//
// Leaky neurons and 32-bit states take a plain scalar path (kernel_general.cc) with states of their own, [y][x][F].
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
enum class Isa { portable, avx2, avx512, neon };

// As the caller says it: "portable", "avx2", "avx512", "neon".
const char* name_of(Isa isa);

// What this machine can run, the fastest first; portable is always the last.
std::vector<Isa> available_isas();

inline Isa best_isa() { return available_isas().front(); }

// What a leak multiplies a state by over dt us, in 2^-31: fine[dt mod 1024] coarse[dt / 1024]; 0 past the table's end.
struct Decay {
  std::span<const std::int64_t> fine;
  std::span<const std::int64_t> coarse;
};

// What a program says about a core; the weight is int8[C, kernel_height, kernel_width, F], the bias int16[F], thresholds
// int32[y, x, F] (kDead: never fires); each of the last may be absent.
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
  const std::int16_t* bias = nullptr;
  const std::int32_t* thresholds = nullptr;
  Decay decay = {};
  bool wide = false;  // 32-bit states
};

inline constexpr std::int32_t kDead = 32768;

// The output rows (or columns) that an input row (or column) reaches.
struct Reach {
  std::uint32_t first;   // first output row
  std::uint32_t count;   // number of output rows
  std::uint32_t weight;  // place of the weight row that goes with `first`; the others follow
};

// The same in blocks, as the kernels want it: what leads to the first block of states and of weights, and how many rows
// (or blocks of a row) follow.
struct Way {
  std::uint32_t state;
  std::uint32_t weight;
  std::uint32_t count;
};

// Where the neurons of one block stand, by block index (y * width + x) * blocks + feature / 16.
struct Site {
  PackedAddress first;   // pooled address of lane 0
  std::uint32_t neuron;  // index of lane 0 in the unpadded map [y][x][F]
  std::uint32_t leaves;  // 1 if the pooled address lies inside the output map, else the spike has nowhere to go
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
  std::int64_t clocked = 0;
};

// Which lanes fired of up to four blocks that lie side by side. Kernels write one for each such word of blocks that they
// update, whether or not a neuron fired; spikes are made from the list afterwards.
struct Hit {
  std::uint32_t low, high;  // one bit a lane, that of the first block's first lane lowest
  std::uint64_t place;      // event of the chunk << 32 | first block

  std::uint64_t lanes() const { return std::uint64_t{high} << 32 | low; }
  std::uint32_t event() const { return static_cast<std::uint32_t>(place >> 32); }
  std::uint32_t block() const { return static_cast<std::uint32_t>(place); }
};

class Core;
struct Job;  // in kernel.h
using Scatter = void (*)(const Job&);

// What changes while a core runs; one for each stream that is run at the same time.
struct CoreState {
  std::vector<StateBlock> v;  // membrane potentials, by block
  Counters counters;
  std::int64_t lost = 0;  // spikes that did not fit a count
  std::vector<Hit> hits;  // room for the kernel's list
  std::vector<std::int32_t> general;   // potentials of the general kernel, [y][x][F]
  std::vector<std::int64_t> last_us;   // by position: when a leaky neuron was last updated

  void reset();
};

// Where spikes are reported besides the next core; null where nobody asked. Indexed by neuron, [y][x][F].
struct Tap {
  std::uint16_t* counts = nullptr;
  std::int64_t* totals = nullptr;
  EventBuffer* spikes = nullptr;
  bool any() const { return counts != nullptr || totals != nullptr || spikes != nullptr; }
};

// Copies the potentials of the general kernel's states as they are at t_us, without changing them.
void copy_general(const Core& core, const CoreState& state, std::int64_t t_us, std::int16_t* to);

class Core {
 public:
  Core(const CoreConfig& config, Isa isa);

  CoreState fresh_state() const;

  // Runs the events through the core in order; appends the spikes that leave to `out`.
  void run(CoreState& state, std::span<const Event> in, const Tap& tap, EventBuffer& out) const;

  // Adds the weights of each event to its rows of states and does nothing else: what memory and adders allow at best.
  // Leaves states that mean nothing; counts events and synops. Throws std::invalid_argument for the general kernel.
  void scatter_bare(CoreState& state, std::span<const Event> in) const;

  // Adds the bias to every neuron, as the slow clock does; appends the spikes that leave to `out`.
  void tick(CoreState& state, std::int64_t t_us, const Tap& tap, EventBuffer& out) const;

  // Copies the potentials, as they are at t_us, to an unpadded [y][x][F] map.
  void copy_potentials(const CoreState& state, std::int64_t t_us, std::int16_t* to) const;

  // Neuron positions that an event at this address reaches; each holds as many neurons as there are features.
  std::int64_t fan_out(std::uint32_t y, std::uint32_t x) const { return std::int64_t{rows[y].count} * columns[x].count; }

  // Shape of the events that leave.
  Shape out_map() const {
    return {config.neurons.channels, config.neurons.height >> config.pool, config.neurons.width >> config.pool};
  }

  std::int32_t threshold(std::size_t block, std::size_t lane) const {
    return has_map ? below[block].lane[lane] + 1 : config.threshold;
  }

  CoreConfig config;
  std::size_t blocks;         // blocks of one position: ceil(F / 16)
  std::size_t row_blocks;     // state blocks of one output row
  std::size_t weight_row;     // weight blocks of one kernel row
  std::size_t weight_plane;   // weight blocks of one input channel
  std::size_t most_hits;      // blocks that one event can reach
  bool saturates;             // whether any stream could drive a state out of int16
  bool multiple;              // whether one update can give more than one spike
  bool has_bias;
  bool has_map;               // whether thresholds differ from neuron to neuron
  bool is_general;            // whether the states are those of the general kernel
  std::vector<WeightBlock> weights;
  std::vector<Reach> rows;     // by input y
  std::vector<Reach> columns;  // by input x
  std::vector<Way> row_ways, column_ways;
  std::vector<Site> sites;     // by block
  std::vector<StateBlock> below;      // by block, where there is a map: each threshold less one
  std::vector<StateBlock> bias;       // by block of one position
  std::vector<std::int32_t> thresholds;  // of the general kernel, [y][x][F]
  std::vector<std::int8_t> flat_weights;  // of the general kernel, as given
  std::vector<std::int64_t> fine, coarse;  // of the leak

 private:
  // Copy what the caller gave, and widen the bounds that the proofs about saturation start from.
  void take_thresholds(std::int32_t& smallest, std::int32_t& largest);
  void take_bias(std::int32_t& lowest, std::int32_t& highest);
  void take_ways();

  Scatter scatter_;
  Scatter tick_;
  Scatter bare_;
};

}  // namespace chiploop
