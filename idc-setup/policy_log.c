/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_log.c - see policy_log.h. */
#include "idc-setup/policy_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/shown.h"
#include "common/text_cut.h"
#include "idc-setup/fail.h"
#include "idc-setup/policy_diff.h"
#include "idc-setup/system_log.h"

#define POLICY_LOG_MAX 2048 /* bytes of a line */
#define POLICY_LOG_WAIT_MS 1000
#define LOGIN_UNKNOWN UINT32_MAX

static int log_wait_ms = POLICY_LOG_WAIT_MS;

static bool log_is_wanted(const struct setup_store *store)
{
    return store->ops != &setup_store_local;
}

/* UINT32_MAX: nobody has logged in, as for a service. */
static uint32_t log_login_uid(void)
{
    uint32_t uid;
    FILE *file = fopen("/proc/self/loginuid", "re");
    if (file == NULL)
        return LOGIN_UNKNOWN;
    if (fscanf(file, "%" SCNu32, &uid) != 1)
        uid = LOGIN_UNKNOWN;
    fclose(file);
    return uid;
}

static void log_who(char *out, size_t size)
{
    uint32_t uid = (uint32_t)getuid(), login = log_login_uid();
    if (login == LOGIN_UNKNOWN || login == uid)
        snprintf(out, size, "uid %" PRIu32, uid);
    else
        snprintf(out, size, "uid %" PRIu32 " (logged in as uid %" PRIu32 ")", uid, login);
}

static void log_write(const char *text)
{
    static bool told;
    char who[64], line[POLICY_LOG_MAX + sizeof(who) + 2];
    log_who(who, sizeof(who));
    snprintf(line, sizeof(line), "%s: %s", who, text);
    bool taken = system_log_put(LOG_AUTHPRIV | LOG_NOTICE, line, log_wait_ms);
    if (!taken && !told)
        setup_note("the system's log does not take what has changed");
    told = !taken;
}

void policy_log_wait_for_nobody(void)
{
    log_wait_ms = 0;
}

void policy_log(const struct setup_store *store, const char *format, ...)
{
    char text[POLICY_LOG_MAX];
    va_list arguments;
    if (!log_is_wanted(store))
        return;
    va_start(arguments, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments));
    va_end(arguments);
    shown_in_place(text, sizeof(text), SHOWN_UTF8);
    log_write(text);
}

static void log_lines(const struct setup_store *store, char *text)
{
    unsigned count = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (count++ < POLICY_LOG_LINES)
            policy_log(store, "%s", line);
    if (count > POLICY_LOG_LINES)
        policy_log(store, "%u more changes of rules", count - POLICY_LOG_LINES);
}

void policy_log_changes(const struct setup_store *store, const struct ruleset *before,
                        const struct ruleset *after)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = log_is_wanted(store) ? open_memstream(&text, &size) : NULL;
    if (memory == NULL)
        return;
    int lines = policy_diff(memory, before, after);
    if (fclose(memory) == 0 && lines >= 0)
        log_lines(store, text);
    else
        policy_log(store, "rules have changed");
    free(text);
}
