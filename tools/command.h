/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - what the subcommands of `idc` share. Each is one function that gets its arguments without "idc" and
 * returns the exit status: 0, 1 for a failure, 2 for wrong usage, with one line on stderr that says what to do.
 */
#ifndef IDC_COMMAND_H
#define IDC_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "idc.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

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
int run_bench(const struct command *command, int argc, char **argv);

/* The daemon's RPC socket: --socket, or what libidc takes by itself. */
extern const char *command_socket;

/*
 * The options that every command has, for getopt_long: 'S' is --socket, 'h' is --help. False: neither (the caller then
 * complains), and *status is set when the command is over.
 */
bool common_option(const struct command *command, int option, int *status);
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "idc NAME: ..." on stderr; EXIT_FAILED. */
int failure(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A decimal number of min..max. */
bool parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out);
bool parse_domid(const char *text, uint32_t *out);

/* Where to connect to. */
struct target {
    uint32_t domid;
    uint32_t port;       /* 0: by name */
    const char *service;
    const char *start; /* the command that makes it listen, or NULL */
};

/* "cannot connect to ..." with what can be done about this errno; EXIT_FAILED. why: in words. */
int explain_connect(const struct command *command, const struct target *target, int error, const char *why);
/* A descriptor, or -1 after a line on stderr that explains the failure. */
int connect_or_explain(const struct command *command, const struct target *target, int type);

#endif
