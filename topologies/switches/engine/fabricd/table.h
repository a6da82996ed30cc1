/* Rules, and finding the one that a packet matches: for each mask that occurs in a table a lookup by hash, masks with
 * the highest priority first, until none can be better than what was found. */
#ifndef TABLE_H
#define TABLE_H

#include "action.h"

#define TABLES 254                     /* OpenFlow's 255 without Open vSwitch's own */
#define RULES_MAX 131072               /* of a switch */
#define MASKS_MAX 512                  /* of a table: a lookup may have to try each */
#define RULE_SLOTS 16384               /* lists of rules by match, and as many by ID; never resized: that takes time */
#define NO_TABLE (-1)

struct mask;

struct rule {
    struct rule *next_match, *next_id; /* in their lists */
    struct mask *mask;
    struct key match;                  /* what is under the mask */
    uint64_t cookie, packets, bytes;
    uint32_t id;
    uint16_t priority;
    uint8_t table;
    int16_t next_table;                /* or NO_TABLE */
    bool is_miss;                      /* matches all at priority 0 */
    int action_count;
    struct action actions[];
};

struct classifier {
    struct table *tables[TABLES];
    struct rule *by_match[RULE_SLOTS], *by_id[RULE_SLOTS];
    uint32_t rules, serial;            /* how many there are; numbers masks */
};

const struct rule *classifier_lookup(const struct classifier *c, int table, const struct key *k);
struct rule *classifier_find(const struct classifier *c, uint32_t id);
/* The rule with just this match, or NULL. */
struct rule *classifier_same(const struct classifier *c, int table, uint16_t priority, const struct key *match,
                             const struct key *mask);
/* Takes a rule (from malloc) whose table, priority, match and ID are set and that is like no other. False: the table
 * has MASKS_MAX masks already, and not this one. */
bool classifier_add(struct classifier *c, struct rule *r, const struct key *mask);
void classifier_remove(struct classifier *c, struct rule *r);      /* and frees it */
void classifier_clear(struct classifier *c);

#endif
