/* A direction of a link: one frame at a time at its rate, then on its way for its delay. */
#include "fabric.h"

#include <math.h>

ns_t sending_time(const struct direction *d, uint64_t bytes) { return (bytes * 8000000000ull + d->rate / 2) / d->rate; }

/* The least time in which a frame that is at a switch can have arrived at a host. */
static ns_t least_rest(uint64_t bytes) { return (ns_t)((double)bytes * 8e9 / (double)fabric.edge_rate); }

static ns_t least_delay(const struct direction *d) { return d->jitter || d->reorder > 0 ? 0 : d->delay; }

/* When a host could notice that a frame, sent by `due`, has not arrived, or was not read. */
static ns_t sent_deadline(const struct direction *d, ns_t due, const struct packet *p) {
    ns_t latest = due + least_delay(d) + (d->to->host ? 0 : least_rest(p->length));
    return d->from->host && latest > due + fabric.read_slack ? due + fabric.read_slack : latest;
}

static void set_arrival(struct direction *d) {
    const struct packet *p = d->flying.head;
    if (p)
        event_set(d, ARRIVES, p->at, p->at + (d->to->host ? 0 : least_rest(p->length)));
}

static void count_sent(struct direction *d, const struct packet *p) {
    struct queue_counts *counts = d->queue[p->queue].counts;
    counts->sent_packets++;
    counts->sent_bytes += wire_length(p);
}

static void start(struct direction *d, struct packet *p, ns_t t) {
    ns_t due = t + sending_time(d, wire_length(p));
    if (d->captures)
        capture_frame(d, p, t);
    d->sending = p;
    d->counts->flying++;
    event_set(d, SENT, due, sent_deadline(d, due, p));
}

void begin_sending(struct direction *d, ns_t t) {
    ns_t again;
    if (d->sending)
        return;
    if (d->control.head) {
        d->counts->pause_frames++;
        start(d, pop(&d->control), t);
        return;
    }
    if (!d->busy)
        return;
    int number = choose_queue(d, t, &again);
    if (number < 0) {
        if (again != NEVER)
            event_set(d, SHARE, again, again);
        return;
    }
    event_clear(d, SHARE);
    struct packet *p = dequeue(d, number, t);
    count_sent(d, p);
    use_share(d, &d->queue[number], wire_length(p), t);
    start(d, p, t);
}

static void deliver(struct direction *d, struct packet *p, ns_t t) {
    d->counts->flying--;
    if (!d->is_way_open) {
        d->counts->cut_flying++;
        drop(d, p, &d->counts->cut, "cut");
    } else if (is_pause(p)) {
        take_pause(d, p, t);
        packet_free(p);
    } else {
        node_receive(d, p, t);
    }
}

static void fly(struct direction *d, struct packet *p, ns_t arrival) {
    p->at = d->last_arrival = arrival > d->last_arrival ? arrival : d->last_arrival;
    push(&d->flying, p);
    if (d->flying.head == p)
        set_arrival(d);
}

static bool is_lost(struct direction *d, struct packet *p) {
    if (d->loss > 0 && draw(d) < d->loss) {
        d->counts->flying--;
        drop(d, p, &d->counts->lost, "loss");
        return true;
    }
    if (d->bit_errors > 0 && draw(d) < 1 - pow(1 - d->bit_errors, 8.0 * wire_length(p))) {
        d->counts->flying--;
        drop(d, p, &d->counts->bit_errors, "bit_errors");
        return true;
    }
    return false;
}

static ns_t drawn_delay(struct direction *d) {
    if (!d->jitter)
        return d->delay;
    double delay = floor((double)d->delay + (2 * draw(d) - 1) * (double)d->jitter);
    return delay > 0 ? (ns_t)delay : 0;
}

/* A frame's last bit has left: what the link does to it by chance, and when it arrives. */
static void launch(struct direction *d, struct packet *p, ns_t t) {
    if (is_lost(d, p))
        return;
    struct packet *copy = d->duplicate > 0 && draw(d) < d->duplicate ? packet_copy(p) : NULL;
    if (copy) {
        d->counts->duplicates++;
        d->counts->flying++;
    }
    if (d->reorder > 0 && draw(d) < d->reorder) {
        d->counts->reordered++;
        deliver(d, p, t);
        if (copy)
            deliver(d, copy, t);
        return;
    }
    ns_t arrival = t + drawn_delay(d);
    fly(d, p, arrival);
    if (copy)
        fly(d, copy, arrival);
}

void on_sent(struct direction *d, ns_t t) {
    struct packet *p = d->sending;
    d->sending = NULL;
    if (is_pause(p))
        fly(d, p, t + d->delay);
    else
        launch(d, p, t);
    begin_sending(d, t);
    if (d->from->host)
        host_link_free(d->from, t);
}

void on_arrival(struct direction *d, ns_t t) {
    struct packet *p = pop(&d->flying);
    set_arrival(d);
    deliver(d, p, t);
}

void pass_beside(struct direction *d, struct packet *p, ns_t t) {
    if (d->captures)
        capture_frame(d, p, t);
    d->counts->flying++;
    count_sent(d, p);
    deliver(d, p, t);
}

static void cut_all(struct direction *d, struct fifo *f) {
    while (f->head)
        drop(d, pop(f), &d->counts->cut, "cut");
}

void cut_off(struct direction *d, ns_t t) {
    d->counts->cut_flying += d->counts->flying;
    cut_all(d, &d->flying);
    if (d->sending)
        drop(d, d->sending, &d->counts->cut, "cut");
    d->sending = NULL;
    d->counts->flying = 0;
    d->last_arrival = 0;
    for (int i = 0; i < QUEUES; i++)
        while (d->queue[i].waiting.head)
            drop(d, dequeue(d, i, t), &d->counts->cut, "cut");
    while (d->control.head)
        packet_free(pop(&d->control));
    for (enum event e = 0; e < EVENTS; e++)
        event_clear(d, e);
    forget_pauses(d, t);
}
