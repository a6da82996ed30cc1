#include "group.h"

#include <stdlib.h>

#include "switch.h"

static struct group **place_of(const struct groups *all, uint32_t id) {
    struct group **at = (struct group **)&all->slots[id % GROUP_SLOTS];
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

struct group *group_find(const struct groups *all, uint32_t id) { return *place_of(all, id); }

void group_free(struct group *g) {
    for (int i = 0; i < g->bucket_count; i++)
        free(g->buckets[i].actions);
    free(g);
}

static void take_over_counters(struct group *g, const struct group *old) {
    g->packets = old->packets;
    g->bytes = old->bytes;
    for (int i = 0; i < g->bucket_count; i++)
        for (int j = 0; j < old->bucket_count; j++)
            if (g->buckets[i].id == old->buckets[j].id)
                g->buckets[i].packets = old->buckets[j].packets;
}

void group_put(struct groups *all, struct group *g) {
    struct group *old = group_find(all, g->id);
    if (old) {
        take_over_counters(g, old);
        group_remove(all, g->id);
    }
    struct group **at = place_of(all, g->id);
    g->next = NULL;
    *at = g;
    all->count++;
}

void group_remove(struct groups *all, uint32_t id) {
    struct group **at = place_of(all, id), *g = *at;
    if (!g)
        return;
    *at = g->next;
    all->count--;
    group_free(g);
}

void group_clear(struct groups *all) {
    for (int slot = 0; slot < GROUP_SLOTS; slot++)
        while (all->slots[slot])
            group_remove(all, all->slots[slot]->id);
}

static bool is_live(const struct pipeline *s, const struct bucket *b) {
    return b->watch == NO_WATCH || b->watch == PORT_LOCAL || b->watch == PORT_TUNNEL
        || (has_port(s, b->watch) && s->ops.is_live(s->context, b->watch));
}

/* Rendezvous hashing: each bucket draws by itself, so that a dead one's flows move and no others. */
static struct bucket *by_hash(struct group *g, const struct pipeline *s, const struct key *k) {
    uint64_t h = 0, most = 0;
    struct bucket *best = NULL;
    for (int i = 0; i < g->hash_count; i++)
        h = mix(h ^ key_get(k, g->hash[i]));
    for (struct bucket *b = g->buckets; b < g->buckets + g->bucket_count; b++) {
        uint64_t draw = mix(h ^ mix(b->id));
        if ((!best || draw > most) && is_live(s, b)) {
            best = b;
            most = draw;
        }
    }
    return best;
}

struct bucket *group_choose(struct group *g, const struct pipeline *s, const struct key *k) {
    if (g->type == SELECT)
        return by_hash(g, s, k);
    for (struct bucket *b = g->buckets; b < g->buckets + g->bucket_count; b++)
        if (is_live(s, b))
            return b;
    return NULL;
}
