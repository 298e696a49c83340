/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top.c - idc top: links and connections by how much they carry.
 *
 * link_mgr counts bytes, and rates are what two answers differ by. A connection is known again by
 * its serial, and a link by its peer. Whatever was not there in the answer before has no rate yet.
 * After a restart of link_mgr all is new, and a serial is not used again.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/naming.h"
#include "common/shown.h"
#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/measure/ask.h"
#include "tools/screen.h"

#define ANSWER_MAX (256u * 1024 * 1024)
#define INTERVAL_MS 2000
#define NAME_SIZE (4 * NAMING_NAME_MAX + 1)
#define WIDE 160

enum top_order { BY_RATE, BY_SENT, BY_RECEIVED, BY_TOTAL, ORDERS };
static const char *const order_names[ORDERS] = {"rate", "sent", "received", "total"};

struct top_row {
    int64_t key; /* serial, or domid of a link */
    int64_t sent, received;
    double sent_rate, received_rate; /* bytes a second; -1: not known yet */
    char domain[64], service[IDC_SERVICE_MAX + 1], program[32];
    char way[12]; /* in or out, or the state of the link */
    int64_t pid, uid, connections;
};

struct top_list {
    struct top_row *rows;
    int count;
};

struct top {
    const struct command *command;
    uint32_t interval_ms, timeout_ms;
    enum top_order order;
    int first; /* the first connection that is shown */
    struct top_list links, connections;
    double taken_ms;
    int64_t pid;
    bool answered;
};

/* ---- an answer ---- */

static void read_domain(xmlrpc_value *item, const char *name, const char *domid, char out[64])
{
    char text[NAME_SIZE];
    ask_text(item, name, text, sizeof(text));
    if (text[0] == '\0')
        snprintf(text, sizeof(text), "%" PRId64, ask_int(item, domid, -1));
    shown_text(out, 64, text, strlen(text), SHOWN_UTF8);
}

static void read_row(xmlrpc_value *item, bool link, struct top_row *row)
{
    row->sent_rate = row->received_rate = -1;
    row->sent = ask_int(item, "bytes_sent", 0);
    row->received = ask_int(item, "bytes_received", 0);
    row->key = ask_int(item, link ? "peer" : "serial", 0);
    read_domain(item, link ? "name" : "peer_name", link ? "peer" : "peer_domid", row->domain);
    if (link) {
        ask_text(item, "state", row->way, sizeof(row->way));
        row->connections = ask_int(item, "connections", 0);
        return;
    }
    xmlrpc_env env;
    xmlrpc_value *incoming = NULL;
    xmlrpc_bool in = 0;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, item, "incoming", &incoming);
    if (incoming != NULL) {
        xmlrpc_read_bool(&env, incoming, &in);
        xmlrpc_DECREF(incoming);
    }
    xmlrpc_env_clean(&env);
    snprintf(row->way, sizeof(row->way), "%s", in ? "in" : "out");
    ask_text(item, "service", row->service, sizeof(row->service));
    if (row->service[0] == '\0')
        snprintf(row->service, sizeof(row->service), "%" PRId64,
                 ask_int(item, in ? "local_port" : "peer_port", 0));
    ask_text(item, "program", row->program, sizeof(row->program));
    row->pid = ask_int(item, "pid", 0);
    row->uid = ask_int(item, "uid", UINT32_MAX);
}

/* False: out of memory. */
static bool read_list(xmlrpc_value *status, bool link, struct top_list *list)
{
    xmlrpc_env env;
    xmlrpc_value *items = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, link ? "links" : "connections", &items);
    list->count = items != NULL ? xmlrpc_array_size(&env, items) : 0;
    list->rows = calloc((size_t)list->count + 1, sizeof(*list->rows));
    for (int i = 0; list->rows != NULL && i < list->count; i++)
        read_row(xmlrpc_array_get_item(&env, items, i), link, &list->rows[i]);
    if (items != NULL)
        xmlrpc_DECREF(items);
    xmlrpc_env_clean(&env);
    return list->rows != NULL;
}

/* ---- rates ---- */

static int compare_keys(const void *a, const void *b)
{
    int64_t first = ((const struct top_row *)a)->key, second = ((const struct top_row *)b)->key;
    return (first > second) - (first < second);
}

/* before is sorted by key. */
static void set_rates(struct top_list *list, const struct top_list *before, double seconds)
{
    for (int i = 0; i < list->count && before->count > 0 && seconds > 0; i++) {
        struct top_row *row = &list->rows[i];
        const struct top_row *old =
            bsearch(row, before->rows, (size_t)before->count, sizeof(*row), compare_keys);
        if (old == NULL || old->sent > row->sent || old->received > row->received)
            continue;
        row->sent_rate = (double)(row->sent - old->sent) / seconds;
        row->received_rate = (double)(row->received - old->received) / seconds;
    }
}

static void replace_list(struct top_list *list, struct top_list *by, double seconds)
{
    if (list->count > 0)
        qsort(list->rows, (size_t)list->count, sizeof(*list->rows), compare_keys);
    set_rates(by, list, seconds);
    free(list->rows);
    *list = *by;
}

/* False: link_mgr does not answer. */
static bool top_take(struct top *top)
{
    struct top_list links = {NULL, 0}, connections = {NULL, 0}, none = {NULL, 0};
    xmlrpc_value *status =
        ask_status(libidc_socket_path(command_socket), true, (int)top->timeout_ms);
    if (status == NULL)
        return false;
    double now = command_now_ms(), seconds = (now - top->taken_ms) / 1000;
    int64_t pid = ask_int(status, "pid", 0);
    bool good = read_list(status, true, &links) && read_list(status, false, &connections);
    xmlrpc_DECREF(status);
    replace_list(&top->links, good ? &links : &none, pid == top->pid ? seconds : 0);
    replace_list(&top->connections, good ? &connections : &none, pid == top->pid ? seconds : 0);
    if (!good) {
        free(links.rows);
        libidc_fail(ENOMEM, "out of memory");
    }
    top->taken_ms = now;
    top->pid = pid;
    return good;
}

/* ---- sorting ---- */

static enum top_order sort_order; /* qsort hands nothing over */

static double row_weight(const struct top_row *row)
{
    switch (sort_order) {
    case BY_SENT:
        return row->sent_rate;
    case BY_RECEIVED:
        return row->received_rate;
    case BY_TOTAL:
        return (double)row->sent + (double)row->received;
    default:
        return row->sent_rate + row->received_rate;
    }
}

static int compare_weights(const void *a, const void *b)
{
    double first = row_weight(a), second = row_weight(b);
    return first != second ? (first < second ? 1 : -1) : compare_keys(a, b);
}

static void sort_list(struct top_list *list, enum top_order order)
{
    sort_order = order;
    if (list->count > 0)
        qsort(list->rows, (size_t)list->count, sizeof(*list->rows), compare_weights);
}

/* ---- printing ---- */

static void format_rate(double rate, char out[24])
{
    char bytes[16];
    if (rate < 0) {
        snprintf(out, 24, "-");
        return;
    }
    format_bytes((int64_t)rate, bytes, sizeof(bytes));
    snprintf(out, 24, "%s/s", bytes);
}

/* What has no room in a column is cut, as the row has to stay one line. */
static void print_row(FILE *out, bool wide, bool link, const struct top_row *row)
{
    char sent[24], received[24], all_sent[24], all_received[24], uid[16], pid[16];
    format_rate(row->sent_rate, sent);
    format_rate(row->received_rate, received);
    format_bytes(row->sent, all_sent, sizeof(all_sent));
    format_bytes(row->received, all_received, sizeof(all_received));
    snprintf(uid, sizeof(uid), row->uid == UINT32_MAX ? "-" : "%" PRId64, row->uid);
    snprintf(pid, sizeof(pid), row->pid == 0 ? "-" : "%" PRId64, row->pid);
    if (link && wide)
        fprintf(out, "%-32.32s %-9s %6" PRId64 " %12s %12s %9s %9s\n", row->domain, row->way,
                row->connections, sent, received, all_sent, all_received);
    else if (link)
        fprintf(out, "%-26.26s %-9s %6" PRId64 " %12s %12s\n", row->domain, row->way,
                row->connections, sent, received);
    else if (wide)
        fprintf(out, "%-32.32s %-3s %-60.60s %12s %12s %9s %9s %6s %7s %-20.20s\n", row->domain,
                row->way, row->service, sent, received, all_sent, all_received, uid, pid,
                row->program[0] != '\0' ? row->program : "-");
    else
        fprintf(out, "%-14.14s %-3s %-20.20s %12s %12s %-14.14s\n", row->domain, row->way,
                row->service, sent, received, row->program[0] != '\0' ? row->program : "-");
}

static void print_titles(FILE *out, bool wide, bool link)
{
    if (link && wide)
        fprintf(out, "%-32s %-9s %6s %12s %12s %9s %9s\n", "LINK TO", "STATE", "CONNS", "SENT",
                "RECEIVED", "ALL SENT", "ALL RECV");
    else if (link)
        fprintf(out, "%-26s %-9s %6s %12s %12s\n", "LINK TO", "STATE", "CONNS", "SENT", "RECEIVED");
    else if (wide)
        fprintf(out, "%-32s %-3s %-60s %12s %12s %9s %9s %6s %7s %s\n", "DOMAIN", "DIR", "SERVICE",
                "SENT", "RECEIVED", "ALL SENT", "ALL RECV", "UID", "PID", "PROGRAM");
    else
        fprintf(out, "%-14s %-3s %-20s %12s %12s %s\n", "DOMAIN", "DIR", "SERVICE", "SENT",
                "RECEIVED", "PROGRAM");
}

static void print_list(FILE *out, bool link, struct top_list *list, enum top_order order, int first)
{
    bool wide = screen_width() >= WIDE;
    sort_list(list, order);
    print_titles(out, wide, link);
    for (int i = first; i < list->count; i++)
        print_row(out, wide, link, &list->rows[i]);
    fputc('\n', out);
}

static void print_frame(FILE *out, struct top *top)
{
    fprintf(out, "%d links, %d connections, by %s%s\n\n", top->links.count, top->connections.count,
            order_names[top->order],
            screen_is_terminal() ? "   (q: end, left and right: order, up and down: lines)" : "");
    print_list(out, true, &top->links, top->order, 0);
    print_list(out, false, &top->connections, top->order, top->first);
}

/* False: it can't be shown. */
static bool top_show(struct top *top)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return false;
    if (top->answered) {
        print_frame(out, top);
    } else {
        shown_print(out, idc_last_error());
        fprintf(out, "\nasking again\n\n");
    }
    bool good = fclose(out) == 0 && screen_show(text);
    free(text);
    return good;
}

/* ---- the loop ---- */

static void take_key(struct top *top, int key)
{
    if (key == SCREEN_RIGHT || key == 's')
        top->order = (top->order + 1) % ORDERS;
    else if (key == SCREEN_LEFT)
        top->order = (top->order + ORDERS - 1) % ORDERS;
    else if (key == SCREEN_DOWN && top->first + 1 < top->connections.count)
        top->first++;
    else if (key == SCREEN_UP && top->first > 0)
        top->first--;
}

/* Keys are shown at once; a new answer comes when the time is up. False: the user ends it. */
static bool top_pause(struct top *top)
{
    double until = command_now_ms() + top->interval_ms;
    while (command_now_ms() < until) {
        int key = screen_wait((int)(until - command_now_ms()) + 1);
        if (key == 'q')
            return false;
        take_key(top, key);
        if (key != SCREEN_TIME && !top_show(top))
            return false;
    }
    return true;
}

static void top_run(struct top *top, uint32_t count)
{
    top->answered = top_take(top);
    bool on = !screen_is_terminal() || top_show(top);
    for (uint32_t i = 0; on && (count == 0 || i < count) && top_pause(top); i++) {
        top->answered = top_take(top);
        on = top_show(top);
    }
}

static bool read_order(const char *text, enum top_order *order)
{
    for (int i = 0; i < ORDERS; i++)
        if (strcmp(text, order_names[i]) == 0) {
            *order = (enum top_order)i;
            return true;
        }
    return false;
}

int run_top(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"interval", required_argument, NULL, 'i'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"sort", required_argument, NULL, 'o'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct top top = {.command = command, .interval_ms = INTERVAL_MS, .timeout_ms = ASK_TIMEOUT_MS};
    uint32_t count = 0;
    int option, status;
    while ((option = getopt_long(argc, argv, ":hi:c:", options, NULL)) != -1) {
        if (option == 'i' && !parse_time(optarg, 100, &top.interval_ms))
            return usage_error(command, "--interval " TIME_RULE, 0.1, optarg);
        if (option == 't' && !parse_time(optarg, 1, &top.timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option == 'c' && !parse_number(optarg, 1, UINT32_MAX, &count))
            return usage_error(command, "COUNT must be 1 to %u, not \"%s\"", UINT32_MAX, optarg);
        if (option == 'o' && !read_order(optarg, &top.order))
            return usage_error(command, "--sort takes rate, sent, received or total, not \"%s\"",
                               optarg);
        if (!strchr("itco", option) && !common_option(command, option, argv, &status))
            return status;
    }
    if (optind != argc)
        return usage_error(command, "unexpected argument \"%s\"", argv[optind]);
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, ANSWER_MAX);
    screen_begin();
    top_run(&top, count);
    screen_end();
    free(top.links.rows);
    free(top.connections.rows);
    return top.answered ? 0 : failure(command, "%s", idc_last_error());
}
