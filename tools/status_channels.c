/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/status_channels.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channels/channel_set.h"
#include "channels/report.h"
#include "common/json.h"
#include "common/shown.h"

#define REPORT_MAX (64u << 20)
#define WIDTH 80 /* of a terminal */
#define INDENT 4

/* A channel's line, taken apart. */
struct row {
    const char *text[CHANNEL_FIELDS];
};

/* ---- asking ---- */

static int report_connect_failed(const struct command *command, const char *path, int error)
{
    if (error == ENOENT || error == ECONNREFUSED)
        return failure(command, "no idc channels runs, for there is nobody at %s", path);
    if (error == EACCES)
        return failure(command, "%s: only root, and the user of idc channels, may ask it", path);
    return failure(command, "%s: %s", path, strerror(error));
}

static int report_connect(const struct command *command, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        failure(command, "the path of a socket has at most %zu bytes",
                sizeof(address.sun_path) - 1);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    report_connect_failed(command, path, errno);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Reads until the end, or until the time is over. NULL: *error says why. */
static char *report_read(int fd, double until_ms, int *error)
{
    size_t len = 0, size = 0;
    char *text = NULL;
    for (*error = 0; *error == 0;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = until_ms - command_now_ms();
        if (len + 1 >= size) {
            char *more = size < REPORT_MAX ? realloc(text, size = size * 2 + 65536) : NULL;
            *error = more == NULL ? ENOMEM : 0;
            text = more != NULL ? more : text;
            continue;
        }
        if (left <= 0 || poll(&p, 1, (int)left + 1) == 0) {
            *error = ETIMEDOUT;
            continue;
        }
        ssize_t got = recv(fd, text + len, size - len - 1, MSG_DONTWAIT);
        if (got == 0) {
            text[len] = '\0';
            return text;
        }
        len += got > 0 ? (size_t)got : 0;
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            *error = errno;
    }
    free(text);
    return NULL;
}

/* ---- taking the answer apart ---- */

static bool row_is_good(const struct row *row)
{
    for (int i = CHANNEL_FIELD_OPEN; i <= CHANNEL_FIELD_BYTES_TO; i++)
        if (row->text[i][0] == '\0' || row->text[i][strspn(row->text[i], "0123456789")] != '\0')
            return false;
    return true;
}

/* Writes an end behind each field. */
static bool row_read(char *line, struct row *row)
{
    for (int i = 0; i < CHANNEL_FIELDS; i++) {
        row->text[i] = strsep(&line, "\t");
        if (row->text[i] == NULL)
            return false;
    }
    return line == NULL && row_is_good(row);
}

/* *rows is the caller's, and is made of pieces of text. False: it is not whole. */
static bool rows_read(char *text, struct row **rows, size_t *count)
{
    char *line = strsep(&text, "\n"), end[32];
    struct row row;
    *count = 0;
    *rows = calloc(CHANNELS_MAX, sizeof(**rows));
    if (*rows == NULL || strcmp(line, REPORT_FIRST_LINE) != 0)
        return false;
    while ((line = strsep(&text, "\n")) != NULL) {
        snprintf(end, sizeof(end), "end %zu", *count);
        if (strcmp(line, end) == 0)
            return true;
        if (*count == CHANNELS_MAX || !row_read(line, &row))
            return false;
        (*rows)[(*count)++] = row;
    }
    return false;
}

/* ---- printing ---- */

static void print_json(const struct row *rows, size_t count)
{
    static const char *const keys[] = {
        [CHANNEL_FIELD_NAME] = "name",
        [CHANNEL_FIELD_FROM] = "from",
        [CHANNEL_FIELD_TO] = "to",
        [CHANNEL_FIELD_STATE] = "state",
        [CHANNEL_FIELD_OPEN] = "connections",
        [CHANNEL_FIELD_JOINED] = "total",
        [CHANNEL_FIELD_FAILED] = "failed",
        [CHANNEL_FIELD_BYTES_FROM] = "bytes_from",
        [CHANNEL_FIELD_BYTES_TO] = "bytes_to",
        [CHANNEL_FIELD_WHY] = "last_error",
    };
    printf("{\"channels\": [");
    for (size_t i = 0; i < count; i++) {
        printf("%s\n  {", i > 0 ? "," : "");
        for (int field = 0; field < CHANNEL_FIELDS; field++) {
            printf("%s\"%s\": ", field > 0 ? ", " : "", keys[field]);
            if (field >= CHANNEL_FIELD_OPEN && field <= CHANNEL_FIELD_BYTES_TO)
                printf("%s", rows[i].text[field]);
            else
                json_string(stdout, rows[i].text[field]);
        }
        printf("}");
    }
    printf("%s]}\n", count > 0 ? "\n" : "");
}

/* Where a line of at most `room` bytes ends: at a blank, if there is one in its second half. */
static size_t line_length(const char *text, size_t room)
{
    size_t len = strlen(text), at = room;
    if (len <= room)
        return len;
    while (at > room / 2 && text[at] != ' ')
        at--;
    return text[at] == ' ' ? at : room;
}

/* Below a row, in as many lines as it takes. */
static void print_below(const char *text)
{
    while (*text != '\0') {
        size_t len = line_length(text, WIDTH - INDENT);
        printf("%*s%.*s\n", INDENT, "", (int)len, text);
        text += len + strspn(text + len, " ");
    }
}

#define ROW "%-26s %-16s %9s %10s %10s\n"

static void print_row(const struct row *row)
{
    char state[32], from[32], to[32], text[2 * END_TEXT_MAX + CHANNEL_WHY_MAX];
    const char *name = row->text[CHANNEL_FIELD_NAME], *word = row->text[CHANNEL_FIELD_STATE];
    const char *why = row->text[CHANNEL_FIELD_WHY];
    bool connected = strcmp(word, "connected") == 0;
    snprintf(state, sizeof(state), "%.20s%s%.7s", word, connected ? " " : "",
             connected ? row->text[CHANNEL_FIELD_OPEN] : "");
    format_bytes(strtoll(row->text[CHANNEL_FIELD_BYTES_FROM], NULL, 10), from, sizeof(from));
    format_bytes(strtoll(row->text[CHANNEL_FIELD_BYTES_TO], NULL, 10), to, sizeof(to));
    if (strlen(name) > 26)
        printf("%s\n", name);
    printf(ROW, strlen(name) > 26 ? "" : name, state, row->text[CHANNEL_FIELD_JOINED], from, to);
    snprintf(text, sizeof(text), "%s -> %s", row->text[CHANNEL_FIELD_FROM],
             row->text[CHANNEL_FIELD_TO]);
    shown_in_place(text, sizeof(text), SHOWN_UTF8);
    print_below(text);
    snprintf(text, sizeof(text), "%s: %s", strcmp(word, "failing") == 0 ? word : "latest failure",
             why);
    shown_in_place(text, sizeof(text), SHOWN_UTF8);
    if (why[0] != '\0')
        print_below(text);
}

static void print_table(const struct row *rows, size_t count)
{
    if (count == 0)
        printf("no channels\n");
    else
        printf(ROW, "CHANNEL", "STATE", "TOTAL", "FROM", "TO");
    for (size_t i = 0; i < count; i++)
        print_row(&rows[i]);
}

/* ---- the command ---- */

static int show_answer(const struct command *command, char *text, bool json)
{
    struct row *rows = NULL;
    size_t count;
    bool whole = rows_read(text, &rows, &count);
    if (whole)
        (json ? print_json : print_table)(rows, count);
    free(rows);
    return whole ? 0 : failure(command, "the answer of idc channels is not whole");
}

int status_channels(const struct command *command, const char *path, bool json, uint32_t timeout_ms)
{
    char usual[REPORT_PATH_MAX];
    double until_ms = command_now_ms() + timeout_ms;
    int error;
    if (path == NULL) {
        report_default_path(true, usual);
        path = usual;
    }
    int fd = report_connect(command, path);
    if (fd < 0)
        return EXIT_FAILED;
    char *text = report_read(fd, until_ms, &error);
    close(fd);
    if (text == NULL)
        return failure(command, "%s: %s", path,
                       error == ETIMEDOUT ? "idc channels does not answer" : strerror(error));
    int status = show_answer(command, text, json);
    free(text);
    return status;
}
