/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.c - idc status: one call of idc.status, as tables or as JSON. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/naming.h"
#include "common/shown.h"
#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/json_value.h"
#include "tools/measure/ask.h"
#include "tools/status_channels.h"

#define ANSWER_MAX (256u * 1024 * 1024)

#define WIDTH 80 /* of a terminal */
#define ROW_MAX 512

enum look {
    PLAIN,
    BYTES,     /* with a unit */
    DIRECTION, /* a boolean: in, or out */
    USER,      /* a uid, or none */
    PROCESS,   /* a pid; 0: none is known */
    BESIDE,    /* text that has no room in the row; it goes below the row, behind its title */
};

/* One column: a member of each struct in a list. */
struct column {
    const char *title, *member;
    int width; /* negative: left-aligned */
    enum look look;
};

static const struct column link_columns[] = {{"PEER", "peer", 5, PLAIN},
                                             {"STATE", "state", -9, PLAIN},
                                             {"ALLOWED", "allowed", -7, PLAIN},
                                             {"PRESENT", "present", -7, PLAIN},
                                             {"CONNS", "connections", 5, PLAIN},
                                             {"SENT", "bytes_sent", 8, BYTES},
                                             {"RECEIVED", "bytes_received", 8, BYTES},
                                             {"MEMORY", "memory_held", 8, BYTES},
                                             {"HELD", "pages_held", 5, PLAIN},
                                             {"name", "name", WIDTH, BESIDE},
                                             {"last error", "last_error", WIDTH, BESIDE},
                                             {NULL, NULL, 0, PLAIN}};
static const struct column listener_columns[] = {{"PORT", "port", 10, PLAIN},
                                                 {"TYPE", "type", -9, PLAIN},
                                                 {"LOCAL", "local", -5, PLAIN},
                                                 {"BACKLOG", "backlog", 7, PLAIN},
                                                 {"WAITING", "waiting", 7, PLAIN},
                                                 {"ACCEPTED", "accepted", 8, PLAIN},
                                                 {"UID", "uid", 5, USER},
                                                 {"pid", "pid", WIDTH, PROCESS},
                                                 {"program", "program", WIDTH, BESIDE},
                                                 {"SERVICE", "service", -7, BESIDE},
                                                 {NULL, NULL, 0, PLAIN}};
static const struct column connection_columns[] = {{"PEER", "peer_domid", 5, PLAIN},
                                                   {"LOCAL", "local_port", 10, PLAIN},
                                                   {"REMOTE", "peer_port", 10, PLAIN},
                                                   {"DIR", "incoming", -3, DIRECTION},
                                                   {"STATE", "state", -10, PLAIN},
                                                   {"TYPE", "type", -9, PLAIN},
                                                   {"SENT", "bytes_sent", 8, BYTES},
                                                   {"RECEIVED", "bytes_received", 8, BYTES},
                                                   {"BUFFERED", "buffered", 8, BYTES},
                                                   {"uid", "uid", WIDTH, USER},
                                                   {"listener's uid", "listener_uid", WIDTH, USER},
                                                   {"pid", "pid", WIDTH, PROCESS},
                                                   {"program", "program", WIDTH, BESIDE},
                                                   {"rule", "rule", WIDTH, BESIDE},
                                                   {"peer", "peer_name", WIDTH, BESIDE},
                                                   {"service", "service", WIDTH, BESIDE},
                                                   {NULL, NULL, 0, PLAIN}};

static const struct column handle_columns[] = {
    {"HANDLE", "handle", 10, PLAIN},     {"UID", "uid", 10, USER},
    {"LISTENER", "listener", -8, PLAIN}, {"TYPE", "type", -9, PLAIN},
    {"PORT", "port", 10, PLAIN},         {"KEEP_MS", "keep_ms", 7, PLAIN},
    {"LEFT_MS", "left_ms", 7, PLAIN},    {NULL, NULL, 0, PLAIN}};

static const struct column user_columns[] = {{"UID", "uid", 10, USER},
                                             {"RPC", "rpc-connections", 6, PLAIN},
                                             {"CALLS", "calls", 6, PLAIN},
                                             {"HANDLES", "handles", 7, PLAIN},
                                             {"MEMORY", "rpc-memory", 8, BYTES},
                                             {"LISTENERS", "listeners", 9, PLAIN},
                                             {"CONNECTIONS", "connections", 11, PLAIN},
                                             {NULL, NULL, 0, PLAIN}};

static void format_number(const struct column *column, int64_t number, char *out, size_t size)
{
    if (column->look == BYTES)
        format_bytes(number, out, size);
    else if (column->look == USER && number == UINT32_MAX)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%" PRId64, number);
}

static void format_value(const struct column *column, xmlrpc_value *value, char *out, size_t size)
{
    xmlrpc_env env;
    xmlrpc_bool flag = 0;
    const char *text = NULL;
    xmlrpc_env_init(&env);
    switch (xmlrpc_value_type(value)) {
    case XMLRPC_TYPE_BOOL:
        xmlrpc_read_bool(&env, value, &flag);
        if (column->look == DIRECTION)
            snprintf(out, size, "%s", flag ? "in" : "out");
        else
            snprintf(out, size, "%s", flag ? "yes" : "no");
        break;
    case XMLRPC_TYPE_STRING:
        xmlrpc_read_string(&env, value, &text);
        shown_text(out, size, text != NULL ? text : "", text != NULL ? strlen(text) : 0,
                   SHOWN_UTF8);
        free((void *)(uintptr_t)text);
        break;
    default:
        out[0] = '\0';
    }
    xmlrpc_env_clean(&env);
}

static void format_member(xmlrpc_value *item, const struct column *column, char *out, size_t size)
{
    xmlrpc_env env;
    xmlrpc_value *value = NULL;
    snprintf(out, size, "-");
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, item, column->member, &value);
    if (!env.fault_occurred && value != NULL) {
        xmlrpc_type type = xmlrpc_value_type(value);
        if (type == XMLRPC_TYPE_INT || type == XMLRPC_TYPE_I8)
            format_number(column, ask_int(item, column->member, 0), out, size);
        else
            format_value(column, value, out, size);
        xmlrpc_DECREF(value);
    }
    xmlrpc_env_clean(&env);
}

/* ---- rows ---- */

struct row {
    char line[WIDTH + 1];
    size_t length;
    char below[ROW_MAX]; /* the words that had no room */
};

/* False: it doesn't fit. */
static bool row_add(struct row *row, int width, const char *text)
{
    char cell[ROW_MAX];
    int length = snprintf(cell, sizeof(cell), "%s%*s", row->length > 0 ? " " : "", width, text);
    if (length < 0 || row->length + (size_t)length > WIDTH)
        return false;
    memcpy(row->line + row->length, cell, (size_t)length + 1);
    row->length += (size_t)length;
    return true;
}

static void row_add_below(struct row *row, const char *title, const char *text)
{
    size_t at = strlen(row->below);
    snprintf(row->below + at, sizeof(row->below) - at, "%s%s: %s", at > 0 ? ", " : "", title, text);
}

/* Prints below a row. No line is longer than a terminal is wide, and a name can be that long. */
static void print_below(char *text)
{
    size_t column = 0;
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        size_t length = strlen(word);
        if (column > 0 && column + 1 + length > WIDTH) {
            printf("\n");
            column = 0;
        }
        if (column == 0)
            column = (size_t)printf("%*s%s", length + 6 <= WIDTH ? 6 : 1, "", word);
        else
            column += (size_t)printf(" %s", word);
    }
    printf("\n");
}

static void row_print(struct row *row)
{
    while (row->length > 0 && row->line[row->length - 1] == ' ')
        row->line[--row->length] = '\0';
    printf("%s\n", row->line);
    if (row->below[0] != '\0')
        print_below(row->below);
}

static void print_titles(const struct column *columns)
{
    struct row row = {.length = 0};
    for (const struct column *c = columns; c->title != NULL; c++)
        row_add(&row, c->width, c->title);
    row_print(&row);
}

static bool is_yes(xmlrpc_value *item, const char *member)
{
    const struct column column = {.member = member};
    char text[8];
    format_member(item, &column, text, sizeof(text));
    return strcmp(text, "yes") == 0;
}

/* Why nothing happens with a peer to which programs may connect. */
static void add_absence(struct row *row, xmlrpc_value *item)
{
    if (is_yes(item, "allowed") && !is_yes(item, "present"))
        row_add_below(row, "not present",
                      "it has no link_mgr, or one that may not reach this domain");
}

static void print_item(xmlrpc_value *item, const struct column *columns)
{
    struct row row = {.length = 0};
    char text[ROW_MAX / 2];
    for (const struct column *c = columns; c->title != NULL; c++) {
        format_member(item, c, text, sizeof(text));
        bool nothing = (c->look == BESIDE && text[0] == '\0') ||
                       (c->look == USER && c->width == WIDTH && text[0] == '-') ||
                       (c->look == PROCESS && strcmp(text, "0") == 0);
        if (!nothing && !row_add(&row, c->width, text))
            row_add_below(&row, c->title, text);
    }
    if (columns == link_columns)
        add_absence(&row, item);
    row_print(&row);
}

static void print_list(xmlrpc_value *status, const char *name, const struct column *columns)
{
    xmlrpc_env env;
    xmlrpc_value *list = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, name, &list);
    int count = list != NULL ? xmlrpc_array_size(&env, list) : 0;
    printf("\n%s: %d\n", name, count);
    if (count > 0)
        print_titles(columns);
    for (int i = 0; i < count; i++)
        print_item(xmlrpc_array_get_item(&env, list, i), columns);
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
        printf("  %-22s %" PRId64 "\n", name, ask_int(counters, name, 0));
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

/* Who may listen, if there are rules; if their file is wrong now, that matters more. */
static void print_rules(xmlrpc_value *status)
{
    static const struct column is_old = {"", "listen_rules_old", WIDTH, PLAIN};
    char old[8];
    int64_t rules = ask_int(status, "listen_rules", -1);
    format_member(status, &is_old, old, sizeof(old));
    bool wrong = strcmp(old, "yes") == 0;
    if (rules >= 0 || wrong)
        printf("who may listen: %" PRId64 " rule%s%s\n", rules > 0 ? rules : 0,
               rules == 1 ? "" : "s",
               wrong ? "; their file has something wrong in it now (link_mgr's log)" : "");
}

static void print_tables(xmlrpc_value *status, bool connections)
{
    char platform[32], version[32], name[4 * NAMING_NAME_MAX + 1];
    ask_text(status, "platform", platform, sizeof(platform));
    ask_text(status, "version", version, sizeof(version));
    ask_text(status, "name", name, sizeof(name));
    int64_t seconds = ask_int(status, "uptime_ms", 0) / 1000;
    shown_in_place(name, sizeof(name), SHOWN_UTF8);
    printf("domain %" PRId64 "%s%s%s, platform %s, link_mgr %s, pid %" PRId64 ", up %" PRId64
           " s\n",
           ask_int(status, "domid", -1), name[0] != '\0' ? " (" : "", name,
           name[0] != '\0' ? ")" : "", platform, version, ask_int(status, "pid", 0), seconds);
    print_rules(status);
    print_list(status, "links", link_columns);
    print_list(status, "listeners", listener_columns);
    if (connections) {
        print_list(status, "connections", connection_columns);
        print_list(status, "handles", handle_columns);
    }
    print_list(status, "users", user_columns);
    print_counters(status);
}

static int status_show(const struct command *command, bool json, bool connections,
                       uint32_t timeout_ms)
{
    xmlrpc_value *status;
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, ANSWER_MAX);
    status = ask_status(libidc_socket_path(command_socket), json || connections, (int)timeout_ms);
    if (status == NULL)
        return failure(command, "%s", idc_last_error());
    if (json) {
        json_value(stdout, status);
        putchar('\n');
    } else {
        print_tables(status, connections);
    }
    xmlrpc_DECREF(status);
    return 0;
}

int run_status(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},          {"connections", no_argument, NULL, 'c'},
        {"channels", no_argument, NULL, 'C'},      {"state", required_argument, NULL, 'P'},
        {"timeout", required_argument, NULL, 't'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    bool json = false, connections = false, channels = false;
    const char *state = NULL;
    uint32_t timeout_ms = ASK_TIMEOUT_MS;
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'j')
            json = true;
        else if (option == 'c')
            connections = true;
        else if (option == 'C')
            channels = true;
        else if (option == 'P')
            state = optarg;
        else if (option == 't' && !parse_time(optarg, 1, &timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        else if (option != 't' && !common_option(command, option, argv, &status))
            return status;
    }
    if (optind != argc)
        return usage_error(command, "unexpected argument \"%s\"", argv[optind]);
    if (channels && connections)
        return usage_error(command, "--channels and --connections are two different answers");
    if (state != NULL && !channels)
        return usage_error(command, "--state is for --channels");
    if (channels)
        return status_channels(command, state, json, timeout_ms);
    return status_show(command, json, connections, timeout_ms);
}
