/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process.c - see process.h. */
#include "tests/xen/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_ROOM 65536u

struct process {
    struct process *next;
    uint32_t id;
    pid_t pid;        /* 0: has ended */
    int in, out, err; /* our ends of its pipes; -1: closed */
    struct buffer input;
    bool input_ended;
};

/* What FRAME_SPAWN asked for; the strings point into the frame. */
struct request {
    struct frame_spawn spawn;
    char **argv, **envp;
    const char *directory;
};

static struct process *processes;

static struct process *process_find(uint32_t id)
{
    for (struct process *process = processes; process; process = process->next)
        if (process->id == id)
            return process;
    return NULL;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Forgets the processes of which there is nothing more to tell. */
static void process_sweep(void)
{
    struct process **link = &processes;

    while (*link) {
        struct process *process = *link;

        if (process->pid || process->out >= 0 || process->err >= 0) {
            link = &process->next;
            continue;
        }
        *link = process->next;
        close_fd(&process->in);
        buffer_free(&process->input);
        free(process);
    }
}

static bool parse_strings(const uint8_t *bytes, size_t length, char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strnlen((const char *)bytes, length);

        if (size == length)
            return false;
        strings[i] = (char *)(uintptr_t)bytes;
        bytes += size + 1;
        length -= size + 1;
    }
    return true;
}

/* On success the caller frees request->argv, which holds all. */
static bool parse_request(const uint8_t *payload, size_t length, struct request *request)
{
    size_t argc, envc;
    char **strings;

    if (length < sizeof(request->spawn))
        return false;
    memcpy(&request->spawn, payload, sizeof(request->spawn));
    argc = request->spawn.argc;
    envc = request->spawn.envc;
    strings = calloc(argc + envc + 3, sizeof(char *));
    if (!strings || !argc ||
        !parse_strings(payload + sizeof(request->spawn), length - sizeof(request->spawn), strings,
                       argc + envc + 1)) {
        free(strings);
        return false;
    }
    request->directory = strings[argc + envc];
    memmove(strings + argc + 1, strings + argc, envc * sizeof(char *));
    strings[argc] = NULL;
    strings[argc + 1 + envc] = NULL;
    request->argv = strings;
    request->envp = strings + argc + 1;
    return true;
}

/* In the child. Tells what failed over report, which exec closes. */
static void run_child(const struct request *request, const int pipes[3], int report)
{
    sigset_t none;
    int error;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    for (int fd = 0; fd < 3; fd++)
        dup2(pipes[fd], fd);
    if (chdir(request->directory) == 0 && setgroups(0, NULL) == 0 &&
        setgid(request->spawn.gid) == 0 && setuid(request->spawn.uid) == 0)
        execvpe(request->argv[0], request->argv, request->envp);
    error = errno;
    if (write(report, &error, sizeof(error)) < 0)
        _exit(126);
    _exit(127);
}

/* Returns the pid, or a negative errno. mine: our ends of the pipes. */
static int process_start(const struct request *request, int mine[3])
{
    int theirs[3], report[2], pair[2], error = 0;
    pid_t pid;

    for (int i = 0; i < 3; i++) {
        if (pipe2(pair, O_CLOEXEC) < 0)
            return -errno;
        theirs[i] = pair[i == 0 ? 0 : 1];
        mine[i] = pair[i == 0 ? 1 : 0];
        fcntl(mine[i], F_SETFL, O_NONBLOCK);
    }
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        run_child(request, theirs, report[1]);
    close(report[1]);
    for (int i = 0; i < 3; i++)
        close(theirs[i]);
    if (pid > 0 && read(report[0], &error, sizeof(error)) == sizeof(error)) {
        waitpid(pid, NULL, 0);
        pid = -error;
    }
    close(report[0]);
    return pid;
}

void process_spawn(uint32_t id, const uint8_t *payload, size_t length)
{
    struct process *process = NULL;
    struct request request;
    int mine[3] = {-1, -1, -1};
    int32_t result = -EINVAL;

    if (parse_request(payload, length, &request)) {
        result = process_start(&request, mine);
        free(request.argv);
    }
    if (result > 0)
        process = calloc(1, sizeof(*process));
    agent_send(FRAME_STARTED, id, &result, sizeof(result));
    if (!process) {
        for (int i = 0; i < 3; i++)
            close_fd(&mine[i]);
        return;
    }
    process->id = id;
    process->pid = result;
    process->in = mine[0];
    process->out = mine[1];
    process->err = mine[2];
    process->next = processes;
    processes = process;
}

/* Gives the process what its pipe takes. One that no longer reads loses the rest, which counts as
 * taken. */
static void process_feed(struct process *process)
{
    uint32_t taken = 0;

    while (process->in >= 0 && buffer_used(&process->input)) {
        ssize_t n = write(process->in, process->input.bytes + process->input.start,
                          buffer_used(&process->input));

        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            close_fd(&process->in);
        else
            buffer_drop(&process->input, (size_t)n), taken += (uint32_t)n;
    }
    if (process->in < 0) {
        taken += (uint32_t)buffer_used(&process->input);
        buffer_free(&process->input);
    }
    if (process->input_ended && !buffer_used(&process->input))
        close_fd(&process->in);
    if (taken)
        agent_send(FRAME_STDIN_TAKEN, process->id, &taken, sizeof(taken));
}

void process_stdin(uint32_t id, const uint8_t *payload, size_t length)
{
    struct process *process = process_find(id);

    if (!process)
        return;
    if (length)
        buffer_append(&process->input, payload, length);
    else
        process->input_ended = true;
    process_feed(process);
}

void process_kill(uint32_t id, const uint8_t *payload, size_t length)
{
    struct process *process = process_find(id);
    int32_t words[2];

    if (!process || !process->pid || length != sizeof(words))
        return;
    memcpy(words, payload, sizeof(words));
    kill(words[1] ? -process->pid : process->pid, words[0]);
}

static bool environment_has(const char *pid, const uint8_t *mark, size_t length)
{
    static char text[65536];
    char path[300];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text)); /* of one that has ended: nothing */
    close_fd(&fd);
    return n > 0 && memmem(text, (size_t)n, mark, length);
}

void process_clear(uint32_t id, const uint8_t *mark, size_t length)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    int32_t found = 0;

    while (directory && (entry = readdir(directory))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid > 1 && environment_has(entry->d_name, mark, length)) {
            kill(pid, SIGKILL);
            found++;
        }
    }
    if (directory)
        closedir(directory);
    agent_send(FRAME_CLEARED, id, &found, sizeof(found));
}

/* Sends a piece of what the pipe holds. False: nothing more now. */
static bool process_drain(struct process *process, int *fd, uint16_t type)
{
    static uint8_t piece[FRAME_PAYLOAD_MAX];
    ssize_t n = *fd < 0 ? 0 : read(*fd, piece, sizeof(piece));

    if (*fd < 0 || (n < 0 && errno == EAGAIN))
        return false;
    if (n <= 0)
        close_fd(fd);
    agent_send(type, process->id, piece, n > 0 ? (size_t)n : 0);
    return n > 0;
}

/* As many pieces as a pipe can hold: a grandchild may go on writing for ever. */
static void drain_rest(struct process *process, int *fd, uint16_t type)
{
    for (size_t sent = 0; sent <= PIPE_ROOM && process_drain(process, fd, type);
         sent += FRAME_PAYLOAD_MAX)
        ;
}

int process_poll(struct pollfd *fds, int room, bool may_read)
{
    int count = 0;

    for (struct process *process = processes; process && count + 3 <= room;
         process = process->next) {
        if (process->in >= 0 && buffer_used(&process->input))
            fds[count++] = (struct pollfd){.fd = process->in, .events = POLLOUT};
        if (process->out >= 0 && may_read)
            fds[count++] = (struct pollfd){.fd = process->out, .events = POLLIN};
        if (process->err >= 0 && may_read)
            fds[count++] = (struct pollfd){.fd = process->err, .events = POLLIN};
    }
    return count;
}

static void one_ready(int fd)
{
    for (struct process *process = processes; process; process = process->next) {
        if (fd == process->in)
            process_feed(process);
        else if (fd == process->out)
            process_drain(process, &process->out, FRAME_STDOUT);
        else if (fd == process->err)
            process_drain(process, &process->err, FRAME_STDERR);
        else
            continue;
        return;
    }
}

void process_ready(const struct pollfd *fds, int count)
{
    for (int i = 0; i < count; i++)
        if (fds[i].revents)
            one_ready(fds[i].fd);
    process_sweep();
}

static void process_ended(pid_t pid, int status)
{
    for (struct process *process = processes; process; process = process->next) {
        int32_t word = status;

        if (process->pid != pid)
            continue;
        process->pid = 0;
        drain_rest(process, &process->out, FRAME_STDOUT);
        drain_rest(process, &process->err, FRAME_STDERR);
        agent_send(FRAME_EXIT, process->id, &word, sizeof(word));
        return;
    }
}

void process_reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        process_ended(pid, status);
    process_sweep();
}
