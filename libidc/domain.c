/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domain.c - idc_resolve, idc_domid, idc_services: which domain is meant, and what it offers.
 *
 * Names are link_mgr's to know. What a domain offers is asked of its own connection manager, over a
 * connection to port 1. Its answer is another domain's: each line is checked, and neither their
 * number nor their length can make us hold more than one buffer.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/naming.h"
#include "common/service_name.h"
#include "libidc/internal.h"

#define DOMAIN_ANSWER_MS 5000 /* for link_mgr's answer, which waits for nobody */
#define DOMAIN_LINE_MAX 128   /* "4294967295 seqpacket " and a name */
#define DOMAIN_SERVICES_MAX 1000000

/* ---- which domain ---- */

static int domain_ask(const char *path, const struct compact_writer *call, uint32_t *domid)
{
    struct libidc_answer answer;
    if (libidc_call(path, call, DOMAIN_ANSWER_MS, &answer, NULL) < 0)
        return -1;
    int64_t number = libidc_answer_int(&answer, "domid", -1);
    if (number < 0 || number > NAMING_DOMID_MAX)
        return libidc_fail(EPROTO, "link_mgr sent no domid");
    *domid = (uint32_t)number;
    return 0;
}

int idc_domid(uint32_t *domid)
{
    struct compact_writer call;
    if (domid == NULL)
        return libidc_fail(EFAULT, "the place for the domid is NULL");
    compact_begin(&call, COMPACT_CALL, "idc.domid");
    return domain_ask(libidc_socket_path(NULL), &call, domid);
}

int idc_resolve(const char *domain, uint32_t *domid)
{
    struct compact_writer call;
    struct naming naming;
    if (domain == NULL || domid == NULL)
        return libidc_fail(EFAULT, "the %s is NULL",
                           domain == NULL ? "name" : "place for the domid");
    const char *wrong = naming_parse(&naming, domain);
    if (wrong != NULL)
        return libidc_fail(EINVAL, "%s", wrong);
    if (naming.kind == NAMING_DOMID) {
        *domid = naming.domid; /* a number is not looked up */
        return 0;
    }
    compact_begin(&call, COMPACT_CALL, "idc.resolve");
    compact_put_text(&call, "domain", domain);
    return domain_ask(libidc_socket_path(NULL), &call, domid);
}

/* ---- what it offers ---- */

struct domain_answer {
    int fd;
    int64_t end_ms; /* -1: no limit */
    size_t from, to;
    char bytes[4096];
};

static int64_t domain_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for more bytes. */
static int domain_wait(const struct domain_answer *answer)
{
    struct pollfd wanted = {.fd = answer->fd, .events = POLLIN};
    int ready = 0;
    while (ready == 0) {
        int64_t left = answer->end_ms < 0 ? -1 : answer->end_ms - domain_now_ms();
        if (answer->end_ms >= 0 && left <= 0)
            return libidc_fail(ETIMEDOUT, "the list of services was not complete in time");
        ready = poll(&wanted, 1, left > INT32_MAX ? INT32_MAX : (int)left);
    }
    return ready > 0 ? 0
                     : libidc_fail(errno, "waiting for the list of services: %s", strerror(errno));
}

static int domain_more(struct domain_answer *answer)
{
    memmove(answer->bytes, answer->bytes + answer->from, answer->to - answer->from);
    answer->to -= answer->from;
    answer->from = 0;
    if (domain_wait(answer) < 0)
        return -1;
    ssize_t got =
        idc_recv(answer->fd, answer->bytes + answer->to, sizeof(answer->bytes) - answer->to);
    if (got < 0)
        return -1;
    if (got == 0)
        return libidc_fail(EPROTO, "the list of services is cut off");
    answer->to += (size_t)got;
    return 0;
}

/* The next line, without its end: 0, or -1. */
static int domain_line(struct domain_answer *answer, char line[DOMAIN_LINE_MAX])
{
    const char *end;
    while ((end = memchr(answer->bytes + answer->from, '\n', answer->to - answer->from)) == NULL) {
        if (answer->to - answer->from >= DOMAIN_LINE_MAX)
            break;
        if (domain_more(answer) < 0)
            return -1;
    }
    size_t len = end != NULL ? (size_t)(end - (answer->bytes + answer->from)) : DOMAIN_LINE_MAX;
    if (len >= DOMAIN_LINE_MAX || memchr(answer->bytes + answer->from, '\0', len) != NULL) {
        libidc_fail(EPROTO, "the list of services has a line that is none of it");
        return -1;
    }
    memcpy(line, answer->bytes + answer->from, len);
    line[len] = '\0';
    answer->from += len + 1;
    return 0;
}

/* Takes the word before the next blank off the line. */
static char *domain_word(char **line)
{
    char *word = *line, *blank = strchr(word, ' ');
    *line = blank != NULL ? blank + 1 : word + strlen(word);
    if (blank != NULL)
        *blank = '\0';
    return word;
}

/* "PORT TYPE NAME", where - is no name. */
static bool domain_read_service(char *line, struct idc_service *service)
{
    const char *digits = domain_word(&line);
    const char *type = domain_word(&line);
    size_t len = strlen(line);
    uint64_t port = 0;
    *service = (struct idc_service){.type = IDC_STREAM};
    if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 10)
        return false;
    for (; *digits != '\0'; digits++)
        port = 10 * port + (uint64_t)(*digits - '0');
    if (strcmp(type, "seqpacket") == 0)
        service->type = IDC_SEQPACKET;
    else if (strcmp(type, "stream") != 0)
        return false;
    if (strcmp(line, "-") != 0) {
        if (!service_name_valid(line, len))
            return false;
        memcpy(service->name, line, len);
    }
    service->port = (uint32_t)port;
    return port >= 1 && port <= UINT32_MAX;
}

static int domain_list(struct domain_answer *answer, struct idc_service *services, size_t count)
{
    char line[DOMAIN_LINE_MAX];
    struct idc_service service;
    for (size_t found = 0; found <= DOMAIN_SERVICES_MAX; found++) {
        if (domain_line(answer, line) < 0)
            return -1;
        if (line[0] == '\0')
            return (int)found;
        if (!domain_read_service(line, &service))
            return libidc_fail(EPROTO, "the list of services has a line that is none of it");
        if (found < count)
            services[found] = service;
    }
    return libidc_fail(EPROTO, "the list of services has no end");
}

int idc_services(const char *domain, struct idc_service *services, size_t count,
                 const struct idc_options *given)
{
    static const char question[] = "SERVICES\n";
    struct domain_answer answer = {.end_ms = -1};
    struct idc_options options;
    if (domain == NULL || (services == NULL && count > 0))
        return libidc_fail(EFAULT, "the %s is NULL", domain == NULL ? "domain" : "list");
    if (libidc_options(given, &options) < 0)
        return -1;
    if (options.nonblocking)
        return libidc_fail(EINVAL, "idc_services waits: it takes no option nonblocking");
    options.type = IDC_STREAM;
    int limit = options.timeout_ms != 0 ? options.timeout_ms : LIBIDC_TIMEOUT_DEFAULT_MS;
    if (limit != IDC_TIMEOUT_NONE)
        answer.end_ms = domain_now_ms() + limit;
    answer.fd = idc_connect_to(domain, "1", &options);
    if (answer.fd < 0)
        return -1;
    int result = -1;
    if (idc_send(answer.fd, question, sizeof(question) - 1) == (ssize_t)sizeof(question) - 1)
        result = domain_list(&answer, services, count);
    int error = errno;
    close(answer.fd);
    errno = error;
    return result;
}
