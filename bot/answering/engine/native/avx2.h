/* The arithmetic of a step in 256 bits; expects NAME(x), and VNNI where sums of products are one instruction. */

#define LANES 8
#define ROWS 6
typedef float NAME(v) __attribute__((vector_size(32)));
#define V NAME(v)
typedef int32_t NAME(i) __attribute__((vector_size(32)));
#define I NAME(i)
INLINE I NAME(from_int8)(const int8_t *p) {
    return (I)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}
INLINE I NAME(load_int)(const uint8_t *p) {
    return (I)_mm256_loadu_si256((const __m256i *)p);
}
INLINE void NAME(add_pairs)(I *sum, I a, I b) {
#ifdef VNNI
    *sum = (I)_mm256_dpwssd_avx_epi32((__m256i)*sum, (__m256i)a, (__m256i)b);
#else
    *sum += (I)_mm256_madd_epi16((__m256i)a, (__m256i)b);
    KEEP_ORDER(*sum);
#endif
}
INLINE I NAME(larger)(I a, I b) {
    return (I)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
INLINE V NAME(from_int)(I x) { return (V)_mm256_cvtepi32_ps((__m256i)x); }
INLINE I NAME(to_int)(V x) { return (I)_mm256_cvtps_epi32((__m256)x); }
INLINE void NAME(store_short)(int16_t *p, I x) {
    const __m256i packed = _mm256_packs_epi32((__m256i)x, (__m256i)x);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}
INLINE V NAME(from_half)(const uint16_t *p) {
    return (V)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
INLINE V NAME(from_bfloat)(const uint16_t *p) {
    return (V)_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
INLINE V NAME(most)(V a, V b) {
    return (V)_mm256_max_ps((__m256)a, (__m256)b);
}
INLINE V NAME(clamp)(V v, float low, float high) {
    return (V)_mm256_min_ps(_mm256_max_ps((__m256)v, _mm256_set1_ps(low)), _mm256_set1_ps(high));
}
INLINE V NAME(round)(V v) {
    return (V)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE V NAME(power_of_two)(V n) {
    return (V)_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32((__m256)n), _mm256_set1_epi32(127)), 23));
}
#include "kernels.h"
#undef LANES
#undef ROWS
#undef VECTORS
#undef V
#undef I
