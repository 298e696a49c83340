/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.h - lines of the log with fields, for systemd's journal.
 *
 * Theory of operation
 *
 * An entry is a message for people, and fields for programs. If stderr is the journal (systemd says
 * so in JOURNAL_STREAM), the entry goes to journald's own socket with its fields. Otherwise, or if
 * journald does not take it now, the message goes to stderr as a line of the log.
 *
 * libsystemd would do the same with one more library in every guest. Besides, its sd_journal_sendv
 * waits while journald's queue is full, and there is no form of it that does not. This daemon must
 * wait for nobody. So this speaks journald's protocol, which systemd documents for that purpose
 * (systemd.io, "Native Journal Protocol"). One call of the kernel sends an entry, and never waits.
 *
 * Each field is written with its length, so no value can begin another field.
 */
#ifndef IDC_JOURNAL_H
#define IDC_JOURNAL_H

#include <stddef.h>

#define JOURNAL_BYTES_MAX 4096 /* of an entry; a field that has no room is left out */

struct journal_entry {
    int priority;
    const char *message;
    size_t length;
    char bytes[JOURNAL_BYTES_MAX];
};

/* Opens the socket, if stderr is the journal. Call it once, before system calls are given up. path:
 * journald's socket; NULL: the usual one. */
void journal_open(const char *path);
void journal_close(void);

/* priority: of syslog.h. message: one line, which stays the caller's until the entry is sent. */
void journal_begin(struct journal_entry *entry, int priority, const char *message);
/* name: A-Z, 0-9 and _. A value that is empty is left out. */
void journal_text(struct journal_entry *entry, const char *name, const char *value);
void journal_number(struct journal_entry *entry, const char *name, unsigned long long value);
void journal_send(const struct journal_entry *entry);

#endif
