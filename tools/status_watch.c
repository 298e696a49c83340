/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status_watch.c - see status_watch.h.
 *
 * A link_mgr that does not answer is no end: it may be just starting again. Another pid tells that
 * it was. That stays in the first line, since somebody may look only now and then.
 */
#include "tools/status_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/shown.h"
#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/measure/ask.h"
#include "tools/screen.h"
#include "tools/status_table.h"

struct watching {
    int64_t pid;       /* of link_mgr when it answered last; 0: it never did */
    char restarted[9]; /* when another one answered, or "" */
};

static void time_of_day(char text[9])
{
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(text, 9, "%H:%M:%S", &parts);
}

static void note_pid(struct watching *watching, int64_t pid)
{
    if (watching->pid != 0 && watching->pid != pid)
        time_of_day(watching->restarted);
    watching->pid = pid;
}

static void print_frame(FILE *out, struct watching *watching, xmlrpc_value *status,
                        bool connections)
{
    char now[9];
    time_of_day(now);
    if (status != NULL)
        note_pid(watching, ask_int(status, "pid", 0));
    fprintf(out, "%s", now);
    if (watching->restarted[0] != '\0')
        fprintf(out, "  link_mgr was restarted before %s", watching->restarted);
    fputc('\n', out);
    if (status != NULL) {
        status_table(out, screen_width(), status, connections);
    } else {
        shown_print(out, idc_last_error());
        fprintf(out, "\nasking again\n");
    }
    if (!screen_is_terminal())
        fputc('\n', out);
}

/* False: nothing can be shown any more. */
static bool watch_once(struct watching *watching, uint32_t timeout_ms, bool connections)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return false;
    xmlrpc_value *status =
        ask_status(libidc_socket_path(command_socket), connections, (int)timeout_ms);
    print_frame(out, watching, status, connections);
    if (status != NULL)
        xmlrpc_DECREF(status);
    bool good = fclose(out) == 0 && screen_show(text);
    free(text);
    return good;
}

int status_watch(uint32_t interval_ms, uint32_t timeout_ms, bool connections)
{
    struct watching watching = {.pid = 0};
    int key = SCREEN_TIME;
    screen_begin();
    while (key != 'q' && watch_once(&watching, timeout_ms, connections))
        key = screen_wait((int)interval_ms);
    screen_end();
    return 0;
}
