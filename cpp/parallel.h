// Work shared out among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace chiploop {

// Calls work(i, worker) for every i below `pieces`, on at most `threads` workers, whichever is free taking the next. No
// result may depend on who takes which; `worker` is for room that each needs for itself. The first exception of a thread is thrown again here, once all have stopped.
template <class Work>
void parallel(std::size_t pieces, int threads, const Work& work) {
  const std::size_t n = std::clamp<std::size_t>(static_cast<std::size_t>(std::max(threads, 1)), 1, std::max<std::size_t>(pieces, 1));
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> errors(n);
  const auto take = [&](std::size_t worker) {
    try {
      for (std::size_t i = next++; i < pieces; i = next++) work(i, worker);
    } catch (...) {
      errors[worker] = std::current_exception();
      next = pieces;
    }
  };
#ifdef _OPENMP
  // On the threads that torch works on, where it has the same OpenMP: they stay awake for a while after its operations,
  // and threads of our own would have to share the processors with their waiting.
#pragma omp parallel num_threads(static_cast<int>(n)) if (n > 1)
  take(static_cast<std::size_t>(omp_get_thread_num()));
#else
  std::vector<std::thread> others;
  try {
    for (std::size_t worker = 1; worker < n; ++worker) others.emplace_back(take, worker);
  } catch (const std::system_error&) {
    // No more threads to be had: those that started, and this one, do the work.
  }
  take(0);
  for (std::thread& other : others) other.join();
#endif
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace chiploop
