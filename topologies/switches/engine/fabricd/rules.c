/* Commands about rules. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

struct wanted_rule {
    int64_t table, priority, next_table;       /* -1: not said */
    uint64_t cookie;
    bool has_match, has_actions;
    struct key match, mask;
    struct actions actions;
};

static bool read_small(const char *name, const char *text, uint64_t most, int64_t *value, struct why *why) {
    uint64_t number;
    if (!read_number(text, most, &number))
        return refuse(why, "%s is a number up to %" PRIu64 ", not '%.80s'", name, most, text);
    *value = number;
    return true;
}

static bool read_rule_word(char *word, char *next, struct wanted_rule *r, bool *took_next, struct why *why) {
    const char *value;
    *took_next = false;
    if ((value = after_name(word, "table")))
        return read_small("table", value, TABLES - 1, &r->table, why);
    if ((value = after_name(word, "priority")))
        return read_small("priority", value, UINT16_MAX, &r->priority, why);
    if ((value = after_name(word, "goto")))
        return read_small("goto", value, TABLES - 1, &r->next_table, why);
    if ((value = after_name(word, "cookie")))
        return read_number(value, UINT64_MAX, &r->cookie)
            || refuse(why, "a cookie is a number of 64 bits, not '%.80s'", value);
    bool is_match = strcmp(word, "match") == 0;
    if (!is_match && strcmp(word, "do") != 0)
        return refuse(why, "a rule has table=T, priority=P, cookie=N, match K=V,..., do ACTION;... and goto=T, not '%.80s'",
                      word);
    if (!next)
        return refuse(why, "nothing follows '%s'", word);
    *took_next = true;
    *(is_match ? &r->has_match : &r->has_actions) = true;
    return is_match ? read_match(next, &r->match, &r->mask, why) : read_actions(next, &r->actions, why);
}

static bool read_rule(int count, char **words, struct wanted_rule *r, struct why *why) {
    *r = (struct wanted_rule){.table = -1, .priority = -1, .next_table = NO_TABLE};
    bool took_next;
    for (int i = 0; i < count; i += 1 + took_next)
        if (!read_rule_word(words[i], i + 1 < count ? words[i + 1] : NULL, r, &took_next, why))
            return false;
    const char *missing = r->table < 0 ? "table=T" : r->priority < 0 ? "priority=P" : !r->has_match ? "match K=V,..."
                        : !r->has_actions ? "do ACTION;..." : NULL;
    if (missing)
        return refuse(why, "a rule has %s; this one has none", missing);
    if (r->next_table != NO_TABLE && r->next_table <= r->table)
        return refuse(why, "goto leads to a table after the rule's own, %d, not to %d", (int)r->table, (int)r->next_table);
    return true;
}

static bool put_rule(struct pipeline *s, uint32_t id, const struct wanted_rule *wanted, struct why *why) {
    struct rule *old = classifier_find(&s->rules, id);
    const struct rule *same = classifier_same(&s->rules, wanted->table, wanted->priority, &wanted->match, &wanted->mask);
    if (same && same != old)
        return refuse(why, "rule %" PRIu32 " of table %d has this match and this priority", same->id, same->table);
    if (!old && s->rules.rules == RULES_MAX)
        return refuse(why, "a switch has at most %d rules", RULES_MAX);
    struct rule *r = zeroed(sizeof *r + wanted->actions.count * sizeof *r->actions);
    *r = (struct rule){.match = wanted->match, .cookie = wanted->cookie, .packets = old ? old->packets : 0,
                       .bytes = old ? old->bytes : 0, .id = id, .priority = wanted->priority, .table = wanted->table,
                       .next_table = wanted->next_table, .action_count = wanted->actions.count};
    memcpy(r->actions, wanted->actions.list, r->action_count * sizeof *r->actions);
    if (!classifier_add(&s->rules, r, &wanted->mask)) {
        free(r);
        return refuse(why, "a table has at most %d masks, and this match has another one", MASKS_MAX);
    }
    if (old)
        classifier_remove(&s->rules, old);
    for (int w = 0; w < KEY_WORDS; w++)
        s->seen.word[w] |= wanted->mask.word[w];
    see_actions(s, r->actions, r->action_count);
    cache_forget(&s->cache);
    return true;
}

bool run_rule(struct request *q) {
    struct wanted_rule wanted;
    return read_rule(q->count, q->words, &wanted, q->why) && check_actions(q->s, &wanted.actions, false, q->why)
        && put_rule(q->s, q->id, &wanted, q->why) && fputs("ok", q->out) >= 0;
}

bool run_unrule(struct request *q) {
    struct rule *r = classifier_find(&q->s->rules, q->id);
    if (!r)
        return refuse(q->why, "there is no rule %" PRIu32, q->id);
    fprintf(q->out, "ok %" PRIu64 " %" PRIu64, r->packets, r->bytes);
    classifier_remove(&q->s->rules, r);
    cache_forget(&q->s->cache);
    return true;
}

bool run_rules(struct request *q) {
    fputs("ok", q->out);
    for (int slot = 0; slot < RULE_SLOTS; slot++)
        for (const struct rule *r = q->s->rules.by_id[slot]; r; r = r->next_id)
            put_counters(' ', r->id, r->packets, r->bytes, q->out);
    return true;
}

/* Rules with neither action nor goto, by what their controller calls them. */
bool run_drops(struct request *q) {
    fputs("ok", q->out);
    for (int slot = 0; slot < RULE_SLOTS; slot++)
        for (const struct rule *r = q->s->rules.by_id[slot]; r; r = r->next_id)
            if (r->action_count == 0 && r->next_table == NO_TABLE)
                fprintf(q->out, " %" PRIu64 ":%" PRIu64, r->cookie, r->packets);
    return true;
}
