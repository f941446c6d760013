/* Registers of 64 bytes, in the compiler's own vector types: 16 floats or 8 doubles, on a processor of any width. */

#include <cstdint>

#define INLINE static inline __attribute__((always_inline))

/* A register of values of one type, the integers that comparing two of them gives, and as many bytes. */
template <typename Real> struct Lanes;
template <> struct Lanes<float> {
  enum { size = 16 };
  typedef float Values __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Mask __attribute__((vector_size(64)));
  typedef uint8_t Bytes __attribute__((vector_size(16), aligned(1), may_alias));
};
template <> struct Lanes<double> {
  enum { size = 8 };
  typedef double Values __attribute__((vector_size(64), aligned(8), may_alias));
  typedef int64_t Mask __attribute__((vector_size(64)));
  typedef uint8_t Bytes __attribute__((vector_size(8), aligned(1), may_alias));
};

/* The types of a function template over Real. */
#define TYPES                                                                                                                 \
  using Values [[maybe_unused]] = typename Lanes<Real>::Values;                                                               \
  using Mask [[maybe_unused]] = typename Lanes<Real>::Mask;                                                                   \
  using Bytes [[maybe_unused]] = typename Lanes<Real>::Bytes;                                                                 \
  [[maybe_unused]] const int LANES = Lanes<Real>::size;                                                                       \
  [[maybe_unused]] const Values zero = {};

#define LOAD(p) (*(const Values *)(p))
#define STORE(p, v) (*(Values *)(p) = (v))
