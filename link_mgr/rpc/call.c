/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.c - theory of operation
 *
 * A call is answered in one of two ways. While the dispatch runs its method (in_dispatch), the
 * outcome stays in the call, because the method may still look at the call. The dispatch sends it
 * then. At any other time the answer is encoded and handed to the transport here, and the call is
 * freed.
 *
 * A long answer for which there is no memory becomes a fault that says so. The methods that have
 * long answers (status, recv) have done nothing by then. When any other answer cannot be made, the
 * transport ends the connection. A fault would be a lie: the client would repeat a call that was
 * carried out.
 */
#include "link_mgr/rpc/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/compact.h"
#include "common/text_cut.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/text.h"

struct rpc_call *rpc_call_new(struct rpc_session *session, uint32_t tag)
{
    struct rpc_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->session = session;
    call->tag = tag;
    call->fd_out = -1;
    call->uid = call->fd_charge = session->caller.uid;
    if (session->call_count >= RPC_CALLS_MAX)
        call->beyond = RPC_BEYOND_SESSION;
    if (!quota_take(session->server->users, call->uid, USER_CALLS, 1))
        call->beyond = RPC_BEYOND_USER;
    LIST_INSERT_HEAD(&session->calls, call, in_session);
    session->call_count++;
    session->server->counters.calls++;
    session->server->counters.calls_now++;
    return call;
}

void rpc_call_keep(struct rpc_call *call, const struct rpc_hooks *hooks, void *state)
{
    call->hooks = hooks;
    call->state = state;
}

void rpc_call_undo(struct rpc_call *call)
{
    const struct rpc_hooks *hooks = call->hooks;
    call->hooks = NULL;
    if (hooks != NULL)
        hooks->undo(call->state);
    call->state = NULL;
}

static void call_uncount(struct rpc_call *call)
{
    rpc_memory_give(call->session, call->counted);
    call->counted = 0;
}

static void call_free(struct rpc_call *call)
{
    rpc_call_undo(call);
    call_uncount(call);
    for (int i = 0; i < call->fd_count; i++)
        closer_close(call->fds[i], call->uid);
    closer_close(call->fd_out, call->fd_charge);
    free(call->reply);
    rpc_xml_end(&call->xml);
    if (call->beyond != RPC_BEYOND_USER)
        quota_give(call->session->server->users, call->uid, USER_CALLS, 1);
    LIST_REMOVE(call, in_session);
    call->session->call_count--;
    call->session->server->counters.calls_now--;
    free(call);
}

void rpc_call_give_up(struct rpc_call *call)
{
    call->session->server->counters.given_up++;
    call_free(call);
}

void rpc_call_outlive(struct rpc_call *call)
{
    struct rpc_session *kept = &call->session->server->kept;
    LIST_REMOVE(call, in_session);
    call->session->call_count--;
    LIST_INSERT_HEAD(&kept->calls, call, in_session);
    kept->call_count++;
    call->session = kept;
}

/* ---- documents ---- */

/* Encodes a fault, or result if error is 0. */
static xmlrpc_mem_block *call_encode_guarded(int error, const char *why, xmlrpc_value *result)
{
    xmlrpc_env env, fault;
    xmlrpc_env_init(&env);
    xmlrpc_env_init(&fault);
    xmlrpc_mem_block *document = xmlrpc_mem_block_new(&env, 0);
    if (!env.fault_occurred && error == 0) {
        xmlrpc_serialize_response2(&env, document, result, xmlrpc_dialect_i8);
    } else if (!env.fault_occurred) {
        xmlrpc_env_set_fault(&fault, error, why);
        xmlrpc_serialize_fault(&env, document, &fault);
    }
    if (env.fault_occurred && document != NULL) {
        xmlrpc_mem_block_free(document);
        document = NULL;
    }
    xmlrpc_env_clean(&fault);
    xmlrpc_env_clean(&env);
    return document;
}

/* NULL: memory was short. */
static xmlrpc_mem_block *call_encode(struct rpc_xml *xml, int error, const char *why,
                                     xmlrpc_value *result)
{
    struct rpc_xml_guard guard;
    xmlrpc_mem_block *volatile document = NULL;
    if (RPC_XML_TRY(&guard, xml))
        document = call_encode_guarded(error, why, result);
    if (!rpc_xml_leave(&guard) || document == NULL)
        return NULL;
    rpc_xml_keep(document);
    return document;
}

/* In memory of its own: that of the call may have been short. */
xmlrpc_mem_block *rpc_fault_document(int code, const char *why)
{
    struct rpc_xml xml = {.failed = false};
    xmlrpc_mem_block *document = call_encode(&xml, code, why, NULL);
    rpc_xml_end(&xml);
    return document;
}

/* ---- sending ---- */

/* A long answer for which there is no memory becomes a fault, if the call has done nothing. */
static struct rpc_answer *call_no_room(const struct rpc_call *call, size_t len)
{
    if (call->multicall || len <= RPC_ANSWER_SHORT)
        return NULL;
    xmlrpc_mem_block *document = rpc_fault_document(ENOBUFS, RPC_NO_ROOM);
    return document != NULL ? rpc_answer_new(call->session, document) : NULL;
}

/* Takes the document over (NULL: none could be made). True: it is on its way. */
static bool call_send(struct rpc_call *call, xmlrpc_mem_block *document)
{
    struct rpc_session *session = call->session;
    call_uncount(call);
    if (call->silent) {
        if (document != NULL)
            xmlrpc_mem_block_free(document);
        call_free(call);
        return true;
    }
    size_t len = document != NULL ? xmlrpc_mem_block_size(document) : 0;
    struct rpc_answer *answer = document != NULL ? rpc_answer_new(session, document) : NULL;
    bool whole = answer != NULL;
    if (!whole)
        answer = call_no_room(call, len);
    int fd = call->fd_out;
    uint32_t tag = call->tag;
    call->fd_out = -1;
    session->fd_own = call->fd_own;
    session->fd_charge = call->fd_charge;
    call_free(call);
    return session->transport->answer(session->carrier, tag, answer, fd) && whole;
}

void rpc_call_finish(struct rpc_call *call, xmlrpc_mem_block *document)
{
    call_send(call, document);
}

static bool call_send_compact(struct rpc_call *call, const struct compact_writer *document)
{
    struct rpc_session *session = call->session;
    int fd = call->fd_out;
    bool sent = true;

    call->fd_out = -1;
    session->fd_own = call->fd_own;
    session->fd_charge = call->fd_charge;
    call_uncount(call);
    if (!call->silent)
        sent = session->transport->answer_compact(session->carrier, call->tag, document, fd);
    else
        closer_close(fd, session->fd_charge);
    call_free(call);
    return sent;
}

static void call_send_compact_fault(struct rpc_call *call)
{
    struct compact_writer fault;
    compact_begin(&fault, COMPACT_FAULT, NULL);
    compact_put_number(&fault, "code", call->error);
    compact_put_text(&fault, "text", call->why);
    call_send_compact(call, &fault);
}

void rpc_call_finish_compact(struct rpc_call *call)
{
    if (call->error == 0)
        call_send_compact(call, call->reply);
    else
        call_send_compact_fault(call);
}

/* ---- answers ---- */

/* Answers with call->error and why, or with call->result. */
static bool call_answered(struct rpc_call *call)
{
    call->answered = true;
    if (call->in_dispatch)
        return true;
    if (call->compact) {
        call_send_compact_fault(call);
        return true;
    }
    xmlrpc_value *result = call->result;
    xmlrpc_mem_block *document = call->error != 0 ? rpc_fault_document(call->error, call->why)
                                                  : call_encode(&call->xml, 0, NULL, result);
    call->result = NULL;
    rpc_xml_release(&call->xml, result);
    return call_send(call, document);
}

bool rpc_reply(struct rpc_call *call, xmlrpc_value *result)
{
    if (result == NULL) {
        rpc_fault_own(call, ENOMEM);
        return false;
    }
    call->result = result;
    call->error = 0;
    return call_answered(call);
}

bool rpc_reply_compact(struct rpc_call *call, const struct compact_writer *reply)
{
    call->error = 0;
    if (reply->failed) {
        rpc_fault(call, EMSGSIZE, "the answer does not fit in a compact document");
        return false;
    }
    if (!call->in_dispatch)
        return call_send_compact(call, reply);
    if ((call->reply = malloc(sizeof(*reply))) == NULL) {
        rpc_fault_own(call, ENOMEM);
        return false;
    }
    memcpy(call->reply, reply, offsetof(struct compact_writer, bytes) + reply->len);
    call->answered = true;
    return true;
}

void rpc_fault(struct rpc_call *call, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(call->why, sizeof(call->why), format, args);
    text_mark_cut(call->why, sizeof(call->why), length);
    va_end(args);
    /* it may quote what a peer or a client said */
    shown_in_place(call->why, sizeof(call->why), SHOWN_ASCII);
    call->error = error;
    if (call->hooks != NULL && call->hooks->fault != NULL)
        call->hooks->fault(call->state, error, call->why);
    call->session->server->counters.faults++;
    call_answered(call);
}

void rpc_fault_own(struct rpc_call *call, int error)
{
    rpc_fault(call, abs(own_error(error)), "%s", own_error_text(error));
}
