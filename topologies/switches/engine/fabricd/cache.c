#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "switch.h"

struct slot {
    uint32_t generation, at;           /* at: of the entry in the arena */
};

struct entry {
    struct key key;
    struct op ops[];
};

void cache_init(struct cache *c) {
    c->slots = zeroed(CACHE_SLOTS * sizeof *c->slots);
    c->room = CACHE_LEAST;
    c->arena = zeroed(c->room);
    c->generation = 1;
}

void cache_release(struct cache *c) {
    free(c->slots);
    free(c->arena);
}

void cache_forget(struct cache *c) {
    c->used = c->entries = 0;
    if (++c->generation == 0) {        /* after 2^32 changes */
        memset(c->slots, 0, CACHE_SLOTS * sizeof *c->slots);
        c->generation = 1;
    }
}

/* The slot that has the key, or the empty one where it belongs. */
static struct slot *find(const struct cache *c, const struct key *k) {
    uint64_t h = 0;
    for (int w = 0; w < KEY_WORDS; w++) {
        h = (h ^ k->word[w]) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 32;
    }
    for (uint32_t i = h % CACHE_SLOTS;; i = (i + 1) % CACHE_SLOTS) {
        struct slot *slot = &c->slots[i];
        if (slot->generation != c->generation || memcmp(c->arena + slot->at, k, sizeof *k) == 0)
            return slot;
    }
}

const struct op *cache_find(const struct cache *c, const struct key *k) {
    const struct slot *slot = find(c, k);
    return slot->generation == c->generation ? ((const struct entry *)(c->arena + slot->at))->ops : NULL;
}

void cache_make_room(struct cache *c) {
    bool is_full = c->used + sizeof(struct entry) + PROGRAM_MAX * sizeof(struct op) > c->room;
    if (!is_full && c->entries < CACHE_ENTRIES)
        return;
    cache_forget(c);
    if (is_full && c->room < CACHE_MOST) {
        free(c->arena);
        c->room *= 2;
        c->arena = zeroed(c->room);
    }
}

void cache_keep(struct cache *c, const struct key *k, const struct op *ops, int count) {
    uint32_t size = sizeof(struct entry) + count * sizeof *ops;
    if (c->entries == CACHE_ENTRIES || c->used + size > c->room)
        return;
    struct entry *entry = (struct entry *)(c->arena + c->used);
    entry->key = *k;
    memcpy(entry->ops, ops, count * sizeof *ops);
    *find(c, k) = (struct slot){c->generation, c->used};
    c->used += size;
    c->entries++;
}
