/* The words of commands about rules (docs/engine.md) to values. Each function returns false for what it cannot read,
 * with a sentence that says what was expected and what was found. Texts are cut up as they are read. */
#ifndef TEXT_H
#define TEXT_H

#include "action.h"

struct why {
    char sentence[256];
};

/* Sets the sentence; false, for `return refuse(...)`. */
bool refuse(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool read_number(const char *text, uint64_t most, uint64_t *value);
bool read_port(const char *text, uint32_t *port);
bool read_value(const char *text, enum field f, uint64_t *value, struct why *why);
bool read_match(char *text, struct key *values, struct key *mask, struct why *why);
bool read_actions(char *text, struct actions *actions, struct why *why);
/* A bucket's actions are a set: dec_ttl, then set and copy in their order, then the group, or the output if there is no
 * group; of several the last. Without either it does nothing. */
void order_as_set(struct actions *actions);
bool read_hex(const char *text, uint8_t *bytes, uint32_t room, uint32_t *length, struct why *why);

#endif
