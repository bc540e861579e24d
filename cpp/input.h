// Event input: recordings decoded from bytes or words into columns, moved, and counted in windows. No allocation; what
// a buffer must hold is said beside it, and nothing is written past it. `wide` lets a function use AVX2 where the machine
// has it; what it gives does not depend on that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace chiploop {

// Columns of n events that are read, and columns that are written.
struct EventColumns {
  const std::int64_t* t;  // us
  const std::uint16_t* channel;
  const std::uint16_t* y;
  const std::uint16_t* x;
  std::size_t n;
};

struct EventSink {
  std::int64_t* t;
  std::uint16_t* channel;
  std::uint16_t* y;
  std::uint16_t* x;
};

struct Sensor {
  std::uint32_t channels, height, width;
  std::size_t size() const { return std::size_t{channels} * height * width; }
};

enum class Fault : int { none, x, y, time };

struct Decoded {
  std::size_t n;  // events: records less overflow markers
  Fault fault;
  std::size_t record;         // of the fault, markers counted too
  std::int64_t before, value;  // the address, or the times on both sides of a step back
};

// Five-byte records: x, y, then polarity (bit 7) and time (23 bits, big-endian); y = 240 adds 2^13 us to what follows.
// The sink holds a place for every record. An address in x is faulted before one in y, and either before a time.
Decoded decode_records(const std::uint8_t* bytes, std::size_t records, std::uint32_t width, std::uint32_t height,
                       const EventSink& sink, bool wide = true);

// A word is time - start, channel, y, x from its highest bits to its lowest.
struct WordFields {
  unsigned channel_bits, y_bits, x_bits;
};

// Returns n, or the first event that is out of order, at or past `duration`, or addressed outside the sensor.
template <class Word>
std::size_t unpack_words(const Word* words, std::size_t n, const WordFields& fields, const Sensor& sensor,
                         std::int64_t start, std::int64_t duration, const EventSink& sink, bool wide = true);

// A turn, stretch and shift of the sensor: y' = rint(sy (cos dy - sin dx) + cy + shift_y), and x likewise with shear.
struct Motion {
  double cy, cx, sin, cos, sy, sx, shear, shift_y, shift_x;
  double drop;               // events whose draw lies below it are lost; used where there are draws
  std::int64_t first, stop;  // times kept
};

// Writes the events that stay, in their order, and returns their number; `draws` has one number an event, or is null.
std::size_t move_events(const EventColumns& events, const Sensor& sensor, const Motion& motion, const double* draws,
                        const EventSink& sink, bool wide = true);

// Counts of a batch, [windows][batch][pixels], every cell written; events outside the windows, and those past the
// largest count (of float: 2^24), are added up in lost[batch]. Addresses must lie inside the sensor.
template <class Count>
void count_events(std::span<const EventColumns> batch, const Sensor& sensor, std::span<const std::int64_t> edges,
                  Count* counts, std::int64_t* lost, int threads, bool wide = true);

}  // namespace chiploop
