/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * listen.c - listeners. A listener is a descriptor on which link_mgr hands connections over
 * (common/handover.h). After idc_listen no more RPC is needed.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

/* A link_mgr that runs answers at once; these limits are for one that hangs. */
#define LISTEN_TIMEOUT_MS 10000
#define UNLISTEN_TIMEOUT_MS 5000

int libidc_listen_call(const char *path, const struct libidc_listen *listen, int far_end, int *fd)
{
    struct compact_writer call;
    compact_begin(&call, COMPACT_CALL, "idc.listen");
    compact_put_number(&call, "port", listen->port);
    if (listen->service != NULL)
        compact_put_text(&call, "name", listen->service);
    if (listen->type == IDC_SEQPACKET)
        compact_put_text(&call, "type", "seqpacket");
    compact_put_number(&call, "backlog", listen->backlog);
    if (listen->peer_timeout_ms != 0)
        compact_put_number(&call, "peer_timeout_ms", listen->peer_timeout_ms);
    compact_put_boolean(&call, "fd", true);
    if (far_end >= 0)
        compact_put_boolean(&call, "kept", true);
    return libidc_call_with(path, &call, LISTEN_TIMEOUT_MS | LIBIDC_INTERRUPTIBLE, &far_end,
                            far_end >= 0, NULL, fd);
}

static int listen_once(const struct libidc_listen *listen, const struct idc_options *options)
{
    const char *path = libidc_socket_path(options->socket);
    int fd = -1;
    if (options->keep)
        return libidc_keep(path, listen);
    return libidc_listen_call(path, listen, -1, &fd) < 0 ? -1 : fd;
}

static int listen_for(uint32_t port, const char *service, int backlog,
                      const struct idc_options *given, bool told)
{
    struct idc_options options;
    if (libidc_options(given, &options) < 0)
        return -1;
    const struct libidc_listen listen = {
        port, service, options.type, backlog, options.peer_timeout_ms, told};
    struct libidc_patience patience = libidc_patience_begin(options.timeout_ms);
    int fd;
    do {
        fd = listen_once(&listen, &options);
    } while (fd < 0 && options.wait &&
             libidc_patience_again(&patience, libidc_socket_path(options.socket)));
    return fd;
}

int idc_listen_with(uint32_t port, const char *service, int backlog,
                    const struct idc_options *options)
{
    return listen_for(port, service, backlog, options, false);
}

int libidc_listen_told(uint32_t port, const char *service, int backlog,
                       const struct idc_options *options)
{
    return listen_for(port, service, backlog, options, true);
}

int idc_listen(uint32_t port, int backlog)
{
    return idc_listen_with(port, NULL, backlog, NULL);
}

int idc_listen_name(const char *service, int backlog)
{
    if (service == NULL)
        return libidc_fail(EINVAL, "the service name is NULL");
    return idc_listen_with(IDC_PORT_ANY, service, backlog, NULL);
}

__attribute__((constructor)) static void listen_loaded(void)
{
    libidc_aside_begin();
}

/* This check ensures that nothing is read from a descriptor given by mistake. */
static int check_listener(int fd, uint64_t *serial)
{
    struct handover_name name;
    int error = handover_name(fd, &name);
    if (error == -EBADF)
        return libidc_fail(EBADF, "%d is not an open descriptor", fd);
    if (error < 0 || !name.listener)
        return libidc_fail(EINVAL, "descriptor %d is not a listener", fd);
    *serial = name.serial;
    return 0;
}

int idc_accept(int listener, struct idc_addr *peer)
{
    bool noted;
    int fd;
    do {
        fd = libidc_accept_marked(listener, peer, NULL, &noted);
    } while (fd < 0 && noted && errno == 0);
    return fd;
}

int libidc_accept_marked(int listener, struct idc_addr *peer, bool *marked, bool *noted)
{
    struct idc_addr address;
    struct handover_note note;
    uint64_t serial = 0;
    *noted = false;
    if (check_listener(listener, &serial) < 0)
        return -1;
    int fd = handover_accept_noted(listener, serial, &address, 0, marked, &note);
    *noted = fd == HANDOVER_NOTED;
    if (*noted)
        return libidc_fail(note.error, "%s", note.text);
    if (fd == -ECONNABORTED)
        return libidc_fail(ECONNABORTED, "the listener was ended, or its link_mgr was");
    if (fd == -EBADF)
        return libidc_fail(EBADF, "accept: another thread has closed the listener");
    if (fd < 0)
        return libidc_fail(-fd, "accept: %s", strerror(-fd));
    if (peer != NULL)
        *peer = address;
    return fd;
}

/* Waits for link_mgr, which first frees port and name and then closes its end. False: it does
 * not. */
static bool await_end(int listener)
{
    struct pollfd p = {.fd = listener};
    int ready;
    while ((ready = poll(&p, 1, UNLISTEN_TIMEOUT_MS)) < 0 && errno == EINTR)
        ;
    return ready != 0;
}

int idc_unlisten(int listener)
{
    uint64_t serial;
    if (check_listener(listener, &serial) < 0)
        return -1;
    shutdown(listener, SHUT_WR);
    bool ended = await_end(listener);
    if (close(listener) < 0)
        return libidc_fail(errno, "close: %s", strerror(errno));
    if (!ended)
        return libidc_fail(ETIMEDOUT, "link_mgr does not answer: the listener is closed, and its "
                                      "port and name are free once link_mgr goes on");
    return 0;
}
