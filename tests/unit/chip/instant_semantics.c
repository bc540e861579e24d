/* The chip's function over instant time, from a generated header: reads "start stop" and events "t c y x" from standard
   input, writes every core as "place number is_output" and its spikes as "place t f y x". Written for the tests, from
   the header's own words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include PROGRAM_HEADER

typedef struct {
  int64_t t;
  int32_t source, place, nth; /* source -2: an edge of the slow clock */
  int32_t c, y, x;
} event;

typedef struct {
  event *at;
  size_t n, room;
} stream;

static void put(stream *to, event e) {
  if (to->n == to->room) {
    to->room = to->room ? 2 * to->room : 64;
    to->at = realloc(to->at, to->room * sizeof(event));
    if (!to->at) exit(1);
  }
  to->at[to->n++] = e;
}

static int before(const void *left, const void *right) {
  const event *a = left, *b = right;
  if (a->t != b->t) return a->t < b->t ? -1 : 1;
  if (a->source != b->source) return a->source < b->source ? -1 : 1;
  if (a->place != b->place) return a->place < b->place ? -1 : 1;
  return a->nth < b->nth ? -1 : a->nth > b->nth;
}

static void send(stream *inboxes, const chiploop_target *targets, int32_t n, int32_t height, int32_t width, event e) {
  for (int32_t i = 0; i < n; i++) {
    const chiploop_target *to = &targets[i];
    event out = e;
    out.nth = i;
    out.c += to->shift;
    out.y >>= to->pool;
    out.x >>= to->pool;
    if (out.y < height >> to->pool && out.x < width >> to->pool) put(&inboxes[to->core], out);
  }
}

static int64_t shifted(int64_t value, int bits) { return (value + ((int64_t)1 << (bits - 1))) >> bits; }

typedef struct {
  const chiploop_core *core;
  int32_t place, sent;
  int64_t *v, *last;
  stream *inboxes;
} state;

static void update(state *s, int64_t t, int32_t f, int32_t y, int32_t x, int64_t w) {
  const chiploop_core *k = s->core;
  int leaky = k->tau_us > 0, point = leaky ? 16 : 0;
  int64_t high = leaky || k->state_bits == 32 ? INT32_MAX : INT16_MAX, low = -high - 1;
  int64_t floor = k->floor == INT16_MIN ? low : (int64_t)k->floor * ((int64_t)1 << point);
  int32_t at = (f * k->height + y) * k->width + x;
  int64_t theta = k->thresholds ? k->thresholds[at] : k->threshold, v = s->v[at] + w * ((int64_t)1 << point);
  int fires = theta != 32768;
  theta <<= point;
  if (v > high) v = high;
  if (v < low) v = low;
  if (v < floor) v = floor;
  while (fires && v >= theta) {
    event e = {t, s->place, s->sent++, 0, f, y >> k->pool, x >> k->pool};
    printf("%d %lld %d %d %d\n", (int)s->place, (long long)t, (int)f, (int)y, (int)x);
    v = k->reset_to_zero ? 0 : v - theta;
    if (e.y < k->height >> k->pool && e.x < k->width >> k->pool)
      send(s->inboxes, k->targets, k->n_targets, k->height >> k->pool, k->width >> k->pool, e);
    if (!k->spikes_all) break;
  }
  s->v[at] = v;
}

static void decay(state *s, int64_t t, int32_t y, int32_t x) {
  const chiploop_core *k = s->core;
  if (k->tau_us <= 0) return;
  int64_t *last = &s->last[y * k->width + x], dt = t - *last, coarse = dt >> 10, factor = 0;
  if (coarse < k->n_coarse) factor = shifted((int64_t)k->decay_fine[dt & 1023] * k->decay_coarse[coarse], 31);
  for (int32_t f = 0; f < k->channels; f++) {
    int64_t *v = &s->v[(f * k->height + y) * k->width + x];
    *v = shifted(*v * factor, 31);
  }
  *last = t;
}

static void hear(state *s, event e) {
  const chiploop_core *k = s->core;
  for (int32_t oy = 0; oy < k->height; oy++)
    for (int32_t ox = 0; ox < k->width; ox++) {
      int32_t ky = e.y - (oy * k->stride - k->padding), kx = e.x - (ox * k->stride - k->padding);
      if (e.source != -2 && (ky < 0 || ky >= k->kernel_height || kx < 0 || kx >= k->kernel_width)) continue;
      decay(s, e.t, oy, ox);
      for (int32_t f = 0; f < k->channels; f++) {
        int64_t w = e.source == -2
                        ? k->bias[f]
                        : k->weight[((e.c * k->kernel_height + ky) * k->kernel_width + kx) * k->channels + f];
        update(s, e.t, f, oy, ox, w);
      }
    }
}

static int sensed(const chiploop_dvs *d, int64_t *last, event *e) {
  int32_t height = d->in_height, width = d->in_width;
  for (int32_t i = 0; i < d->n_hot; i++)
    if (d->hot[2 * i] == e->y && d->hot[2 * i + 1] == e->x) return 0;
  if (d->noise_window_us) {
    int passes = 0;
    for (int32_t y = e->y - 1; y <= e->y + 1; y++)
      for (int32_t x = e->x - 1; x <= e->x + 1; x++)
        if (y >= 0 && y < height && x >= 0 && x < width && (y != e->y || x != e->x))
          passes |= last[y * width + x] >= 0 && e->t - last[y * width + x] <= d->noise_window_us;
    last[e->y * width + e->x] = e->t;
    if (!passes) return 0;
  }
  if (d->merge) e->c = 0;
  e->y >>= d->pool;
  e->x >>= d->pool;
  height >>= d->pool;
  width >>= d->pool;
  if (e->y >= height || e->x >= width) return 0;
  if (d->cuts) {
    if (e->y < d->top || e->y > d->bottom || e->x < d->left || e->x > d->right) return 0;
    e->y -= d->top;
    e->x -= d->left;
    height = d->bottom - d->top + 1;
    width = d->right - d->left + 1;
  }
  if (d->mirror_x) e->x = width - 1 - e->x;
  if (d->mirror_y) e->y = height - 1 - e->y;
  if (d->mirror_diagonal) {
    int32_t y = e->y;
    e->y = e->x;
    e->x = y;
  }
  return 1;
}

static void *zeros(size_t n, size_t size) {
  void *made = calloc(n ? n : 1, size);
  if (!made) exit(1);
  return made;
}

int main(void) {
  const chiploop_program *p = &PROGRAM;
  stream *inboxes = zeros((size_t)p->n_cores, sizeof(stream));
  long long start, stop, t;
  int c, y, x;
  int32_t height = p->in_height, width = p->in_width, n = 0;
  int64_t *last = zeros((size_t)(height * width), sizeof(int64_t));
  if (p->schema != 1 || scanf("%lld %lld", &start, &stop) != 2) return 1;
  for (int32_t i = 0; i < height * width; i++) last[i] = -1;
  if (p->dvs) {
    height >>= p->dvs->pool;
    width >>= p->dvs->pool;
    if (p->dvs->cuts) {
      height = p->dvs->bottom - p->dvs->top + 1;
      width = p->dvs->right - p->dvs->left + 1;
    }
    if (p->dvs->mirror_diagonal) {
      int32_t swap = height;
      height = width;
      width = swap;
    }
  }
  while (scanf("%lld %d %d %d", &t, &c, &y, &x) == 4) {
    event e = {t, -1, n++, 0, c, y, x};
    if (!p->dvs || sensed(p->dvs, last, &e)) send(inboxes, p->inputs, p->n_inputs, height, width, e);
  }
  for (int32_t i = 0; i < p->n_cores; i++) {
    const chiploop_core *k = &p->cores[i];
    printf("%d %d %d\n", (int)i, (int)k->number, (int)k->is_output);
    size_t neurons = (size_t)(k->channels * k->height * k->width);
    state s = {k, i, 0, zeros(neurons, sizeof(int64_t)), zeros((size_t)(k->height * k->width), sizeof(int64_t)), inboxes};
    for (long long tick = 0; k->bias && p->clock_us && tick < stop; tick += p->clock_us)
      if (tick >= start) put(&inboxes[i], (event){tick, -2, 0, 0, 0, 0, 0});
    if (inboxes[i].n) qsort(inboxes[i].at, inboxes[i].n, sizeof(event), before);
    for (size_t j = 0; j < inboxes[i].n; j++) hear(&s, inboxes[i].at[j]);
    free(s.v);
    free(s.last);
    free(inboxes[i].at);
  }
  free(inboxes);
  free(last);
  return 0;
}
