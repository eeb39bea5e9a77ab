/* The loops over pixels between a block's inflated bytes and an annual stack.

   Plain C without Python's headers: `kernels.py` calls it through ctypes, which lets go of the
   interpreter's lock meanwhile, and has the same in numpy. What both compute is equal bit for bit, so
   floating point must not be contracted (-ffp-contract=off) nor reordered. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* Raised whenever a signature changes, so that an old build is not called by new Python. */
PUBLIC int32_t tessera_kernels_version(void) { return 1; }

/* Rows and columns of a block, and where they go: `top` to `bottom` and `left` to `right` of `raw`,
   rows of `width` pixels, are put at `out`, whose rows lie `pitch` pixels apart. With `differences`
   each pixel of a row is the difference to the one before it (TIFF 6.0, predictor 2). */

#define PASTE(NAME, TYPE)                                                                          \
    PUBLIC void NAME(const TYPE *raw, int64_t width, int64_t top, int64_t bottom, int64_t left,    \
                     int64_t right, int32_t differences, TYPE *out, int64_t pitch)                 \
    {                                                                                              \
        for (int64_t row = top; row < bottom; row++, out += pitch) {                               \
            const TYPE *line = raw + row * width;                                                  \
            if (!differences) {                                                                    \
                memcpy(out, line + left, (size_t)(right - left) * sizeof(TYPE));                   \
                continue;                                                                          \
            }                                                                                      \
            TYPE sum = 0;                                                                          \
            for (int64_t col = 0; col < left; col++) sum = (TYPE)(sum + line[col]);                \
            for (int64_t col = left; col < right; col++)                                           \
                out[col - left] = sum = (TYPE)(sum + line[col]);                                   \
        }                                                                                          \
    }

PASTE(paste_uint8, uint8_t)
PASTE(paste_uint16, uint16_t)
PASTE(paste_uint32, uint32_t)

/* Running sums of bytes, in place. */
static void sum_bytes(uint8_t *line, int64_t size)
{
    int64_t at = 0;
    uint8_t sum = 0;
#if defined(__SSE2__)
    __m128i carry = _mm_setzero_si128();
    for (; at + 16 <= size; at += 16) {
        __m128i part = _mm_loadu_si128((const __m128i *)(line + at));
        part = _mm_add_epi8(part, _mm_slli_si128(part, 1));
        part = _mm_add_epi8(part, _mm_slli_si128(part, 2));
        part = _mm_add_epi8(part, _mm_slli_si128(part, 4));
        part = _mm_add_epi8(part, _mm_slli_si128(part, 8));
        part = _mm_add_epi8(part, carry);
        _mm_storeu_si128((__m128i *)(line + at), part);
        carry = _mm_set1_epi8((char)line[at + 15]);
    }
    if (at) sum = line[at - 1];
#endif
    for (; at < size; at++) line[at] = sum = (uint8_t)(sum + line[at]);
}

/* Floats of 32 bits whose bytes lie in each row sorted by significance and as differences (TIFF
   Technical Note 3, predictor 3). `raw` is overwritten. */
PUBLIC void paste_floats(uint8_t *raw, int64_t width, int64_t top, int64_t bottom, int64_t left,
                         int64_t right, uint32_t *out, int64_t pitch)
{
    for (int64_t row = top; row < bottom; row++, out += pitch) {
        uint8_t *line = raw + row * width * 4;
        sum_bytes(line, width * 4);
        const uint8_t *a = line, *b = a + width, *c = b + width, *d = c + width;
        for (int64_t col = left; col < right; col++)
            out[col - left] = (uint32_t)a[col] << 24 | (uint32_t)b[col] << 16 |
                              (uint32_t)c[col] << 8 | d[col];
    }
}

/* One band of a scene: pixels of which the first lies in row `top` and column `left` of the raster,
   rows `pitch` pixels apart. `mode`: how it comes to the lattice. */
typedef struct {
    const uint16_t *pixels;
    int64_t pitch, top, left, mode;
} Band;

enum { SAME = 0, HALF_NEAREST = 1, HALF_BILINEAR = 2 };
enum { OFFSET_KEPT = 0, OFFSET_FROM_IT_UP = 1, OFFSET_REMOVED = 2 };

/* Between four pixels of 20 m; a pixel without data, 0, has no weight, and none where the nearest
   has none. */
static uint16_t between(uint32_t near, uint32_t side, uint32_t above, uint32_t corner)
{
    uint32_t sum = 9 * near + 3 * side + 3 * above + corner;
    if (near && side && above && corner) return (uint16_t)((sum + 8) >> 4);
    if (!near) return 0;
    uint32_t weight = 9 + (side ? 3 : 0) + (above ? 3 : 0) + (corner ? 1 : 0);
    float value = ((float)sum / 16.0f) / ((float)weight / 16.0f);
    return (uint16_t)floorf(value + 0.5f);
}

/* The same for columns `first` to `last` of two rows without a gap, each to two columns of `out`. */
static void between_full(const uint16_t *near, const uint16_t *above, int64_t first, int64_t last,
                         uint16_t *out)
{
    for (int64_t at = first; at < last; at++, out += 2) {
        uint32_t before = 3u * near[at - 1] + above[at - 1];
        uint32_t here = 3u * near[at] + above[at];
        uint32_t after = 3u * near[at + 1] + above[at + 1];
        out[0] = (uint16_t)((3u * here + before + 8) >> 4);
        out[1] = (uint16_t)((3u * here + after + 8) >> 4);
    }
}

/* Whether all pixels of columns `first` to `last` have data. */
static int is_full(const uint16_t *line, int64_t first, int64_t last)
{
    int gaps = 0;
    for (int64_t at = first; at < last; at++) gaps |= line[at] == 0;
    return !gaps;
}

/* Columns `col` to `col + width` of row `row` of the 10 m lattice, counted from the raster's corner. */
static void lattice_row(const Band *band, int64_t row, int64_t col, int64_t width, uint16_t *out)
{
    if (band->mode == SAME) {
        memcpy(out, band->pixels + (row - band->top) * band->pitch + (col - band->left),
               (size_t)width * sizeof(uint16_t));
        return;
    }
    int64_t near_row = row >> 1;
    const uint16_t *near = band->pixels + (near_row - band->top) * band->pitch - band->left;
    if (band->mode == HALF_NEAREST) {
        for (int64_t x = 0; x < width; x++) out[x] = near[(col + x) >> 1];
        return;
    }
    const uint16_t *above = near + ((row & 1) ? band->pitch : -band->pitch);
    int64_t x = 0;
    if (col & 1) {
        int64_t at = col >> 1;
        out[x++] = between(near[at], near[at + 1], above[at], above[at + 1]);
    }
    int64_t first = (col + x) >> 1, last = first + (width - x) / 2;
    if (is_full(near, first - 1, last + 1) && is_full(above, first - 1, last + 1)) {
        between_full(near, above, first, last, out + x);
        x += 2 * (last - first);
    }
    for (; x + 1 < width; x += 2) {
        int64_t at = (col + x) >> 1;
        out[x] = between(near[at], near[at - 1], above[at], above[at - 1]);
        out[x + 1] = between(near[at], near[at + 1], above[at], above[at + 1]);
    }
    if (x < width) {
        int64_t at = (col + x) >> 1;
        out[x] = between(near[at], near[at - 1], above[at], above[at - 1]);
    }
}

/* Ten rows of values side by side, at the places that are wanted. */
static void interleave_ten(const uint16_t *lines, int64_t width, const uint8_t *here,
                           uint16_t *out)
{
    for (int64_t x = 0; x < width; x++, out += 10) {
        if (here && !here[x]) continue;
        const uint16_t *value = lines + x;
        uint16_t pixel[10];
        for (int b = 0; b < 10; b++) pixel[b] = value[b * width];
        memcpy(out, pixel, sizeof pixel);
    }
}

static void take_offset(uint16_t *line, int64_t width, int32_t rule, uint16_t offset)
{
    if (rule == OFFSET_FROM_IT_UP)
        for (int64_t x = 0; x < width; x++)
            line[x] = (uint16_t)(line[x] - (line[x] >= offset ? offset : 0));
    if (rule == OFFSET_REMOVED)
        for (int64_t x = 0; x < width; x++) {
            uint16_t lowered = line[x] > offset ? (uint16_t)(line[x] - offset) : 1;
            line[x] = line[x] ? lowered : 0;
        }
}

/* The bands of a scene, side by side in each pixel of `out`, whose rows lie `pitch` values apart,
   where `mine` is not 0, or everywhere without it. `lines` has room for a row of every band. */
PUBLIC void join_bands(const Band *bands, int64_t count, int64_t row, int64_t col, int64_t height,
                       int64_t width, const uint8_t *mine, int64_t mine_pitch, int32_t rule,
                       int32_t offset, uint16_t *lines, uint16_t *out, int64_t pitch)
{
    for (int64_t y = 0; y < height; y++, out += pitch) {
        for (int64_t b = 0; b < count; b++) {
            lattice_row(bands + b, row + y, col, width, lines + b * width);
            take_offset(lines + b * width, width, rule, (uint16_t)offset);
        }
        const uint8_t *here = mine ? mine + y * mine_pitch : 0;
        if (count == 10) {
            interleave_ten(lines, width, here, out);
            continue;
        }
        for (int64_t x = 0; x < width; x++) {
            if (here && !here[x]) continue;
            for (int64_t b = 0; b < count; b++) out[x * count + b] = lines[b * width + x];
        }
    }
}

/* Backscatter to codes, by the least power of each code. `least` has the bits of the least power of
   code n + 1 at n, of `codes` codes; `first` the code of the least power that begins with so many
   bits. Positive floats are ordered as their bits are.

   A code is put where `out` has none yet, at every other value of it (two polarisations).
   `found[0]` counts codes that are not 0, `found[1]` those that were put. */
PUBLIC void join_codes(const uint32_t *power, int64_t power_pitch, int64_t height, int64_t width,
                       const uint32_t *least, int64_t codes, const int16_t *first, int32_t shift,
                       int16_t *out, int64_t pitch, int64_t *found)
{
    int64_t any = 0, put = 0;
    for (int64_t y = 0; y < height; y++, power += power_pitch, out += pitch)
        for (int64_t x = 0; x < width; x++) {
            uint32_t bits = power[x];
            if (bits >= 0x7f800000u) continue; /* negative, infinite, or no number */
            int32_t code = first[bits >> shift];
            while (code < codes && bits >= least[code]) code++;
            if (!code) continue;
            any++;
            if (!out[2 * x]) {
                out[2 * x] = (int16_t)code;
                put++;
            }
        }
    found[0] += any;
    found[1] += put;
}
