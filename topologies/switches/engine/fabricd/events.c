/* What is due. Two heaps over the same events: by due time, which is their order, and by deadline, the earliest time at
 * which a host could notice that an event did not happen yet. The engine sleeps until the next deadline: what is inside
 * of the fabric happens late in real time and exactly in virtual time. */
#include "fabric.h"

#define EVENTS_MAX (DIRECTIONS_MAX * EVENTS)

struct heap {
    ns_t key[EVENTS_MAX];              /* by event number */
    uint32_t place[EVENTS_MAX];        /* in the list, from 1; 0: not there */
    uint32_t list[EVENTS_MAX + 1], count;
};
static struct heap due, deadline;

/* Of the same nanosecond the event with the lower number is first: order never depends on history. */
static bool is_before(const struct heap *h, uint32_t a, uint32_t b) {
    return h->key[a] < h->key[b] || (h->key[a] == h->key[b] && a < b);
}

static void put(struct heap *h, uint32_t place, uint32_t event) {
    h->list[place] = event;
    h->place[event] = place;
}

static void settle(struct heap *h, uint32_t place) {
    uint32_t event = h->list[place];
    for (; place > 1 && is_before(h, event, h->list[place / 2]); place /= 2)
        put(h, place, h->list[place / 2]);
    for (uint32_t child; (child = 2 * place) <= h->count; place = child) {
        if (child < h->count && is_before(h, h->list[child + 1], h->list[child]))
            child++;
        if (!is_before(h, h->list[child], event))
            break;
        put(h, place, h->list[child]);
    }
    put(h, place, event);
}

static void heap_set(struct heap *h, uint32_t event, ns_t key) {
    h->key[event] = key;
    if (!h->place[event])
        put(h, ++h->count, event);
    settle(h, h->place[event]);
}

static void heap_clear(struct heap *h, uint32_t event) {
    uint32_t place = h->place[event];
    if (!place)
        return;
    h->place[event] = 0;
    uint32_t last = h->list[h->count--];
    if (last == event)
        return;
    put(h, place, last);
    settle(h, place);
}

void event_set(struct direction *d, enum event e, ns_t when, ns_t latest) {
    heap_set(&due, d->number * EVENTS + e, when);
    heap_set(&deadline, d->number * EVENTS + e, latest);
}

void event_clear(struct direction *d, enum event e) {
    heap_clear(&due, d->number * EVENTS + e);
    heap_clear(&deadline, d->number * EVENTS + e);
}

static ns_t first(const struct heap *h) { return h->count ? h->key[h->list[1]] : NEVER; }

ns_t next_due(void) { return first(&due); }
ns_t next_deadline(void) { return first(&deadline); }

void run_until(ns_t time) {
    while (first(&due) <= time) {
        uint32_t event = due.list[1];
        struct direction *d = fabric.directions[event / EVENTS];
        ns_t t = due.key[event];
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
