/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * method_status.c - idc.status: what the hub's visitor shows, as structs, page by page. A page has
 * at most STATUS_PAGE links, connections, listeners, users and handles, so neither its size nor the
 * time for it depends on how many there are. Passing over one costs some nanoseconds.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/program_name.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/keep.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

#define STATUS_PAGE 128
#define STATUS_LAST INT32_MAX

struct status {
    struct hub *hub;
    struct rpc_struct top, counters;
    xmlrpc_value *links, *connections, *listeners, *users, *handles;
    bool detail;
    uint32_t uid;     /* of whoever asks */
    int64_t from, at; /* the first of the page, and the next one, among all of them */
    struct rpc_xml *xml;
    bool failed; /* something could not be made */
};

static void status_append(struct status *status, xmlrpc_value *array, struct rpc_struct *item)
{
    struct rpc_xml_guard guard;
    xmlrpc_value *value = rpc_struct_end(item);
    xmlrpc_env env;
    status->failed = status->failed || value == NULL || array == NULL;
    if (status->failed)
        return;
    if (RPC_XML_TRY(&guard, status->xml)) {
        xmlrpc_env_init(&env);
        xmlrpc_array_append_item(&env, array, value);
        xmlrpc_DECREF(value);
        xmlrpc_env_clean(&env);
    }
    status->failed = !rpc_xml_leave(&guard);
}

static bool status_wants(void *arg)
{
    struct status *status = arg;
    int64_t at = status->at++;
    return at >= status->from && at - status->from < STATUS_PAGE;
}

/* Whoever asks sees some things of his own uid only, and root sees all, as by ss(8). */
static bool status_may_see(const struct status *status, uint32_t uid)
{
    return status->uid != HUB_NOBODY && (status->uid == 0 || status->uid == uid);
}

/* The process of a user: the system may hide from users which processes the others have. */
static void status_process(const struct status *status, struct rpc_struct *s, uint32_t uid, int pid)
{
    char name[PROGRAM_NAME_MAX] = "";
    bool shown = status_may_see(status, uid);
    if (shown)
        program_name(pid, name);
    rpc_struct_int(s, "pid", shown ? pid : 0);
    rpc_struct_text(s, "program", name);
}

/* What a domain is called, as far as this one is told. */
static const char *status_name(const struct status *status, int domid)
{
    return hub_domain_of(status->hub, (uint32_t)domid).name;
}

static void on_link(void *arg, const struct status_link *info)
{
    struct status *status = arg;
    struct rpc_struct s;
    char generation[24];
    snprintf(generation, sizeof(generation), "%" PRIu64, info->generation);
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "peer", info->peer);
    rpc_struct_text(&s, "name", status_name(status, info->peer));
    rpc_struct_text(&s, "state", info->state);
    rpc_struct_text(&s, "generation", generation);
    rpc_struct_int(&s, "ring_size", info->ring_size);
    rpc_struct_int(&s, "connections", info->connections);
    rpc_struct_int(&s, "bytes_sent", (int64_t)info->bytes_sent);
    rpc_struct_int(&s, "bytes_received", (int64_t)info->bytes_received);
    rpc_struct_int(&s, "frames_sent", (int64_t)info->frames_sent);
    rpc_struct_int(&s, "frames_received", (int64_t)info->frames_received);
    rpc_struct_int(&s, "notifications_sent", (int64_t)info->notifications_sent);
    rpc_struct_int(&s, "notifications_received", (int64_t)info->notifications_received);
    rpc_struct_int(&s, "memory_held", (int64_t)info->memory_held);
    rpc_struct_int(&s, "memory_ceiling", (int64_t)info->memory_ceiling);
    rpc_struct_int(&s, "pages_shared", info->pages_shared);
    rpc_struct_int(&s, "pages_held", info->pages_held);
    rpc_struct_int(&s, "silent_ms", (int64_t)info->silent_ms);
    rpc_struct_text(&s, "last_error", info->last_error);
    rpc_struct_bool(&s, "allowed", info->allowed);
    rpc_struct_bool(&s, "present", info->present);
    status_append(status, status->links, &s);
}

static void on_connection(void *arg, const struct status_connection *info)
{
    struct status *status = arg;
    struct rpc_struct s;
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "serial", (int64_t)info->serial);
    rpc_struct_int(&s, "peer_domid", info->peer_domid);
    rpc_struct_text(&s, "peer_name", status_name(status, info->peer_domid));
    rpc_struct_int(&s, "local_port", info->local_port);
    rpc_struct_int(&s, "peer_port", info->peer_port);
    rpc_struct_text(&s, "service", info->service);
    rpc_struct_text(&s, "state", info->state);
    rpc_struct_text(&s, "type", info->type);
    rpc_struct_bool(&s, "incoming", info->incoming);
    rpc_struct_int(&s, "uid", info->uid);
    rpc_struct_int(&s, "listener_uid", info->listener_uid);
    status_process(status, &s, info->incoming ? info->listener_uid : info->uid, info->pid);
    rpc_struct_text(&s, "rule", info->rule);
    rpc_struct_int(&s, "bytes_sent", (int64_t)info->bytes_sent);
    rpc_struct_int(&s, "bytes_received", (int64_t)info->bytes_received);
    rpc_struct_int(&s, "buffered", (int64_t)info->buffered);
    status_append(status, status->connections, &s);
}

static void on_listener(void *arg, const struct status_listener *info)
{
    struct status *status = arg;
    struct rpc_struct s;
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "port", info->port);
    rpc_struct_text(&s, "service", info->service);
    rpc_struct_text(&s, "type", info->type);
    rpc_struct_int(&s, "uid", info->uid);
    status_process(status, &s, info->uid, info->pid);
    rpc_struct_bool(&s, "local", info->local_only);
    rpc_struct_int(&s, "backlog", info->backlog);
    rpc_struct_int(&s, "waiting", info->waiting);
    rpc_struct_int(&s, "accepted", (int64_t)info->accepted);
    status_append(status, status->listeners, &s);
}

/* A client that has lost the number of a kept handle finds it here. */
static void on_handle(void *arg, const struct rpc_handle *handle)
{
    struct status *status = arg;
    struct rpc_struct s;
    if (!status_may_see(status, handle->uid) || !status_wants(status))
        return;
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "handle", handle->number);
    rpc_struct_int(&s, "uid", handle->uid);
    rpc_struct_bool(&s, "listener", handle->listener);
    rpc_struct_text(&s, "type", rpc_type_name(handle->type));
    rpc_struct_int(&s, "port", handle->port);
    rpc_struct_int(&s, "serial", (int64_t)handle->serial);
    rpc_struct_int(&s, "keep_ms", handle->keep_ms);
    rpc_struct_int(&s, "left_ms", rpc_keep_left(handle));
    status_append(status, status->handles, &s);
}

static void on_counter(void *arg, const struct status_counter *counter)
{
    struct status *status = arg;
    rpc_struct_int(&status->counters, counter->name, (int64_t)counter->value);
}

static void own_counters(struct rpc_struct *s, const struct rpc_server *server)
{
    rpc_struct_int(s, "rpc_connections", (int64_t)server->counters.connections);
    rpc_struct_int(s, "rpc_turned_away", (int64_t)server->counters.turned_away);
    rpc_struct_int(s, "rpc_connections_now", server->session_count);
    rpc_struct_int(s, "rpc_handles_now", rpc_handle_count(server->handles));
    rpc_struct_int(s, "rpc_handles_kept_now", rpc_keep_count(server));
    rpc_struct_int(s, "rpc_calls", (int64_t)server->counters.calls);
    rpc_struct_int(s, "rpc_calls_now", (int64_t)server->counters.calls_now);
    rpc_struct_int(s, "rpc_faults", (int64_t)server->counters.faults);
    rpc_struct_int(s, "rpc_given_up", (int64_t)server->counters.given_up);
    rpc_struct_int(s, "rpc_memory_now", (int64_t)server->memory);
}

static int thread_count(void)
{
    int count = -2; /* . and .. */
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        return 0;
    while (readdir(tasks) != NULL)
        count++;
    closedir(tasks);
    return count;
}

static void describe_daemon(struct rpc_struct *s, const struct rpc_server *server)
{
    rpc_struct_int(s, "domid", hub_domid(server->hub));
    rpc_struct_text(s, "platform", hub_platform(server->hub));
    rpc_struct_text(s, "version", IDC_VERSION);
    rpc_struct_int(s, "pid", getpid());
    rpc_struct_int(s, "threads", thread_count());
    bool are_old;
    rpc_struct_int(s, "listen_rules", hub_rule_count(server->hub, &are_old));
    rpc_struct_bool(s, "listen_rules_old", are_old);
    rpc_struct_int(s, "uptime_ms", (int64_t)(clock_now_ms() - server->started_ms));
}

static xmlrpc_value *new_array(struct rpc_xml *xml)
{
    struct rpc_xml_guard guard;
    xmlrpc_value *volatile array = NULL;
    xmlrpc_env env;
    if (RPC_XML_TRY(&guard, xml)) {
        xmlrpc_env_init(&env);
        array = xmlrpc_array_new(&env);
        xmlrpc_env_clean(&env);
    }
    return rpc_xml_leave(&guard) ? array : NULL;
}

/* What each user has, as far as the page has room. */
static void status_users(struct status *status, const struct quota *users)
{
    const struct quota_holder *holder;
    for (int i = 0; i < QUOTA_BUCKETS; i++)
        LIST_FOREACH (holder, &users->buckets[i], bucket) {
            struct rpc_struct s;
            if (!status_wants(status))
                continue;
            rpc_struct_begin(&s, NULL);
            rpc_struct_int(&s, "uid", (int64_t)holder->number);
            for (int kind = 0; kind < USER_KINDS; kind++)
                rpc_struct_int(&s, users_name(kind), (int64_t)holder->held[kind]);
            status_append(status, status->users, &s);
        }
}

/* A list that is there only if it was asked for. */
static void status_detail(struct status *status, const char *name, xmlrpc_value *list)
{
    if (status->detail)
        rpc_struct_value(&status->top, name, list);
    else
        rpc_xml_release(status->xml, list);
}

static void status_gather(struct status *status, struct rpc_server *server)
{
    const struct status_visitor visitor = {.arg = status,
                                           .wants = status_wants,
                                           .link = on_link,
                                           .connection = status->detail ? on_connection : NULL,
                                           .listener = on_listener,
                                           .counter = on_counter};
    status->hub = server->hub;
    status->links = new_array(status->xml);
    status->connections = new_array(status->xml);
    status->listeners = new_array(status->xml);
    status->users = new_array(status->xml);
    status->handles = new_array(status->xml);
    rpc_struct_begin(&status->top, NULL);
    rpc_struct_begin(&status->counters, NULL);
    describe_daemon(&status->top, server);
    rpc_struct_text(&status->top, "name", status_name(status, hub_domid(server->hub)));
    hub_visit(server->hub, &visitor);
    status_users(status, server->users);
    if (status->detail)
        rpc_handle_visit(server->handles, on_handle, status);
    rpc_struct_value(&status->top, "users", status->users);
    own_counters(&status->counters, server);
    rpc_struct_value(&status->top, "links", status->links);
    rpc_struct_value(&status->top, "listeners", status->listeners);
    rpc_struct_value(&status->top, "counters", rpc_struct_end(&status->counters));
    status_detail(status, "connections", status->connections);
    status_detail(status, "handles", status->handles);
    if (status->at - status->from > STATUS_PAGE)
        rpc_struct_int(&status->top, "next", status->from + STATUS_PAGE);
}

/* Compact documents have no lists, and the answers of a multicall are short. Both get only the
 * daemon's own members. */
static void reply_briefly(struct rpc_call *call)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    describe_daemon(&s, call->session->server);
    rpc_struct_reply(&s);
}

void rpc_do_status(struct rpc_call *call, struct rpc_params *params)
{
    struct status status = {.xml = &call->xml,
                            .uid = call->session->caller.uid,
                            .detail = rpc_params_bool(params, "detail", true),
                            .from = rpc_params_int(params, "from", 0, STATUS_LAST, 0)};
    if (!rpc_params_ok(params))
        return;
    if (call->compact || call->multicall) {
        reply_briefly(call);
        return;
    }
    status_gather(&status, call->session->server);
    xmlrpc_value *result = rpc_struct_end(&status.top);
    rpc_reply(call, status.failed ? NULL : result);
}
