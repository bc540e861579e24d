// Python bindings of event input: arrays are taken as they are, and written into arrays that the caller made.
#include "bind_input.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "input.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chiploop {
namespace {

template <class T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutAddresses = nb::ndarray<std::uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;  // [channel, y, x][n]
template <class T>
using Counts = nb::ndarray<T, nb::ndim<5>, nb::c_contig, nb::device::cpu>;  // [T, B, C, H, W]
using ShapeTuple = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
using StreamArrays = std::tuple<In<std::int64_t>, In<std::uint16_t>, In<std::uint16_t>, In<std::uint16_t>>;
using Fault = std::tuple<std::size_t, int, std::size_t, std::int64_t, std::int64_t>;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

EventSink sink_of(const Out<std::int64_t>& t, const OutAddresses& addresses, std::size_t n) {
  require(t.shape(0) == n && addresses.shape(0) == 3 && addresses.shape(1) == n, "columns must have a place an event");
  std::uint16_t* const first = addresses.data();
  return {t.data(), first, first + n, first + 2 * n};
}

EventColumns columns_of(const StreamArrays& stream) {
  const auto& [t, channel, y, x] = stream;
  const std::size_t n = t.shape(0);
  require(channel.shape(0) == n && y.shape(0) == n && x.shape(0) == n, "event columns must have one length");
  return {t.data(), channel.data(), y.data(), x.data(), n};
}

Sensor sensor_of(const ShapeTuple& shape) {
  const auto [channels, height, width] = shape;
  require(channels > 0 && height > 0 && width > 0, "a sensor has a channel and a pixel");
  return {channels, height, width};
}

Fault decode(const In<std::uint8_t>& bytes, const ShapeTuple& shape, const Out<std::int64_t>& t,
             const OutAddresses& addresses, bool wide) {
  const std::size_t records = bytes.shape(0) / 5;
  require(bytes.shape(0) == 5 * records, "a record has five bytes");
  const Sensor sensor = sensor_of(shape);
  const EventSink sink = sink_of(t, addresses, records);
  nb::gil_scoped_release unlocked;
  const Decoded done = decode_records(bytes.data(), records, sensor.width, sensor.height, sink, wide);
  return {done.n, static_cast<int>(done.fault), done.record, done.before, done.value};
}

template <class Word>
std::size_t unpack(const In<Word>& words, const std::tuple<unsigned, unsigned, unsigned>& bits, const ShapeTuple& shape,
                   std::int64_t start, std::int64_t duration, const Out<std::int64_t>& t, const OutAddresses& addresses,
                   bool wide) {
  const auto [channel, y, x] = bits;
  require(channel <= 16 && y <= 16 && x <= 16 && channel + y + x < 8 * sizeof(Word), "fields must leave bits for times");
  const Sensor sensor = sensor_of(shape);
  const EventSink sink = sink_of(t, addresses, words.shape(0));
  nb::gil_scoped_release unlocked;
  return unpack_words(words.data(), words.shape(0), {channel, y, x}, sensor, start, duration, sink, wide);
}

using MotionTuple = std::tuple<double, double, double, double, double, double, double, double, double, double>;

std::size_t move(const StreamArrays& stream, const ShapeTuple& shape, const MotionTuple& motion,
                 const std::optional<In<double>>& draws, std::int64_t first, std::int64_t stop,
                 const Out<std::int64_t>& t, const OutAddresses& addresses, bool wide) {
  const EventColumns events = columns_of(stream);
  require(!draws || draws->shape(0) == events.n, "draws must have a number an event");
  const auto [cy, cx, sin, cos, sy, sx, shear, shift_y, shift_x, drop] = motion;
  const Motion how{cy, cx, sin, cos, sy, sx, shear, shift_y, shift_x, drop, first, stop};
  const Sensor sensor = sensor_of(shape);
  const EventSink sink = sink_of(t, addresses, events.n);
  nb::gil_scoped_release unlocked;
  return move_events(events, sensor, how, draws ? draws->data() : nullptr, sink, wide);
}

template <class T>
void count(const std::vector<StreamArrays>& batch, const ShapeTuple& shape, const In<std::int64_t>& edges,
           const Counts<T>& counts, const Out<std::int64_t>& lost, int threads, bool wide) {
  const Sensor sensor = sensor_of(shape);
  require(edges.shape(0) >= 2, "edges must be at least two");
  require(std::is_sorted(edges.data(), edges.data() + edges.shape(0)), "edges must not fall");
  require(counts.shape(0) + 1 == edges.shape(0) && counts.shape(1) == batch.size() && lost.shape(0) == batch.size() &&
              counts.shape(2) == sensor.channels && counts.shape(3) == sensor.height && counts.shape(4) == sensor.width,
          "counts must be [windows, batch, channels, height, width] and lost [batch]");
  std::vector<EventColumns> streams;
  streams.reserve(batch.size());
  std::transform(batch.begin(), batch.end(), std::back_inserter(streams), columns_of);
  nb::gil_scoped_release unlocked;
  count_events<T>(streams, sensor, {edges.data(), edges.shape(0)}, counts.data(), lost.data(), threads, wide);
}

template <class T>
void bind_count(nb::module_& module) {
  module.def("count_events", &count<T>, "batch"_a.noconvert(), "shape"_a, "edges"_a.noconvert(), nb::kw_only(),
             "counts"_a.noconvert(), "lost"_a.noconvert(), "threads"_a, "wide"_a = true);
}

template <class Word>
void bind_unpack(nb::module_& module) {
  module.def("unpack_words", &unpack<Word>, "words"_a.noconvert(), "bits"_a, "shape"_a, nb::kw_only(), "start"_a,
             "duration"_a, "t"_a.noconvert(), "addresses"_a.noconvert(), "wide"_a = true);
}

}  // namespace

void bind_input(nb::module_& module) {
  module.def("decode_records", &decode, "content"_a.noconvert(), "shape"_a, nb::kw_only(), "t"_a.noconvert(),
             "addresses"_a.noconvert(), "wide"_a = true);
  bind_unpack<std::uint32_t>(module);
  bind_unpack<std::uint64_t>(module);
  module.def("move_events", &move, "stream"_a.noconvert(), "shape"_a, "motion"_a, "draws"_a.noconvert().none(),
             nb::kw_only(), "first"_a, "stop"_a, "t"_a.noconvert(), "addresses"_a.noconvert(), "wide"_a = true);
  bind_count<std::uint8_t>(module);
  bind_count<std::uint16_t>(module);
  bind_count<float>(module);
}

}  // namespace chiploop
