/* Commands about links, queues and power, at the start and while packets flow. */
#include <stdlib.h>
#include <string.h>

#include "fabric_commands.h"
#include "settings.h"

#define AT(type, field) offsetof(struct type, field)
#define MOST_BYTES (1ull << 40)
#define MOST_TIME 60000000000ull       /* a minute */

static const struct setting direction_settings[] = {
    {"rate", IS_U64, AT(direction, rate), 1000, 1000000000000ull},
    {"delay", IS_U64, AT(direction, delay), 0, MOST_TIME},
    {"jitter", IS_U64, AT(direction, jitter), 0, MOST_TIME},
    {"loss", IS_SHARE, AT(direction, loss), 0, 0},
    {"ber", IS_SHARE, AT(direction, bit_errors), 0, 0},
    {"duplicate", IS_SHARE, AT(direction, duplicate), 0, 0},
    {"reorder", IS_SHARE, AT(direction, reorder), 0, 0},
    {NULL, IS_TEXT, 0, 0, 0},
};
static const struct setting queue_settings[] = {
    {"limit", IS_U64, AT(queue, limit), 0, MOST_BYTES},
    {"level", IS_INT, AT(queue, level), 0, 255},
    {"min", IS_SHARE, AT(queue, min), 0, 0},
    {"max", IS_SHARE, AT(queue, max), 0, 0},
    {"kmin", IS_U64, AT(queue, kmin), 0, MOST_BYTES},
    {"kmax", IS_U64, AT(queue, kmax), 0, MOST_BYTES},
    {"pmax", IS_SHARE, AT(queue, pmax), 0, 0},
    {"xoff", IS_U64, AT(queue, xoff), 0, MOST_BYTES},
    {"xon", IS_U64, AT(queue, xon), 0, MOST_BYTES},
    {"headroom", IS_U64, AT(queue, headroom), 0, MOST_BYTES},
    {"beside", IS_FLAG, AT(queue, is_beside), 0, 1},
    {NULL, IS_TEXT, 0, 0, 0},
};

bool set_direction(struct direction *d, int count, char **words, struct why *why) {
    struct direction changed = *d;
    if (!read_settings(direction_settings, count, words, &changed, why))
        return false;
    *d = changed;
    d->counts->rate = d->rate;
    d->counts->delay = d->delay;
    if (d->to->host && d->rate > fabric.edge_rate)
        fabric.edge_rate = d->rate;
    return true;
}

bool name_link(const char *name, struct direction *d, struct why *why) {
    for (uint32_t i = 0; i < fabric.direction_count; i++)
        if (fabric.directions[i]->link && strcmp(fabric.directions[i]->link, name) == 0)
            return refuse(why, "there is a cable %.80s already", name);
    d->link = d->reverse->link = strdup(name);
    return d->link || refuse(why, "no memory");
}

struct direction *named_direction(const char *name, struct why *why) {
    struct direction *d = find_direction(name);
    if (!d)
        refuse(why, "there is no direction '%.80s': they are called A->B", name);
    return d;
}

static bool read_state(const char *word, const char *yes, const char *no, bool *state, struct why *why) {
    *state = strcmp(word, yes) == 0;
    return *state || strcmp(word, no) == 0 || refuse(why, "%s or %s is expected, not '%.80s'", yes, no, word);
}

bool run_direction(struct words *w, struct why *why) {
    struct direction *d = named_direction(w->list[0], why);
    if (!d || !set_direction(d, w->count - 1, w->list + 1, why))
        return false;
    begin_sending(d, w->now);          /* its shares may be there sooner */
    return true;
}

bool run_queue(struct words *w, struct why *why) {
    struct direction *d = named_direction(w->list[0], why);
    uint64_t number;
    if (!d)
        return false;
    if (!read_number(w->list[1], QUEUES - 1, &number))
        return refuse(why, "a queue is a number from 0 to %d, not '%.80s'", QUEUES - 1, w->list[1]);
    struct queue *q = &d->queue[number], changed = *q;
    if (!read_settings(queue_settings, w->count - 2, w->list + 2, &changed, why))
        return false;
    if (changed.kmax && changed.kmin > changed.kmax)
        return refuse(why, "kmin is at most kmax");
    if (changed.xoff && changed.xon > changed.xoff)
        return refuse(why, "xon is at most xoff");
    if (changed.xoff && d->to->host)
        return refuse(why, "%s is a host: switches alone pause others", d->to->name);
    if (changed.xoff && !changed.headroom)
        return refuse(why, "a queue that pauses needs headroom: bytes that still come until the sender has stopped");
    *q = changed;
    pause_settings_changed(d, (int)number, w->now);
    begin_sending(d, w->now);
    return true;
}

bool run_cable(struct words *w, struct why *why) {
    bool is_in;
    if (!read_state(w->list[1], "up", "down", &is_in, why))
        return false;
    for (uint32_t i = 0; i < fabric.direction_count; i++)
        if (strcmp(fabric.directions[i]->link, w->list[0]) == 0) {
            node_set_cable(fabric.directions[i], is_in, w->now);
            return true;
        }
    return refuse(why, "there is no cable '%.80s'", w->list[0]);
}

bool run_way(struct words *w, struct why *why) {
    bool is_open;
    struct direction *d = named_direction(w->list[0], why);
    if (!d || !read_state(w->list[1], "up", "down", &is_open, why))
        return false;
    node_set_way(d, is_open);
    return true;
}

struct node *named_switch(const char *name, struct why *why) {
    struct node *n = find_node(name);
    if (n && n->pipeline)
        return n;
    refuse(why, "there is no switch '%.80s'", name);
    return NULL;
}

bool run_power(struct words *w, struct why *why) {
    bool is_on;
    struct node *n = named_switch(w->list[0], why);
    if (!n || !read_state(w->list[1], "on", "off", &is_on, why))
        return false;
    node_set_power(n, is_on, w->now);
    return true;
}

bool run_inject(struct words *w, struct why *why) {
    struct direction *d = named_direction(w->list[0], why);
    struct packet *p = d ? packet_new() : NULL;
    if (!d)
        return false;
    if (!p)
        return refuse(why, "there is no free packet");
    if (!read_hex(w->list[1], p->frame, packet_room(), &p->length, why)) {
        packet_free(p);
        return false;
    }
    if (p->length < 14) {
        packet_free(p);
        return refuse(why, "a frame has at least 14 bytes");
    }
    engine->injected++;
    enqueue(d, p, w->now);
    return true;
}
