/* What makes a fabric: the commands of the configuration, read from its file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fabric_commands.h"
#include "host.h"
#include "settings.h"

#define AT(type, field) offsetof(struct type, field)
#define LINE_MAX_BYTES 65536
#define FAST_RING 64                   /* frames that wait in a device which holds nobody back: more would be delay */
#define RING 1000                      /* in one that does: room for what its discipline lets through at once */

static const struct setting options[] = {
    {"pool", IS_U64, AT(fabric, pool), 64, 1u << 24},
    {"realtime", IS_INT, AT(fabric, realtime), 0, 99},
    {"cpu", IS_INT, AT(fabric, cpu), 0, 1023},
    {"slack", IS_U64, AT(fabric, slack), 0, 1000000000},
    {"read_slack", IS_U64, AT(fabric, read_slack), 0, 1000000000},
    {"seed", IS_U64, AT(fabric, seed), 0, UINT64_MAX},
    {NULL, IS_TEXT, 0, 0, 0},
};

bool run_option(struct words *w, struct why *why) { return read_settings(options, w->count, w->list, &fabric, why); }

static bool is_free_name(const char *name, struct why *why) {
    if (!*name || strlen(name) > NAME_MAX_BYTES || strstr(name, "->") || strchr(name, ':'))
        return refuse(why, "a name has 1 to %d bytes, without ':' and '->', not '%.80s'", NAME_MAX_BYTES, name);
    if (find_node(name))
        return refuse(why, "there is a %s already", name);
    if (fabric.node_count == NODES_MAX)
        return refuse(why, "there is room for %d nodes", NODES_MAX);
    return true;
}

bool run_switch(struct words *w, struct why *why) {
    if (!is_free_name(w->list[0], why))
        return false;
    add_switch(w->list[0]);
    return true;
}

struct host_words {
    char *netns, *device, *mac, *attach;
    int mtu, ring;
    bool is_encapsulated;
};
static const struct setting host_settings[] = {
    {"netns", IS_TEXT, AT(host_words, netns), 0, 0},
    {"device", IS_TEXT, AT(host_words, device), 0, 0},
    {"mac", IS_TEXT, AT(host_words, mac), 0, 0},
    {"attach", IS_TEXT, AT(host_words, attach), 0, 0},
    {"mtu", IS_INT, AT(host_words, mtu), 68, 9216},
    {"ring", IS_INT, AT(host_words, ring), 1, 65536},
    {"encapsulated", IS_FLAG, AT(host_words, is_encapsulated), 0, 1},
    {NULL, IS_TEXT, 0, 0, 0},
};

bool run_host(struct words *w, struct why *why) {
    struct host_words said = {.mtu = 1500};
    uint64_t mac;
    if (!is_free_name(w->list[0], why) || !read_settings(host_settings, w->count - 1, w->list + 1, &said, why))
        return false;
    if (!said.netns || !said.device || !said.mac || !said.attach)
        return refuse(why, "a host has netns=, device=, mac= and attach=");
    if (!*said.device || strlen(said.device) >= IFNAMSIZ)
        return refuse(why, "a device's name has 1 to %d bytes, not '%.80s'", IFNAMSIZ - 1, said.device);
    if (strcmp(said.attach, "calm") != 0 && strcmp(said.attach, "fast") != 0 && strcmp(said.attach, "gated") != 0)
        return refuse(why, "attach is calm, fast or gated, not '%.80s'", said.attach);
    if (!read_value(said.mac, ETH_DST, &mac, why))
        return false;
    struct host *h = calloc(1, sizeof *h);
    if (!h || !(h->netns = strdup(said.netns)))
        return refuse(why, "no memory");
    strcpy(h->device, said.device);
    store(h->mac, 6, mac);
    h->mtu = said.mtu;
    h->is_fast = strcmp(said.attach, "fast") == 0;
    h->ring = said.ring ? said.ring : h->is_fast ? FAST_RING : RING;
    h->is_gated = strcmp(said.attach, "gated") == 0;
    h->is_encapsulated = said.is_encapsulated;
    add_host(w->list[0], h);
    if (fabric.largest < h->mtu + HEADROOM)
        fabric.largest = h->mtu + HEADROOM;
    return true;
}

/* NODE:PORT of one end of a cable. */
static struct node *read_end(char *word, uint32_t *port, struct why *why) {
    char *colon = strrchr(word, ':');
    uint64_t number;
    if (!colon || !read_number(colon + 1, 0xffffff00u - 1, &number)) {
        refuse(why, "an end of a cable is NODE:PORT, not '%.80s'", word);
        return NULL;
    }
    *colon = '\0';
    *port = (uint32_t)number;
    struct node *n = find_node(word);
    if (!n)
        refuse(why, "there is no node %.80s", word);
    else if (n->host && *port)
        refuse(why, "a host has port 0 alone, not %u", *port), n = NULL;
    else if (n->pipeline && (*port == PORT_TUNNEL || !*port))
        refuse(why, "port %u of a switch is no link's", *port), n = NULL;
    else if (has_port_direction(n, *port))
        refuse(why, "%s has a cable at port %u already", n->name, *port), n = NULL;
    else if (n->port_count == 1024)
        refuse(why, "a switch has at most 1024 ports"), n = NULL;
    return n;
}

bool run_link(struct words *w, struct why *why) {
    uint32_t a_port, b_port;
    struct node *a = read_end(w->list[1], &a_port, why), *b = a ? read_end(w->list[2], &b_port, why) : NULL;
    char both[2 * NAME_MAX_BYTES + 8];
    if (!b)
        return false;
    snprintf(both, sizeof both, "%s->%s", a->name, b->name);
    if (a == b || find_direction(both))
        return refuse(why, "%s to %s: nodes are two, with one cable between them", a->name, b->name);
    if (fabric.direction_count + 2 > DIRECTIONS_MAX)
        return refuse(why, "there is room for %d directions", DIRECTIONS_MAX);
    struct direction *d = connect_nodes(a, a_port, b, b_port);
    return name_link(w->list[0], d, why) && set_direction(d, w->count - 3, w->list + 3, why)
           && set_direction(d->reverse, w->count - 3, w->list + 3, why);
}

bool run_dscp(struct words *w, struct why *why) {
    static const struct setting queue[] = {{"queue", IS_INT, 0, 0, QUEUES - 1}, {NULL, IS_TEXT, 0, 0, 0}};
    uint64_t dscp;
    int number = 0;
    if (!read_number(w->list[0], 63, &dscp))
        return refuse(why, "a DSCP is a number from 0 to 63, not '%.80s'", w->list[0]);
    if (!read_settings(queue, w->count - 1, w->list + 1, &number, why))
        return false;
    fabric.queue_of_dscp[dscp] = (uint8_t)number;
    return true;
}

static uint64_t count_lines(FILE *file, const char *command) {
    char line[LINE_MAX_BYTES];
    uint64_t count = 0;
    rewind(file);
    while (fgets(line, sizeof line, file))
        count += strncmp(line, command, strlen(command)) == 0;
    rewind(file);
    return count;
}

static _Noreturn void wrong(const char *path, int line, const char *sentence) {
    die(2, "%s:%d: %s", path, line, sentence);
}

static void load_line(const char *path, int number, char *line) {
    char *words[WORDS_MAX], *answer = NULL;
    size_t size = 0;
    int count = split(line, words, WORDS_MAX);
    FILE *out = open_memstream(&answer, &size);
    fabric_command(count, words, true, 0, out);
    fclose(out);
    if (strncmp(answer, "error ", 6) == 0)
        wrong(path, number, answer + 6);
    free(answer);
}

void load_config(const char *path, const char *counters) {
    static char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "re");
    if (!file)
        die(2, "%s: %s", path, strerror(errno));
    fabric = (struct fabric){.pool = 131072, .realtime = 50, .cpu = -1, .slack = 30000, .read_slack = 30000};
    counters_open(counters, 2 * count_lines(file, "link "), count_lines(file, "host "), count_lines(file, "switch "));
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        size_t length = strcspn(line, "\n");
        if (length == sizeof line - 1)
            wrong(path, number, "a line has at most 65535 bytes");
        line[length] = '\0';
        if (length && *line != '#')
            load_line(path, number, line);
    }
    fclose(file);
    if (!fabric.largest)
        fabric.largest = 1500 + HEADROOM;
    for (uint32_t i = 0; i < fabric.host_count; i++)
        if (!fabric.hosts[i]->port_count)
            die(2, "%s: host %s has no link", path, fabric.hosts[i]->name);
    memory_init();
}
