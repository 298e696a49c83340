/* SPDX-License-Identifier: GPL-2.0-or-later */
/* publish.c - see publish.h. */
#include "idc-setup/publish.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compile.h"

#define PUBLISH_TRIES 100
#define PUBLISH_PARTS_MAX ((COMPILE_TEXT_MAX + COMPILE_PART_MAX - 1) / COMPILE_PART_MAX)
#define PUBLISH_GENERATION_MAX (UINT64_MAX / 2)

enum publish_what { PUBLISH_NOTHING, PUBLISH_WRITE, PUBLISH_REMOVE, PUBLISH_GONE };

struct publish_job {
    const struct publish_text *text;
    enum publish_what what;
    bool has_now;       /* `now` could be read */
    uint64_t now, next; /* generations */
    size_t parts;       /* of the generation that is in force */
    uint64_t highest;   /* of all generations, also of those that nobody needs any more */
    bool leftover;      /* there are such */
    bool begun, switched;
};

struct publishing {
    struct setup_store *store;
    struct publish_job *jobs;
    size_t count;
    int domid; /* at which it failed */
};

static void publish_path_now(int domid, char path[SETUP_NODE_MAX])
{
    snprintf(path, SETUP_NODE_MAX, "/local/domain/%d/idc/policy/rules/now", domid);
}

static void publish_path_generation(int domid, uint64_t generation, char path[SETUP_NODE_MAX])
{
    snprintf(path, SETUP_NODE_MAX, "/local/domain/%d/idc/policy/rules/%" PRIu64, domid, generation);
}

static void publish_path_part(int domid, uint64_t generation, size_t part,
                              char path[SETUP_NODE_MAX])
{
    snprintf(path, SETUP_NODE_MAX, "/local/domain/%d/idc/policy/rules/%" PRIu64 "/%zu", domid,
             generation, part);
}

static size_t publish_part_count(size_t length)
{
    return (length + COMPILE_PART_MAX - 1) / COMPILE_PART_MAX;
}

static size_t publish_part_length(size_t length, size_t part)
{
    size_t rest = length - part * COMPILE_PART_MAX;
    return rest < COMPILE_PART_MAX ? rest : COMPILE_PART_MAX;
}

/* ---- what is there ---- */

/* A decimal number without zeros before it. */
static bool publish_number(const char *text, size_t length, uint64_t *number)
{
    *number = 0;
    if (length == 0 || length > 19 || (text[0] == '0' && length > 1))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(text[i] - '0');
    }
    return *number <= PUBLISH_GENERATION_MAX;
}

/* -ENOENT, -EBADMSG. */
static int publish_read_now(struct setup_store *store, int domid, uint64_t *generation,
                            size_t *parts)
{
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
    uint64_t number;
    publish_path_now(domid, path);
    int length = store->ops->get(store, path, value);
    if (length < 0)
        return length;
    const char *blank = strchr(value, ' ');
    if (blank == NULL || !publish_number(value, (size_t)(blank - value), generation) ||
        !publish_number(blank + 1, strlen(blank + 1), &number) || number > PUBLISH_PARTS_MAX)
        return -EBADMSG;
    *parts = (size_t)number;
    return 0;
}

static bool publish_is_same(struct setup_store *store, const struct publish_job *job)
{
    const struct publish_text *text = job->text;
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
    if (!job->has_now || job->parts != publish_part_count(text->length))
        return false;
    for (size_t i = 0; i < job->parts; i++) {
        size_t expected = publish_part_length(text->length, i);
        publish_path_part(text->domid, job->now, i, path);
        int length = store->ops->get(store, path, value);
        if (length < 0 || (size_t)length != expected ||
            memcmp(value, text->text + i * COMPILE_PART_MAX, expected) != 0)
            return false;
    }
    return true;
}

static int publish_see_generation(void *arg, const char *name)
{
    struct publish_job *job = arg;
    uint64_t generation;
    if (!publish_number(name, strlen(name), &generation))
        return 0;
    job->highest = generation > job->highest ? generation : job->highest;
    job->leftover = job->leftover || !job->has_now || generation != job->now;
    return 0;
}

static int publish_look(struct setup_store *store, struct publish_job *job)
{
    char path[SETUP_NODE_MAX];
    const struct publish_text *text = job->text;
    *job = (struct publish_job){.text = text};
    int result = publish_read_now(store, text->domid, &job->now, &job->parts);
    if (result != 0 && result != -ENOENT && result != -EBADMSG)
        return result;
    bool there = result != -ENOENT;
    job->has_now = result == 0;
    job->highest = job->has_now ? job->now : 0;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules", text->domid);
    result = store->ops->below(store, path, publish_see_generation, job);
    job->next = job->highest + 1;
    if (text->text == NULL)
        job->what = there ? PUBLISH_REMOVE : PUBLISH_NOTHING;
    else if (!publish_is_same(store, job))
        job->what = PUBLISH_WRITE;
    return result;
}

int publish_read(struct setup_store *store, int domid, char **text, size_t *length)
{
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
    uint64_t generation;
    size_t parts;
    int result = publish_read_now(store, domid, &generation, &parts);
    if (result != 0)
        return result;
    *length = 0;
    *text = malloc(parts * SETUP_VALUE_MAX + 1);
    if (*text == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < parts; i++) {
        publish_path_part(domid, generation, i, path);
        int got = store->ops->get(store, path, value);
        if (got < 0) {
            free(*text);
            *text = NULL;
            return -EBADMSG;
        }
        memcpy(*text + *length, value, (size_t)got);
        *length += (size_t)got;
    }
    (*text)[*length] = '\0';
    return 0;
}

/* ---- the steps for one domain ---- */

static int publish_write_parts(struct setup_store *store, struct publish_job *job)
{
    const struct publish_text *text = job->text;
    char path[SETUP_NODE_MAX], value[COMPILE_PART_MAX + 1];
    int result = 0;
    if (job->what != PUBLISH_WRITE)
        return 0;
    job->begun = true;
    for (size_t i = 0; result == 0 && i < publish_part_count(text->length); i++) {
        size_t length = publish_part_length(text->length, i);
        memcpy(value, text->text + i * COMPILE_PART_MAX, length);
        value[length] = '\0';
        publish_path_part(text->domid, job->next, i, path);
        result = store->ops->put(store, text->domid, path, value);
    }
    if (result != -ESRCH)
        return result;
    job->what = PUBLISH_GONE;
    return 0;
}

static int publish_put_now(struct setup_store *store, int domid, uint64_t generation, size_t parts)
{
    char path[SETUP_NODE_MAX], value[64];
    publish_path_now(domid, path);
    snprintf(value, sizeof(value), "%" PRIu64 " %zu", generation, parts);
    return store->ops->put(store, domid, path, value);
}

static int publish_drop_now(struct setup_store *store, int domid)
{
    char path[SETUP_NODE_MAX];
    publish_path_now(domid, path);
    return store->ops->drop(store, path);
}

static int publish_switch(struct setup_store *store, struct publish_job *job)
{
    int result = 0;
    if (job->what == PUBLISH_WRITE)
        result = publish_put_now(store, job->text->domid, job->next,
                                 publish_part_count(job->text->length));
    else if (job->what == PUBLISH_REMOVE)
        result = publish_drop_now(store, job->text->domid);
    if (result == -ESRCH) {
        job->what = PUBLISH_GONE;
        result = 0;
    }
    job->switched = result == 0 && job->what != PUBLISH_NOTHING && job->what != PUBLISH_GONE;
    return result;
}

static int publish_drop_generation(struct setup_store *store, int domid, uint64_t generation)
{
    char path[SETUP_NODE_MAX];
    publish_path_generation(domid, generation, path);
    return store->ops->drop(store, path);
}

/* The generations of a domain that are to go. */
struct publish_cleaning {
    uint64_t *list;
    size_t count, room;
    uint64_t keep; /* 0: none */
};

static int publish_note_old(void *arg, const char *name)
{
    struct publish_cleaning *cleaning = arg;
    uint64_t generation;
    if (!publish_number(name, strlen(name), &generation) ||
        (generation == cleaning->keep && generation != 0))
        return 0;
    if (cleaning->count > 0 && cleaning->list[cleaning->count - 1] == generation)
        return 0;
    if (cleaning->count == cleaning->room) {
        size_t room = cleaning->room == 0 ? 16 : 2 * cleaning->room;
        uint64_t *list = reallocarray(cleaning->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        cleaning->list = list;
        cleaning->room = room;
    }
    cleaning->list[cleaning->count++] = generation;
    return 0;
}

/* What can't be removed is in nobody's way, and is tried again at the next publishing. */
static int publish_clean(struct setup_store *store, const struct publish_job *job)
{
    char path[SETUP_NODE_MAX];
    struct publish_cleaning cleaning = {.keep = job->what == PUBLISH_WRITE ? job->next : job->now};
    if (job->what == PUBLISH_GONE || (job->what == PUBLISH_NOTHING && !job->leftover))
        return 0;
    if (job->what == PUBLISH_REMOVE || (job->what == PUBLISH_NOTHING && !job->has_now))
        cleaning.keep = 0;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules", job->text->domid);
    int result = store->ops->below(store, path, publish_note_old, &cleaning);
    for (size_t i = 0; result == 0 && i < cleaning.count; i++)
        result = publish_drop_generation(store, job->text->domid, cleaning.list[i]);
    free(cleaning.list);
    return result;
}

/* ---- all domains ---- */

typedef int publish_step(struct setup_store *store, struct publish_job *job);

static int publish_each(struct publishing *publishing, publish_step *step)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < publishing->count; i++) {
        publishing->domid = publishing->jobs[i].text->domid;
        result = step(publishing->store, &publishing->jobs[i]);
    }
    return result;
}

static int publish_clean_step(struct setup_store *store, struct publish_job *job)
{
    return publish_clean(store, job);
}

/* Room first: a disk may be full. Returns how many domains still have their new text. */
static size_t publish_undo(struct publishing *publishing)
{
    struct setup_store *store = publishing->store;
    size_t left = 0;
    for (size_t i = 0; i < publishing->count; i++) {
        const struct publish_job *job = &publishing->jobs[i];
        if (job->begun && !job->switched)
            publish_drop_generation(store, job->text->domid, job->next);
    }
    for (size_t i = publishing->count; i > 0; i--) {
        const struct publish_job *job = &publishing->jobs[i - 1];
        int domid = job->text->domid;
        if (!job->switched)
            continue;
        int result = job->has_now ? publish_put_now(store, domid, job->now, job->parts)
                                  : publish_drop_now(store, domid);
        if (result == 0 && job->begun)
            publish_drop_generation(store, domid, job->next);
        left += result != 0;
    }
    return left;
}

static int publish_stepwise(struct publishing *publishing, char why[SETUP_WHY_MAX])
{
    int result = publish_each(publishing, publish_look);
    if (result == 0)
        result = publish_each(publishing, publish_write_parts);
    if (result == 0)
        result = publish_each(publishing, publish_switch);
    if (result == 0) {
        publish_each(publishing, publish_clean_step);
        return 0;
    }
    snprintf(why, SETUP_WHY_MAX, "cannot write the rules of domain %d: %s", publishing->domid,
             strerror(-result));
    size_t length = strlen(why), left = publish_undo(publishing);
    if (left == 0)
        snprintf(why + length, SETUP_WHY_MAX - length, "; nothing has changed");
    else
        snprintf(why + length, SETUP_WHY_MAX - length,
                 "; the rules of %zu domains could not be put back; make room and run idc-setup "
                 "apply",
                 left);
    return result;
}

/* ---- by transactions ---- */

static int publish_steps(struct publishing *publishing, publish_step *const *steps)
{
    int result = publishing->store->ops->begin(publishing->store);
    if (result != 0)
        return result;
    for (; result == 0 && *steps != NULL; steps++)
        result = publish_each(publishing, *steps);
    int ended = publishing->store->ops->end(publishing->store, result == 0);
    return result != 0 ? result : ended;
}

static int publish_transaction(struct publishing *publishing, publish_step *const *steps)
{
    int result = -EAGAIN;
    for (int i = 0; i < PUBLISH_TRIES && result == -EAGAIN; i++)
        result = publish_steps(publishing, steps);
    return result;
}

static bool publish_is_too_large(int error)
{
    return error == -ENOSPC || error == -E2BIG || error == -ENOMEM || error == -EDQUOT;
}

/* A domain each, so that no transaction is larger than a domain's text. */
static int publish_parts_apart(struct publishing *publishing)
{
    static publish_step *const steps[] = {publish_look, publish_write_parts, NULL};
    int result = 0;
    for (size_t i = 0; result == 0 && i < publishing->count; i++) {
        struct publishing one = {
            .store = publishing->store, .jobs = &publishing->jobs[i], .count = 1};
        result = publish_transaction(&one, steps);
        publishing->domid = one.domid;
    }
    return result;
}

static int publish_transactions(struct publishing *publishing, char why[SETUP_WHY_MAX])
{
    static publish_step *const all[] = {publish_look, publish_write_parts, publish_switch,
                                        publish_clean_step, NULL};
    static publish_step *const last[] = {publish_switch, NULL};
    static publish_step *const clean[] = {publish_clean_step, NULL};
    int result = publish_transaction(publishing, all);
    if (publish_is_too_large(result)) {
        result = publish_parts_apart(publishing);
        if (result == 0)
            result = publish_transaction(publishing, last);
        if (result == 0)
            publish_transaction(publishing, clean);
        for (size_t i = 0; result != 0 && i < publishing->count; i++)
            if (publishing->jobs[i].begun)
                publish_drop_generation(publishing->store, publishing->jobs[i].text->domid,
                                        publishing->jobs[i].next);
    }
    if (result != 0)
        snprintf(why, SETUP_WHY_MAX, "cannot write the rules of domain %d: %s; nothing has changed",
                 publishing->domid, strerror(-result));
    return result;
}

/* ---- the whole ---- */

static int publish_check(const struct publish_text *texts, size_t count, char why[SETUP_WHY_MAX])
{
    for (size_t i = 0; i < count; i++)
        if (texts[i].text != NULL && texts[i].length > COMPILE_TEXT_MAX) {
            snprintf(why, SETUP_WHY_MAX,
                     "the rules of domain %d have %zu bytes, which is more than %d; make them "
                     "fewer",
                     texts[i].domid, texts[i].length, COMPILE_TEXT_MAX);
            return -E2BIG;
        }
    return 0;
}

static void publish_count(const struct publishing *publishing, struct publish_result *result)
{
    *result = (struct publish_result){0};
    for (size_t i = 0; i < publishing->count; i++)
        switch (publishing->jobs[i].what) {
        case PUBLISH_WRITE:
            result->written++;
            break;
        case PUBLISH_REMOVE:
            result->removed++;
            break;
        case PUBLISH_GONE:
            result->gone++;
            break;
        default:
            result->unchanged++;
        }
}

int publish_texts(struct setup_store *store, const struct publish_text *texts, size_t count,
                  struct publish_result *result, char why[SETUP_WHY_MAX])
{
    struct publishing publishing = {.store = store, .count = count};
    int error = publish_check(texts, count, why);
    if (error != 0)
        return error;
    publishing.jobs = calloc(count + 1, sizeof(*publishing.jobs));
    if (publishing.jobs == NULL) {
        snprintf(why, SETUP_WHY_MAX, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++)
        publishing.jobs[i].text = &texts[i];
    error = store->ops->transactions ? publish_transactions(&publishing, why)
                                     : publish_stepwise(&publishing, why);
    if (error == 0)
        publish_count(&publishing, result);
    free(publishing.jobs);
    return error;
}
