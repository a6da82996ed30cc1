/* The control socket: commands by the line, each answered by a line; events and captured frames for those who asked. */
#include "control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fabric_commands.h"

#define LINE_ROOM 65536
#define OUTPUT_MOST (32u << 20)        /* bytes that a client may leave unread */

struct client {
    struct client *next;
    int file;
    uint32_t in;                       /* bytes in line[] */
    char line[LINE_ROOM];
    char *output;
    size_t length, sent, room;
    bool is_waiting;                   /* for room to write */
    bool hears_all, is_gone;
    uint8_t hears[NODES_MAX / 8];      /* switches by number */
};

static int epoll, listening;
static struct client *clients;

static void watch(struct client *c, int operation, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, operation, c ? c->file : listening, &e);
}

void control_open(const char *path, int epoll_file) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    epoll = epoll_file;
    if (strlen(path) >= sizeof address.sun_path)
        die(2, "socket %s: the path has more than %zu bytes", path, sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    unlink(path);
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 16) < 0)
        die(1, "socket %s: %s", path, strerror(errno));
    watch(NULL, EPOLL_CTL_ADD, EPOLLIN);
}

void client_flush(struct client *c) {
    while (c->sent < c->length) {
        ssize_t sent = send(c->file, c->output + c->sent, c->length - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            c->is_gone = true;
        if (sent < 0)
            break;
        c->sent += sent;
    }
    bool has_more = c->sent < c->length;
    if (!has_more)
        c->sent = c->length = 0;
    if (has_more != c->is_waiting)
        watch(c, EPOLL_CTL_MOD, has_more ? EPOLLIN | EPOLLOUT : EPOLLIN);
    c->is_waiting = has_more;
}

size_t client_pending(const struct client *c) { return c->length - c->sent; }

void client_say(struct client *c, const char *text, size_t length) {
    if (c->is_gone)
        return;
    if (client_pending(c) + length > OUTPUT_MOST) {
        c->is_gone = true;
        shutdown(c->file, SHUT_RDWR);  /* which epoll tells, and then it is let go */
        return;
    }
    if (c->sent && c->length + length > c->room) {
        memmove(c->output, c->output + c->sent, c->length -= c->sent);
        c->sent = 0;
    }
    if (c->length + length > c->room) {
        size_t room = 2 * (c->length + length);
        char *output = realloc(c->output, room);
        if (!output) {
            c->is_gone = true;
            return;
        }
        c->output = output;
        c->room = room;
    }
    memcpy(c->output + c->length, text, length);
    c->length += length;
}

void say_event(const struct node *n, const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = 0;
    for (struct client *c = clients; c; c = c->next) {
        if (!c->hears_all && !(c->hears[n->number / 8] >> n->number % 8 & 1))
            continue;
        if (!text && (length = vasprintf(&text, format, arguments)) < 0)
            break;
        client_say(c, "event ", 6);
        client_say(c, text, length);
        client_say(c, "\n", 1);
        client_flush(c);
    }
    va_end(arguments);
    free(text);
}

static bool run_subscribe(struct client *c, int count, char **words, struct why *why) {
    if (count != 2)
        return refuse(why, "'subscribe' is followed by SWITCH or *");
    if (strcmp(words[1], "*") == 0)
        return c->hears_all = true;
    struct node *n = named_switch(words[1], why);
    if (n)
        c->hears[n->number / 8] |= 1u << n->number % 8;
    return n != NULL;
}

static void answer(struct client *c, char *line, ns_t t) {
    static char *words[WORDS_MAX];
    char *text = NULL;
    size_t size = 0;
    struct why why;
    int count = split(line, words, WORDS_MAX);
    FILE *out = open_memstream(&text, &size);
    bool is_capture = count > 0 && strcmp(words[0], "capture") == 0;
    if (count < 0)
        fprintf(out, "error a command has at most %d words", WORDS_MAX);
    else if (!is_capture && !(count > 0 && strcmp(words[0], "subscribe") == 0))
        fabric_command(count, words, false, t, out);
    else if ((is_capture ? capture_begin : run_subscribe)(c, count, words, &why))
        fputs("ok", out);
    else
        fprintf(out, "error %s", why.sentence);
    putc('\n', out);
    fclose(out);
    client_say(c, text, size);
    free(text);
}

/* Does what has been asked in whole lines. What is due comes first, also between two commands. */
static void do_lines(struct client *c) {
    char *line = c->line, *end;
    while (!c->is_gone && (end = memchr(line, '\n', c->line + c->in - line))) {
        *end = '\0';
        ns_t now = clock_ns();
        run_until(now);
        answer(c, line, now > fabric.now ? now : fabric.now);
        line = end + 1;
    }
    c->in -= line - c->line;
    memmove(c->line, line, c->in);
    if (c->in == sizeof c->line) {
        client_say(c, "error a line has at most 65535 bytes\n", 37);
        client_flush(c);
        c->is_gone = true;
    }
}

static void leave(struct client *gone) {
    for (struct client **c = &clients; *c; c = &(*c)->next)
        if (*c == gone) {
            *c = gone->next;
            break;
        }
    capture_end(gone);
    close(gone->file);
    free(gone->output);
    free(gone);
}

static void take_client(void) {
    int file = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c = file < 0 ? NULL : calloc(1, sizeof *c);
    if (!c) {
        if (file >= 0)
            close(file);
        return;
    }
    c->file = file;
    c->next = clients;
    clients = c;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

void control_ready(uint32_t events, void *which) {
    struct client *c = which;
    if (!c) {
        take_client();
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t got = recv(c->file, c->line + c->in, sizeof c->line - c->in, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            c->is_gone = true;
        else if (got > 0)
            c->in += got;
        do_lines(c);
    }
    client_flush(c);
    if (c->is_gone)
        leave(c);
}
