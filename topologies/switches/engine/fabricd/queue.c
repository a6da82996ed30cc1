/* Queues of a direction: what joins, what is marked, what is dropped. */
#include "fabric.h"

#include "key.h"
#include "vxlan.h"

#define GOLDEN 0x9e3779b97f4a7c15ull

uint64_t chance_seed(uint64_t number) { return mix(fabric.seed + number); }

double draw(struct direction *d) {
    d->chance += GOLDEN;
    return (double)(mix(d->chance) >> 11) * 0x1p-53;
}

/* Where the IPv4 header of a frame is; NULL: it has none. */
static uint8_t *ipv4_header(const struct packet *p) {
    uint8_t *type = p->frame + 12;
    if (p->length >= 38 && load(type, 2) == 0x8100)
        type += 4;
    return p->length >= 34 && load(type, 2) == TYPE_IPV4 ? type + 2 : NULL;
}

uint8_t queue_for(const struct packet *p) {
    const uint8_t *ip = p->tunnel.on ? NULL : ipv4_header(p);
    return fabric.queue_of_dscp[(p->tunnel.on ? p->tunnel.tos : ip ? ip[1] : 0) >> 2];
}

bool mark_congestion(struct packet *p) {
    uint8_t *ip = p->tunnel.on ? NULL : ipv4_header(p);
    uint8_t *tos = p->tunnel.on ? &p->tunnel.tos : ip ? ip + 1 : NULL;
    if (!tos || !(*tos & 3))
        return false;
    if (ip && (*tos & 3) != ECN_CE) {  /* the header's checksum by difference (RFC 1624) */
        uint32_t sum = (uint16_t)~load(ip + 10, 2) + (uint16_t)~load(ip, 2) + (load(ip, 2) | ECN_CE);
        sum = (sum & 0xffff) + (sum >> 16);
        store(ip + 10, 2, (uint16_t)~(sum + (sum >> 16)));
    }
    *tos |= ECN_CE;
    return true;
}

static void mark_by_law(struct direction *d, struct queue *q, struct packet *p) {
    uint64_t waits = q->counts->bytes;
    if (!q->kmax || waits <= q->kmin)
        return;
    if (waits <= q->kmax) {
        double share = q->pmax * (double)(waits - q->kmin) / (double)(q->kmax - q->kmin);
        if (draw(d) >= share)
            return;
    }
    q->counts->marks += mark_congestion(p);
}

void (*on_drop)(const struct direction *d, int queue, const struct packet *p, const char *reason);

void drop(struct direction *d, struct packet *p, uint64_t *counter, const char *reason) {
    ++*counter;
    if (on_drop)
        on_drop(d, p->queue, p, reason);
    packet_free(p);
}

/* A packet that its switch, or its link, has no room for. A lossless one counts where it came in: there is the headroom. */
static bool has_room(struct direction *d, struct queue *q, struct packet *p) {
    uint32_t bytes = wire_length(p);
    if (is_lossless(p)) {
        if (fits_headroom(p))
            return true;
        struct direction *ingress = fabric.directions[p->ingress];
        p->queue = p->ingress_queue;
        drop(ingress, p, &ingress->queue[p->queue].counts->headroom_drops, "headroom");
        return false;
    }
    if (d->from->host || q->counts->bytes + bytes <= q->limit)
        return true;
    q->counts->drop_bytes += bytes;
    drop(d, p, &q->counts->drops, "limit");
    return false;
}

void enqueue(struct direction *d, struct packet *p, ns_t t) {
    p->queue = queue_for(p);
    struct queue *q = &d->queue[p->queue];
    if (!is_alive(d)) {
        drop(d, p, &d->counts->cut, "cut");
        return;
    }
    if (q->is_beside) {
        pass_beside(d, p, t);
        return;
    }
    if (!has_room(d, q, p))
        return;
    if (!q->waiting.head) {
        became_busy(d, q);
        d->busy |= 1u << p->queue;
    }
    push(&q->waiting, p);
    q->counts->packets++;
    q->counts->bytes += wire_length(p);
    if (q->counts->bytes > q->counts->high)
        q->counts->high = q->counts->bytes;
    mark_by_law(d, q, p);
    hold(p, t);
    begin_sending(d, t);
}

struct packet *dequeue(struct direction *d, int number, ns_t t) {
    struct queue *q = &d->queue[number];
    struct packet *p = pop(&q->waiting);
    if (!q->waiting.head)
        d->busy &= ~(1u << number);
    q->counts->packets--;
    q->counts->bytes -= wire_length(p);
    release(p, t);
    return p;
}
