/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ask.c - see ask.h. The call goes over libidc's own connection to link_mgr, as a document in XML:
 * idc.status has more in its answer than compact documents can carry. */
#include "tools/measure/ask.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"

static const char status_call[] =
    "<?xml version=\"1.0\"?><methodCall><methodName>idc.status</methodName><params><param><value>"
    "<struct><member><name>detail</name><value><boolean>%d</boolean></value></member>"
    "<member><name>from</name><value><int>%d</int></value></member></struct>"
    "</value></param></params></methodCall>";

static int ask_decode(const char *document, size_t len, xmlrpc_value **result)
{
    xmlrpc_env env;
    const char *fault = NULL;
    int code = 0, status = 0;
    xmlrpc_env_init(&env);
    *result = NULL;
    xmlrpc_parse_response2(&env, document, len, result, &code, &fault);
    if (env.fault_occurred)
        status = libidc_fail(EPROTO, "link_mgr's answer is malformed: %s", env.fault_string);
    else if (fault != NULL)
        status = libidc_fail(code > 0 ? code : EPROTO, "%s", fault);
    free((void *)(uintptr_t)fault);
    xmlrpc_env_clean(&env);
    return status;
}

static xmlrpc_value *ask_page(const char *path, bool detail, int from, int wait_ms)
{
    struct libidc_line *channel;
    char message[LIBIDC_HEADER_SIZE + sizeof(status_call) + 16], *document = NULL;
    size_t len;
    int fd = -1;
    xmlrpc_value *result = NULL;
    int written = snprintf(message + LIBIDC_HEADER_SIZE, sizeof(message) - LIBIDC_HEADER_SIZE,
                           status_call, detail, from);
    uint32_t header[2] = {htole32((uint32_t)written), 0};
    memcpy(message, header, sizeof(header));
    if (libidc_line_send(path, message, LIBIDC_HEADER_SIZE + (size_t)written, NULL, 0, wait_ms,
                         &channel) < 0)
        return NULL;
    int status = libidc_line_recv(channel, wait_ms, &document, &len, &fd);
    int error = errno; /* giving the channel back must not lose it */
    libidc_line_give_back(channel, status == 0);
    if (fd >= 0)
        close(fd);
    errno = error;
    if (status == 0)
        ask_decode(document, len, &result);
    free(document);
    return result;
}

/* ---- pages ---- */

/* Adds a list of the page to that of the whole. */
static void ask_add_list(xmlrpc_env *env, xmlrpc_value *whole, xmlrpc_value *page, const char *name)
{
    xmlrpc_value *to = NULL, *items = NULL;
    if (!env->fault_occurred && xmlrpc_struct_has_key(env, page, name)) {
        xmlrpc_struct_find_value(env, whole, name, &to);
        xmlrpc_struct_find_value(env, page, name, &items);
    }
    int count = to != NULL && items != NULL ? xmlrpc_array_size(env, items) : 0;
    for (int i = 0; i < count && !env->fault_occurred; i++)
        xmlrpc_array_append_item(env, to, xmlrpc_array_get_item(env, items, i));
    if (to != NULL)
        xmlrpc_DECREF(to);
    if (items != NULL)
        xmlrpc_DECREF(items);
}

static int ask_add_page(xmlrpc_value *whole, xmlrpc_value *page)
{
    static const char *const lists[] = {"links", "connections", "listeners", "users", "handles"};
    int status = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        ask_add_list(&env, whole, page, lists[i]);
    if (env.fault_occurred)
        status = libidc_fail(EPROTO, "link_mgr's answer is malformed: %s", env.fault_string);
    xmlrpc_env_clean(&env);
    return status;
}

xmlrpc_value *ask_status(const char *path, bool detail, int wait_ms)
{
    xmlrpc_value *whole = ask_page(path, detail, 0, wait_ms);
    int64_t next = whole != NULL ? ask_int(whole, "next", 0) : 0;
    while (next > 0 && next <= INT32_MAX && whole != NULL) {
        xmlrpc_value *page = ask_page(path, detail, (int)next, wait_ms);
        next = page != NULL ? ask_int(page, "next", 0) : 0;
        if (page == NULL || ask_add_page(whole, page) < 0) {
            xmlrpc_DECREF(whole);
            whole = NULL;
        }
        if (page != NULL)
            xmlrpc_DECREF(page);
    }
    return whole;
}

/* ---- results ---- */

int64_t ask_int(xmlrpc_value *result, const char *name, int64_t fallback)
{
    int64_t number = fallback;
    xmlrpc_value *value = NULL;
    xmlrpc_int64 large;
    int small;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, result, name, &value);
    if (!env.fault_occurred && value != NULL && xmlrpc_value_type(value) == XMLRPC_TYPE_INT) {
        xmlrpc_read_int(&env, value, &small);
        number = small;
    } else if (!env.fault_occurred && value != NULL && xmlrpc_value_type(value) == XMLRPC_TYPE_I8) {
        xmlrpc_read_i8(&env, value, &large);
        number = large;
    }
    if (value != NULL)
        xmlrpc_DECREF(value);
    xmlrpc_env_clean(&env);
    return number;
}

void ask_text(xmlrpc_value *result, const char *name, char *out, size_t size)
{
    xmlrpc_value *value = NULL;
    const char *text = NULL;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    out[0] = '\0';
    xmlrpc_struct_find_value(&env, result, name, &value);
    if (!env.fault_occurred && value != NULL)
        xmlrpc_read_string(&env, value, &text);
    if (!env.fault_occurred && text != NULL)
        strncat(out, text, size - 1);
    free((void *)(uintptr_t)text);
    if (value != NULL)
        xmlrpc_DECREF(value);
    xmlrpc_env_clean(&env);
}
