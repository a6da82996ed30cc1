/* What is due. Two heaps over the same events: by due time, which is their order, and by deadline, the earliest time at
 * which a host could notice that an event did not happen yet. The engine sleeps until the next deadline: what is inside
 * of the fabric happens late in real time and exactly in virtual time. */
#include "fabric.h"

#define EVENTS_MAX (DIRECTIONS_MAX * EVENTS)

struct entry {
    ns_t key;
    uint32_t event;
};

struct heap {
    struct entry list[EVENTS_MAX + 1]; /* from 1 */
    uint32_t place[EVENTS_MAX];        /* of an event in the list; 0: not there */
    uint32_t count;
};
static struct heap due, deadline;

/* Of the same nanosecond the event with the lower number is first: order never depends on history. */
static inline bool is_before(struct entry a, struct entry b) {
    return a.key < b.key || (a.key == b.key && a.event < b.event);
}

static inline void put(struct heap *h, uint32_t place, struct entry e) {
    h->list[place] = e;
    h->place[e.event] = place;
}

/* Puts an entry where it belongs, from a place that is free. */
static void settle(struct heap *h, uint32_t place, struct entry e) {
    for (; place > 1 && is_before(e, h->list[place / 2]); place /= 2)
        put(h, place, h->list[place / 2]);
    for (uint32_t child; (child = 2 * place) <= h->count; place = child) {
        child += child < h->count && is_before(h->list[child + 1], h->list[child]);
        if (!is_before(h->list[child], e))
            break;
        put(h, place, h->list[child]);
    }
    put(h, place, e);
}

static void heap_set(struct heap *h, uint32_t event, ns_t key) {
    uint32_t place = h->place[event];
    settle(h, place ? place : ++h->count, (struct entry){key, event});
}

static void heap_clear(struct heap *h, uint32_t event) {
    uint32_t place = h->place[event];
    if (!place)
        return;
    h->place[event] = 0;
    struct entry last = h->list[h->count--];
    if (last.event != event)
        settle(h, place, last);
}

void event_set(struct direction *d, enum event e, ns_t when, ns_t latest) {
    heap_set(&due, d->number * EVENTS + e, when);
    heap_set(&deadline, d->number * EVENTS + e, latest);
}

void event_clear(struct direction *d, enum event e) {
    heap_clear(&due, d->number * EVENTS + e);
    heap_clear(&deadline, d->number * EVENTS + e);
}

static ns_t first(const struct heap *h) { return h->count ? h->list[1].key : NEVER; }

ns_t next_due(void) { return first(&due); }
ns_t next_deadline(void) { return first(&deadline); }

void run_until(ns_t time) {
    while (first(&due) <= time) {
        uint32_t event = due.list[1].event;
        struct direction *d = fabric.directions[event / EVENTS];
        ns_t t = due.list[1].key;
        fabric.now = t > fabric.now ? t : fabric.now;
        engine->events++;
        event_clear(d, event % EVENTS);
        if (event % EVENTS == SENT)
            on_sent(d, t);
        else if (event % EVENTS == ARRIVES)
            on_arrival(d, t);
        else
            begin_sending(d, t);
    }
}
