/* Times, kept one by one, and their quantiles. */
#include <stdlib.h>

#include "generator.h"

#define SAMPLES_MAX (1u << 22)         /* of a flow; what comes after is counted as left out */

void samples_add(struct samples *s, int64_t nanoseconds) {
    if (s->count == s->room) {
        uint64_t room = s->room ? 2 * s->room : 1024;
        uint32_t *values = room <= SAMPLES_MAX ? realloc(s->values, room * sizeof *values) : NULL;
        if (!values) {
            s->left_out++;
            return;
        }
        s->values = values, s->room = room;
    }
    s->values[s->count++] = nanoseconds < 0 ? 0 : nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct samples *s, double share) {
    uint64_t at = (uint64_t)(share * (double)s->count);
    return s->values[at < s->count ? at : s->count - 1] / 1e3;
}

/* "NAME": {"count": .., "min": .., ..} in microseconds; sorts. */
void samples_report(struct samples *s, const char *name, FILE *out) {
    fprintf(out, "\"%s\": {\"count\": %lu, \"left_out\": %lu", name, s->count, s->left_out);
    if (s->count) {
        qsort(s->values, s->count, sizeof *s->values, compare);
        fprintf(out, ", \"min\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f",
                quantile(s, 0), quantile(s, 0.5), quantile(s, 0.9), quantile(s, 0.99), quantile(s, 0.999),
                quantile(s, 1));
    }
    fputs("}", out);
}
