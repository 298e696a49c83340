/* SPDX-License-Identifier: GPL-2.0-or-later */
/* idc - asks link_mgr things, and uses connections, from the shell. The subcommands stand in one
 * table. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/command.h"

static const struct command commands[] = {
    {"status", "[--json] [--connections] [--timeout S]",
     "what link_mgr is doing: links, listeners, counters",
     "  --json             all of it, as JSON\n"
     "  --connections      every connection too\n"
     "  --timeout S        seconds to wait for link_mgr's answer, default 5\n",
     run_status},
    {"ping", "[-c COUNT] [-i MS] [-W MS] DOMID", "measure the way to a domain's link_mgr and back",
     "  -c, --count COUNT  stop after so many; else Ctrl-C stops it\n"
     "  -i, --interval MS  milliseconds between two, default 1000\n"
     "  -W, --timeout MS   milliseconds to wait for the connection, default 30000, and for each "
     "answer, default 5000\n",
     run_ping},
    {"cat",
     "[OPTION]... DOMID PORT|SERVICE\n"
     "   or: idc cat --listen [--port PORT] [--name SERVICE] [OPTION]...",
     "connect stdin and stdout to a service, or be one",
     "  --seqpacket        messages instead of a stream: each read of stdin is one\n"
     "  --timeout MS       milliseconds to wait for the connection, default 30000\n"
     "  -d, --recv-only    don't read stdin and send nothing\n"
     "  --send-only        throw away what comes; end at the end of stdin\n"
     "  -N, --no-wait      end when the other side has, and stdin has no more just then\n"
     "  -l, --listen       wait for a connection instead of making one\n"
     "  --port PORT        ... on this port\n"
     "  --name SERVICE     ... on this service name\n"
     "  --once             ... end after the first connection (default)\n"
     "  -k, --keep         ... then wait for the next; stdin goes to the one there is,\n"
     "                     which is over when it has ended\n"
     "  -c, --exec COMMAND ... a shell command for each, with the connection as its stdin\n"
     "                     and stdout; with --keep several at once\n"
     "At the end of stdin the sending side is shut down; the other side may still answer,\n"
     "and is waited for. -d, --send-only and -N say which side is not.\n",
     run_cat},
    {"bench",
     "[--seconds S] [--json] [--port PORT|--name SERVICE] DOMID\n   or: idc bench --listen [--port "
     "PORT|--name SERVICE]",
     "measure connections to a domain",
     "  --listen           be the other side: serve until killed\n"
     "  --port PORT        connect to, or listen on, this port\n"
     "  --name SERVICE     ... this service; default org.idc.bench\n"
     "  --seconds S        about how long for each figure, default 1\n"
     "  --json             the figures as JSON\n",
     run_bench},
    {"run", "[--] PROGRAM [ARG]...", "run a program whose AF_VSOCK sockets are connections of IDC",
     "CID 2 is domain 0, and so on: CID = DOMID + 2. With IDC_VSOCK_VERBOSE=1 in its environment "
     "the program says on stderr\n"
     "why a connection failed. IDC_VSOCK_TIMEOUT_MS is how long it waits for one that doesn't "
     "come, 2000 by default.\n",
     run_run},
    {"wait", "[--timeout S] [DOMID [PORT|SERVICE]]", "wait until a program could connect",
     "Waits for the domain's own link_mgr; with DOMID, for that of this domain, and the\n"
     "permission to reach it; with PORT or SERVICE, for a program that listens there.\n"
     "No connection to it is made.\n"
     "  --timeout S        seconds until it is given up, default 30; 0: only look\n",
     run_wait},
    {"services", "DOMID", "list what a domain offers: port, type, name", "", run_services},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(FILE *to)
{
    fprintf(to, "usage: idc COMMAND [--socket PATH] [OPTIONS]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\nidc COMMAND --help tells more.\n");
    return to == stdout ? 0 : EXIT_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    opterr = 0; /* the commands complain themselves */
    if (argc < 2)
        return print_help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return print_help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        printf("idc %s\n", idc_version());
        return 0;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "idc: no command \"%s\"; idc --help lists them\n", argv[1]);
        return EXIT_USAGE;
    }
    return command->run(command, argc - 1, argv + 1);
}
