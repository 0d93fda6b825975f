/* The arithmetic of a step for one instruction set: included once for each.
 *
 * Expects NAME(x), LANES, V and I (LANES floats and integers), ROWS (rows whose sums fit the registers), and the
 * loads and conversions that are used below.
 * Every function works on some rows of the step and is called by the threads of `pool.h`. */

#define VECTORS (BLOCK / LANES)
#ifndef AHEAD
#define AHEAD 8192
#endif

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

/* The tile that row `row` of `count` is computed in: its first row, and how many rows it has. As few tiles as the
 * registers allow, of even size. */
INLINE int NAME(tile_rows)(int count, int row, int *first) {
    const int tiles = (count + ROWS - 1) / ROWS, least = count / tiles, larger = count % tiles;
    if (row < larger * (least + 1)) {
        *first = row / (least + 1) * (least + 1);
        return least + 1;
    }
    *first = larger * (least + 1) + (row - larger * (least + 1)) / least * least;
    return least;
}

/* Round the rows of x for products: the tile of `count` rows that begins with row `first`. GROUP numbers
 * share a scale, with which the largest becomes MOST_ROUNDED. A tile lies as its product reads it: (inputs / 2, rows of
 * the tile, 2), scales (groups, rows). */
static void NAME(round_tile)(const float *x, long stride, int size, int four_bits, int count, int first, Rounded out) {
    const int groups = (size + GROUP - 1) / GROUP, rows = NAME(tile_rows)(count, first, &first);
    int32_t *to = (int32_t *)out.values + (long)first * groups * GROUP / 2;
    const long at = (long)first * groups;
    for (int g = 0; g < groups; g++)
        for (int r = 0; r < rows; r++) {
            const float *own = x + (first + r) * stride + g * GROUP;
            float padded[GROUP] = {0};
            if ((g + 1) * GROUP > size) {
                __builtin_memcpy(padded, own, (size - g * GROUP) * sizeof *own);
                own = padded;
            }
            /* of bit patterns without their sign, so that the largest is a NaN where there is one */
            I most = {0};
            _Pragma("GCC unroll 4") for (int k = 0; k < GROUP; k += LANES)
                most = NAME(larger)((I)NAME(load)(own + k) & 0x7fffffff, most);
            _Pragma("GCC unroll 4") for (int half = LANES / 2; half; half /= 2) {
                I other;
                for (int i = 0; i < LANES; i++) other[i] = i ^ half;
                most = NAME(larger)(__builtin_shuffle(most, other), most);
            }
            const int32_t largest = most[0];
            float bound;
            __builtin_memcpy(&bound, &largest, sizeof bound);
            /* numbers below 2^-100 are taken for 0: MOST_ROUNDED over them is no float */
            const int usable = largest >= 0x0d800000 && largest < 0x7f800000;
            const float inverse = MOST_ROUNDED / bound;
            int16_t rounded[GROUP];
            _Pragma("GCC unroll 4") for (int k = 0; k < GROUP; k += LANES)
                NAME(store_short)(rounded + k, NAME(to_int)(usable ? NAME(load)(own + k) * inverse : (V){0}));
            for (int pair = 0; pair < GROUP / 2; pair++)
                __builtin_memcpy(to + (long)(g * GROUP / 2 + pair) * rows + r, rounded + pair * 2, sizeof *to);
            int32_t total = 0;
            if (four_bits)
                for (int k = 0; k < GROUP; k++) total += rounded[k];
            out.scales[at + g * rows + r] = largest >= 0x7f800000 ? __builtin_nanf("") : bound / MOST_ROUNDED;
            out.starts[at + g * rows + r] = -8 * total;
        }
}

/* out[r] = the products of a tile's `rows` rows with the BLOCK columns of one block of weights.
 * Inputs are multiplied in pairs and added up as integers, group by group; each group's sum is scaled. `phases`
 * independent sums hide the latency of the addition where there are few rows. */
INLINE void NAME(tile)(const int rows, const int phases, const int bits, const Linear *l, long block, Rounded x,
                       long first, float *restrict out, long out_stride) {
    V sums[ROWS][VECTORS];
    I partial[ROWS + 2][VECTORS];
    const long groups = (l->inputs + GROUP - 1) / GROUP;
    const uint8_t *w = (const uint8_t *)l->weights + block * groups * GROUP * BLOCK * bits / 8;
    const uint16_t *scales = l->scales + block * groups * BLOCK;
    const int32_t *from = (const int32_t *)x.values + first * groups * GROUP / 2;
    const float *x_scales = x.scales + first * groups;
    const int32_t *starts = x.starts + first * groups;
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) sums[r][v] = (V){0};
    for (long g = 0; g < groups; g++) {
        _Pragma("GCC unroll 16") for (int i = 0; i < rows * phases; i++)
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++)
                partial[i][v] = bits == 4 && i % phases == 0 ? starts[i / phases] - (I){0} : (I){0};
        const int pairs = bits == 8 ? phases : 4; /* unpacked together */
        _Pragma("GCC unroll 8") for (int line = 0; line < GROUP * BLOCK * bits / 8; line += 64)
            __builtin_prefetch(w + AHEAD + line);
        for (int pair = 0; pair < GROUP / 2; pair += pairs) {
            I columns[4][VECTORS];
            if (bits == 4)
                _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
                    const I words = NAME(load_int)(w + v * LANES * 4);
                    columns[0][v] = words & 0x000f000f;
                    columns[1][v] = words >> 4 & 0x000f000f;
                    columns[2][v] = words >> 8 & 0x000f000f;
                    columns[3][v] = words >> 12 & 0x000f000f;
                }
            _Pragma("GCC unroll 4") for (int p = 0; p < pairs; p++) {
                if (bits == 8)
                    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++)
                        columns[p][v] = NAME(from_int8)((const int8_t *)w + p * BLOCK * 2 + v * LANES * 2);
                _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                    const I both = from[p * rows + r] - (I){0};
                    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++)
                        NAME(add_pairs)(&partial[r * phases + p % phases][v], columns[p][v], both);
                }
            }
            w += pairs * BLOCK * bits / 4;
            from += pairs * rows;
        }
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
            const V scale = NAME(from_half)(scales + g * BLOCK + v * LANES);
            _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) {
                I total = partial[r * phases][v];
                _Pragma("GCC unroll 8") for (int p = 1; p < phases; p++) total += partial[r * phases + p][v];
                sums[r][v] += NAME(from_int)(total) * (scale * x_scales[r]);
            }
        }
        x_scales += rows;
        starts += rows;
    }
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
            V total = sums[r][v];
            if (l->bias) total += NAME(load)(l->bias + block * BLOCK + v * LANES);
            NAME(store)(out + r * out_stride + v * LANES, total);
        }
}

/* One block of outputs for all `count` rows. */
#define PHASES(R) ((R) * VECTORS > 6 ? 1 : (R) * VECTORS > 3 ? 2 : 4)
static void NAME(block)(const Linear *l, long block, Rounded x, int count, float *out, long out_stride) {
    for (int first = 0, rows; first < count; first += rows) {
        rows = NAME(tile_rows)(count, first, &first);
        float *to = out + first * out_stride;
#define TILE(R) \
    case R: \
        if (l->bits == 8) NAME(tile)(R, PHASES(R), 8, l, block, x, first, to, out_stride); \
        else NAME(tile)(R, PHASES(R), 4, l, block, x, first, to, out_stride); \
        break;
        switch (rows) {
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if ROWS > 6
            TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
        }
#undef TILE
    }
}
#undef PHASES

/* The sum of each of LANES vectors, each in its vector's lane. */
INLINE V NAME(sums)(V v[LANES]) {
    _Pragma("GCC unroll 4") for (int half = LANES / 2; half; half /= 2) {
        I low, high;
        for (int i = 0; i < LANES; i++) {
            low[i] = i & half ? LANES + i - half : i;
            high[i] = low[i] + half;
        }
        _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++)
            if (!(i & half)) v[i] = __builtin_shuffle(v[i], v[i + half], low) + __builtin_shuffle(v[i], v[i + half], high);
    }
    return v[0];
}

/* Calls `f` with the type of an adapter's numbers as a constant. */
#define AS_TYPE(type, f, ...) \
    do { \
        if ((type) == FLOAT32) f(FLOAT32, __VA_ARGS__); \
        else if ((type) == FLOAT16) f(FLOAT16, __VA_ARGS__); \
        else f(BFLOAT16, __VA_ARGS__); \
    } while (0)

INLINE void NAME(up_as)(const int type, const Lora *lora, long block, const float *h, long h_stride, const int *rows,
                        int count, float *out, long out_stride) {
    const long first_up = block * lora->rank * BLOCK;
    for (int first = 0; first < count; first += 4) {
        const int many = count - first < 4 ? count - first : 4;
        const float *own[4];
        V sums[4][VECTORS];
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) {
            own[i] = h + rows[first + (i < many ? i : 0)] * h_stride;
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) sums[i][v] = (V){0};
        }
        for (int r = 0; r < lora->rank; r++) {
            /* two blocks on */
            __builtin_prefetch((const char *)lora->up +
                               (first_up + (2L * lora->rank + r) * BLOCK) * (type == FLOAT32 ? 4 : 2));
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
                const V up = NAME(load_as)(lora->up, first_up + r * BLOCK + v * LANES, type);
                _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) sums[i][v] += up * own[i][r];
            }
        }
        for (int i = 0; i < many; i++)
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) {
                float *to = out + rows[first + i] * out_stride + v * LANES;
                NAME(store)(to, NAME(load)(to) + sums[i][v] * lora->scale);
            }
    }
}

/* out[i] (BLOCK numbers) += scale * h[i] (rank numbers) @ up, for the `count` rows listed in `rows`. */
static void NAME(lora_up)(const Lora *lora, long block, const float *h, long h_stride, const int *rows, int count,
                          float *out, long out_stride) {
    AS_TYPE(lora->up_type, NAME(up_as), lora, block, h, h_stride, rows, count, out, out_stride);
}

#define RANKS (LANES / 4)

INLINE void NAME(down_as)(const int type, const Lora *lora, int inputs, int first, int end, const float *x,
                          long stride, const int *rows, int count, float *h, long h_stride) {
    for (int at = 0; at < count; at += 4) {
        const int many = count - at < 4 ? count - at : 4;
        const float *xs[4];
        for (int i = 0; i < 4; i++) xs[i] = x + rows[at + (i < many ? i : 0)] * stride;
        for (int r = first; r < end; r += RANKS) {
            V sums[LANES];
            float rest[LANES] = {0};
            long from[RANKS];
            _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) sums[i] = (V){0};
            for (int j = 0; j < RANKS; j++) from[j] = (long)(r + j < end ? r + j : end - 1) * inputs;
            int k = 0;
            for (; k + LANES <= inputs; k += LANES)
                _Pragma("GCC unroll 4") for (int j = 0; j < RANKS; j++) {
                    const V down = NAME(load_as)(lora->down, from[j] + k, type);
                    __builtin_prefetch((const char *)lora->down + (from[j] + k + 512) * (type == FLOAT32 ? 4 : 2));
                    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
                        sums[j * 4 + i] += down * NAME(load)(xs[i] + k);
                }
            for (; k < inputs; k++)
                for (int j = 0; j < RANKS; j++)
                    for (int i = 0; i < 4; i++)
                        rest[j * 4 + i] += one_as(lora->down, from[j] + k, type) * xs[i][k];
            const V total = NAME(sums)(sums) + NAME(load)(rest);
            for (int j = 0; j < RANKS && r + j < end; j++)
                for (int i = 0; i < many; i++) h[rows[at + i] * h_stride + r + j] = total[j * 4 + i];
        }
    }
}

/* h[row][r] = x[row] @ down[r] for ranks `first` to `end` and the rows listed. */
static void NAME(lora_down)(const Lora *lora, int inputs, int first, int end, const float *x, long stride,
                            const int *rows, int count, float *h, long h_stride) {
    AS_TYPE(lora->down_type, NAME(down_as), lora, inputs, first, end, x, stride, rows, count, h, h_stride);
}

#undef RANKS
#undef AS_TYPE

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

/* out[e] = scale * (query @ keys[e]), for whole vectors of keys: `length` rounded up. */
INLINE void NAME(scores)(const int vectors, const float *query, int size, const float *keys, int length, float scale,
                         float *out) {
    V own[16];
    const int whole = vectors ? vectors : size / LANES;
    _Pragma("GCC unroll 16") for (int k = 0; k < vectors; k++) own[k] = NAME(load)(query + k * LANES);
    for (int e = 0; e < length; e += LANES) {
        V sums[LANES];
        float rest[LANES] = {0};
        _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) {
            const float *key = keys + (long)(e + i < length ? e + i : length - 1) * size;
            sums[i] = (V){0};
            _Pragma("GCC unroll 16") for (int k = 0; k < whole; k++)
                sums[i] += NAME(load)(key + k * LANES) * (vectors ? own[k] : NAME(load)(query + k * LANES));
            if (!vectors)
                for (int k = whole * LANES; k < size; k++) rest[i] += key[k] * query[k];
        }
        V found = NAME(sums)(sums);
        if (!vectors) found += NAME(load)(rest);
        NAME(store)(out + e, found * scale);
    }
}

/* out[i] = weights[i] @ values, `vectors` vectors of them from `k` on, for `many` heads. */
INLINE void NAME(weighted)(const int many, const int vectors, const float *weights, long stride, const float *values,
                           int size, int length, int k, float *out) {
    V sums[4][4];
    _Pragma("GCC unroll 4") for (int i = 0; i < many; i++)
        _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) sums[i][v] = (V){0};
    for (int e = 0; e < length; e++)
        _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) {
            const V value = NAME(load)(values + (long)e * size + k + v * LANES);
            _Pragma("GCC unroll 4") for (int i = 0; i < many; i++) sums[i][v] += value * weights[i * stride + e];
        }
    _Pragma("GCC unroll 4") for (int i = 0; i < many; i++)
        _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++)
            NAME(store)(out + i * size + k + v * LANES, sums[i][v]);
}

/* Attention of one row's `heads` queries that share a key head: `keys` and `values` are (length, size).
 * `scores` has room for `heads` times `length` rounded up to BLOCK. */
static void NAME(attend)(const float *queries, int heads, int size, const float *keys, const float *values,
                         int length, float scale, float *scores, float *out) {
    const long stride = (length + BLOCK - 1) / BLOCK * BLOCK;
    for (int i = 0; i < heads; i++) {
        float *own = scores + i * stride;
        const float *query = queries + i * size;
        if (size == 64) NAME(scores)(64 / LANES, query, 64, keys, length, scale, own);
        else if (size == 128) NAME(scores)(128 / LANES, query, 128, keys, length, scale, own);
        else NAME(scores)(0, query, size, keys, length, scale, own);
        /* keys past the end weigh nothing */
        const int end = (length + LANES - 1) / LANES * LANES;
        for (int e = length; e < end; e++) own[e] = -INFINITY;
        V most = NAME(load)(own), totals = {0};
        for (int e = LANES; e < end; e += LANES) most = NAME(most)(most, NAME(load)(own + e));
        float largest = most[0];
        for (int e = 1; e < LANES; e++) largest = most[e] > largest ? most[e] : largest;
        for (int e = 0; e < end; e += LANES) {
            V weight = NAME(exp)(NAME(load)(own + e) - largest);
            if (e + LANES > length)
                for (int lane = length - e; lane < LANES; lane++) weight[lane] = 0;
            totals += weight;
            NAME(store)(own + e, weight);
        }
        const float share = 1.0f / NAME(sum)(totals);
        for (int e = 0; e < end; e += LANES) NAME(store)(own + e, NAME(load)(own + e) * share);
    }
    for (int first = 0; first < heads; first += 4) {
        const int many = heads - first < 4 ? heads - first : 4;
        const float *weights = scores + first * stride;
        float *to = out + first * size;
        int k = 0;
#define WEIGHTED(VECTORS_AT_ONCE) \
    for (; k + (VECTORS_AT_ONCE) * LANES <= size; k += (VECTORS_AT_ONCE) * LANES) switch (many) { \
            case 1: NAME(weighted)(1, VECTORS_AT_ONCE, weights, stride, values, size, length, k, to); break; \
            case 2: NAME(weighted)(2, VECTORS_AT_ONCE, weights, stride, values, size, length, k, to); break; \
            case 3: NAME(weighted)(3, VECTORS_AT_ONCE, weights, stride, values, size, length, k, to); break; \
            default: NAME(weighted)(4, VECTORS_AT_ONCE, weights, stride, values, size, length, k, to); \
        }
        if (LANES == 16) { WEIGHTED(4) }
        WEIGHTED(2)
        WEIGHTED(1)
#undef WEIGHTED
        for (; k < size; k++)
            for (int i = 0; i < many; i++) {
                float sum = 0;
                for (int e = 0; e < length; e++) sum += values[(long)e * size + k] * weights[i * stride + e];
                to[i * size + k] = sum;
            }
    }
}

static const Kernels NAME(kernels) = {ROWS, NAME(block), NAME(round_tile), NAME(lora_up), NAME(lora_down),
                                      NAME(norm),  NAME(attend), NAME(gated)};
