/* SPDX-License-Identifier: GPL-2.0-or-later */
/* idc - asks link_mgr for information, and uses connections, from the shell. The subcommands are in
 * one table. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/standard_output.h"
#include "tools/command.h"

static const struct command commands[] = {
    {"status",
     "[--json] [--connections] [--watch [S]]\n"
     "       [--timeout S]\n"
     "   or: idc status --prometheus [--listen PLACE] [--timeout S]\n"
     "   or: idc status --channels [--json] [--state PATH] [--timeout S]",
     "what link_mgr is doing: links, listeners, counters",
     "  --json             all of it, as JSON\n"
     "  --connections      every connection, and your handles, too\n"
     "  --watch            again and again, each 2 seconds, or as many as stand behind\n"
     "                     it; q or Ctrl-C ends it\n"
     "  --prometheus       metrics in Prometheus' text format\n"
     "  --listen PLACE     ... for a scraper, at /metrics by HTTP, on unix:PATH or\n"
     "                     tcp:ADDRESS:PORT, until SIGTERM\n"
     "  --channels         the channels of idc channels instead\n"
     "  --state PATH       ... as its --state\n"
     "  --timeout S        seconds to wait for the answer, default 5\n",
     run_status},
    {"top", "[-i S] [-c N] [--sort ORDER] [--timeout S]",
     "links and connections by how much they carry",
     "  -i, --interval S   seconds between two answers, default 2\n"
     "  -c, --count N      end after so many\n"
     "  --sort ORDER       by rate (default), sent, received or total\n"
     "  --timeout S        seconds to wait for each answer, default 5\n"
     "Keys: q ends it, left and right change the order, up and down the lines.\n",
     run_top},
    {"ping", "[-c COUNT] [-i S] [-W S] DOMAIN", "measure the way to a domain's link_mgr and back",
     "  -c, --count COUNT  stop after so many; else Ctrl-C stops it\n"
     "  -i, --interval S   seconds between two, default 1; 0.2 is a fifth of one\n"
     "  -W, --timeout S    seconds to wait for the connection, default 30, and for\n"
     "                     each answer, default 5\n",
     run_ping},
    {"cat",
     "[OPTION]... DOMAIN PORT|SERVICE\n"
     "   or: idc cat --listen [--port PORT] [--name SERVICE] [OPTION]...",
     "connect stdin and stdout to a service, or be one",
     "  --seqpacket        messages instead of a stream: each read of stdin makes one\n"
     "  --timeout S        seconds to wait for the connection, default 30\n"
     "  --expect-uid UID   say nothing to a program of another user that listens there\n"
     "  -d, --recv-only    don't read stdin and send nothing\n"
     "  --send-only        throw away what comes; after the end of stdin, end when the\n"
     "                     other side does or has sent nothing for 5 seconds\n"
     "  -N, --no-wait      end when the other side ends and stdin has no more then\n"
     "  --progress         amounts and rate on stderr, while it lasts\n"
     "  -l, --listen       wait for a connection instead of making one\n"
     "  --port PORT        ... on this port\n"
     "  --name SERVICE     ... on this service name\n"
     "  --once             ... end after the first connection (default)\n"
     "  -k, --keep         ... then wait for the next; stdin goes to the present one,\n"
     "                     until its other side closes, or both sides have ended;\n"
     "                     with -N until the other side ends and stdin has no more\n"
     "  -c, --exec COMMAND ... a shell command for each, with the connection as its\n"
     "                     stdin and stdout; with --keep several at once\n"
     "The end of stdin shuts the sending side down. idc cat then waits for the other\n"
     "side, which may still answer. -d, --send-only and -N say for whom not to wait.\n",
     run_cat},
    {"forward", "[OPTION]... FROM TO", "join a connection to a socket, a pty, a file or a command",
     "  --max N            connections at a time, default 4096; others wait\n"
     "  --mode MODE        of the socket of unix-listen, such as 660\n"
     "  --once             end after the first connection\n"
     "  --wait             if FROM cannot listen yet, try again until it can\n"
     "FROM and TO are each one of\n"
     "  idc:DOMAIN:SERVICE         connect to a service, or a port, of a domain\n"
     "  idc-listen:SERVICE         be a service, by a name or a port\n"
     "  unix:PATH                  connect to a Unix socket; with PATH,connect=PORT\n"
     "                             it is told CONNECT PORT, and has to answer OK\n"
     "  unix-listen:PATH           be one; with PATH,connect a client first writes\n"
     "                             CONNECT PORT and reads OK PORT; TO is idc:DOMAIN:*\n"
     "  tcp:HOST:PORT              connect by TCP; [HOST] for an IPv6 address\n"
     "  tcp-listen:ADDRESS:PORT    listen on an address of this machine\n"
     "  vsock:CID:PORT             connect by AF_VSOCK: the kernel's, or IDC's by\n"
     "                             idc run\n"
     "  pty:PATH                   a terminal, PATH is a link to it\n"
     "  file:PATH                  append to a file; SIGHUP opens it anew\n"
     "  exec:COMMAND               the standard input and output of a shell command\n"
     "  stdio, fd:N                those of idc forward itself, or a descriptor\n"
     "One of the two may listen. Then the other is opened for each connection. If none\n"
     "listens, they are joined again and again, with pauses; stdio and fd:N only once.\n",
     run_forward},
    {"channels",
     "[OPTION]...\n"
     "   or: idc channels --check [--config PATH]...",
     "the channels of /etc/idc/channels and channels.d/",
     "  --check            say what is wrong with the files, and open nothing\n"
     "  --config PATH      a file or directory in place of these two; may be repeated\n"
     "  --state PATH       the socket for idc status --channels\n"
     "  --terminals DIR    where connection=pty has its links, default\n"
     "                     /dev/idc-channels\n"
     "Each line of a file is one channel, FROM and TO as in idc forward:\n"
     "  NAME: FROM -> TO [max=N] [mode=MODE]\n"
     "  connection=socket,path=PATH,name=SERVICE[,domain=DOMAIN]\n"
     "  connection=pty,name=SERVICE[,domain=DOMAIN]\n"
     "An end with blanks stands in double quotes. SIGHUP reads the files again: what\n"
     "is unchanged keeps its connections.\n",
     run_channels},
    {"serve", "[OPTION]... [--] PROGRAM [ARG]...\n   or: idc serve [OPTION]... --systemd UNIT",
     "run a program for each connection to a service",
     "  --name SERVICE     the service, by its name\n"
     "  --port N           ... by its port. With neither, a port is picked\n"
     "  --type TYPE        stream (default), or seqpacket: messages\n"
     "  --max N            processes at a time, default 100; connections then wait\n"
     "  --user USER        as whom the program runs; needs root\n"
     "  --systemd UNIT     a unit of systemd that is started by its Unix socket serves\n"
     "  --wait             if link_mgr is not there yet, try again until it is\n"
     "The connection is the program's standard input and output. In its environment:\n"
     "  IDC_PEER_DOMID, IDC_PEER_NAME, IDC_PEER_PORT, IDC_PEER_UID   who calls\n"
     "  IDC_SERVICE        the name that was called, if it was a name\n",
     run_serve},
    {"bench", "[OPTION]... DOMAIN\n   or: idc bench --listen [--port PORT|--name SERVICE]",
     "measure connections to a domain",
     "  --listen           be the other side: serve until killed\n"
     "  --port PORT        connect to, or listen on, this port\n"
     "  --name SERVICE     ... this service; default org.idc.bench\n"
     "  --seconds S        about how long for each figure, default 1\n"
     "  --json             the figures as JSON\n",
     run_bench},
    {"run", "[--] PROGRAM [ARG]...", "run a program whose AF_VSOCK sockets are connections of IDC",
     "CID 2 is domain 0, and so on: CID = DOMID + 2. In the program's environment:\n"
     "  IDC_VSOCK_VERBOSE=1        it says on stderr why a call failed\n"
     "  IDC_VSOCK_TIMEOUT_MS=MS    how long it waits for a connection, default 2000\n",
     run_run},
    {"wait", "[--timeout S] [DOMAIN [PORT|SERVICE]]", "wait until a program could connect",
     "Waits for the own domain's link_mgr. With DOMAIN, it also waits for that\n"
     "domain's link_mgr and the permission to reach it; with PORT or SERVICE, also\n"
     "for a program that listens there. It makes no connection to that program.\n"
     "  --timeout S        give up after S seconds, default 30; 0: only look\n",
     run_wait},
    {"explain", "[--type T] [--timeout S] DOMAIN PORT|SERVICE",
     "say why a connection would be made or not",
     "Looks at the rules, the quota and the link, and at what listens there. It makes\n"
     "no connection to that program. The exit status is 0 if a connection would be\n"
     "made, 3 if rules refuse it, and 1 if something else is missing.\n"
     "  --type T           stream (default), or seqpacket: messages\n"
     "  --timeout S        seconds to wait for the other domain, default 5\n",
     run_explain},
    {"rpc", "[--get MEMBER] METHOD [MEMBER=VALUE]...",
     "call link_mgr, and print the answer as JSON",
     "  --get MEMBER       print this member of the answer alone: data as they are,\n"
     "                     anything else with a newline\n"
     "Methods, and the members that each takes (docs/rpc.md):\n"
     "  connect            domid|domain port|name type timeout_ms wait reset_is_end\n"
     "                     keep_ms peer_timeout_ms\n"
     "  listen             port name type backlog local reset_is_end keep_ms\n"
     "                     peer_timeout_ms\n"
     "  accept             handle timeout_ms keep_ms\n"
     "  send               handle data timeout_ms end\n"
     "  recv               handle max timeout_ms\n"
     "  disconnect         handle\n"
     "  unlisten           handle\n"
     "  reason, unsent     serial\n"
     "  peer_timeout       serial peer_timeout_ms\n"
     "  resolve            domain\n"
     "  explain            domid|domain port|name type\n"
     "  domid\n"
     "  status             detail from\n"
     "  system.listMethods, system.methodHelp METHOD, system.methodSignature METHOD\n"
     "data=TEXT sends the text, data=@FILE what is in the file, data=@- stdin.\n"
     "A handle outlives the command: it ends keep_ms, by default 60000, after the\n"
     "latest call on it. A fault is printed as JSON too, and the exit status is 1.\n",
     run_rpc},
    {"capture", "[OPTION]...", "write what passes on links, for tshark and wireshark",
     "  --peer DOMAIN      only what passes between this domain and that one\n"
     "  --port N           only frames of connections from or to this port\n"
     "  --data             with data; --data=BYTES: so many bytes of each frame\n"
     "  -c, --count COUNT  stop after so many frames; else Ctrl-C stops it\n"
     "  -w, --write FILE   to a file, in place of standard output (-w -)\n"
     "Only root, and the user that link_mgr runs as, may. Connections within the\n"
     "domain have no link, and are not captured. idc capture | tshark -i -\n",
     run_capture},
    {"services", "[--timeout S] DOMAIN", "list what a domain offers: port, type, name",
     "  --timeout S        seconds to wait for the connection, default 30, and for\n"
     "                     the whole answer, default 5\n",
     run_services},
    {"complete", "[--] [WORD]...", "what the last word may become, for shells",
     "The words are those of a command line, without idc before them. The first line\n"
     "says what is completed: words, parts (no blank follows), files, or programs.\n"
     "Each other line is a possible word, and behind a tab what it is. This command\n"
     "takes a second at most, and says nothing of failures.\n",
     run_complete},
};
/* For mistakes before the command. */
static const struct command whole = {.name = ""};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const struct command *command_at(size_t place)
{
    return place < COMMAND_COUNT ? &commands[place] : NULL;
}

static int print_help(FILE *to)
{
    fprintf(to, "usage: idc [--socket PATH] COMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\nA DOMAIN is its name (or name:NAME), uuid:UUID, its domid, dom0, self or any.\n"
                "idc COMMAND --help, or idc help COMMAND, says more. idc --version.\n");
    return to == stdout ? 0 : EXIT_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int no_command(const char *name)
{
    fprintf(stderr, "idc: there is no command \"%s\" (see idc --help)\n", name);
    return EXIT_USAGE;
}

/* idc help COMMAND */
static int help_about(const char *name)
{
    static char help[] = "--help";
    if (strcmp(name, "help") == 0)
        return print_help(stdout);
    const struct command *command = find_command(name);
    char *arguments[] = {(char *)(uintptr_t)name, help, NULL};
    return command != NULL ? command->run(command, 2, arguments) : no_command(name);
}

static int print_version(void)
{
    printf("idc %s\n", idc_version());
    return 0;
}

/* "idc COMMAND", as messages begin. */
static char program[32] = "idc";

static int run_command(int argc, char **argv)
{
    const struct command *command = find_command(argv[0]);
    if (command != NULL)
        snprintf(program, sizeof(program), "idc %s", command->name);
    if (strcmp(argv[0], "help") == 0)
        return argc > 1 ? help_about(argv[1]) : print_help(stdout);
    return command != NULL ? command->run(command, argc, argv) : no_command(argv[0]);
}

static int idc_run(int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    int option;
    opterr = 0; /* the commands complain themselves */
    while ((option = getopt_long(argc, argv, "+:hV", options, NULL)) != -1) {
        if (option == 'h')
            return print_help(stdout);
        if (option == 'V')
            return print_version();
        if (option != 'S')
            return command_complain(&whole, option, argv);
        command_socket = optarg;
    }
    if (optind == argc)
        return print_help(stderr);
    argc -= optind;
    argv += optind;
    optind = 0; /* getopt_long begins again, with the arguments behind the command */
    return run_command(argc, argv);
}

int main(int argc, char **argv)
{
    standard_begin();
    signal(SIGPIPE, SIG_IGN);
    int status = idc_run(argc, argv);
    return standard_end(program, status);
}
