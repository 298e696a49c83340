/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/line_out.h"
#include "common/naming.h"
#include "common/service_name.h"
#include "common/shown.h"
#include "libidc/internal.h"
#include "tools/advice.h"
#include "tools/measure/ask.h"

const char *command_socket;

/* Complains about what getopt_long could not read, which may be one letter of several. */
int command_complain(const struct command *command, int option, char **argv)
{
    const char *word = argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    if (option == ':')
        return usage_error(command, "%s needs an argument", word);
    if (strchr(word, '=') == NULL && optopt != 0)
        word = letter;
    return usage_error(command, "%s is not an option, or takes no argument", word);
}

bool common_option(const struct command *command, int option, char **argv, int *status)
{
    if (option == 'S') {
        command_socket = optarg;
        return true;
    }
    if (option == 'h') {
        printf("usage: idc %s [--socket PATH] %s\n\n%s\n\n%s"
               "  --socket PATH      of link_mgr; else $IDC_SOCKET, else /run/idc/rpc.sock\n",
               command->name, command->usage, command->what, command->help);
        *status = 0;
    } else {
        *status = command_complain(command, option, argv);
    }
    return false;
}

int usage_error(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *blank = command->name[0] != '\0' ? " " : "";
    fprintf(stderr, "idc%s%s: ", blank, command->name);
    shown_vprintf(stderr, format, args);
    fprintf(stderr, " (see idc%s%s --help)\n", blank, command->name);
    va_end(args);
    return EXIT_USAGE;
}

int failure(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "idc %s: ", command->name);
    shown_vprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_FAILED;
}

void command_serves(const struct command *command)
{
    static char program[32];
    snprintf(program, sizeof(program), "idc %s", command->name);
    line_out_take(&stderr, program);
}

bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < min ||
        number > max)
        return false;
    *out = (uint32_t)number;
    return true;
}

bool parse_time(const char *text, uint32_t min, uint32_t *ms)
{
    char *end;
    double number = strtod(text, &end);
    bool is_number = (text[0] >= '0' && text[0] <= '9') || text[0] == '.';
    if (strcmp(end, "ms") != 0)
        number *= 1000;
    if (!is_number || end == text ||
        (*end != '\0' && strcmp(end, "s") != 0 && strcmp(end, "ms") != 0))
        return false;
    if (!(number >= 0 && number <= MS_MAX))
        return false;
    *ms = (uint32_t)number + (number > (uint32_t)number + 1e-6); /* upwards, except for rounding */
    if (*ms < min)
        return false;
    return true;
}

double command_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

bool check_domain(const struct command *command, const char *text)
{
    struct naming naming;
    const char *wrong = naming_parse(&naming, text);
    if (wrong != NULL)
        usage_error(command, "\"%s\" is neither a DOMID nor another DOMAIN: %s", text, wrong);
    return wrong == NULL;
}

bool take_domain(const struct command *command, char **arguments, int count, const char **out)
{
    if (count == 0)
        usage_error(command, "needs a DOMAIN (its name, or its DOMID)");
    else if (count > 1)
        usage_error(command, "unexpected argument \"%s\"", arguments[1]);
    else if (check_domain(command, arguments[0]))
        *out = arguments[0];
    else
        return false;
    return count == 1;
}

int resolve_domain(const char *text, uint32_t *domid)
{
    struct naming naming;
    struct compact_writer call;
    struct libidc_answer answer;
    const char *wrong = naming_parse(&naming, text);
    *domid = naming.domid;
    if (wrong != NULL)
        return libidc_fail(EINVAL, "%s", wrong);
    if (naming.kind == NAMING_DOMID)
        return 0;
    compact_begin(&call, COMPACT_CALL, "idc.resolve");
    compact_put_text(&call, "domain", text);
    if (libidc_call(libidc_socket_path(command_socket), &call, ASK_TIMEOUT_MS, &answer, NULL) < 0)
        return -1;
    *domid = (uint32_t)libidc_answer_int(&answer, "domid", 0);
    return 0;
}

#define NAME_RULE "up to %d of A-Z a-z 0-9 . _ - with a letter among them"

bool check_service(const struct command *command, const char *name)
{
    if (service_name_valid(name, strlen(name)))
        return true;
    usage_error(command, "SERVICE must be " NAME_RULE ", not \"%s\"", IDC_SERVICE_MAX, name);
    return false;
}

bool parse_service(const struct command *command, const char *text, struct target *target)
{
    if (parse_number(text, 1, UINT32_MAX, &target->port))
        return true;
    target->service = text;
    if (service_name_valid(text, strlen(text)))
        return true;
    usage_error(command, "\"%s\" is neither a PORT, 1 to %u, nor a SERVICE, " NAME_RULE, text,
                UINT32_MAX, IDC_SERVICE_MAX);
    return false;
}

/* ---- connecting ---- */

static void print_target(const struct target *target)
{
    if (strcmp(target->domain, "any") == 0 && target->port == 0)
        shown_printf(stderr, "service %s of any domain", target->service);
    else if (target->port == IDC_PORT_MANAGER)
        shown_printf(stderr, "domain %s", target->domain);
    else if (target->port != 0)
        shown_printf(stderr, "domain %s port %u", target->domain, target->port);
    else
        shown_printf(stderr, "domain %s service %s", target->domain, target->service);
}

int explain_connect(const struct command *command, const struct target *target, int type, int error,
                    const char *why)
{
    char advice[ADVICE_MAX];
    fprintf(stderr, "idc %s: cannot connect to ", command->name);
    print_target(target);
    shown_printf(stderr, ": %s", why);
    advice_make(target, type, error, why, advice); /* it may overwrite why */
    shown_print(stderr, advice);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

int connect_target(const struct target *target, int type)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    char port[16];
    options.socket = command_socket;
    options.type = type;
    options.timeout_ms = target->timeout_ms;
    options.wait = target->wait;
    snprintf(port, sizeof(port), "%u", target->port);
    return idc_connect_to(target->domain, target->port != 0 ? port : target->service, &options);
}

int connect_or_explain(const struct command *command, const struct target *target, int type)
{
    int fd = connect_target(target, type);
    if (fd < 0)
        explain_connect(command, target, type, errno, idc_last_error());
    return fd;
}

void format_bytes(int64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double number = (double)bytes;
    unsigned unit = 0;
    for (; number >= 999.5 && unit < 5; unit++)
        number /= 1024;
    snprintf(out, size, unit > 0 && number < 9.95 ? "%.1f %s" : "%.0f %s", number, units[unit]);
}
