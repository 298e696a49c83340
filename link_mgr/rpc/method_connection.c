/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_connection.c - idc.connect, disconnect, send, recv, reason.
 *
 * A connect that does not wait (member far_end) is bound to the program's near end, not to the RPC
 * connection that it came over: a program may close that, or end, while another one has the socket.
 * The hub gets the program's far end, and the call
 * keeps a duplicate until the outcome is known. By that it sees the program close the near end
 * (then the attempt is given up), and names the far end with the error. When the connection is
 * there, the hub gives it its name and takes the filler out. A duplicate of the near end, which
 * would hide that the program has closed it, is passed on only within the domain, where nothing
 * takes time: the hub gives it the name that the accepting program will see.
 */
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/methods.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/value.h"

#define CONNECT_TIMEOUT_DEFAULT 30000
#define SEND_TIMEOUT_DEFAULT 30000
#define RECV_MAX_DEFAULT 65536

/* ---- connect ---- */

bool rpc_params_want_fd(struct rpc_params *params)
{
    bool wanted = rpc_params_bool(params, "fd", false);
    if (wanted && !params->call->session->transport->descriptors)
        rpc_params_refuse(
            params, "member \"fd\": a descriptor cannot travel over plain HTTP (docs/rpc.md, 4)");
    if (wanted && params->call->multicall)
        rpc_params_refuse(params, "member \"fd\" is not for a system.multicall");
    return wanted;
}

void rpc_connecting_end(struct rpc_call *call)
{
    struct rpc_connecting *connect = &call->connect;
    if (connect->pending != NULL)
        hub_cancel(connect->pending);
    if (connect->near_gone != NULL)
        event_free(connect->near_gone);
    if (connect->far_end >= 0)
        close(connect->far_end);
    connect->pending = NULL;
    connect->near_gone = NULL;
    connect->far_end = -1;
}

static void reply_connected(struct rpc_call *call, const struct hub_connected *result)
{
    struct rpc_struct s;
    if (!rpc_handle_reply(&s, call, result->fd, call->connect.want_fd, false, call->connect.type))
        return;
    rpc_struct_int(&s, "local_port", result->local_port);
    rpc_struct_int(&s, "peer_domid", result->peer_domid);
    rpc_struct_int(&s, "peer_port", result->peer_port);
    rpc_struct_int(&s, "serial", (int64_t)result->serial);
    rpc_struct_reply(&s);
}

static void connect_done(void *arg, int error, const char *why, const struct hub_connected *result)
{
    struct rpc_call *call = arg;
    call->connect.pending = NULL;
    if (error != 0) {
        rpc_fault(call, -error, "%s", why);
    } else if (call->connect.far_end >= 0) {
        rpc_reply_empty(call);
    } else {
        reply_connected(call, result);
    }
}

static void near_end_event(evutil_socket_t fd, short what, void *arg)
{
    struct pollfd p = {.fd = fd};
    (void)what;
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
        rpc_call_give_up(arg);
}

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* A socket pair's ends have no names. The ends of connections to us, and of those that we made,
 * have peers with names: as a far end they would make a loop that outlives the client. */
static bool has_nameless_peer(int fd)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);
    return getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
           address.sun_family == AF_UNIX && len <= offsetof(struct sockaddr_un, sun_path);
}

bool rpc_is_fitting_end(int fd, enum idc_type type)
{
    int wanted = type == IDC_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
    return socket_option(fd, SO_TYPE) == wanted && has_nameless_peer(fd);
}

int rpc_take_fd(struct rpc_call *call, int at)
{
    bool there = at >= 0 && at < call->fd_count;
    int fd = there ? call->fds[at] : -1;
    if (there)
        call->fds[at] = -1;
    return fd;
}

/* The duplicate that the call keeps, and its watch. The descriptor itself stays in call->fds. */
static int watch_far_end(struct rpc_call *call)
{
    struct rpc_connecting *connect = &call->connect;
    connect->far_end = fcntl(call->fds[0], F_DUPFD_CLOEXEC, 0);
    if (connect->far_end < 0) {
        int error = -errno;
        connect->far_end = rpc_take_fd(call, 0); /* for the name that tells it */
        return error;
    }
    /* Edge-triggered: the filler keeps it readable all the time. */
    connect->near_gone = event_new(call->session->server->base, connect->far_end,
                                   EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, near_end_event, call);
    return connect->near_gone != NULL && event_add(connect->near_gone, NULL) == 0 ? 0 : -ENOMEM;
}

static void refuse_end(struct rpc_params *params)
{
    rpc_params_refuse(params, "that is no end of an AF_UNIX socket pair of the connection's type");
}

static void read_far_end(struct rpc_params *params)
{
    struct rpc_call *call = params->call;
    bool announced = rpc_params_bool(params, "far_end", false);
    bool reserved = announced && rpc_params_bool(params, "reserved", false);
    int ends = call->fd_count - reserved;
    if (announced ? ends < 1 || ends > 2 : call->fd_count != 0)
        rpc_params_refuse(params, "%d descriptors came with the call", call->fd_count);
    if (rpc_params_ok(params) && announced && !rpc_is_fitting_end(call->fds[0], call->connect.type))
        refuse_end(params);
    if (!rpc_params_ok(params) || !announced)
        return;
    call->silent = true;
    int error = watch_far_end(call);
    if (error < 0) {
        params->failed = true;
        rpc_fault(call, own_error(-error), "%s", own_error_text(error));
    }
}

/* The last descriptor, when the member "reserved" announces it: the reservation of the local port,
 * which ends here. */
static uint32_t read_reserved(struct rpc_params *params)
{
    struct rpc_call *call = params->call;
    bool announced = rpc_params_bool(params, "reserved", false);
    int fd = announced ? rpc_take_fd(call, call->fd_count - 1) : -1;
    uint32_t port = fd >= 0 ? hub_reserved_port(call->session->server->hub, fd) : 0;
    if (announced && port == 0)
        rpc_params_refuse(params,
                          "member \"reserved\": no reservation of a port came with the call");
    if (fd >= 0) {
        close(fd);
        call->fd_count--;
    }
    return port;
}

/* A program that connects without waiting closes its end; any other one ends, or hangs up. */
static bool connect_gone(void *arg)
{
    const struct rpc_call *call = arg;
    struct pollfd p = {.fd = call->connect.far_end};
    if (p.fd < 0)
        return rpc_session_gone(call->session);
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void read_connect(struct rpc_params *params, struct hub_connect *request)
{
    struct rpc_call *call = params->call;
    *request = (struct hub_connect){
        .caller = call->session->caller, .far_end = -1, .held_end = -1, .gone = connect_gone};
    request->type = call->connect.type;
    call->connect.want_fd = rpc_params_want_fd(params);
    request->domid = (uint32_t)rpc_params_int(params, "domid", 0, IDC_DOMID_SELF, RPC_REQUIRED);
    request->port = (uint32_t)rpc_params_int(params, "port", 1, UINT32_MAX, 0);
    request->local_port = read_reserved(params);
    request->reset_is_end = rpc_params_bool(params, "reset_is_end", false);
    rpc_params_service(params, "name", request->name);
    request->timeout_ms = rpc_params_timeout(params, 1, CONNECT_TIMEOUT_DEFAULT);
    request->wait = rpc_params_bool(params, "wait", false);
    if ((request->port != 0) == (request->name[0] != '\0'))
        rpc_params_refuse(params, "needs either \"port\" or \"name\"");
}

/* The near end is of use within the domain only. */
static void pass_ends_on(struct rpc_params *params, struct hub_connect *request)
{
    struct rpc_call *call = params->call;
    bool within = request->domid == IDC_DOMID_SELF ||
                  (int)request->domid == hub_domid(call->session->server->hub);
    int near_end = rpc_take_fd(call, 1);
    if (within && near_end >= 0 && !rpc_is_fitting_end(near_end, request->type))
        refuse_end(params);
    if (near_end >= 0 && (!within || !rpc_params_ok(params)))
        close(near_end);
    else
        request->held_end = near_end;
    if (rpc_params_ok(params))
        request->far_end = rpc_take_fd(call, 0);
}

void rpc_do_connect(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_connect request;
    call->connect.type = rpc_params_type(params);
    read_far_end(params); /* first, so that whatever else is wrong can be told by it */
    read_connect(params, &request);
    if (rpc_params_ok(params))
        pass_ends_on(params, &request);
    if (!rpc_params_ok(params))
        return;
    call->connect.pending = hub_connect(call->session->server->hub, &request, connect_done, call);
    if (call->connect.pending == NULL)
        rpc_fault(call, ENOBUFS, "%s", own_error_text(ENOMEM));
}

void rpc_refuse_connect(struct rpc_call *call, struct rpc_params *params, int error,
                        const char *why)
{
    call->connect.type = rpc_params_type(params);
    read_far_end(params);
    if (!rpc_params_ok(params))
        return;
    params->failed = true;
    rpc_fault(call, error, "%s", why);
}

/* ---- disconnect, reason ---- */

void rpc_do_disconnect(struct rpc_call *call, struct rpc_params *params)
{
    struct rpc_handle *handle = rpc_handle_of(params, false);
    if (handle == NULL)
        return;
    rpc_handle_close(handle);
    rpc_reply_empty(call);
}

/* The question that reason and unsent have in common. */
static void read_question(struct rpc_params *params, struct hub_question *question)
{
    struct rpc_call *call = params->call;
    bool announced = rpc_params_bool(params, "shown", false);
    *question = (struct hub_question){.caller = call->session->caller, .shown = -1};
    question->serial = (uint64_t)rpc_params_int(params, "serial", 0, INT64_MAX, RPC_REQUIRED);
    if (call->fd_count != announced)
        rpc_params_refuse(params, "%d descriptors came with the call", call->fd_count);
    else if (announced)
        question->shown = call->fds[0];
}

/* error: what the hub answered to the question. */
static void fault_of_question(struct rpc_call *call, const struct hub_question *question, int error)
{
    if (error == -EACCES)
        rpc_fault(call, EACCES, "the connection with the serial %llu belongs to another uid",
                  (unsigned long long)question->serial);
    else
        rpc_fault(call, -error, "no connection has the serial %llu, or it ended too long ago",
                  (unsigned long long)question->serial);
}

void rpc_do_reason(struct rpc_call *call, struct rpc_params *params)
{
    char why[HUB_WHY_MAX] = "";
    struct rpc_struct s;
    struct hub_question question;
    int end = 0;
    read_question(params, &question);
    if (!rpc_params_ok(params))
        return;
    int error = hub_reason(call->session->server->hub, &question, &end, why);
    if (error < 0) {
        fault_of_question(call, &question, error);
        return;
    }
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "errno", -end);
    rpc_struct_text(&s, "why", why);
    rpc_struct_reply(&s);
}

void rpc_do_unsent(struct rpc_call *call, struct rpc_params *params)
{
    struct rpc_struct s;
    struct hub_question question;
    read_question(params, &question);
    if (!rpc_params_ok(params))
        return;
    int64_t bytes = hub_unsent(call->session->server->hub, &question);
    if (bytes < 0) {
        fault_of_question(call, &question, (int)bytes);
        return;
    }
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "bytes", bytes);
    rpc_struct_reply(&s);
}

static const char *transfer_error_text(int error)
{
    switch (error) {
    case EPIPE:
        return "nothing more can be sent: this side, or the other one, has ended this direction";
    case EMSGSIZE:
        return "a message may have at most 16777216 bytes";
    case ECONNRESET:
        return "the connection was cut off; why is not known any more";
    default:
        return own_error_text(error);
    }
}

/* A send or recv failed: with the reason that the hub knows when the connection was cut off. */
static void fault_of_connection(struct rpc_call *call, int error)
{
    const struct rpc_handle *handle = call->wait.handle;
    /* Whoever may use the handle may ask. */
    const struct hub_question question = {
        .caller = call->session->caller, .serial = handle->serial, .shown = handle->fd};
    char why[HUB_WHY_MAX] = "";
    int end = 0;
    if ((error == ECONNRESET || error == EPIPE) &&
        hub_reason(call->session->server->hub, &question, &end, why) == 0 && end != 0)
        rpc_fault(call, -end, "%s", why);
    else
        rpc_fault(call, own_error(error), "%s", transfer_error_text(error));
}

/* ---- recv ---- */

static void reply_received(struct rpc_call *call, const void *bytes, size_t len, bool end)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_bytes(&s, "data", bytes, len);
    if (end)
        rpc_struct_bool(&s, "end", true);
    rpc_struct_reply(&s);
}

static bool attempt_recv(struct rpc_call *call)
{
    const struct rpc_handle *handle = call->wait.handle;
    void *buf = malloc(call->recv_max);
    ssize_t got = -ENOMEM;
    size_t length = 0;
    if (buf != NULL && handle->type == IDC_SEQPACKET) {
        got = handover_recv_message(handle->fd, buf, call->recv_max, MSG_DONTWAIT, &length);
    } else if (buf != NULL) {
        got = recv(handle->fd, buf, call->recv_max, MSG_DONTWAIT);
        got = got < 0 ? -errno : got;
    }
    if (got >= 0)
        reply_received(call, buf, (size_t)got, got == 0 && handle->type != IDC_SEQPACKET);
    else if (got == HANDOVER_END)
        reply_received(call, buf, 0, true);
    else if (got != -EAGAIN && got != -EINTR)
        fault_of_connection(call, (int)-got);
    free(buf);
    return got != -EAGAIN && got != -EINTR;
}

void rpc_do_recv(struct rpc_call *call, struct rpc_params *params)
{
    call->recv_max = (size_t)rpc_params_int(params, "max", 1, IDC_MESSAGE_MAX, RECV_MAX_DEFAULT);
    int64_t timeout = rpc_params_timeout(params, 0, -1);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, false) : NULL;
    if (handle != NULL && !rpc_wait(call, handle, &handle->readers, attempt_recv, timeout))
        rpc_fault(call, EAGAIN, "nothing to receive now");
}

/* ---- send ---- */

static void reply_accepted(struct rpc_call *call, size_t accepted)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "accepted", (int64_t)accepted);
    rpc_struct_reply(&s);
}

static ssize_t send_data(const struct rpc_handle *handle, const void *bytes, size_t len)
{
    if (len == 0)
        return 0;
    if (handle->type == IDC_SEQPACKET)
        return handover_send_message(handle->fd, bytes, len, MSG_DONTWAIT);
    ssize_t sent = send(handle->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static bool attempt_send(struct rpc_call *call)
{
    const struct rpc_handle *handle = call->wait.handle;
    const unsigned char *bytes = NULL;
    size_t len = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64(&env, call->send_data, &len, &bytes);
    ssize_t sent = env.fault_occurred ? -ENOMEM : send_data(handle, bytes, len);
    xmlrpc_env_clean(&env);
    free((void *)(uintptr_t)bytes);
    if (sent == -EAGAIN || sent == -EINTR)
        return false;
    if (sent == (ssize_t)len && call->send_end)
        shutdown(handle->fd, SHUT_WR);
    if (sent >= 0)
        reply_accepted(call, (size_t)sent);
    else
        fault_of_connection(call, (int)-sent);
    return true;
}

/* Keeps a reference to the data, for as long as the call may have to wait. */
static void read_send(struct rpc_params *params)
{
    struct rpc_call *call = params->call;
    xmlrpc_env env;
    size_t len = 0;
    call->send_end = rpc_params_bool(params, "end", false);
    xmlrpc_value *data = rpc_params_bytes(params, "data");
    if (data == NULL)
        return;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64_size(&env, data, &len);
    xmlrpc_env_clean(&env);
    if (!rpc_memory_take(call->session->server, len)) {
        xmlrpc_DECREF(data);
        params->failed = true;
        rpc_fault(call, ENOBUFS, "too much data is under way; try again later");
        return;
    }
    call->send_data = data;
    call->send_counted = len;
    if (len == 0 && !call->send_end)
        rpc_params_refuse(params, "member \"data\" is empty");
}

void rpc_do_send(struct rpc_call *call, struct rpc_params *params)
{
    int64_t timeout = rpc_params_timeout(params, 0, SEND_TIMEOUT_DEFAULT);
    read_send(params);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, false) : NULL;
    if (handle != NULL && !rpc_wait(call, handle, &handle->writers, attempt_send, timeout))
        reply_accepted(call, 0);
}
