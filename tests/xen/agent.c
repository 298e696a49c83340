/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent.c - process 1 of dom0 and of each guest in the test harness: runs programs for the host.
 *
 *     agent dom0 /dev/vport0p1      speaks with the host, and passes frames on to and from the
 *                                   guests
 *     agent guest /dev/hvc0         speaks with dom0's agent
 *
 * Theory of operation
 *
 * It is one loop over poll: the line to the host, the programs' pipes (process.h), the guests'
 * consoles (consoles.h), SIGCHLD, and the kernel's log. The log is sent as frames, because the
 * kernel itself is kept quiet on the console. Nothing in it waits. It keeps what can't be written
 * yet, and doesn't read programs' output while much of it is waiting. dom0's agent powers the
 * machine off when the host has gone. SIGUSR1 makes it log how the consoles are.
 */
#include "tests/xen/consoles.h"
#include "tests/xen/frame.h"
#include "tests/xen/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define POLL_MAX 1024
/* programs' output is left in their pipes while more than this waits */
#define OUT_ENOUGH (128u * 1024)

static struct {
    bool dom0;
    int fd, kmsg, signals;
    struct buffer in, out;
    uint32_t seq_out; /* of the frames that this agent made */
    uint32_t seq_in;  /* of the latest frame for this agent */
} line;

static void line_flush(void)
{
    while (buffer_used(&line.out)) {
        ssize_t n = write(line.fd, line.out.bytes + line.out.start, buffer_used(&line.out));

        if (n <= 0)
            return;
        buffer_drop(&line.out, (size_t)n);
    }
}

static void send_frame(uint16_t target, uint16_t type, uint32_t id, const void *payload,
                       size_t length)
{
    frame_append(&line.out, target, type, id, ++line.seq_out, payload, length);
    line_flush();
}

void agent_send(uint16_t type, uint32_t id, const void *payload, size_t length)
{
    send_frame(0, type, id, payload, length);
}

void agent_tell(uint16_t target, uint16_t type, const void *payload, size_t length)
{
    send_frame(target, type, 0, payload, length);
}

void agent_forward(uint16_t target, const struct frame_header *header, const uint8_t *payload)
{
    frame_append(&line.out, target, header->type, header->id, header->seq, payload, header->length);
    line_flush();
}

static void agent_hello(void)
{
    char pid[16];

    send_frame(0, FRAME_HELLO, 0, pid, (size_t)snprintf(pid, sizeof(pid), "%d", (int)getpid()));
}

static void agent_complain(const char *what)
{
    send_frame(0, FRAME_LOG, 0, what, strlen(what));
}

static void agent_handle(const struct frame_header *header, const uint8_t *payload)
{
    if (header->target) {
        consoles_send(header, payload);
        return;
    }
    if (header->seq != line.seq_in + 1 && line.seq_in)
        agent_complain(header->seq > line.seq_in ? "agent: frames from the host were lost"
                                                 : "agent: a frame was repeated");
    line.seq_in = header->seq;
    if (header->type == FRAME_SPAWN)
        process_spawn(header->id, payload, header->length);
    else if (header->type == FRAME_STDIN)
        process_stdin(header->id, payload, header->length);
    else if (header->type == FRAME_KILL)
        process_kill(header->id, payload, header->length);
    else if (header->type == FRAME_CLEAR)
        process_clear(header->id, payload, header->length);
    else if (header->type == FRAME_PING)
        agent_hello();
}

static void line_parse(void)
{
    struct frame_header header;
    const uint8_t *payload;
    size_t text;

    while (frame_next(&line.in, &text, &header, &payload)) {
        if (text) {
            buffer_drop(&line.in, text);
        } else {
            agent_handle(&header, payload);
            buffer_drop(&line.in, sizeof(header) + header.length);
        }
    }
}

/* False: the host has gone. */
static bool line_read(void)
{
    uint8_t piece[4096];
    ssize_t n = read(line.fd, piece, sizeof(piece));

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return !line.dom0;
    if (n > 0)
        buffer_append(&line.in, piece, (size_t)n);
    line_parse();
    return true;
}

static void log_read(void)
{
    char piece[8192];
    ssize_t n = read(line.kmsg, piece, sizeof(piece));

    if (n > 0)
        send_frame(0, FRAME_LOG, 0, piece, (size_t)n);
}

static void signals_read(void)
{
    struct signalfd_siginfo info;

    while (read(line.signals, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo == SIGUSR1)
            consoles_tell();
    process_reap();
}

/* One turn of the loop. */
static bool agent_turn(void)
{
    static struct pollfd fds[POLL_MAX];
    bool may_read = buffer_used(&line.out) < OUT_ENOUGH;
    int consoles = 3, processes;

    fds[0] = (struct pollfd){.fd = line.fd, .events = POLLIN};
    if (buffer_used(&line.out))
        fds[0].events |= POLLOUT;
    fds[1] = (struct pollfd){.fd = line.signals, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = may_read ? line.kmsg : -1, .events = POLLIN};
    if (line.dom0)
        consoles += consoles_poll(fds + consoles, POLL_MAX - consoles);
    processes = consoles + process_poll(fds + consoles, POLL_MAX - consoles, may_read);
    if (poll(fds, (nfds_t)processes, -1) < 0)
        return errno == EINTR;

    if (fds[0].revents & POLLOUT)
        line_flush();
    process_ready(fds + consoles, processes - consoles);
    if (line.dom0)
        consoles_ready(fds + 3, consoles - 3);
    if (fds[1].revents)
        signals_read();
    if (fds[2].revents)
        log_read();
    return !(fds[0].revents & ~POLLOUT) || line_read();
}

static bool line_open(const char *path)
{
    struct termios raw;

    line.fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (line.fd < 0)
        return false;
    if (tcgetattr(line.fd, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(line.fd, TCSANOW, &raw);
    }
    return true;
}

int main(int argc, char **argv)
{
    sigset_t taken;

    if (argc != 3 || !line_open(argv[2])) {
        fprintf(stderr, "usage: agent dom0|guest DEVICE (%s)\n", strerror(errno));
        return 1;
    }
    line.dom0 = strcmp(argv[1], "dom0") == 0;
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    sigaddset(&taken, SIGUSR1);
    sigprocmask(SIG_BLOCK, &taken, NULL);
    signal(SIGPIPE, SIG_IGN);
    line.signals = signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC);
    line.kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    agent_hello();
    if (!line.dom0 || consoles_open()) {
        while (agent_turn())
            ;
    }
    line_flush();
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
