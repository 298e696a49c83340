/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_commands.c - see policy_commands.h: the command line. */
#include "idc-setup/policy_commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "idc-setup/fail.h"
#include "idc-setup/policy_change.h"
#include "idc-setup/policy_list.h"

static const char policy_usage[] =
    "usage: idc-setup allow FROM TO [WHAT] [OPTION=VALUE]... adds a rule, the first\n"
    "       idc-setup deny FROM TO [WHAT] [OPTION=VALUE]...\n"
    "       idc-setup retract FROM TO [WHAT] | --all   takes such rules away\n"
    "       idc-setup apply [--dry-run] [FILE...]      puts policy files in force\n"
    "       idc-setup watch                            does so whenever they change\n"
    "       idc-setup check [FILE...]                  finds mistakes in policy files\n"
    "       idc-setup list                             what is in force\n"
    "       idc-setup explain FROM TO WHAT             may FROM connect to that? why?\n"
    "       idc-setup graph [--dot] [--connected]      who may reach what\n"
    "       idc-setup name DOMID [NAME [UUID]]         on the local platform\n"
    "\n"
    "  --policy DIR     the directory of `policy` and `policy.d`; default /etc/idc.\n"
    "                   list, explain and graph: what its files say, and not what is\n"
    "                   in force\n"
    "  --permanent      into policy.d/50-local.policy too (allow, deny, retract)\n"
    "  --dry-run        only say what would change, and which connections would end\n"
    "                   (apply, allow, deny, retract)\n"
    "  --connected      only what is connected now (graph)\n"
    "  --json           print JSON (list, explain)\n"
    "  --uid N          the uid of the connecting program (explain)\n"
    "  --type TYPE      stream (default) or seqpacket (explain)\n"
    "  --platform NAME, --store DIR   as for idc-setup DOMID DOMID...\n"
    "  -h, --help\n"
    "\n"
    "FROM and TO are as in a policy file; for explain a name, name:NAME, uuid:UUID, a\n"
    "domid, or dom0, and TO may be any. See idc-policy(5) and idc-setup(8).\n";

void policy_note_not_in_force(const struct policy_rules *rules)
{
    if (!rules->in_force)
        setup_note("this is what these files say, and not what is in force; idc-setup apply puts "
                   "them in force");
}

/* ---- commands that only read ---- */

static int policy_check(struct policy_options *options, char **arguments)
{
    struct ruleset *ruleset;
    (void)arguments;
    int status = policy_files_load(&options->source, &ruleset);
    if (status != 0)
        return status;
    printf("no mistakes: %zu files, %zu rules, %zu groups, %zu routes\n", ruleset->file_count,
           ruleset->rule_count, ruleset->group_count, ruleset->route_count);
    ruleset_free(ruleset);
    return 0;
}

typedef int policy_show(const struct policy_options *options, struct policy_rules *rules,
                        char **arguments);

static int policy_read(struct policy_options *options, char **arguments, policy_show *show)
{
    struct policy_rules rules;
    int status = policy_rules_load(&rules, &options->source, &options->platform);
    if (status == 0)
        status = show(options, &rules, arguments);
    policy_rules_free(&rules);
    return status;
}

static int policy_show_list(const struct policy_options *options, struct policy_rules *rules,
                            char **arguments)
{
    struct uses_show uses = {0};
    int status = rules->in_force ? uses_show_make(&uses, rules) : 0;
    const struct list_now now = {.time = time(NULL), .uses = rules->in_force ? &uses : NULL};
    (void)arguments;
    if (status != 0)
        return status;
    if (options->json) {
        policy_list_json(stdout, rules, &now);
    } else {
        policy_list_table(stdout, rules, &now);
        policy_note_not_in_force(rules);
    }
    uses_show_free(&uses);
    return 0;
}

static int policy_run_list(struct policy_options *options, char **arguments)
{
    return policy_read(options, arguments, policy_show_list);
}

static int policy_run_explain(struct policy_options *options, char **arguments)
{
    return policy_read(options, arguments, policy_explain);
}

static int policy_run_graph(struct policy_options *options, char **arguments)
{
    return policy_read(options, arguments, policy_graph);
}

/* ---- the table ---- */

enum {
    POLICY_TAKES_FILES = 1,
    POLICY_TAKES_JSON = 2,
    POLICY_TAKES_QUESTION = 4,
    POLICY_TAKES_DRY_RUN = 8,
    POLICY_TAKES_PERMANENT = 16,
    POLICY_TAKES_ALL = 32,
    POLICY_TAKES_GRAPH = 64,
};

static const struct policy_command {
    const char *word;
    unsigned takes;
    int least, most; /* arguments; -1: any number */
    const char *form;
    int (*run)(struct policy_options *options, char **arguments);
} policy_command_table[] = {
    {"check", POLICY_TAKES_FILES, 0, -1, "", policy_check},
    {"list", POLICY_TAKES_JSON, 0, 0, "", policy_run_list},
    {"explain", POLICY_TAKES_JSON | POLICY_TAKES_QUESTION, 3, 3,
     "FROM, TO and WHAT: two domains, and a port or service name", policy_run_explain},
    {"graph", POLICY_TAKES_GRAPH, 0, 0, "", policy_run_graph},
    {"allow", POLICY_TAKES_PERMANENT | POLICY_TAKES_DRY_RUN, 2, -1,
     "FROM, TO, and perhaps WHAT and OPTION=VALUE", policy_allow},
    {"deny", POLICY_TAKES_PERMANENT | POLICY_TAKES_DRY_RUN, 2, -1,
     "FROM, TO, and perhaps WHAT and OPTION=VALUE", policy_deny},
    {"retract", POLICY_TAKES_PERMANENT | POLICY_TAKES_DRY_RUN | POLICY_TAKES_ALL, 2, 3,
     "FROM, TO, and perhaps WHAT", policy_retract},
    {"apply", POLICY_TAKES_FILES | POLICY_TAKES_DRY_RUN, 0, -1, "", policy_apply},
    {"watch", 0, 0, 0, "", policy_watch},
    {"name", 0, 1, 3, "a DOMID, and perhaps NAME and UUID", policy_name},
};

static const struct policy_command *policy_find(const char *word)
{
    for (size_t i = 0; i < sizeof(policy_command_table) / sizeof(policy_command_table[0]); i++)
        if (strcmp(policy_command_table[i].word, word) == 0)
            return &policy_command_table[i];
    return NULL;
}

bool policy_is_command(const char *word)
{
    return policy_find(word) != NULL;
}

/* ---- the command line ---- */

static int policy_parse_uid(struct policy_options *options, const char *text)
{
    int64_t uid = 0;
    size_t length = strlen(text);
    for (size_t i = 0; i < length && length <= 10; i++)
        uid = text[i] < '0' || text[i] > '9' ? INT64_MAX / 16 : uid * 10 + text[i] - '0';
    if (length == 0 || length > 10 || uid > RULE_UID_MAX || (length > 1 && text[0] == '0'))
        return policy_fail(SETUP_STATUS_USAGE, "--uid takes a number, 0 to %u, not \"%s\"",
                           RULE_UID_MAX, text);
    options->uid = uid;
    return 0;
}

static int policy_parse_type(struct policy_options *options, const char *text)
{
    bool stream = strcmp(text, "stream") == 0;
    if (!stream && strcmp(text, "seqpacket") != 0)
        return policy_fail(SETUP_STATUS_USAGE, "--type takes stream or seqpacket, not \"%s\"",
                           text);
    options->type = stream ? RULE_TYPE_STREAM : RULE_TYPE_SEQPACKET;
    return 0;
}

/* Which commands have an option; those that all have are not here. */
static const struct {
    int option;
    unsigned takes;
} policy_option_takes[] = {
    {'j', POLICY_TAKES_JSON},    {'u', POLICY_TAKES_QUESTION},  {'t', POLICY_TAKES_QUESTION},
    {'n', POLICY_TAKES_DRY_RUN}, {'P', POLICY_TAKES_PERMANENT}, {'a', POLICY_TAKES_ALL},
    {'D', POLICY_TAKES_GRAPH},   {'C', POLICY_TAKES_GRAPH},
};

static bool policy_has_option(const struct policy_command *command, int option)
{
    for (size_t i = 0; i < sizeof(policy_option_takes) / sizeof(policy_option_takes[0]); i++)
        if (policy_option_takes[i].option == option)
            return (command->takes & policy_option_takes[i].takes) != 0;
    return true;
}

static int policy_parse_flag(struct policy_options *options, int option)
{
    options->json = options->json || option == 'j';
    options->dot = options->dot || option == 'D';
    options->connected = options->connected || option == 'C';
    options->dry_run = options->dry_run || option == 'n';
    options->permanent = options->permanent || option == 'P';
    options->all = options->all || option == 'a';
    if (option == 'h') {
        options->done = true;
        fputs(policy_usage, stdout);
    }
    return 0;
}

static int policy_parse_option(struct policy_options *options, int option)
{
    switch (option) {
    case 'd':
        options->source.directory = optarg;
        options->source.directory_given = true;
        return 0;
    case 's':
        options->platform.directory = optarg;
        options->platform.directory_given = true;
        return 0;
    case 'p':
        options->platform.name = optarg;
        return 0;
    case 'u':
        return policy_parse_uid(options, optarg);
    case 't':
        return policy_parse_type(options, optarg);
    default:
        return policy_parse_flag(options, option);
    }
}

static int policy_parse_options(struct policy_options *options,
                                const struct policy_command *command, int argc, char **argv)
{
    static const struct option known[] = {
        {"policy", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {"uid", required_argument, NULL, 'u'},
        {"type", required_argument, NULL, 't'},
        {"dry-run", no_argument, NULL, 'n'},
        {"permanent", no_argument, NULL, 'P'},
        {"all", no_argument, NULL, 'a'},
        {"dot", no_argument, NULL, 'D'},
        {"connected", no_argument, NULL, 'C'},
        {"platform", required_argument, NULL, 'p'},
        {"store", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        if (option == ':')
            return policy_fail(SETUP_STATUS_USAGE, "%s needs an argument", argv[optind - 1]);
        if (option == '?')
            return policy_fail(SETUP_STATUS_USAGE, "%s is not an option, or takes no argument",
                               argv[optind - 1]);
        if (!policy_has_option(command, option))
            return policy_fail(SETUP_STATUS_USAGE, "%s has no such option", command->word);
        int status = policy_parse_option(options, option);
        if (status != 0 || options->done)
            return status;
    }
    return 0;
}

static int policy_parse_rest(struct policy_options *options, const struct policy_command *command,
                             int count, char **rest)
{
    if (options->connected && options->source.directory_given)
        return policy_fail(SETUP_STATUS_USAGE,
                           "give --policy or --connected, not both: files say nothing of that");
    if (options->all && count != 0)
        return policy_fail(SETUP_STATUS_USAGE, "give --all or FROM and TO, not both");
    if (!options->all && (count < command->least || (command->most >= 0 && count > command->most)))
        return command->most == 0
                   ? policy_fail(SETUP_STATUS_USAGE, "%s takes no arguments", command->word)
                   : policy_fail(SETUP_STATUS_USAGE, "%s takes %s", command->word, command->form);
    if ((command->takes & POLICY_TAKES_FILES) == 0 || count == 0)
        return 0;
    if (options->source.directory_given)
        return policy_fail(SETUP_STATUS_USAGE, "give --policy or FILEs, not both");
    options->source.files = rest;
    return 0;
}

int policy_command(int argc, char **argv)
{
    const struct policy_command *command = policy_find(argv[1]);
    struct policy_options options = {.source.directory = POLICY_DIRECTORY,
                                     .platform.name = "auto",
                                     .uid = -1,
                                     .type = RULE_TYPE_STREAM};
    optind = 2;
    int status = policy_parse_options(&options, command, argc, argv);
    if (status == 0 && !options.done)
        status = policy_parse_rest(&options, command, argc - optind, argv + optind);
    if (status != 0 || options.done)
        return status;
    return command->run(&options, argv + optind);
}
