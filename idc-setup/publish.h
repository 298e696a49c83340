/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * publish.h - gives each domain its text of rules (docs/xenstore.md, "Rules").
 *
 * Theory of operation
 *
 * A text lies in the parts of a generation, and `now` says which generation counts. First the parts
 * of all new texts are written, which nobody looks at. Then `now` is changed for all of the
 * domains, then the former generations are removed. A failure before the end takes everything back.
 * A process that is killed leaves each domain with its former text or with its new one, and perhaps
 * with parts that no `now` names; the next publishing removes these.
 *
 * Where the store has transactions, all of it is one. If that is too large for the store, the parts
 * are written in one transaction for each domain, and `now` for all of them in another one.
 *
 * What is the same as before is not written. Only one idc-setup at a time may publish; that is the
 * caller's business (policy_state.h).
 */
#ifndef IDC_SETUP_PUBLISH_H
#define IDC_SETUP_PUBLISH_H

#include "idc-setup/setup_store.h"

struct publish_text {
    int domid;
    const char *text; /* NULL: it has no rules */
    size_t length;
};

struct publish_result {
    size_t written, removed, unchanged; /* domains */
    size_t gone;                        /* that are not there any more */
};

/* 0, or negative errno and a why. */
int publish_texts(struct setup_store *store, const struct publish_text *texts, size_t count,
                  struct publish_result *result, char why[SETUP_WHY_MAX]);
/* The text that the domain has, which the caller frees. -ENOENT: it has none. -EBADMSG: it can't
 * be read as a whole. */
int publish_read(struct setup_store *store, int domid, char **text, size_t *length);

#endif
