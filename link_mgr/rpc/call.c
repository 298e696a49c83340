/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.c - theory of operation
 *
 * xmlrpc-c's registry parses the document, finds the method and encodes what the method returns. A
 * handler that answers at once leaves its result in the call, invoke() returns it to the registry,
 * and the registry's output is the answer. A handler that has to wait leaves none: invoke() returns
 * a placeholder, the registry's output is thrown away, and the answer is encoded here when it
 * comes.
 *
 * A compact document (common/compact.h) does without the registry: the method is looked up here.
 * What is answered while its handler runs waits in the call until the handler has returned, since
 * the handler may still look at the call.
 *
 * In a system.multicall the registry calls invoke() several times for one call; a part of it cannot
 * wait, so what a handler began there is undone and becomes a fault of that part.
 */
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/call.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/compact.h"
#include "common/connecting.h"
#include "common/text_cut.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/document.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/value.h"

struct rpc_call *rpc_call_new(struct rpc_session *session, uint32_t tag)
{
    struct rpc_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->session = session;
    call->tag = tag;
    call->fd_out = -1;
    call->connect.far_end = -1;
    LIST_INSERT_HEAD(&session->calls, call, in_session);
    session->call_count++;
    session->server->counters.calls++;
    session->server->counters.calls_now++;
    return call;
}

/* Undoes what the handler has begun and releases what it retains. */
static void call_undo(struct rpc_call *call)
{
    rpc_wait_end(call);
    rpc_connecting_end(call);
    if (call->send_data != NULL) {
        xmlrpc_DECREF(call->send_data);
        rpc_memory_give(call->session->server, call->send_counted);
        call->send_data = NULL;
    }
}

static void call_free(struct rpc_call *call)
{
    call_undo(call);
    for (int i = 0; i < call->fd_count; i++)
        if (call->fds[i] >= 0)
            close(call->fds[i]);
    if (call->fd_out >= 0)
        close(call->fd_out);
    free(call->reply);
    LIST_REMOVE(call, in_session);
    call->session->call_count--;
    call->session->server->counters.calls_now--;
    free(call);
}

static void call_finish(struct rpc_call *call, xmlrpc_mem_block *document)
{
    struct rpc_session *session = call->session;
    int fd = call->fd_out;
    uint32_t tag = call->tag;
    bool silent = call->silent;

    call->fd_out = -1;
    call_free(call);
    if (!silent)
        session->transport->answer(session->carrier, tag, document, fd);
    else if (document != NULL)
        xmlrpc_mem_block_free(document);
}

void rpc_call_give_up(struct rpc_call *call)
{
    call->session->server->counters.given_up++;
    call_free(call);
}

void rpc_call_keep(struct rpc_call *call)
{
    struct rpc_session *kept = &call->session->server->kept;
    LIST_REMOVE(call, in_session);
    call->session->call_count--;
    LIST_INSERT_HEAD(&kept->calls, call, in_session);
    kept->call_count++;
    call->session = kept;
}

/* ---- answers ---- */

static void finish_compact(struct rpc_call *call, const struct compact_writer *document)
{
    struct rpc_session *session = call->session;
    int fd = call->fd_out;
    uint32_t tag = call->tag;
    bool silent = call->silent;

    call->fd_out = -1;
    if (!silent)
        session->transport->answer_compact(session->carrier, tag, document, fd);
    call_free(call);
}

static void finish_compact_fault(struct rpc_call *call)
{
    struct compact_writer fault;
    compact_begin(&fault, COMPACT_FAULT, NULL);
    compact_put_number(&fault, "code", call->error);
    compact_put_text(&fault, "text", call->why);
    finish_compact(call, &fault);
}

/* The document of a deferred answer, NULL when there is no memory for it. */
static xmlrpc_mem_block *encode_answer(struct rpc_call *call)
{
    xmlrpc_env env, fault;
    xmlrpc_env_init(&env);
    xmlrpc_env_init(&fault);
    xmlrpc_mem_block *document = xmlrpc_mem_block_new(&env, 0);
    if (!env.fault_occurred && call->error == 0) {
        xmlrpc_serialize_response2(&env, document, call->result, xmlrpc_dialect_i8);
    } else if (!env.fault_occurred) {
        xmlrpc_env_set_fault(&fault, call->error, call->why);
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

static void call_answered(struct rpc_call *call)
{
    call->answered = true;
    if (call->in_dispatch)
        return; /* invoke(), or run_compact(), picks it up */
    if (call->compact) {
        finish_compact_fault(call);
        return;
    }
    xmlrpc_mem_block *document = encode_answer(call);
    if (call->result != NULL)
        xmlrpc_DECREF(call->result);
    call_finish(call, document);
}

void rpc_reply(struct rpc_call *call, xmlrpc_value *result)
{
    if (result == NULL) {
        rpc_fault(call, ENOBUFS, "%s", own_error_text(ENOMEM));
        return;
    }
    call->result = result;
    call->error = 0;
    call_answered(call);
}

void rpc_reply_compact(struct rpc_call *call, const struct compact_writer *reply)
{
    call->error = 0;
    if (reply->failed) {
        rpc_fault(call, EMSGSIZE, "the answer does not fit in a compact document");
    } else if (!call->in_dispatch) {
        finish_compact(call, reply);
    } else if ((call->reply = malloc(sizeof(*reply))) != NULL) {
        memcpy(call->reply, reply, offsetof(struct compact_writer, bytes) + reply->len);
        call->answered = true;
    } else {
        rpc_fault(call, ENOBUFS, "%s", own_error_text(ENOMEM));
    }
}

void rpc_fault(struct rpc_call *call, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(call->why, sizeof(call->why), format, args);
    text_mark_cut(call->why, sizeof(call->why), length);
    va_end(args);
    rpc_make_printable(call->why);
    call->error = error;
    if (call->connect.far_end >= 0)
        connecting_fail(call->connect.far_end, error, call->why);
    call->session->server->counters.faults++;
    call_answered(call);
}

/* ---- dispatch ---- */

/* What the handler left in the call, handed to the registry; afterwards the call is as before, for
 * the next part of a multicall. */
static xmlrpc_value *take_outcome(struct rpc_call *call, xmlrpc_env *env)
{
    xmlrpc_value *result = call->result;
    if (!call->answered) {
        call->deferred = true;
        return xmlrpc_nil_new(env);
    }
    if (call->error != 0)
        xmlrpc_env_set_fault(env, call->error, call->why);
    call->answered = false;
    call->result = NULL;
    call->error = 0;
    return result;
}

/* Too much is refused, call by call, and what goes on is left alone. */
static void call_handle(struct rpc_call *call, const struct rpc_method *method,
                        struct rpc_params *params)
{
    static const char too_many[] = "too many calls are under way on this RPC connection: 4,096";
    static_assert(RPC_CALLS_MAX == 4096, "as the text says");
    if (!call->beyond)
        method->handler(call, params);
    else if (method->handler == rpc_do_connect)
        rpc_refuse_connect(call, params, ENOBUFS, too_many);
    else
        rpc_fault(call, ENOBUFS, "%s", too_many);
}

static xmlrpc_value *call_invoke(xmlrpc_env *env, xmlrpc_value *array, void *method_arg,
                                 void *call_arg)
{
    const struct rpc_method *method = method_arg;
    struct rpc_call *call = call_arg;
    struct rpc_params params;

    if (rpc_params_open(&params, call, method, array)) {
        call_handle(call, method, &params);
        rpc_params_close(&params);
    }
    if (!call->answered && call->multicall) {
        call_undo(call);
        rpc_fault(call, EOPNOTSUPP, "%s would have to wait, which it cannot in a system.multicall",
                  method->name);
    }
    return take_outcome(call, env);
}

static xmlrpc_value *unknown_method(xmlrpc_env *env, const char *host, const char *name,
                                    xmlrpc_value *params, void *arg)
{
    (void)host, (void)params, (void)arg;
    xmlrpc_env_set_fault_formatted(env, ENOSYS,
                                   "no method \"%.64s\"; system.listMethods lists them", name);
    return NULL;
}

static void before_method(xmlrpc_env *env, const char *name, xmlrpc_value *params, void *arg)
{
    struct rpc_server *server = arg;
    (void)env, (void)params;
    if (strcmp(name, "system.multicall") == 0)
        server->dispatching->multicall = true;
}

xmlrpc_registry *rpc_registry_new(struct rpc_server *server)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_registry *registry = xmlrpc_registry_new(&env);
    for (size_t i = 0; i < rpc_method_count && !env.fault_occurred; i++) {
        const struct rpc_method *m = &rpc_methods[i];
        xmlrpc_registry_add_method2(&env, registry, m->name, call_invoke, m->signature, m->help,
                                    (void *)(uintptr_t)m);
    }
    if (!env.fault_occurred)
        xmlrpc_registry_set_default_method(&env, registry, unknown_method, NULL);
    if (!env.fault_occurred)
        xmlrpc_registry_set_preinvoke_method(&env, registry, before_method, server);
    if (!env.fault_occurred)
        xmlrpc_registry_set_dialect(&env, registry, xmlrpc_dialect_i8);
    if (env.fault_occurred && registry != NULL) {
        xmlrpc_registry_free(registry);
        registry = NULL;
    }
    xmlrpc_env_clean(&env);
    return registry;
}

static xmlrpc_mem_block *call_refusal(const char *why)
{
    xmlrpc_env env, fault;
    xmlrpc_env_init(&env);
    xmlrpc_env_init(&fault);
    xmlrpc_env_set_fault(&fault, XMLRPC_PARSE_ERROR, why);
    xmlrpc_mem_block *document = xmlrpc_mem_block_new(&env, 0);
    if (!env.fault_occurred)
        xmlrpc_serialize_fault(&env, document, &fault);
    xmlrpc_env_clean(&fault);
    xmlrpc_env_clean(&env);
    return document;
}

static const struct rpc_method *find_method(const struct compact_text *name)
{
    for (size_t i = 0; i < rpc_method_count; i++)
        if (compact_equal(name, rpc_methods[i].name))
            return &rpc_methods[i];
    return NULL;
}

static void dispatch_compact(struct rpc_call *call, struct compact_reader *reader,
                             const struct compact_text *name)
{
    struct compact_member members[RPC_MEMBERS_MAX];
    struct rpc_params params;
    const struct rpc_method *method = find_method(name);
    if (method == NULL)
        rpc_fault(call, ENOSYS, "no method \"%.*s\" for compact documents",
                  (int)(name->len < 64 ? name->len : 64), name->bytes);
    else if (method->xml_only)
        rpc_fault(call, EOPNOTSUPP, "%s has to be called in XML", method->name);
    else if (rpc_params_open_compact(&params, call, method, reader, members))
        call_handle(call, method, &params);
}

static void run_compact(struct rpc_call *call, const char *document, size_t len)
{
    struct compact_reader reader;
    struct compact_text name;
    call->compact = call->in_dispatch = true;
    if (!compact_open(&reader, document, len, COMPACT_CALL, &name))
        rpc_fault(call, EINVAL, "the document is malformed");
    else
        dispatch_compact(call, &reader, &name);
    call->in_dispatch = false;
    if (call->answered && call->error == 0)
        finish_compact(call, call->reply);
    else if (call->answered)
        finish_compact_fault(call);
}

void rpc_call_run(struct rpc_call *call, const char *document, size_t len)
{
    if (call->session->compact && compact_is(document, len)) {
        run_compact(call, document, len);
        return;
    }
    struct rpc_server *server = call->session->server;
    xmlrpc_mem_block *output = NULL;
    xmlrpc_env env;

    const char *refused = rpc_document_refused(document, len);
    if (refused != NULL) {
        server->counters.faults++;
        call_finish(call, call_refusal(refused));
        return;
    }
    xmlrpc_env_init(&env);
    server->dispatching = call;
    call->in_dispatch = true;
    xmlrpc_registry_process_call2(&env, server->registry, document, len, call, &output);
    call->in_dispatch = false;
    server->dispatching = NULL;
    if (env.fault_occurred)
        output = NULL;
    xmlrpc_env_clean(&env);
    if (!call->deferred)
        call_finish(call, output);
    else if (output != NULL)
        xmlrpc_mem_block_free(output);
}
