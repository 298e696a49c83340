/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_allow.c - rules by commands: allow, deny, and retract, which takes them away again.
 *
 * They are lines of a policy file, to which each command adds one at the end. Of these lines the
 * last one decides first. So a line keeps its number, and a domain's rules stay the same while
 * others come. A line that goes leaves an empty one, for the same reason. Only when most lines are
 * empty do these go, so the text does not grow for ever. Then the others have new numbers once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "idc-setup/fail.h"
#include "common/shown.h"
#include "idc-setup/policy_change.h"
#include "idc-setup/policy_ends.h"
#include "idc-setup/policy_line.h"
#include "idc-setup/policy_list.h"
#include "idc-setup/policy_log.h"

#define ALLOW_PERMANENT "50-local.policy"
#define ALLOW_EMPTY_MAX 100
#define ALLOW_KEPT_S 86400 /* how long a rule that has expired can still be named in refusals */

/* A text of lines that is being changed. */
struct lines {
    const char *text; /* "" if there was none */
    size_t length;
    FILE *out;
    char *made;
    size_t size;
    size_t taken; /* lines that were left out */
};

static bool lines_begin(struct lines *lines, const char *text, size_t length)
{
    *lines = (struct lines){.text = text == NULL ? "" : text, .length = length};
    lines->out = open_memstream(&lines->made, &lines->size);
    return lines->out != NULL;
}

/* What lines are to be left out. */
struct lines_filter {
    const char *same;              /* this line; or NULL */
    const char *pair, *what;       /* lines of this pair; or NULL (policy_line_is) */
    bool all;                      /* all rules */
    const struct ruleset *ruleset; /* rules of file that expired before are left out; or NULL */
    const char *file;
    int64_t before;
};

static bool lines_are_over(const struct lines_filter *filter, unsigned number)
{
    for (size_t i = 0; filter->ruleset != NULL && i < filter->ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &filter->ruleset->rules[i];
        if (rule->place.line == number && strcmp(rule->place.file, filter->file) == 0)
            return rule_options_has(&rule->options, RULE_UNTIL) &&
                   rule->options.until < filter->before;
    }
    return false;
}

static bool lines_leave_out(const struct lines_filter *filter, const char *line, size_t length,
                            unsigned number)
{
    if (length > 0 && line[length - 1] == '\r')
        length--; /* no part of the line: idc-policy(5) */
    if (filter->same != NULL && strlen(filter->same) == length &&
        memcmp(line, filter->same, length) == 0)
        return true;
    if (filter->pair != NULL && policy_line_is(line, length, filter->pair, filter->what))
        return true;
    return (filter->all && policy_line_is_rule(line, length)) || lines_are_over(filter, number);
}

/* Are there many empty lines, and more than others? */
static bool lines_are_sparse(const struct lines *lines)
{
    size_t all = 0, empty = 0;
    for (size_t i = 0; i < lines->length; i++) {
        all += lines->text[i] == '\n';
        empty += lines->text[i] == '\n' && (i == 0 || lines->text[i - 1] == '\n');
    }
    return empty > ALLOW_EMPTY_MAX && empty > all - empty;
}

/* Copies the lines; those left out stay as empty ones, or go. Empty ones at the end go. A last line
 * without a newline may have been cut off. It stays without one, and so stays wrong. */
static void lines_copy(struct lines *lines, const struct lines_filter *filter, bool keep_numbers)
{
    unsigned number = 0, empty = 0;
    const bool sparse = keep_numbers && lines_are_sparse(lines);
    keep_numbers = keep_numbers && !sparse;
    for (size_t from = 0; from < lines->length;) {
        const char *line = lines->text + from;
        const char *newline = memchr(line, '\n', lines->length - from);
        size_t length = newline == NULL ? lines->length - from : (size_t)(newline - line);
        bool out = lines_leave_out(filter, line, length, ++number);
        lines->taken += out;
        if (out || length == 0) {
            empty += keep_numbers || (!out && !sparse);
        } else {
            for (; empty > 0; empty--)
                fputc('\n', lines->out);
            fwrite(line, 1, length, lines->out);
            if (newline != NULL)
                fputc('\n', lines->out);
        }
        from += length + 1;
    }
}

static bool lines_end(struct lines *lines)
{
    bool good = ferror(lines->out) == 0;
    return fclose(lines->out) == 0 && good;
}

/* ---- what a command does ---- */

struct allowing {
    struct policy_options *options;
    struct policy_state state;
    const char *line; /* to be added; NULL: none */
    char **arguments; /* of which it was made */
    struct lines_filter filter;
    struct lines commands, permanent;
    char permanent_path[PATH_MAX];
    char *permanent_text; /* as it was, or NULL */
    size_t permanent_length;
};

static int allow_no_memory(void)
{
    return policy_fail(SETUP_STATUS_FAILED, "out of memory");
}

/* The new text of the commands' rules. */
static int allow_commands(struct allowing *allowing)
{
    const struct policy_text *commands = policy_state_commands(&allowing->state);
    if (!lines_begin(&allowing->commands, commands == NULL ? NULL : commands->text,
                     commands == NULL ? 0 : commands->length))
        return allow_no_memory();
    if (allowing->commands.length == 0)
        fputs("# rules of idc-setup allow and deny; the last one decides first\n",
              allowing->commands.out);
    lines_copy(&allowing->commands, &allowing->filter, true);
    if (allowing->line != NULL)
        fprintf(allowing->commands.out, "%s\n", allowing->line);
    return lines_end(&allowing->commands) ? 0 : allow_no_memory();
}

static int allow_permanent_path(struct allowing *allowing)
{
    const char *directory = allowing->options->source.directory;
    char path[PATH_MAX];
    if (snprintf(path, PATH_MAX, "%s/policy.d", directory) >= PATH_MAX ||
        snprintf(allowing->permanent_path, PATH_MAX, "%s/policy.d/" ALLOW_PERMANENT, directory) >=
            PATH_MAX)
        return policy_fail(SETUP_STATUS_FAILED, "%s: %s", directory, strerror(ENAMETOOLONG));
    if (allowing->options->dry_run)
        return 0;
    if (allowing->line != NULL && !allowing->options->source.directory_given &&
        mkdir(directory, 0755) != 0 && errno != EEXIST)
        return policy_fail(SETUP_STATUS_FAILED, "cannot make %s: %s", directory, strerror(errno));
    if (allowing->line != NULL && mkdir(path, 0755) != 0 && errno != EEXIST)
        return policy_fail(SETUP_STATUS_FAILED, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

/* The new text of 50-local.policy, where the first line decides first. */
static int allow_permanent(struct allowing *allowing)
{
    int status = allow_permanent_path(allowing);
    if (status != 0)
        return status;
    int error = policy_file_read(allowing->permanent_path, RULESET_FILE_MAX,
                                 &allowing->permanent_text, &allowing->permanent_length);
    if (error != 0 && error != -ENOENT)
        return policy_fail(SETUP_STATUS_FAILED, "cannot read %s: %s", allowing->permanent_path,
                           strerror(-error));
    if (!lines_begin(&allowing->permanent, allowing->permanent_text, allowing->permanent_length))
        return allow_no_memory();
    struct lines_filter filter = allowing->filter;
    filter.ruleset = NULL;
    if (allowing->line != NULL)
        fprintf(allowing->permanent.out, "%s\n", allowing->line);
    lines_copy(&allowing->permanent, &filter, false);
    return lines_end(&allowing->permanent) ? 0 : allow_no_memory();
}

/* All policy files with that one changed must be right, or they could not be applied any more. */
static int allow_check_permanent(const struct allowing *allowing)
{
    struct policy_texts texts;
    struct ruleset *ruleset = NULL;
    size_t commands, i = 0;
    int status = policy_files_read(&allowing->options->source, &texts);
    if (status != 0)
        return status;
    while (i < texts.count && strcmp(texts.list[i].name, allowing->permanent_path) != 0)
        i++;
    if (i == texts.count && policy_texts_add(&texts, allowing->permanent_path, "", 0) != 0)
        status = allow_no_memory();
    struct policy_text file = {0};
    if (status == 0) {
        file = texts.list[i];
        texts.list[i].text = allowing->permanent.made;
        texts.list[i].length = allowing->permanent.size;
        status = policy_files_parse(NULL, &texts, &ruleset, &commands);
        texts.list[i] = file;
    }
    ruleset_free(ruleset);
    policy_texts_free(&texts);
    return status;
}

/* Finds which commands' rules are over long since. */
static int allow_old(const struct allowing *allowing, struct ruleset **ruleset)
{
    size_t commands;
    return policy_files_parse(policy_state_commands(&allowing->state), &allowing->state.applied,
                              ruleset, &commands);
}

/* What is wrong in the new line is told in the words that were typed. */
static int allow_check_typed(const struct allowing *allowing)
{
    struct policy_typed typed = {.file = allowing->state.commands_path,
                                 .text = allowing->line,
                                 .arguments = allowing->arguments};
    const struct policy_text commands = {.name = (char *)(uintptr_t)typed.file,
                                         .text = allowing->commands.made,
                                         .length = allowing->commands.size};
    struct ruleset *ruleset = NULL;
    size_t count;
    if (allowing->line == NULL)
        return 0;
    for (size_t i = 0; i < commands.length; i++)
        typed.line += commands.text[i] == '\n';
    int status =
        policy_files_parse_typed(&commands, &allowing->state.applied, &typed, &ruleset, &count);
    ruleset_free(ruleset);
    return status;
}

static int allow_texts(struct allowing *allowing)
{
    struct ruleset *ruleset = NULL;
    int status = allow_old(allowing, &ruleset);
    allowing->filter.ruleset = ruleset;
    allowing->filter.file = allowing->state.commands_path;
    if (status == 0)
        status = allow_commands(allowing);
    allowing->filter.ruleset = NULL;
    ruleset_free(ruleset);
    if (status == 0)
        status = allow_check_typed(allowing);
    if (status == 0 && allowing->options->permanent)
        status = allow_permanent(allowing);
    if (status == 0 && allowing->options->permanent)
        status = allow_check_permanent(allowing);
    return status;
}

/* ---- what is told ---- */

static void allow_note_unknown(const struct policy_rules *rules)
{
    const struct ruleset_rule *rule = &rules->ruleset->rules[0];
    const struct policy_world *world = &rules->world;
    uint8_t *groups = calloc(rules->ruleset->group_count + 1, 1);
    bool from = false, to = false;
    for (size_t i = 0; groups != NULL && i < world->domain_count; i++) {
        ruleset_membership(rules->ruleset, &world->domains[i], groups);
        from = from || domain_fits(&rule->from, &world->domains[i], groups) == DOMAIN_YES;
        to = to || domain_fits(&rule->to, &world->domains[i], groups) == DOMAIN_YES;
    }
    if (groups != NULL && !(from && to)) {
        shown_printf(stderr,
                     "idc-setup: note: no domain is %s now; the rule is for when there is one",
                     from ? rule->to_text : rule->from_text);
        fputc('\n', stderr);
    }
    free(groups);
}

/* What was retracted may be a line of the files too, and that is in force until the next apply. */
static void allow_note_files(const struct allowing *allowing, const struct policy_rules *rules)
{
    const char *what = allowing->filter.what;
    for (size_t i = rules->commands; i < rules->ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &rules->ruleset->rules[i];
        size_t length = strlen(rule->from_text);
        const char *pair = allowing->filter.pair;
        if (pair == NULL || strncmp(pair, rule->from_text, length) != 0 || pair[length] != ' ' ||
            strcmp(pair + length + 1, rule->to_text) != 0 ||
            (what != NULL && strcmp(what, rule->what_text) != 0))
            continue;
        fputs("idc-setup: note: in force until files without it are applied: ", stderr);
        policy_print_rule(stderr, rule);
        fputc('\n', stderr);
    }
}

static void allow_tell(struct allowing *allowing, const struct policy_rules *rules,
                       const char *verb)
{
    bool dry = allowing->options->dry_run;
    if (allowing->line != NULL)
        allow_note_unknown(rules);
    else
        allow_note_files(allowing, rules);
    if (dry)
        return;
    if (allowing->line != NULL)
        policy_log(allowing->state.store, "%s", allowing->line);
    else
        policy_log(allowing->state.store, "%s: %zu rules", verb, allowing->commands.taken);
}

static int allow_make(struct allowing *allowing, const struct policy_ends *ends, const char *verb)
{
    struct policy_rules rules;
    struct publish_result result;
    bool dry = allowing->options->dry_run;
    const struct policy_text commands = {.name = allowing->state.commands_path,
                                         .text = allowing->commands.made,
                                         .length = allowing->commands.size};
    const struct policy_text permanent = {.name = allowing->permanent_path,
                                          .text = allowing->permanent.made,
                                          .length = allowing->permanent.size};
    const struct policy_change change = {.state = &allowing->state,
                                         .commands = &commands,
                                         .permanent =
                                             allowing->options->permanent ? &permanent : NULL,
                                         .dry = dry};
    int status = policy_change_make(&change, &rules, &result);
    if (status != 0)
        return status;
    policy_ends_print(stdout, ends, &rules, allowing->state.store, dry, dry);
    allow_tell(allowing, &rules, verb);
    policy_rules_free(&rules);
    return 0;
}

/* An allow rule that comes first ends nothing, so nobody has to be asked. */
static int allow_change(struct allowing *allowing, const char *verb)
{
    struct policy_ends ends = {.former.state.lock = -1};
    bool dry = allowing->options->dry_run;
    int status =
        strcmp(verb, "allow") == 0
            ? 0
            : policy_ends_begin(&ends, &allowing->state, dry ? USES_WAIT_MS : USES_WAIT_CHANGE_MS);
    if (status == 0)
        status = allow_make(allowing, &ends, verb);
    policy_ends_free(&ends);
    return status;
}

static int allow_locked(struct allowing *allowing, const char *verb)
{
    int status = allowing->options->dry_run ? 0 : policy_state_lock(&allowing->state);
    if (status == 0)
        status = policy_state_read(&allowing->state);
    if (status == 0)
        status = allow_texts(allowing);
    if (status != 0)
        return status;
    if (allowing->line == NULL && allowing->commands.taken + allowing->permanent.taken == 0) {
        setup_note("no command has made such a rule; nothing has changed");
        return 0;
    }
    return allow_change(allowing, verb);
}

static int allow_run(struct allowing *allowing, const char *verb)
{
    struct policy_options *options = allowing->options;
    int status = setup_platform_choose(&options->platform);
    if (status == 0)
        status = policy_state_open(&allowing->state, &options->platform, !options->dry_run);
    if (status != 0)
        return status;
    status = allow_locked(allowing, verb);
    free(allowing->commands.made);
    free(allowing->permanent.made);
    free(allowing->permanent_text);
    policy_state_close(&allowing->state);
    return status;
}

/* ---- the commands ---- */

static int allow_add(struct policy_options *options, const char *action, char **arguments)
{
    char *line;
    int64_t now = time(NULL);
    int status = policy_line_make(action, arguments, now, &line);
    struct allowing allowing = {.options = options,
                                .line = line,
                                .arguments = arguments,
                                .filter = {.same = line, .before = now - ALLOW_KEPT_S}};
    if (status == 0)
        status = allow_run(&allowing, action);
    free(line);
    return status;
}

int policy_allow(struct policy_options *options, char **arguments)
{
    return allow_add(options, "allow", arguments);
}

int policy_deny(struct policy_options *options, char **arguments)
{
    return allow_add(options, "deny", arguments);
}

static int retract_pair(struct policy_options *options, const char *from, const char *to,
                        const char *what)
{
    char *pair = NULL;
    struct allowing allowing = {.options = options};
    if (asprintf(&pair, "%s %s", from, to) < 0)
        return allow_no_memory();
    allowing.filter = (struct lines_filter){.pair = pair, .what = what};
    int status = allow_run(&allowing, "retract");
    free(pair);
    return status;
}

int policy_retract(struct policy_options *options, char **arguments)
{
    struct allowing allowing = {.options = options, .filter = {.all = true}};
    if (options->all)
        return allow_run(&allowing, "retract --all");
    char *from = policy_line_word(arguments[0]), *to = policy_line_word(arguments[1]);
    char *what = arguments[2] == NULL ? NULL : policy_line_word(arguments[2]);
    int status = from == NULL || to == NULL || (arguments[2] != NULL && what == NULL)
                     ? allow_no_memory()
                     : retract_pair(options, from, to, what);
    free(from);
    free(to);
    free(what);
    return status;
}
