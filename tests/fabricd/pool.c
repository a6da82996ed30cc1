/* Packets for tests of the pipeline: counted, and a copy has no byte more than its frame, so that reading on is found. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 9216

static int limit = INT32_MAX;
int pool_used;

void pool_limit(int most) { limit = most; }

static struct packet *with_room(uint32_t bytes) {
    struct packet *p = pool_used < limit ? malloc(sizeof *p + HEADROOM + bytes) : NULL;
    if (!p)
        return NULL;
    *p = (struct packet){.ingress = NO_DIRECTION, .frame = (uint8_t *)(p + 1) + HEADROOM};
    pool_used++;
    return p;
}

struct packet *packet_new(void) { return with_room(ROOM); }

struct packet *packet_copy(const struct packet *p) {
    struct packet *copy = with_room(p->length);
    if (!copy)
        return NULL;
    uint8_t *frame = copy->frame;
    *copy = *p;
    copy->frame = memcpy(frame, p->frame, p->length);
    return copy;
}

void packet_free(struct packet *p) {
    free(p);
    pool_used--;
}

uint32_t packet_room(void) { return ROOM; }
