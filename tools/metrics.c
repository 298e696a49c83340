/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics.c - see metrics.h.
 *
 * All lines of a metric stand together, behind its HELP and TYPE. So the links are gone through
 * once for each metric. Counters of link_mgr that end with _now are values of the moment (gauges),
 * and the others become counters. A new counter needs no line here.
 */
#include "tools/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/naming.h"
#include "tools/measure/ask.h"

#define NAME_SIZE (4 * NAMING_NAME_MAX + 1)

/* One metric of each link. Without a direction it has one member only. */
struct link_metric {
    const char *name, *type, *help;
    const char *sent, *received; /* members */
};

static const struct link_metric link_metrics[] = {
    {"idc_connections", "gauge", "Connections to and from the domain now.", "connections", NULL},
    {"idc_bytes_total", "counter", "Bytes of data sent to and received from the domain.",
     "bytes_sent", "bytes_received"},
    {"idc_frames_total", "counter", "Frames of the protocol sent to and received from the domain.",
     "frames_sent", "frames_received"},
    {"idc_notifications_total", "counter",
     "Wake-ups (event channels on Xen) sent to and received from the domain.", "notifications_sent",
     "notifications_received"},
    {"idc_memory_held_bytes", "gauge", "Memory held for the domain's connections.", "memory_held",
     NULL},
    {"idc_link_pages_shared", "gauge", "Pages shared with the domain.", "pages_shared", NULL},
    {"idc_link_pages_held", "gauge", "Pages that the domain may still have mapped.", "pages_held",
     NULL}};

static const char *const link_states[] = {"down",     "offering", "waiting", "attaching",
                                          "greeting", "up",       "closing", "backoff"};
#define STATES (sizeof(link_states) / sizeof(link_states[0]))

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A value of a label, as the format wants it: backslash, quote and newline are escaped. */
static void write_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void write_label(FILE *out, const char *before, const char *name, const char *value)
{
    fprintf(out, "%s%s=\"", before, name);
    write_escaped(out, value);
    fputc('"', out);
}

/* ---- lists ---- */

static xmlrpc_value *list_of(xmlrpc_value *status, const char *name, int *count)
{
    xmlrpc_env env;
    xmlrpc_value *list = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, name, &list);
    *count = list != NULL ? xmlrpc_array_size(&env, list) : 0;
    xmlrpc_env_clean(&env);
    return list;
}

static xmlrpc_value *list_item(xmlrpc_value *list, int place)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *item = xmlrpc_array_get_item(&env, list, place);
    xmlrpc_env_clean(&env);
    return item;
}

/* ---- links ---- */

/* Which domain: by its name, or by its domid where there is none. Names need not be unique. */
static void write_domain(FILE *out, xmlrpc_value *link)
{
    char name[NAME_SIZE], number[24];
    ask_text(link, "name", name, sizeof(name));
    snprintf(number, sizeof(number), "%" PRId64, ask_int(link, "peer", -1));
    write_label(out, "{", "domain", name[0] != '\0' ? name : number);
    write_label(out, ",", "domid", number);
}

static void write_link_value(FILE *out, const struct link_metric *metric, xmlrpc_value *link,
                             const char *member, const char *direction)
{
    fputs(metric->name, out);
    write_domain(out, link);
    if (metric->received != NULL)
        write_label(out, ",", "direction", direction);
    fprintf(out, "} %" PRId64 "\n", ask_int(link, member, 0));
}

static void write_link_metric(FILE *out, const struct link_metric *metric, xmlrpc_value *links,
                              int count)
{
    write_head(out, metric->name, metric->type, metric->help);
    for (int i = 0; i < count; i++) {
        xmlrpc_value *link = list_item(links, i);
        write_link_value(out, metric, link, metric->sent, "sent");
        if (metric->received != NULL)
            write_link_value(out, metric, link, metric->received, "received");
    }
}

static void write_link_states(FILE *out, xmlrpc_value *links, int count)
{
    char state[32];
    int number[STATES] = {0};
    for (int i = 0; i < count; i++) {
        ask_text(list_item(links, i), "state", state, sizeof(state));
        for (size_t place = 0; place < STATES; place++)
            number[place] += strcmp(state, link_states[place]) == 0;
    }
    write_head(out, "idc_links", "gauge", "Links to other domains, by state.");
    for (size_t place = 0; place < STATES; place++)
        fprintf(out, "idc_links{state=\"%s\"} %d\n", link_states[place], number[place]);
}

static void write_links(FILE *out, xmlrpc_value *status)
{
    int count;
    xmlrpc_value *links = list_of(status, "links", &count);
    write_link_states(out, links, count);
    for (size_t i = 0; i < sizeof(link_metrics) / sizeof(link_metrics[0]); i++)
        write_link_metric(out, &link_metrics[i], links, count);
    if (links != NULL)
        xmlrpc_DECREF(links);
}

/* ---- everything else ---- */

static void write_listener_metric(FILE *out, xmlrpc_value *listeners, int count, const char *name,
                                  const char *member)
{
    char service[IDC_SERVICE_MAX + 1], port[24];
    for (int i = 0; i < count; i++) {
        xmlrpc_value *listener = list_item(listeners, i);
        ask_text(listener, "service", service, sizeof(service));
        snprintf(port, sizeof(port), "%" PRId64, ask_int(listener, "port", 0));
        fputs(name, out);
        write_label(out, "{", "port", port);
        write_label(out, ",", "service", service);
        fprintf(out, "} %" PRId64 "\n", ask_int(listener, member, 0));
    }
}

static void write_listeners(FILE *out, xmlrpc_value *status)
{
    int count;
    xmlrpc_value *listeners = list_of(status, "listeners", &count);
    write_head(out, "idc_listeners", "gauge", "Listeners of this domain's programs.");
    fprintf(out, "idc_listeners %d\n", count);
    write_head(out, "idc_listener_waiting", "gauge", "Connections that wait to be accepted.");
    write_listener_metric(out, listeners, count, "idc_listener_waiting", "waiting");
    write_head(out, "idc_listener_accepted_total", "counter", "Connections that were accepted.");
    write_listener_metric(out, listeners, count, "idc_listener_accepted_total", "accepted");
    if (listeners != NULL)
        xmlrpc_DECREF(listeners);
}

static void write_counter(FILE *out, xmlrpc_value *counters, const char *counter)
{
    static const char now[] = "_now", memory[] = "_memory_now";
    char name[128], help[192];
    size_t len = strlen(counter);
    bool gauge = len > strlen(now) && strcmp(counter + len - strlen(now), now) == 0;
    bool bytes = len > strlen(memory) && strcmp(counter + len - strlen(memory), memory) == 0;
    snprintf(name, sizeof(name), "idc_%.*s%s", (int)(gauge ? len - strlen(now) : len), counter,
             bytes   ? "_bytes"
             : gauge ? ""
                     : "_total");
    snprintf(help, sizeof(help), "The counter %s, see docs/rpc.md.", counter);
    write_head(out, name, gauge ? "gauge" : "counter", help);
    fprintf(out, "%s %" PRId64 "\n", name, ask_int(counters, counter, 0));
}

static void write_counters(FILE *out, xmlrpc_value *status)
{
    xmlrpc_env env;
    xmlrpc_value *counters = NULL, *key, *value;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, "counters", &counters);
    int count = counters != NULL ? xmlrpc_struct_size(&env, counters) : 0;
    for (int i = 0; i < count && !env.fault_occurred; i++) {
        const char *name = NULL;
        xmlrpc_struct_get_key_and_value(&env, counters, i, &key, &value);
        xmlrpc_read_string(&env, key, &name);
        if (!env.fault_occurred)
            write_counter(out, counters, name);
        free((void *)(uintptr_t)name);
    }
    if (counters != NULL)
        xmlrpc_DECREF(counters);
    xmlrpc_env_clean(&env);
}

static void write_about(FILE *out, xmlrpc_value *status)
{
    char text[NAME_SIZE];
    write_head(out, "idc_info", "gauge", "Which link_mgr answers; the value is 1.");
    snprintf(text, sizeof(text), "%" PRId64, ask_int(status, "domid", -1));
    write_label(out, "idc_info{", "domid", text);
    ask_text(status, "name", text, sizeof(text));
    write_label(out, ",", "domain", text);
    ask_text(status, "platform", text, sizeof(text));
    write_label(out, ",", "platform", text);
    ask_text(status, "version", text, sizeof(text));
    write_label(out, ",", "version", text);
    fputs("} 1\n", out);
    write_head(out, "idc_uptime_seconds", "gauge", "How long link_mgr has run.");
    fprintf(out, "idc_uptime_seconds %.3f\n", (double)ask_int(status, "uptime_ms", 0) / 1000);
}

void metrics_write(FILE *out, xmlrpc_value *status)
{
    write_head(out, "idc_up", "gauge", "Whether link_mgr has answered.");
    fprintf(out, "idc_up %d\n", status != NULL);
    if (status == NULL)
        return;
    write_about(out, status);
    write_links(out, status);
    write_listeners(out, status);
    write_counters(out, status);
}
