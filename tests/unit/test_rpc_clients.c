/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_rpc_clients.c - clients that others wrote: Python's xmlrpc.client, with the very lines of
 * docs/rpc.md, and curl. Skipped where there is no such program.
 */
#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

static bool rpc_clients_have(const char *program)
{
    char command[64];
    snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
    return system(command) == 0;
}

static FILE *rpc_clients_create(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", server_dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    return file;
}

/* The output of a shell command, malloced. */
static char *output_of(const char *command)
{
    char *text = calloc(1, 65536);
    FILE *pipe = popen(command, "r");
    size_t len = fread(text, 1, 65535, pipe);
    text[len] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "%s: %s", command, text);
    return text;
}

/* ---- Python ---- */

static void rpc_clients_replace(char *text, size_t size, const char *from, const char *to)
{
    char *at = strstr(text, from);
    if (at == NULL)
        return;
    ck_assert_uint_lt(strlen(text) + strlen(to), size);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
}

/* The indented block that begins so, with our socket and our port. */
static void copy_example(FILE *out, const char *first)
{
    char line[512];
    bool copying = false;
    FILE *doc = fopen("docs/rpc.md", "r");
    ck_assert_msg(doc != NULL, "run this in the project's directory");
    while (fgets(line, sizeof(line), doc) != NULL) {
        copying = copying || strncmp(line, first, strlen(first)) == 0;
        if (!copying || (line[0] != ' ' && line[0] != '\n'))
            copying = false;
        if (!copying)
            continue;
        rpc_clients_replace(line, sizeof(line), "/run/idc/rpc.sock", server_path);
        rpc_clients_replace(line, sizeof(line), "\"port\": 80", "\"port\": 5");
        fputs(line[0] == ' ' ? line + 4 : line, out);
    }
    fclose(doc);
}

static const char more_python[] =
    "import errno\n"
    "def fault(method, **members):\n"
    "    try:\n"
    "        method(members)\n"
    "    except xmlrpc.client.Fault as error:\n"
    "        return error.faultCode\n"
    "assert fault(idc.connect, domid=3, port=99) == errno.ECONNREFUSED\n"
    "listener = idc.listen({'port': '4000000000'})\n"
    "assert listener['port'] == 4000000000\n"
    "client = idc.connect({'domid': 3, 'port': '4000000000'})\n"
    "assert client['peer_port'] == 4000000000\n"
    "peer = idc.accept({'handle': listener['handle'], 'timeout_ms': 1000})\n"
    "assert peer['peer_port'] == client['local_port']\n"
    "data = bytes(range(256)) * 500\n"
    "assert idc.send({'handle': client['handle'], 'data': data})['accepted'] == len(data)\n"
    "assert idc.recv({'handle': peer['handle'], 'max': len(data)})['data'].data == data\n"
    "status = idc.status()\n"
    "assert status['counters']['fake_large'] == 1 << 40 and status['platform'] == 'fake'\n"
    "assert idc.unlisten({'handle': listener['handle']}) == {}\n"
    "assert 'idc.connect' in xmlrpc.client.ServerProxy('http://idc/', "
    "transport=UnixTransport(PATH)).system.listMethods()\n"
    "print('all well')\n";

START_TEST(python)
{
    char path[128], command[160];
    if (!rpc_clients_have("python3"))
        return;
    FILE *script = rpc_clients_create(path, "client.py");
    copy_example(script, "    import http.client");
    fprintf(script, "PATH = '%s'\n%s", server_path, more_python);
    fclose(script);
    snprintf(command, sizeof(command), "python3 %s 2>&1", path);
    char *text = output_of(command);
    ck_assert_str_eq(text, "b'hello'\nall well\n");
    free(text);
    unlink(path);
}
END_TEST

/* ---- curl ---- */

START_TEST(curl)
{
    char connect_path[128], command[1024];
    if (!rpc_clients_have("curl"))
        return;
    FILE *file = rpc_clients_create(connect_path, "connect.xml");
    fputs("<methodCall><methodName>idc.connect</"
          "methodName><params><param><value><struct><member><name>domid</name>"
          "<value><int>3</int></value></member><member><name>port</name><value><int>5</int></"
          "value></member></struct></value>"
          "</param></params></methodCall>",
          file);
    fclose(file);
    /* More than a kilobyte: curl asks first (Expect: 100-continue); and without a length: chunked.
     */
    snprintf(
        command, sizeof(command),
        "head -c 2000000 /dev/zero | tr '\\0' ' ' | cat - %s | "
        "curl -s --unix-socket %s http://idc/ -H 'Transfer-Encoding: chunked' --data-binary @-",
        connect_path, server_path);
    char *text = output_of(command);
    ck_assert_int_eq(rpc_fixture_number(text, "peer_port"), 5);
    free(text);
    unlink(connect_path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rpc clients");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, server_start, server_stop);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, python);
    tcase_add_test(tests, curl);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
