/* A command about rules while it is read and done. */
#ifndef COMMAND_H
#define COMMAND_H

#include "switch.h"

struct request {
    struct pipeline *s;
    uint32_t id;                       /* of the rule or group, if the command has one */
    int count;
    char **words;                      /* what follows the switch, and the ID */
    ns_t now;
    FILE *out;                         /* for the answer */
    struct why *why;                   /* or for why not */
};

/* False: the command is refused, and nothing has changed. */
bool run_rule(struct request *q);
bool run_unrule(struct request *q);
bool run_rules(struct request *q);
bool run_drops(struct request *q);
bool run_group(struct request *q);
bool run_ungroup(struct request *q);
bool run_groups(struct request *q);

const char *after_name(const char *word, const char *name);
bool check_actions(const struct pipeline *s, const struct actions *a, bool is_packet_out, struct why *why);
void put_number(uint64_t value, FILE *out);
void put_counters(char before, uint64_t id, uint64_t packets, uint64_t bytes, FILE *out);

#endif
