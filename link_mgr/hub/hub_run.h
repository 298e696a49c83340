/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hub_run.h - the hub for whoever runs it (main.c): its life, its turns, the store's events. */
#ifndef IDC_HUB_RUN_H
#define IDC_HUB_RUN_H

#include <event2/event.h>
#include <stdbool.h>

#include "link_mgr/base/users.h"
#include "link_mgr/core/core.h"
#include "link_mgr/hub/listen_file.h"

struct hub;

struct hub_config {
    struct event_base *base;
    const struct platform_ops *ops;
    struct platform *platform;
    struct core_config core;
    struct quota *users; /* base/users.h; stays the caller's */
};

int hub_new(const struct hub_config *config, struct hub **result);
/* Ends all connections and listeners. No connect may be pending. */
void hub_free(struct hub *hub);
/* Call this after each batch of events. True: call it again at once. */
bool hub_turn(struct hub *hub);
/* The store has something. Negative: it is lost. */
int hub_take_store_events(struct hub *hub);
/* Has the store told the policy? Until then no request of a program can be judged. */
bool hub_is_ready(const struct hub *hub);
/* Reads who may listen, and ends what is no longer allowed. 0; or negative errno, why is set, and
 * the rules stay as they were. file->path stays the caller's as long as there is the hub. */
int hub_read_rules(struct hub *hub, const struct listen_file *file, char why[LISTEN_WHY_MAX]);

#endif
