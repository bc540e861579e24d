// Tests of the general kernel: 32-bit states against a plain loop, leaks against numbers worked by hand and exact decay.
#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "plain_core.h"

using namespace chiploop;

namespace {

void wide_states_equal_the_plain_loop() {
  std::mt19937 random(5);
  for (int trial = 0; trial < 100; ++trial) {
    Made made = random_core(random);
    made.config.wide = true;
    made.randomise_map(random, trial % 2 == 0);
    const std::vector<Event> in = random_stream(random, made.config, trial % 3 == 0);
    Plain plain(made);
    for (const Event& event : in) plain.hear(event);
    const Core core = made.build(best_isa());
    CoreState state = core.fresh_state();
    EventBuffer out;
    std::vector<std::int64_t> totals(plain.totals.size());
    core.run(state, in, {nullptr, totals.data(), nullptr}, out);
    for (std::size_t i = 0; i < totals.size(); ++i) CHECK(state.general[i] == plain.v[i] && totals[i] == plain.totals[i]);
    CHECK(std::memcmp(&state.counters, &plain.counters, sizeof(Counters)) == 0);
    CHECK(out.size() == plain.out.size());
  }
}

// The factors of exp(-dt / tau) in 2^-31, as the caller makes them.
struct Leak {
  std::vector<std::int64_t> fine, coarse;
  explicit Leak(double tau_us) {
    const auto factor = [&](double dt_us) { return std::llround(std::ldexp(std::exp(-dt_us / tau_us), 31)); };
    for (int i = 0; i < 1024; ++i) fine.push_back(factor(i));
    for (int i = 0; i < 64; ++i) coarse.push_back(factor(i * 1024.0));
  }
};

// One neuron that never fires: its potential is the sum of what each weight has decayed to, within one rounding a step.
void leaks_follow_the_exponential() {
  constexpr double tau_us = 3000.0;
  const Leak leak(tau_us);
  Made made{{100}, {nullptr, 1, 1, 32767, -32768, Reset::subtract, SpikesPerUpdate::one, 1, 0, 0, {1, 1, 1}, {1, 1, 1}}, {}, {}};
  made.config.decay = {leak.fine, leak.coarse};
  const Core core = made.build(best_isa());
  CoreState state = core.fresh_state();
  EventBuffer out;
  std::mt19937 random(1);
  std::int64_t t_us = 0, last = 0;
  double exact = 0;
  for (int i = 0; i < 500; ++i, last = t_us) {
    t_us += static_cast<std::int64_t>(random() % 4000);
    const Event event{t_us, 0, 0, 0, 0};
    core.run(state, {&event, 1}, Tap{}, out);
    exact = exact * std::exp(static_cast<double>(last - t_us) / tau_us) + 100.0;
    CHECK(std::abs(std::ldexp(state.general[0], -16) - exact) < 1e-3);
  }
  CHECK(state.counters.synops == 500 && out.size() == 0);
  std::int16_t later = 0;
  core.copy_potentials(state, t_us + 2079, &later);  // ln 2 times tau: half of it
  CHECK(std::abs(later - exact / 2) < 1.0);
  core.copy_potentials(state, t_us + 64 * 1024, &later);  // past the table's end
  CHECK(later == 0);
}

}  // namespace

int main() {
  wide_states_equal_the_plain_loop();
  leaks_follow_the_exponential();
}
