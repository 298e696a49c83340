/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dispatch.c - theory of operation
 *
 * xmlrpc-c's registry parses the document, finds the method and encodes what the method returns. A
 * method that answers at once leaves its result in the call, dispatch_invoke() returns it to the
 * registry, and the registry's output is the answer. A method that may have to wait leaves no
 * result. dispatch_invoke() then returns a placeholder, and the registry's output is thrown away.
 * The method begins (rpc_hooks) when the registry has let go of the call. So its answer is always
 * encoded and handed to the transport in one step, and the method knows whether that succeeded.
 *
 * A compact document (common/compact.h) does without the registry: the method is looked up here.
 *
 * In a system.multicall the registry calls dispatch_invoke() several times for one call. A part of
 * it cannot wait. If it cannot finish at once, it is undone, and that part gets a fault. The answer
 * is not counted before it is made. So it has few parts, and each of them is short.
 */
#include "link_mgr/rpc/dispatch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/compact.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/document.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/text.h"
#include "link_mgr/rpc/value.h"

/* The method has got everything that the document says. */
static void dispatch_begin(struct rpc_call *call)
{
    if (!call->answered && call->hooks != NULL && call->hooks->begin != NULL)
        call->hooks->begin(call->state);
}

/* Calls beyond a limit are refused one by one, and the calls under way go on. */
static void dispatch_method(struct rpc_call *call, const struct rpc_method *method,
                            struct rpc_params *params)
{
    char why[HUB_WHY_MAX] = "too many calls are under way on this RPC connection: 4,096";
    static_assert(RPC_CALLS_MAX == 4096, "as the text says");
    if (call->beyond == RPC_BEYOND_USER)
        users_explain(call->session->server->users, call->uid, USER_CALLS, why, sizeof(why));
    else if (call->beyond == RPC_WITHIN && call->lacks)
        snprintf(why, sizeof(why), "%s", own_error_text(EMFILE));
    if (call->beyond == RPC_WITHIN && !call->lacks)
        method->run(call, params);
    else if (method->refuse != NULL)
        method->refuse(call, params, ENOBUFS, why);
    else
        rpc_fault(call, ENOBUFS, "%s", why);
}

/* ---- documents in XML ---- */

/* Hands the registry what the method left in the call. Afterwards the call is as before, for the
 * next part of a multicall. */
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

static void finish_part(struct rpc_call *call, const struct rpc_method *method)
{
    dispatch_begin(call);
    if (!call->answered)
        rpc_fault(call, EOPNOTSUPP, "%s would have to wait, and a system.multicall cannot wait",
                  method->name);
    rpc_call_undo(call);
}

static xmlrpc_value *dispatch_invoke(xmlrpc_env *env, xmlrpc_value *array, void *method_arg,
                                     void *call_arg)
{
    const struct rpc_method *method = method_arg;
    struct rpc_call *call = call_arg;
    struct rpc_params params;

    call->begun = true;
    if (rpc_params_open(&params, call, method, array)) {
        dispatch_method(call, method, &params);
        rpc_params_close(&params);
    }
    if (call->multicall)
        finish_part(call, method);
    rpc_xml_escape();
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

/* The registry says what is wrong with parameters that are no list of calls. */
static int multicall_parts(xmlrpc_value *params)
{
    int count = 0;
    xmlrpc_value *parts = NULL;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_array_read_item(&env, params, 0, &parts);
    if (!env.fault_occurred && xmlrpc_value_type(parts) == XMLRPC_TYPE_ARRAY)
        count = xmlrpc_array_size(&env, parts);
    if (parts != NULL)
        xmlrpc_DECREF(parts);
    xmlrpc_env_clean(&env);
    return count;
}

/* A part cannot be a multicall: the registry refuses that. */
static void before_method(xmlrpc_env *env, const char *name, xmlrpc_value *params, void *arg)
{
    struct rpc_server *server = arg;
    if (strcmp(name, "system.multicall") != 0)
        return;
    server->dispatching->multicall = true;
    if (multicall_parts(params) > RPC_PARTS_MAX)
        xmlrpc_env_set_fault_formatted(env, E2BIG, "a system.multicall has at most %d parts",
                                       RPC_PARTS_MAX);
}

xmlrpc_registry *rpc_registry_new(struct rpc_server *server)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_registry *registry = xmlrpc_registry_new(&env);
    for (size_t i = 0; i < rpc_method_count && !env.fault_occurred; i++) {
        const struct rpc_method *m = &rpc_methods[i];
        xmlrpc_registry_add_method2(&env, registry, m->name, dispatch_invoke, m->signature, m->help,
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

static void dispatch_guarded(struct rpc_call *call, const char *document, size_t len,
                             xmlrpc_mem_block **output)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_registry_process_call2(&env, call->session->server->registry, document, len, call,
                                  output);
    if (env.fault_occurred)
        *output = NULL;
    xmlrpc_env_clean(&env);
}

/* NULL: no memory; what the method keeps ends with the call. The client may be told if nothing was
 * done: no method was called, or it has found by itself that there is no memory. */
static xmlrpc_mem_block *dispatch_process(struct rpc_call *call, const char *document, size_t len)
{
    struct rpc_xml_guard guard;
    xmlrpc_mem_block *output = NULL;
    if (RPC_XML_TRY(&guard, &call->xml))
        dispatch_guarded(call, document, len, &output);
    if (rpc_xml_leave(&guard))
        return output;
    call->deferred = false;
    if (!call->begun)
        return rpc_fault_document(ENOBUFS, RPC_NO_ROOM);
    bool told = call->answered && call->error != 0 && !call->multicall;
    return told ? rpc_fault_document(call->error, call->why) : NULL;
}

static void dispatch_xml(struct rpc_call *call, const char *document, size_t len)
{
    struct rpc_server *server = call->session->server;
    server->dispatching = call;
    call->in_dispatch = true;
    xmlrpc_mem_block *output = dispatch_process(call, document, len);
    call->in_dispatch = false;
    server->dispatching = NULL;
    if (output == NULL || !call->deferred) {
        if (output != NULL && !call->xml.failed)
            rpc_xml_keep(output);
        rpc_call_finish(call, output);
    } else {
        xmlrpc_mem_block_free(output);
        dispatch_begin(call);
    }
}

/* ---- compact documents ---- */

static const struct rpc_method *find_method(const struct compact_text *name)
{
    for (size_t i = 0; i < rpc_method_count; i++)
        if (compact_equal(name, rpc_methods[i].name))
            return &rpc_methods[i];
    return NULL;
}

static void invoke_compact(struct rpc_call *call, struct compact_reader *reader,
                           const struct compact_text *name)
{
    struct compact_member members[RPC_MEMBERS_MAX];
    struct rpc_params params;
    char shown[RPC_QUOTE_SIZE];
    const struct rpc_method *method = find_method(name);
    if (method == NULL)
        rpc_fault(call, ENOSYS, "no method \"%s\" for compact documents",
                  rpc_quote(name->bytes, name->len, shown));
    else if (method->xml_only)
        rpc_fault(call, EOPNOTSUPP, "%s has to be called in XML", method->name);
    else if (rpc_params_open_compact(&params, call, method, reader, members))
        dispatch_method(call, method, &params);
}

static void dispatch_compact(struct rpc_call *call, const char *document, size_t len)
{
    struct compact_reader reader;
    struct compact_text name;
    call->compact = call->in_dispatch = true;
    if (!compact_open(&reader, document, len, COMPACT_CALL, &name))
        rpc_fault(call, EINVAL, "the document is malformed");
    else
        invoke_compact(call, &reader, &name);
    call->in_dispatch = false;
    if (call->answered)
        rpc_call_finish_compact(call);
    else
        dispatch_begin(call);
}

void rpc_dispatch(struct rpc_call *call, const char *document, size_t len)
{
    if (call->session->compact && compact_is(document, len)) {
        dispatch_compact(call, document, len);
        return;
    }
    const char *refused = rpc_document_refused(document, len);
    if (refused == NULL) {
        dispatch_xml(call, document, len);
        return;
    }
    call->session->server->counters.faults++;
    rpc_call_finish(call, rpc_fault_document(XMLRPC_PARSE_ERROR, refused));
}
