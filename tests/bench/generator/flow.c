/* What a line of input says: KIND NAME FROM TO ADDRESS PORT [KEY=VALUE ...]. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"

static const struct kind *const kinds[] = {&tcp, &udp, &echo};

static bool refuse(const char *expected, const char *found) {
    fprintf(stderr, "generator: expected %s, found %.80s\n", expected, found ? found : "the end of the line");
    return false;
}

static bool read_key(struct flow *f, char *word) {
    char *value = strchr(word, '=');
    if (!value)
        return refuse("KEY=VALUE", word);
    *value++ = 0;
    if (!strcmp(word, "rate"))
        f->rate = atof(value);
    else if (!strcmp(word, "interval"))
        f->interval = (ns_t)(atof(value) * 1e9);
    else if (!strcmp(word, "start"))
        f->start = atof(value);
    else if (!strcmp(word, "until"))
        f->until = atof(value);
    else if (!strcmp(word, "size"))
        f->size = (uint32_t)strtoul(value, NULL, 0);
    else if (!strcmp(word, "tos"))
        f->tos = (uint32_t)strtoul(value, NULL, 0);
    else if (!strcmp(word, "count"))
        f->count = strtoull(value, NULL, 0);
    else if (!strcmp(word, "send_buffer"))
        f->send_buffer = (uint32_t)strtoul(value, NULL, 0);
    else if (!strcmp(word, "congestion"))
        snprintf(f->congestion, sizeof f->congestion, "%s", value);
    else
        return refuse("rate, interval, start, until, size, tos, count, send_buffer or congestion", word);
    return true;
}

bool read_flow(char *line, struct flow *f) {
    char *rest = line, *word[6];
    for (int i = 0; i < 6; i++)
        if (!(word[i] = strtok_r(rest, " \n", &rest)))
            return refuse("KIND NAME FROM TO ADDRESS PORT", NULL);
    *f = (struct flow){.size = 1514, .congestion = "cubic", .address = {.sin_family = AF_INET}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(word[0], kinds[i]->name))
            f->kind = kinds[i];
    if (!f->kind)
        return refuse("tcp, udp or echo", word[0]);
    snprintf(f->name, sizeof f->name, "%s", word[1]);
    snprintf(f->from, sizeof f->from, "%s", word[2]);
    snprintf(f->to, sizeof f->to, "%s", word[3]);
    if (inet_pton(AF_INET, word[4], &f->address.sin_addr) != 1)
        return refuse("an IPv4 address", word[4]);
    f->address.sin_port = htons((uint16_t)atoi(word[5]));
    for (char *more; (more = strtok_r(rest, " \n", &rest));)
        if (!read_key(f, more))
            return false;
    if (f->size < UDP_HEADERS + sizeof(struct mark) || f->size > FRAME_MAX)
        return refuse("a size from 58 to 65535", "another one");
    if (f->rate > 0)
        f->interval = (ns_t)(f->size * 8e9 / f->rate);
    return true;
}
