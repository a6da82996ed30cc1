/* What rules and buckets do, as the controller said it. */
#ifndef ACTION_H
#define ACTION_H

#include "key.h"

#define ACTIONS_MAX 64                 /* of a rule, of a bucket, of a packet-out */

enum action_kind { OUTPUT, GROUP, SET, COPY, DEC_TTL, CONTROLLER };

struct action {
    uint8_t kind;
    uint8_t field, from;               /* SET, COPY: the field that changes; COPY: where its value comes from */
    uint16_t length;                   /* CONTROLLER: bytes of the packet at most */
    uint32_t number;                   /* OUTPUT: port; GROUP: its ID */
    uint64_t value;                    /* SET */
};

struct actions {
    int count;
    struct action list[ACTIONS_MAX];
};

#endif
