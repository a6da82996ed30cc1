/* Commands about groups. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static bool read_group_type(const char *text, struct group *g, struct why *why) {
    static const char *const types[] = {[SELECT] = "select", [FAILOVER] = "failover", [GROUP_ALL] = "all",
                                        [INDIRECT] = "indirect"};
    for (unsigned t = 0; t < sizeof types / sizeof *types; t++)
        if (strcmp(text, types[t]) == 0) {
            g->type = t;
            return true;
        }
    return refuse(why, "a group's type is select, failover, all or indirect, not '%.80s'", text);
}

static bool read_hash(char *text, struct group *g, struct why *why) {
    g->hash_count = 0;
    for (char *rest = text, *name; (name = strsep(&rest, ","));) {
        int f = field_by_name(name);
        if (f < 0)
            return refuse(why, "there is no field '%.80s' to hash", name);
        if (g->hash_count == HASH_FIELDS_MAX)
            return refuse(why, "a hash is over at most %d fields", HASH_FIELDS_MAX);
        g->hash[g->hash_count++] = f;
    }
    return true;
}

/* BUCKET:WATCH:ACTION;... */
static bool read_bucket(char *text, struct pipeline *s, struct bucket *b, struct why *why) {
    char *rest = text, *id = strsep(&rest, ":"), *watch = rest ? strsep(&rest, ":") : NULL;
    struct actions actions;
    uint64_t number;
    *b = (struct bucket){.watch = NO_WATCH};
    if (!rest)
        return refuse(why, "a bucket is BUCKET:WATCH:ACTION;..., not '%.80s'", text);
    if (!read_number(id, UINT32_MAX, &number))
        return refuse(why, "a bucket's ID is a number of 32 bits, not '%.80s'", id);
    b->id = number;
    if (strcmp(watch, "-") != 0 && (!read_port(watch, &b->watch) || b->watch == NO_WATCH))
        return refuse(why, "a bucket watches a port or '-', not '%.80s'", watch);
    if (!read_actions(rest, &actions, why) || !check_actions(s, &actions, false, why))
        return false;
    order_as_set(&actions);
    b->action_count = actions.count;
    b->actions = zeroed(actions.count * sizeof *b->actions + 1);
    memcpy(b->actions, actions.list, actions.count * sizeof *b->actions);
    return true;
}

static bool read_buckets(int count, char **words, struct pipeline *s, struct group *g, struct why *why) {
    if (count > BUCKETS_MAX)
        return refuse(why, "a group has at most %d buckets, not %d", BUCKETS_MAX, count);
    for (; g->bucket_count < count; g->bucket_count++) {
        struct bucket *b = &g->buckets[g->bucket_count];
        if (!read_bucket(words[g->bucket_count], s, b, why))
            return false;
        for (const struct bucket *other = g->buckets; other < b; other++)
            if (other->id == b->id) {
                g->bucket_count++;
                return refuse(why, "two buckets have the ID %" PRIu32, b->id);
            }
    }
    return g->type != INDIRECT || count == 1 || refuse(why, "an indirect group has one bucket, not %d", count);
}

static bool read_group(int count, char **words, struct pipeline *s, struct group *g, struct why *why) {
    static const uint8_t usual[] = {IPV4_SRC, IPV4_DST, IP_PROTO, TCP_SRC, TCP_DST, UDP_SRC, UDP_DST, ETH_SRC, ETH_DST};
    bool has_type = false;
    memcpy(g->hash, usual, g->hash_count = sizeof usual);
    for (int i = 0; i < count; i++) {
        const char *value = after_name(words[i], "type");
        if (strcmp(words[i], "buckets") == 0)
            return has_type ? read_buckets(count - i - 1, words + i + 1, s, g, why)
                            : refuse(why, "a group has type=T; this one has none");
        if (value && !read_group_type(value, g, why))
            return false;
        has_type |= value != NULL;
        if (!value && !(value = after_name(words[i], "hash")))
            return refuse(why, "a group has type=T, hash=FIELD,... and buckets, not '%.80s'", words[i]);
        if (value != after_name(words[i], "type") && !read_hash((char *)value, g, why))
            return false;
    }
    return refuse(why, "a group has buckets; this one has none");
}

static bool refers_to(const struct action *list, int count, uint32_t id) {
    for (int i = 0; i < count; i++)
        if (list[i].kind == GROUP && list[i].number == id)
            return true;
    return false;
}

bool run_group(struct request *q) {
    struct pipeline *s = q->s;
    if (!group_find(&s->groups, q->id) && s->groups.count == GROUPS_MAX)
        return refuse(q->why, "a switch has at most %d groups", GROUPS_MAX);
    struct group *g = zeroed(sizeof *g + (size_t)q->count * sizeof *g->buckets);
    g->id = q->id;
    if (!read_group(q->count, q->words, s, g, q->why)) {
        group_free(g);
        return false;
    }
    for (int i = 0; i < g->bucket_count; i++)
        see_actions(s, g->buckets[i].actions, g->buckets[i].action_count);
    for (int i = 0; i < g->hash_count; i++)
        see_field(s, g->hash[i]);
    group_put(&s->groups, g);
    cache_forget(&s->cache);
    return fputs("ok", q->out) >= 0;
}

bool run_ungroup(struct request *q) {
    struct classifier *rules = &q->s->rules;
    if (!group_find(&q->s->groups, q->id))
        return refuse(q->why, "there is no group %" PRIu32, q->id);
    group_remove(&q->s->groups, q->id);
    fputs("ok", q->out);
    char before = ' ';
    for (int slot = 0; slot < RULE_SLOTS; slot++)
        for (struct rule *r = rules->by_id[slot], *next; r; r = next) {
            next = r->next_id;
            if (!refers_to(r->actions, r->action_count, q->id))
                continue;
            putc_unlocked(before, q->out);
            put_number(r->id, q->out);
            before = ',';
            classifier_remove(rules, r);
        }
    cache_forget(&q->s->cache);
    return true;
}

bool run_groups(struct request *q) {
    fputs("ok", q->out);
    for (int slot = 0; slot < GROUP_SLOTS; slot++)
        for (const struct group *g = q->s->groups.slots[slot]; g; g = g->next) {
            put_counters(' ', g->id, g->packets, g->bytes, q->out);
            for (int i = 0; i < g->bucket_count; i++) {
                putc_unlocked(i ? ',' : ':', q->out);
                put_number(g->buckets[i].id, q->out);
                putc_unlocked('=', q->out);
                put_number(g->buckets[i].packets, q->out);
            }
        }
    return true;
}
