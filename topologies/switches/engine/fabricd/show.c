/* What a direction is set to, in the words by which it is set. */
#include <inttypes.h>

#include "fabric_commands.h"

static void show_queue(const struct queue *q, int number, FILE *out) {
    fprintf(out, " queue %d limit=%" PRIu64 " level=%d min=%.9g max=%.9g kmin=%" PRIu64 " kmax=%" PRIu64 " pmax=%.9g",
            number, q->limit, q->level, q->min, q->max, q->kmin, q->kmax, q->pmax);
    fprintf(out, " xoff=%" PRIu64 " xon=%" PRIu64 " headroom=%" PRIu64 " beside=%d", q->xoff, q->xon, q->headroom,
            q->is_beside);
}

bool run_show(struct words *w, struct why *why) {
    const struct direction *d = named_direction(w->list[0], why);
    if (!d)
        return false;
    fprintf(w->out, "ok rate=%" PRIu64 " delay=%" PRIu64 " jitter=%" PRIu64 " loss=%.9g ber=%.9g duplicate=%.9g", d->rate,
            d->delay, d->jitter, d->loss, d->bit_errors, d->duplicate);
    fprintf(w->out, " reorder=%.9g cable=%d way=%d", d->reorder, d->is_cable_in, d->is_way_open);
    for (int number = 0; number < QUEUES; number++)
        show_queue(&d->queue[number], number, w->out);
    return w->has_answered = true;
}
