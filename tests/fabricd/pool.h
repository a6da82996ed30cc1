#ifndef POOL_H
#define POOL_H

#include "packet.h"

extern int pool_used;                  /* packets that are somewhere */
void pool_limit(int most);             /* from now on no more than these at a time */

#endif
