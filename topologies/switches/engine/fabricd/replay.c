/* The fabric in virtual time alone: frames and commands from standard input, what hosts get on standard output. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fabric_commands.h"
#include "host.h"

static void say_frame(ns_t t, const char *what, const struct packet *p) {
    static char hex[HEX_ROOM];
    put_hex(p, UINT64_MAX, hex);
    printf("%" PRIu64 " %s %s\n", t, what, hex);
}

static void say_out(struct node *n, const struct packet *p, ns_t t) {
    char what[NAME_MAX_BYTES + 8];
    snprintf(what, sizeof what, "out %s", n->name);
    say_frame(t, what, p);
}

static void say_drop(const struct direction *d, int queue, const struct packet *p, const char *reason) {
    char what[2 * NAME_MAX_BYTES + 64];
    if (is_pause(p))
        return;
    snprintf(what, sizeof what, "drop %s->%s %d %s", d->from->name, d->to->name, queue, reason);
    say_frame(fabric.now, what, p);
}

static void take_frame(const char *name, const char *hex) {
    struct node *n = find_node(name);
    struct packet *p = packet_new();
    struct why why;
    if (!n || !n->host)
        die(2, "there is no host '%.80s'", name);
    if (!p)
        die(1, "there is no free packet");
    if (!read_hex(hex, p->frame, packet_room(), &p->length, &why) || p->length < 14)
        die(2, "a frame is bytes in hexadecimal, at least 14, not '%.80s'", hex);
    push(&n->host->waiting, p);
    host_fill(n, fabric.now);
}

static void answer(int count, char **words, ns_t t) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fabric_command(count, words, false, t, out);
    fclose(out);
    printf("%" PRIu64 " answer %s\n", t, text);
    free(text);
}

static void run_line(char *line) {
    static char *words[WORDS_MAX];
    int count = split(line, words, WORDS_MAX);
    char *end;
    ns_t t = count > 0 ? strtoull(words[0], &end, 10) : 0;
    if (count < 1 || *end || t < fabric.now)
        die(2, "a line begins with a time that is not before %" PRIu64, fabric.now);
    run_until(t);
    fabric.now = t;
    if (count == 4 && strcmp(words[1], "frame") == 0) {
        take_frame(words[2], words[3]);
    } else if (count > 2 && strcmp(words[1], "do") == 0) {
        answer(count - 2, words + 2, t);
    } else if (count != 1) {
        die(2, "TIME frame HOST HEX, TIME do COMMAND or TIME is expected");
    }
}

int replay(void) {
    char *line = NULL;
    size_t room = 0;
    host_sink = say_out;
    on_drop = say_drop;
    for (ssize_t length; (length = getline(&line, &room, stdin)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        run_line(line);
    }
    free(line);
    run_until(NEVER - 1);
    node_refresh_counts();
    return 0;
}
