/* Pipelines without a fabric: commands on standard input, what comes of them on standard output. No devices.
 *
 *   switch NAME                    port NAME PORT             a switch, and a link of it
 *   cable A PORT B PORT            what leaves the one enters the other, at once and as metadata
 *   live NAME PORT up|down         frame NAME PORT HEX        bytes come in; VXLAN stays bytes
 *   decoded NAME PORT HEX          the same, with an encapsulation as metadata
 *   counts NAME                    pool MOST                  packets at a time
 *   time NAME PORT COUNT cold|warm HEX                        median, p99 and most of COUNT packets, nanoseconds; cold: a
 *                                                             port has changed before each
 *   and the commands of docs/engine.md about rules
 *
 * Each is answered by ok or error, after the lines about what happened: `out NAME PORT HEX` (with encapsulations as
 * bytes), `cross NAME PORT` of cables, `dead NAME PORT` of those that are down, `event packet-in ...`.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline.h"
#include "pool.h"
#include "vxlan.h"

#define NODES 128
#define LINKS 65536
#define WORDS 2048

struct node {
    char name[32];
    struct pipeline *pipeline;
    bool is_down[LINKS];
    struct { struct node *far; uint32_t port; } cables[LINKS];
};

static struct node *nodes[NODES];
static int node_count;
static bool is_timed;                  /* and says nothing */

static void put_hex(const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        printf("%02x", bytes[i]);
    putchar('\n');
}

static void emit(void *context, uint32_t port, struct packet *p, ns_t now) {
    struct node *n = context;
    if (is_timed) {
        packet_free(p);
        return;
    }
    if (port < LINKS && n->is_down[port]) {
        printf("dead %s %u\n", n->name, port);
        packet_free(p);
        return;
    }
    if (port < LINKS && n->cables[port].far) {
        printf("cross %s %u\n", n->name, port);
        pipeline_run(n->cables[port].far->pipeline, n->cables[port].port, p, now);
        return;
    }
    printf("out %s %u ", n->name, port);
    vxlan_encode(p);
    put_hex(p->frame, p->length);
    packet_free(p);
}

static void to_controller(void *context, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie,
                          uint16_t max_length, const struct packet *p) {
    struct node *n = context;
    uint8_t header[VXLAN_OVERHEAD];
    uint32_t length = p->length;
    if (is_timed)
        return;
    printf("event packet-in %s %u %u %u %" PRIu64 " %u ", n->name, in_port, reason, table, cookie, wire_length(p));
    if (p->tunnel.on) {
        vxlan_header(p, header);
        for (unsigned i = 0; i < sizeof header; i++)
            printf("%02x", header[i]);
    }
    put_hex(p->frame, length < max_length ? length : max_length);
}

static bool is_live(void *context, uint32_t port) {
    const struct node *n = context;
    return port < LINKS && !n->is_down[port];
}

static struct node *find(const char *name) {
    for (int i = 0; i < node_count; i++)
        if (strcmp(nodes[i]->name, name) == 0)
            return nodes[i];
    return NULL;
}

static void add_switch(const char *name) {
    static const struct pipeline_ops ops = {emit, to_controller, is_live};
    struct node *n = node_count < NODES ? calloc(1, sizeof *n) : NULL;
    if (!n)
        abort();
    snprintf(n->name, sizeof n->name, "%s", name);
    n->pipeline = pipeline_new(n->name, &ops, n);
    nodes[node_count++] = n;
}

static void put_counts(const struct node *n) {
    static const char *const names[] = {"no_match", "no_bucket", "expired", "malformed", "no_port", "no_neighbour",
                                        "looping", "to_controller", "dropped_by_rule", "copies", "cache_hits",
                                        "cache_misses"};
    const uint64_t *counts = (const uint64_t *)pipeline_counts(n->pipeline);
    printf("ok");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        printf(" %s=%" PRIu64, names[i], counts[i]);
    putchar('\n');
}

static struct packet *read_packet(const char *hex, bool is_decoded) {
    struct packet *p = packet_new();
    unsigned byte;
    for (; p && *hex && sscanf(hex, "%2x", &byte) == 1 && p->length < packet_room(); hex += 2)
        p->frame[p->length++] = byte;
    if (p && is_decoded)
        vxlan_decode(p);
    return p;
}

static void send_frame(struct node *n, uint32_t port, const char *hex, bool is_decoded) {
    struct packet *p = read_packet(hex, is_decoded);
    if (p)
        pipeline_run(n->pipeline, port, p, 0);
    puts(p ? "ok" : "error no packet");
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void time_frame(struct node *n, uint32_t port, uint32_t count, bool is_cold, const char *hex) {
    struct packet *like = read_packet(hex, true);
    uint64_t *took = calloc(count, sizeof *took);
    is_timed = true;
    for (uint32_t i = 0; like && took && i < count; i++) {
        struct packet *p = packet_copy(like);
        if (is_cold)
            pipeline_port_changed(n->pipeline, port);
        uint64_t start = clock_ns();
        pipeline_run(n->pipeline, port, p, 0);
        took[i] = clock_ns() - start;
    }
    is_timed = false;
    packet_free(like);
    qsort(took, count, sizeof *took, by_size);
    printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", took[count / 2], took[count * 99 / 100], took[count - 1]);
    free(took);
}

/* Commands of this program; false: it is one of the pipeline's. */
static bool run_own(int count, char **words) {
    struct node *n = count > 1 ? find(words[1]) : NULL;
    uint32_t port = count > 2 ? strtoul(words[2], NULL, 0) : 0;
    if (strcmp(words[0], "switch") == 0 && count == 2)
        add_switch(words[1]);
    else if (strcmp(words[0], "pool") == 0 && count == 2)
        pool_limit(atoi(words[1]));
    else if (strcmp(words[0], "port") == 0 && n && count == 3)
        pipeline_add_port(n->pipeline, port);
    else if (strcmp(words[0], "live") == 0 && n && count == 4 && port < LINKS) {
        n->is_down[port] = strcmp(words[3], "down") == 0;
        pipeline_port_changed(n->pipeline, port);
    } else if (strcmp(words[0], "cable") == 0 && n && count == 5 && port < LINKS && find(words[3])) {
        uint32_t far = strtoul(words[4], NULL, 0) % LINKS;
        n->cables[port].far = find(words[3]);
        n->cables[port].port = far;
        find(words[3])->cables[far].far = n;
        find(words[3])->cables[far].port = port;
    } else
        return false;
    puts("ok");
    return true;
}

static void run(int count, char **words) {
    struct node *n = count > 1 ? find(words[1]) : NULL;
    if (run_own(count, words))
        return;
    bool is_decoded = strcmp(words[0], "decoded") == 0;
    if (!n) {
        puts("error no such switch");
    } else if (count == 4 && (is_decoded || strcmp(words[0], "frame") == 0)) {
        send_frame(n, strtoul(words[2], NULL, 0), words[3], is_decoded);
    } else if (count == 6 && strcmp(words[0], "time") == 0) {
        time_frame(n, strtoul(words[2], NULL, 0), strtoul(words[3], NULL, 0), strcmp(words[4], "cold") == 0, words[5]);
    } else if (strcmp(words[0], "counts") == 0) {
        put_counts(n);
    } else {
        pipeline_command(n->pipeline, count, words, 0, stdout);
        putchar('\n');
    }
}

int main(void) {
    char *line = NULL, *words[WORDS];
    size_t room = 0;
    for (ssize_t length; (length = getline(&line, &room, stdin)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        int count = 0;
        for (char *rest = line, *word; count < WORDS && (word = strsep(&rest, " "));)
            words[count++] = word;
        run(count, words);
        if (pool_used) {
            printf("error %d packets are lost\n", pool_used);
            return 1;
        }
        fflush(stdout);
    }
    for (int i = 0; i < node_count; i++) {
        pipeline_free(nodes[i]->pipeline);
        free(nodes[i]);
    }
    free(line);
    return 0;
}
