#include "text.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

bool refuse(struct why *why, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->sentence, sizeof why->sentence, format, arguments);
    va_end(arguments);
    for (char *c = why->sentence; *c; c++)      /* it is one line of an answer */
        if ((unsigned char)*c < ' ')
            *c = '?';
    return false;
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 'a' - 'A';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

bool read_number(const char *text, uint64_t most, uint64_t *value) {
    unsigned base = 10;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    if (*text == '\0')
        return false;
    for (*value = 0; *text; text++) {
        unsigned d = digit(*text);
        if (d >= base || __builtin_mul_overflow(*value, base, value) || __builtin_add_overflow(*value, d, value))
            return false;
    }
    return *value <= most;
}

bool read_port(const char *text, uint32_t *port) {
    static const struct { const char *name; uint32_t port; } named[] = {
        {"LOCAL", PORT_LOCAL}, {"IN_PORT", PORT_IN}, {"TABLE", PORT_TABLE}, {"FLOOD", PORT_FLOOD}, {"ALL", PORT_ALL},
        {"CONTROLLER", PORT_CONTROLLER}};
    for (unsigned i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(text, named[i].name) == 0) {
            *port = named[i].port;
            return true;
        }
    uint64_t number;
    if (!read_number(text, UINT32_MAX, &number))
        return false;
    *port = number;
    return true;
}

static bool read_mac(const char *text, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < 6; i++, text += 3) {
        if (digit(text[0]) > 15 || digit(text[1]) > 15 || text[2] != (i < 5 ? ':' : '\0'))
            return false;
        *value = *value << 8 | digit(text[0]) << 4 | digit(text[1]);
    }
    return true;
}

static bool read_address(const char *text, uint64_t *value) {
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1)
        return false;
    *value = ntohl(address.s_addr);
    return true;
}

static bool read_kind(const char *text, enum field f, uint64_t *value) {
    uint32_t port;
    switch (fields[f].kind) {
    case MAC: return read_mac(text, value);
    case ADDRESS: return read_address(text, value);
    case PORT:
        if (!read_port(text, &port))
            return false;
        *value = port;
        return true;
    default: return read_number(text, field_limit(f), value);
    }
}

bool read_value(const char *text, enum field f, uint64_t *value, struct why *why) {
    static const char *const kinds[] = {[NUMBER] = "a number", [PORT] = "a port", [ADDRESS] = "an IPv4 address",
                                        [MAC] = "a MAC address"};
    if (read_kind(text, f, value))
        return true;
    if (fields[f].kind == NUMBER)
        return refuse(why, "%s is a number up to %llu, not '%.80s'", fields[f].name,
                      (unsigned long long)field_limit(f), text);
    return refuse(why, "%s is %s, not '%.80s'", fields[f].name, kinds[fields[f].kind], text);
}

/* A mask is a value of the field's kind; that of an address may be the length of a prefix. */
static bool read_mask(const char *text, enum field f, uint64_t *mask, struct why *why) {
    uint64_t length;
    if (fields[f].kind == ADDRESS && read_number(text, 32, &length)) {
        *mask = ~0ull << (32 - length) & UINT32_MAX;
        return true;
    }
    return read_value(text, f, mask, why);
}

static bool read_condition(char *text, struct key *values, struct key *mask, struct why *why) {
    char *value_text = strchr(text, '=');
    if (!value_text)
        return refuse(why, "a match is FIELD=VALUE[/MASK], not '%.80s'", text);
    *value_text++ = '\0';
    int f = field_by_name(text);
    if (f < 0)
        return refuse(why, "there is no field '%.80s' to match", text);
    if (key_get(mask, f) != 0)
        return refuse(why, "a match has %s twice", text);
    char *mask_text = strchr(value_text, '/');
    uint64_t value, bits = field_limit(f);
    if (mask_text) {
        *mask_text++ = '\0';
        if (!read_mask(mask_text, f, &bits, why))
            return false;
    }
    if (!read_value(value_text, f, &value, why))
        return false;
    if (value & ~bits)
        return refuse(why, "%s=%.60s has bits outside of its mask %.60s", text, value_text, mask_text);
    key_set(values, f, value);
    key_set(mask, f, bits);
    key_add_layers(values, fields[f].layer);
    key_add_layers(mask, fields[f].layer);
    return true;
}

bool read_match(char *text, struct key *values, struct key *mask, struct why *why) {
    *values = *mask = (struct key){0};
    if (strcmp(text, "*") == 0)
        return true;
    for (char *next; text; text = next) {
        next = strchr(text, ',');
        if (next)
            *next++ = '\0';
        if (!read_condition(text, values, mask, why))
            return false;
    }
    return true;
}

static bool read_target(const char *name, struct action *a, struct why *why) {
    int f = field_by_name(name);
    if (f < 0)
        return refuse(why, "there is no field '%.80s' to set", name);
    if (!fields[f].settable)
        return refuse(why, "%s can be matched, not set", name);
    a->field = f;
    return true;
}

static bool read_set(char *text, struct action *a, struct why *why) {
    char *value = strchr(text, '=');
    if (!value)
        return refuse(why, "an action of this kind is set:FIELD=VALUE, not 'set:%.80s'", text);
    *value++ = '\0';
    return read_target(text, a, why) && read_value(value, a->field, &a->value, why);
}

static bool read_copy(char *text, struct action *a, struct why *why) {
    char *target = strchr(text, '>');
    if (!target)
        return refuse(why, "an action of this kind is copy:FIELD>FIELD, not 'copy:%.80s'", text);
    *target++ = '\0';
    int from = field_by_name(text);
    if (from < 0)
        return refuse(why, "there is no field '%.80s' to copy", text);
    a->from = from;
    if (!read_target(target, a, why))
        return false;
    if (fields[from].bits != fields[a->field].bits)
        return refuse(why, "%s has %d bits and %s %d: only fields of one width are copied", text, fields[from].bits,
                      target, fields[a->field].bits);
    return true;
}

static bool read_output(const char *text, struct action *a, struct why *why) {
    if (!read_port(text, &a->number))
        return refuse(why, "output goes to a port's number, LOCAL, IN_PORT, TABLE, FLOOD, ALL or CONTROLLER, not '%.80s'",
                      text);
    if (a->number == PORT_CONTROLLER) {
        a->kind = CONTROLLER;
        a->length = UINT16_MAX;
    }
    return true;
}

static bool read_action(char *text, struct action *a, struct why *why) {
    static const char *const names[] = {[OUTPUT] = "output", [GROUP] = "group", [SET] = "set", [COPY] = "copy",
                                        [CONTROLLER] = "controller"};
    char *rest = strchr(text, ':');
    *a = (struct action){0};
    if (strcmp(text, "dec_ttl") == 0) {
        a->kind = DEC_TTL;
        return true;
    }
    if (rest)
        *rest++ = '\0';
    for (unsigned k = 0; rest && k < sizeof names / sizeof *names; k++) {
        if (!names[k] || strcmp(text, names[k]) != 0)
            continue;
        a->kind = k;
        uint64_t number;
        switch (k) {
        case OUTPUT: return read_output(rest, a, why);
        case SET: return read_set(rest, a, why);
        case COPY: return read_copy(rest, a, why);
        default: break;
        }
        if (!read_number(rest, k == GROUP ? UINT32_MAX : UINT16_MAX, &number))
            return refuse(why, k == GROUP ? "a group's ID is a number of 32 bits, not '%.80s'"
                                          : "controller:LENGTH is in bytes, up to 65535, not '%.80s'", rest);
        a->number = a->length = number;
        if (k == GROUP)
            a->number = number;
        return true;
    }
    return refuse(why, "an action is output:PORT, group:ID, set:FIELD=VALUE, copy:FIELD>FIELD, dec_ttl or "
                       "controller:LENGTH, not '%.80s'", text);
}

bool read_actions(char *text, struct actions *actions, struct why *why) {
    actions->count = 0;
    if (strcmp(text, "drop") == 0)
        return true;
    for (char *next; text; text = next) {
        next = strchr(text, ';');
        if (next)
            *next++ = '\0';
        if (actions->count == ACTIONS_MAX)
            return refuse(why, "there are more than %d actions", ACTIONS_MAX);
        if (!read_action(text, &actions->list[actions->count++], why))
            return false;
    }
    return true;
}

void order_as_set(struct actions *actions) {
    const struct action *decrement = NULL, *end = NULL;
    struct actions set = {0};
    for (const struct action *a = actions->list; a < actions->list + actions->count; a++) {
        if (a->kind == DEC_TTL)
            decrement = a;
        else if (a->kind == GROUP || ((a->kind == OUTPUT || a->kind == CONTROLLER) && (!end || end->kind != GROUP)))
            end = a;
    }
    if (end && decrement)
        set.list[set.count++] = *decrement;
    for (const struct action *a = actions->list; end && a < actions->list + actions->count; a++)
        if (a->kind == SET || a->kind == COPY)
            set.list[set.count++] = *a;
    if (end)
        set.list[set.count++] = *end;
    *actions = set;
}

bool read_hex(const char *text, uint8_t *bytes, uint32_t room, uint32_t *length, struct why *why) {
    size_t digits = strlen(text);
    if (digits % 2)
        return refuse(why, "a frame in hexadecimal has two digits a byte, not %zu in all", digits);
    if (digits / 2 > room)
        return refuse(why, "a frame has at most %u bytes, not %zu", room, digits / 2);
    for (size_t i = 0; i < digits / 2; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high > 15 || low > 15)
            return refuse(why, "a frame is hexadecimal; byte %zu is '%.2s'", i, text + 2 * i);
        bytes[i] = high << 4 | low;
    }
    *length = digits / 2;
    return true;
}
