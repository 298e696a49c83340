/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/end.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/naming.h"
#include "common/service_name.h"

#define PORT_MAX 65535u
#define DESCRIPTOR_MAX (1u << 20)
#define UNIX_PATH_LONGEST (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/* What is being read. A reader of a kind gets what stands behind "KIND:". */
struct reading {
    struct end *end;
    const char *text, *rest;
    size_t at;
    char *why;
};

static bool __attribute__((format(printf, 3, 4)))
end_wrong(struct reading *reading, const char *where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reading->why, END_WHY_MAX, format, arguments);
    va_end(arguments);
    reading->at = (size_t)(where - reading->text);
    return false;
}

static bool end_number(const char *text, uint32_t max, uint32_t *out)
{
    uint64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 10 || text[digits] != '\0')
        return false;
    number = strtoull(text, NULL, 10);
    *out = (uint32_t)number;
    return number <= max;
}

/* Copies what stands before the last colon into where, and returns what stands behind it. */
static const char *end_split(struct reading *reading, const char *form)
{
    const char *colon = strrchr(reading->rest, ':');
    if (colon == NULL || colon == reading->rest || colon[1] == '\0') {
        end_wrong(reading, reading->rest, "this end is written %s", form);
        return NULL;
    }
    snprintf(reading->end->where, END_TEXT_MAX, "%.*s", (int)(colon - reading->rest),
             reading->rest);
    return colon + 1;
}

/* ---- the kinds ---- */

static bool end_read_service(struct reading *reading, const char *text)
{
    struct end *end = reading->end;
    if (end_number(text, UINT32_MAX, &end->port) && end->port != 0)
        return true;
    end->port = 0;
    if (!service_name_valid(text, strlen(text)))
        return end_wrong(reading, text,
                         "\"%.40s\" is neither a port, 1 to 4294967295, nor the name of a service",
                         text);
    snprintf(end->service, sizeof(end->service), "%s", text);
    return true;
}

static bool end_read_idc(struct reading *reading)
{
    struct naming naming;
    const char *service = end_split(reading, "idc:DOMAIN:SERVICE");
    if (service == NULL)
        return false;
    const char *wrong = naming_parse(&naming, reading->end->where);
    if (wrong != NULL)
        return end_wrong(reading, reading->rest, "%s", wrong);
    reading->end->named_port = strcmp(service, "*") == 0;
    return reading->end->named_port || end_read_service(reading, service);
}

static bool end_read_idc_listen(struct reading *reading)
{
    return end_read_service(reading, reading->rest);
}

static bool end_read_where(struct reading *reading)
{
    snprintf(reading->end->where, END_TEXT_MAX, "%s", reading->rest);
    return true;
}

/* The first len bytes are the path. */
static bool end_read_path_of(struct reading *reading, size_t len)
{
    if (len > UNIX_PATH_LONGEST)
        return end_wrong(reading, reading->rest, "the path of a socket has at most %zu bytes",
                         UNIX_PATH_LONGEST);
    snprintf(reading->end->where, END_TEXT_MAX, "%.*s", (int)len, reading->rest);
    return true;
}

static bool end_read_path(struct reading *reading)
{
    return end_read_path_of(reading, strlen(reading->rest));
}

/* PATH, or PATH,connect=PORT. Another word behind a comma is a part of the path. */
static bool end_read_unix(struct reading *reading)
{
    static const char option[] = ",connect=";
    struct end *end = reading->end;
    const char *found = NULL, *port = NULL;
    for (const char *at = reading->rest; (at = strstr(at, option)) != NULL; at++)
        found = at;
    if (found == NULL)
        return end_read_path(reading);
    if (found == reading->rest)
        return end_wrong(reading, found, "this end is written unix:PATH,connect=PORT");
    port = found + sizeof(option) - 1;
    end->hybrid = true;
    end->named_port = strcmp(port, "*") == 0;
    if (!end->named_port && (!end_number(port, UINT32_MAX, &end->port) || end->port == 0))
        return end_wrong(reading, port, "the port of connect= is 1 to %u, or *, not \"%.40s\"",
                         UINT32_MAX, port);
    return end_read_path_of(reading, (size_t)(found - reading->rest));
}

/* PATH, or PATH,connect. Another word behind a comma is a part of the path. */
static bool end_read_unix_listen(struct reading *reading)
{
    static const char option[] = ",connect";
    size_t len = strlen(reading->rest), tail = sizeof(option) - 1;
    reading->end->hybrid = len > tail && strcmp(reading->rest + len - tail, option) == 0;
    return end_read_path_of(reading, reading->end->hybrid ? len - tail : len);
}

/* [HOST]:PORT has colons in HOST. The brackets are taken away. */
static bool end_read_tcp(struct reading *reading)
{
    struct end *end = reading->end;
    const char *port = end_split(reading, "tcp:HOST:PORT, or tcp:[ADDRESS]:PORT");
    if (port == NULL)
        return false;
    if (!end_number(port, PORT_MAX, &end->port) || end->port == 0)
        return end_wrong(reading, port, "a port of TCP is 1 to %u, not \"%.40s\"", PORT_MAX, port);
    size_t len = strlen(end->where);
    bool bracketed = end->where[0] == '[' && end->where[len - 1] == ']';
    if (!bracketed && strchr(end->where, ':') != NULL)
        return end_wrong(reading, reading->rest, "an IPv6 address stands in brackets: [::1]:22");
    if (bracketed) {
        memmove(end->where, end->where + 1, len - 2);
        end->where[len - 2] = '\0';
    }
    return true;
}

/* No name: a machine must not listen elsewhere when its resolver says something else. */
static bool end_read_tcp_listen(struct reading *reading)
{
    struct in6_addr address;
    if (!end_read_tcp(reading))
        return false;
    const char *where = reading->end->where;
    if (inet_pton(AF_INET, where, &address) == 1 || inet_pton(AF_INET6, where, &address) == 1)
        return true;
    return end_wrong(reading, reading->rest,
                     "tcp-listen needs an address of this machine, such as 127.0.0.1 or [::1], "
                     "not \"%.40s\"",
                     where);
}

static bool end_read_vsock(struct reading *reading)
{
    struct end *end = reading->end;
    const char *port = end_split(reading, "vsock:CID:PORT");
    if (port == NULL)
        return false;
    if (!end_number(end->where, UINT32_MAX - 1, &end->number))
        return end_wrong(reading, reading->rest, "a CID is 0 to %u, not \"%.40s\"", UINT32_MAX - 1,
                         end->where);
    end->named_port = strcmp(port, "*") == 0;
    if (!end->named_port && !end_number(port, UINT32_MAX - 1, &end->port))
        return end_wrong(reading, port, "a port of AF_VSOCK is 0 to %u, not \"%.40s\"",
                         UINT32_MAX - 1, port);
    return true;
}

static bool end_read_fd(struct reading *reading)
{
    if (end_number(reading->rest, DESCRIPTOR_MAX, &reading->end->number))
        return true;
    return end_wrong(reading, reading->rest, "a descriptor is a number up to %u, not \"%.40s\"",
                     DESCRIPTOR_MAX, reading->rest);
}

static const struct {
    const char *name;
    const char *rest; /* NULL: there is none */
    bool (*read)(struct reading *reading);
} end_kinds[] = {
    [END_IDC] = {"idc", "DOMAIN:SERVICE", end_read_idc},
    [END_IDC_LISTEN] = {"idc-listen", "SERVICE", end_read_idc_listen},
    [END_UNIX] = {"unix", "PATH", end_read_unix},
    [END_UNIX_LISTEN] = {"unix-listen", "PATH", end_read_unix_listen},
    [END_TCP] = {"tcp", "HOST:PORT", end_read_tcp},
    [END_TCP_LISTEN] = {"tcp-listen", "ADDRESS:PORT", end_read_tcp_listen},
    [END_VSOCK] = {"vsock", "CID:PORT", end_read_vsock},
    [END_PTY] = {"pty", "PATH", end_read_where},
    [END_FILE] = {"file", "PATH", end_read_where},
    [END_EXEC] = {"exec", "COMMAND", end_read_where},
    [END_STDIO] = {"stdio", NULL, NULL},
    [END_FD] = {"fd", "N", end_read_fd},
};
_Static_assert(sizeof(end_kinds) / sizeof(end_kinds[0]) == END_KINDS, "each kind has its line");

static int end_find_kind(const char *text, size_t len)
{
    for (int kind = 0; kind < END_KINDS; kind++)
        if (strlen(end_kinds[kind].name) == len && memcmp(end_kinds[kind].name, text, len) == 0)
            return kind;
    return -1;
}

static bool end_read(struct reading *reading)
{
    const char *text = reading->text;
    size_t len = strcspn(text, ":");
    int kind = end_find_kind(text, len);
    if (kind < 0)
        return end_wrong(reading, text,
                         "\"%.40s\" is no end: idc:, idc-listen:, unix:, unix-listen:, tcp:, "
                         "tcp-listen:, vsock:, pty:, file:, exec:, fd: or stdio",
                         text);
    reading->end->kind = (enum end_kind)kind;
    bool has_rest = text[len] == ':' && text[len + 1] != '\0';
    if (end_kinds[kind].rest == NULL)
        return text[len] == '\0' || end_wrong(reading, text + len, "stdio stands alone");
    if (!has_rest)
        return end_wrong(reading, text + len, "this end is written %s:%s", end_kinds[kind].name,
                         end_kinds[kind].rest);
    reading->rest = text + len + 1;
    return end_kinds[kind].read(reading);
}

bool end_parse(const char *text, struct end *end, size_t *at, char why[END_WHY_MAX])
{
    struct reading reading = {.end = end, .text = text, .rest = text, .why = why};
    *end = (struct end){.kind = END_KINDS};
    *at = 0;
    if (strlen(text) >= END_TEXT_MAX)
        return end_wrong(&reading, text, "an end has at most %d bytes", END_TEXT_MAX - 1);
    snprintf(end->text, sizeof(end->text), "%s", text);
    bool good = end_read(&reading);
    *at = reading.at;
    return good;
}

/* ---- what follows from a kind ---- */

bool end_listens(const struct end *end)
{
    return end->kind == END_IDC_LISTEN || end->kind == END_UNIX_LISTEN ||
           end->kind == END_TCP_LISTEN;
}

bool end_is_single(const struct end *end)
{
    return end->kind == END_PTY || end->kind == END_STDIO || end->kind == END_FD;
}

static bool end_check_ports(const struct end *listening, const struct end *other,
                            char why[END_WHY_MAX])
{
    bool hybrid = listening != NULL && listening->hybrid;
    if (!other->named_port || hybrid)
        return true;
    snprintf(why, END_WHY_MAX,
             "the port \"*\" is the one that a client of unix-listen:PATH,connect names");
    return false;
}

bool end_match(const struct end *from, const struct end *to, const struct end **listening,
               const struct end **other, char why[END_WHY_MAX])
{
    bool from_listens = end_listens(from), to_listens = end_listens(to);
    *listening = from_listens ? from : to_listens ? to : NULL;
    *other = to_listens ? from : to;
    const char *wrong = NULL;
    if (from_listens && to_listens)
        wrong = "both ends listen, so nobody connects them: one of them has to connect";
    else if (from->kind == END_FILE)
        wrong = "a file is only written to, so it can only be TO";
    else if (from->kind == END_STDIO && to->kind == END_STDIO)
        wrong = "standard input and output can be one of the two ends";
    if (wrong != NULL)
        snprintf(why, END_WHY_MAX, "%s", wrong);
    return wrong == NULL && end_check_ports(*listening, *other, why) &&
           (*listening != NULL || end_check_ports(NULL, from, why));
}
