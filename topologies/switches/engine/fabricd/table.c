#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "switch.h"

struct level {                         /* how many rules a mask has at a priority */
    uint16_t priority;
    uint32_t rules;
};

struct mask {
    struct key bits;
    uint8_t words[KEY_WORDS], word_count;      /* those with any bits */
    uint32_t serial;
    uint32_t level_count, level_room;
    struct level *levels;              /* highest first */
};

struct table {
    int mask_count;
    struct mask *masks[MASKS_MAX];     /* by their highest priority, highest first */
};

static uint16_t highest(const struct mask *m) { return m->levels[0].priority; }

static uint32_t slot_of(const struct mask *m, const struct key *k) {
    uint64_t h = m->serial;
    for (int i = 0; i < m->word_count; i++)
        h = mix(h ^ (k->word[m->words[i]] & m->bits.word[m->words[i]]));
    return h % RULE_SLOTS;
}

static bool matches(const struct rule *r, const struct mask *m, const struct key *k) {
    if (r->mask != m)
        return false;
    for (int i = 0; i < m->word_count; i++)
        if ((k->word[m->words[i]] & m->bits.word[m->words[i]]) != r->match.word[m->words[i]])
            return false;
    return true;
}

const struct rule *classifier_lookup(const struct classifier *c, int table, const struct key *k) {
    const struct table *t = c->tables[table];
    const struct rule *best = NULL;
    for (int i = 0; t && i < t->mask_count; i++) {
        const struct mask *m = t->masks[i];
        if (best && best->priority >= highest(m))
            break;
        const struct rule *r = c->by_match[slot_of(m, k)];     /* of one match, the highest priority is first */
        while (r && !matches(r, m, k))
            r = r->next_match;
        if (r && (!best || r->priority > best->priority))
            best = r;
    }
    return best;
}

struct rule *classifier_find(const struct classifier *c, uint32_t id) {
    struct rule *r = c->by_id[id % RULE_SLOTS];
    while (r && r->id != id)
        r = r->next_id;
    return r;
}

static int find_mask(const struct table *t, const struct key *bits) {
    for (int i = 0; t && i < t->mask_count; i++)
        if (memcmp(&t->masks[i]->bits, bits, sizeof *bits) == 0)
            return i;
    return -1;
}

struct rule *classifier_same(const struct classifier *c, int table, uint16_t priority, const struct key *match,
                             const struct key *mask) {
    int i = find_mask(c->tables[table], mask);
    if (i < 0)
        return NULL;
    const struct mask *m = c->tables[table]->masks[i];
    struct rule *r = c->by_match[slot_of(m, match)];
    while (r && !(r->priority == priority && matches(r, m, match)))
        r = r->next_match;
    return r;
}

static struct mask *new_mask(struct classifier *c, const struct key *bits) {
    struct mask *m = zeroed(sizeof *m);
    m->bits = *bits;
    m->serial = ++c->serial;
    for (int w = 0; w < KEY_WORDS; w++)
        if (bits->word[w])
            m->words[m->word_count++] = w;
    return m;
}

/* One rule more or less of a priority. */
static void count_level(struct mask *m, uint16_t priority, int change) {
    uint32_t i = 0;
    while (i < m->level_count && m->levels[i].priority > priority)
        i++;
    if (i == m->level_count || m->levels[i].priority != priority) {
        if (m->level_count == m->level_room) {
            m->level_room = m->level_room ? 2 * m->level_room : 4;
            m->levels = resized(m->levels, m->level_room * sizeof *m->levels);
        }
        memmove(m->levels + i + 1, m->levels + i, (m->level_count++ - i) * sizeof *m->levels);
        m->levels[i] = (struct level){priority, 0};
    }
    m->levels[i].rules += change;
    if (m->levels[i].rules == 0)
        memmove(m->levels + i, m->levels + i + 1, (--m->level_count - i) * sizeof *m->levels);
}

/* Put masks[i] where its highest priority belongs; the others are in order. */
static void settle(struct table *t, int i) {
    struct mask *m = t->masks[i];
    memmove(t->masks + i, t->masks + i + 1, (--t->mask_count - i) * sizeof *t->masks);
    if (m->level_count == 0) {
        free(m->levels);
        free(m);
        return;
    }
    int to = 0;
    while (to < t->mask_count && highest(t->masks[to]) >= highest(m))
        to++;
    memmove(t->masks + to + 1, t->masks + to, (t->mask_count++ - to) * sizeof *t->masks);
    t->masks[to] = m;
}

bool classifier_add(struct classifier *c, struct rule *r, const struct key *mask) {
    struct table *t = c->tables[r->table];
    if (!t)
        t = c->tables[r->table] = zeroed(sizeof *t);
    int i = find_mask(t, mask);
    if (i < 0) {
        if (t->mask_count == MASKS_MAX)
            return false;
        i = t->mask_count++;
        t->masks[i] = new_mask(c, mask);
    }
    struct mask *m = r->mask = t->masks[i];
    r->is_miss = r->priority == 0 && m->word_count == 0;
    count_level(m, r->priority, 1);
    settle(t, i);
    struct rule **at = &c->by_match[slot_of(m, &r->match)];
    while (*at && (*at)->priority > r->priority)
        at = &(*at)->next_match;
    r->next_match = *at;
    *at = r;
    r->next_id = c->by_id[r->id % RULE_SLOTS];
    c->by_id[r->id % RULE_SLOTS] = r;
    c->rules++;
    return true;
}

void classifier_remove(struct classifier *c, struct rule *r) {
    struct rule **at = &c->by_match[slot_of(r->mask, &r->match)];
    while (*at != r)
        at = &(*at)->next_match;
    *at = r->next_match;
    for (at = &c->by_id[r->id % RULE_SLOTS]; *at != r; at = &(*at)->next_id) {}
    *at = r->next_id;
    struct table *t = c->tables[r->table];
    int i = 0;
    while (t->masks[i] != r->mask)
        i++;
    count_level(r->mask, r->priority, -1);
    settle(t, i);
    c->rules--;
    free(r);
}

void classifier_clear(struct classifier *c) {
    for (int slot = 0; slot < RULE_SLOTS; slot++)
        while (c->by_id[slot])
            classifier_remove(c, c->by_id[slot]);
    for (int t = 0; t < TABLES; t++) {
        free(c->tables[t]);
        c->tables[t] = NULL;
    }
}
