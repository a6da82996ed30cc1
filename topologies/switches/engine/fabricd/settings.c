/* KEY=VALUE words of commands: each is checked before any is set. */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct setting *find(const struct setting *all, const char *word, size_t length) {
    for (; all->name; all++)
        if (strlen(all->name) == length && strncmp(all->name, word, length) == 0)
            return all;
    return NULL;
}

static bool set_number(const struct setting *s, const char *text, char *at, struct why *why) {
    uint64_t value;
    if (!read_number(text, s->most, &value) || value < s->least)
        return refuse(why, "%s is a whole number from %llu to %llu, not '%.80s'", s->name, (unsigned long long)s->least,
                      (unsigned long long)s->most, text);
    if (s->kind == IS_U64)
        memcpy(at, &value, sizeof value);
    else if (s->kind == IS_INT)
        *(int *)at = (int)value;
    else
        *(bool *)at = value;
    return true;
}

static bool set_share(const struct setting *s, const char *text, char *at, struct why *why) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 1))
        return refuse(why, "%s is a share from 0 to 1, not '%.80s'", s->name, text);
    *(double *)at = value;
    return true;
}

bool read_settings(const struct setting *all, int count, char **words, void *target, struct why *why) {
    for (int i = 0; i < count; i++) {
        size_t length = strcspn(words[i], "=");
        const struct setting *s = find(all, words[i], length);
        if (!s || !words[i][length]) {
            char names[256] = "";
            for (s = all; s->name; s++)
                snprintf(names + strlen(names), sizeof names - strlen(names), " %s=", s->name);
            return refuse(why, "what is set here is one of%s, not '%.80s'", names, words[i]);
        }
        char *text = words[i] + length + 1, *at = (char *)target + s->offset;
        if (s->kind == IS_TEXT)
            *(char **)at = text;
        else if (!(s->kind == IS_SHARE ? set_share : set_number)(s, text, at, why))
            return false;
    }
    return true;
}
