/* What the pipeline makes of a packet as a flat program, and the cache of programs by key. */
#ifndef CACHE_H
#define CACHE_H

#include "group.h"
#include "key.h"
#include "table.h"

#define PROGRAM_MAX 256                /* operations */

enum op_kind {
    OP_RULE, OP_GROUP, OP_BUCKET,      /* count */
    OP_SET,                            /* a field */
    OP_OUTPUT, OP_FLOOD, OP_PUSH, OP_POP,      /* the packet leaves, or enters again; a copy if it is not the last use */
    OP_CONTROLLER,
    OP_SAVE, OP_RESTORE,               /* between them changes are made to a copy */
    OP_SKIP,
    OP_END                             /* number: the reason (REASON) why the packet has ended here, or NOT_LEFT */
};

struct op {
    uint8_t kind;
    uint8_t field;                     /* OP_SET; OP_PUSH: own endpoint; OP_CONTROLLER: reason */
    bool last;                         /* the packet is not needed after it */
    uint8_t table;                     /* OP_CONTROLLER */
    uint32_t number;                   /* port; OP_PUSH: neighbour; OP_CONTROLLER: bytes at most */
    union {
        uint64_t value;                /* OP_SET; OP_PUSH: VNI; OP_CONTROLLER: cookie */
        struct rule *rule;
        struct group *group;
        struct bucket *bucket;
    };
};

#define CACHE_ENTRIES 16384
#define CACHE_SLOTS (2 * CACHE_ENTRIES)
#define CACHE_LEAST (1u << 18)         /* bytes of keys and programs; doubled when they have filled up, up to */
#define CACHE_MOST (1u << 23)

struct cache {
    struct slot *slots;
    uint8_t *arena;
    uint32_t used, room, entries;
    uint32_t generation;               /* slots of another one are empty */
};

void cache_init(struct cache *c);
void cache_release(struct cache *c);
void cache_forget(struct cache *c);    /* all entries: rules, groups or ports have changed */
/* The program of a key, up to its OP_END; NULL if it is not known. It stays where it is until the next cache_forget() or
 * cache_make_room(). */
const struct op *cache_find(const struct cache *c, const struct key *k);
/* Forgets all if the next entry might not fit. Not while a program runs. */
void cache_make_room(struct cache *c);
/* Keep a program, if it fits. */
void cache_keep(struct cache *c, const struct key *k, const struct op *ops, int count);

#endif
