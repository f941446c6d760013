/* 3x3 convolution of channels-last maps by Winograd's algorithm F(2x2, 3x3) (Lavin & Gray 2016): 16 products for 4 results
   in place of 36. Results do not depend on the number of threads.

   Legend: n images, C channels, H x W a map, O filters (C and O multiples of 16), a tile: 4 x 4 values in, 2 x 2 out. */

#include <cstdint>
#include <cstdlib>

#include "lanes.hpp"

namespace {

const int TILES = 24, ROWS = 6; /* of a block whose transformed tiles stay in a cache; that a product takes at once */

/* B' d for one row or column of a tile, d0 to d3 in place. */
template <typename Values> INLINE void into(Values &d0, Values &d1, Values &d2, Values &d3) {
  const Values a = d0 - d2, b = d1 + d2, c = d2 - d1, d = d1 - d3;
  d0 = a, d1 = b, d2 = c, d3 = d;
}

/* The tile whose results are at (2 i, 2 j) of a map [H, W, C] -> tiles [16, TILES, C] at `place`. */
template <typename Real> void read_tile(const Real *map, int H, int W, int C, int i, int j, Real *tiles, int place) {
  TYPES
  for (int c = 0; c < C; c += LANES) {
    Values d[4][4];
    for (int a = 0; a < 4; a++)
      for (int b = 0; b < 4; b++) {
        const int y = 2 * i - 1 + a, x = 2 * j - 1 + b;
        d[a][b] = y >= 0 && y < H && x >= 0 && x < W ? LOAD(map + ((long)y * W + x) * C + c) : zero;
      }
    for (int b = 0; b < 4; b++) into(d[0][b], d[1][b], d[2][b], d[3][b]);
    for (int a = 0; a < 4; a++) into(d[a][0], d[a][1], d[a][2], d[a][3]);
    for (int a = 0; a < 4; a++)
      for (int b = 0; b < 4; b++) STORE(tiles + ((long)(4 * a + b) * TILES + place) * C + c, d[a][b]);
  }
}

/* products [16, TILES, O] at `place` -> the 2 x 2 results at (2 i, 2 j) of a map [H, W, O], as far as it has them. */
template <typename Real> void write_tile(const Real *products, int place, Real *map, int H, int W, int O, int i, int j) {
  TYPES
  for (int o = 0; o < O; o += LANES) {
    Values m[4][4], half[2][4];
    for (int a = 0; a < 4; a++)
      for (int b = 0; b < 4; b++) m[a][b] = LOAD(products + ((long)(4 * a + b) * TILES + place) * O + o);
    for (int b = 0; b < 4; b++) half[0][b] = m[0][b] + m[1][b] + m[2][b], half[1][b] = m[1][b] - m[2][b] - m[3][b];
    for (int a = 0; a < 2; a++) {
      Real *to = map + ((long)(2 * i + a) * W + 2 * j) * O + o;
      if (2 * i + a >= H) break;
      STORE(to, half[a][0] + half[a][1] + half[a][2]);
      if (2 * j + 1 < W) STORE(to + O, half[a][1] - half[a][2] - half[a][3]);
    }
  }
}

/* ROWS rows of `a` [., C] times V registers of columns of `b` [C, O]. */
template <typename Real, int V> INLINE void product(const Real *a, const Real *b, int C, int O, Real *out) {
  TYPES
  Values sums[ROWS][V] = {};
  for (int c = 0; c < C; c++) {
    Values column[V];
    for (int v = 0; v < V; v++) column[v] = LOAD(b + (long)c * O + v * LANES);
    for (int r = 0; r < ROWS; r++)
      for (int v = 0; v < V; v++) sums[r][v] += a[(long)r * C + c] * column[v];
  }
  for (int r = 0; r < ROWS; r++)
    for (int v = 0; v < V; v++) STORE(out + (long)r * O + v * LANES, sums[r][v]);
}

/* x [n, H, W, C], weights [16, C, O] -> y [n, H, W, O]. */
template <typename Real> int convolve(long n, int H, int W, int C, int O, const Real *x, const Real *weights, Real *y) {
  TYPES
  const int down = (H + 1) / 2, across = (W + 1) / 2, registers = O / LANES;
  const long all = n * down * across;
  int failed = 0;
#pragma omp parallel
  {
    Real *tiles = (Real *)calloc((size_t)16 * TILES * (C + O), sizeof(Real));
    Real *products = tiles + (long)16 * TILES * C;
#pragma omp for schedule(static)
    for (long block = 0; block < (all + TILES - 1) / TILES; block++) {
      if (!tiles) {
        failed = 1;
        continue;
      }
      const long first = block * TILES;
      const int count = (int)(all - first < TILES ? all - first : TILES);
      for (int t = 0; t < count; t++) {
        const long image = (first + t) / (down * across), rest = (first + t) % (down * across);
        read_tile(x + image * H * W * C, H, W, C, (int)(rest / across), (int)(rest % across), tiles, t);
      }
      for (int f = 0; f < 16; f++)
        for (int o = 0; o < O;) {
          const Real *b = weights + (long)f * C * O + o;
          const int left = registers - o / LANES, width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
          for (int r = 0; r < count; r += ROWS) {
            const Real *a = tiles + ((long)f * TILES + r) * C;
            Real *out = products + ((long)f * TILES + r) * O + o;
            if (width == 4)
              product<Real, 4>(a, b, C, O, out);
            else if (width == 2)
              product<Real, 2>(a, b, C, O, out);
            else
              product<Real, 1>(a, b, C, O, out);
          }
          o += width * LANES;
        }
      for (int t = 0; t < count; t++) {
        const long image = (first + t) / (down * across), rest = (first + t) % (down * across);
        write_tile(products, t, y + image * H * W * O, H, W, O, (int)(rest / across), (int)(rest % across));
      }
    }
    free(tiles);
  }
  return failed;
}

/* Filters g -> G g G' [16, C, O]; g at (o, c, i, j) lies at o * so + c * sc + i * si + j * sj from `filters`. */
template <typename Real>
int transform(int C, int O, const Real *filters, long so, long sc, long si, long sj, Real *weights) {
  TYPES
  const long plane = (long)C * O;
  int failed = 0;
#pragma omp parallel
  {
    Real *rows = (Real *)malloc(sizeof(Real) * 9 * O); /* [9, O] of one channel */
#pragma omp for schedule(static)
    for (int c = 0; c < C; c++) {
      if (!rows) {
        failed = 1;
        continue;
      }
      for (int o = 0; o < O; o++)
        for (int p = 0; p < 9; p++) rows[p * O + o] = filters[o * so + c * sc + p / 3 * si + p % 3 * sj];
      for (int o = 0; o < O; o += LANES) {
        Values half[4][3];
        for (int j = 0; j < 3; j++) {
          const Values top = LOAD(rows + j * O + o), middle = LOAD(rows + (3 + j) * O + o), bottom = LOAD(rows + (6 + j) * O + o);
          half[0][j] = top, half[3][j] = bottom;
          half[1][j] = (top + bottom + middle) / 2, half[2][j] = (top + bottom - middle) / 2;
        }
        for (int a = 0; a < 4; a++) {
          Real *to = weights + 4 * a * plane + (long)c * O + o;
          const Values left = half[a][0], middle = half[a][1], right = half[a][2];
          STORE(to, left);
          STORE(to + plane, (left + right + middle) / 2);
          STORE(to + 2 * plane, (left + right - middle) / 2);
          STORE(to + 3 * plane, right);
        }
      }
    }
    free(rows);
  }
  return failed;
}

} // namespace

#define EXPORT(Real)                                                                                                          \
  extern "C" int winograd_##Real(long n, long H, long W, long C, long O, const Real *x, const Real *weights, Real *y) {       \
    return convolve(n, (int)H, (int)W, (int)C, (int)O, x, weights, y);                                                        \
  }                                                                                                                           \
  extern "C" int winograd_weights_##Real(long C, long O, const Real *filters, long so, long sc, long si, long sj,            \
                                          Real *weights) {                                                                   \
    return transform((int)C, (int)O, filters, so, sc, si, sj, weights);                                                              \
  }

EXPORT(float)
EXPORT(double)
