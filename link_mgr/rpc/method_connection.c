/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * method_connection.c - idc.connect, disconnect, send, recv, reason, unsent, peer_timeout.
 *
 * A connect that does not wait (member far_end) is bound to the program's near end, not to the RPC
 * connection that it came over. A program may close that connection, or end, while another program
 * has the socket. The hub gets the program's far end, and the call keeps a duplicate until the
 * outcome is known. Through the duplicate it sees the program close the near end (then it gives the
 * attempt up), and names the far end with the error. When the connection is there, the hub gives
 * the far end its name and takes the filler out. A duplicate of the near end would hide that the
 * program has closed it. So it is passed on only within the domain, where nothing takes time. The
 * hub gives it the name that the accepting program will see.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/delivery.h"
#include "link_mgr/rpc/descriptor.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/text.h"
#include "link_mgr/rpc/value.h"

#define CONNECT_TIMEOUT_DEFAULT 30000
#define SEND_TIMEOUT_DEFAULT 30000
#define RECV_MAX_DEFAULT 65536

/* ---- connect ---- */

/* The state that a connect keeps. */
struct connecting {
    struct rpc_call *call;
    struct hub_pending *pending;
    enum idc_type type;
    bool want_fd;
    uint32_t keep_ms;
    int far_end; /* a duplicate of the program's far end, -1: none */
    struct event *near_gone;
};

static void connect_undo(void *state)
{
    struct connecting *connect = state;
    if (connect->pending != NULL)
        hub_cancel(connect->pending);
    if (connect->near_gone != NULL)
        event_free(connect->near_gone);
    closer_close(connect->far_end, connect->call->uid);
    free(connect);
}

/* A far end that cannot be named is closed all the same. The program then assumes that link_mgr has
 * ended. */
static void connect_fault(void *state, int error, const char *why)
{
    const struct connecting *connect = state;
    struct rpc_call *call = connect->call;
    if (connect->far_end >= 0 && connecting_fail(connect->far_end, error, why) == 0)
        rpc_refusals_note(&call->session->server->refusals, connect->far_end, call->uid, error,
                          why);
}

static const struct rpc_hooks connect_hooks = {.fault = connect_fault, .undo = connect_undo};

/* NULL: the call was answered. */
static struct connecting *connect_keep(struct rpc_call *call)
{
    struct connecting *connect = calloc(1, sizeof(*connect));
    if (connect == NULL) {
        rpc_fault_own(call, ENOMEM);
        return NULL;
    }
    connect->call = call;
    connect->far_end = -1;
    rpc_call_keep(call, &connect_hooks, connect);
    return connect;
}

static void reply_connected(struct connecting *connect, const struct hub_connected *result)
{
    struct rpc_struct s;
    struct rpc_handle *made;
    bool within = (int)result->peer_domid == hub_domid(connect->call->session->server->hub);
    connect->call->fd_own = !within;
    if (within)
        connect->call->fd_charge = result->peer_uid;
    const struct rpc_handle_for what = {.fd = result->fd,
                                        .type = connect->type,
                                        .charge = connect->call->fd_charge,
                                        .port = result->local_port,
                                        .keep_ms = connect->keep_ms};
    if (!rpc_handle_reply(&s, connect->call, &what, connect->want_fd, &made))
        return;
    rpc_struct_int(&s, "local_port", result->local_port);
    rpc_struct_int(&s, "peer_domid", result->peer_domid);
    rpc_struct_int(&s, "peer_port", result->peer_port);
    rpc_struct_int(&s, "peer_uid", result->peer_uid);
    rpc_struct_int(&s, "serial", (int64_t)result->serial);
    rpc_handle_replied(&s, made);
}

static void connect_done(void *arg, int error, const char *why, const struct hub_connected *result)
{
    struct connecting *connect = arg;
    connect->pending = NULL;
    if (error != 0)
        rpc_fault(connect->call, -error, "%s", why);
    else if (connect->far_end >= 0)
        rpc_reply_empty(connect->call);
    else
        reply_connected(connect, result);
}

static void near_end_event(evutil_socket_t fd, short what, void *arg)
{
    struct pollfd p = {.fd = fd};
    (void)what;
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
        rpc_call_give_up(arg);
}

/* The duplicate that the call keeps, and its watch. The descriptor itself stays in call->fds. */
static int watch_far_end(struct connecting *connect)
{
    struct rpc_call *call = connect->call;
    connect->far_end = fcntl(call->fds[0], F_DUPFD_CLOEXEC, 0);
    numbers_note(connect->far_end);
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
    rpc_params_refuse(params,
                      "that is not an end of an AF_UNIX socket pair of the connection's type");
}

static bool has_reservation(struct rpc_params *params)
{
    return rpc_params_bool(params, "reserved", false);
}

/* A far end, and perhaps its near end. */
static bool has_surplus(struct rpc_params *params)
{
    return params->call->fd_count - has_reservation(params) > 2;
}

/* The far end comes first. So it is there even if link_mgr had no room for the others. */
static bool has_its_ends(struct rpc_params *params)
{
    const struct rpc_call *call = params->call;
    return call->fd_count - (has_reservation(params) && !call->lacks) > 0;
}

static void read_far_end(struct rpc_params *params, struct connecting *connect)
{
    struct rpc_call *call = params->call;
    bool announced = rpc_params_bool(params, "far_end", false);
    if (announced ? has_surplus(params) : call->fd_count != 0)
        rpc_params_refuse_descriptors(params);
    else if (announced && !has_its_ends(params))
        rpc_params_refuse(params, "%d descriptors came with the call", call->fd_count);
    if (rpc_params_ok(params) && announced && !rpc_is_fitting_end(call->fds[0], connect->type))
        refuse_end(params);
    if (!rpc_params_ok(params) || !announced)
        return;
    call->silent = true;
    int error = watch_far_end(connect);
    if (error < 0) {
        params->failed = true;
        rpc_fault_own(call, error);
    }
}

/* The last descriptor, if the member "reserved" announces it, is the reservation of the local port.
 * The reservation ends here. */
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
        closer_close(fd, call->uid);
        call->fd_count--;
    }
    return port;
}

/* A program that connects without waiting closes its end; any other one ends, or hangs up. */
static bool connect_gone(void *arg)
{
    const struct connecting *connect = arg;
    struct pollfd p = {.fd = connect->far_end};
    if (p.fd < 0)
        return rpc_session_gone(connect->call->session);
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void read_connect(struct rpc_params *params, struct connecting *connect,
                         struct hub_connect *request)
{
    struct rpc_call *call = params->call;
    *request = (struct hub_connect){
        .caller = call->session->caller, .far_end = -1, .held_end = -1, .gone = connect_gone};
    request->type = connect->type;
    connect->want_fd = rpc_params_want_fd(params);
    connect->keep_ms = rpc_params_keep(params, 0);
    rpc_params_domain(params, &request->to);
    request->domid = request->to.kind == NAMING_SELF ? IDC_DOMID_SELF : request->to.domid;
    request->port = (uint32_t)rpc_params_int(params, "port", 1, UINT32_MAX, 0);
    request->local_port = read_reserved(params);
    request->reset_is_end = rpc_params_bool(params, "reset_is_end", false);
    request->peer_timeout_ms = rpc_params_peer_timeout(params, 0);
    rpc_params_service(params, "name", request->name);
    request->timeout_ms = rpc_params_timeout(params, 1, CONNECT_TIMEOUT_DEFAULT);
    request->wait = rpc_params_bool(params, "wait", false);
    if ((request->port != 0) == (request->name[0] != '\0'))
        rpc_params_refuse(params, "needs either \"port\" or \"name\"");
}

/* The near end is useful only within the domain. Of a domain that has to be looked up, the hub
 * finds out whether it is this one. */
static void pass_ends_on(struct rpc_params *params, struct hub_connect *request)
{
    struct rpc_call *call = params->call;
    bool within = request->to.kind != NAMING_DOMID ||
                  (int)request->domid == hub_domid(call->session->server->hub);
    int near_end = rpc_take_fd(call, 1);
    if (within && near_end >= 0 && !rpc_is_fitting_end(near_end, request->type))
        refuse_end(params);
    if (near_end >= 0 && (!within || !rpc_params_ok(params)))
        closer_close(near_end, call->uid);
    else
        request->held_end = near_end;
    if (rpc_params_ok(params))
        request->far_end = rpc_take_fd(call, 0);
}

void rpc_do_connect(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_connect request;
    struct connecting *connect = connect_keep(call);
    if (connect == NULL)
        return;
    connect->type = rpc_params_type(params);
    read_far_end(params,
                 connect); /* this comes first, so that it can report whatever else is wrong */
    read_connect(params, connect, &request);
    if (rpc_params_ok(params))
        pass_ends_on(params, &request);
    if (!rpc_params_ok(params))
        return;
    connect->pending = hub_connect(call->session->server->hub, &request, connect_done, connect);
    if (connect->pending == NULL)
        rpc_fault_own(call, ENOMEM);
}

void rpc_refuse_connect(struct rpc_call *call, struct rpc_params *params, int error,
                        const char *why)
{
    struct connecting *connect = connect_keep(call);
    if (connect == NULL)
        return;
    connect->type = rpc_params_type(params);
    read_far_end(params, connect);
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

/* The question that idc.reason, idc.unsent and idc.peer_timeout have in common. */
static void read_question(struct rpc_params *params, struct hub_question *question)
{
    struct rpc_call *call = params->call;
    bool announced = rpc_params_bool(params, "shown", false);
    *question = (struct hub_question){.caller = call->session->caller, .shown = -1};
    question->serial = (uint64_t)rpc_params_int(params, "serial", 0, INT64_MAX, RPC_REQUIRED);
    if (call->fd_count > announced)
        rpc_params_refuse_descriptors(params);
    else if (call->fd_count < announced)
        rpc_params_refuse(params, "no descriptor came with the call");
    else if (announced)
        question->shown = call->fds[0];
}

/* error is the hub's answer to the question. */
static void fault_of_question(struct rpc_call *call, const struct hub_question *question, int error)
{
    if (error == -EACCES)
        rpc_fault(call, EACCES, "the connection with the serial %llu belongs to another uid",
                  (unsigned long long)question->serial);
    else
        rpc_fault(call, -error, "no connection has the serial %llu, or it ended too long ago",
                  (unsigned long long)question->serial);
}

static void reply_reason(struct rpc_call *call, int error, const char *why)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "errno", error);
    rpc_struct_text(&s, "why", why);
    rpc_struct_reply(&s);
}

/* Of a connect that did not wait and has failed. */
static void reply_refusal(struct rpc_call *call, const struct hub_question *question,
                          const struct rpc_refusal *refusal)
{
    uint32_t uid = question->caller.uid;
    if (uid == 0 || (uid != HUB_NOBODY && uid == refusal->uid))
        reply_reason(call, refusal->error, refusal->why);
    else
        fault_of_question(call, question, -EACCES);
}

void rpc_do_reason(struct rpc_call *call, struct rpc_params *params)
{
    char why[HUB_WHY_MAX] = "";
    struct hub_question question;
    int end = 0;
    read_question(params, &question);
    if (!rpc_params_ok(params))
        return;
    const struct rpc_refusal *refusal =
        rpc_refusals_find(&call->session->server->refusals, question.serial);
    if (refusal != NULL) {
        reply_refusal(call, &question, refusal);
        return;
    }
    int error = hub_reason(call->session->server->hub, &question, &end, why);
    if (error < 0) {
        fault_of_question(call, &question, error);
        return;
    }
    reply_reason(call, -end, why);
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

void rpc_do_peer_timeout(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_question question;
    read_question(params, &question);
    uint32_t ms = rpc_params_peer_timeout(params, RPC_REQUIRED);
    if (!rpc_params_ok(params))
        return;
    int error = hub_watch_peer(call->session->server->hub, &question, ms);
    if (error < 0)
        fault_of_question(call, &question, error);
    else
        rpc_reply_empty(call);
}

static const char *transfer_error_text(int error)
{
    switch (error) {
    case EPIPE:
        return "nothing more can be sent: this side, or the other one, has ended this direction";
    case EMSGSIZE:
        return "a message may have at most 16777216 bytes";
    case ECONNRESET:
        return "the connection was cut off; the reason is no longer known";
    default:
        return own_error_text(error);
    }
}

/* A send or recv failed. If the connection was cut off, the fault has the reason that the hub
 * knows. */
static void fault_of_connection(const struct rpc_wait *wait, int error)
{
    struct rpc_call *call = wait->call;
    const struct rpc_handle *handle = wait->handle;
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

/* Begins with the wait, for handle.c. */
struct receiving {
    struct rpc_wait wait;
    size_t max;
};

static void recv_undo(void *state)
{
    struct receiving *receiving = state;
    rpc_wait_end(&receiving->wait);
    free(receiving);
}

static bool reply_received(struct rpc_call *call, const void *bytes, size_t len, bool end)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_bytes(&s, "data", bytes, len);
    if (end)
        rpc_struct_bool(&s, "end", true);
    return rpc_struct_reply(&s);
}

/* The room that recv needs: for a stream, no more than there are bytes. */
static size_t recv_room(const struct rpc_handle *handle, size_t max)
{
    int queued = 0;
    if (handle->type != IDC_STREAM || ioctl(handle->fd, SIOCINQ, &queued) < 0)
        return max;
    if (queued < 1)
        return 1; /* for the end, or an error */
    return (size_t)queued < max ? (size_t)queued : max;
}

/* The memory that a recv costs: the bytes, and the document that has them in base64 and lines. */
static size_t recv_cost(size_t room)
{
    return room + RPC_ANSWER_SHORT + room / 57 * 78 + 78;
}

/* Looks at what is next, without taking it. Returns the number of bytes, HANDOVER_END, or negative
 * errno. A client within the domain may have kept a copy of the socket, and set SO_PEEK_OFF on it.
 * Then the look would find nothing, and the socket would stay readable. */
static ssize_t recv_look(const struct rpc_handle *handle, void *buf, size_t room)
{
    size_t length;
    setsockopt(handle->fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int));
    if (handle->type == IDC_SEQPACKET)
        return handover_recv_message(handle->fd, buf, room, MSG_DONTWAIT | MSG_PEEK, &length);
    int none = 0;
    closer_charge(handle->charge);
    ssize_t got = handover_recv(handle->fd, buf, room, NULL, &none, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 ? HANDOVER_END : got;
}

/* Takes the bytes that it has looked at. A message goes as a whole, even if it was cut. */
static void recv_take(const struct rpc_handle *handle, void *buf, size_t len)
{
    int none = 0;
    closer_charge(handle->charge);
    if (handover_recv(handle->fd, buf, len, NULL, &none, MSG_DONTWAIT) < 0)
        shutdown(handle->fd, SHUT_RDWR); /* this cannot be: it was there */
}

/* Answers with the bytes in buf, and only then takes them. A handle that ends with its client's
 * connection needs no delivery, because nobody reads on. A kept one does not end with it. */
static void recv_hand_over(struct rpc_call *call, struct rpc_handle *handle, void *buf, size_t len)
{
    bool others = handle->owner != call->session || handle->keep_ms > 0;
    struct rpc_delivery *delivery = others ? rpc_delivery_new(call->session, handle) : NULL;
    if (others && delivery == NULL) {
        rpc_fault_own(call, ENOMEM);
    } else if (reply_received(call, buf, len, false)) {
        if (others)
            rpc_delivery_begin(delivery);
        recv_take(handle, buf, len);
    } else if (others) {
        rpc_delivery_cancel(delivery);
    }
}

/* True: the call was answered. */
static bool recv_attempt_in(struct rpc_wait *wait, void *buf, size_t room)
{
    struct rpc_call *call = wait->call;
    struct rpc_handle *handle = wait->handle;
    ssize_t got = buf != NULL ? recv_look(handle, buf, room) : -ENOMEM;
    if (got == -EAGAIN || got == -EINTR)
        return false;
    if (got == HANDOVER_END)
        reply_received(call, buf, 0, true);
    else if (got < 0)
        fault_of_connection(wait, (int)-got);
    else
        recv_hand_over(call, handle, buf, (size_t)got);
    return true;
}

static bool recv_attempt(struct rpc_wait *wait)
{
    const struct receiving *receiving = (const struct receiving *)wait;
    struct rpc_call *call = wait->call;
    if (wait->handle->lost) {
        rpc_fault(call, ECONNRESET, "%s", RPC_LOST);
        return true;
    }
    size_t room = recv_room(wait->handle, receiving->max), cost = recv_cost(room);
    if (!rpc_memory_take(call->session, cost)) {
        rpc_fault(call, ENOBUFS, "%s", RPC_NO_ROOM);
        return true;
    }
    call->counted += cost; /* until its answer is counted */
    void *buf = malloc(room);
    bool answered = recv_attempt_in(wait, buf, room);
    free(buf);
    if (!answered) {
        call->counted -= cost;
        rpc_memory_give(call->session, cost);
    }
    return answered;
}

static void recv_begin(void *state)
{
    rpc_wait(state, "nothing to receive now");
}

static const struct rpc_hooks recv_hooks = {.begin = recv_begin, .undo = recv_undo};

void rpc_do_recv(struct rpc_call *call, struct rpc_params *params)
{
    size_t max = (size_t)rpc_params_int(params, "max", 1, IDC_MESSAGE_MAX, RECV_MAX_DEFAULT);
    int64_t timeout = rpc_params_timeout(params, 0, -1);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, false) : NULL;
    if (handle == NULL)
        return;
    struct receiving *receiving = calloc(1, sizeof(*receiving));
    if (receiving == NULL) {
        rpc_fault_own(call, ENOMEM);
        return;
    }
    receiving->max = call->multicall && max > RPC_PART_DATA ? RPC_PART_DATA : max;
    receiving->wait = (struct rpc_wait){.call = call,
                                        .handle = handle,
                                        .queue = &handle->readers,
                                        .attempt = recv_attempt,
                                        .timeout_ms = timeout};
    rpc_call_keep(call, &recv_hooks, receiving);
}

/* ---- send ---- */

/* Begins with the wait, for handle.c. */
struct sending {
    struct rpc_wait wait;
    xmlrpc_value *data; /* with what was counted for it */
    size_t counted;
    bool end;
};

static void send_undo(void *state)
{
    struct sending *sending = state;
    rpc_wait_end(&sending->wait);
    rpc_xml_release(&sending->wait.call->xml, sending->data);
    rpc_memory_give(sending->wait.call->session, sending->counted);
    free(sending);
}

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

/* A copy of the data, or NULL. */
static const unsigned char *copy_data(const struct sending *sending, size_t *len)
{
    struct rpc_xml_guard guard;
    const unsigned char *bytes = NULL;
    xmlrpc_env env;
    if (RPC_XML_TRY(&guard, &sending->wait.call->xml)) {
        xmlrpc_env_init(&env);
        xmlrpc_read_base64(&env, sending->data, len, &bytes);
        xmlrpc_env_clean(&env);
    }
    return rpc_xml_leave(&guard) ? bytes : NULL;
}

static bool send_attempt(struct rpc_wait *wait)
{
    const struct sending *sending = (const struct sending *)wait;
    size_t len = 0;
    const unsigned char *bytes = copy_data(sending, &len);
    ssize_t sent = bytes == NULL ? -ENOMEM : send_data(wait->handle, bytes, len);
    rpc_xml_free(bytes);
    if (sent == -EAGAIN || sent == -EINTR)
        return false;
    if (sent == (ssize_t)len && sending->end)
        shutdown(wait->handle->fd, SHUT_WR); /* cannot fail on a Unix socket */
    if (sent >= 0)
        reply_accepted(wait->call, (size_t)sent);
    else
        fault_of_connection(wait, (int)-sent);
    return true;
}

static void send_begin(void *state)
{
    struct sending *sending = state;
    struct rpc_call *call = sending->wait.call;
    if (sending->wait.timeout_ms != 0)
        rpc_wait(&sending->wait, NULL);
    else if (!rpc_wait_attempt(&sending->wait))
        reply_accepted(call, 0);
}

static const struct rpc_hooks send_hooks = {.begin = send_begin, .undo = send_undo};

/* Keeps a reference to the data, for as long as the call may have to wait. */
static void read_data(struct rpc_params *params, struct sending *sending)
{
    struct rpc_call *call = params->call;
    xmlrpc_env env;
    size_t len = 0;
    sending->data = rpc_params_bytes(params, "data");
    if (sending->data == NULL)
        return;
    xmlrpc_env_init(&env);
    xmlrpc_read_base64_size(&env, sending->data, &len);
    xmlrpc_env_clean(&env);
    if (!rpc_memory_take(call->session, len)) {
        params->failed = true;
        rpc_fault(call, ENOBUFS, "%s", RPC_NO_ROOM);
        return;
    }
    sending->counted = len;
    if (len == 0 && !sending->end)
        rpc_params_refuse(params, "member \"data\" is empty");
}

void rpc_do_send(struct rpc_call *call, struct rpc_params *params)
{
    struct sending *sending = calloc(1, sizeof(*sending));
    if (sending == NULL) {
        rpc_fault_own(call, ENOMEM);
        return;
    }
    sending->wait.call = call;
    rpc_call_keep(call, &send_hooks, sending);
    sending->end = rpc_params_bool(params, "end", false);
    int64_t timeout = rpc_params_timeout(params, 0, SEND_TIMEOUT_DEFAULT);
    if (rpc_params_ok(params))
        read_data(params, sending);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, false) : NULL;
    if (handle != NULL)
        sending->wait = (struct rpc_wait){.call = call,
                                          .handle = handle,
                                          .queue = &handle->writers,
                                          .attempt = send_attempt,
                                          .timeout_ms = timeout};
}
