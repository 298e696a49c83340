/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status_table.c - see status_table.h.
 *
 * Each list is a table of columns. What has no room in a row of 80 columns stands below it. A wide
 * table has columns for that too.
 */
#include "tools/status_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/naming.h"
#include "common/shown.h"
#include "tools/command.h"
#include "tools/measure/ask.h"

#define WIDE 199         /* columns: all of a table's have room */
#define BELOW 1000       /* the width of a column that has none */
#define COUNTER_WIDTH 50 /* one in a line of 80 */
#define ROW_MAX 512

/* Of the table that is printed. */
static FILE *table_out;
static size_t table_width;

enum look {
    PLAIN,
    BYTES,     /* with a unit */
    DIRECTION, /* a boolean: in, or out */
    USER,      /* a uid, or none */
    PROCESS,   /* a pid, or another number; 0: none is known */
    BESIDE,    /* text that has no room in the row; it goes below the row, behind its title */
};

/* One column: a member of each struct in a list. */
struct column {
    const char *title, *member;
    int width; /* negative: left-aligned */
    enum look look;
    int wide; /* in a wide table; 0: as width */
};

static const struct column link_columns[] = {{"PEER", "peer", 5, PLAIN, 0},
                                             {"STATE", "state", -9, PLAIN, 0},
                                             {"ALLOWED", "allowed", -7, PLAIN, 0},
                                             {"PRESENT", "present", -7, PLAIN, 0},
                                             {"CONNS", "connections", 5, PLAIN, 0},
                                             {"SENT", "bytes_sent", 8, BYTES, 0},
                                             {"RECEIVED", "bytes_received", 8, BYTES, 0},
                                             {"MEMORY", "memory_held", 8, BYTES, 0},
                                             {"HELD", "pages_held", 5, PLAIN, 0},
                                             {"silent for ms", "silent_ms", BELOW, PROCESS, 13},
                                             {"name", "name", BELOW, BESIDE, -30},
                                             {"last error", "last_error", BELOW, BESIDE, -60},
                                             {NULL, NULL, 0, PLAIN, 0}};
static const struct column listener_columns[] = {{"PORT", "port", 10, PLAIN, 0},
                                                 {"TYPE", "type", -9, PLAIN, 0},
                                                 {"LOCAL", "local", -5, PLAIN, 0},
                                                 {"BACKLOG", "backlog", 7, PLAIN, 0},
                                                 {"WAITING", "waiting", 7, PLAIN, 0},
                                                 {"ACCEPTED", "accepted", 8, PLAIN, 0},
                                                 {"UID", "uid", 5, USER, 0},
                                                 {"pid", "pid", BELOW, PROCESS, 7},
                                                 {"program", "program", BELOW, BESIDE, -15},
                                                 {"SERVICE", "service", -7, BESIDE, -60},
                                                 {NULL, NULL, 0, PLAIN, 0}};
static const struct column connection_columns[] = {
    {"PEER", "peer_domid", 5, PLAIN, 0},
    {"LOCAL", "local_port", 10, PLAIN, 0},
    {"REMOTE", "peer_port", 10, PLAIN, 0},
    {"DIR", "incoming", -3, DIRECTION, 0},
    {"STATE", "state", -10, PLAIN, 0},
    {"TYPE", "type", -9, PLAIN, 0},
    {"SENT", "bytes_sent", 8, BYTES, 0},
    {"RECEIVED", "bytes_received", 8, BYTES, 0},
    {"BUFFERED", "buffered", 8, BYTES, 0},
    {"uid", "uid", BELOW, USER, 6},
    {"listener's uid", "listener_uid", BELOW, USER, 14},
    {"pid", "pid", BELOW, PROCESS, 7},
    {"program", "program", BELOW, BESIDE, -15},
    {"rule", "rule", BELOW, BESIDE, -30},
    {"peer", "peer_name", BELOW, BESIDE, -16},
    {"service", "service", BELOW, BESIDE, -24},
    {NULL, NULL, 0, PLAIN, 0}};

static const struct column handle_columns[] = {
    {"HANDLE", "handle", 10, PLAIN, 0},     {"UID", "uid", 10, USER, 0},
    {"LISTENER", "listener", -8, PLAIN, 0}, {"TYPE", "type", -9, PLAIN, 0},
    {"PORT", "port", 10, PLAIN, 0},         {"KEEP_MS", "keep_ms", 7, PLAIN, 0},
    {"LEFT_MS", "left_ms", 7, PLAIN, 0},    {NULL, NULL, 0, PLAIN, 0}};

static const struct column user_columns[] = {{"UID", "uid", 10, USER, 0},
                                             {"RPC", "rpc-connections", 6, PLAIN, 0},
                                             {"CALLS", "calls", 6, PLAIN, 0},
                                             {"HANDLES", "handles", 7, PLAIN, 0},
                                             {"MEMORY", "rpc-memory", 8, BYTES, 0},
                                             {"LISTENERS", "listeners", 9, PLAIN, 0},
                                             {"CONNECTIONS", "connections", 11, PLAIN, 0},
                                             {"UNACCEPTED", "unaccepted", 10, PLAIN, 0},
                                             {NULL, NULL, 0, PLAIN, 0}};

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
    char line[ROW_MAX];
    size_t length;
    char below[ROW_MAX]; /* the words that had no room */
};

/* False: it doesn't fit. */
static bool row_add(struct row *row, int width, const char *text)
{
    char cell[ROW_MAX];
    int length = snprintf(cell, sizeof(cell), "%s%*s", row->length > 0 ? " " : "", width, text);
    if (length < 0 || row->length + (size_t)length > table_width)
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
        if (column > 0 && column + 1 + length > table_width) {
            fprintf(table_out, "\n");
            column = 0;
        }
        if (column == 0)
            column =
                (size_t)fprintf(table_out, "%*s%s", length + 6 <= table_width ? 6 : 1, "", word);
        else
            column += (size_t)fprintf(table_out, " %s", word);
    }
    fprintf(table_out, "\n");
}

static void row_print(struct row *row)
{
    while (row->length > 0 && row->line[row->length - 1] == ' ')
        row->line[--row->length] = '\0';
    fprintf(table_out, "%s\n", row->line);
    if (row->below[0] != '\0')
        print_below(row->below);
}

/* Is there room for all columns? */
static bool is_wide(const struct column *column)
{
    return column->wide != 0 && table_width >= WIDE;
}

static int column_width(const struct column *column)
{
    return is_wide(column) ? column->wide : column->width;
}

static void print_titles(const struct column *columns)
{
    struct row row = {.length = 0};
    for (const struct column *c = columns; c->title != NULL; c++)
        row_add(&row, column_width(c), c->title);
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

/* A text that is too long for its column goes below. */
static void row_add_wide(struct row *row, const struct column *column, const char *text)
{
    bool fits = strlen(text) <= (size_t)abs(column->wide);
    row_add(row, column->wide, fits ? text : "...");
    if (!fits)
        row_add_below(row, column->title, text);
}

static void print_item(xmlrpc_value *item, const struct column *columns)
{
    struct row row = {.length = 0};
    char text[ROW_MAX / 2];
    for (const struct column *c = columns; c->title != NULL; c++) {
        format_member(item, c, text, sizeof(text));
        bool nothing = (c->look == BESIDE && text[0] == '\0') ||
                       (c->look == USER && c->width == BELOW && text[0] == '-') ||
                       (c->look == PROCESS && strcmp(text, "0") == 0);
        if (is_wide(c))
            row_add_wide(&row, c, nothing ? "-" : text);
        else if (!nothing && !row_add(&row, c->width, text))
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
    fprintf(table_out, "\n%s: %d\n", name, count);
    if (count > 0)
        print_titles(columns);
    for (int i = 0; i < count; i++)
        print_item(xmlrpc_array_get_item(&env, list, i), columns);
    if (list != NULL)
        xmlrpc_DECREF(list);
    xmlrpc_env_clean(&env);
}

static void print_counter(xmlrpc_value *counters, xmlrpc_value *key, const char *end)
{
    xmlrpc_env env;
    const char *name = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_read_string(&env, key, &name);
    if (!env.fault_occurred)
        fprintf(table_out, "  %-22s %*" PRId64 "%s", name, end[0] != '\0' ? 0 : -24,
                ask_int(counters, name, 0), end);
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
    int in_a_line = (int)(table_width / COUNTER_WIDTH);
    fprintf(table_out, "\ncounters:\n");
    for (int i = 0; i < count && !env.fault_occurred; i++) {
        xmlrpc_struct_get_key_and_value(&env, counters, i, &key, &value);
        print_counter(counters, key, (i + 1) % in_a_line == 0 || i + 1 == count ? "\n" : "");
    }
    if (counters != NULL)
        xmlrpc_DECREF(counters);
    xmlrpc_env_clean(&env);
}

/* Who may listen, if there are rules; if their file is wrong now, that matters more. */
static void print_rules(xmlrpc_value *status)
{
    static const struct column is_old = {"", "listen_rules_old", BELOW, PLAIN, 0};
    char old[8];
    int64_t rules = ask_int(status, "listen_rules", -1);
    format_member(status, &is_old, old, sizeof(old));
    bool wrong = strcmp(old, "yes") == 0;
    if (rules >= 0 || wrong)
        fprintf(table_out, "who may listen: %" PRId64 " rule%s%s\n", rules > 0 ? rules : 0,
                rules == 1 ? "" : "s",
                wrong ? "; their file has something wrong in it now (link_mgr's log)" : "");
}

void status_table(FILE *out, size_t width, xmlrpc_value *status, bool connections)
{
    table_out = out;
    table_width = width;
    char platform[32], version[32], name[4 * NAMING_NAME_MAX + 1];
    ask_text(status, "platform", platform, sizeof(platform));
    ask_text(status, "version", version, sizeof(version));
    ask_text(status, "name", name, sizeof(name));
    int64_t seconds = ask_int(status, "uptime_ms", 0) / 1000;
    shown_in_place(name, sizeof(name), SHOWN_UTF8);
    fprintf(table_out,
            "domain %" PRId64 "%s%s%s, platform %s, link_mgr %s, pid %" PRId64 ", up %" PRId64
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
