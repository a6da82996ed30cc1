/* Commands about rules, groups and tunnels: which there are, and those that are neither rules nor groups. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

void *zeroed(size_t bytes) { return resized(NULL, bytes); }

void *resized(void *memory, size_t bytes) {
    void *result = memory ? realloc(memory, bytes) : calloc(1, bytes);
    if (!result) {
        fprintf(stderr, "fabricd: no memory: %zu bytes for rules\n", bytes);
        exit(1);
    }
    return result;
}

/* If a word is NAME=VALUE: the value, else NULL. */
const char *after_name(const char *word, const char *name) {
    size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

/* Actions name groups that are there, and TABLE in a packet-out alone. */
bool check_actions(const struct pipeline *s, const struct actions *a, bool is_packet_out, struct why *why) {
    for (int i = 0; i < a->count; i++) {
        if (a->list[i].kind == GROUP && !group_find(&s->groups, a->list[i].number))
            return refuse(why, "there is no group %" PRIu32, a->list[i].number);
        if (a->list[i].kind == OUTPUT && a->list[i].number == PORT_TABLE && !is_packet_out)
            return refuse(why, "output:TABLE is for a packet-out");
    }
    return true;
}

/* A number in decimal: of ten thousand rules, printf's way takes milliseconds. */
void put_number(uint64_t value, FILE *out) {
    char digits[20];
    int count = 0;
    do
        digits[count++] = '0' + value % 10;
    while (value /= 10);
    while (count)
        putc_unlocked(digits[--count], out);
}

void put_counters(char before, uint64_t id, uint64_t packets, uint64_t bytes, FILE *out) {
    putc_unlocked(before, out);
    put_number(id, out);
    putc_unlocked(':', out);
    put_number(packets, out);
    putc_unlocked(':', out);
    put_number(bytes, out);
}

static bool read_endpoint(char **words, struct endpoint *e, struct why *why) {
    uint64_t address, mac;
    if (!read_value(words[0], TUN_IPV4_DST, &address, why) || !read_value(words[1], ETH_DST, &mac, why))
        return false;
    e->address = address;
    store(e->mac, 6, mac);
    return true;
}

static bool run_vtep(struct request *q) {
    struct pipeline *s = q->s;
    struct endpoint e;
    int i = 0;
    if (!read_endpoint(q->words, &e, q->why))
        return false;
    while (i < s->vtep_count && s->vteps[i].address != e.address)
        i++;
    if (i == VTEPS_MAX)
        return refuse(q->why, "a switch has at most %d VTEP addresses", VTEPS_MAX);
    s->vtep_count += i == s->vtep_count;
    s->vteps[i] = e;
    cache_forget(&s->cache);
    return fputs("ok", q->out) >= 0;
}

/* Where the first neighbour is whose address is not lower. */
static int neighbour_place(const struct pipeline *s, uint32_t address) {
    int low = 0, high = s->neighbour_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (s->neighbours[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct endpoint *find_neighbour(const struct pipeline *s, uint32_t address) {
    int i = neighbour_place(s, address);
    return i < s->neighbour_count && s->neighbours[i].address == address ? &s->neighbours[i] : NULL;
}

static bool run_neighbour(struct request *q) {
    struct pipeline *s = q->s;
    struct endpoint e;
    if (!read_endpoint(q->words, &e, q->why))
        return false;
    int i = neighbour_place(s, e.address);
    if (!find_neighbour(s, e.address)) {
        if (s->neighbour_count == NEIGHBOURS_MAX)
            return refuse(q->why, "a switch has at most %d neighbours", NEIGHBOURS_MAX);
        if (s->neighbour_count == s->neighbour_room) {
            s->neighbour_room = s->neighbour_room ? 2 * s->neighbour_room : 64;
            s->neighbours = resized(s->neighbours, s->neighbour_room * sizeof *s->neighbours);
        }
        memmove(s->neighbours + i + 1, s->neighbours + i, (s->neighbour_count++ - i) * sizeof *s->neighbours);
    }
    s->neighbours[i] = e;
    cache_forget(&s->cache);
    return fputs("ok", q->out) >= 0;
}

static struct packet *read_frame(const char *hex, struct why *why) {
    struct packet *p = packet_new();
    if (!p) {
        refuse(why, "there is no free packet");
        return NULL;
    }
    if (read_hex(hex, p->frame, packet_room(), &p->length, why))
        return p;
    packet_free(p);
    return NULL;
}

static bool read_in_port(const char *word, uint32_t *port, struct why *why) {
    return read_port(word, port) || refuse(why, "a port is a number, LOCAL or CONTROLLER, not '%.80s'", word);
}

static bool run_packet_out_command(struct request *q) {
    uint32_t port;
    struct actions actions;
    if (!read_in_port(q->words[0], &port, q->why) || !read_actions(q->words[1], &actions, q->why)
        || !check_actions(q->s, &actions, true, q->why))
        return false;
    struct packet *p = read_frame(q->words[2], q->why);
    if (!p)
        return false;
    run_packet_out(q->s, port, &actions, p, q->now);
    return fputs("ok", q->out) >= 0;
}

static bool run_trace(struct request *q) {
    uint32_t port;
    struct packet *p = read_in_port(q->words[0], &port, q->why) ? read_frame(q->words[1], q->why) : NULL;
    if (!p)
        return false;
    trace_packet(q->s, port, p, q->out);
    return true;
}

static bool run_clear(struct request *q) {
    pipeline_clear(q->s);
    return fputs("ok", q->out) >= 0;
}

struct command {
    const char *name, *usage;          /* usage: what follows the switch */
    bool has_id;
    int least, most;                   /* words after the switch */
    bool (*run)(struct request *q);
};

static const struct command commands[] = {
    {"vtep", "ADDRESS MAC", false, 2, 2, run_vtep},
    {"neighbour", "ADDRESS MAC", false, 2, 2, run_neighbour},
    {"rule", "ID table=T priority=P [cookie=N] match K=V,... do ACTION;... [goto=T]", true, 1, 9, run_rule},
    {"unrule", "ID", true, 1, 1, run_unrule},
    {"group", "ID type=T [hash=FIELD,...] buckets BUCKET:WATCH:ACTION;... ...", true, 1, INT32_MAX, run_group},
    {"ungroup", "ID", true, 1, 1, run_ungroup},
    {"rules", "nothing", false, 0, 0, run_rules},
    {"drops", "nothing", false, 0, 0, run_drops},
    {"groups", "nothing", false, 0, 0, run_groups},
    {"clear", "nothing", false, 0, 0, run_clear},
    {"packet-out", "PORT ACTION;... HEX", false, 3, 3, run_packet_out_command},
    {"trace", "PORT HEX", false, 2, 2, run_trace},
};

static const struct command *find(const char *name) {
    for (const struct command *c = commands; c < commands + sizeof commands / sizeof *commands; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

bool pipeline_has_command(const char *command) { return find(command) != NULL; }

static bool run(const struct command *c, struct request *q) {
    uint64_t id;
    if (q->count < c->least || q->count > c->most)
        return refuse(q->why, "'%s SWITCH' is followed by %s", c->name, c->usage);
    if (c->has_id && !read_number(q->words[0], UINT32_MAX, &id))
        return refuse(q->why, "an ID is a number of 32 bits, not '%.80s'", q->words[0]);
    if (c->has_id) {
        q->id = id;
        q->words++;
        q->count--;
    }
    return c->run(q);
}

void pipeline_command(struct pipeline *s, int count, char **words, ns_t now, FILE *out) {
    struct why why;
    struct request q = {.s = s, .count = count - 2, .words = words + 2, .now = now, .out = out, .why = &why};
    const struct command *c = count > 0 ? find(words[0]) : NULL;
    if (!c)
        refuse(&why, "there is no command '%.80s' about rules", count > 0 ? words[0] : "");
    else if (run(c, &q))
        return;
    fprintf(out, "error %s", why.sentence);
}
