/* Convolutional blocks on a CPU, forward and backward, without the full-size maps between convolution and pooling.

   Compiled on first use (build.py), called by blocks.py. Maps are channels-last. Sums run over images in a fixed order, so
   results do not depend on the number of threads. Functions that need memory return 0, or 1 where there was none.

   Legend: T tasks, n images a task, C channels of an image (1 or 3), H x W a map, O filters (a multiple of 16), k the
   window of the pooling (1: none), h x w the size after it, P = 9 C values of a patch in the order (row, column, channel). */

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "lanes.hpp"

namespace {

const int CUT = 4; /* a choice: the ReLU let nothing through */

#define LOAD_CHOICE(p) __builtin_convertvector(*(const Bytes *)(p), Mask)
#define STORE_CHOICE(p, v) (*(Bytes *)(p) = __builtin_convertvector(v, Bytes))

/* The shape of a first layer: image, filters, output. */
struct First {
  long T, n;
  int C, H, W, O, h, w, stride, window;

  int patch() const { return 9 * C; }
  int row() const { return W + 2; } /* of a padded image */
  long plane() const { return (long)(H + 2) * (W + 2); }
};

/* An image [C, H, W] inside a border of zeros: [C, H + 2, W + 2]. */
template <typename Real> void pad(const First &s, const Real *image, Real *padded) {
  memset(padded, 0, sizeof(Real) * s.C * s.plane());
  for (int c = 0; c < s.C; c++)
    for (int i = 0; i < s.H; i++)
      memcpy(padded + c * s.plane() + (i + 1) * s.row() + 1, image + ((long)c * s.H + i) * s.W, sizeof(Real) * s.W);
}

/* The pixels under one window of channel c, [SIDE, SIDE] of the padded image: those of its k * k patches, S apart. */
template <typename Real, int SIDE>
INLINE void window_pixels(const First &s, const Real *from, int c, Real pixels[SIDE][SIDE]) {
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) pixels[i][j] = from[c * s.plane() + i * s.row() + j];
}

/* One image of a first layer. With `select`, `choice` says which value of each window is taken; else it is written. */
template <typename Real, int C, int k, int S, int V, bool select>
INLINE void first_image(const First &s, const Real *padded, const Real *weight, const Real *bias, Real *out, uint8_t *choice) {
  TYPES
  const int SIDE = (k - 1) * S + 3;
  for (int i = 0; i < s.h; i++)
    for (int j = 0; j < s.w; j++) {
      const Real *from = padded + (long)i * k * S * s.row() + j * k * S;
      for (int o = 0; o < s.O; o += V * LANES) {
        Values places[k * k][V];
        for (int place = 0; place < k * k; place++)
          for (int v = 0; v < V; v++) places[place][v] = LOAD(bias + o + v * LANES);
        for (int c = 0; c < C; c++) {
          Real pixels[SIDE][SIDE];
          window_pixels<Real, SIDE>(s, from, c, pixels);
          for (int p = 0; p < 9; p++)
            for (int v = 0; v < V; v++) {
              const Values filter = LOAD(weight + (long)(p * C + c) * s.O + o + v * LANES);
              for (int place = 0; place < k * k; place++)
                places[place][v] += pixels[place / k * S + p / 3][place % k * S + p % 3] * filter;
            }
        }
        for (int v = 0; v < V; v++, out += LANES, choice += LANES) {
          Values best = places[0][v];
          Mask at = {};
          if (select) {
            at = LOAD_CHOICE(choice);
            for (int place = 1; place < k * k; place++) best = at == place ? places[place][v] : best;
            STORE(out, at == CUT ? zero : best);
            continue;
          }
          for (int place = 1; place < k * k; place++) {
            const Values other = places[place][v];
            const Mask more = (other > best) | (other != other); /* what is not a number wins */
            best = more ? other : best, at = (at & ~more) | (more & place);
          }
          const Mask cut = best <= zero; /* not a number stays one */
          STORE(out, cut ? zero : best);
          STORE_CHOICE(choice, (at & ~cut) | (cut & CUT));
        }
      }
    }
}

/* Adds one image's gradient to that of the weight [P, O] and of the bias [O]. */
template <typename Real, int C, int k, int S>
INLINE void first_image_gradient(const First &s, const Real *padded, const Real *grad, const uint8_t *choice, Real *weight,
                                 Real *bias) {
  TYPES
  const int SIDE = (k - 1) * S + 3;
  for (int o = 0; o < s.O; o += LANES) {
    Values sums[9 * C], total = LOAD(bias + o);
    for (int p = 0; p < 9 * C; p++) sums[p] = LOAD(weight + (long)p * s.O + o);
    for (int i = 0; i < s.h; i++)
      for (int j = 0; j < s.w; j++) {
        const Real *from = padded + (long)i * k * S * s.row() + j * k * S;
        const Values g = LOAD(grad + (long)(i * s.w + j) * s.O + o);
        const Mask at = LOAD_CHOICE(choice + (long)(i * s.w + j) * s.O + o);
        Values places[k * k];
        for (int place = 0; place < k * k; place++) places[place] = at == place ? g : zero;
        total += at == CUT ? zero : g;
        for (int c = 0; c < C; c++) {
          Real pixels[SIDE][SIDE];
          window_pixels<Real, SIDE>(s, from, c, pixels);
          for (int place = 0; place < k * k; place++)
            for (int p = 0; p < 9; p++)
              sums[p * C + c] += pixels[place / k * S + p / 3][place % k * S + p % 3] * places[place];
        }
      }
    for (int p = 0; p < 9 * C; p++) STORE(weight + (long)p * s.O + o, sums[p]);
    STORE(bias + o, total);
  }
}

/* Calls f<C, k, S> for the shapes that a first layer may have: pooled, or with stride 2. */
#define FIRST_SHAPES(call)                                                                                                    \
  if (s.C == 1 && s.window == 2)                                                                                              \
    call(1, 2, 1);                                                                                                            \
  else if (s.C == 3 && s.window == 2)                                                                                         \
    call(3, 2, 1);                                                                                                            \
  else if (s.C == 1)                                                                                                          \
    call(1, 1, 2);                                                                                                            \
  else                                                                                                                        \
    call(3, 1, 2);

/* ReLU(pool(patches . weight + bias)): images [T, n, C, H, W], weight [T, P, O] and bias [T, O] (`own`) or one for all tasks
   -> out [T, n, h, w, O] and choice, the place in its window that each value came from. With `select`, choice is given. */
template <typename Real, bool select>
int first_forward(const First &s, const Real *images, const Real *weight, const Real *bias, int own, Real *out,
                  uint8_t *choice) {
  TYPES
  const long map = (long)s.h * s.w * s.O, image = (long)s.C * s.H * s.W;
  int failed = 0;
#pragma omp parallel
  {
    Real *padded = (Real *)malloc(sizeof(Real) * s.C * s.plane());
#pragma omp for schedule(static)
    for (long m = 0; m < s.T * s.n; m++) {
      if (!padded) {
        failed = 1;
        continue;
      }
      const Real *w = weight + (own ? m / s.n * s.patch() * s.O : 0), *b = bias + (own ? m / s.n * s.O : 0);
      pad(s, images + m * image, padded);
#define CALL(C, k, S)                                                                                                         \
  if (s.O / LANES % 2 == 0)                                                                                                   \
    first_image<Real, C, k, S, 2, select>(s, padded, w, b, out + m * map, choice + m * map);                                  \
  else                                                                                                                        \
    first_image<Real, C, k, S, 1, select>(s, padded, w, b, out + m * map, choice + m * map)
      FIRST_SHAPES(CALL)
#undef CALL
    }
    free(padded);
  }
  return failed;
}

/* images, grad [T, n, h, w, O], choice -> partial [T, ceil(n / batch), P + 1, O]: the gradients of weight and bias, summed
   over `batch` images of a task. */
template <typename Real>
int first_backward(const First &s, const Real *images, const Real *grad, const uint8_t *choice, Real *partial, long batch) {
  const long map = (long)s.h * s.w * s.O, image = (long)s.C * s.H * s.W, batches = (s.n + batch - 1) / batch;
  int failed = 0;
#pragma omp parallel
  {
    Real *padded = (Real *)malloc(sizeof(Real) * s.C * s.plane());
#pragma omp for schedule(static)
    for (long b = 0; b < s.T * batches; b++) {
      Real *weight = partial + b * (s.patch() + 1) * s.O, *bias = weight + (long)s.patch() * s.O;
      const long t = b / batches, first = b % batches * batch, last = first + batch < s.n ? first + batch : s.n;
      memset(weight, 0, sizeof(Real) * (s.patch() + 1) * s.O);
      if (!padded) failed = 1;
      for (long m = t * s.n + first; padded && m < t * s.n + last; m++) {
        pad(s, images + m * image, padded);
#define CALL(C, k, S) first_image_gradient<Real, C, k, S>(s, padded, grad + m * map, choice + m * map, weight, bias)
        FIRST_SHAPES(CALL)
#undef CALL
      }
    }
    free(padded);
  }
  return failed;
}

/* images -> partial [T, n, P + 1, P]: sums over an image's ceil(H / stride) x ceil(W / stride) places of the products of a
   patch's values and, last, of the values themselves. */
template <typename Real> int patch_sums(const First &s, const Real *images, Real *partial) {
  const int P = s.patch(), rows = (s.H + s.stride - 1) / s.stride, columns = (s.W + s.stride - 1) / s.stride;
  const int places = rows * columns;
  int failed = 0;
#pragma omp parallel
  {
    Real *padded = (Real *)malloc(sizeof(Real) * s.C * s.plane());
    Real *patches = (Real *)malloc(sizeof(Real) * P * places); /* [P, places] */
#pragma omp for schedule(static)
    for (long m = 0; m < s.T * s.n; m++) {
      if (!padded || !patches) {
        failed = 1;
        continue;
      }
      Real *sums = partial + m * (P + 1) * P;
      pad(s, images + m * s.C * s.H * s.W, padded);
      for (int p = 0; p < P; p++)
        for (int i = 0; i < rows; i++)
          for (int j = 0; j < columns; j++)
            patches[(long)p * places + i * columns + j] =
                padded[p % s.C * s.plane() + (p / s.C / 3 + i * s.stride) * s.row() + p / s.C % 3 + j * s.stride];
      for (int p = 0; p < P; p++) {
        const Real *a = patches + (long)p * places;
        Real total = 0;
#pragma omp simd reduction(+ : total)
        for (int x = 0; x < places; x++) total += a[x];
        sums[P * P + p] = total;
        for (int q = p; q < P; q++) {
          const Real *b = patches + (long)q * places;
          Real product = 0;
#pragma omp simd reduction(+ : product)
          for (int x = 0; x < places; x++) product += a[x] * b[x];
          sums[p * P + q] = sums[q * P + p] = product;
        }
      }
    }
    free(padded);
    free(patches);
  }
  return failed;
}

/* The shape of maps between convolution and pooling. */
struct Maps {
  long T, n;
  int H, W, O, window;

  int h() const { return H / window; }
  int w() const { return W / window; }
};

/* Calls f<V>(o) for blocks of V registers of channels, V as large as O allows: one sweep over memory for all of them. */
#define CHANNEL_BLOCKS(call)                                                                                                  \
  const int registers = s.O / Lanes<Real>::size;                                                                              \
  const int V = registers % 4 == 0 ? 4 : registers % 2 == 0 ? 2 : 1;                                                          \
  for (int o = 0; o < s.O; o += V * Lanes<Real>::size) {                                                                      \
    if (V == 4 && s.window == 2)                                                                                              \
      call(4, 2);                                                                                                             \
    else if (V == 4)                                                                                                          \
      call(4, 1);                                                                                                             \
    else if (V == 2 && s.window == 2)                                                                                         \
      call(2, 2);                                                                                                             \
    else if (V == 2)                                                                                                          \
      call(2, 1);                                                                                                             \
    else if (s.window == 2)                                                                                                   \
      call(1, 2);                                                                                                             \
    else                                                                                                                      \
      call(1, 1);                                                                                                             \
  }

/* y [T, n, H, W, O], sign [T, O] of the scale, pivot [T, O] -> pooled [T, n, h, w, O] (sign times the largest of sign * y in
   each window), choice, and partial [T, n, 2, O]: sums over an image of y - pivot and of its square. */
template <typename Real, int V, int k>
INLINE void pool_image(const Maps &s, int o, const Real *map, const Real *sign, const Real *pivot, Real *pooled,
                       uint8_t *choice, Real *partial) {
  TYPES
  Values turn[V], origin[V], sum[V] = {}, squares[V] = {};
  for (int v = 0; v < V; v++) turn[v] = LOAD(sign + o + v * LANES), origin[v] = LOAD(pivot + o + v * LANES);
  for (int i = 0; i < s.H; i++)
    for (int j = 0; j < s.W; j++)
      for (int v = 0; v < V; v++) {
        const Values d = LOAD(map + (long)(i * s.W + j) * s.O + o + v * LANES) - origin[v];
        sum[v] += d, squares[v] += d * d;
      }
  for (int i = 0; i < s.h(); i++)
    for (int j = 0; j < s.w(); j++)
      for (int v = 0; v < V; v++) {
        const Real *from = map + (long)(i * k * s.W + j * k) * s.O + o + v * LANES;
        const long to = (long)(i * s.w() + j) * s.O + o + v * LANES;
        Values best = turn[v] * LOAD(from);
        Mask at = {};
        for (int place = 1; place < k * k; place++) {
          const Values other = turn[v] * LOAD(from + (long)(place / k * s.W + place % k) * s.O);
          const Mask more = (other > best) | (other != other);
          best = more ? other : best, at = (at & ~more) | (more & place);
        }
        STORE(pooled + to, turn[v] * best);
        STORE_CHOICE(choice + to, at);
      }
  for (int v = 0; v < V; v++) {
    STORE(partial + o + v * LANES, sum[v]);
    STORE(partial + s.O + o + v * LANES, squares[v]);
  }
}

template <typename Real>
void pool_moments(const Maps &s, const Real *y, const Real *sign, const Real *pivot, Real *pooled, uint8_t *choice,
                  Real *partial) {
  const long map = (long)s.H * s.W * s.O, small = (long)s.h() * s.w() * s.O;
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const long t = m / s.n * s.O;
#define CALL(V, k)                                                                                                            \
  pool_image<Real, V, k>(s, o, y + m * map, sign + t, pivot + t, pooled + m * small, choice + m * small, partial + m * 2 * s.O)
    CHANNEL_BLOCKS(CALL)
#undef CALL
  }
}

/* out = ReLU(factor * pooled + shift), factor and shift [T, O]. */
template <typename Real>
void scale_shift(const Maps &s, const Real *pooled, const Real *factor, const Real *shift, Real *out) {
  TYPES
  const long places = (long)s.h() * s.w();
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const Real *a = factor + m / s.n * s.O, *b = shift + m / s.n * s.O;
    for (long at = m * places * s.O; at < (m + 1) * places * s.O; at += s.O)
      for (int o = 0; o < s.O; o += LANES) {
        const Values z = LOAD(a + o) * LOAD(pooled + at + o) + LOAD(b + o);
        STORE(out + at + o, z <= zero ? zero : z);
      }
  }
}

/* grad of out -> partial [T, n, 2, O]: sums over an image, where the ReLU let through, of grad and of
   grad * (pooled - mean). */
template <typename Real>
void gradient_sums(const Maps &s, const Real *grad, const Real *out, const Real *pooled, const Real *mean, Real *partial) {
  TYPES
  const long places = (long)s.h() * s.w();
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const Real *centre = mean + m / s.n * s.O;
    Real *first = partial + m * 2 * s.O, *second = first + s.O;
    memset(first, 0, sizeof(Real) * 2 * s.O);
    for (long at = m * places * s.O; at < (m + 1) * places * s.O; at += s.O)
      for (int o = 0; o < s.O; o += LANES) {
        const Values g = LOAD(out + at + o) > zero ? LOAD(grad + at + o) : zero;
        STORE(first + o, LOAD(first + o) + g);
        STORE(second + o, LOAD(second + o) + g * (LOAD(pooled + at + o) - LOAD(centre + o)));
      }
  }
}

/* Gradient of y: level + slope * y + along * u everywhere (u may be null), and factor * grad where a value was chosen and let
   through. level, slope, along and factor [T, O]. */
template <typename Real, int V, int k>
INLINE void pool_image_gradient(const Maps &s, int o, const Real *grad, const Real *out, const Real *y, const uint8_t *choice,
                                const Real *u, const Real *level, const Real *slope, const Real *along, const Real *factor,
                                Real *result) {
  TYPES
  Values l[V], sl[V], al[V], f[V];
  for (int v = 0; v < V; v++) {
    l[v] = LOAD(level + o + v * LANES), sl[v] = LOAD(slope + o + v * LANES);
    al[v] = LOAD(along + o + v * LANES), f[v] = LOAD(factor + o + v * LANES);
  }
  for (int i = 0; i < s.H; i++)
    for (int j = 0; j < s.W; j++)
      for (int v = 0; v < V; v++) {
        const long at = (long)(i * s.W + j) * s.O + o + v * LANES, from = (long)(i / k * s.w() + j / k) * s.O + o + v * LANES;
        Values d = l[v] + sl[v] * LOAD(y + at);
        if (u) d += al[v] * LOAD(u + at);
        if (i / k < s.h() && j / k < s.w()) {
          const Mask through = (LOAD(out + from) > zero) & (LOAD_CHOICE(choice + from) == i % k * k + j % k);
          d += through ? f[v] * LOAD(grad + from) : zero;
        }
        STORE(result + at, d);
      }
}

template <typename Real>
void pool_gradient(const Maps &s, const Real *grad, const Real *out, const Real *y, const uint8_t *choice, const Real *u,
                   const Real *level, const Real *slope, const Real *along, const Real *factor, Real *result) {
  const long map = (long)s.H * s.W * s.O, small = (long)s.h() * s.w() * s.O;
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const long t = m / s.n * s.O, a = m * small, b = m * map;
    const Real *also = u ? u + b : u;
#define CALL(V, k)                                                                                                            \
  pool_image_gradient<Real, V, k>(s, o, grad + a, out + a, y + b, choice + a, also, level + t, slope + t, along + t,          \
                                  factor + t, result + b)
    CHANNEL_BLOCKS(CALL)
#undef CALL
  }
}

/* ---- Gradients of those gradients, for u, the gradient of a loss by `result` of pool_gradient. ---- */

/* -> chosen [T, n, h, w, O]: u where a value was chosen and let through (else 0), and partial [T, n, 3, O]: sums over an
   image of u, of u * (y - mean) and of chosen * grad. */
template <typename Real, int V, int k>
INLINE void chosen_image(const Maps &s, int o, const Real *u, const Real *y, const Real *grad, const Real *out,
                         const uint8_t *choice, const Real *mean, Real *chosen, Real *partial) {
  TYPES
  Values centre[V], first[V] = {}, second[V] = {}, third[V] = {};
  for (int v = 0; v < V; v++) centre[v] = LOAD(mean + o + v * LANES);
  for (int i = 0; i < s.H; i++)
    for (int j = 0; j < s.W; j++)
      for (int v = 0; v < V; v++) {
        const long at = (long)(i * s.W + j) * s.O + o + v * LANES;
        const Values d = LOAD(u + at);
        first[v] += d, second[v] += d * (LOAD(y + at) - centre[v]);
      }
  for (int i = 0; i < s.h(); i++)
    for (int j = 0; j < s.w(); j++)
      for (int v = 0; v < V; v++) {
        const Real *from = u + (long)(i * k * s.W + j * k) * s.O + o + v * LANES;
        const long to = (long)(i * s.w() + j) * s.O + o + v * LANES;
        const Mask at = LOAD_CHOICE(choice + to);
        Values value = LOAD(from);
        for (int place = 1; place < k * k; place++)
          value = at == place ? LOAD(from + (long)(place / k * s.W + place % k) * s.O) : value;
        value = LOAD(out + to) > zero ? value : zero;
        third[v] += value * LOAD(grad + to);
        STORE(chosen + to, value);
      }
  for (int v = 0; v < V; v++) {
    STORE(partial + o + v * LANES, first[v]);
    STORE(partial + s.O + o + v * LANES, second[v]);
    STORE(partial + 2 * s.O + o + v * LANES, third[v]);
  }
}

template <typename Real>
void chosen_sums(const Maps &s, const Real *u, const Real *y, const Real *grad, const Real *out, const uint8_t *choice,
                 const Real *mean, Real *chosen, Real *partial) {
  const long map = (long)s.H * s.W * s.O, small = (long)s.h() * s.w() * s.O;
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const long a = m * small, b = m * map;
#define CALL(V, k)                                                                                                            \
  chosen_image<Real, V, k>(s, o, u + b, y + b, grad + a, out + a, choice + a, mean + m / s.n * s.O, chosen + a,               \
                           partial + m * 3 * s.O)
    CHANNEL_BLOCKS(CALL)
#undef CALL
  }
}

/* Gradient of grad, in place of chosen: factor * chosen + level + slope * pooled where the ReLU let through. */
template <typename Real>
void grad_gradient(const Maps &s, const Real *out, const Real *pooled, const Real *factor, const Real *level, const Real *slope,
                   Real *chosen) {
  TYPES
  const long places = (long)s.h() * s.w();
#pragma omp parallel for schedule(static)
  for (long m = 0; m < s.T * s.n; m++) {
    const long t = m / s.n * s.O;
    for (long at = m * places * s.O; at < (m + 1) * places * s.O; at += s.O)
      for (int o = 0; o < s.O; o += LANES) {
        const Values d = LOAD(factor + t + o) * LOAD(chosen + at + o) + LOAD(level + t + o) +
                         LOAD(slope + t + o) * LOAD(pooled + at + o);
        STORE(chosen + at + o, LOAD(out + at + o) > zero ? d : zero);
      }
  }
}

} // namespace

#define EXPORT(Real)                                                                                                          \
  extern "C" int first_forward_##Real(First s, const Real *images, const Real *weight, const Real *bias, int own, Real *out,  \
                                      uint8_t *choice) {                                                                     \
    return first_forward<Real, false>(s, images, weight, bias, own, out, choice);                                             \
  }                                                                                                                           \
  extern "C" int first_select_##Real(First s, const Real *images, const Real *weight, const Real *bias, int own, Real *out,   \
                                     uint8_t *choice) {                                                                      \
    return first_forward<Real, true>(s, images, weight, bias, own, out, choice);                                              \
  }                                                                                                                           \
  extern "C" int first_backward_##Real(First s, const Real *images, const Real *grad, const uint8_t *choice, Real *partial,   \
                                       long batch) {                                                                         \
    return first_backward(s, images, grad, choice, partial, batch);                                                           \
  }                                                                                                                           \
  extern "C" int patch_sums_##Real(First s, const Real *images, Real *partial) { return patch_sums(s, images, partial); }    \
  extern "C" void pool_moments_##Real(Maps s, const Real *y, const Real *sign, const Real *pivot, Real *pooled,               \
                                      uint8_t *choice, Real *partial) {                                                      \
    pool_moments(s, y, sign, pivot, pooled, choice, partial);                                                                 \
  }                                                                                                                           \
  extern "C" void scale_shift_##Real(Maps s, const Real *pooled, const Real *factor, const Real *shift, Real *out) {          \
    scale_shift(s, pooled, factor, shift, out);                                                                               \
  }                                                                                                                           \
  extern "C" void gradient_sums_##Real(Maps s, const Real *grad, const Real *out, const Real *pooled, const Real *mean,       \
                                       Real *partial) {                                                                      \
    gradient_sums(s, grad, out, pooled, mean, partial);                                                                       \
  }                                                                                                                           \
  extern "C" void pool_gradient_##Real(Maps s, const Real *grad, const Real *out, const Real *y, const uint8_t *choice,       \
                                       const Real *u, const Real *level, const Real *slope, const Real *along,               \
                                       const Real *factor, Real *result) {                                                   \
    pool_gradient(s, grad, out, y, choice, u, level, slope, along, factor, result);                                           \
  }                                                                                                                           \
  extern "C" void chosen_sums_##Real(Maps s, const Real *u, const Real *y, const Real *grad, const Real *out,                 \
                                     const uint8_t *choice, const Real *mean, Real *chosen, Real *partial) {                 \
    chosen_sums(s, u, y, grad, out, choice, mean, chosen, partial);                                                           \
  }                                                                                                                           \
  extern "C" void grad_gradient_##Real(Maps s, const Real *out, const Real *pooled, const Real *factor, const Real *level,    \
                                       const Real *slope, Real *chosen) {                                                    \
    grad_gradient(s, out, pooled, factor, level, slope, chosen);                                                              \
  }

EXPORT(float)
EXPORT(double)
