/* The file of counters, shared memory of 64-bit words: a header, then a record for each direction, host and switch in the
 * order of the configuration. It can be read while the engine runs and after it has died (docs/engine.md, Counters). */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdint.h>

#include "pipeline.h"

#define COUNTERS_MAGIC 0x3172746362616664ull   /* "dfabctr1" */
#define QUEUES 8
#define BUCKETS 96                     /* of a quarter of an octave from 1 microsecond on: up to 16 seconds */

struct histogram {                     /* of nanoseconds */
    uint64_t count, sum, max, bucket[BUCKETS];
};

struct engine_counts {
    uint64_t magic, directions, hosts, switches;
    uint64_t pool, pool_used, pool_high, pool_empty;   /* packets; pool_empty: times that none was free */
    uint64_t events, wakes, reads, writes;
    uint64_t now;                      /* CLOCK_MONOTONIC, nanoseconds, of the last round of the loop */
    uint64_t processor;                /* nanoseconds that the engine has used of one */
    uint64_t busiest;                  /* highest share of a processor in a tenth of a second, millionths */
    uint64_t realtime;                 /* SCHED_FIFO priority that it has; 0: none */
    uint64_t packet_outs, copies;      /* frames that came from the controller; that duplicate, flood or capture made */
    uint64_t injected, captured, missed;       /* missed: a reader of captures was too slow */
    uint64_t reserved[11];
    struct histogram late_write, late_read;
};

struct queue_counts {
    uint64_t sent_packets, sent_bytes; /* have begun to be sent */
    uint64_t drops, drop_bytes;        /* did not fit: limit */
    uint64_t headroom_drops;
    uint64_t marks;
    uint64_t pauses, paused_ns;        /* of this direction's sender, by its receiver */
    uint64_t packets, bytes, high;     /* wait now; most bytes that have waited */
};

struct direction_counts {
    uint64_t rate, delay, is_up;       /* as they are now */
    uint64_t lost, bit_errors, duplicates, reordered;
    uint64_t cut;                      /* frames that ended because the cable, the way or the far end was off */
    uint64_t pause_frames;             /* sent */
    uint64_t flying;                   /* are being sent or on their way */
    uint64_t cut_flying;               /* of cut: those that were */
    struct queue_counts queue[QUEUES];
};

struct host_counts {
    uint64_t read_packets, read_bytes, written_packets, written_bytes;
    uint64_t not_written;              /* the host's device was down */
    uint64_t gated;                    /* times that a pause stopped the device's queue */
};

struct switch_counts {
    uint64_t is_on;
    uint64_t in, out, cut;             /* cut: came, or waited, while the power was off */
    struct pipeline_counts pipeline;
};

extern struct engine_counts *engine;
/* Makes the file. Exits with a sentence where that fails. */
void counters_open(const char *path, uint64_t directions, uint64_t hosts, uint64_t switches);
struct direction_counts *direction_counts(uint64_t number);
struct host_counts *host_counts(uint64_t number);
struct switch_counts *switch_counts(uint64_t number);
void histogram_add(struct histogram *h, int64_t nanoseconds);

#endif
