/* Captures: frames that begin to be sent in a direction, told to whoever asked. */
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "fabric_commands.h"
#include "settings.h"
#include "vxlan.h"

#define PENDING_MOST (4u << 20)        /* bytes that a reader may be behind; then frames are missed, and counted */

struct capture {
    struct capture *next;
    struct client *client;
    uint64_t every, snap, left;        /* left: frames until the next one that is told */
};

static const struct setting settings[] = {
    {"every", IS_U64, offsetof(struct capture, every), 1, 1u << 30},
    {"snap", IS_U64, offsetof(struct capture, snap), 14, 65535},
    {NULL, IS_TEXT, 0, 0, 0},
};

static bool add(struct direction *d, const struct capture *like) {
    struct capture *c = malloc(sizeof *c);
    if (!c)
        return false;
    *c = *like;
    c->next = d->captures;
    d->captures = c;
    return true;
}

bool capture_begin(struct client *client, int count, char **words, struct why *why) {
    struct capture like = {.client = client, .every = 1, .snap = 65535, .left = 1};
    if (count < 2)
        return refuse(why, "'capture' is followed by A->B or *, [every=N] [snap=BYTES]");
    if (!read_settings(settings, count - 2, words + 2, &like, why))
        return false;
    bool is_all = strcmp(words[1], "*") == 0;
    struct direction *one = is_all ? NULL : find_direction(words[1]);
    if (!is_all && !one)
        return refuse(why, "there is no direction '%.80s': they are called A->B", words[1]);
    for (uint32_t i = 0; i < fabric.direction_count; i++)
        if ((is_all || fabric.directions[i] == one) && !add(fabric.directions[i], &like))
            return refuse(why, "no memory");
    return true;
}

void capture_end(struct client *client) {
    for (uint32_t i = 0; i < fabric.direction_count; i++)
        for (struct capture **c = &fabric.directions[i]->captures; *c;) {
            struct capture *this = *c;
            if (this->client != client) {
                c = &this->next;
                continue;
            }
            *c = this->next;
            free(this);
        }
}

uint32_t put_hex(const struct packet *p, uint64_t most, char *hex) {
    static const char digits[] = "0123456789abcdef";
    uint8_t outer[VXLAN_OVERHEAD];
    uint32_t before = p->tunnel.on ? VXLAN_OVERHEAD : 0, count = 0;
    if (before)
        vxlan_header(p, outer);
    for (; count < most && count < before + p->length; count++) {
        uint8_t byte = count < before ? outer[count] : p->frame[count - before];
        *hex++ = digits[byte >> 4];
        *hex++ = digits[byte & 15];
    }
    *hex = '\0';
    return 2 * count;
}

void capture_frame(struct direction *d, const struct packet *p, ns_t t) {
    static char text[2 * NAME_MAX_BYTES + 64 + HEX_ROOM];
    for (struct capture *c = d->captures; c; c = c->next) {
        if (--c->left)
            continue;
        c->left = c->every;
        if (client_pending(c->client) > PENDING_MOST) {
            engine->missed++;
            continue;
        }
        int length = sprintf(text, "event frame %s->%s %llu %u ", d->from->name, d->to->name, (unsigned long long)t,
                             wire_length(p));
        length += put_hex(p, c->snap, text + length);
        text[length++] = '\n';
        engine->captured++;
        client_say(c->client, text, length);
        client_flush(c->client);
    }
}
