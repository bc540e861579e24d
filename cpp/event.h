// Events as the core handles them, and the buffer that carries them from one core to the next.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace chiploop {

// One event; its place in the stream is its rank, so ties in time need no further order. Sixteen bytes: one store.
struct Event {
  std::int64_t t_us;
  std::uint16_t channel;
  std::uint16_t y;
  std::uint16_t x;
  std::uint16_t unused;
};

// The address part of an event as it lies in memory: writing a spike is two stores of 8 bytes, and its feature an addition.
class PackedAddress {
 public:
  PackedAddress(std::uint16_t channel, std::uint16_t y, std::uint16_t x) : bits_(pack({channel, y, x, 0})) {}

  // The event of the channel that comes `further` channels after.
  Event event(std::int64_t t_us, std::uint32_t further) const {
    return std::bit_cast<Event>(std::array{std::bit_cast<std::uint64_t>(t_us), bits_ + further * pack({1, 0, 0, 0})});
  }

 private:
  static constexpr std::uint64_t pack(const std::array<std::uint16_t, 4>& parts) {
    return std::bit_cast<std::uint64_t>(parts);
  }

  std::uint64_t bits_;
};

// A growing run of events that is written through a raw pointer: room(n), then commit() what was written. The hot loop
// asks for room once an event instead of testing the capacity once a spike.
class EventBuffer {
 public:
  std::size_t size() const { return size_; }
  std::span<const Event> events() const { return {slots_.data(), size_}; }
  std::span<Event> events_to_sort() { return {slots_.data(), size_}; }
  void clear() { size_ = 0; }

  // Returns a place for at least n more events.
  Event* room(std::size_t n) {
    if (size_ + n > slots_.size()) slots_.resize(std::max(2 * slots_.size(), size_ + n));
    return slots_.data() + size_;
  }

  // Takes over what was written from room() up to `end`.
  void commit(const Event* end) { size_ = static_cast<std::size_t>(end - slots_.data()); }

  void push(const Event& event) {
    Event* slot = room(1);
    *slot = event;
    commit(slot + 1);
  }

 private:
  std::vector<Event> slots_;
  std::size_t size_ = 0;
};

}  // namespace chiploop
