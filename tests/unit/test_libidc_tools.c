/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_libidc_tools.c - the idc command and the demos, as programs: what they print, and how they
 * end. */
#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

/* The programs lie beside the directory of this one. Those of another architecture do not run from
 * a shell, so with $EMULATOR the scripts in $BUILD are taken, which run them in it (scripts/check).
 */
static void libidc_tools_find(char directory[512])
{
    const char *emulator = getenv("EMULATOR"), *build = getenv("BUILD");
    if (emulator && *emulator && build) {
        snprintf(directory, 512, "%s", build);
        return;
    }
    ssize_t len = readlink("/proc/self/exe", directory, 400);
    ck_assert_int_gt(len, 0);
    directory[len] = '\0';
    strcpy(strrchr(directory, '/'), "/..");
}

static void libidc_tools_setup(void)
{
    char directory[512], path[1200];
    server_start();
    setenv("IDC_SOCKET", server_path, 1);
    setenv("D", server_dir, 1);
    libidc_tools_find(directory);
    snprintf(path, sizeof(path), "%s:%s", directory, getenv("PATH"));
    setenv("PATH", path, 1);
}

/* Exit status of a shell script; what it prints, both outputs mixed, in *text. */
static int libidc_tools_run(const char *script, char text[65536])
{
    char command[2048];
    snprintf(command, sizeof(command), "{ %s\n} 2>&1", script);
    FILE *pipe = popen(command, "r");
    size_t len = fread(text, 1, 65535, pipe);
    text[len] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const struct use {
    const char *script;
    int status;
    const char *says; /* somewhere in the output */
    int lines;        /* of output, -1: any number */
} uses[] = {
    {"idc", 2, "usage: idc", -1},
    {"idc --help", 0, "services", -1},
    {"idc --version", 0, "idc ", 1},
    {"idc nosuch", 2, "nosuch", 1},
    {"idc status", 0, "platform fake", -1},
    {"idc status --json | tr -d ' ' | tr '\\n' ' '", 0, "\"fake_large\":1099511627776", -1},
    {"idc status --help", 0, "--connections", -1},
    {"idc status extra", 2, "extra", 1},
    {"idc status --nosuch", 2,
     "idc status: --nosuch is not an option, or takes no argument (see idc status --help)", 1},
    {"idc status --json=3", 2,
     "idc status: --json=3 is not an option, or takes no argument (see idc status --help)", 1},
    {"idc status --json -xh", 2,
     "idc status: -x is not an option, or takes no argument (see idc status --help)", 1},
    {"idc services 4 --socket", 2,
     "idc services: --socket needs an argument (see idc services --help)", 1},
    {"idc run --nosuch x", 2,
     "idc run: --nosuch is not an option, or takes no argument (see idc run --help)", 1},
    {"idc ping -c", 2, "idc ping: -c needs an argument (see idc ping --help)", 1},
    {"idc ping -W 0 4", 2, "--timeout takes seconds, 0.001 to 3600", 1},
    {"idc ping -i x 4", 2, "--interval takes seconds, 0 to 3600", 1},
    {"idc ping -c 2 -i 0.01 -W 2.5 4", 0, "2 sent, 2 answered", 7},
    {"idc ping -c 2 -i 10ms -W 2s 4", 0, "2 sent, 2 answered", 7},
    {"idc --socket /nonexistent status", 1, "no link_mgr serves /nonexistent", 1},
    {"idc --socket $IDC_SOCKET status", 0, "platform fake", -1},
    {"idc --socket", 2, "idc: --socket needs an argument (see idc --help)", 1},
    {"idc --nosuch status", 2, "idc: --nosuch is not an option, or takes no argument (see idc", 1},
    {"idc help", 0, "usage: idc", -1},
    {"idc help ping", 0, "-W, --timeout S", -1},
    {"idc help help", 0, "usage: idc [--socket PATH] COMMAND", -1},
    {"idc bench --listen --json", 2, "--listen takes no DOMID, no --json and no --seconds", 1},
    {"idc bench --listen --seconds 1", 2, "--listen takes no DOMID, no --json and no --seconds", 1},
    {"idc cat 4 80 81", 2, "idc cat: unexpected argument \"81\"", 1},
    {"idc status >/dev/full", 1, "idc status: cannot write the output: No space left", 1},
    {"test_conn --version", 0, "test_conn " IDC_VERSION "\n", 1},
    {"test_accept --version", 0, "test_accept " IDC_VERSION "\n", 1},
    {"test_conn --version >/dev/full", 1, "cannot write the output: No space left", 1},
    {"test_accept --version >/dev/full", 1, "cannot write the output: No space left", 1},
    {"idc help nosuch", 2, "there is no command \"nosuch\" (see idc --help)", 1},
    {"idc -V", 0, "idc ", 1},
    {"idc bench --name 80 4", 2,
     "SERVICE must be up to 79 of A-Z a-z 0-9 . _ - with a letter among them, not \"80\"", 1},
    {"idc status --socket /nonexistent", 1, "no link_mgr serves /nonexistent", 1},
    {"idc ping -c 3 -i 0.001 4", 0, "3 sent, 3 answered", 8},
    {"idc ping -c x 4", 2, "COUNT", 1},
    {"idc ping", 2, "DOMID", 1},
    {"idc ping 40000", 2, "DOMID", 1},
    {"idc ping ''", 2, "is not empty", 1},
    {"idc ping a:b", 2, "a name that has a colon is name:NAME", 1},
    {"idc ping -c 1 web", 0, "--- domain web ---", -1},
    {"idc ping -c 1 name:web", 0, "--- domain name:web ---", -1},
    {"idc ping -c 1 nobody", 1, "cannot connect to domain nobody: No route to host", 1},
    {"idc ping -c 1 twin", 1, "Name not unique", 1},
    {"idc services web", 0, "4000000000 seqpacket org.example.a\n", 2},
    {"idc services 'mail-*'", 2, "a glob is many domains", 1},
    {"idc wait web 80", 0, "", 0},
    {"idc wait --timeout 60 twin 80", 1, "Name not unique", 1}, /* at once */
    {"echo hi | idc cat web 5", 0, "hi\n", 1},
    {"echo hi | idc cat self 5", 0, "hi\n", 1},
    {"idc cat web 13", 1, ": idc-setup allow 3 5 13\n", 1},
    {"idc cat web 99", 1, "(what it offers: idc services web)", 1},
    {"idc cat any no.service </dev/null", 1, "cannot connect to service no.service of any domain",
     1},
    {"idc bench nobody", 1, "no such domain", 1},
    {"idc ping -c 1 --socket /nonexistent 4", 1, "no link_mgr serves", 1},
    {"idc services 4", 0, "4000000000 seqpacket org.example.a\n", 2},
    /* a limit is for the whole answer */
    {"timeout 60 idc services --timeout 0.5 8 >/dev/null", 1, "no answer in time", 1},
    {"timeout 60 idc wait --timeout 0.5 8 80", 1, "does not say what listens there", 1},
    {"idc wait 4 80", 0, "", 0},
    {"idc wait --timeout 0 4 81", 1, "nothing listens there", 1},
    {"idc services --timeout 0 4", 2, "--timeout takes seconds", 1},
    {"idc cat 4 99", 1, "refused", 1},
    {"idc cat 4 99", 1, "idc services 4", 1},
    {"idc cat 4 13", 1, ": idc-setup allow 3 4 13\n", 1},
    {"idc cat 5 13", 1, ": idc-setup allow 3 5 13\n",
     1}, /* by domid, though it has a name: others may have that too */
    {"idc cat name:web 13", 1, ": idc-setup allow 3 5 13\n", 1},
    {"idc cat 0 13", 1, ": idc-setup allow 3 dom0 13\n", 1},
    {"idc cat any no.entry", 1, " 3 any no.entry\n", 1},
    {"idc wait any no.entry", 2, "any is no domain to wait for", 1},
    {"idc cat 4 no.entry", 1, ": idc-setup allow 3 4 no.entry\n", 1},
    {"idc cat 4", 2, "DOMID", 1},
    {"idc cat 4 0x50", 1, "service 0x50", 1},
    {"idc cat 4 0", 2, "\"0\" is neither a PORT, 1 to 4294967295, nor a SERVICE, up to 79", 1},
    {"idc cat 4 4294967296", 2, "\"4294967296\" is neither a PORT", 1},
    {"idc cat 4 bad/name", 2, "\"bad/name\" is neither a PORT", 1},
    {"idc cat 4 $(head -c 80 /dev/zero | tr '\\0' a)", 2, "is neither a PORT", 1},
    {"idc cat --listen --name 80", 2, "SERVICE must be up to 79", 1},
    {"idc cat --listen --once --keep", 2, "--once and --keep contradict each other", 1},
    {"idc cat -d --send-only 4 80", 2, "--recv-only and --send-only contradict", 1},
    {"idc cat -c cat 4 80", 2, "go with --listen", 1},
    {"idc cat --once 4 80", 2, "go with --listen", 1},
    {"idc cat --timeout 0 4 80", 2, "--timeout takes seconds, 0.001 to 3600, or", 1},
    {"idc cat --timeout 0.05 4 7", 1, "out", 1},
    {"idc cat --listen 4", 2, "DOMID", 1},
    {"idc cat --port 5 4 4", 2, "--listen", 1},
    {"echo hi | idc cat 4 5", 0, "hi\n", 1},
    {"echo hi | idc cat --seqpacket 4 5", 0, "hi\n", 1},
    {"echo hi | idc cat 4 6", 1, "the permission was revoked", 1},
    /* the reset comes after the other side's end, while cat waits for more of a stdin that doesn't
     * end */
    {"mkfifo $D/in; exec 3<>$D/in; rm $D/in; echo hi >&3; idc cat 4 9 <&3", 1,
     "receiving: the permission was revoked", 1},
    {"mkfifo $D/in; exec 3<>$D/in; rm $D/in; echo hi >&3; idc cat --seqpacket 4 9 <&3", 1,
     "the permission was revoked", 1},
    {"test_conn --help 2>/dev/null", 0, "usage: test_conn", 1},
    {"test_conn", 2, "usage", 1},
    {"test_conn x", 1, "domain x port 80: No route to host", 1},
    {"test_conn 2x 80", 1, "No route to host", 1},
    {"test_conn 40000 80", 2, "a domid is 0 to 32751", 1},
    {"test_conn '' 80", 2, "not empty", 1},
    {"test_conn twin 80", 1, "Name not unique", 1},
    {"test_conn web 5", 1, "not what test_accept answers", -1},
    {"test_conn 2 80x", 2, "usage", 1},
    {"test_conn 2 0", 2, "usage", 1},
    {"test_conn 2 4294967296", 2, "usage", 1},
    {"test_conn 3 81", 1, "refused", 1},
    {"test_conn 3 5", 1, "not what test_accept answers", -1},
    {"test_conn --socket /nonexistent 3", 1, "no link_mgr serves /nonexistent", 1},
    {"test_accept --help 2>/dev/null", 0, "usage: test_accept", 1},
    {"test_accept", 2, "usage", 1},
    {"test_accept -h", 0, "usage: test_accept", 1},
    {"test_conn -h", 0, "usage: test_conn", 1},
    {"idc-setup -h", 0, "usage: idc-setup", -1},
    {"link_mgr -h", 0, "usage: link_mgr", -1},
    {"idc bench --port 5 --name a.b 4", 2, "--port and --name contradict each other", 1},
    {"idc bench --listen --port 5 --name a.b", 2, "--port and --name contradict", 1},
    {"test_accept 0", 2, "usage", 1},
    {"test_accept 80x", 2, "usage", 1},
    {"test_accept --socket /nonexistent 80", 1, "no link_mgr serves /nonexistent", 1},
};

/* What prints to stdout. A full disk and a closed stdout are failures of one line. */
static const char *const printers[] = {
    "idc --help",
    "idc --version",
    "idc help ping",
    "idc status",
    "idc status --json",
    "idc status --connections",
    "idc status --help",
    "idc ping --help",
    "idc cat --help",
    "idc bench --help",
    "idc run --help",
    "idc wait --help",
    "idc services --help",
    "idc services 4",
    "idc ping -c 2 -i 0 4",
    "idc ping -i 0 4", /* ... and it doesn't go on for ever */
    "idc-setup --help",
    "idc-setup --version",
    "idc-setup --store $D --list",
    "idc-setup --store $D --list --json",
    "link_mgr --help",
    "link_mgr --version",
    "test_conn --help",
    "test_accept --help",
    "test_accept 4001",
};

static int count_lines(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

START_TEST(use)
{
    const struct use *u = &uses[_i];
    static char text[65536];
    int status = libidc_tools_run(u->script, text);
    ck_assert_msg(status == u->status && strstr(text, u->says) != NULL, "%s: status %d: %s",
                  u->script, status, text);
    ck_assert_msg(u->lines < 0 || count_lines(text) == u->lines, "%s: %s", u->script, text);
}
END_TEST

/* Until somebody listens. */
#define AWAIT(service) "until idc status | grep -qE '(^| )" service "( |$)'; do sleep 0.1; done; "

/* Something to be stdin that has no end. */
#define IDLE "mkfifo $D/in; exec 3<>$D/in; "

/* Scripts of both sides; the status is the last command's. */
static const char *const scripts[] = {
    /* demos */
    "test_accept 80 >$D/out & until test_conn 3 >$D/answer 2>/dev/null; do sleep 0.05; done; kill "
    "$!; wait\n"
    "grep -q 'hello from test_conn' $D/out && grep -q 'you said: hello from test_conn' $D/answer",
    /* both directions at once, byte for byte */
    "head -c 3000000 /dev/urandom >$D/a; head -c 2000000 /dev/urandom >$D/b\n"
    "idc cat --listen --port 4000 <$D/b >$D/a2 & " AWAIT(
        "4000") "idc cat 3 4000 <$D/a >$D/b2\n"
                "wait $! && cmp $D/a $D/a2 && cmp $D/b $D/b2",
    /* messages longer than a socket's buffer */
    "head -c 1000000 /dev/urandom >$D/a\n"
    "idc cat --seqpacket --listen --name a.b </dev/null >$D/a2 & " AWAIT(
        "a.b") "idc cat --seqpacket 3 a.b <$D/a\n"
               "wait $! && cmp $D/a $D/a2",
    /* the answer comes after the end of the question */
    "mkfifo $D/pipe; { cat <$D/pipe >$D/question; >$D/ended; } &\n"
    "{ until test -e $D/ended; do sleep 0.1; done; echo answer; } | idc cat --listen --port 4000 "
    ">$D/pipe &\n" AWAIT("4000") "test \"$(echo question | idc cat 3 4000)\" = answer && wait $! "
                                 "&& grep -q question $D/question",
    /* --keep serves one after the other */
    "idc cat --listen --port 4000 --keep >$D/all & " AWAIT(
        "4000") "for i in 1 2 3; do echo $i | idc cat 3 4000; done\n"
                "until test $(wc -l <$D/all) = 3; do sleep 0.1; done; kill $!; wait\n"
                "test \"$(tr -d '\\n' <$D/all)\" = 123",
    /* two whose stdin doesn't end would wait for each other; -d, -N and --send-only don't */
    IDLE "idc cat --listen -d --port 4000 <$D/in >$D/all & " AWAIT(
        "4000") "echo hi | idc cat 3 4000 && wait $! && test $(cat $D/all) = hi",
    IDLE "idc cat --listen -N --port 4000 <$D/in >$D/all & " AWAIT(
        "4000") "echo hi | idc cat 3 4000 && wait $! && test $(cat $D/all) = hi",
    IDLE "idc cat --listen --port 4000 <$D/in >$D/all & " AWAIT(
        "4000") "echo hi | idc cat --send-only 3 4000 && wait $! && test $(cat $D/all) = hi",
    /* what comes meanwhile does no harm to what was sent */
    "head -c 3000000 /dev/urandom >$D/a; head -c 2000000 /dev/urandom >$D/b\n"
    "idc cat --listen --port 4000 <$D/b >$D/a2 & " AWAIT(
        "4000") "idc cat --send-only 3 4000 <$D/a >$D/out && ! test -s $D/out && wait $! && "
                "cmp $D/a $D/a2",
    /* ... nor what comes once stdin has ended */
    "head -c 100000 /dev/urandom >$D/a; mkfifo $D/ended\n"
    "idc cat -l --port 4000 -c 'read x <$D/ended; yes | head -c 1000000; cat >$D/a2' & " AWAIT(
        "4000") "{ cat $D/a; echo >$D/ended; } | idc cat --send-only 3 4000 && wait $! && cmp $D/a "
                "$D/a2",
    /* what stdin holds with -N is sent */
    "head -c 3000000 /dev/urandom >$D/a\n"
    "idc cat --listen -d --port 4000 >$D/a2 & " AWAIT(
        "4000") "idc cat -N 3 4000 <$D/a; wait $! && cmp $D/a $D/a2",
    /* ways to answer with -k: stdin, and a command. With -N an idle stdin keeps nobody waiting. */
    IDLE "idc cat -lkN --port 4000 <$D/in >$D/all & p=$!; " AWAIT(
        "4000") "for i in 1 2; do mkfifo $D/pipe; idc cat 3 4000 <$D/pipe >$D/out & "
                "exec 4>$D/pipe; rm $D/pipe; echo q$i >&4; until grep -q q$i $D/all; do sleep "
                "0.05; done; "
                "echo a$i >&3; until grep -qx a$i $D/out; do sleep 0.05; done; exec 4>&-; wait $!; "
                "done; "
                "kill $p",
    "idc cat -lk --port 4000 -c 'tr a-z A-Z; echo domain $IDC_PEER_DOMID' & p=$!; " AWAIT(
        "4000") "test \"$(echo hi | idc cat 3 4000 | tr "
                "'\\n' ' ')\" = "
                "'HI domain 3 ' && test \"$(echo ho | idc cat 3 4000 | head -1)\" = HO; s=$?; kill "
                "$p; "
                "test $s = 0",
    "idc cat -l --port 4000 -c 'cat; exit 7' & " AWAIT(
        "4000") "test \"$(echo hi | idc cat 3 4000)\" = hi; wait $!; test $? = 7",
    /* Ctrl-C ends a ping, with its summary */
    ("idc ping 4 >$D/out & until grep -q time= $D/out; do sleep 0.1; done; kill -INT $!; wait $!; "
     "grep -q 'rtt min/avg/max' $D/out"),
};

START_TEST(output_fails)
{
    static char text[65536];
    static const char *const outputs[] = {">/dev/full", ">&-"};
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        char script[512];
        snprintf(script, sizeof(script), "%s %s", printers[_i], outputs[i]);
        int status = libidc_tools_run(script, text);
        ck_assert_msg(status == 1 && count_lines(text) == 1 &&
                          strstr(text, "cannot write the output"),
                      "%s: status %d, and: %s", script, status, text);
    }
}
END_TEST

START_TEST(script)
{
    static char text[65536];
    int status = libidc_tools_run(scripts[_i], text);
    ck_assert_msg(status == 0, "%s\nstatus %d: %s", scripts[_i], status, text);
    libidc_tools_run(
        "rm -f $D/a $D/a2 $D/b $D/b2 $D/out $D/answer $D/question $D/ended $D/pipe $D/all $D/in",
        text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tools");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, libidc_tools_setup, server_stop);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, use, 0, sizeof(uses) / sizeof(uses[0]));
    tcase_add_loop_test(tests, output_fails, 0, sizeof(printers) / sizeof(printers[0]));
    tcase_add_loop_test(tests, script, 0, sizeof(scripts) / sizeof(scripts[0]));
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
