/* The product of a head's weights and the int8 codes of embeddings, bands first.

   Plain C without Python's headers: `products.py` calls it through ctypes, which lets go of the
   interpreter's lock meanwhile. Sums go through the values of an embedding one after the other, and
   nothing is contracted (-ffp-contract=off), so that every processor comes to the same bits. */

#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* Pixels of a register: with AVX2 on x86-64, else of 16 bytes. */
#if defined(__x86_64__)
#define LANES 8
#define FAST __attribute__((target("avx2")))
#else
#define LANES 4
#define FAST
#endif

/* Pixels that are summed up side by side, and those whose codes are cast at once. */
#define WIDTH (2 * LANES)
#define AT_ONCE 32
#define MOST_DIMS 512

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4)));

/* Raised whenever a signature changes, so that an old build is not called by new Python; 0 where
   the processor has not the instructions. */
PUBLIC int32_t tessera_products_version(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) return 0;
#endif
    return 2;
}

/* Rows `first` to `first` + COUNT of some pixels: weights (dims, rows) times values (dims, AT_ONCE),
   times the pixels' scales, plus the rows' bias, put at `out`, whose rows lie `pixels` apart. */
#define ROWS(COUNT)                                                                                \
    FAST static inline __attribute__((always_inline)) void rows_##COUNT(                           \
        const float *values, int64_t dims, const float *weight, const float *bias, int64_t rows,   \
        int64_t first, const float *scales, float *out, int64_t pixels)                            \
    {                                                                                              \
        Floats left[COUNT], right[COUNT];                                                          \
        for (int row = 0; row < COUNT; row++) left[row] = right[row] = (Floats){0};                \
        for (int64_t band = 0; band < dims; band++) {                                              \
            const float *of = weight + band * rows + first;                                        \
            Floats one = *(const Loose *)(values + band * AT_ONCE);                                \
            Floats other = *(const Loose *)(values + band * AT_ONCE + LANES);                      \
            for (int row = 0; row < COUNT; row++) {                                                \
                left[row] += of[row] * one;                                                        \
                right[row] += of[row] * other;                                                     \
            }                                                                                      \
        }                                                                                          \
        Floats one = *(const Loose *)scales, other = *(const Loose *)(scales + LANES);             \
        for (int row = 0; row < COUNT; row++) {                                                    \
            float *to = out + (first + row) * pixels;                                              \
            *(Loose *)to = left[row] * one + bias[first + row];                                    \
            *(Loose *)(to + LANES) = right[row] * other + bias[first + row];                       \
        }                                                                                          \
    }

ROWS(6)
ROWS(4)
ROWS(2)
ROWS(1)

/* Codes of LANES pixels, as floats. */
FAST static inline __attribute__((always_inline)) Floats cast(const int8_t *codes)
{
#if defined(__x86_64__)
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)codes)));
#else
    return (Floats){codes[0], codes[1], codes[2], codes[3]};
#endif
}

/* Bands `band` to `band` + COUNT of a head of one row, added to the sums of all pixels. Rows of codes
   are read from one end to the other: columns of a whole chunk would fall on few lines of the cache. */
#define BANDS 8
#define ADD(NAME, WITH_SQUARES)                                                                    \
    FAST static inline __attribute__((always_inline)) void add_##NAME(                             \
        const int8_t *codes, int64_t pitch, int64_t pixels, const float *weight, int count,        \
        float *out, float *squares)                                                                \
    {                                                                                              \
        for (int64_t pixel = 0; pixel < pixels; pixel += LANES) {                                  \
            Floats sum = *(const Loose *)(out + pixel), square = {0};                              \
            if (WITH_SQUARES) square = *(const Loose *)(squares + pixel);                          \
            for (int band = 0; band < count; band++) {                                             \
                Floats value = cast(codes + band * pitch + pixel);                                 \
                sum += weight[band] * value;                                                       \
                if (WITH_SQUARES) square += value * value;                                         \
            }                                                                                      \
            *(Loose *)(out + pixel) = sum;                                                         \
            if (WITH_SQUARES) *(Loose *)(squares + pixel) = square;                                \
        }                                                                                          \
    }

/* The same for a head of one row. Each sum is taken in the same order as by rows_1. */
#define ONE_ROW(NAME, WITH_SQUARES)                                                                \
    ADD(NAME, WITH_SQUARES)                                                                        \
    FAST static void NAME(const int8_t *codes, int64_t pitch, int64_t dims, int64_t pixels,        \
                          const float *weight, float bias, const float *scales, float *out,        \
                          float *squares)                                                          \
    {                                                                                              \
        for (int64_t pixel = 0; pixel < pixels; pixel++) out[pixel] = 0;                           \
        for (int64_t pixel = 0; WITH_SQUARES && pixel < pixels; pixel++) squares[pixel] = 0;       \
        int64_t band = 0;                                                                          \
        for (; band + BANDS <= dims; band += BANDS)                                                \
            add_##NAME(codes + band * pitch, pitch, pixels, weight + band, BANDS, out, squares);   \
        add_##NAME(codes + band * pitch, pitch, pixels, weight + band, (int)(dims - band), out,    \
                   squares);                                                                       \
        for (int64_t pixel = 0; pixel < pixels; pixel++)                                           \
            out[pixel] = out[pixel] * scales[pixel] + bias;                                        \
    }

ONE_ROW(one_row, 0)
ONE_ROW(one_row_and_squares, 1)

/* Codes (dims, pixels) to `out` (rows, pixels), and to the sum of their squares where `squares` is
   not null. The number of pixels is a multiple of `AT_ONCE`, that of dims `MOST_DIMS` at most. */
FAST PUBLIC void tessera_head_rows(const int8_t *codes, int64_t pitch, int64_t dims, int64_t pixels,
                                   const float *weight, const float *bias, int64_t rows,
                                   const float *scales, float *out, float *squares)
{
    if (rows == 1 && squares) {
        one_row_and_squares(codes, pitch, dims, pixels, weight, *bias, scales, out, squares);
        return;
    }
    if (rows == 1) {
        one_row(codes, pitch, dims, pixels, weight, *bias, scales, out, squares);
        return;
    }
    float values[MOST_DIMS * AT_ONCE] __attribute__((aligned(64)));
    for (int64_t start = 0; start < pixels; start += AT_ONCE) {
        for (int64_t band = 0; band < dims; band++)
            for (int pixel = 0; pixel < AT_ONCE; pixel++)
                values[band * AT_ONCE + pixel] = (float)codes[band * pitch + start + pixel];
        for (int part = 0; part < AT_ONCE; part += WIDTH) {
            const float *of = values + part, *scale = scales + start + part;
            float *to = out + start + part;
            int64_t row = 0;
            for (; row + 6 <= rows; row += 6)
                rows_6(of, dims, weight, bias, rows, row, scale, to, pixels);
            for (; row + 4 <= rows; row += 4)
                rows_4(of, dims, weight, bias, rows, row, scale, to, pixels);
            for (; row + 2 <= rows; row += 2)
                rows_2(of, dims, weight, bias, rows, row, scale, to, pixels);
            for (; row < rows; row++) rows_1(of, dims, weight, bias, rows, row, scale, to, pixels);
        }
        if (squares) {
            float *sums = squares + start;
            for (int pixel = 0; pixel < AT_ONCE; pixel++) sums[pixel] = 0;
            for (int64_t band = 0; band < dims; band++)
                for (int pixel = 0; pixel < AT_ONCE; pixel++) {
                    float value = values[band * AT_ONCE + pixel];
                    sums[pixel] += value * value;
                }
        }
    }
}
