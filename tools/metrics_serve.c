/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics_serve.c - idc status --prometheus --listen: metrics for a scraper, by HTTP.
 *
 * Theory of operation
 *
 * libmicrohttpd serves, in one thread of its own, so a slow client holds up nobody. Who sends
 * nothing is let go after a while, and there are only so many at a time. A Unix socket is opened by
 * the same function as that of idc forward: what is not a left-over socket is not replaced, and its
 * mode lets nobody else in. The listener for TCP is at the named address only.
 *
 * Whoever may connect must not keep link_mgr busy. So an answer serves all who ask within a second.
 * If link_mgr does not answer, idc_up is 0, and that is said for a second too.
 */
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "channels/opener.h"
#include "libidc/internal.h"
#include "tools/measure/ask.h"
#include "tools/metrics.h"

#define CLIENTS_MAX 4096
#define DESCRIPTORS_OWN 64
#define IDLE_SECONDS 10 /* without a byte of a client */
#define FRESH_MS 1000
#define SOCKET_MODE 0660

/* All of it belongs to the thread of libmicrohttpd. */
struct serving {
    uint32_t timeout_ms;
    double made_ms; /* 0: there is no text */
    char *text;
    size_t len;
};

static void make_text(struct serving *serving)
{
    double now = command_now_ms();
    if (serving->text != NULL && now - serving->made_ms < FRESH_MS)
        return;
    free(serving->text);
    serving->text = NULL;
    FILE *out = open_memstream(&serving->text, &serving->len);
    if (out == NULL)
        return;
    xmlrpc_value *status =
        ask_status(libidc_socket_path(command_socket), false, (int)serving->timeout_ms);
    metrics_write(out, status);
    if (status != NULL)
        xmlrpc_DECREF(status);
    fclose(out);
    serving->made_ms = command_now_ms();
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code,
                                   const char *text, size_t len)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    const char *type = code == MHD_HTTP_OK ? "text/plain; version=0.0.4; charset=utf-8"
                                           : "text/plain; charset=utf-8";
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, MHD_HTTP_METHOD_GET);
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_line(struct MHD_Connection *connection, unsigned code,
                                   const char *line)
{
    return answer_text(connection, code, line, strlen(line));
}

static enum MHD_Result serve_request(void *context, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *data, size_t *len, void **own)
{
    struct serving *serving = context;
    (void)version, (void)data, (void)len, (void)own;
    if (strcmp(url, "/metrics") != 0)
        return answer_line(connection, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n");
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, and nothing else\n");
    make_text(serving);
    if (serving->text == NULL)
        return MHD_NO;
    return answer_text(connection, MHD_HTTP_OK, serving->text, serving->len);
}

/* As many clients as there are descriptors for, CLIENTS_MAX at most. */
static unsigned clients_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return DESCRIPTORS_OWN;
    limit.rlim_cur = limit.rlim_max < CLIENTS_MAX + DESCRIPTORS_OWN ? limit.rlim_max
                                                                    : CLIENTS_MAX + DESCRIPTORS_OWN;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 2 * DESCRIPTORS_OWN ? (unsigned)limit.rlim_cur - DESCRIPTORS_OWN
                                                : DESCRIPTORS_OWN;
}

static struct MHD_Daemon *start_server(int listener, struct serving *serving)
{
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL,
                            serve_request, serving, MHD_OPTION_LISTEN_SOCKET, listener,
                            MHD_OPTION_CONNECTION_LIMIT, clients_max(),
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
}

/* The listener stays the caller's. */
static int serve_on(const struct command *command, int listener, struct serving *serving)
{
    sigset_t ends;
    int number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct MHD_Daemon *daemon = start_server(listener, serving);
    if (daemon == NULL)
        return failure(command, "the HTTP server does not start");
    sigwait(&ends, &number);
    MHD_quiesce_daemon(daemon);
    MHD_stop_daemon(daemon);
    free(serving->text);
    return 0;
}

/* unix:PATH is unix-listen:PATH of idc forward, and tcp:ADDRESS:PORT its tcp-listen. */
static bool read_place(const struct command *command, const char *text, struct end *end)
{
    char listening[END_TEXT_MAX], why[END_WHY_MAX];
    size_t at, kind = strcspn(text, ":");
    bool known =
        (kind == 4 && strncmp(text, "unix", 4) == 0) || (kind == 3 && strncmp(text, "tcp", 3) == 0);
    if (known && strlen(text) + 8 < sizeof(listening)) {
        snprintf(listening, sizeof(listening), "%.*s-listen%s", (int)kind, text, text + kind);
        if (!end_parse(listening, end, &at, why))
            usage_error(command, "--listen %s: %s", text, why);
        else if (!end->hybrid)
            return true;
        return false;
    }
    usage_error(command, "--listen takes unix:PATH or tcp:ADDRESS:PORT, not \"%s\"", text);
    return false;
}

int metrics_serve(const struct command *command, const char *listen, uint32_t timeout_ms)
{
    const struct opener_settings settings = {.mode = SOCKET_MODE};
    struct serving serving = {.timeout_ms = timeout_ms};
    struct end end;
    char why[OPENER_WHY_MAX];
    int listener = -1, status;
    if (!read_place(command, listen, &end))
        return EXIT_USAGE;
    command_serves(command);
    struct opener *opener = opener_new(&end, &settings, why);
    if (opener == NULL || opener_listen(opener, &listener, why) < 0)
        status = failure(command, "%s", why);
    else
        status = serve_on(command, listener, &serving);
    if (listener >= 0)
        opener_unlisten(opener, listener);
    if (opener != NULL)
        opener_free(opener);
    return status;
}
