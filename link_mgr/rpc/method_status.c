/* SPDX-License-Identifier: GPL-2.0-or-later */
/* method_status.c - idc.status: what the hub's visitor shows, as structs. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

struct status {
    struct rpc_struct top, counters;
    xmlrpc_value *links, *connections, *listeners;
    bool detail;
    bool failed; /* no memory */
};

static void status_append(struct status *status, xmlrpc_value *array, struct rpc_struct *item)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *value = rpc_struct_end(item);
    if (value != NULL && array != NULL) {
        xmlrpc_array_append_item(&env, array, value);
        xmlrpc_DECREF(value);
    }
    status->failed = status->failed || value == NULL || array == NULL || env.fault_occurred;
    xmlrpc_env_clean(&env);
}

static void on_link(void *arg, const struct status_link *info)
{
    struct status *status = arg;
    struct rpc_struct s;
    char generation[24];
    snprintf(generation, sizeof(generation), "%" PRIu64, info->generation);
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "peer", info->peer);
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
    rpc_struct_text(&s, "last_error", info->last_error);
    rpc_struct_bool(&s, "allowed", info->allowed);
    rpc_struct_bool(&s, "present", info->present);
    status_append(status, status->links, &s);
}

static void on_connection(void *arg, const struct status_connection *info)
{
    struct status *status = arg;
    struct rpc_struct s;
    if (!status->detail)
        return;
    rpc_struct_begin(&s, NULL);
    rpc_struct_int(&s, "serial", (int64_t)info->serial);
    rpc_struct_int(&s, "peer_domid", info->peer_domid);
    rpc_struct_int(&s, "local_port", info->local_port);
    rpc_struct_int(&s, "peer_port", info->peer_port);
    rpc_struct_text(&s, "service", info->service);
    rpc_struct_text(&s, "state", info->state);
    rpc_struct_text(&s, "type", info->type);
    rpc_struct_bool(&s, "incoming", info->incoming);
    rpc_struct_int(&s, "uid", info->uid);
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
    rpc_struct_bool(&s, "local", info->local_only);
    rpc_struct_int(&s, "backlog", info->backlog);
    rpc_struct_int(&s, "waiting", info->waiting);
    rpc_struct_int(&s, "accepted", (int64_t)info->accepted);
    status_append(status, status->listeners, &s);
}

static void on_counter(void *arg, const struct status_counter *counter)
{
    struct status *status = arg;
    rpc_struct_int(&status->counters, counter->name, (int64_t)counter->value);
}

static unsigned session_count(const struct rpc_server *server)
{
    const struct rpc_session *session;
    unsigned count = 0;
    LIST_FOREACH (session, &server->sessions, in_server)
        count++;
    return count;
}

static void own_counters(struct rpc_struct *s, const struct rpc_server *server)
{
    rpc_struct_int(s, "rpc_connections", (int64_t)server->counters.connections);
    rpc_struct_int(s, "rpc_connections_now", session_count(server));
    rpc_struct_int(s, "rpc_handles_now", rpc_handle_count(server->handles));
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
    rpc_struct_int(s, "uptime_ms", (int64_t)(clock_now_ms() - server->started_ms));
}

static xmlrpc_value *new_array(void)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *array = xmlrpc_array_new(&env);
    xmlrpc_env_clean(&env);
    return array;
}

static void status_gather(struct status *status, struct rpc_server *server)
{
    const struct status_visitor visitor = {status, on_link, on_connection, on_listener, on_counter};
    status->links = new_array();
    status->connections = new_array();
    status->listeners = new_array();
    rpc_struct_begin(&status->top, NULL);
    rpc_struct_begin(&status->counters, NULL);
    describe_daemon(&status->top, server);
    hub_visit(server->hub, &visitor);
    own_counters(&status->counters, server);
    rpc_struct_value(&status->top, "links", status->links);
    rpc_struct_value(&status->top, "listeners", status->listeners);
    rpc_struct_value(&status->top, "counters", rpc_struct_end(&status->counters));
    if (status->detail)
        rpc_struct_value(&status->top, "connections", status->connections);
    else if (status->connections != NULL)
        xmlrpc_DECREF(status->connections);
}

/* Compact documents have no lists, so they get only the daemon's own members. */
static void reply_briefly(struct rpc_call *call)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    describe_daemon(&s, call->session->server);
    rpc_struct_reply(&s);
}

void rpc_do_status(struct rpc_call *call, struct rpc_params *params)
{
    struct status status = {.detail = rpc_params_bool(params, "detail", true)};
    if (!rpc_params_ok(params))
        return;
    if (call->compact) {
        reply_briefly(call);
        return;
    }
    status_gather(&status, call->session->server);
    xmlrpc_value *result = rpc_struct_end(&status.top);
    if (status.failed && result != NULL) {
        xmlrpc_DECREF(result);
        result = NULL;
    }
    rpc_reply(call, result);
}
