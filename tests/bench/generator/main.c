/* generator SECONDS WARMUP DRAIN: reads flows from standard input (flow.c), opens all of them, writes `ready`, sends for
 * SECONDS, waits DRAIN seconds more for what is under way, and writes one line of JSON. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "generator.h"

#define BATCH 64
#define BEFORE_START (SECOND / 20)     /* until everything is set up */

struct flow flows[FLOWS_MAX];
int flow_count;

static void read_flows(void) {
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        if (flow_count == FLOWS_MAX)
            die("standard input", "more than 4096 flows");
        struct flow *f = &flows[flow_count];
        if (!read_flow(line, f))
            exit(2);
        f->sender = (struct end){f, false}, f->receiver = (struct end){f, true};
        flow_count++;
    }
}

/* Paced flows of one rate begin apart from each other, so that they do not send in step. */
static void schedule(ns_t begin, double seconds) {
    for (int i = 0; i < flow_count; i++) {
        struct flow *f = &flows[i];
        double until = f->until > 0 && f->until < seconds ? f->until : seconds;
        f->next = begin + (ns_t)(f->start * 1e9) + f->interval * (ns_t)i / (ns_t)flow_count;
        f->end = begin + (ns_t)(until * 1e9);
    }
}

static ns_t send_due(void) {
    ns_t now = clock_of(CLOCK_MONOTONIC), next = NEVER;
    for (int i = 0; i < flow_count; i++) {
        struct flow *f = &flows[i];
        if (f->next <= now && !f->waits_for_room)
            f->kind->due(f);
        if (f->next < next && !f->waits_for_room)
            next = f->next;
    }
    return next;
}

static void run_until(ns_t end) {
    struct end *ready[BATCH];
    uint32_t events[BATCH];
    while (clock_of(CLOCK_MONOTONIC) < end) {
        ns_t next = send_due();
        int count = wait_ready(ready, events, BATCH, next < end ? next : end);
        for (int i = 0; i < count; i++) {
            struct flow *f = ready[i]->flow;
            if (ready[i]->is_receiver)
                f->kind->readable(f);
            else if (events[i] & EPOLLOUT)
                f->kind->writable(f);
        }
    }
}

static double processor_seconds(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void report(double measured, double processor) {
    printf("{\"seconds\": %.6f, \"processor\": %.4f, \"flows\": {", measured, processor);
    for (int i = 0; i < flow_count; i++) {
        const struct flow *f = &flows[i];
        printf("%s\"%s\": {", i ? ", " : "", f->name);
        f->kind->report(f, stdout);
        printf("}");
    }
    puts("}}");
}

int main(int count, char **words) {
    if (count != 4)
        die("usage", "generator SECONDS WARMUP DRAIN, flows on standard input");
    double seconds = atof(words[1]), warmup = atof(words[2]), drain = atof(words[3]);
    prctl(PR_SET_TIMERSLACK, 1);
    read_flows();
    for (int i = 0; i < flow_count; i++)
        flows[i].kind->open(&flows[i]);
    puts("ready");
    fflush(stdout);
    ns_t begin = clock_of(CLOCK_MONOTONIC) + BEFORE_START;
    schedule(begin, seconds);
    run_until(begin + (ns_t)(warmup * 1e9));
    ns_t from = clock_of(CLOCK_MONOTONIC);
    double used = processor_seconds();
    for (int i = 0; i < flow_count; i++)
        flows[i].bytes_before = flows[i].bytes;
    run_until(begin + (ns_t)(seconds * 1e9));
    ns_t to = clock_of(CLOCK_MONOTONIC);
    used = processor_seconds() - used;
    for (int i = 0; i < flow_count; i++)
        flows[i].bytes_after = flows[i].bytes;
    run_until(to + (ns_t)(drain * 1e9));
    report((double)(to - from) / 1e9, used);
    return 0;
}
