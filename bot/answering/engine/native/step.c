/* One step of a Llama-like decoder on an x86-64 CPU: 8- or 4-bit weights, all else in 32 bits.
 *
 * `step` runs the whole forward pass of a step in one call, over rows of many requests, each with its own LoRA
 * adapter or none. GROUP inputs of an output share a scale, and weights lie in blocks of BLOCK outputs, inputs
 * outermost and in pairs, so that one load brings two columns of a block. For a product the activations are rounded
 * to 16 bits, GROUP of them with one scale: the processor multiplies and adds twice as many pairs of those as of
 * floats, sums of GROUP are exact, and what the rounding changes is nearer to the order of additions in 32 bits
 * than to bfloat16. A row's result never depends on the rows beside it.
 * The Python side is `bot.answering.engine.native`; nothing here allocates what it does not free, but the
 * pool of threads, which is the process's. */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define BLOCK 16
#define GROUP 32

enum { FLOAT32, FLOAT16, BFLOAT16 };

typedef struct {
    int32_t inputs, outputs, bits;
    /* 8 bits: (blocks, groups * GROUP / 2, BLOCK, 2); 4: (blocks, groups * GROUP / 8, BLOCK, 2) of 16 bits, whose
     * nibble i is input 2 * i or 2 * i + 1 of 8, plus 8. Inputs past the last are 0. */
    const void *weights;
    const uint16_t *scales; /* (blocks, groups, BLOCK) in 16 bits */
    const float *bias;      /* (blocks * BLOCK) or NULL */
} Linear;

typedef struct {
    int32_t rank, down_type, up_type; /* rank 0: the layer has none */
    float scale;
    const void *down; /* (rank, inputs) */
    const void *up;   /* (blocks, rank, BLOCK) */
} Lora;

enum { Q, K, VALUE, O, GATE, UP, DOWN, LINEARS };

typedef struct {
    int32_t layers, hidden, inner, heads, kv_heads, size, vocabulary, instructions;
    float epsilon, attention_scale;
    const Linear *linears;     /* LINEARS a layer, then the output layer */
    const float *const *norms; /* 4 a layer: before attention, before the MLP, of queries, of keys; last the final one */
    const uint16_t *embedding; /* (vocabulary, hidden) in bfloat16, or NULL: that of the output layer */
} Model;

typedef struct {
    int32_t rows, logits, adapters, longest;
    const int32_t *tokens;    /* (rows) */
    const int32_t *positions; /* (rows) */
    const float *cosines;     /* (rows, size) */
    const float *sines;       /* (rows, size) */
    float *const *keys;       /* (rows): keys of the row's slot in the first layer, (kv_heads, places, size) */
    const int64_t *layer_stride; /* (rows): from one layer of a slot to the next, in numbers */
    const int32_t *places;       /* (rows): positions that the slot has; its values follow its keys */
    const int32_t *logits_rows;  /* (logits) */
    const Lora *const *loras;    /* (adapters): LINEARS a layer, then that of the output layer */
    const int32_t *adapter_rows; /* the rows of the first adapter, of the second, … */
    const int32_t *adapter_ends; /* (adapters): where each one's rows end */
    const int32_t *logits_adapter_rows; /* the same two of the rows of `out` */
    const int32_t *logits_adapter_ends;
    float *out; /* (logits, vocabulary in whole blocks) */
} Step;

/* Rows rounded for products (see `round_row`): their values, each group's scale, and -8 times its sum of values, which
 * takes back the 8 that 4-bit weights are stored with. */
typedef struct {
    int16_t *values;
    float *scales;
    int32_t *starts;
} Rounded;

#define MOST_ROUNDED 32767.0f

/* gcc adds integers in the order that needs the most registers; this hides from it that it may. */
#define KEEP_ORDER(x) __asm__("" : "+x"(x))

typedef struct {
    int rows; /* the most of a tile */
    void (*block)(const Linear *, long, Rounded, int, float *, long);
    void (*round)(const float *, long, int, int, int, int, Rounded);
    void (*lora_up)(const Lora *, long, const float *, long, const int *, int, float *, long);
    void (*lora_down)(const Lora *, int, int, int, const float *, long, const int *, int, float *, long);
    void (*norm)(const float *, const float *, float, int, float *);
    void (*attend)(const float *, int, int, const float *, const float *, int, float, float *, float *);
    void (*gated)(float *, const float *);
} Kernels;

__attribute__((target("f16c"))) static float one_as(const void *p, long at, int type) {
    if (type == FLOAT32) return ((const float *)p)[at];
    uint16_t bits = ((const uint16_t *)p)[at];
    if (type == BFLOAT16) {
        uint32_t wide = (uint32_t)bits << 16;
        float x;
        memcpy(&x, &wide, sizeof x);
        return x;
    }
    return _cvtsh_ss(bits);
}

#define INLINE static inline __attribute__((always_inline))

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define NAME(x) avx2_##x
#include "avx2.h"
#undef NAME
#pragma GCC pop_options

#if __has_include(<avxvnniintrin.h>)
#pragma GCC push_options
#pragma GCC target("avxvnni,avx2,fma,f16c")
#define NAME(x) avx2_vnni_##x
#define VNNI
#include "avx2.h"
#undef NAME
#undef VNNI
#pragma GCC pop_options
#else
#define avx2_vnni_kernels avx2_kernels /* an older compiler */
#endif

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,prefer-vector-width=512")
#define NAME(x) avx512_##x
#include "avx512.h"
#undef NAME
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512vnni,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,prefer-vector-width=512")
#define NAME(x) avx512_vnni_##x
#define VNNI
#include "avx512.h"
#undef NAME
#undef VNNI
#pragma GCC pop_options

/* As `bot.answering.engine.native` numbers the instruction sets. */
static const Kernels *const KERNELS[] = {&avx2_kernels, &avx2_vnni_kernels, &avx512_kernels, &avx512_vnni_kernels};

#define MOST_PARTS 3 /* linear layers with the same input */
#define ALONE 4      /* with at most so many rows, small work is done faster by one thread than shared */

static long whole(long outputs) { return (outputs + BLOCK - 1) / BLOCK * BLOCK; }

static long blocks(const Linear *l) { return (l->outputs + BLOCK - 1) / BLOCK; }

/* Everything that the pieces of a step need. */
typedef struct {
    const Model *model;
    const Step *step;
    const Kernels *kernels;
    int rows, threads;
    float *hidden, *normed, *qkv, *attended, *inner; /* (rows, …) */
    Rounded rounded;          /* what goes into the product under way */
    long wide_hidden, wide_qkv, wide_attended, wide_inner; /* their strides: outputs in whole blocks */
    float *h;                 /* (MOST_PARTS, rows, most_rank) */
    int most_rank;
    float *scores;            /* (threads, heads a key head, longest) */
    float *spare;             /* (threads, rows, BLOCK) */
    int layer;
    /* the product under way */
    int parts, first_linear, adds, gates;
    const float *x;
    long x_stride;
    float *out[MOST_PARTS];
    long out_stride;
    int out_rows;
    const int32_t *adapter_rows, *adapter_ends;
    long blocks_a_piece;
    const float *norm;
} Run;

static const Linear *linear(const Run *run, int part) { return &run->model->linears[run->first_linear + part]; }

/* How many rows of the product under way are `adapter`'s, and which. */
static int adapter_rows(const Run *run, int adapter, const int **rows) {
    const int first = adapter ? run->adapter_ends[adapter - 1] : 0;
    *rows = run->adapter_rows + first;
    return run->adapter_ends[adapter] - first;
}

/* One piece: a run of blocks of one of the product's linear layers, for all rows. */
static void product_piece(void *context, int piece, int thread) {
    Run *run = context;
    const Kernels *kernels = run->kernels;
    int part = 0;
    long pieces;
    while (piece >= (pieces = (blocks(linear(run, part)) + run->blocks_a_piece - 1) / run->blocks_a_piece)) {
        piece -= pieces;
        part++;
    }
    const Linear *l = linear(run, part);
    const long end = (piece + 1) * run->blocks_a_piece < blocks(l) ? (piece + 1) * run->blocks_a_piece : blocks(l);
    float *spare = run->spare + (long)thread * run->rows * BLOCK;
    for (long block = piece * run->blocks_a_piece; block < end; block++) {
        for (int half = 0; half <= run->gates; half++) {
            const Linear *own = l + half;
            float *to = run->adds || half ? spare : run->out[part] + block * BLOCK;
            const long stride = run->adds || half ? BLOCK : run->out_stride;
            kernels->block(own, block, run->rounded, run->out_rows, to, stride);
            for (int adapter = 0; adapter < run->step->adapters; adapter++) {
                const Lora *lora = &run->step->loras[adapter][run->first_linear + part + half];
                const int *rows;
                const int count = adapter_rows(run, adapter, &rows);
                if (lora->rank)
                    kernels->lora_up(lora, block,
                                     run->h + (long)(part + half) * run->rows * run->most_rank, run->most_rank, rows,
                                     count, to, stride);
            }
        }
        if (run->adds)
            for (int row = 0; row < run->out_rows; row++)
                for (int i = 0; i < BLOCK; i++)
                    run->out[part][row * run->out_stride + block * BLOCK + i] += spare[row * BLOCK + i];
        if (run->gates)
            for (int row = 0; row < run->out_rows; row++)
                kernels->gated(run->out[part] + row * run->out_stride + block * BLOCK, spare + row * BLOCK);
    }
}

static int tiles(const Run *run) { return (run->out_rows + run->kernels->rows - 1) / run->kernels->rows; }

/* One piece: a tile of the product's input. */
static void round_piece(void *context, int tile, int thread) {
    (void)thread;
    Run *run = context;
    const Linear *l = linear(run, 0);
    const int least = run->out_rows / tiles(run), larger = run->out_rows % tiles(run);
    run->kernels->round(run->x, run->x_stride, l->inputs, l->bits == 4, run->out_rows,
                        tile * least + (tile < larger ? tile : larger), run->rounded);
}

static void small(Work work, Run *run, int pieces) {
    if (run->rows > ALONE) {
        run_pieces(work, run, pieces);
        return;
    }
    for (int piece = 0; piece < pieces; piece++) work(run, piece, 0);
}

#define RANKS_A_PIECE 8

/* One piece: some ranks of one adapter at one linear layer. */
static void down_piece(void *context, int piece, int thread) {
    (void)thread;
    Run *run = context;
    const int parts = run->parts + run->gates;
    const int chunks = (run->most_rank + RANKS_A_PIECE - 1) / RANKS_A_PIECE;
    const int first = piece % chunks * RANKS_A_PIECE;
    const int part = piece / chunks % parts, adapter = piece / chunks / parts;
    const Lora *lora = &run->step->loras[adapter][run->first_linear + part];
    const int end = first + RANKS_A_PIECE < lora->rank ? first + RANKS_A_PIECE : lora->rank;
    const int *rows;
    const int count = adapter_rows(run, adapter, &rows);
    if (first < end)
        run->kernels->lora_down(lora, linear(run, part)->inputs, first, end, run->x, run->x_stride, rows, count,
                                run->h + (long)part * run->rows * run->most_rank, run->most_rank);
}

/* out[part] = x @ the weights of each part, with each row's adapter; `adds`: added to what is there. */
static void product(Run *run, int first_linear, int parts, int adds, int gates, const float *x, long x_stride,
                    int rows) {
    run->first_linear = first_linear;
    run->parts = parts;
    run->adds = adds;
    run->gates = gates;
    run->x = x;
    run->x_stride = x_stride;
    run->out_rows = rows;
    long all = 0;
    for (int part = 0; part < parts; part++) all += blocks(linear(run, part));
    run->blocks_a_piece = 1 + all / (run->threads * 12);
    int pieces = 0;
    small(round_piece, run, tiles(run));
    for (int part = 0; part < parts; part++)
        pieces += (blocks(linear(run, part)) + run->blocks_a_piece - 1) / run->blocks_a_piece;
    if (run->step->adapters && run->most_rank)
        run_pieces(down_piece, run,
                   run->step->adapters * (parts + gates) * ((run->most_rank + RANKS_A_PIECE - 1) / RANKS_A_PIECE));
    run_pieces(product_piece, run, pieces);
}

static void embed_piece(void *context, int row, int thread) {
    (void)thread;
    Run *run = context;
    const Model *model = run->model;
    const long token = run->step->tokens[row];
    float *to = run->hidden + row * run->wide_hidden;
    if (model->embedding) {
        for (int k = 0; k < model->hidden; k++) to[k] = one_as(model->embedding, token * model->hidden + k, BFLOAT16);
        return;
    }
    const Linear *head = &model->linears[model->layers * LINEARS];
    const long block = token / BLOCK, column = token % BLOCK;
    const long groups = (head->inputs + GROUP - 1) / GROUP;
    const uint8_t *w = (const uint8_t *)head->weights + block * groups * GROUP * BLOCK * head->bits / 8;
    const uint16_t *scales = head->scales + block * groups * BLOCK + column;
    for (int k = 0; k < model->hidden; k++) {
        int weight;
        if (head->bits == 8) {
            weight = ((const int8_t *)w)[(k / 2 * BLOCK + column) * 2 + k % 2];
        } else {
            const int nibble = k % 8 / 2;
            const uint8_t both = w[((k / 8 * BLOCK + column) * 2 + k % 2) * 2 + nibble / 2];
            weight = (nibble % 2 ? both >> 4 : both & 15) - 8;
        }
        to[k] = weight * one_as(scales, (long)(k / GROUP) * BLOCK, FLOAT16);
    }
}

static void norm_piece(void *context, int row, int thread) {
    (void)thread;
    Run *run = context;
    run->kernels->norm(run->hidden + row * run->wide_hidden, run->norm, run->model->epsilon, run->model->hidden,
                       run->normed + row * run->wide_hidden);
}

/* Rotary embedding of one row's queries and keys in place, and its keys and values into its slot. */
static void rotate_piece(void *context, int row, int thread) {
    (void)thread;
    Run *run = context;
    const Model *model = run->model;
    const Step *step = run->step;
    const int size = model->size, half = size / 2;
    float *qkv = run->qkv + row * run->wide_qkv;
    const float *cosines = step->cosines + (long)row * size, *sines = step->sines + (long)row * size;
    const float *const *norms = model->norms + run->layer * 4;
    float *keys = run->out[1] + row * run->wide_qkv, *values = run->out[2] + row * run->wide_qkv;
    for (int head = 0; head < model->heads + model->kv_heads; head++) {
        const int is_key = head >= model->heads;
        float *x = is_key ? keys + (head - model->heads) * size : qkv + head * size;
        const float *weight = norms[is_key ? 3 : 2];
        if (weight) run->kernels->norm(x, weight, model->epsilon, size, x);
        for (int i = 0; i < half; i++) {
            const float a = x[i], b = x[i + half];
            x[i] = a * cosines[i] - b * sines[i];
            x[i + half] = b * cosines[i + half] + a * sines[i + half];
        }
    }
    const long places = step->places[row], position = step->positions[row];
    float *slot = step->keys[row] + run->layer * step->layer_stride[row];
    for (int head = 0; head < model->kv_heads; head++) {
        memcpy(slot + (head * places + position) * size, keys + head * size, size * sizeof *slot);
        memcpy(slot + ((model->kv_heads + head) * places + position) * size, values + head * size,
               size * sizeof *slot);
    }
}

static void attend_piece(void *context, int piece, int thread) {
    Run *run = context;
    const Model *model = run->model;
    const Step *step = run->step;
    const int row = piece / model->kv_heads, head = piece % model->kv_heads;
    const int together = model->heads / model->kv_heads, size = model->size;
    const long places = step->places[row];
    const float *keys = step->keys[row] + run->layer * step->layer_stride[row] + head * places * size;
    run->kernels->attend(run->qkv + row * run->wide_qkv + head * together * size, together, size, keys,
                         keys + model->kv_heads * places * size, step->positions[row] + 1, model->attention_scale,
                         run->scores + (long)thread * together * whole(step->longest),
                         run->attended + row * run->wide_attended + head * together * size);
}

static void normalise(Run *run, const float *weight) {
    run->norm = weight;
    small(norm_piece, run, run->rows);
}

static int compute(const Model *model, const Step *step, int threads) {
    Run run = {.model = model, .step = step, .rows = step->rows, .threads = threads};
    run.kernels = KERNELS[model->instructions];
    const long q = whole((long)model->heads * model->size), kv = whole((long)model->kv_heads * model->size);
    run.wide_hidden = whole(model->hidden);
    run.wide_qkv = q + 2 * kv;
    run.wide_attended = whole((long)model->heads * model->size);
    run.wide_inner = whole(model->inner);
    for (int adapter = 0; adapter < step->adapters; adapter++)
        for (int i = 0; i <= model->layers * LINEARS; i++)
            if (step->loras[adapter][i].rank > run.most_rank) run.most_rank = step->loras[adapter][i].rank;
    const long rows = step->rows;
    long widest = run.wide_hidden;
    if (run.wide_attended > widest) widest = run.wide_attended;
    if (run.wide_inner > widest) widest = run.wide_inner;
    const long groups = (widest + GROUP - 1) / GROUP;
    const long wanted[] = {rows * run.wide_hidden, rows * run.wide_hidden, rows * run.wide_qkv,
                           rows * run.wide_attended, rows * run.wide_inner,
                           (long)MOST_PARTS * rows * run.most_rank + 1,
                           (long)threads * (model->heads / model->kv_heads) * whole(step->longest),
                           threads * rows * BLOCK, rows * groups * GROUP / 2, rows * groups, rows * groups};
    void *const places[] = {&run.hidden, &run.normed, &run.qkv,   &run.attended,       &run.inner,         &run.h,
                            &run.scores, &run.spare,  &run.rounded.values, &run.rounded.scales, &run.rounded.starts};
    const int many = sizeof wanted / sizeof *wanted;
    long total = 0;
    for (int i = 0; i < many; i++) total += whole(wanted[i]);
    float *memory = aligned_alloc(64, total * sizeof(float));
    if (!memory) return 1;
    float *next = memory;
    for (int i = 0; i < many; i++) {
        *(float **)places[i] = next;
        next += whole(wanted[i]);
    }
    use_threads(threads);
    run.adapter_rows = step->adapter_rows;
    run.adapter_ends = step->adapter_ends;
    small(embed_piece, &run, run.rows);
    for (int layer = 0; layer < model->layers; layer++) {
        run.layer = layer;
        const int first = layer * LINEARS;
        const float *const *norms = model->norms + layer * 4;
        normalise(&run, norms[0]);
        run.out[0] = run.qkv;
        run.out[1] = run.qkv + q;
        run.out[2] = run.qkv + q + kv;
        run.out_stride = run.wide_qkv;
        product(&run, first + Q, 3, 0, 0, run.normed, run.wide_hidden, run.rows);
        small(rotate_piece, &run, run.rows);
        run_pieces(attend_piece, &run, run.rows * model->kv_heads);
        run.out[0] = run.hidden;
        run.out_stride = run.wide_hidden;
        product(&run, first + O, 1, 1, 0, run.attended, run.wide_attended, run.rows);
        normalise(&run, norms[1]);
        run.out[0] = run.inner;
        run.out_stride = run.wide_inner;
        product(&run, first + GATE, 1, 0, 1, run.normed, run.wide_hidden, run.rows);
        run.out[0] = run.hidden;
        run.out_stride = run.wide_hidden;
        product(&run, first + DOWN, 1, 1, 0, run.inner, run.wide_inner, run.rows);
    }
    if (step->logits) {
        for (int i = 0; i < step->logits; i++)
            run.kernels->norm(run.hidden + step->logits_rows[i] * run.wide_hidden, model->norms[model->layers * 4],
                              model->epsilon, model->hidden, run.normed + i * run.wide_hidden);
        run.adapter_rows = step->logits_adapter_rows;
        run.adapter_ends = step->logits_adapter_ends;
        run.out[0] = step->out;
        run.out_stride = whole(model->vocabulary);
        product(&run, model->layers * LINEARS, 1, 0, 0, run.normed, run.wide_hidden, step->logits);
    }
    free(memory);
    return 0;
}

/* Compute the logits of a step. Returns 0, or 1 where memory is short. Callers wait for one another. */
int thumbloop_step(const Model *model, const Step *step, int threads) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one_at_a_time);
    const int failed = compute(model, step, threads);
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}
