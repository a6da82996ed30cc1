/* Groups: one bucket for each flow by its hash (select), the first live one (failover), or all of them. */
#ifndef GROUP_H
#define GROUP_H

#include "action.h"

#define GROUPS_MAX 4096                /* of a switch */
#define BUCKETS_MAX 1024               /* of a group */
#define HASH_FIELDS_MAX 16
#define GROUP_SLOTS 1024
#define NO_WATCH UINT32_MAX            /* a bucket that is always live */

enum group_type { SELECT, FAILOVER, GROUP_ALL, INDIRECT };

struct bucket {
    uint32_t id, watch;                /* watch: port, or NO_WATCH */
    uint64_t packets;
    int action_count;
    struct action *actions;
};

struct group {
    struct group *next;                /* in its list */
    uint32_t id;
    uint8_t type, hash_count;
    uint8_t hash[HASH_FIELDS_MAX];     /* fields */
    uint64_t packets, bytes;
    int bucket_count;
    struct bucket buckets[];
};

struct groups {
    struct group *slots[GROUP_SLOTS];
    int count;
};

struct pipeline;

struct group *group_find(const struct groups *all, uint32_t id);
/* Takes a group (from malloc); one with its ID goes, and its counters and those of buckets that stay go on. */
void group_put(struct groups *all, struct group *g);
void group_remove(struct groups *all, uint32_t id);
void group_free(struct group *g);
void group_clear(struct groups *all);
/* The bucket of a select or failover group for a packet; NULL if none is live. */
struct bucket *group_choose(struct group *g, const struct pipeline *s, const struct key *k);

#endif
