/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * idc-setup - says which domains may connect to each other. It is the toolstack's tool: its rules
 * are read-only to the domains. idc-setup(8) describes it. A command about policy files is in
 * policy_commands.c.
 *
 * Exit status: 0 done, 1 it failed, 2 the command line is wrong. Every failure is one line on
 * stderr that says what to do.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/standard_output.h"
#include "common/text_cut.h"
#include "idc-setup/fail.h"
#include "idc-setup/policy_commands.h"
#include "idc-setup/policy_log.h"
#include "idc-setup/policy_nodes.h"
#include "idc-setup/print.h"
#include "idc-setup/rules.h"
#include "idc-setup/setup_platform.h"

struct options {
    const char *ports;
    bool add, remove, list, json, done; /* done: --help or --version was answered */
    struct policy_list allowed;
    struct domids domids;
    struct setup_platform platform;
};

static const char usage[] =
    "usage: idc-setup [OPTION]... DOMID DOMID...    let all pairs of them connect\n"
    "       idc-setup --add [OPTION]... DOMID DOMID...\n"
    "                                               the same, and replace nothing\n"
    "       idc-setup --remove DOMID [DOMID]...     take that back; one DOMID: all of\n"
    "                                               its rules\n"
    "       idc-setup --list [--json] [DOMID]...    show the rules\n"
    "       idc-setup allow|deny|retract|apply|watch|check|list|explain|graph ...\n"
    "                        rules by name, one way, from files and commands; see\n"
    "                        allow --help\n"
    "\n"
    "  --add              add to what the pairs may use, and replace nothing\n"
    "  --ports LIST       only to these services: ports, ranges and service names,\n"
    "                     separated by commas (80,5000-5010,org.example.clipboard);\n"
    "                     default *, which is all\n"
    "  --platform NAME    xen, local, or auto (default): local if there is a store\n"
    "                     directory, else xen\n"
    "  --store DIR        the local platform's store directory; default $IDC_STORE.\n"
    "                     It is made if its parent exists\n"
    "  -h, --help, --version\n"
    "\n"
    "DOMIDs are 0 to 32751. See idc-setup(8).\n";

/* ---- the command line ---- */

static int setup_answer(struct options *options, const char *text)
{
    options->done = true;
    fputs(text, stdout);
    return 0;
}

static int parse_option(struct options *options, int option)
{
    switch (option) {
    case 'p':
        options->platform.name = optarg;
        return 0;
    case 's':
        options->platform.directory = optarg;
        options->platform.directory_given = true;
        return 0;
    case 'P':
        options->ports = optarg;
        return 0;
    case 'a':
        options->add = true;
        return 0;
    case 'r':
        options->remove = true;
        return 0;
    case 'l':
        options->list = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'h':
        return setup_answer(options, usage);
    case 'v':
        return setup_answer(options, "idc-setup " IDC_VERSION "\n");
    default:
        return SETUP_STATUS_USAGE;
    }
}

static int parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"platform", required_argument, NULL, 'p'}, {"store", required_argument, NULL, 's'},
        {"ports", required_argument, NULL, 'P'},    {"add", no_argument, NULL, 'a'},
        {"remove", no_argument, NULL, 'r'},         {"list", no_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},           {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},        {NULL, 0, NULL, 0},
    };
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        if (option == ':')
            return setup_fail(SETUP_STATUS_USAGE, "%s needs an argument", argv[optind - 1]);
        if (option == '?')
            return setup_fail(SETUP_STATUS_USAGE, "%s is not an option, or takes no argument",
                              argv[optind - 1]);
        int result = parse_option(options, option);
        if (result != 0 || options->done)
            return result;
    }
    return 0;
}

static int parse_domids(struct options *options, char **arguments)
{
    struct domids *domids = &options->domids;
    size_t count = 0;
    while (arguments[count] != NULL)
        count++;
    domids->list = calloc(count + 1, sizeof(*domids->list));
    if (domids->list == NULL)
        return setup_fail(SETUP_STATUS_FAILED, "out of memory");
    for (size_t i = 0; i < count; i++) {
        int domid = setup_parse_domid(arguments[i]);
        if (domid < 0 && policy_is_command(arguments[i]))
            return setup_fail(SETUP_STATUS_USAGE, "%s goes before the options: idc-setup %s ...",
                              arguments[i], arguments[i]);
        if (domid < 0)
            return setup_fail(SETUP_STATUS_USAGE, "\"%s\" is not a DOMID, 0 to %d", arguments[i],
                              SETUP_DOMID_MAX);
        if (domids->has[domid])
            return setup_fail(SETUP_STATUS_USAGE, "DOMID %d is given twice", domid);
        domids->has[domid] = true;
        domids->list[domids->count++] = domid;
    }
    return 0;
}

static int check_combination(struct options *options)
{
    const char *wrong;
    size_t count = options->domids.count;
    if (options->remove && options->list)
        return setup_fail(SETUP_STATUS_USAGE, "--remove and --list exclude each other");
    if (options->add && (options->remove || options->list))
        return setup_fail(SETUP_STATUS_USAGE, "--add is only for allowing");
    if (options->json && !options->list)
        return setup_fail(SETUP_STATUS_USAGE, "--json is only for --list");
    if (options->ports != NULL && (options->remove || options->list))
        return setup_fail(
            SETUP_STATUS_USAGE,
            "--ports is only for allowing; --remove takes a pair's rule away as a whole");
    if (options->remove && count == 0)
        return setup_fail(SETUP_STATUS_USAGE,
                          "--remove needs one DOMID, to remove all its rules, or "
                          "several, to remove those between them");
    if (!options->remove && !options->list && count < 2)
        return setup_fail(SETUP_STATUS_USAGE,
                          "give at least two DOMIDs, which may then connect to each other");
    if (policy_parse_list(&options->allowed, options->ports == NULL ? "*" : options->ports,
                          &wrong) != 0)
        return setup_fail(SETUP_STATUS_USAGE, "--ports '%s': %s", options->ports, wrong);
    return 0;
}

/* ---- doing it ---- */

static int setup_show_rules(const struct options *options, struct setup_store *store)
{
    char why[SETUP_WHY_MAX] = "";
    struct rules rules;
    if (rules_collect(store, &options->domids, &rules, why) != 0)
        return setup_fail(SETUP_STATUS_FAILED, "%s", why);
    if (options->json)
        print_json(stdout, &rules, store->ops->name);
    else
        print_table(stdout, &rules);
    rules_collected_free(&rules);
    return 0;
}

/* What was changed, in the words of the command line. */
static void setup_log(const struct options *options, const struct setup_store *store)
{
    char domids[256];
    int length = 0;
    for (size_t i = 0; i < options->domids.count && length < (int)sizeof(domids); i++)
        length += snprintf(domids + length, sizeof(domids) - (size_t)length, " %d",
                           options->domids.list[i]);
    text_mark_cut(domids, sizeof(domids), length);
    if (options->remove)
        policy_log(store, "--remove%s", domids);
    else
        policy_log(store, "%s--ports %s%s", options->add ? "--add " : "",
                   options->ports == NULL ? "*" : options->ports, domids);
}

static int setup_forbid(const struct options *options, struct setup_store *store)
{
    char why[SETUP_WHY_MAX] = "";
    int removed = rules_forbid(store, &options->domids, why);
    if (removed < 0)
        return setup_fail(SETUP_STATUS_FAILED, "%s", why);
    if (removed == 0)
        setup_note("there was no such rule; nothing has changed");
    return 0;
}

static int setup_allow(const struct options *options, struct setup_store *store)
{
    char why[SETUP_WHY_MAX] = "";
    const struct rules_allowing allowing = {.domids = &options->domids,
                                            .ports = &options->allowed,
                                            .add = options->add,
                                            .note = setup_note};
    return rules_allow(store, &allowing, why) == 0 ? 0 : setup_fail(SETUP_STATUS_FAILED, "%s", why);
}

static int setup_run(const struct options *options)
{
    char why[SETUP_WHY_MAX] = "";
    struct setup_store *store;
    bool make = !options->remove && !options->list;
    /* setup_platform_choose has set ops. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    if (options->platform.ops->open(&store, options->platform.directory, make, why) != 0)
        return setup_fail(SETUP_STATUS_FAILED, "%s", why);
    int status;
    if (options->list)
        status = setup_show_rules(options, store);
    else
        status = options->remove ? setup_forbid(options, store) : setup_allow(options, store);
    if (status == 0 && !options->list)
        setup_log(options, store);
    store->ops->close(store);
    if (status == 0 && !options->list)
        status = policy_nodes_changed(&options->platform, &options->domids);
    return status;
}

static int setup_parse(struct options *options, int argc, char **argv)
{
    int status = parse_options(options, argc, argv);
    if (status != 0 || options->done)
        return status;
    status = parse_domids(options, argv + optind);
    if (status == 0)
        status = check_combination(options);
    return status != 0 ? status : setup_platform_choose(&options->platform);
}

int main(int argc, char **argv)
{
    static struct options options = {.platform.name = "auto"};
    standard_begin();
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone must not end a change half-way */
    if (argc > 1 && policy_is_command(argv[1]))
        return standard_end("idc-setup", policy_command(argc, argv));
    int status = setup_parse(&options, argc, argv);
    if (status == 0 && !options.done)
        status = setup_run(&options);
    free(options.domids.list);
    return standard_end("idc-setup", status);
}
