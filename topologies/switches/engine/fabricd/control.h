/* Clients of the control socket, as captures know them. */
#ifndef CONTROL_H
#define CONTROL_H

#include "fabric.h"
#include "text.h"

struct client;
/* Appends to what a client is sent. It is disconnected if it has left too much unread. */
void client_say(struct client *c, const char *text, size_t length);
size_t client_pending(const struct client *c);             /* bytes that it has not read */
void client_flush(struct client *c);

/* capture.c */
bool capture_begin(struct client *c, int count, char **words, struct why *why);
void capture_end(struct client *c);

#endif
