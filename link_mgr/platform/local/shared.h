/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shared.h - the memory of a channel on the local platform. It is a memfd of one page (struct
 * ring_page at its beginning), the left ring's data and the right ring's data. Both rings have the
 * same size.
 *
 * The offering side seals it against shrinking and growing. The attaching side takes only such a
 * memfd, of exactly the size that follows from the page's orders. So no truncation can raise
 * SIGBUS, and what was checked stays true. The orders are read once. Afterwards the sizes are those
 * that were checked, whatever the page says.
 */
#ifndef IDC_LOCAL_SHARED_H
#define IDC_LOCAL_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ring.h"

#define SHARED_ORDER_MIN 12
#define SHARED_ORDER_MAX 20

/* Values of cli_live and srv_live. */
#define SHARED_GONE 0
#define SHARED_LIVE 1
#define SHARED_WAITING 2 /* cli_live only: nobody has attached yet */

struct shared {
    struct ring_page *page; /* NULL: not mapped */
    size_t size;
    uint32_t ring_size;
};

/* Makes and maps memory for rings of ring_size bytes (a power of two, 2^12..2^20). Returns the
 * memfd. */
int local_shared_make(struct shared *shared, size_t ring_size);
/* Sets the page as it is for a new channel. */
void local_shared_begin(const struct shared *shared);
/* Checks and maps memory that a peer made; the descriptor stays the caller's. -EPROTO: why says
 * what is wrong. */
int local_shared_accept(struct shared *shared, int fd, const char **why);
void local_shared_unmap(struct shared *shared);

void local_shared_rings(const struct shared *shared, bool server, struct ring_pair *rings);
/* Reads or sets one of the page's live flags. */
uint8_t local_shared_live(const uint8_t *flag);
void local_shared_set_live(uint8_t *flag, uint8_t live);

#endif
