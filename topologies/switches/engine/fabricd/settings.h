#ifndef SETTINGS_H
#define SETTINGS_H

#include <stddef.h>

#include "text.h"

struct setting {
    const char *name;                  /* NULL ends a list */
    enum { IS_U64, IS_INT, IS_FLAG, IS_SHARE, IS_TEXT } kind;
    size_t offset;                     /* in what is set */
    uint64_t least, most;
};

/* Sets what words of the form NAME=VALUE say. False: a word is none of these; some before it may be set. */
bool read_settings(const struct setting *all, int count, char **words, void *target, struct why *why);

#endif
