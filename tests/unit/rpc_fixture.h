/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_fixture.h - a real RPC server over a fake hub, in a process of its own, and a plain HTTP
 * client by hand. To be included by one file of a test program. When the server is stopped it must
 * have as many descriptors and threads as at its start.
 */
#ifndef IDC_RPC_FIXTURE_H
#define IDC_RPC_FIXTURE_H

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "link_mgr/base/log.h"
#include "link_mgr/base/users.h"
#include "link_mgr/rpc/rpc.h"
#include "tests/unit/count.h"
#include "tests/unit/fake_hub.h"

static char server_dir[64];
static char server_path[96];
static pid_t server_pid;

/* ---- the server's process ---- */

static struct quota fixture_users;
static const char *fixture_quota; /* NULL: none; or NAME=N, which is for root too */

static void fixture_begin_users(void)
{
    struct user_limits limits;
    users_usual(&limits);
    if (fixture_quota != NULL && !users_set(&limits, fixture_quota))
        abort();
    users_init(&fixture_users, &limits);
    fixture_users.root_apart = fixture_quota == NULL;
}

static void server_on_term(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static int server_main(int ready)
{
    static struct hub hub;
    char why[256] = "";
    struct rpc_server *server;
    /* the log opens stderr again, if it is a pipe or a device */
    log_line(LOG_NOTICE, "a server for tests begins");
    int before = count_descriptors();
    /* one, or two under a sanitizer that has its own */
    int threads_before = count_threads();
    struct event_base *base = event_base_new();
    struct event *term = evsignal_new(base, SIGTERM, server_on_term, base);
    event_add(term, NULL);
    fake_hub_init(&hub, base);
    fixture_begin_users();
    struct rpc_config config = {
        .base = base, .hub = &hub, .users = &fixture_users, .path = server_path};
    int error = rpc_start(&config, &server, why, sizeof(why));
    if (error != 0) {
        fprintf(stderr, "rpc_start: %s\n", why);
        return 10;
    }
    if (write(ready, "", 1) != 1)
        return 11;
    event_base_dispatch(base);
    int threads = count_threads();
    rpc_stop(server);
    fake_hub_end(&hub);
    quota_end(&fixture_users);
    event_free(term);
    event_base_free(base);
    int after = count_descriptors();
    if (threads != threads_before || after != before || hub.pending != 0) {
        fprintf(stderr,
                "%d threads instead of %d, %d descriptors instead of %d, %d connects pending\n",
                threads, threads_before, after, before, hub.pending);
        return 12;
    }
    return access(server_path, F_OK) == 0 ? 13 : 0;
}

static void server_spawn(void)
{
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    server_pid = fork();
    if (server_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        exit(server_main(ready[1]));
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void server_start(void)
{
    strcpy(server_dir, "/tmp/idc-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server_dir));
    snprintf(server_path, sizeof(server_path), "%s/rpc.sock", server_dir);
    server_spawn();
}

static void server_end(void)
{
    int status;
    kill(server_pid, SIGTERM);
    ck_assert_int_eq(waitpid(server_pid, &status, 0), server_pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server ended with status %x",
                  (unsigned)status);
}

static void server_stop(void)
{
    server_end();
    rmdir(server_dir);
}

/* ---- a plain client ---- */

static int http_status;

static inline int rpc_fixture_dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 40}; /* a sanitizer can take long */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, server_path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static inline void rpc_fixture_put(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        bytes += sent;
        len -= (size_t)sent;
    }
}

static inline void post_body(int fd, const char *body, size_t len)
{
    char head[128];
    int n = snprintf(head, sizeof(head),
                     "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
    rpc_fixture_put(fd, head, (size_t)n);
    rpc_fixture_put(fd, body, len);
}

#define END ((const char *)NULL)

/* members: "name", "<int>5</int>", ..., END. A malloced document. */
static inline char *document_va(const char *method, va_list args)
{
    char *text;
    size_t size;
    const char *name;
    FILE *out = open_memstream(&text, &size);
    fprintf(
        out,
        "<?xml "
        "version=\"1.0\"?><methodCall><methodName>%s</methodName><params><param><value><struct>",
        method);
    while ((name = va_arg(args, const char *)) != NULL)
        fprintf(out, "<member><name>%s</name><value>%s</value></member>", name,
                va_arg(args, const char *));
    fprintf(out, "</struct></value></param></params></methodCall>");
    fclose(out);
    return text;
}

static inline void rpc_fixture_post(int fd, const char *method, ...)
{
    va_list args;
    va_start(args, method);
    char *text = document_va(method, args);
    va_end(args);
    post_body(fd, text, strlen(text));
    free(text);
}

/* The body of a response, malloced, or NULL when the connection ended. */
static inline char *rpc_fixture_answer(int fd)
{
    char head[4096];
    size_t have = 0;
    for (;;) { /* byte by byte: slow, and never reads into the next response */
        ssize_t got = recv(fd, head + have, 1, 0);
        if (got <= 0)
            return NULL;
        head[++have] = '\0';
        ck_assert_uint_lt(have, sizeof(head) - 1);
        if (have > 4 && memcmp(head + have - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    http_status = atoi(head + 9);
    char *length = strcasestr(head, "content-length:");
    size_t size = length != NULL ? strtoul(length + 15, NULL, 10) : 0;
    char *body = malloc(size + 1);
    for (size_t at = 0; at < size;) {
        ssize_t got = recv(fd, body + at, size - at, 0);
        ck_assert_int_gt(got, 0);
        at += (size_t)got;
    }
    body[size] = '\0';
    return body;
}

#define CALL(fd, ...) (rpc_fixture_post((fd), __VA_ARGS__, END), rpc_fixture_answer(fd))

/* What stands between the tags of the value of a member: the first occurrence. */
static inline const char *rpc_fixture_member(const char *body, const char *name)
{
    char tag[80];
    static char value[512];
    snprintf(tag, sizeof(tag), "<name>%s</name>", name);
    const char *at = strstr(body, tag);
    ck_assert_msg(at != NULL, "no member %s in %s", name, body);
    at = strstr(at, "<value>") + 7;
    at = strchr(at, '>') + 1;
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "<"), at);
    return value;
}

static inline int64_t rpc_fixture_number(const char *body, const char *name)
{
    return strtoll(rpc_fixture_member(body, name), NULL, 10);
}

static inline int fault_of(const char *body)
{
    return strstr(body, "<fault>") != NULL ? (int)rpc_fixture_number(body, "faultCode") : 0;
}

/* A member of a call, and frees the answer. */
static inline int64_t number_free(char *body, const char *name)
{
    ck_assert_ptr_nonnull(body);
    ck_assert_msg(fault_of(body) == 0, "fault: %s", body);
    int64_t value = rpc_fixture_number(body, name);
    free(body);
    return value;
}

static inline int fault_free(char *body)
{
    ck_assert_ptr_nonnull(body);
    int code = fault_of(body);
    free(body);
    return code;
}

/* The XML of a number; eight at a time. */
static inline const char *xml_int(int64_t value)
{
    static char texts[8][48];
    static int next;
    char *text = texts[next++ % 8];
    const char *tag = value >= INT32_MIN && value <= INT32_MAX ? "int" : "i8";
    snprintf(text, sizeof(texts[0]), "<%s>%lld</%s>", tag, (long long)value, tag);
    return text;
}

/* A counter of idc.status, over a connection of its own. */
static inline int64_t rpc_fixture_counter(const char *name)
{
    int fd = rpc_fixture_dial();
    int64_t value = number_free(CALL(fd, "idc.status"), name);
    close(fd);
    return value;
}

/* Waits until a counter has the value: events of the server that no answer tells of. */
static inline void await_counter(const char *name, int64_t value)
{
    int64_t have = rpc_fixture_counter(name);
    for (int i = 0; i < 4000 && have != value; i++) {
        poll(NULL, 0, 10);
        have = rpc_fixture_counter(name);
    }
    ck_assert_int_eq(have, value);
}

#endif
