/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - what the subcommands of `idc` share. Each is one function that gets its arguments
 * without "idc" and returns the exit status: 0, 1 for a failure, 2 for wrong usage. Every failure
 * prints one line on stderr that says what to do.
 */
#ifndef IDC_COMMAND_H
#define IDC_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define MS_MAX 3600000 /* for times on the command line */

struct command {
    const char *name;
    const char *usage; /* arguments, for the usage line */
    const char *what;  /* one line */
    const char *help;  /* the rest of --help */
    int (*run)(const struct command *command, int argc, char **argv);
};

int run_status(const struct command *command, int argc, char **argv);
int run_ping(const struct command *command, int argc, char **argv);
int run_cat(const struct command *command, int argc, char **argv);
int run_run(const struct command *command, int argc, char **argv);
int run_services(const struct command *command, int argc, char **argv);
int run_wait(const struct command *command, int argc, char **argv);
int run_explain(const struct command *command, int argc, char **argv);
int run_forward(const struct command *command, int argc, char **argv);
int run_serve(const struct command *command, int argc, char **argv);
int run_channels(const struct command *command, int argc, char **argv);
int run_rpc(const struct command *command, int argc, char **argv);
int run_capture(const struct command *command, int argc, char **argv);
int run_bench(const struct command *command, int argc, char **argv);
int run_top(const struct command *command, int argc, char **argv);
int run_complete(const struct command *command, int argc, char **argv);

/* All commands, for completion; NULL behind the last one. */
const struct command *command_at(size_t place);

/* The daemon's RPC socket: --socket, or what libidc takes by itself. */
extern const char *command_socket;

/*
 * Every command calls this for an option of getopt_long (whose string begins with ":") that is not
 * its own. 'S' is --socket, 'h' is --help; for anything else it complains. False: the command is
 * over, with *status.
 */
bool common_option(const struct command *command, int option, char **argv, int *status);
/* Complains about what getopt_long could not read (option is ':' or '?'). */
int command_complain(const struct command *command, int option, char **argv);
int usage_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "idc NAME: ..." on stderr; EXIT_FAILED. */
int failure(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* From now on nothing that is printed to stderr waits for whoever reads it (common/line_out.h): for
 * commands that serve others. */
void command_serves(const struct command *command);

/* A time in seconds (0.25, 3, 2s) or milliseconds (250ms), as milliseconds of min..MS_MAX. */
bool parse_time(const char *text, uint32_t min, uint32_t *ms);
#define TIME_RULE "takes seconds, %g to 3600, or milliseconds (250ms), not \"%s\""
/* The monotonic clock in milliseconds. */
double command_now_ms(void);

/* At most three digits, and a unit: 0 B, 999 B, 1.5 KiB, 12 MiB. */
void format_bytes(int64_t bytes, char *out, size_t size);

/* A decimal number of min..max. */
bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out);
/* Does the text name a domain (common/naming.h)? If not, it complains. */
bool check_domain(const struct command *command, const char *text);
/* Takes the only argument of a command. If it names no domain, or is not the only one, it
 * complains. */
bool take_domain(const struct command *command, char **arguments, int count, const char **out);
/* The domid of a domain now; a number is not looked up. -1 with errno and idc_last_error. */
int resolve_domain(const char *text, uint32_t *domid);
/* Can a service have this name? If not, it complains. */
bool check_service(const struct command *command, const char *name);

/* Where to connect to. */
struct target {
    const char *domain; /* as it was given: a name or a number */
    uint32_t port;      /* 0: by name */
    const char *service;
    const char *start; /* the command that makes it listen, or NULL */
    int timeout_ms;    /* 0: the usual */
    bool wait;         /* for what is not there yet */
};

/* Reads a port, or else the name of a service. If the text is neither, it complains. */
bool parse_service(const struct command *command, const char *text, struct target *target);

/* Prints "cannot connect to ..." and what can be done about this errno; why says it in words.
 * Returns EXIT_FAILED. */
int explain_connect(const struct command *command, const struct target *target, int type, int error,
                    const char *why);
/* A descriptor, or -1 with errno and idc_last_error. */
int connect_target(const struct target *target, int type);
/* As connect_target, but if it fails, it prints a line on stderr that explains why. */
int connect_or_explain(const struct command *command, const struct target *target, int type);

#endif
