/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.h - the programs that an agent runs for the host.
 *
 * Theory of operation
 *
 * Each has an id that the host chose, a session of its own, and three pipes. Its output is sent as
 * it comes, but only while little is waiting to be sent (process_poll is told). So its own pipe
 * slows a talkative program down. What is sent to its standard input is kept until its pipe takes
 * it, and reported then; the host keeps what is under way small. The exit status is sent once
 * everything that the pipes held then is sent; a pipe that a grandchild keeps open ends later.
 */
#ifndef TESTS_XEN_PROCESS_H
#define TESTS_XEN_PROCESS_H

#include "tests/xen/frame.h"

#include <poll.h>

/* Sends a frame about a process to the host. */
void agent_send(uint16_t type, uint32_t id, const void *payload, size_t length);

void process_spawn(uint32_t id, const uint8_t *payload, size_t length);
void process_stdin(uint32_t id, const uint8_t *payload, size_t length);
void process_kill(uint32_t id, const uint8_t *payload, size_t length);
/* Kills every process of the domain with this in its environment; tells how many these are. */
void process_clear(uint32_t id, const uint8_t *mark, size_t length);
/* Fills in what to poll for, at most room entries; returns their number. may_read: whether output
 * is wanted now. */
int process_poll(struct pollfd *fds, int room, bool may_read);
void process_ready(const struct pollfd *fds, int count);
/* After SIGCHLD. */
void process_reap(void);

#endif
