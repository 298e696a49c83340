/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_domain_names.c - domains by name in RPC and in libidc: what is asked, what is answered, and
 * what a hostile list of services can do. */
#include "tests/unit/rpc_fixture.h"
#include "tests/unit/suite.h"

#include <pthread.h>

#include "common/naming.h"
#include "idc.h"

static void domain_names_setup(void)
{
    server_start();
    setenv("IDC_SOCKET", server_path, 1);
}

#define NAMED(text) "domain", "<string>" text "</string>"

static int domain_names_fault(const char *name)
{
    char value[600];
    int fd = rpc_fixture_dial();
    snprintf(value, sizeof(value), "<string>%s</string>", name);
    int resolved = fault_free(CALL(fd, "idc.resolve", "domain", value));
    int connected = fault_free(CALL(fd, "idc.connect", "domain", value, "port", "<int>5</int>"));
    close(fd);
    ck_assert_int_eq(resolved, connected);
    return resolved;
}

START_TEST(rpc_resolves)
{
    int fd = rpc_fixture_dial();
    char *body = CALL(fd, "idc.resolve", NAMED("web"));
    ck_assert_int_eq(rpc_fixture_number(body, "domid"), 5);
    ck_assert_str_eq(rpc_fixture_member(body, "name"), "web");
    ck_assert_str_eq(rpc_fixture_member(body, "uuid"), "00112233-4455-6677-8899-aabbccddeeff");
    free(body);
    ck_assert_int_eq(number_free(CALL(fd, "idc.resolve", NAMED("domid:77")), "domid"), 77);
    ck_assert_int_eq(number_free(CALL(fd, "idc.resolve", NAMED("self")), "domid"), FAKE_DOMID);
    ck_assert_int_eq(number_free(CALL(fd, "idc.domid"), "domid"), FAKE_DOMID);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.domid", NAMED("self"))), EINVAL);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.resolve")), EINVAL);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.resolve", NAMED("any"))), EINVAL);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.resolve", "domain", "<int>5</int>")), EINVAL);
    close(fd);
}
END_TEST

START_TEST(rpc_refuses)
{
    char longest[NAMING_TEXT_MAX + 2] = "name:";
    int fd = rpc_fixture_dial();
    memset(longest + 5, 'x', NAMING_NAME_MAX);
    ck_assert_int_eq(domain_names_fault("nobody"), EHOSTUNREACH);
    ck_assert_int_eq(domain_names_fault("7a"), EHOSTUNREACH);
    ck_assert_int_eq(domain_names_fault("name:7"), EHOSTUNREACH);
    ck_assert_int_eq(domain_names_fault("b\xc3\xbcro"), EHOSTUNREACH);
    ck_assert_int_eq(domain_names_fault(longest), EHOSTUNREACH);
    longest[NAMING_TEXT_MAX] = 'x';
    ck_assert_int_eq(domain_names_fault(longest), EINVAL);
    ck_assert_int_eq(domain_names_fault("twin"), ENOTUNIQ);
    ck_assert_int_eq(domain_names_fault(""), EINVAL);
    ck_assert_int_eq(domain_names_fault("40000"), EINVAL);
    ck_assert_int_eq(domain_names_fault("mail-*"), EINVAL);
    ck_assert_int_eq(domain_names_fault("a:b"), EINVAL);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.connect", NAMED("web"), "domid", "<int>5</int>",
                                     "port", "<int>5</int>")),
                     EINVAL);
    ck_assert_int_eq(fault_free(CALL(fd, "idc.connect", "port", "<int>5</int>")), EINVAL);
    close(fd);
}
END_TEST

/* A name that would be cut, or has a NUL, is no name. */
START_TEST(compact_refuses)
{
    static const char *const bad[] = {"", "any", "x\ny"};
    uint32_t domid;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(idc_resolve(bad[i], &domid), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    ck_assert_int_eq(idc_resolve("\xff\xfe", &domid), -1);
    ck_assert_int_eq(errno, EHOSTUNREACH); /* asked, and known to nobody */
}
END_TEST

START_TEST(libidc_resolves)
{
    uint32_t domid = 99;
    ck_assert_int_eq(idc_resolve("web", &domid), 0);
    ck_assert_uint_eq(domid, 5);
    ck_assert_int_eq(idc_resolve("self", &domid), 0);
    ck_assert_uint_eq(domid, FAKE_DOMID);
    ck_assert_int_eq(idc_domid(&domid), 0);
    ck_assert_uint_eq(domid, FAKE_DOMID);
    ck_assert_int_eq(idc_resolve("twin", &domid), -1);
    ck_assert_int_eq(errno, ENOTUNIQ);
    ck_assert_ptr_nonnull(strstr(idc_last_error(), "6, 7"));
    ck_assert_uint_eq(domid, FAKE_DOMID); /* untouched */
    ck_assert_int_eq(idc_resolve(NULL, &domid), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(idc_resolve("web", NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(idc_domid(NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    setenv("IDC_SOCKET", "/nonexistent", 1);
    ck_assert_int_eq(idc_resolve("dom0", &domid), 0); /* nobody is asked */
    ck_assert_uint_eq(domid, 0);
    ck_assert_int_eq(idc_resolve("web", &domid), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(idc_domid(&domid), -1);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

static void domain_names_echo(int fd)
{
    char text[4] = "";
    ck_assert_msg(fd >= 0, "%s", idc_last_error());
    ck_assert_int_eq(idc_send(fd, "ping", 4), 4);
    ck_assert_int_eq(idc_recv_with(fd, text, 4, MSG_WAITALL, NULL), 4);
    ck_assert_int_eq(memcmp(text, "ping", 4), 0);
    idc_disconnect(fd);
}

START_TEST(libidc_connects)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    static const char *const good[] = {"web", "name:web", "4", "domid:4", "self", "dom0"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        domain_names_echo(idc_connect_to(good[i], "5", NULL));
    options.wait = 1;
    domain_names_echo(idc_connect_to("web", "0005", &options));
    options = (struct idc_options)IDC_OPTIONS_INIT;
    options.nonblocking = 1;
    int fd = idc_connect_to("web", "5", &options);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    ck_assert_int_eq(idc_connect_finish(fd), 0);
    idc_disconnect(fd);
}
END_TEST

START_TEST(libidc_refuses)
{
    static const struct {
        const char *domain, *service;
        int error;
    } bad[] = {{"web", NULL, EINVAL},
               {"web", "", EINVAL},
               {"web", "0", EINVAL},
               {"web", "4294967296", EINVAL},
               {"web", "bad/name", EINVAL},
               {"", "5", EINVAL},
               {"@x", "5", EINVAL},
               {"nobody", "5", EHOSTUNREACH},
               {"twin", "5", ENOTUNIQ},
               {"web", "no.entry", EACCES},
               {"web", "99999999999999999999999", EINVAL}};
    struct idc_options options = IDC_OPTIONS_INIT;
    options.nonblocking = 1;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(idc_connect_to(bad[i].domain, bad[i].service, NULL), -1);
        ck_assert_msg(errno == bad[i].error, "%s %s: %s", bad[i].domain, bad[i].service,
                      idc_last_error());
    }
    int fd = idc_connect_to("twin", "5", &options);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    ck_assert_int_eq(idc_connect_finish(fd), -1);
    ck_assert_int_eq(errno, ENOTUNIQ);
    close(fd);
}
END_TEST

START_TEST(libidc_lists_services)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_service list[3];
    ck_assert_int_eq(idc_services("web", list, 3, NULL), 2);
    ck_assert_uint_eq(list[0].port, 80);
    ck_assert_uint_eq(list[0].type, IDC_STREAM);
    ck_assert_str_eq(list[0].name, "");
    ck_assert_uint_eq(list[1].port, 4000000000u);
    ck_assert_uint_eq(list[1].type, IDC_SEQPACKET);
    ck_assert_str_eq(list[1].name, "org.example.a");
    list[1].port = 7;
    ck_assert_int_eq(idc_services("web", list, 1, NULL), 2);
    ck_assert_uint_eq(list[1].port, 7); /* not more than count */
    ck_assert_int_eq(idc_services("web", NULL, 0, NULL), 2);
    ck_assert_int_eq(idc_services("web", NULL, 1, NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(idc_services(NULL, list, 1, NULL), -1);
    ck_assert_int_eq(errno, EFAULT);
    options.nonblocking = 1;
    ck_assert_int_eq(idc_services("web", list, 1, &options), -1);
    ck_assert_int_eq(errno, EINVAL);
    options.nonblocking = 0;
    options.timeout_ms = 300; /* the list of domain 8 has no end */
    ck_assert_int_eq(idc_services("8", list, 1, &options), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
}
END_TEST

/* A listener in the place of port 1 tells it. Calls by this thread and that one. */
static const char *domain_names_lie;

static void *domain_names_liar(void *arg)
{
    int listener = *(int *)arg, fd = idc_accept(listener, NULL);
    char question[16];
    idc_recv(fd, question, sizeof(question));
    idc_send(fd, domain_names_lie, strlen(domain_names_lie));
    idc_disconnect(fd);
    return NULL;
}

START_TEST(libidc_lists_of_liars)
{
    char long_line[400] = "80 stream ";
    const char *lies[] = {"80\n\n",
                          "80 stream\n\n",
                          "x stream -\n\n",
                          "0 stream -\n\n",
                          "4294967296 stream -\n\n",
                          "80 sctp -\n\n",
                          "80 stream bad/name\n\n",
                          "80 stream -",
                          "80 stream -\n",
                          long_line,
                          ""};
    struct idc_service list[1];
    int listener = idc_listen(IDC_PORT_MANAGER, 4);
    ck_assert_int_ge(listener, 0);
    memset(long_line + strlen(long_line), 'a', 300);
    strcpy(long_line + 310, "\n\n");
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        pthread_t thread;
        domain_names_lie = lies[i];
        ck_assert_int_eq(pthread_create(&thread, NULL, domain_names_liar, &listener), 0);
        ck_assert_msg(idc_services("web", list, 1, NULL) == -1, "lie %zu is believed", i);
        ck_assert_msg(errno == EPROTO, "lie %zu: %s", i, idc_last_error());
        pthread_join(thread, NULL);
    }
    close(listener);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("domain names");
    TCase *tests = tcase_create("names");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, domain_names_setup, server_stop);
    tcase_add_test(tests, rpc_resolves);
    tcase_add_test(tests, rpc_refuses);
    tcase_add_test(tests, compact_refuses);
    tcase_add_test(tests, libidc_resolves);
    tcase_add_test(tests, libidc_connects);
    tcase_add_test(tests, libidc_refuses);
    tcase_add_test(tests, libidc_lists_services);
    tcase_add_test(tests, libidc_lists_of_liars);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
