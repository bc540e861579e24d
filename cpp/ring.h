// A queue in one block of memory that grows by doubling.
#pragma once

#include <cstddef>
#include <vector>

namespace chiploop {

template <typename T>
class Ring {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T& front() const { return slots_[head_]; }

  void push(const T& item) {
    if (size_ > mask_) grow();
    slots_[(head_ + size_) & mask_] = item;
    ++size_;
  }

  T pop() {
    const T item = slots_[head_];
    head_ = (head_ + 1) & mask_;
    --size_;
    return item;
  }

  // Empties the queue, and gives back what an unusual run made it take.
  void clear() {
    head_ = size_ = 0;
    if (slots_.size() <= kKept) return;
    slots_ = std::vector<T>(kFirst);
    mask_ = kFirst - 1;
  }

 private:
  static constexpr std::size_t kFirst = 16, kKept = 1 << 16;  // powers of two, for the masks above

  void grow() {
    std::vector<T> larger(2 * slots_.size());
    for (std::size_t i = 0; i < size_; ++i) larger[i] = slots_[(head_ + i) & mask_];
    slots_.swap(larger);
    mask_ = slots_.size() - 1;
    head_ = 0;
  }

  std::vector<T> slots_ = std::vector<T>(kFirst);
  std::size_t mask_ = kFirst - 1;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace chiploop
