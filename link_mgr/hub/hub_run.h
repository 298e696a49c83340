/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hub_run.h - the hub for whoever runs it (main.c): its life, its turns, the store's events. */
#ifndef IDC_HUB_RUN_H
#define IDC_HUB_RUN_H

#include <event2/event.h>
#include <stdbool.h>

#include "link_mgr/core/core.h"

struct hub;

struct hub_config {
    struct event_base *base;
    const struct platform_ops *ops;
    struct platform *platform;
    struct core_config core;
};

int hub_new(const struct hub_config *config, struct hub **result);
/* Ends all connections and listeners. No connect may be pending. */
void hub_free(struct hub *hub);
/* Call this after each batch of events. True: call it again at once. */
bool hub_turn(struct hub *hub);
void hub_store_event(struct hub *hub, const struct store_event *event);
/* Has the store told the policy? Until then no request of a program can be judged. */
bool hub_is_ready(const struct hub *hub);

#endif
