/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.c - idc capture: what passes on link_mgr's links, as a pcapng file (docs/capture.md).
 *
 * Theory of operation
 *
 * link_mgr gives a socket, from which records are read. They become blocks of the file, which are
 * written when no more records are there, or when there are many. So each write ends with a whole
 * block, and a reader behind a pipe sees a frame when it passes.
 *
 * The end. A signal shuts the sending side of the socket down, which ends the capture at link_mgr.
 * It then sends what it still has, and how much was lost. So the socket tells of a signal that came
 * before the wait, and none is missed. Once a second has passed CAPTURE_PATIENCE times without a
 * byte read or written, the command ends all the same. A second signal kills it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capture.h"
#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/pcap/pcapng.h"
#include "tools/pcap/vsockmon.h"

#define CALL_MS 5000
#define CAPTURE_PATIENCE 3
#define INPUT_SIZE (2 * CAPTURE_RECORD_MAX)
#define OUTPUT_MANY (256u * 1024) /* then it is written */
#define OUTPUT_SIZE (OUTPUT_MANY + CAPTURE_RECORD_MAX + 4096u)

#define COMMENT                                                                                  \
    "frames on the links of a link_mgr of IDC; connections within the domain have no link, and " \
    "are not here"

struct capture {
    const struct command *command;
    const char *domain, *path; /* NULL: all; stdout */
    uint32_t port, data, count;
    int fd, out;
    uint32_t own_domid;
    uint8_t *input;
    size_t input_length;
    struct pcapng output;
    off_t whole; /* bytes of the file that are whole blocks */
    uint64_t begin_ns, end_ns;
    uint64_t frames, dropped;   /* that are in the file, and that were lost */
    bool ended;                 /* there will be no more frames */
    char why[CAPTURE_TEXT_MAX]; /* ... as nobody had asked for; "": somebody had */
};

static volatile sig_atomic_t patience = CAPTURE_PATIENCE;
static int capture_fd; /* for the signals */

static void on_stop(int number)
{
    (void)number;
    shutdown(capture_fd, SHUT_WR);
    alarm(1);
}

static void on_second(int number)
{
    (void)number;
    if (patience > 0)
        patience--;
    alarm(1); /* as long as the command runs: this one may come just before it waits */
}

static void capture_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction stop = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND};
    const struct sigaction second = {.sa_handler = on_second};
    struct sigaction before;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &stop, NULL);
    sigaction(SIGALRM, &second, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit then fails */
}

/* ---- the file ---- */

/* A file that we have opened keeps its whole blocks only. */
static int capture_write_failed(struct capture *capture, int error)
{
    struct stat status;
    if (capture->path != NULL && fstat(capture->out, &status) == 0 && S_ISREG(status.st_mode) &&
        ftruncate(capture->out, capture->whole) < 0)
        failure(capture->command, "%s ends within a block", capture->path);
    if (error == ETIMEDOUT)
        return failure(capture->command, "nobody reads the output: the end of it is missing");
    return failure(capture->command, "cannot write %s: %s",
                   capture->path != NULL ? capture->path : "the output", strerror(error));
}

/* Writes what there is. 0, or EXIT_FAILED after a line on stderr. */
static int capture_flush(struct capture *capture)
{
    size_t at = 0;
    while (at < capture->output.length) {
        ssize_t n = write(capture->out, capture->output.bytes + at, capture->output.length - at);
        if (n < 0 && errno == EINTR && patience > 0)
            continue;
        if (n < 0)
            return capture_write_failed(capture, errno == EINTR ? ETIMEDOUT : errno);
        at += (size_t)n;
        patience = CAPTURE_PATIENCE;
    }
    capture->whole += (off_t)at;
    capture->output.length = 0;
    return 0;
}

static void capture_head(struct capture *capture)
{
    char program[64], interface[32];
    snprintf(program, sizeof(program), "idc capture %s", idc_version());
    snprintf(interface, sizeof(interface), "domain %" PRIu32, capture->own_domid);
    pcapng_put_head(&capture->output, &(struct pcapng_head){.program = program,
                                                            .comment = COMMENT,
                                                            .interface = interface,
                                                            .linktype = PCAPNG_LINKTYPE_VSOCK});
}

/* How the capture was, for people. */
static void capture_summary(const struct capture *capture, char *text, size_t size)
{
    snprintf(text, size, "%" PRIu64 " frames, %" PRIu64 " more were lost%s%s", capture->frames,
             capture->dropped, capture->why[0] ? "; " : "", capture->why);
}

static void capture_end(struct capture *capture)
{
    char text[CAPTURE_TEXT_MAX + 128];
    capture_summary(capture, text, sizeof(text));
    pcapng_put_end(&capture->output,
                   &(struct pcapng_end){.begin_ns = capture->begin_ns,
                                        .end_ns = capture->end_ns,
                                        .received = capture->frames + capture->dropped,
                                        .dropped = capture->dropped,
                                        .comment = text});
}

/* ---- records ---- */

static void capture_frame(struct capture *capture, const struct capture_record *record,
                          const char *text)
{
    uint8_t head[VSOCKMON_MAX];
    uint32_t length = vsockmon_header(record, capture->own_domid, head);
    pcapng_put_packet(&capture->output,
                      &(struct pcapng_packet){.time_ns = record->time_ns,
                                              .outgoing = record->outgoing,
                                              .head = head,
                                              .head_length = length,
                                              .data = (const uint8_t *)text + record->text_length,
                                              .data_length = record->captured,
                                              .length = length + record->length,
                                              .dropped = record->dropped - capture->dropped,
                                              .comment = text,
                                              .comment_length = record->text_length});
    capture->frames++;
    capture->dropped = record->dropped;
}

static bool capture_is_right(const struct capture_record *record)
{
    return record->size >= sizeof(*record) && record->size % 8 == 0 &&
           record->size <= CAPTURE_RECORD_MAX &&
           (uint64_t)sizeof(*record) + record->text_length + record->captured <= record->size &&
           record->text_length < CAPTURE_TEXT_MAX;
}

static void capture_record(struct capture *capture, const struct capture_record *record,
                           const char *text)
{
    capture->end_ns = record->time_ns;
    if (capture->ended)
        return; /* more than COUNT */
    if (record->kind == CAPTURE_FRAME) {
        capture_frame(capture, record, text);
        capture->ended = capture->count != 0 && capture->frames >= capture->count;
        if (capture->ended)
            shutdown(capture->fd, SHUT_WR);
    } else if (record->kind == CAPTURE_END) {
        capture->dropped = record->dropped;
        snprintf(capture->why, sizeof(capture->why), "%.*s", (int)record->text_length, text);
        capture->ended = true;
    }
}

/* Takes the records that are whole out of the input. 0, or EXIT_FAILED after a line on stderr. */
static int capture_take(struct capture *capture)
{
    struct capture_record record;
    size_t at = 0;
    int status = 0;
    while (status == 0 && capture->input_length - at >= sizeof(record)) {
        memcpy(&record, capture->input + at, sizeof(record));
        if (!capture_is_right(&record))
            return failure(capture->command, "link_mgr has sent something else than records");
        if (record.size > capture->input_length - at)
            break;
        capture_record(capture, &record, (const char *)capture->input + at + sizeof(record));
        at += record.size;
        if (capture->output.length >= OUTPUT_MANY)
            status = capture_flush(capture);
    }
    capture->input_length -= at;
    memmove(capture->input, capture->input + at, capture->input_length);
    return status;
}

/* Waits for records, or until whoever reads the output has gone, which no write may show for long.
 * As read, which follows: -1 with EINTR or EPIPE. */
static int capture_wait(const struct capture *capture)
{
    struct pollfd fds[] = {{.fd = capture->fd, .events = POLLIN}, {.fd = capture->out}};
    if (poll(fds, 2, -1) < 0)
        return -1;
    if (fds[0].revents == 0 && fds[1].revents != 0) {
        errno = EPIPE;
        return -1;
    }
    return 0;
}

static ssize_t capture_read(const struct capture *capture)
{
    if (capture_wait(capture) < 0)
        return -1;
    return read(capture->fd, capture->input + capture->input_length,
                INPUT_SIZE - capture->input_length);
}

/* Reads records, until link_mgr sends no more. 0, or EXIT_FAILED after a line on stderr. */
static int capture_loop(struct capture *capture)
{
    int status = capture_flush(capture);
    while (status == 0) {
        ssize_t n = capture_read(capture);
        if (n < 0 && errno == EINTR && patience > 0)
            continue;
        if (n < 0 && errno == EPIPE)
            return capture_write_failed(capture, EPIPE);
        if (n <= 0) {
            if (!capture->ended)
                snprintf(capture->why, sizeof(capture->why), "%s",
                         n < 0 && errno == EINTR ? "link_mgr did not say how many were lost"
                                                 : "link_mgr was lost");
            return 0;
        }
        patience = CAPTURE_PATIENCE;
        capture->input_length += (size_t)n;
        status = capture_take(capture);
        if (status == 0)
            status = capture_flush(capture);
    }
    return status;
}

/* ---- begin and end ---- */

/* Asks link_mgr. 0, or EXIT_FAILED after a line on stderr. */
static int capture_ask(struct capture *capture)
{
    struct compact_writer call;
    struct libidc_answer answer;
    compact_begin(&call, COMPACT_CALL, "idc.capture");
    compact_put_boolean(&call, "fd", true);
    if (capture->domain != NULL)
        compact_put_text(&call, "domain", capture->domain);
    compact_put_number(&call, "port", capture->port);
    compact_put_number(&call, "data", capture->data);
    capture->fd = -1;
    if (libidc_call(libidc_socket_path(command_socket), &call, CALL_MS, &answer, &capture->fd) < 0)
        return failure(capture->command, "%s", idc_last_error());
    if (libidc_answer_int(&answer, "version", 0) != CAPTURE_VERSION || capture->fd < 0)
        return failure(capture->command, "link_mgr is of another version");
    capture->own_domid = (uint32_t)libidc_answer_int(&answer, "domid", 0);
    return 0;
}

/* After link_mgr has said yes, so that a refusal leaves an older file as it is. What is in it is
 * for its owner only. */
static int capture_open(struct capture *capture)
{
    capture->out = STDOUT_FILENO;
    if (capture->path == NULL)
        return 0;
    capture->out = open(capture->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (capture->out < 0)
        return failure(capture->command, "cannot write %s: %s", capture->path, strerror(errno));
    return 0;
}

static int capture_close(struct capture *capture, int status)
{
    if (capture->path != NULL && close(capture->out) < 0 && status == 0)
        return failure(capture->command, "cannot write %s: %s", capture->path, strerror(errno));
    return status;
}

static int capture_finish(struct capture *capture)
{
    char text[CAPTURE_TEXT_MAX + 128];
    capture_end(capture);
    int status = capture_flush(capture);
    capture_summary(capture, text, sizeof(text));
    failure(capture->command, "%s", text);
    return capture->why[0] ? EXIT_FAILED : status;
}

static int capture_run(struct capture *capture)
{
    capture->input = malloc(INPUT_SIZE);
    capture->output = (struct pcapng){.bytes = malloc(OUTPUT_SIZE), .size = OUTPUT_SIZE};
    if (capture->input == NULL || capture->output.bytes == NULL)
        return failure(capture->command, "there is no memory");
    int status = capture_ask(capture);
    if (status == 0)
        status = capture_open(capture);
    if (status != 0)
        return status;
    capture_fd = capture->fd;
    capture_signals();
    failure(capture->command,
            "domain %" PRIu32 ": frames on links; connections within the domain "
            "have none",
            capture->own_domid);
    capture_head(capture);
    status = capture_loop(capture);
    if (status == 0)
        status = capture_finish(capture);
    return capture_close(capture, status);
}

/* --data, or --data=BYTES */
static bool capture_parse_data(const char *text, uint32_t *bytes)
{
    *bytes = CAPTURE_DATA_MAX;
    return text == NULL || parse_number(text, 0, UINT32_MAX, bytes);
}

/* False: the command is over, with *status. */
static bool capture_option(struct capture *capture, int option, char **argv, int *status)
{
    const struct command *command = capture->command;
    *status = EXIT_USAGE;
    switch (option) {
    case 'p':
        capture->domain = optarg;
        return check_domain(command, optarg);
    case 'P':
        if (parse_number(optarg, 1, UINT32_MAX, &capture->port))
            return true;
        usage_error(command, "PORT must be a number from 1 up, not \"%s\"", optarg);
        return false;
    case 'd':
        if (capture_parse_data(optarg, &capture->data))
            return true;
        usage_error(command, "BYTES must be a number, not \"%s\"", optarg);
        return false;
    case 'c':
        if (parse_number(optarg, 1, UINT32_MAX, &capture->count))
            return true;
        usage_error(command, "COUNT must be a number from 1 up, not \"%s\"", optarg);
        return false;
    case 'w':
        capture->path = strcmp(optarg, "-") == 0 ? NULL : optarg;
        return true;
    default:
        return common_option(command, option, argv, status);
    }
}

int run_capture(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"peer", required_argument, NULL, 'p'},  {"port", required_argument, NULL, 'P'},
        {"data", optional_argument, NULL, 'd'},  {"count", required_argument, NULL, 'c'},
        {"write", required_argument, NULL, 'w'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    struct capture capture = {.command = command};
    int option, status;
    while ((option = getopt_long(argc, argv, ":c:w:h", options, NULL)) != -1)
        if (!capture_option(&capture, option, argv, &status))
            return status;
    if (optind < argc)
        return usage_error(command, "too many arguments");
    if (capture.path == NULL && isatty(STDOUT_FILENO))
        return usage_error(command, "the output is no text: -w FILE, or a pipe, as in "
                                    "idc capture | tshark -i -");
    status = capture_run(&capture);
    free(capture.input);
    free(capture.output.bytes);
    return status;
}
