/* Finds what does a command. Those of rules and groups are the pipelines'. */
#include <string.h>

#include "fabric_commands.h"
#include "pipeline.h"

static bool run_fresh(struct words *w, struct why *why) {
    (void)w, (void)why;
    memset(&engine->late_write, 0, sizeof engine->late_write);
    memset(&engine->late_read, 0, sizeof engine->late_read);
    engine->pool_high = engine->pool_used;
    engine->busiest = 0;
    for (uint32_t i = 0; i < fabric.direction_count; i++)
        for (int q = 0; q < QUEUES; q++)
            fabric.directions[i]->queue[q].counts->high = fabric.directions[i]->queue[q].counts->bytes;
    return true;
}

static const struct command {
    const char *name, *usage;
    bool is_config;                    /* in the configuration alone */
    int least, most;                   /* words behind it */
    bool (*run)(struct words *w, struct why *why);
} commands[] = {
    {"option", "NAME=VALUE ...", true, 1, 6, run_option},
    {"switch", "NAME", true, 1, 1, run_switch},
    {"host", "NAME netns=PATH device=NAME mac=MAC attach=calm|fast|gated [mtu=N] [ring=N] [encapsulated=1]", true, 5, 8, run_host},
    {"link", "NAME A:PORT B:PORT [KEY=VALUE ...]", true, 3, 10, run_link},
    {"dscp", "N queue=Q", false, 2, 2, run_dscp},
    {"direction", "A->B KEY=VALUE ...", false, 2, 8, run_direction},
    {"queue", "A->B Q KEY=VALUE ...", false, 3, 13, run_queue},
    {"cable", "NAME up|down", false, 2, 2, run_cable},
    {"way", "A->B up|down", false, 2, 2, run_way},
    {"power", "SWITCH on|off", false, 2, 2, run_power},
    {"inject", "A->B HEX", false, 2, 2, run_inject},
    {"show", "A->B", false, 1, 1, run_show},
    {"fresh", "nothing", false, 0, 0, run_fresh},
};

static bool run(const struct command *c, int count, char **words, bool is_config, ns_t t, FILE *out, struct why *why) {
    struct words w = {.count = count - 1, .list = words + 1, .now = t, .out = out};
    if (c->is_config && !is_config)
        return refuse(why, "'%s' is for the configuration alone", c->name);
    if (w.count < c->least || w.count > c->most)
        return refuse(why, "'%s' is followed by %s", c->name, c->usage);
    if (!c->run(&w, why))
        return false;
    if (!w.has_answered)
        fputs("ok", out);
    return true;
}

static bool run_of_pipeline(int count, char **words, ns_t t, FILE *out, struct why *why) {
    struct node *n = count > 1 ? named_switch(words[1], why) : NULL;
    if (count <= 1)
        return refuse(why, "'%s' is followed by a switch", words[0]);
    if (n && !n->is_on)
        return refuse(why, "%s is off", n->name);
    if (n)
        pipeline_command(n->pipeline, count, words, t, out);
    return n != NULL;
}

void fabric_command(int count, char **words, bool is_config, ns_t t, FILE *out) {
    struct why why = {"a command is expected"};
    if (count > 0 && pipeline_has_command(words[0])) {
        if (!run_of_pipeline(count, words, t, out, &why))
            fprintf(out, "error %s", why.sentence);
        return;
    }
    const struct command *end = commands + sizeof commands / sizeof *commands, *c = commands;
    while (c < end && (count < 1 || strcmp(c->name, words[0]) != 0))
        c++;
    bool is_done = c < end ? run(c, count, words, is_config, t, out, &why)
                           : refuse(&why, "there is no command '%.80s'", count > 0 ? words[0] : "");
    if (!is_done)
        fprintf(out, "error %s", why.sentence);
}

int split(char *line, char **words, int most) {
    int count = 0;
    for (char *word; count < most && (word = strsep(&line, " "));)
        words[count++] = word;
    return line ? -1 : count;          /* -1: there are more */
}
