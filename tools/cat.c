/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cat.c - idc cat: stdin to a connection and the connection to stdout.
 *
 * There are two flows, each with a buffer, in one poll loop. A flow reads when its buffer is empty
 * and writes when it is not, so neither direction ever waits for the other. The end of stdin shuts
 * the sending side down; the end of the other side's data closes stdout. The program ends when both
 * flows have ended, or when the other side has closed altogether. After one stdin has ended, two of
 * these at two terminals would wait for each other's stdin. --recv-only, --send-only and -N each
 * say for which flow the program does not wait. With --send-only, data that come after the end of
 * stdin are still taken and thrown away. Unread data, or data after the close, would turn the close
 * into a reset. Then the other side might lose what it has not read yet. When nothing comes for a
 * while, nothing is likely to come.
 *
 * If stdin can't be read, the program fails. It shuts the sending side down, and shows what the
 * other side still says. It waits no longer than with --send-only, because the other side may wait
 * for data that never come.
 *
 * With --keep one connection follows the other. stdin goes to the present connection, and stdout
 * stays open. The next connection begins when the present one has ended in both directions, or when
 * its other side has closed. An other side that has only ended its own half may still read, so that
 * stdin goes on to it. With -N it gets what stdin has at that moment. With --exec each connection
 * has a process of its own. libidc keeps the listener when link_mgr ends.
 *
 * An empty message is no end. It adds nothing to stdout, where messages have no boundaries.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/progress.h"

#define STREAM_BUFFER 65536
/* How long --send-only still takes data, and how long we do so after stdin has failed: until
 * nothing has come for so long, and at most for so long. */
#define LINGER_QUIET_MS 5000
#define LINGER_MS 60000

struct flow {
    int from, to;
    bool to_socket;
    bool ended; /* nothing more comes, and all has been written */
    bool source_ended;
    bool keep_target; /* its end is not passed on to its destination */
    bool discard;     /* what comes is thrown away */
    char *buf;
    size_t room, len, done;
};

struct cat {
    const struct command *command;
    int fd;
    int type;
    bool listen, once, keep;
    bool recv_only, send_only, no_wait;
    bool stdin_failed;
    bool progress;
    double linger_until; /* after the end of stdin, if we then wait only for a while; else 0 */
    uint32_t port, timeout_ms;
    bool expects; /* --expect-uid: whoever else listens gets nothing */
    uint32_t expected_uid;
    const char *name;
    const char *exec;    /* command for the shell, or NULL */
    struct flow in, out; /* stdin to the connection, the connection to stdout */
};

/* ---- a flow ---- */

static int flow_init(struct flow *flow, int from, int to, bool to_socket, size_t room)
{
    *flow = (struct flow){
        .from = from, .to = to, .to_socket = to_socket, .room = room, .buf = malloc(room)};
    return flow->buf != NULL ? 0 : -1;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Returns how many bytes came, which may be none, or -1 with errno. */
static ssize_t flow_take(const struct flow *flow, bool *ended)
{
    size_t length = 0;
    ssize_t got = flow->to_socket ? read(flow->from, flow->buf, flow->room)
                                  : idc_recv_with(flow->from, flow->buf, flow->room, 0, &length);
    *ended = flow->to_socket ? got == 0 : got >= 0 && length == IDC_END;
    return got;
}

/* 0, or -1 with errno. */
static int flow_read(struct flow *flow)
{
    ssize_t got = flow_take(flow, &flow->source_ended);
    if (got < 0)
        return would_block() ? 0 : -1;
    flow->len = flow->discard ? 0 : (size_t)got;
    flow->done = 0;
    if (!flow->to_socket)
        progress_received((size_t)got);
    return 0;
}

/* A pipe that polls writable takes PIPE_BUF bytes without blocking. */
static ssize_t write_some(const struct flow *flow, const char *bytes, size_t len)
{
    if (flow->to_socket)
        return idc_send(flow->to, bytes, len);
    return write(flow->to, bytes, len < PIPE_BUF ? len : PIPE_BUF);
}

static int flow_write(struct flow *flow)
{
    ssize_t wrote = write_some(flow, flow->buf + flow->done, flow->len - flow->done);
    if (wrote < 0)
        return would_block() ? 0 : -1;
    flow->done += (size_t)wrote;
    if (flow->to_socket)
        progress_sent((size_t)wrote);
    return 0;
}

static bool is_empty(const struct flow *flow)
{
    return flow->done == flow->len;
}

static void end_if_done(struct flow *flow)
{
    if (flow->ended || !flow->source_ended || !is_empty(flow))
        return;
    flow->ended = true;
    if (flow->to_socket)
        shutdown(flow->to, SHUT_WR);
    else if (!flow->keep_target)
        close(flow->to);
}

/* ---- the loop ---- */

static struct pollfd poll_of(const struct flow *flow)
{
    struct pollfd p = {.fd = -1};
    if (flow->ended)
        return p;
    p.fd = is_empty(flow) ? flow->from : flow->to;
    p.events = is_empty(flow) ? POLLIN : POLLOUT;
    return p;
}

static int cat_step(struct flow *flow, short revents)
{
    if (revents == 0 || flow->ended)
        return 0;
    int result = is_empty(flow) ? flow_read(flow) : flow_write(flow);
    end_if_done(flow);
    return result;
}

static const char *last_error(const struct flow *flow, bool reading)
{
    bool on_socket = flow->to_socket != reading;
    return on_socket ? idc_last_error() : strerror(errno);
}

static int fail_flow(const struct cat *cat, const struct flow *flow)
{
    bool reading = is_empty(flow);
    const char *what =
        flow->to_socket ? (reading ? "stdin" : "sending") : (reading ? "receiving" : "stdout");
    return failure(cat->command, "%s: %s", what, last_error(flow, reading));
}

/* Data that cannot be sent any more are lost, but we still receive what the other side has sent. A
 * stdin that can't be read has ended, also for the next connection. */
static int stop_sending(struct cat *cat)
{
    int status = fail_flow(cat, &cat->in);
    cat->in.ended = true;
    if (is_empty(&cat->in)) {
        cat->in.source_ended = cat->stdin_failed = true;
        shutdown(cat->fd, SHUT_WR);
    }
    return status;
}

/* A stdin that is open for writing only, as standard_begin opens it, may never poll readable. */
static int check_stdin(struct cat *cat)
{
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    if (cat->in.ended || (flags >= 0 && (flags & O_ACCMODE) != O_WRONLY))
        return 0;
    errno = EBADF;
    return stop_sending(cat);
}

/* The other side has closed while we only waited for stdin. Was that clean, or are sent data
 * perhaps lost? */
static int hung_up(const struct cat *cat, int status)
{
    char byte;
    if (idc_recv(cat->fd, &byte, 1) < 0 && !would_block())
        return fail_flow(cat, &cat->out);
    return status;
}

static bool stdin_has_more(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static bool is_over(const struct cat *cat)
{
    bool enough = cat->no_wait && is_empty(&cat->in) && !stdin_has_more();
    return cat->out.ended && (cat->in.ended || enough);
}

/* For poll; 0: no longer. */
static int cat_patience(struct cat *cat)
{
    double now = command_now_ms();
    bool soon = cat->send_only || (cat->stdin_failed && !cat->keep);
    if (!soon || !cat->in.ended)
        return -1;
    if (cat->linger_until == 0)
        cat->linger_until = now + LINGER_MS;
    if (now >= cat->linger_until)
        return 0;
    return LINGER_QUIET_MS;
}

/* The third descriptor shows when the other side closes while we only wait for stdin. */
static int cat_relay(struct cat *cat)
{
    int status = check_stdin(cat), patience;
    while (!is_over(cat) && (patience = cat_patience(cat)) != 0) {
        struct pollfd p[3] = {
            poll_of(&cat->in), poll_of(&cat->out), {.fd = cat->out.ended ? cat->fd : -1}};
        int ready = poll(p, 3, patience);
        if (ready < 0 && errno != EINTR)
            return failure(cat->command, "poll: %s", strerror(errno));
        if (ready == 0)
            break;
        if (cat_step(&cat->out, p[1].revents) < 0)
            return status != 0 ? status : fail_flow(cat, &cat->out);
        bool gone = p[2].revents & POLLHUP;
        if (gone && cat->keep && is_empty(&cat->in))
            return hung_up(cat, status); /* what stdin has now is for the next connection */
        if (cat_step(&cat->in, p[0].revents) < 0)
            status = stop_sending(cat);
        if (gone && is_empty(&cat->in))
            return hung_up(cat, status);
    }
    return status;
}

/* Prepares a connection, which may get the stdin of the connection before. */
static void relay_begin(struct cat *cat)
{
    fcntl(cat->fd, F_SETFL, fcntl(cat->fd, F_GETFL) | O_NONBLOCK);
    cat->in.to = cat->out.from = cat->fd;
    cat->in.ended = cat->in.source_ended || cat->recv_only;
    cat->in.done = cat->in.len =
        0; /* data that the connection before did not take were meant for that one */
    cat->out.ended = cat->out.source_ended = false;
    cat->out.done = cat->out.len = 0;
    cat->out.keep_target = cat->keep;
    cat->out.discard = cat->send_only;
    cat->linger_until = 0;
    if (cat->in.ended)
        shutdown(cat->fd, SHUT_WR);
}

/* Unread bytes would turn the close into a reset. */
static void relay_end(struct cat *cat)
{
    bool ended = false;
    while (cat->send_only && !ended && flow_take(&cat->out, &ended) >= 0)
        ;
    idc_disconnect(cat->fd);
}

static int relay_open(struct cat *cat)
{
    size_t room = cat->type == IDC_SEQPACKET ? IDC_MESSAGE_MAX : STREAM_BUFFER;
    int error = flow_init(&cat->in, STDIN_FILENO, -1, true, room);
    if (flow_init(&cat->out, -1, STDOUT_FILENO, false, room) == 0 && error == 0)
        return 0;
    return failure(cat->command, "out of memory");
}

static void relay_close(struct cat *cat)
{
    free(cat->in.buf);
    free(cat->out.buf);
}

static int run_relay(struct cat *cat)
{
    int status = relay_open(cat);
    if (status == 0) {
        relay_begin(cat);
        if (cat->progress)
            progress_begin();
        status = cat_relay(cat);
        progress_end();
        relay_end(cat);
    }
    relay_close(cat);
    return status;
}

/* ---- a process for each connection ---- */

static void exec_set(const char *name, uint32_t number)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    setenv(name, text, 1);
}

static void exec_child(const struct cat *cat, const struct idc_addr *peer)
{
    exec_set("IDC_PEER_DOMID", peer->domid);
    exec_set("IDC_PEER_PORT", peer->port);
    exec_set("IDC_PEER_UID", peer->uid);
    setenv("IDC_SERVICE", peer->service, 1);
    if (command_socket != NULL)
        setenv("IDC_SOCKET", command_socket, 1);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    if (dup2(cat->fd, STDIN_FILENO) >= 0 && dup2(cat->fd, STDOUT_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", cat->exec, (char *)NULL);
    _exit(failure(cat->command, "/bin/sh: %s", strerror(errno)));
}

/* The exit status of the process; with --keep it is not waited for. */
static int exec_start(const struct cat *cat, const struct idc_addr *peer)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        exec_child(cat, peer);
    close(cat->fd);
    if (pid < 0)
        return failure(cat->command, "cannot make a process: %s", strerror(errno));
    if (cat->keep)
        return 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* ---- listening ---- */

/* The next one, or -1: the listener is over. Why it can't be had for the moment is printed. */
static int serve_next(const struct cat *cat, int listener, struct idc_addr *peer)
{
    bool noted;
    int fd;
    do {
        fd = libidc_accept_marked(listener, peer, NULL, &noted);
        if (fd < 0 && noted)
            failure(cat->command, "cannot listen, and tries on: %s", idc_last_error());
    } while (fd < 0 && noted);
    return fd;
}

/* An error of one connection is printed; the next may succeed. */
static int serve_for_ever(struct cat *cat, int listener)
{
    struct idc_addr peer;
    int status = cat->exec != NULL ? 0 : relay_open(cat);
    signal(SIGCHLD, SIG_IGN); /* no zombies */
    while (status == 0 && (cat->fd = serve_next(cat, listener, &peer)) >= 0) {
        if (cat->exec != NULL) {
            exec_start(cat, &peer);
            continue;
        }
        relay_begin(cat);
        if (cat_relay(cat) != 0 && !is_empty(&cat->out))
            status = EXIT_FAILED; /* it was stdout */
        relay_end(cat);
    }
    relay_close(cat);
    return status != 0 ? status : failure(cat->command, "accepting: %s", idc_last_error());
}

static int run_listen(struct cat *cat)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_addr address;
    if (cat->keep)
        command_serves(cat->command);
    options.socket = command_socket;
    options.type = cat->type;
    options.keep = cat->keep;
    int listener = idc_listen_with(cat->port, cat->name, 16, &options);
    if (listener < 0)
        return failure(cat->command, "cannot listen: %s", idc_last_error());
    if (cat->port == 0 && cat->name == NULL && idc_getsockname(listener, &address) == 0)
        fprintf(stderr, "listening on port %u\n", address.port);
    if (cat->keep)
        return serve_for_ever(cat, listener);
    cat->fd = idc_accept(listener, &address);
    if (cat->fd < 0)
        return failure(cat->command, "accepting: %s", idc_last_error());
    close(listener);
    return cat->exec != NULL ? exec_start(cat, &address) : run_relay(cat);
}

/* ---- command line ---- */

/* Is it the one that we want to talk to? Nothing was sent or read yet. */
static int check_listener(const struct cat *cat)
{
    struct idc_addr peer;
    if (!cat->expects)
        return 0;
    if (idc_getpeername(cat->fd, &peer) < 0)
        return failure(cat->command, "%s", idc_last_error());
    if (peer.uid == cat->expected_uid)
        return 0;
    if (peer.uid == UINT32_MAX)
        return failure(cat->command, "the link_mgr of domain %u does not tell who listens there",
                       peer.domid);
    return failure(cat->command, "a program of uid %u listens there, not of uid %u", peer.uid,
                   cat->expected_uid);
}

static int run_connect(struct cat *cat, char **args, int count)
{
    struct target target = {.timeout_ms = (int)cat->timeout_ms};
    if (count > 2)
        return usage_error(cat->command, "unexpected argument \"%s\"", args[2]);
    if (count != 2)
        return usage_error(cat->command, "needs DOMAIN (its name or DOMID) and PORT or SERVICE");
    target.domain = args[0];
    if (!check_domain(cat->command, args[0]) || !parse_service(cat->command, args[1], &target))
        return EXIT_USAGE;
    cat->fd = connect_or_explain(cat->command, &target, cat->type);
    if (cat->fd < 0)
        return EXIT_FAILED;
    int status = check_listener(cat);
    if (status != 0)
        idc_disconnect(cat->fd);
    return status != 0 ? status : run_relay(cat);
}

/* Do the options go together? */
static bool check_choice(const struct cat *cat, int arguments)
{
    const char *wrong = NULL;
    if (!cat->listen &&
        (cat->port != 0 || cat->name != NULL || cat->once || cat->keep || cat->exec != NULL))
        wrong = "--port, --name, --once, --keep and --exec go with --listen";
    else if (cat->listen && (arguments > 0 || cat->timeout_ms != 0 || cat->expects))
        wrong = "--listen takes no DOMID, no --timeout and no --expect-uid";
    else if (cat->once && cat->keep)
        wrong = "--once and --keep contradict each other";
    else if (cat->recv_only && cat->send_only)
        wrong = "--recv-only and --send-only contradict each other";
    else if (cat->progress && (cat->keep || cat->exec != NULL))
        wrong = "--progress is for one connection, and takes no --keep and no --exec";
    else if (cat->exec != NULL && (cat->recv_only || cat->send_only || cat->no_wait))
        wrong = "--exec takes no --recv-only, --send-only and -N";
    if (wrong != NULL)
        usage_error(cat->command, "%s", wrong);
    return wrong == NULL && (cat->name == NULL || check_service(cat->command, cat->name));
}

/* True: the option was understood. */
static bool cat_option(struct cat *cat, int option)
{
    switch (option) {
    case 'q':
        cat->type = IDC_SEQPACKET;
        return true;
    case 'l':
        cat->listen = true;
        return true;
    case 'o':
        cat->once = true;
        return true;
    case 'k':
        cat->keep = true;
        return true;
    case 'd':
        cat->recv_only = true;
        return true;
    case 's':
        cat->send_only = true;
        return true;
    case 'N':
        cat->no_wait = true;
        return true;
    case 'P':
        cat->progress = true;
        return true;
    case 'c':
        cat->exec = optarg;
        return true;
    case 'n':
        cat->name = optarg;
        return true;
    default:
        return false;
    }
}

int run_cat(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"seqpacket", no_argument, NULL, 'q'},     {"listen", no_argument, NULL, 'l'},
        {"port", required_argument, NULL, 'p'},    {"name", required_argument, NULL, 'n'},
        {"once", no_argument, NULL, 'o'},          {"keep", no_argument, NULL, 'k'},
        {"recv-only", no_argument, NULL, 'd'},     {"send-only", no_argument, NULL, 's'},
        {"no-wait", no_argument, NULL, 'N'},       {"progress", no_argument, NULL, 'P'},
        {"exec", required_argument, NULL, 'c'},    {"expect-uid", required_argument, NULL, 'u'},
        {"timeout", required_argument, NULL, 't'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct cat cat = {.command = command, .type = IDC_STREAM};
    int option, status;
    while ((option = getopt_long(argc, argv, ":hlkdNc:", options, NULL)) != -1) {
        if (option == 'p' && !parse_number(optarg, 1, UINT32_MAX, &cat.port))
            return usage_error(command, "PORT must be 1 to %u, not \"%s\"", UINT32_MAX, optarg);
        if (option == 't' && !parse_time(optarg, 1, &cat.timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option == 'u' &&
            !(cat.expects = parse_number(optarg, 0, UINT32_MAX - 1, &cat.expected_uid)))
            return usage_error(command, "--expect-uid takes a number, not \"%s\"", optarg);
        if (!strchr("ptu", option) && !cat_option(&cat, option) &&
            !common_option(command, option, argv, &status))
            return status;
    }
    if (!check_choice(&cat, argc - optind))
        return EXIT_USAGE;
    return cat.listen ? run_listen(&cat) : run_connect(&cat, argv + optind, argc - optind);
}
