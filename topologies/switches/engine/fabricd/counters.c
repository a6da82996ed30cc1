/* The file of counters. */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fabric.h"

struct engine_counts *engine;
static char *records;                  /* behind the header */

void counters_open(const char *path, uint64_t directions, uint64_t hosts, uint64_t switches) {
    size_t size = sizeof *engine + directions * sizeof(struct direction_counts) + hosts * sizeof(struct host_counts)
                  + switches * sizeof(struct switch_counts);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0 || ftruncate(file, size) < 0)
        die(1, "file of counters %s: %s", path, strerror(errno));
    engine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (engine == MAP_FAILED)
        die(1, "file of counters %s: %s", path, strerror(errno));
    close(file);
    records = (char *)(engine + 1);
    engine->directions = directions;
    engine->hosts = hosts;
    engine->switches = switches;
    engine->magic = COUNTERS_MAGIC;    /* last: a reader that sees it can read the rest */
}

struct direction_counts *direction_counts(uint64_t number) { return (struct direction_counts *)records + number; }

struct host_counts *host_counts(uint64_t number) {
    return (struct host_counts *)direction_counts(engine->directions) + number;
}

struct switch_counts *switch_counts(uint64_t number) {
    return (struct switch_counts *)host_counts(engine->hosts) + number;
}

/* Quarters of an octave: the octave by the highest bit, the quarter by the two bits below it. */
static int bucket_of(uint64_t microseconds) {
    if (microseconds < 4)
        return microseconds ? (int)(microseconds == 1 ? 0 : microseconds == 2 ? 4 : 6) : 0;
    int octave = 63 - __builtin_clzll(microseconds);
    int bucket = 4 * octave + (microseconds >> (octave - 2) & 3);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

void histogram_add(struct histogram *h, int64_t nanoseconds) {
    uint64_t late = nanoseconds > 0 ? nanoseconds : 0;
    h->count++;
    h->sum += late;
    h->bucket[bucket_of(late / 1000)]++;
    if (late > h->max)
        h->max = late;
}
