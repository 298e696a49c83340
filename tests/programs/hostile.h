/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostile.h - the table of what a hostile peer can say (hostile_lies.c), and what the lies work
 * with (hostile.c). */
#ifndef IDC_TEST_HOSTILE_H
#define IDC_TEST_HOSTILE_H

#include "tests/programs/hostile_link.h"

#define HOSTILE_OWN_ID 0x77u /* of the connection that we have made */

/* How far things have gone, honestly, when the lie is told. */
enum stage {
    STAGE_OPEN,      /* the channel is open; nothing was said */
    STAGE_UP,        /* both sides have said HELLO */
    STAGE_STREAM,    /* we have a connection to the victim's port 80, a stream */
    STAGE_MESSAGES,  /* the same to port 81, seqpacket */
    STAGE_REQUESTED, /* a program of the victim wants a connection to us */
};

/* What the lie can use. */
struct scene {
    struct hostile *h;
    uint32_t id;     /* the victim's, of the connection; STAGE_REQUESTED: of its request */
    uint32_t credit; /* that the victim has given us */
};

struct lie {
    const char *name;
    enum stage stage;
    void (*tell)(struct scene *scene);
    const char *text; /* what the victim's log says; NULL: nothing, the link goes on */
};

extern const struct lie lies[];
extern const int lie_count;

#endif
