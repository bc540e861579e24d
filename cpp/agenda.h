// What happens next: the earliest of a fixed number of lines, each of which knows the time of its own next entry.
//
// In a chip with one hop time, every kind of event at every core comes about in the order in which it was put down, so
// only the heads of these lines compete. They meet in a tournament; a tie goes to the line of the lower number.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace chiploop {

class Agenda {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  struct Entry {
    std::int64_t time_ns;
    std::size_t line;
  };

  explicit Agenda(std::size_t lines) : leaves_(std::bit_ceil(lines)), nodes_(2 * leaves_, Entry{kNever, 0}) {
    for (std::size_t line = 0; line < leaves_; ++line) nodes_[leaves_ + line].line = line;
    for (std::size_t node = leaves_; node-- > 1;) play(node);
  }

  const Entry& first() const { return nodes_[1]; }

  void set(std::size_t line, std::int64_t time_ns) {
    std::size_t node = leaves_ + line;
    nodes_[node].time_ns = time_ns;
    while (node >>= 1) play(node);
  }

  void clear() {
    for (std::size_t line = 0; line < leaves_; ++line) set(line, kNever);
  }

 private:
  void play(std::size_t node) {
    // Who wins is a matter of chance: an index costs less than a branch that is mispredicted half the time.
    const Entry* const pair = &nodes_[2 * node];
    nodes_[node] = pair[pair[1].time_ns < pair[0].time_ns];
  }

  std::size_t leaves_;
  std::vector<Entry> nodes_;  // the root is 1, the children of i are 2i and 2i + 1
};

}  // namespace chiploop
