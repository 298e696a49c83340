/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain.c - idc explain: would a connection be made now, and if not, what is in its way?
 *
 * The own link_mgr is asked first (idc.explain): which rule decides, what is left of its limits and
 * of the user's quota, and how it stands with the link. If nothing refuses it there, the other
 * domain's connection manager (port 1) is asked for its services. It lists those that this user may
 * connect to. The service itself hears nothing. Whoever asks learns what a connect of his own would
 * tell him, and nothing of what others may.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/shown.h"
#include "libidc/internal.h"
#include "tools/advice.h"
#include "tools/command.h"
#include "tools/measure/ask.h"

#define EXIT_REFUSED 3 /* as idc-setup explain */
#define TIMEOUT_DEFAULT_MS 5000
#define SERVICES_MAX 65536u /* that are looked at */
#define TEXT_MAX 1024       /* of what link_mgr says: it has no room for more */

struct explained {
    const struct command *command;
    struct target target;
    int type;
    struct libidc_answer own;  /* of idc.explain */
    struct libidc_answer link; /* the same, after the other domain was asked */
    bool within;               /* it is the own domain */
    int error;                 /* with which a connect would fail; 0: with none */
    bool asked;                /* the other domain */
    char why[LIBIDC_TEXT_MAX];
    struct idc_service found; /* if error is 0 */
};

static bool explained_note(struct explained *explained, int error, const char *why)
{
    explained->error = error;
    snprintf(explained->why, sizeof(explained->why), "%s", why);
    return false;
}

/* ---- questions ---- */

/* False: link_mgr did not answer; errno and idc_last_error say why. */
static bool explained_ask_own(struct explained *explained)
{
    const struct target *target = &explained->target;
    struct compact_writer call;
    char by[8], why[TEXT_MAX];
    compact_begin(&call, COMPACT_CALL, "idc.explain");
    compact_put_text(&call, "domain", target->domain);
    if (target->port != 0)
        compact_put_number(&call, "port", target->port);
    else
        compact_put_text(&call, "name", target->service);
    compact_put_text(&call, "type", explained->type == IDC_STREAM ? "stream" : "seqpacket");
    if (libidc_call(libidc_socket_path(command_socket), &call, ASK_TIMEOUT_MS, &explained->own,
                    NULL) < 0)
        return false;
    libidc_answer_text(&explained->own, "by", by, sizeof(by));
    libidc_answer_text(&explained->own, "why", why, sizeof(why));
    explained->within = strcmp(by, "own") == 0;
    explained_note(explained, (int)libidc_answer_int(&explained->own, "errno", 0), why);
    return true;
}

static bool explained_is_target(const struct target *target, const struct idc_service *service)
{
    return target->port != 0 ? service->port == target->port
                             : strcmp(service->name, target->service) == 0;
}

static bool explained_find(struct explained *explained, const struct idc_service *services,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!explained_is_target(&explained->target, &services[i]))
            continue;
        explained->found = services[i];
        return (int)services[i].type == explained->type ||
               explained_note(explained, EPROTOTYPE, "the listener is of the other type");
    }
    return explained_note(explained, ECONNREFUSED,
                          "nothing listens there that this user may connect to");
}

/* Its connection manager lists its services, and not itself. */
static bool explained_is_manager(const struct target *target)
{
    return target->port == IDC_PORT_MANAGER;
}

static void explained_ask_other(struct explained *explained, int timeout_ms)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_service *services = calloc(SERVICES_MAX, sizeof(*services));
    options.socket = command_socket;
    options.timeout_ms = timeout_ms;
    const size_t room = services != NULL ? SERVICES_MAX : 0;
    int count = idc_services(explained->target.domain, services, room, &options);
    explained->asked = true;
    if (count < 0)
        explained_note(explained, errno, idc_last_error());
    else if (explained_is_manager(&explained->target))
        explained->found = (struct idc_service){.port = IDC_PORT_MANAGER, .type = IDC_STREAM};
    else
        explained_find(explained, services, (size_t)count < room ? (size_t)count : room);
    free(services);
}

/* ---- the answer ---- */

static void print_text(const struct libidc_answer *answer, const char *name)
{
    char text[TEXT_MAX];
    libidc_answer_text(answer, name, text, sizeof(text));
    shown_print(stdout, text);
}

static int64_t own_number(const struct explained *explained, const char *name)
{
    return libidc_answer_int(&explained->own, name, 0);
}

/* Is it the rules that refuse? */
static bool is_refused(const struct explained *explained)
{
    return explained->error == EACCES;
}

static void print_outcome(const struct explained *explained)
{
    char advice[ADVICE_MAX];
    if (explained->error == 0) {
        puts("allowed: a connection would be made");
        return;
    }
    fputs(is_refused(explained) ? "refused: " : "allowed, but it would fail now: ", stdout);
    shown_print(stdout, explained->why);
    advice_make(&explained->target, explained->type, explained->error, explained->why, advice);
    shown_print(stdout, advice);
    putchar('\n');
}

static void print_domain(const struct explained *explained)
{
    printf("  domain    ");
    shown_print(stdout, explained->target.domain);
    printf(", domid %lld%s\n", (long long)own_number(explained, "domid"),
           explained->within ? ", which is this one" : "");
}

static void print_rules(const struct explained *explained)
{
    char by[8];
    libidc_answer_text(&explained->own, "by", by, sizeof(by));
    printf("  rules     ");
    if (explained->within) {
        puts("the own domain needs none");
        return;
    }
    if (strcmp(by, "rule") == 0)
        print_text(&explained->own, "rule");
    else
        fputs(strcmp(by, "node") == 0 ? "the policy node of this domain" : "none", stdout);
    if (own_number(explained, "errno") == EACCES)
        puts(strcmp(by, "none") == 0 ? " of this domain allows it" : " denies it");
    else
        printf(" allows it%s\n", own_number(explained, "perhaps")
                                     ? ", unless another one fits the listener's name or port"
                                     : "");
}

static void print_quota(const struct explained *explained)
{
    const long long have = own_number(explained, "connections");
    const long long most = own_number(explained, "connections_max");
    printf("  quota     uid %u has %lld", (unsigned)geteuid(), have);
    if (most > 0)
        printf(" of %lld", most);
    printf(" connections with other domains%s\n", most > 0 ? "" : ", and no limit");
}

static void print_link(const struct explained *explained)
{
    char last[TEXT_MAX];
    libidc_answer_text(&explained->link, "link_error", last, sizeof(last));
    printf("  link_mgr  %s\n", libidc_answer_int(&explained->link, "present", 0)
                                   ? "there, in the other domain"
                                   : "not seen in the other domain");
    printf("  link      ");
    print_text(&explained->link, "link");
    if (last[0] != '\0') {
        fputs("; the latest one ended: ", stdout);
        shown_print(stdout, last);
    }
    putchar('\n');
}

static void print_listener(const struct explained *explained)
{
    const struct idc_service *found = &explained->found;
    printf("  listener  ");
    if (!explained->asked) {
        puts("not asked for");
    } else if (found->port == 0) {
        shown_print(stdout, explained->why);
        putchar('\n');
    } else {
        printf("port %u, %s", found->port, found->type == IDC_SEQPACKET ? "messages" : "a stream");
        if (found->name[0] != '\0')
            printf(", %s", found->name);
        putchar('\n');
    }
}

static int print_all(const struct explained *explained)
{
    print_outcome(explained);
    print_domain(explained);
    print_rules(explained);
    if (!explained->within) {
        print_quota(explained);
        print_link(explained);
    }
    print_listener(explained);
    if (explained->error == 0)
        return 0;
    return is_refused(explained) ? EXIT_REFUSED : EXIT_FAILED;
}

/* ---- the command ---- */

static int explained_arguments(struct explained *explained, char **args, int count)
{
    if (count != 2)
        return usage_error(explained->command,
                           count < 2 ? "needs a DOMAIN, and a PORT or SERVICE"
                                     : "unexpected argument \"%s\"",
                           count < 2 ? "" : args[2]);
    if (!check_domain(explained->command, args[0]))
        return EXIT_USAGE;
    if (strcmp(args[0], "any") == 0)
        return usage_error(explained->command,
                           "any is no domain; name a domain of the service's route");
    explained->target.domain = args[0];
    return parse_service(explained->command, args[1], &explained->target) ? 0 : EXIT_USAGE;
}

static bool explained_type(struct explained *explained, const char *text)
{
    explained->type = strcmp(text, "seqpacket") == 0 ? IDC_SEQPACKET : IDC_STREAM;
    return explained->type == IDC_SEQPACKET || strcmp(text, "stream") == 0;
}

/* The question to the other domain may have made the link. */
static void explained_look_again(struct explained *explained)
{
    struct explained now = *explained;
    if (explained_ask_own(&now))
        explained->link = now.own;
}

static int explained_run(struct explained *explained, int timeout_ms)
{
    if (!explained_ask_own(explained)) {
        if (errno != EHOSTUNREACH && errno != ENOTUNIQ)
            return failure(explained->command, "%s", idc_last_error());
        return explain_connect(explained->command, &explained->target, explained->type, errno,
                               idc_last_error());
    }
    explained->link = explained->own;
    if (explained->error == 0) {
        explained_ask_other(explained, timeout_ms);
        explained_look_again(explained);
    }
    return print_all(explained);
}

int run_explain(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"type", required_argument, NULL, 'y'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct explained explained = {.type = IDC_STREAM};
    uint32_t ms = TIMEOUT_DEFAULT_MS;
    int option, status;
    explained.command = command;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 't' && !parse_time(optarg, 1, &ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option == 'y' && !explained_type(&explained, optarg))
            return usage_error(command, "--type takes stream or seqpacket, not \"%s\"", optarg);
        if (option != 't' && option != 'y' && !common_option(command, option, argv, &status))
            return status;
    }
    status = explained_arguments(&explained, argv + optind, argc - optind);
    return status != 0 ? status : explained_run(&explained, (int)ms);
}
