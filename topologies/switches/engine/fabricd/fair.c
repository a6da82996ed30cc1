/* Which queue of a direction is next: shares, levels, and fairness by bytes (docs/engine.md, Choice). */
#include "fabric.h"

static ns_t share_time(const struct direction *d, double share, uint64_t bytes) {
    uint64_t rate = (uint64_t)(share * (double)d->rate);
    return (bytes * 8000000000ull + rate / 2) / (rate ? rate : 1);
}

/* Whether a share whose clock is at `clock` is used up at t; if so `*until` says when no more. */
static bool is_used_up(const struct direction *d, double share, ns_t clock, ns_t t, ns_t *until) {
    ns_t span = share_time(d, share, fabric.largest);
    if (clock <= t + span)
        return false;
    *until = clock - span;
    return true;
}

static bool goes_before(const struct queue *a, bool a_is_below, const struct queue *b, bool b_is_below) {
    if (a->level != b->level)
        return a->level > b->level;
    if (a_is_below != b_is_below)
        return a_is_below;
    return a->turn < b->turn;
}

int choose_queue(struct direction *d, ns_t t, ns_t *again) {
    int best = -1;
    bool best_is_below = false;
    *again = NEVER;
    for (unsigned rest = d->busy; rest; rest &= rest - 1) {
        int i = __builtin_ctz(rest);
        struct queue *q = &d->queue[i];
        ns_t until, unused;
        if (q->is_paused)
            continue;
        if (q->max > 0 && is_used_up(d, q->max, q->max_clock, t, &until)) {
            *again = until < *again ? until : *again;
            continue;
        }
        bool is_below = q->min > 0 && !is_used_up(d, q->min, q->min_clock, t, &unused);
        if (best < 0 || goes_before(q, is_below, &d->queue[best], best_is_below)) {
            best = i;
            best_is_below = is_below;
        }
    }
    return best;
}

void became_busy(struct direction *d, struct queue *q) {
    if (q->turn < d->turn)
        q->turn = d->turn;
}

static void advance(ns_t *clock, ns_t t, ns_t time) { *clock = (*clock > t ? *clock : t) + time; }

void use_share(struct direction *d, struct queue *q, uint64_t bytes, ns_t t) {
    d->turn = q->turn;
    q->turn += bytes;
    if (q->max > 0)
        advance(&q->max_clock, t, share_time(d, q->max, bytes));
    if (q->min > 0)
        advance(&q->min_clock, t, share_time(d, q->min, bytes));
}
