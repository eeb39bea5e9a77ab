/* The pixels of a chunk that may be among the best of a search.

   Called through ctypes by `best.py`, like `products.c`, with which it is one library. Weights are
   whole numbers of 16 bits here, so that sums with codes are exact in 32 and two products cost one
   instruction; how far they are off is known, and who may be the best is scored again: exactly. */

#include <math.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define FAST __attribute__((target("avx2")))
#else
#define FAST
#endif

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* Pixels whose codes are paired at once, a line of the cache; those that are summed up side by side;
   and what is larger nowhere. */
#define AT_ONCE 64
#define WIDTH 16
#define MOST_DIMS 512
#define MOST_SIDE 512

/* What is looked for. `weights` (pairs, queries) are those of the rough product, in units of their
   query, for two values of an embedding each; `exact` (queries, dims) are those of the score. */
typedef struct {
    int64_t dims, queries, by_length;
    const int32_t *weights;
    const double *exact, *biases, *units, *margins;
} Search;

/* A tile: which pixels count, and their scales, in rows of `side` pixels; the largest of those; its
   first row and column on the lattice; the side of the squares of ground that have one hit. */
typedef struct {
    const uint8_t *known;
    const float *scales;
    int64_t side, row, col, square;
    double largest;
} Ground;

/* A pixel that may be among the best: its exact score, and its place on the lattice. */
typedef struct {
    double score;
    int32_t query, row, col;
} Found;

/* Memory for the scores of a chunk (queries, pixels), two numbers of each pixel, and what is found. */
typedef struct {
    float *rough, *factors, *best;
    Found *found;
} Room;

/* Sums of COUNT queries over WIDTH pixels, from values (pairs, AT_ONCE, 2). */
#if defined(__x86_64__)
#define SUMS(COUNT)                                                                                \
    FAST static inline __attribute__((always_inline)) void sums_##COUNT(                           \
        const int16_t *values, int64_t pairs, const int32_t *weights, int64_t queries,             \
        const float *factors, float *out, int64_t pixels)                                          \
    {                                                                                              \
        __m256i left[COUNT], right[COUNT];                                                         \
        for (int each = 0; each < COUNT; each++) left[each] = right[each] = _mm256_setzero_si256();\
        for (int64_t pair = 0; pair < pairs; pair++) {                                             \
            const __m256i *of = (const void *)(values + pair * 2 * AT_ONCE);                       \
            __m256i one = _mm256_load_si256(of), other = _mm256_load_si256(of + 1);                \
            for (int each = 0; each < COUNT; each++) {                                             \
                __m256i weight = _mm256_set1_epi32(weights[pair * queries + each]);                \
                left[each] = _mm256_add_epi32(left[each], _mm256_madd_epi16(one, weight));         \
                right[each] = _mm256_add_epi32(right[each], _mm256_madd_epi16(other, weight));     \
            }                                                                                      \
        }                                                                                          \
        __m256 one = _mm256_loadu_ps(factors), other = _mm256_loadu_ps(factors + 8);               \
        for (int each = 0; each < COUNT; each++) {                                                 \
            float *to = out + each * pixels;                                                       \
            _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(left[each]), one));              \
            _mm256_storeu_ps(to + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(right[each]), other));       \
        }                                                                                          \
    }
#else
#define SUMS(COUNT)                                                                                \
    static inline void sums_##COUNT(const int16_t *values, int64_t pairs, const int32_t *weights,  \
                                    int64_t queries, const float *factors, float *out,             \
                                    int64_t pixels)                                                \
    {                                                                                              \
        for (int each = 0; each < COUNT; each++) {                                                 \
            int32_t sums[WIDTH] = {0};                                                             \
            for (int64_t pair = 0; pair < pairs; pair++) {                                         \
                const int16_t *of = values + pair * 2 * AT_ONCE;                                   \
                const int16_t *weight = (const int16_t *)(weights + pair * queries + each);        \
                for (int pixel = 0; pixel < WIDTH; pixel++)                                        \
                    sums[pixel] += weight[0] * of[2 * pixel] + weight[1] * of[2 * pixel + 1];      \
            }                                                                                      \
            for (int pixel = 0; pixel < WIDTH; pixel++)                                            \
                out[each * pixels + pixel] = (float)sums[pixel] * factors[pixel];                  \
        }                                                                                          \
    }
#endif

SUMS(4)
SUMS(1)

/* Codes (dims, pixels) of AT_ONCE pixels as values (pairs, AT_ONCE, 2). */
FAST static inline void pair_up(const int8_t *codes, int64_t dims, int64_t pixels, int16_t *values)
{
    static const int8_t none[AT_ONCE];
    for (int64_t band = 0; band < dims; band += 2) {
        const int8_t *one = codes + band * pixels, *other = band + 1 < dims ? one + pixels : none;
        int16_t *to = values + band * AT_ONCE;
#if defined(__x86_64__)
        for (int pixel = 0; pixel < AT_ONCE; pixel += 16) {
            __m128i left = _mm_loadu_si128((const void *)(one + pixel));
            __m128i right = _mm_loadu_si128((const void *)(other + pixel));
            __m256i *at = (void *)(to + 2 * pixel);
            _mm256_store_si256(at, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(left, right)));
            _mm256_store_si256(at + 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(left, right)));
        }
#else
        for (int pixel = 0; pixel < AT_ONCE; pixel++) {
            to[2 * pixel] = one[pixel];
            to[2 * pixel + 1] = other[pixel];
        }
#endif
    }
}

/* Factors of AT_ONCE pixels, divided by the length of their codes. */
FAST static inline void divide_by_length(const int16_t *values, int64_t pairs, float *factors)
{
    int32_t sums[AT_ONCE] = {0};
    for (int64_t pair = 0; pair < pairs; pair++) {
        const int16_t *of = values + pair * 2 * AT_ONCE;
#if defined(__x86_64__)
        for (int pixel = 0; pixel < AT_ONCE; pixel += 8) {
            __m256i value = _mm256_load_si256((const void *)(of + 2 * pixel));
            __m256i *sum = (void *)(sums + pixel);
            _mm256_storeu_si256(sum, _mm256_add_epi32(_mm256_loadu_si256(sum),
                                                      _mm256_madd_epi16(value, value)));
        }
#else
        for (int pixel = 0; pixel < AT_ONCE; pixel++)
            sums[pixel] += of[2 * pixel] * of[2 * pixel] + of[2 * pixel + 1] * of[2 * pixel + 1];
#endif
    }
    for (int pixel = 0; pixel < AT_ONCE; pixel++) factors[pixel] /= sqrtf((float)sums[pixel]);
}

/* Rough scores of a chunk, without biases and in units of their query, at `room->rough`; no number
   where a pixel does not count, or its codes have no direction. */
FAST static void rough_scores(const Search *search, const Ground *ground, const int8_t *codes,
                              int64_t side, int64_t row, int64_t col, const Room *room)
{
    int64_t pixels = side * side, pairs = (search->dims + 1) / 2, queries = search->queries;
    const int32_t *weights = search->weights;
    int16_t values[MOST_DIMS * AT_ONCE] __attribute__((aligned(64)));
    for (int64_t down = 0; down < side; down++) {
        const uint8_t *known = ground->known + (row + down) * ground->side + col;
        const float *scales = ground->scales + (row + down) * ground->side + col;
        float *factors = room->factors + down * side;
        for (int64_t across = 0; across < side; across++)
            factors[across] = known[across] ? search->by_length ? 1 : scales[across] : NAN;
    }
    for (int64_t start = 0; start < pixels; start += AT_ONCE) {
        pair_up(codes + start, search->dims, pixels, values);
        if (search->by_length) divide_by_length(values, pairs, room->factors + start);
        for (int64_t part = 0; part < AT_ONCE; part += WIDTH) {
            const int16_t *of = values + 2 * part;
            const float *factors = room->factors + start + part;
            float *to = room->rough + start + part;
            int64_t query = 0;
            for (; query + 4 <= queries; query += 4)
                sums_4(of, pairs, weights + query, queries, factors, to + query * pixels, pixels);
            for (; query < queries; query++)
                sums_1(of, pairs, weights + query, queries, factors, to + query * pixels, pixels);
        }
    }
}

/* The score of a pixel. The weights have so few bits that its sums are exact. */
static double exact_score(const Search *search, int64_t query, const int8_t *codes, int64_t pixels,
                          double scale)
{
    double sum = 0, square = 0;
    for (int64_t band = 0; band < search->dims; band++) {
        double code = codes[band * pixels];
        sum += search->exact[query * search->dims + band] * code;
        square += code * code;
    }
    return (search->by_length ? sum / sqrt(square) : sum * scale) + search->biases[query];
}

/* Pixels of a chunk that may be the best of their square, and no worse than their query's limit: how
   many there are. Codes (dims, side, side) stand at `row` and `col` of the tile. */
FAST PUBLIC int64_t tessera_best_pixels(const Search *search, const Ground *ground,
                                        const int8_t *codes, int64_t side, int64_t row, int64_t col,
                                        const double *limits, const Room *room)
{
    int64_t pixels = side * side, square = ground->square, found = 0;
    int64_t top = ground->row + row, left = ground->col + col;
    int32_t column[MOST_SIDE];
    int64_t width = (left + side - 1) / square - left / square + 1;
    int64_t height = (top + side - 1) / square - top / square + 1;
    for (int64_t across = 0; across < side; across++)
        column[across] = (int32_t)((left + across) / square - left / square);
    rough_scores(search, ground, codes, side, row, col, room);
    for (int64_t query = 0; query < search->queries; query++) {
        const float *rough = room->rough + query * pixels;
        double margin = search->margins[query] * (search->by_length ? 1 : ground->largest);
        double least = (limits[query] - search->biases[query]) / search->units[query];
        /* Rounded to single precision, it must not rise. */
        least = least - margin - fabs(least) * 0x1p-22;
        float lowest = (float)least;
        int32_t number = 0;
        for (int64_t pixel = 0; pixel < pixels; pixel++) number += rough[pixel] >= lowest;
        if (!number) continue;
        for (int64_t each = 0; each < width * height; each++) room->best[each] = -INFINITY;
        for (int64_t down = 0; down < side; down++) {
            float *best = room->best + ((top + down) / square - top / square) * width;
            for (int64_t across = 0; across < side; across++)
                if (rough[down * side + across] > best[column[across]])
                    best[column[across]] = rough[down * side + across];
        }
        for (int64_t down = 0; down < side; down++) {
            const float *best = room->best + ((top + down) / square - top / square) * width;
            for (int64_t across = 0; across < side; across++) {
                int64_t pixel = down * side + across;
                if (!(rough[pixel] >= lowest)) continue;
                if (rough[pixel] < best[column[across]] - 2 * margin) continue;
                double scale = ground->scales[(row + down) * ground->side + col + across];
                double score = exact_score(search, query, codes + pixel, pixels, scale);
                room->found[found++] = (Found){score, (int32_t)query, (int32_t)(top + down),
                                               (int32_t)(left + across)};
            }
        }
    }
    return found;
}
