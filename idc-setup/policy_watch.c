/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_watch.c - the service: rules follow domains that come, go and are renamed, and files that
 * change.
 *
 * It sleeps in one poll, without a time limit, on what the store and inotify tell. One start of a
 * domain is told in several pieces, and making the rules of all domains is what costs. So it waits
 * a moment for the other pieces, and makes the rules once for what came until then. A file that is
 * wrong is told of once, and what was applied before stays in force, also for domains that come
 * later. So it does when the watch is started again meanwhile, since what was applied is kept on
 * disk (policy_state.h).
 *
 * It waits for nobody but the store: what it prints, what it tells the system's log and what it
 * tells systemd is lost if they don't take it (common/line_out.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/line_out.h"
#include "common/notify.h"
#include "common/shown.h"
#include "idc-setup/fail.h"
#include "idc-setup/policy_change.h"
#include "idc-setup/policy_log.h"

struct watching {
    const struct policy_source *source;
    struct policy_state state;
    int files;                /* inotify's descriptor */
    struct policy_texts seen; /* the files as they were last read, right or wrong */
    bool has_seen;
    unsigned long long made; /* so often the rules were made */
    bool busy;               /* the last publishing failed */
    bool again;              /* the files are right, and could not be put in force */
};

/* ---- who started it ---- */

static void watch_tell(const char *words)
{
    int error = notify_send(words);
    if (error < 0)
        fprintf(stderr, "idc-setup: cannot write to NOTIFY_SOCKET: %s\n", strerror(-error));
}

/* systemctl status shows it. */
static void watch_tell_made(const struct watching *watching, const struct policy_rules *rules)
{
    char words[160];
    snprintf(words, sizeof(words), "STATUS=%zu domains, %zu rules; the rules were made %llu times",
             rules->world.domain_count, rules->ruleset->rule_count, watching->made);
    watch_tell(words);
}

/* ---- files ---- */

#define WATCH_FILES                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | \
     IN_DELETE_SELF | IN_MOVE_SELF)

/* Watches the directory, or what is there of the way to it. Again and again: a directory may be
 * another one now, and one that is watched already is not watched twice. */
static int watch_directory(const struct watching *watching, const char *directory)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", directory);
    while (inotify_add_watch(watching->files, path, WATCH_FILES) < 0) {
        char *slash = strrchr(path, '/');
        if ((errno != ENOENT && errno != ENOTDIR) || slash == NULL || path[1] == '\0')
            return policy_fail(SETUP_STATUS_FAILED, "cannot watch %s: %s", path, strerror(errno));
        slash[slash == path ? 1 : 0] = '\0';
    }
    return 0;
}

static int watch_directories(const struct watching *watching)
{
    char path[PATH_MAX];
    const char *directory = watching->source->directory;
    int status = watch_directory(watching, directory);
    if (status == 0 && snprintf(path, sizeof(path), "%s/policy.d", directory) < PATH_MAX)
        status = watch_directory(watching, path);
    return status;
}

/* A file that is only begun is of no interest before it is closed. */
static bool watch_files_changed(const struct watching *watching)
{
    char buffer[8192] __attribute__((aligned(8)));
    bool changed = false;
    for (ssize_t got; (got = read(watching->files, buffer, sizeof(buffer))) > 0;)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            bool begun = (event->mask & IN_CREATE) != 0 && (event->mask & IN_ISDIR) == 0;
            bool hidden = event->len > 0 && event->name[0] == '.';
            changed = changed || (!begun && !hidden);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    return changed;
}

/* ---- putting in force ---- */

/* texts: of files; NULL: as they were applied. */
static int watch_publish(struct watching *watching, const struct policy_texts *texts)
{
    struct policy_rules rules;
    struct publish_result result;
    int status = policy_state_lock(&watching->state);
    if (status == 0)
        status = policy_state_read(&watching->state);
    const struct policy_change change = {.state = &watching->state, .texts = texts};
    struct ruleset *former = status == 0 && texts != NULL ? policy_former(&watching->state) : NULL;
    if (status == 0)
        status = policy_change_make(&change, &rules, &result);
    policy_state_unlock(&watching->state);
    if (status != 0) {
        ruleset_free(former);
        return status;
    }
    if (texts != NULL)
        printf("applied: %zu files, %zu rules\n", texts->count,
               rules.ruleset->rule_count - rules.commands);
    if (result.written + result.removed > 0)
        printf("%zu of %zu domains have got other rules\n", result.written + result.removed,
               rules.world.domain_count);
    if (texts != NULL) {
        policy_log(watching->state.store, "policy files were applied: %zu rules",
                   rules.ruleset->rule_count - rules.commands);
        policy_log_changes(watching->state.store, former, rules.ruleset);
    }
    watching->made++;
    watch_tell_made(watching, &rules);
    ruleset_free(former);
    policy_rules_free(&rules);
    return 0;
}

/* Reads the files; if they are others than before, they are put in force. */
static void watch_apply(struct watching *watching)
{
    struct policy_texts texts;
    bool read = policy_files_read(watching->source, &texts) == 0;
    if (read && watching->has_seen && policy_texts_equal(&texts, &watching->seen)) {
        policy_texts_free(&texts);
        return;
    }
    policy_texts_free(&watching->seen);
    watching->seen = texts;
    int status = read ? watch_publish(watching, &texts) : POLICY_STATUS_WRONG;
    watching->again = status == SETUP_STATUS_FAILED;
    watching->has_seen = read && !watching->again;
    if (status != 0)
        fputs("idc-setup: the policy files are not put in force; what was in force before stays\n",
              stderr);
}

/* A failure that may pass, such as a full disk, is tried again, but not at once. */
#define WATCH_AGAIN_MS 5000

/* What has happened: which of the two, or that the store is lost. */
struct watch_news {
    bool files, domains;
};

/* Takes what there is. Exit status. */
static int watch_take(const struct watching *watching, struct watch_news *news)
{
    struct setup_store *store = watching->state.store;
    int domains = store->ops->watched(store);
    if (domains < 0)
        return policy_fail(SETUP_STATUS_FAILED, "the store is lost: %s", strerror(-domains));
    news->domains = news->domains || domains > 0;
    news->files = watch_files_changed(watching) || news->files;
    return 0;
}

/* A domain's start is told in several pieces, at once or nearly so. */
#define WATCH_GATHER_MS 20

/* What comes within a moment after the first news is one with it. */
static int watch_gather(const struct watching *watching, struct watch_news *news)
{
    int status = watch_take(watching, news);
    if (status != 0 || (!news->files && !news->domains))
        return status;
    poll(NULL, 0, WATCH_GATHER_MS);
    return watch_take(watching, news);
}

static int watch_follow(struct watching *watching, const struct watch_news *news)
{
    if (news->files || watching->again) {
        int status = watch_directories(watching);
        if (status != 0)
            return status;
        watch_apply(watching);
    }
    if (news->domains || watching->busy)
        watching->busy = watch_publish(watching, NULL) != 0;
    return 0;
}

static int watch_wait(struct watching *watching, int store)
{
    struct pollfd fds[] = {{.fd = store, .events = POLLIN},
                           {.fd = watching->files, .events = POLLIN}};
    struct watch_news news = {0};
    fflush(stdout);
    bool again = watching->busy || watching->again || !line_out_tell();
    if (poll(fds, 2, again ? WATCH_AGAIN_MS : -1) < 0)
        return errno == EINTR ? 0 : policy_fail(SETUP_STATUS_FAILED, "poll: %s", strerror(errno));
    int status = watch_gather(watching, &news);
    return status != 0 ? status : watch_follow(watching, &news);
}

static int watch_run(struct watching *watching)
{
    int store = watching->state.store->ops->watch(watching->state.store);
    if (store < 0)
        return policy_fail(SETUP_STATUS_FAILED, "cannot watch the store: %s", strerror(-store));
    watching->files = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watching->files < 0)
        return policy_fail(SETUP_STATUS_FAILED, "inotify: %s", strerror(errno));
    int status = watch_directories(watching);
    if (status != 0)
        return status;
    watch_apply(watching);
    watching->busy = watch_publish(watching, NULL) != 0;
    shown_printf(stdout, "watching %s", watching->source->directory);
    putchar('\n');
    watch_tell("READY=1");
    while (status == 0)
        status = watch_wait(watching, store);
    return status;
}

int policy_watch(struct policy_options *options, char **arguments)
{
    struct watching watching = {.source = &options->source, .files = -1};
    (void)arguments;
    line_out_take(&stdout, "idc-setup watch");
    line_out_take(&stderr, "idc-setup watch");
    policy_log_wait_for_nobody();
    options->source.in_force = true;
    int status = setup_platform_choose(&options->platform);
    if (status == 0)
        status = policy_state_open(&watching.state, &options->platform, true);
    if (status != 0)
        return status;
    status = watch_run(&watching);
    if (watching.files >= 0)
        close(watching.files);
    policy_texts_free(&watching.seen);
    policy_state_close(&watching.state);
    return status;
}
