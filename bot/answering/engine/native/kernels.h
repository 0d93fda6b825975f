/* The arithmetic of a step for one instruction set: included once for AVX2 and once for AVX-512.
 *
 * Expects NAME(x), LANES, V (LANES floats), ROWS (rows whose sums fit the registers) and the loads below.
 * Every function works on some rows of the step and is called by the threads of `pool.h`. */

#define VECTORS (BLOCK / LANES)
#define INLINE static inline __attribute__((always_inline))

INLINE V NAME(splat)(float x) { return x - (V){0}; }

INLINE float NAME(sum)(V v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

INLINE V NAME(load)(const float *p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void NAME(store)(float *p, V v) { __builtin_memcpy(p, &v, sizeof v); }

/* LANES numbers of an adapter, from place `at`. */
INLINE V NAME(load_as)(const void *p, long at, int type) {
    if (type == FLOAT32) return NAME(load)((const float *)p + at);
    if (type == FLOAT16) return NAME(from_half)((const uint16_t *)p + at);
    return NAME(from_bfloat)((const uint16_t *)p + at);
}

/* e to the power of v: 2^n times a polynomial over [-ln2/2, ln2/2] (the coefficients of Cephes' expf). */
INLINE V NAME(exp)(V v) {
    v = NAME(clamp)(v, -87.0f, 88.0f);
    V n = NAME(round)(v * 1.44269504f);
    V x = v - n * 0.693359375f + n * 2.12194440e-4f;
    V y = NAME(splat)(1.9875691500e-4f);
    y = y * x + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    return (y * x * x + x + 1.0f) * NAME(power_of_two)(n);
}

/* out[r] = the products of `rows` rows of x with the BLOCK columns of one block of weights.
 * Inputs are added up group by group, and each group's sum is scaled. `phases` independent sums hide the latency of
 * the addition where there are few rows. */
INLINE void NAME(tile)(const int rows, const int phases, const Linear *l, long block, const float *x, long stride,
                       float *restrict out, long out_stride) {
    V sums[ROWS][VECTORS], partial[ROWS + 2][VECTORS];
    const int inputs = l->inputs, groups = (inputs + GROUP - 1) / GROUP;
    const uint8_t *w = (const uint8_t *)l->weights + block * (l->bits == 8 ? inputs : inputs / 2) * BLOCK;
    const uint16_t *scales = l->scales + block * groups * BLOCK;
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) sums[r][v] = (V){0};
    for (int g = 0; g < groups; g++) {
        const int end = (g + 1) * GROUP < inputs ? (g + 1) * GROUP : inputs;
        int k = g * GROUP;
        _Pragma("GCC unroll 16") for (int i = 0; i < rows * phases; i++)
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) partial[i][v] = (V){0};
        if (l->bits == 8) {
            for (; k + phases <= end; k += phases)
                _Pragma("GCC unroll 8") for (int p = 0; p < phases; p++) {
                    V columns[VECTORS];
                    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++)
                        columns[v] = NAME(from_int8)((const int8_t *)w + (long)(k + p) * BLOCK + v * LANES);
                    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
                        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++)
                            partial[r * phases + p][v] += columns[v] * x[r * stride + k + p];
                }
            for (; k < end; k++)
                _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
                    V column = NAME(from_int8)((const int8_t *)w + (long)k * BLOCK + v * LANES);
                    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
                        partial[r * phases][v] += column * x[r * stride + k];
                }
        } else {
            for (; k < end; k += 2)
                _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
                    V even, odd;
                    NAME(from_int4)(w + (long)(k / 2) * BLOCK + v * LANES, &even, &odd);
                    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                        partial[r * phases][v] += even * x[r * stride + k];
                        partial[r * phases + phases - 1][v] += odd * x[r * stride + k + 1];
                    }
                }
        }
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
            const V scale = NAME(from_half)(scales + g * BLOCK + v * LANES);
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                V total = partial[r * phases][v];
                _Pragma("GCC unroll 8") for (int p = 1; p < phases; p++) total += partial[r * phases + p][v];
                sums[r][v] += total * scale;
            }
        }
    }
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
            V total = sums[r][v];
            if (l->bias) total += NAME(load)(l->bias + block * BLOCK + v * LANES);
            NAME(store)(out + r * out_stride + v * LANES, total);
        }
}

/* One block of outputs for all `count` rows, in tiles of even size. */
#define PHASES(R) ((R) * VECTORS > 6 ? 1 : (R) * VECTORS > 3 ? 2 : 4)
static void NAME(block)(const Linear *l, long block, const float *x, long stride, int count, float *out,
                        long out_stride) {
    int tiles = (count + ROWS - 1) / ROWS;
    for (int row = 0; tiles > 0; tiles--) {
        int rows = (count - row + tiles - 1) / tiles;
        const float *from = x + row * stride;
        float *to = out + row * out_stride;
#define TILE(R) \
    case R: NAME(tile)(R, PHASES(R), l, block, from, stride, to, out_stride); break;
        switch (rows) {
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if ROWS > 6
            TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
        }
#undef TILE
#undef PHASES
        row += rows;
    }
}

/* out[i] (BLOCK numbers) += scale * h[i] (rank numbers) @ up, for the `count` rows listed in `rows`. */
static void NAME(lora_up)(const Lora *lora, long block, long outputs, const float *h, long h_stride,
                          const int *rows, int count, float *out, long out_stride) {
    for (int first = 0; first < count; first += 4) {
        const int many = count - first < 4 ? count - first : 4;
        V sums[4][VECTORS];
        for (int i = 0; i < 4; i++)
            for (int v = 0; v < VECTORS; v++) sums[i][v] = (V){0};
        for (int r = 0; r < lora->rank; r++)
            for (int v = 0; v < VECTORS; v++) {
                V up = NAME(load_as)(lora->up, r * outputs + block * BLOCK + v * LANES, lora->up_type);
                _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
                    const int row = rows[first + (i < many ? i : 0)];
                    sums[i][v] += up * h[row * h_stride + r];
                }
            }
        for (int i = 0; i < many; i++)
            for (int v = 0; v < VECTORS; v++) {
                float *to = out + rows[first + i] * out_stride + v * LANES;
                NAME(store)(to, NAME(load)(to) + sums[i][v] * lora->scale);
            }
    }
}

/* h[row][r] = x[row] @ down[r] for ranks `first` to `end` and the rows listed. */
static void NAME(lora_down)(const Lora *lora, int inputs, int first, int end, const float *x, long stride,
                            const int *rows, int count, float *h, long h_stride) {
    for (int at = 0; at < count; at += 4) {
        const int many = count - at < 4 ? count - at : 4;
        const float *xs[4];
        for (int i = 0; i < 4; i++) xs[i] = x + rows[at + (i < many ? i : 0)] * stride;
        for (int r = first; r < end; r++) {
            V sums[4] = {{0}};
            float rest[4] = {0};
            int k = 0;
            for (; k + LANES <= inputs; k += LANES) {
                V down = NAME(load_as)(lora->down, (long)r * inputs + k, lora->down_type);
                _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) sums[i] += down * NAME(load)(xs[i] + k);
            }
            for (; k < inputs; k++) {
                const float down = one_as(lora->down, (long)r * inputs + k, lora->down_type);
                for (int i = 0; i < 4; i++) rest[i] += down * xs[i][k];
            }
            for (int i = 0; i < many; i++) h[rows[at + i] * h_stride + r] = NAME(sum)(sums[i]) + rest[i];
        }
    }
}

/* out = x / rms(x) * weight */
static void NAME(norm)(const float *x, const float *weight, float epsilon, int size, float *out) {
    V squares = {0};
    float rest = 0;
    int k = 0;
    for (; k + LANES <= size; k += LANES) squares += NAME(load)(x + k) * NAME(load)(x + k);
    for (; k < size; k++) rest += x[k] * x[k];
    const float scale = 1.0f / sqrtf((NAME(sum)(squares) + rest) / size + epsilon);
    for (k = 0; k + LANES <= size; k += LANES)
        NAME(store)(out + k, NAME(load)(x + k) * scale * NAME(load)(weight + k));
    for (; k < size; k++) out[k] = x[k] * scale * weight[k];
}

/* gate = silu(gate) * up, BLOCK numbers */
static void NAME(gated)(float *gate, const float *up) {
    for (int v = 0; v < BLOCK; v += LANES) {
        V g = NAME(load)(gate + v);
        NAME(store)(gate + v, g / (1.0f + NAME(exp)(-g)) * NAME(load)(up + v));
    }
}

/* Attention of one row's `heads` queries that share a key head: `keys` and `values` are (length, size).
 * `scores` has room for heads * length. */
static void NAME(attend)(const float *queries, int heads, int size, const float *keys, const float *values,
                         int length, float scale, float *scores, float *out) {
    for (int e = 0; e < length; e++) {
        const float *key = keys + (long)e * size;
        for (int first = 0; first < heads; first += 4) {
            const int many = heads - first < 4 ? heads - first : 4;
            V sums[4] = {{0}};
            float rest[4] = {0};
            int k = 0;
            for (; k + LANES <= size; k += LANES) {
                V part = NAME(load)(key + k);
                for (int i = 0; i < many; i++) sums[i] += part * NAME(load)(queries + (first + i) * size + k);
            }
            for (; k < size; k++)
                for (int i = 0; i < many; i++) rest[i] += key[k] * queries[(first + i) * size + k];
            for (int i = 0; i < many; i++)
                scores[(long)(first + i) * length + e] = (NAME(sum)(sums[i]) + rest[i]) * scale;
        }
    }
    for (int i = 0; i < heads; i++) {
        float *own = scores + (long)i * length;
        float most = own[0], total = 0;
        int e = 0;
        for (e = 1; e < length; e++) most = own[e] > most ? own[e] : most;
        V totals = {0};
        for (e = 0; e + LANES <= length; e += LANES) {
            V weight = NAME(exp)(NAME(load)(own + e) - most);
            totals += weight;
            NAME(store)(own + e, weight);
        }
        for (; e < length; e++) total += own[e] = expf(own[e] - most);
        total += NAME(sum)(totals);
        const float share = 1.0f / total;
        for (e = 0; e < length; e++) own[e] *= share;
    }
    for (int first = 0; first < heads; first += 4) {
        const int many = heads - first < 4 ? heads - first : 4;
        int k = 0;
        for (; k + LANES <= size; k += LANES) {
            V sums[4] = {{0}};
            for (int e = 0; e < length; e++) {
                V value = NAME(load)(values + (long)e * size + k);
                for (int i = 0; i < many; i++) sums[i] += value * scores[(long)(first + i) * length + e];
            }
            for (int i = 0; i < many; i++) NAME(store)(out + (first + i) * size + k, sums[i]);
        }
        for (; k < size; k++)
            for (int i = 0; i < many; i++) {
                float sum = 0;
                for (int e = 0; e < length; e++)
                    sum += values[(long)e * size + k] * scores[(long)(first + i) * length + e];
                out[(first + i) * size + k] = sum;
            }
    }
}

static const Kernels NAME(kernels) = {NAME(block),  NAME(lora_up), NAME(lora_down), NAME(norm),
                                      NAME(attend), NAME(gated)};
