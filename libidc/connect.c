/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connect.c - idc_connect and its relatives.
 *
 * A connect that waits is one call, whose answer brings the socket. A connect that does not wait
 * makes the socket pair itself and hands link_mgr the far end. The pair then tells everything else
 * (common/connecting.h), so nothing is kept here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/naming.h"
#include "libidc/internal.h"

/* A link_mgr that runs takes a request at once; this limit is for one that hangs. */
#define HAND_OVER_MS 2000
/* link_mgr watches the time. We give up this much later, in case it hangs. */
#define GRACE_MS 2000

struct target {
    const char *domain; /* NULL: domid */
    uint32_t domid, port;
    const char *service; /* NULL: port */
    bool marked;         /* nonblocking: a byte is unread in the near end */
};

/* Writes the call, without the members about the socket. */
static void begin_call(struct compact_writer *call, const struct target *target,
                       const struct idc_options *options)
{
    compact_begin(call, COMPACT_CALL, "idc.connect");
    if (target->domain != NULL)
        compact_put_text(call, "domain", target->domain);
    else
        compact_put_number(call, "domid", target->domid);
    if (target->service != NULL)
        compact_put_text(call, "name", target->service);
    else
        compact_put_number(call, "port", target->port);
    if (options->type == IDC_SEQPACKET)
        compact_put_text(call, "type", "seqpacket");
    if (options->wait)
        compact_put_boolean(call, "wait", true);
    if (options->peer_timeout_ms != 0)
        compact_put_number(call, "peer_timeout_ms", options->peer_timeout_ms);
    compact_put_number(call, "timeout_ms",
                       options->timeout_ms != 0 ? options->timeout_ms : LIBIDC_TIMEOUT_DEFAULT_MS);
}

static int connect_limit(const struct idc_options *options)
{
    int ms = options->timeout_ms != 0 ? options->timeout_ms : LIBIDC_TIMEOUT_DEFAULT_MS;
    if (ms == IDC_TIMEOUT_NONE)
        return LIBIDC_WAIT_FOREVER;
    return (ms < LIBIDC_WAIT_MAX - GRACE_MS ? ms + GRACE_MS : LIBIDC_WAIT_MAX) |
           LIBIDC_INTERRUPTIBLE;
}

static int connect_waiting(const struct target *target, const struct idc_options *options)
{
    struct compact_writer call;
    int fd = -1;
    begin_call(&call, target, options);
    compact_put_boolean(&call, "fd", true);
    int status =
        libidc_call(libidc_socket_path(options->socket), &call, connect_limit(options), NULL, &fd);
    return status < 0 ? -1 : fd;
}

/* link_mgr waits for whatever is missing elsewhere. If link_mgr itself is missing, we wait. */
static int connect_patiently(const struct target *target, const struct idc_options *given)
{
    struct libidc_patience patience = libidc_patience_begin(given->timeout_ms);
    struct idc_options options = *given;
    int fd;
    do {
        options.timeout_ms = libidc_patience_left(&patience);
        fd = connect_waiting(target, &options);
    } while (fd < 0 && libidc_patience_again(&patience, libidc_socket_path(options.socket)));
    return fd;
}

static int hand_over(const struct target *target, const struct idc_options *options, int near_end,
                     int far_end)
{
    struct compact_writer call;
    const int ends[2] = {far_end, near_end};
    int error = connecting_fill(near_end, far_end);
    if (error == 0 && target->marked && send(far_end, "m", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
        error = -errno;
    if (error < 0)
        return libidc_fail(-error, "cannot prepare a socket: %s", strerror(-error));
    begin_call(&call, target, options);
    compact_put_boolean(&call, "far_end", true);
    return libidc_post(libidc_socket_path(options->socket), &call, HAND_OVER_MS, ends, 2);
}

static int connect_nonblocking(const struct target *target, const struct idc_options *options)
{
    int pair[2];
    int type = options->type == IDC_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return libidc_fail(errno, "cannot make a socket pair: %s", strerror(errno));
    /* set only on ours: the far end may become another program's */
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    int status = hand_over(target, options, pair[0], pair[1]);
    int error = errno;
    close(pair[1]);
    if (status == 0)
        return pair[0];
    close(pair[0]);
    errno = error;
    return -1;
}

static int connect_to(const struct target *target, const struct idc_options *given)
{
    struct idc_options options;
    if (libidc_options(given, &options) < 0)
        return -1;
    if (options.nonblocking)
        return connect_nonblocking(target, &options);
    return options.wait ? connect_patiently(target, &options) : connect_waiting(target, &options);
}

int idc_connect_with(uint32_t domid, uint32_t port, const struct idc_options *options)
{
    return connect_to(&(struct target){.domid = domid, .port = port}, options);
}

int idc_connect_name_with(uint32_t domid, const char *service, const struct idc_options *options)
{
    if (service == NULL)
        return libidc_fail(EINVAL, "the service name is NULL");
    return connect_to(&(struct target){.domid = domid, .service = service}, options);
}

/* ---- names ---- */

/* What is a number by itself goes as one, so it costs link_mgr no search. */
static int target_domain(struct target *target, const char *domain)
{
    struct naming naming;
    const char *wrong = naming_parse(&naming, domain);
    if (wrong != NULL)
        return libidc_fail(EINVAL, "%s", wrong);
    if (naming.kind == NAMING_DOMID)
        target->domid = naming.domid;
    else if (naming.kind == NAMING_SELF)
        target->domid = IDC_DOMID_SELF;
    else
        target->domain = domain;
    return 0;
}

static int target_service(struct target *target, const char *service)
{
    uint64_t port = 0;
    if (service == NULL || service[0] == '\0')
        return libidc_fail(EINVAL, "no service is named");
    target->service = service;
    if (strspn(service, "0123456789") != strlen(service))
        return 0; /* link_mgr knows what a name may be */
    for (const char *at = service; *at != '\0' && port <= UINT32_MAX; at++)
        port = 10 * port + (uint64_t)(*at - '0');
    if (port == 0 || port > UINT32_MAX)
        return libidc_fail(EINVAL, "a port is 1 to 4294967295, not %.20s", service);
    target->service = NULL;
    target->port = (uint32_t)port;
    return 0;
}

int idc_connect_to(const char *domain, const char *service, const struct idc_options *options)
{
    struct target target = {.domain = NULL};
    if (target_domain(&target, domain != NULL ? domain : "any") < 0 ||
        target_service(&target, service) < 0)
        return -1;
    return connect_to(&target, options);
}

int libidc_connect_marked(const char *domain, const char *service,
                          const struct idc_options *options)
{
    struct idc_options all;
    struct target target = {.marked = true};
    if (libidc_options(options, &all) < 0 || target_domain(&target, domain) < 0 ||
        target_service(&target, service) < 0)
        return -1;
    return connect_nonblocking(&target, &all);
}

int idc_connect(uint32_t domid, uint32_t port)
{
    return idc_connect_with(domid, port, NULL);
}

int idc_connect_name(uint32_t domid, const char *service)
{
    return idc_connect_name_with(domid, service, NULL);
}

/* If the socket's name had no room for the whole explanation, link_mgr is asked for it. */
static int connect_failed(int fd, int error, const char *why)
{
    char whole[COMPACT_MAX] = "";
    uint64_t number = connecting_cut_number(fd, false);
    if (number != 0 && libidc_reason_of_attempt(fd, number, whole, sizeof(whole)) == error)
        why = whole;
    return libidc_fail(error, "%s", why[0] != '\0' ? why : strerror(error));
}

int idc_connect_finish(int fd)
{
    char why[CONNECTING_WHY_MAX];
    int outcome = connecting_outcome(fd, why);
    if (outcome == -EINPROGRESS)
        return libidc_fail(EINPROGRESS, "the attempt to connect is under way");
    if (outcome == CONNECTING_NONE)
        return libidc_fail(EINVAL, "descriptor %d is not a connection of IDC's", fd);
    if (outcome < 0)
        return connect_failed(fd, -outcome, why);
    connecting_settle(fd, 0);
    return 0;
}

int idc_disconnect(int fd)
{
    return close(fd) == 0 ? 0 : libidc_fail(errno, "close: %s", strerror(errno));
}
