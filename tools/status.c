/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.c - idc status: one call of idc.status, as tables or as JSON. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmlrpc-c/json.h>

#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/measure/ask.h"

#define ANSWER_MAX (256u * 1024 * 1024)

/* One column: a member of each struct in a list. */
struct column {
    const char *title, *member;
    int width; /* negative: left-aligned */
};

static const struct column link_columns[] = {{"PEER", "peer", 5},
                                             {"STATE", "state", -9},
                                             {"ALLOWED", "allowed", -7},
                                             {"CONNS", "connections", 5},
                                             {"SENT", "bytes_sent", 14},
                                             {"RECEIVED", "bytes_received", 14},
                                             {"MEMORY", "memory_held", 10},
                                             {"LAST ERROR", "last_error", -1},
                                             {NULL, NULL, 0}};
static const struct column listener_columns[] = {
    {"PORT", "port", 10},      {"TYPE", "type", -9},       {"LOCAL", "local", -5},
    {"BACKLOG", "backlog", 7}, {"WAITING", "waiting", 7},  {"ACCEPTED", "accepted", 9},
    {"UID", "uid", 6},         {"SERVICE", "service", -1}, {NULL, NULL, 0}};
static const struct column connection_columns[] = {
    {"PEER", "peer_domid", 5},   {"LOCAL", "local_port", 10},
    {"REMOTE", "peer_port", 10}, {"STATE", "state", -10},
    {"TYPE", "type", -9},        {"IN", "incoming", -3},
    {"SENT", "bytes_sent", 12},  {"RECEIVED", "bytes_received", 12},
    {"BUFFERED", "buffered", 9}, {"UID", "uid", 6},
    {"SERVICE", "service", -1},  {NULL, NULL, 0}};

static void format_value(xmlrpc_value *value, char *out, size_t size)
{
    xmlrpc_env env;
    xmlrpc_bool flag = 0;
    const char *text = NULL;
    xmlrpc_env_init(&env);
    switch (xmlrpc_value_type(value)) {
    case XMLRPC_TYPE_BOOL:
        xmlrpc_read_bool(&env, value, &flag);
        snprintf(out, size, "%s", flag ? "yes" : "no");
        break;
    case XMLRPC_TYPE_STRING:
        xmlrpc_read_string(&env, value, &text);
        snprintf(out, size, "%s", text != NULL ? text : "");
        free((void *)(uintptr_t)text);
        break;
    default:
        out[0] = '\0';
    }
    xmlrpc_env_clean(&env);
}

static void print_member(xmlrpc_value *item, const struct column *column)
{
    xmlrpc_env env;
    xmlrpc_value *value = NULL;
    char text[256] = "-";
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, item, column->member, &value);
    if (!env.fault_occurred && value != NULL) {
        xmlrpc_type type = xmlrpc_value_type(value);
        if (type == XMLRPC_TYPE_INT || type == XMLRPC_TYPE_I8)
            snprintf(text, sizeof(text), "%" PRId64, ask_int(item, column->member, 0));
        else
            format_value(value, text, sizeof(text));
        xmlrpc_DECREF(value);
    }
    printf("%*s%s", column->width, text, column[1].title != NULL ? "  " : "\n");
    xmlrpc_env_clean(&env);
}

static void print_list(xmlrpc_value *status, const char *name, const struct column *columns)
{
    xmlrpc_env env;
    xmlrpc_value *list = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, name, &list);
    int count = list != NULL ? xmlrpc_array_size(&env, list) : 0;
    printf("\n%s: %d\n", name, count);
    for (const struct column *c = columns; count > 0 && c->title != NULL; c++)
        printf("%*s%s", c->width, c->title, c[1].title != NULL ? "  " : "\n");
    for (int i = 0; i < count; i++)
        for (const struct column *c = columns; c->title != NULL; c++)
            print_member(xmlrpc_array_get_item(&env, list, i), c);
    if (list != NULL)
        xmlrpc_DECREF(list);
    xmlrpc_env_clean(&env);
}

static void print_counter(xmlrpc_value *counters, xmlrpc_value *key)
{
    xmlrpc_env env;
    const char *name = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_read_string(&env, key, &name);
    if (!env.fault_occurred)
        printf("%-28s %" PRId64 "\n", name, ask_int(counters, name, 0));
    free((void *)(uintptr_t)name);
    xmlrpc_env_clean(&env);
}

static void print_counters(xmlrpc_value *status)
{
    xmlrpc_env env;
    xmlrpc_value *counters = NULL, *key, *value;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, "counters", &counters);
    int count = counters != NULL ? xmlrpc_struct_size(&env, counters) : 0;
    printf("\ncounters:\n");
    for (int i = 0; i < count && !env.fault_occurred; i++) {
        xmlrpc_struct_get_key_and_value(&env, counters, i, &key, &value);
        print_counter(counters, key);
    }
    if (counters != NULL)
        xmlrpc_DECREF(counters);
    xmlrpc_env_clean(&env);
}

static void print_tables(xmlrpc_value *status, bool connections)
{
    char platform[32], version[32];
    ask_text(status, "platform", platform, sizeof(platform));
    ask_text(status, "version", version, sizeof(version));
    int64_t seconds = ask_int(status, "uptime_ms", 0) / 1000;
    printf("domain %" PRId64 ", platform %s, link_mgr %s, pid %" PRId64 ", up %" PRId64 " s\n",
           ask_int(status, "domid", -1), platform, version, ask_int(status, "pid", 0), seconds);
    print_list(status, "links", link_columns);
    print_list(status, "listeners", listener_columns);
    if (connections)
        print_list(status, "connections", connection_columns);
    print_counters(status);
}

static int print_json(const struct command *command, xmlrpc_value *status)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_mem_block *json = xmlrpc_mem_block_new(&env, 0);
    if (!env.fault_occurred)
        xmlrpc_serialize_json(&env, status, json);
    int result = env.fault_occurred ? failure(command, "%s", env.fault_string) : 0;
    if (result == 0) {
        fwrite(xmlrpc_mem_block_contents(json), 1, xmlrpc_mem_block_size(json), stdout);
        putchar('\n');
    }
    if (json != NULL)
        xmlrpc_mem_block_free(json);
    xmlrpc_env_clean(&env);
    return result;
}

static int status_show(const struct command *command, bool json, bool connections,
                       uint32_t timeout_ms)
{
    xmlrpc_value *status;
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, ANSWER_MAX);
    status = ask_status(libidc_socket_path(command_socket), json || connections, (int)timeout_ms);
    if (status == NULL)
        return failure(command, "%s", idc_last_error());
    int result = 0;
    if (json)
        result = print_json(command, status);
    else
        print_tables(status, connections);
    xmlrpc_DECREF(status);
    return result;
}

int run_status(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},          {"connections", no_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, 't'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    bool json = false, connections = false;
    uint32_t timeout_ms = ASK_TIMEOUT_MS;
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'j')
            json = true;
        else if (option == 'c')
            connections = true;
        else if (option == 't' && !parse_time(optarg, 1, &timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        else if (option != 't' && !common_option(command, option, argv, &status))
            return status;
    }
    if (optind != argc)
        return usage_error(command, "unexpected argument \"%s\"", argv[optind]);
    return status_show(command, json, connections, timeout_ms);
}
