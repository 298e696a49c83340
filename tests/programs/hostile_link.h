/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile_link.h - a link to somebody's link_mgr, made without a link_mgr. It does the rendezvous
 * of docs/xenstore.md honestly, so that it can say anything on the rings afterwards.
 *
 * Waits with a bound for all that the other side has to do; what does not come ends the program
 * with a line on stderr.
 */
#ifndef IDC_TEST_HOSTILE_LINK_H
#define IDC_TEST_HOSTILE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ring.h"
#include "link_mgr/core/wire.h"
#include "link_mgr/core/platform.h"

#define HOSTILE_WAIT_MS 60000

struct hostile {
    const struct platform_ops *ops;
    struct platform *platform;
    int domid, victim;
    uint64_t epoch, generation;         /* our own */
    uint64_t victim_epoch, victim_wish; /* what the victim's nodes say; 0: nothing */
    uint64_t offer_generation;
    uint64_t answered; /* the victim's wish, or offer, that the present link answers */
    struct channel *channel;
    bool dead;
    bool asked; /* a try to connect has said in the store what it wants */
    struct ring_pair rings;
    struct wire_hello hello; /* what an honest HELLO of ours would say */
};

/* Opens the platform ("local" or "xen") and says that we live. store as for link_mgr. */
void hostile_open(struct hostile *h, const char *platform, const char *store, int domid,
                  int victim);
/* Makes a channel: of our own will, or (wanted) once the victim wants one. */
void hostile_connect(struct hostile *h, bool wanted);
/* A step towards a channel, of our own will. True: it is open. It never waits for long, so it can
 * be called again and again while the victim takes its time. */
bool hostile_try_connect(struct hostile *h);
/* Looks at what has happened, and waits for something, for at most that long. */
void hostile_wait(struct hostile *h, int ms);
/* Writes a node below our rendezvous directory for the victim, or removes it and all below it. What
 * the platform does not take is left out. */
void hostile_write(struct hostile *h, const char *leaf, const char *value);
void hostile_remove(struct hostile *h, const char *leaf);
/* Writes `alive` as it was in the beginning. */
void hostile_live(struct hostile *h);
/* Asks the victim to offer one, and does not wait. */
void hostile_want(struct hostile *h);
/* Waits until the victim has ended the channel; false if it has not within ms. Then closes our end.
 */
bool hostile_ended(struct hostile *h, int ms);
void hostile_drop(struct hostile *h);
void hostile_close(struct hostile *h);

/* Puts bytes into the ring, without making them visible (offset counts them), and then all at once.
 */
void hostile_put(struct hostile *h, uint32_t *offset, const void *bytes, uint32_t length);
void hostile_publish(struct hostile *h, uint32_t length);
/* A frame with this header, right or not, and payload. */
void hostile_frame(struct hostile *h, const struct wire_frame *frame, const void *payload);
/* The next frame; payload has room for WIRE_FRAME_MAX. False: the link has ended. */
bool hostile_receive(struct hostile *h, struct wire_frame *frame, uint8_t *payload);
/* The same without waiting; false: there is none. */
bool hostile_try_receive(struct hostile *h, struct wire_frame *frame, uint8_t *payload);

void hostile_die(const char *what) __attribute__((noreturn));

#endif
