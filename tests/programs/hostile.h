/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile.h - the tables of what a hostile peer can say (hostile_lies.c) and do (hostile_deeds.c),
 * and what both work with (hostile.c).
 */
#ifndef IDC_TEST_HOSTILE_H
#define IDC_TEST_HOSTILE_H

#include "tests/programs/hostile_link.h"

#define HOSTILE_OWN_ID 0x77u /* of the connection that we have made */

/* Ports of the victim, and how many of what: the tests know them too. */
#define HOSTILE_STREAM 80u
#define HOSTILE_SEQPACKET 81u
#define HOSTILE_SMALL 82u  /* its backlog is small */
#define HOSTILE_LARGE 83u  /* its backlog is larger than the memory for us */
#define HOSTILE_CLOSED 99u /* nobody listens */
#define HOSTILE_FEW 5
#define HOSTILE_MESSAGES 40
#define HOSTILE_MESSAGE (1u << 20)
#define HOSTILE_NODES 2000u

/* How far things have gone, honestly, when the lie is told or the deed begins. */
enum stage {
    STAGE_NONE = -1, /* there is no channel */
    STAGE_OPEN,      /* the channel is open; nothing was said */
    STAGE_UP,        /* both sides have said HELLO */
    STAGE_STREAM,    /* we have a connection to the victim's port 80, a stream */
    STAGE_MESSAGES,  /* the same to port 81, seqpacket */
    STAGE_REQUESTED, /* a program of the victim wants a connection to us */
};

/* What a lie or a deed can use. */
struct scene {
    struct hostile *h;
    uint32_t id;      /* the victim's, of the connection; STAGE_REQUESTED: of its request */
    uint32_t credit;  /* that the victim has given us */
    uint32_t next_id; /* our latest, of a deed that makes connections */
    int unanswered;   /* of its requests */
    uint64_t count;   /* what a deed has done so far, in units of its own */
};

struct lie {
    const char *name;
    enum stage stage;
    void (*tell)(struct scene *scene);
    const char *text; /* what the victim's log says; NULL: nothing, the link goes on */
};

struct deed {
    const char *name;
    enum stage stage;
    void (*begin)(struct scene *scene);  /* once; NULL: nothing */
    void (*step)(struct scene *scene);   /* again and again; NULL: it just lasts */
    void (*finish)(struct scene *scene); /* before the link is used honestly; NULL: nothing */
    bool of_store;                       /* it goes on when there is no link */
};

extern const struct lie lies[];
extern const int lie_count;
extern const struct deed deeds[];
extern const int deed_count;

#endif
