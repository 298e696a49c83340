/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transport_http.c - theory of operation
 *
 * libmicrohttpd calls rpc_http_request for the head of a request, for each part of its body, and
 * when it is whole. Then the call is run. If it is answered at once, so is the request. If not, the
 * connection is suspended: libmicrohttpd does not look at it until it is resumed. The response is
 * queued just before that. If there is none, because the call was given up, libmicrohttpd calls
 * rpc_http_request once more, and we tell it to close the connection.
 *
 * While the connection is suspended, libmicrohttpd does not notice that the client has gone. So we
 * watch the socket ourselves, from the first suspension to the end of the connection. The watch is
 * edge-triggered and costs nothing while the client is silent. A client that has merely shut its
 * sending side down counts as gone too: libmicrohttpd would not answer it.
 *
 * When a client closes as soon as it has its answer, libmicrohttpd may see that before we do. The
 * kernel's word on whether all was read is lost then (delivery.h). So after an answer with data the
 * connection is held: it stays suspended until the client has read the answer, closes or asks
 * again.
 */
#include "link_mgr/rpc/transport.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <event2/event_struct.h>
#include <strings.h>
#include <sys/socket.h>

#include "link_mgr/base/closer.h"
#include "link_mgr/rpc/delivery.h"
#include "link_mgr/rpc/dispatch.h"

/* From the beginning of a connection to the end of its first head, and from there to the end of the
 * body. A client that has made a call may be silent for as long as it likes. */
#define REQUEST_SECONDS 30
#define ANSWER_PART (32u * 1024) /* how much of a watched answer is copied at a time */

/* The session's carrier for a connection, as long as it is not upgraded. */
struct http_carrier {
    struct rpc_session *session;
    struct MHD_Connection *connection;
    struct http_request *request; /* under way */
    struct event *watch;
    struct event holding; /* watches while it is held */
    bool held;
    struct event late; /* a request has taken too long */
};

struct http_request {
    struct http_carrier *carrier;
    char *body;
    size_t body_len, body_room; /* room is counted in the server's memory */
    unsigned refused; /* the HTTP status with which the request ends, once its body is over */
    bool run, suspended;
    bool answered;
    bool given_up; /* there is no answer: the connection ends */
};

/* ---- responses ---- */

static const char *text_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_METHOD_NOT_ALLOWED:
        return "This is link_mgr's XML-RPC interface: POST a methodCall, such as "
               "system.listMethods (docs/rpc.md).\n";
    case MHD_HTTP_UPGRADE_REQUIRED:
        return "The protocols to upgrade to are " RPC_UPGRADE_PROTOCOL " and " RPC_UPGRADE_COMPACT
               " (docs/rpc.md, 4).\n";
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "A call may have at most 25165824 bytes.\n";
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        return "Too much data is under way; try again later.\n";
    default:
        return "link_mgr is out of memory.\n";
    }
}

static enum MHD_Result http_respond(struct MHD_Connection *connection, unsigned status,
                                    struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* The response; NULL, and it is freed, if there is no memory for the header. */
static struct MHD_Response *with_header(struct MHD_Response *response, const char *name,
                                        const char *value)
{
    if (response == NULL || MHD_add_response_header(response, name, value) == MHD_YES)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

static struct MHD_Response *new_text(const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    return with_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain");
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status)
{
    struct MHD_Response *response = new_text(text_of(status));
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        response = with_header(response, MHD_HTTP_HEADER_ALLOW, "POST");
    if (status == MHD_HTTP_UPGRADE_REQUIRED)
        response = with_header(response, MHD_HTTP_HEADER_UPGRADE, RPC_UPGRADE_PROTOCOL);
    return http_respond(connection, status, response);
}

/* The connection must not go on. */
static enum MHD_Result respond_refusal(struct MHD_Connection *connection, const char *refusal)
{
    struct MHD_Response *response =
        with_header(new_text(refusal), MHD_HTTP_HEADER_CONNECTION, "close");
    return http_respond(connection, MHD_HTTP_SERVICE_UNAVAILABLE, response);
}

static void answer_free(void *arg)
{
    rpc_answer_free(arg);
}

/* If the client closes at once, libmicrohttpd does not tell when an answer was written. But it asks
 * for the last byte, a line's end, only when everything before was written. */
static ssize_t answer_part(void *arg, uint64_t at, char *buf, size_t room)
{
    const struct rpc_answer *answer = arg;
    const char *bytes = xmlrpc_mem_block_contents(answer->block);
    size_t last = xmlrpc_mem_block_size(answer->block) - 1;
    size_t len = at < last ? last - (size_t)at : 1;
    if (at == last && answer->session != NULL)
        answer->session->sending = false;
    len = len < room ? len : room;
    memcpy(buf, bytes + at, len);
    return (ssize_t)len;
}

/* An answer with data of another session's handle is watched on its way (delivery.h). */
static struct MHD_Response *new_answer(struct rpc_session *session, struct rpc_answer *answer)
{
    size_t len = xmlrpc_mem_block_size(answer->block);
    if (!session->sending)
        return MHD_create_response_from_buffer_with_free_callback_cls(
            len, xmlrpc_mem_block_contents(answer->block), answer_free, answer);
    answer->session = session;
    return MHD_create_response_from_callback(len, ANSWER_PART, answer_part, answer, answer_free);
}

/* Takes the answer over; libmicrohttpd has it until it is sent. */
static enum MHD_Result respond_answer(struct http_carrier *carrier, struct rpc_answer *answer)
{
    struct MHD_Response *response = new_answer(carrier->session, answer);
    if (response == NULL)
        rpc_answer_free(answer);
    response = with_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/xml");
    return http_respond(carrier->connection, MHD_HTTP_OK, response);
}

/* ---- the call ---- */

static void http_resume(struct http_request *request)
{
    request->suspended = false;
    MHD_resume_connection(request->carrier->connection);
    rpc_run_soon(request->carrier->session->server);
}

static bool http_answer(void *arg, uint32_t tag, struct rpc_answer *answer, int fd)
{
    struct http_carrier *carrier = arg;
    struct http_request *request = carrier->request;
    (void)tag, (void)fd; /* no descriptors on this transport, and one call at a time */
    request->answered = true;
    request->given_up = answer == NULL || respond_answer(carrier, answer) != MHD_YES;
    if (request->suspended)
        http_resume(request);
    return !request->given_up;
}

static const struct rpc_transport http_transport = {.descriptors = false, .answer = http_answer};

static void http_give_up(struct http_carrier *carrier)
{
    struct http_request *request = carrier->request;
    struct rpc_call *call = LIST_FIRST(&carrier->session->calls);
    if (call != NULL)
        rpc_call_give_up(call);
    if (request != NULL && request->suspended) {
        request->given_up = true;
        http_resume(request);
    }
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct http_carrier *carrier = arg;
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    (void)what;
    if (carrier->request != NULL && carrier->request->suspended && poll(&p, 1, 0) == 1)
        http_give_up(carrier);
}

static bool start_watch(struct http_carrier *carrier)
{
    if (carrier->watch != NULL)
        return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(carrier->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    carrier->watch = event_new(carrier->session->server->base, info->connect_fd,
                               EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_watch, carrier);
    return carrier->watch != NULL && event_add(carrier->watch, NULL) == 0;
}

static void http_let_go(struct http_carrier *carrier)
{
    event_del(&carrier->holding);
    carrier->held = false;
    MHD_resume_connection(carrier->connection);
    rpc_run_soon(carrier->session->server);
}

/* The client has read something, has written, or has closed. A next request may also have come with
 * the one that was answered, and libmicrohttpd has it. So what was read whole is let go, too. */
static void on_held(evutil_socket_t fd, short what, void *arg)
{
    struct http_carrier *carrier = arg;
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    (void)what;
    bool acted = poll(&p, 1, 0) == 1;
    if (!rpc_delivery_look(carrier->session) || acted)
        http_let_go(carrier);
}

/* The answer has been written whole. The event is edge-triggered and comes at least once, with what
 * has happened before. */
static void http_hold(struct http_carrier *carrier)
{
    struct rpc_session *session = carrier->session;
    if (!rpc_delivery_look(session) || session->server->stopping ||
        event_add(&carrier->holding, NULL) < 0)
        return;
    carrier->held = true;
    MHD_suspend_connection(carrier->connection);
}

static void drop_body(struct http_request *request)
{
    free(request->body);
    request->body = NULL;
    rpc_memory_give(request->carrier->session, request->body_room);
    request->body_room = request->body_len = 0;
}

static enum MHD_Result run_call(struct http_request *request)
{
    struct http_carrier *carrier = request->carrier;
    if (!rpc_memory_take(carrier->session, RPC_ANSWER_SHORT)) /* before anything is done */
        return respond_text(carrier->connection, MHD_HTTP_SERVICE_UNAVAILABLE);
    struct rpc_call *call = rpc_call_new(carrier->session, 0);
    if (call == NULL) {
        rpc_memory_give(carrier->session, RPC_ANSWER_SHORT);
        return respond_text(carrier->connection, MHD_HTTP_INTERNAL_SERVER_ERROR);
    }
    call->counted = RPC_ANSWER_SHORT;
    request->run = true;
    rpc_dispatch(call, request->body, request->body_len);
    drop_body(request);
    if (request->answered)
        return request->given_up ? MHD_NO : MHD_YES;
    if (!start_watch(carrier))
        return MHD_NO;
    request->suspended = true;
    MHD_suspend_connection(carrier->connection);
    return MHD_YES;
}

/* ---- the request ---- */

static const char *http_header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_too_long(struct MHD_Connection *connection)
{
    const char *length = http_header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length != NULL && strtoull(length, NULL, 10) > RPC_DOCUMENT_MAX;
}

static const struct timeval request_time = {.tv_sec = REQUEST_SECONDS};

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    const struct http_carrier *carrier = arg;
    (void)fd, (void)what;
    shutdown(carrier->session->fd, SHUT_RDWR); /* libmicrohttpd closes it */
}

static enum MHD_Result http_begin(struct http_carrier *carrier, const char *method, void **result)
{
    struct http_request *request;
    const char *upgrade = http_header(carrier->connection, MHD_HTTP_HEADER_UPGRADE);
    if (carrier->session->refusal == NULL && is_too_long(carrier->connection))
        return respond_text(carrier->connection, MHD_HTTP_CONTENT_TOO_LARGE);
    request = event_add(&carrier->late, &request_time) == 0 ? calloc(1, sizeof(*request)) : NULL;
    if (request == NULL)
        return MHD_NO;
    bool compact = upgrade != NULL && strcasecmp(upgrade, RPC_UPGRADE_COMPACT) == 0;
    if (carrier->session->refusal != NULL) {
        request->refused = MHD_HTTP_SERVICE_UNAVAILABLE;
    } else if (compact || (upgrade != NULL && strcasecmp(upgrade, RPC_UPGRADE_PROTOCOL) == 0)) {
        carrier->session->compact = compact;
        request->refused = MHD_HTTP_SWITCHING_PROTOCOLS;
    } else if (upgrade != NULL)
        request->refused = MHD_HTTP_UPGRADE_REQUIRED;
    else if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
        request->refused = MHD_HTTP_METHOD_NOT_ALLOWED;
    request->carrier = carrier;
    carrier->request = request;
    *result = request;
    return MHD_YES;
}

static bool grow_body(struct http_request *request, size_t needed)
{
    struct rpc_session *session = request->carrier->session;
    size_t room = request->body_room != 0 ? request->body_room : 4096;
    while (room < needed)
        room *= 2;
    if (!rpc_memory_take(session, room - request->body_room))
        return false;
    char *body = realloc(request->body, room);
    if (body == NULL) {
        rpc_memory_give(session, room - request->body_room);
        return false;
    }
    request->body = body;
    request->body_room = room;
    return true;
}

/* The rest of a body that is refused is read and dropped, up to twice the limit; then the
 * connection is closed. */
static enum MHD_Result take_body(struct http_request *request, const char *part, size_t len)
{
    size_t needed = request->body_len + len;
    if (needed > 2 * (size_t)RPC_DOCUMENT_MAX)
        return MHD_NO;
    if (request->refused == 0 && needed > RPC_DOCUMENT_MAX)
        request->refused = MHD_HTTP_CONTENT_TOO_LARGE;
    else if (request->refused == 0 && needed > request->body_room && !grow_body(request, needed))
        request->refused = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (request->refused != 0)
        drop_body(request);
    else
        memcpy(request->body + request->body_len, part, len);
    request->body_len = needed;
    return MHD_YES;
}

/* Over an upgraded connection a program could send descriptors. */
static enum MHD_Result http_upgrade(struct http_carrier *carrier)
{
    static const char too_many[] = "too many descriptors that programs sent wait to be closed; "
                                   "try again later.\n";
    if (closer_is_full(carrier->session->caller.uid))
        return respond_refusal(carrier->connection, too_many);
    return rpc_upgrade(carrier->session, carrier->connection);
}

static enum MHD_Result http_end(struct http_request *request)
{
    struct http_carrier *carrier = request->carrier;
    event_del(&carrier->late);
    if (request->given_up || carrier->session->server->stopping)
        return MHD_NO;
    if (request->refused == MHD_HTTP_SWITCHING_PROTOCOLS)
        return http_upgrade(carrier);
    if (carrier->session->refusal != NULL)
        return respond_refusal(carrier->connection, carrier->session->refusal);
    if (request->refused != 0)
        return respond_text(carrier->connection, request->refused);
    if (!request->run)
        return run_call(request);
    return MHD_YES;
}

/* ---- callbacks of libmicrohttpd ---- */

static struct rpc_session *session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

enum MHD_Result rpc_http_request(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request_cls)
{
    struct rpc_session *session = session_of(connection);
    (void)cls, (void)url, (void)version;
    if (session == NULL)
        return MHD_NO;
    if (*request_cls == NULL)
        return http_begin(session->carrier, method, request_cls);
    if (*upload_size == 0)
        return http_end(*request_cls);
    size_t len = *upload_size;
    *upload_size = 0;
    return take_body(*request_cls, upload, len);
}

void rpc_http_request_over(void *cls, struct MHD_Connection *connection, void **request_cls,
                           enum MHD_RequestTerminationCode why)
{
    struct http_request *request = *request_cls;
    struct http_carrier *carrier = request != NULL ? request->carrier : NULL;
    (void)cls, (void)connection;
    if (request == NULL)
        return;
    if (carrier != NULL) {
        drop_body(request);
        carrier->request = NULL;
    }
    free(request);
    *request_cls = NULL;
    if (carrier != NULL && why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_hold(carrier);
}

static struct rpc_session *open_session(struct rpc_server *server,
                                        struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_carrier *carrier = calloc(1, sizeof(*carrier));
    struct rpc_session *session =
        carrier != NULL ? rpc_session_new(server, info->connect_fd) : NULL;
    if (session == NULL) {
        free(carrier);
        return NULL;
    }
    carrier->session = session;
    carrier->connection = connection;
    session->transport = &http_transport;
    session->carrier = carrier;
    evtimer_assign(&carrier->late, server->base, on_late, carrier);
    event_add(&carrier->late, &request_time);
    event_assign(&carrier->holding, server->base, session->fd,
                 EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_held, carrier);
    rpc_accept_begun(session);
    return session;
}

/* The connection goes on with another transport. Its request, which libmicrohttpd still keeps, no
 * longer has a carrier. */
void rpc_http_leave(struct rpc_session *session)
{
    struct http_carrier *carrier = session->carrier;
    if (carrier->request != NULL) {
        drop_body(carrier->request);
        carrier->request->carrier = NULL;
    }
    if (carrier->watch != NULL)
        event_free(carrier->watch);
    event_del(&carrier->late);
    event_del(&carrier->holding);
    free(carrier);
    session->carrier = NULL;
    session->transport = NULL;
}

static bool has_hung_up(int fd)
{
    struct pollfd pollfd = {.fd = fd};
    return poll(&pollfd, 1, 0) > 0;
}

void rpc_http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                         enum MHD_ConnectionNotificationCode what)
{
    struct rpc_session *session = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = open_session(cls, connection);
    } else if (session != NULL) {
        /* What is not settled by now belongs to a client that closed after the last look: nobody
         * can tell any more whether it had read everything. */
        rpc_delivery_session_ends(session, !session->sending && !has_hung_up(session->fd));
        rpc_session_end(session);
        rpc_accept_ended(session);
        if (session->transport == &http_transport)
            rpc_http_leave(session);
        rpc_session_free(session);
        *socket_context = NULL;
    }
}

void rpc_http_limit(struct rpc_session *session, unsigned seconds)
{
    const struct http_carrier *carrier = session->carrier;
    MHD_set_connection_option(carrier->connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

void rpc_http_stop(struct rpc_session *session)
{
    struct http_carrier *carrier = session->carrier;
    if (session->transport != &http_transport)
        return;
    if (carrier->held)
        http_let_go(carrier);
    http_give_up(carrier);
}
