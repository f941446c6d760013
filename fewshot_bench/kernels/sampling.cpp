/* Episode indices by the mapping that fewshot_bench/episodes/sampling.py documents, word for word.

   Legend: N ways, n images of each class (shots + queries), K of them shots. */

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

/* Philox-4x64 with 10 rounds (Salmon et al. 2011), as numpy's bit generator of the same name. */
void philox(uint64_t counter, const uint64_t key[2], uint64_t out[4]) {
  uint64_t c0 = counter, c1 = 0, c2 = 0, c3 = 0, k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93u * c0, b = (unsigned __int128)0xCA5A826395121157u * c2;
    c0 = (uint64_t)(b >> 64) ^ c1 ^ k0, c2 = (uint64_t)(a >> 64) ^ c3 ^ k1;
    c1 = (uint64_t)b, c3 = (uint64_t)a;
    k0 += 0x9E3779B97F4A7C15u, k1 += 0xBB67AE8584CAA73Bu;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint64_t below(uint64_t word, uint64_t size) { return ((word >> 32) * size) >> 32; }

/* A population that is quickly written down. */
const int64_t SMALL = 64;

/* k distinct integers of [0, size): a Fisher-Yates shuffle that stops after k steps, of an array where that is small. Else
   `places` and `moved`, which have room for k, stand in for it: they hold the swaps so far, and the latest of one place wins. */
void draw(const uint64_t *words, int64_t size, int64_t k, int64_t *taken, int64_t *places, int64_t *moved) {
  if (size <= SMALL) {
    int64_t left[SMALL];
    for (int64_t i = 0; i < size; i++) left[i] = i;
    for (int64_t step = 0; step < k; step++) {
      const int64_t place = step + (int64_t)below(words[step], (uint64_t)(size - step));
      taken[step] = left[place], left[place] = left[step];
    }
    return;
  }
  for (int64_t step = 0; step < k; step++) {
    const int64_t place = step + (int64_t)below(words[step], (uint64_t)(size - step));
    int64_t at_place = place, at_step = step;
    for (int64_t s = 0; s < step; s++) {
      at_place = places[s] == place ? moved[s] : at_place;
      at_step = places[s] == step ? moved[s] : at_step;
    }
    taken[step] = at_place, places[step] = place, moved[step] = at_step;
  }
}

/* The stable argsort of words, which are uniform: into buckets by their first bits, then by insertion. */
void order(const uint64_t *words, int64_t count, int bits, int32_t *ends, int64_t *sorted) {
  const int shift = 64 - bits;
  memset(ends, 0, sizeof(int32_t) << bits);
  for (int64_t i = 0; i < count; i++) ends[words[i] >> shift]++;
  for (int64_t b = 1; b < (int64_t)1 << bits; b++) ends[b] += ends[b - 1];
  for (int64_t i = count - 1; i >= 0; i--) sorted[--ends[words[i] >> shift]] = i;
  for (int64_t i = 1; i < count; i++) {
    const int64_t index = sorted[i];
    int64_t j = i;
    for (; j > 0 && words[sorted[j - 1]] > words[index]; j--) sorted[j] = sorted[j - 1];
    sorted[j] = index;
  }
}

int bits_for(int64_t count) {
  int bits = 1;
  while (((int64_t)1 << bits) < count && bits < 20) bits++;
  return bits;
}

} // namespace

/* Episodes `first` to `first + count - 1`, `words` words each. starts and sizes [classes]; support, support_y [count, N K],
   query, query_y [count, N (n - K)], task_key [count]. Returns 0, or 1 without memory. */
extern "C" int draw_episodes(uint64_t key_low, uint64_t key_high, int64_t first, int64_t count, int64_t words, int64_t N,
                             int64_t n, int64_t K, int64_t classes, const int64_t *starts, const int64_t *sizes,
                             int64_t *support, int64_t *support_y, int64_t *query, int64_t *query_y, uint64_t *task_key) {
  const uint64_t key[2] = {key_low, key_high};
  const int64_t shots = N * K, queries = N * (n - K), most = shots > queries ? shots : queries, longest = N > n ? N : n;
  const int bits = bits_for(most);
  int failed = 0;
#pragma omp parallel
  {
    uint64_t *drawn = (uint64_t *)malloc(sizeof(uint64_t) * words);
    int64_t *room = (int64_t *)malloc(sizeof(int64_t) * (N + N * n + 2 * longest + most));
    int32_t *ends = (int32_t *)malloc(sizeof(int32_t) << bits);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; i++) {
      if (!drawn || !room || !ends) {
        failed = 1;
        continue;
      }
      int64_t *chosen = room, *images = chosen + N, *places = images + N * n, *moved = places + longest, *sorted = moved + longest;
      for (int64_t w = 0; w < words; w += 4) /* numpy counts up before it draws */
        philox((uint64_t)(first + i) * (uint64_t)(words / 4) + (uint64_t)(w / 4) + 1, key, drawn + w);
      const uint64_t *word = drawn;
      draw(word, classes, N, chosen, places, moved);
      word += N;
      for (int64_t c = 0; c < N; c++, word += n) draw(word, sizes[chosen[c]], n, images + c * n, places, moved);
      order(word, shots, bits, ends, sorted);
      word += shots;
      for (int64_t j = 0; j < shots; j++) {
        const int64_t label = sorted[j] / K;
        support[i * shots + j] = starts[chosen[label]] + images[label * n + sorted[j] % K];
        support_y[i * shots + j] = label;
      }
      order(word, queries, bits, ends, sorted);
      word += queries;
      for (int64_t j = 0; j < queries; j++) {
        const int64_t label = sorted[j] / (n - K);
        query[i * queries + j] = starts[chosen[label]] + images[label * n + K + sorted[j] % (n - K)];
        query_y[i * queries + j] = label;
      }
      task_key[i] = *word;
    }
    free(drawn);
    free(room);
    free(ends);
  }
  return failed;
}
