/* Priority flow control (IEEE 802.1Qbb): a switch that holds too much of what came by a direction in a queue stops that
 * queue at its sender, by a frame that takes its time. A pause holds until it is taken back: there are no timers. */
#include "fabric.h"

#include "key.h"

#define PAUSE_BYTES 64
#define PAUSE_TYPE 0x8808
#define PAUSE_OPCODE 0x0101
static const uint8_t pause_address[6] = {0x01, 0x80, 0xc2, 0, 0, 0x01};

bool is_pause(const struct packet *p) { return !p->tunnel.on && load(p->frame + 12, 2) == PAUSE_TYPE; }

static bool send_pause(struct direction *ingress, int q, bool is_stop, ns_t t) {
    struct direction *d = ingress->reverse;
    struct packet *p = is_alive(d) ? packet_new() : NULL;
    if (!p)
        return false;
    for (int i = 0; i < PAUSE_BYTES; i++)
        p->frame[i] = i < 6 ? pause_address[i] : 0;
    store(p->frame + 12, 2, PAUSE_TYPE);
    store(p->frame + 14, 2, PAUSE_OPCODE);
    store(p->frame + 16, 2, 1u << q);
    store(p->frame + 18 + 2 * q, 2, is_stop ? 0xffff : 0);
    p->length = PAUSE_BYTES;
    push(&d->control, p);
    begin_sending(d, t);
    return true;
}

/* Where a packet's bytes are charged; NULL: nowhere. */
static struct queue *account(const struct packet *p) {
    return p->ingress == NO_DIRECTION ? NULL : &fabric.directions[p->ingress]->queue[p->ingress_queue];
}

bool is_lossless(const struct packet *p) {
    const struct queue *q = account(p);
    return q && q->xoff;
}

bool fits_headroom(const struct packet *p) {
    const struct queue *q = account(p);
    return q->held + wire_length(p) <= q->xoff + q->headroom;
}

void hold(struct packet *p, ns_t t) {
    struct queue *q = account(p);
    if (!q || !q->xoff) {
        p->ingress = NO_DIRECTION;
        return;
    }
    q->held += wire_length(p);
    if (!q->has_paused && q->held > q->xoff)
        q->has_paused = send_pause(fabric.directions[p->ingress], p->ingress_queue, true, t);
}

void pause_settings_changed(struct direction *d, int number, ns_t t) {
    struct queue *q = &d->queue[number];
    if (q->has_paused && (!q->xoff || q->held <= q->xon))
        q->has_paused = !send_pause(d, number, false, t);
}

void release(struct packet *p, ns_t t) {
    struct queue *q = account(p);
    if (!q)
        return;
    q->held -= wire_length(p);
    pause_settings_changed(fabric.directions[p->ingress], p->ingress_queue, t);
    p->ingress = NO_DIRECTION;
}

static void end_pause(struct queue *q, ns_t t) {
    if (q->is_paused)
        q->counts->paused_ns += t - q->paused_at;
    q->is_paused = false;
}

void take_pause(struct direction *d, const struct packet *p, ns_t t) {
    struct direction *sender = d->reverse;
    unsigned vector = load(p->frame + 16, 2);
    for (int i = 0; i < QUEUES; i++) {
        struct queue *q = &sender->queue[i];
        if (!(vector >> i & 1))
            continue;
        if (!load(p->frame + 18 + 2 * i, 2)) {
            end_pause(q, t);
        } else if (!q->is_paused) {
            q->is_paused = true;
            q->paused_at = t;
            q->counts->pauses++;
        }
    }
    begin_sending(sender, t);
    if (sender->from->host)
        host_fill(sender->from, t);
}

void forget_pauses(struct direction *d, ns_t t) {
    for (int i = 0; i < QUEUES; i++) {
        end_pause(&d->queue[i], t);
        d->queue[i].has_paused = false;
    }
}
