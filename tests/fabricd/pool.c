/* A pool of few packets for tests of the pipeline, which count what is in use. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#define PACKETS 256
#define ROOM 9216

static struct {
    struct packet packet;
    uint8_t bytes[HEADROOM + ROOM];
} all[PACKETS];
static struct packet *unused;
static int first_unused, limit = PACKETS;
int pool_used;

void pool_limit(int most) { limit = most < PACKETS ? most : PACKETS; }

struct packet *packet_new(void) {
    struct packet *p = unused;
    if (pool_used >= limit)
        return NULL;
    if (p)
        unused = p->next;
    else
        p = &all[first_unused++].packet;
    int index = (int)((char *)p - (char *)all) / (int)sizeof *all;
    *p = (struct packet){.ingress = NO_DIRECTION, .frame = all[index].bytes + HEADROOM};
    pool_used++;
    return p;
}

struct packet *packet_copy(const struct packet *p) {
    struct packet *copy = packet_new();
    if (!copy)
        return NULL;
    uint8_t *frame = copy->frame;
    *copy = *p;
    copy->frame = memcpy(frame, p->frame, p->length);
    return copy;
}

void packet_free(struct packet *p) {
    p->next = unused;
    unused = p;
    pool_used--;
}

uint32_t packet_room(void) { return ROOM; }
