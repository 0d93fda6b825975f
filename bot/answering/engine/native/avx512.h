/* The arithmetic of a step in 512 bits; expects NAME(x), and VNNI where sums of products are one instruction. */

#define LANES 16
#define ROWS 12
typedef float NAME(v) __attribute__((vector_size(64)));
#define V NAME(v)
typedef int32_t NAME(i) __attribute__((vector_size(64)));
#define I NAME(i)
INLINE I NAME(from_int8)(const int8_t *p) {
    return (I)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
INLINE I NAME(load_int)(const uint8_t *p) {
    return (I)_mm512_loadu_si512((const __m512i *)p);
}
INLINE void NAME(add_pairs)(I *sum, I a, I b) {
#ifdef VNNI
    *sum = (I)_mm512_dpwssd_epi32((__m512i)*sum, (__m512i)a, (__m512i)b);
#else
    *sum += (I)_mm512_madd_epi16((__m512i)a, (__m512i)b);
    KEEP_ORDER(*sum);
#endif
}
INLINE I NAME(larger)(I a, I b) {
    return (I)_mm512_max_epi32((__m512i)a, (__m512i)b);
}
INLINE V NAME(from_int)(I x) { return (V)_mm512_cvtepi32_ps((__m512i)x); }
INLINE I NAME(to_int)(V x) { return (I)_mm512_cvtps_epi32((__m512)x); }
INLINE void NAME(store_short)(int16_t *p, I x) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtsepi32_epi16((__m512i)x));
}
INLINE V NAME(from_half)(const uint16_t *p) {
    return (V)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
INLINE V NAME(from_bfloat)(const uint16_t *p) {
    return (V)_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
INLINE V NAME(most)(V a, V b) {
    return (V)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE V NAME(clamp)(V v, float low, float high) {
    return (V)_mm512_min_ps(_mm512_max_ps((__m512)v, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}
INLINE V NAME(round)(V v) {
    return (V)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE V NAME(power_of_two)(V n) {
    return (V)_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32((__m512)n), _mm512_set1_epi32(127)), 23));
}
#include "kernels.h"
#undef LANES
#undef ROWS
#undef VECTORS
#undef V
#undef I
