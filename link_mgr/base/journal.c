/* SPDX-License-Identifier: GPL-2.0-or-later */
/* journal.c - see journal.h. */
#include "link_mgr/base/journal.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "link_mgr/base/log.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static struct {
    int fd; /* -1: stderr is not the journal */
    struct sockaddr_un address;
} journal = {.fd = -1};

/* JOURNAL_STREAM is device:inode of what systemd has made stderr. A program that got it from its
 * parent, and has another stderr, is not meant. */
static bool journal_is_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) < 0)
        return false;
    snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    return strcmp(stream, own) == 0;
}

void journal_open(const char *path)
{
    const char *name = path != NULL ? path : JOURNAL_SOCKET;
    journal.address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!journal_is_stderr() || strlen(name) >= sizeof(journal.address.sun_path))
        return;
    strcpy(journal.address.sun_path, name);
    journal.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void journal_close(void)
{
    if (journal.fd >= 0)
        close(journal.fd);
    journal.fd = -1;
}

/* NAME, newline, the length in 8 bytes with the low one first, the value, newline. */
static void journal_put(struct journal_entry *entry, const char *name, const char *value)
{
    size_t name_length = strlen(name), length = strlen(value);
    char *at = entry->bytes + entry->length;
    if (name_length + length + 10 > sizeof(entry->bytes) - entry->length)
        return;
    memcpy(at, name, name_length);
    at += name_length;
    *at++ = '\n';
    for (unsigned i = 0; i < 8; i++)
        *at++ = (char)(uint8_t)((uint64_t)length >> 8 * i);
    memcpy(at, value, length);
    at[length] = '\n';
    entry->length += name_length + length + 10;
}

void journal_text(struct journal_entry *entry, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        journal_put(entry, name, value);
}

void journal_number(struct journal_entry *entry, const char *name, unsigned long long value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", value);
    journal_put(entry, name, text);
}

void journal_begin(struct journal_entry *entry, int priority, const char *message)
{
    entry->priority = priority;
    entry->message = message;
    entry->length = 0;
    journal_text(entry, "MESSAGE", message);
    journal_number(entry, "PRIORITY", (unsigned)priority);
    journal_text(entry, "SYSLOG_IDENTIFIER", "link_mgr");
}

/* The path is looked up each time: a new journald has a new socket there. */
static bool journal_deliver(const struct journal_entry *entry)
{
    ssize_t sent = sendto(journal.fd, entry->bytes, entry->length, MSG_NOSIGNAL | MSG_DONTWAIT,
                          (struct sockaddr *)&journal.address, sizeof(journal.address));
    return sent == (ssize_t)entry->length;
}

void journal_send(const struct journal_entry *entry)
{
    if (journal.fd < 0 || !journal_deliver(entry))
        log_line(entry->priority, "%s", entry->message);
}
