/* Commands about the fabric (docs/engine.md), by file. */
#ifndef FABRIC_COMMANDS_H
#define FABRIC_COMMANDS_H

#include <stdio.h>

#include "fabric.h"
#include "key.h"
#include "text.h"

#define WORDS_MAX 1100                 /* of a line: a group has up to 1024 buckets */

struct words {
    int count;
    char **list;                       /* behind the command */
    ns_t now;
    FILE *out;                         /* for an answer that is more than `ok` */
    bool has_answered;
};

/* config.c */
bool run_option(struct words *w, struct why *why), run_switch(struct words *w, struct why *why);
bool run_host(struct words *w, struct why *why), run_link(struct words *w, struct why *why);
bool run_dscp(struct words *w, struct why *why);

/* links.c */
bool name_link(const char *name, struct direction *d, struct why *why);
bool set_direction(struct direction *d, int count, char **words, struct why *why);
struct node *named_switch(const char *name, struct why *why);
struct direction *named_direction(const char *name, struct why *why);
bool run_direction(struct words *w, struct why *why), run_queue(struct words *w, struct why *why);
bool run_cable(struct words *w, struct why *why), run_way(struct words *w, struct why *why);
bool run_power(struct words *w, struct why *why), run_inject(struct words *w, struct why *why);

/* show.c */
bool run_show(struct words *w, struct why *why);

#endif
