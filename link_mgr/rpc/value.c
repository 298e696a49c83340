/* SPDX-License-Identifier: GPL-2.0-or-later */
/* value.c - see value.h. Values in a struct are borrowed from it; callers get a reference of their
 * own. */
#include "link_mgr/rpc/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/service_name.h"
#include "common/text_cut.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/text.h"

#define TEXT_MAX 128 /* room for any text that a member may hold */

/* ---- the struct as a whole ---- */

void rpc_params_refuse(struct rpc_params *params, const char *format, ...)
{
    char text[HUB_WHY_MAX];
    va_list args;
    if (params->failed)
        return;
    va_start(args, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, args));
    va_end(args);
    params->failed = true;
    rpc_fault(params->call, EINVAL, "%s: %s", params->method->name, text);
}

static void params_lack_memory(struct rpc_params *params)
{
    if (params->failed)
        return;
    params->failed = true;
    rpc_fault_own(params->call, ENOMEM);
}

bool rpc_params_ok(const struct rpc_params *params)
{
    return !params->failed;
}

/* Is name one of the words in list? A blank follows each word. */
static bool in_list(const char *list, const char *name, size_t len)
{
    for (const char *at = list; *at != '\0'; at = strchr(at, ' ') + 1)
        if (strncmp(at, name, len) == 0 && at[len] == ' ')
            return len > 0;
    return false;
}

static void check_name(struct rpc_params *params, const char *name, size_t len)
{
    const char *known = params->method->members;
    if (!in_list(known, name, len))
        rpc_params_refuse(params, "unknown member \"%.*s\"; known: %s", len < 64 ? (int)len : 64,
                          name, *known != '\0' ? known : "none");
}

/* Only a call with a far end, or one that shows a connection, has descriptors. */
static void check_descriptors(struct rpc_params *params)
{
    const char *members = params->method->members;
    if (params->call->fd_count > 0 && !in_list(members, "far_end", 7) &&
        !in_list(members, "shown", 5))
        rpc_params_refuse(params, "%d descriptors came with the call", params->call->fd_count);
}

static void check_member(struct rpc_params *params, xmlrpc_value *key)
{
    xmlrpc_env env;
    const char *name = NULL;
    xmlrpc_env_init(&env);
    xmlrpc_read_string(&env, key, &name);
    if (env.fault_occurred)
        params_lack_memory(params); /* a name is always a text */
    else
        check_name(params, name, strlen(name));
    free((void *)(uintptr_t)name);
    xmlrpc_env_clean(&env);
}

static void check_members(struct rpc_params *params)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    int count = xmlrpc_struct_size(&env, params->members);
    for (int i = 0; i < count && !env.fault_occurred && rpc_params_ok(params); i++) {
        xmlrpc_value *key, *value;
        xmlrpc_struct_get_key_and_value(&env, params->members, i, &key, &value);
        if (!env.fault_occurred)
            check_member(params, key);
    }
    if (env.fault_occurred)
        params_lack_memory(params);
    xmlrpc_env_clean(&env);
}

bool rpc_params_open(struct rpc_params *params, struct rpc_call *call,
                     const struct rpc_method *method, xmlrpc_value *array)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    *params = (struct rpc_params){.call = call, .method = method};
    int count = xmlrpc_array_size(&env, array);
    if (count > 0)
        xmlrpc_array_read_item(&env, array, 0, &params->members);
    if (env.fault_occurred || count > 1 ||
        (params->members != NULL && xmlrpc_value_type(params->members) != XMLRPC_TYPE_STRUCT))
        rpc_params_refuse(params, "takes one struct");
    else
        check_descriptors(params);
    if (rpc_params_ok(params) && params->members != NULL)
        check_members(params);
    xmlrpc_env_clean(&env);
    if (params->failed)
        rpc_params_close(params);
    return !params->failed;
}

bool rpc_params_open_compact(struct rpc_params *params, struct rpc_call *call,
                             const struct rpc_method *method, struct compact_reader *reader,
                             struct compact_member members[RPC_MEMBERS_MAX])
{
    int more = 1;
    *params = (struct rpc_params){.call = call, .method = method, .compact = members};
    check_descriptors(params);
    while (rpc_params_ok(params) && params->compact_count < RPC_MEMBERS_MAX) {
        struct compact_member *member = &members[params->compact_count];
        more = compact_next(reader, member);
        if (more <= 0)
            break;
        params->compact_count++;
        check_name(params, member->name.bytes, member->name.len);
    }
    if (more != 0)
        rpc_params_refuse(params, more < 0 ? "the document is malformed" : "too many members");
    return rpc_params_ok(params);
}

void rpc_params_close(struct rpc_params *params)
{
    if (params->members != NULL)
        xmlrpc_DECREF(params->members);
    params->members = NULL;
}

/* ---- members ---- */

/* A member in either form; everything is NULL when it is left out. */
struct found {
    xmlrpc_value *xml; /* borrowed */
    const struct compact_member *compact;
};

static xmlrpc_value *find_xml(struct rpc_params *params, const char *name)
{
    xmlrpc_value *value = NULL;
    xmlrpc_env env;
    if (params->members == NULL)
        return NULL;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, params->members, name, &value);
    if (env.fault_occurred)
        value = NULL;
    xmlrpc_env_clean(&env);
    if (value != NULL)
        xmlrpc_DECREF(value); /* the struct still has it */
    return value;
}

static bool value_find(struct rpc_params *params, const char *name, struct found *found)
{
    *found = (struct found){.xml = find_xml(params, name)};
    for (int i = 0; i < params->compact_count && found->compact == NULL; i++)
        if (compact_equal(&params->compact[i].name, name))
            found->compact = &params->compact[i];
    return found->xml != NULL || found->compact != NULL;
}

bool rpc_params_has(struct rpc_params *params, const char *name)
{
    struct found found;
    return value_find(params, name, &found);
}

static bool is_text(const struct found *found)
{
    return found->compact != NULL ? found->compact->type == COMPACT_TEXT
                                  : xmlrpc_value_type(found->xml) == XMLRPC_TYPE_STRING;
}

static bool take_text(const char *text, size_t len, char out[TEXT_MAX])
{
    if (len >= TEXT_MAX || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

/* Reads a member that is a text. */
static bool read_text(const struct found *found, char out[TEXT_MAX])
{
    const char *text = NULL;
    size_t len = 0;
    xmlrpc_env env;
    if (found->compact != NULL)
        return take_text(found->compact->text.bytes, found->compact->text.len, out);
    xmlrpc_env_init(&env);
    xmlrpc_read_string_lp(&env, found->xml, &len, &text);
    bool ok = !env.fault_occurred && take_text(text, len, out);
    free((void *)(uintptr_t)text);
    xmlrpc_env_clean(&env);
    return ok;
}

static bool parse_decimal(const char *text, int64_t *out)
{
    char *end;
    size_t digits = strspn(text[0] == '-' ? text + 1 : text, "0123456789");
    if (digits == 0 || digits > 18)
        return false;
    *out = strtoll(text, &end, 10);
    return *end == '\0';
}

static bool read_xml_int(xmlrpc_value *value, int64_t *out)
{
    int small = 0;
    xmlrpc_int64 large = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    bool is_small = xmlrpc_value_type(value) == XMLRPC_TYPE_INT;
    if (is_small)
        xmlrpc_read_int(&env, value, &small);
    else
        xmlrpc_read_i8(&env, value, &large); /* fails when it is not a number at all */
    *out = is_small ? small : large;
    bool ok = !env.fault_occurred;
    xmlrpc_env_clean(&env);
    return ok;
}

static bool read_int(const struct found *found, int64_t *out)
{
    char text[TEXT_MAX];
    if (is_text(found))
        return read_text(found, text) && parse_decimal(text, out);
    if (found->compact == NULL)
        return read_xml_int(found->xml, out);
    *out = found->compact->number;
    return found->compact->type == COMPACT_NUMBER;
}

int64_t rpc_params_int(struct rpc_params *params, const char *name, int64_t min, int64_t max,
                       int64_t fallback)
{
    int64_t number = 0;
    struct found found;
    if (!value_find(params, name, &found)) {
        if (fallback == RPC_REQUIRED)
            rpc_params_refuse(params, "member \"%s\" is missing", name);
        return fallback;
    }
    if (!read_int(&found, &number))
        rpc_params_refuse(params, "member \"%s\" must be a whole number", name);
    else if (number < min || number > max)
        rpc_params_refuse(params, "member \"%s\" is %lld, must be %lld to %lld", name,
                          (long long)number, (long long)min, (long long)max);
    return number;
}

int64_t rpc_params_timeout(struct rpc_params *params, int64_t min, int64_t fallback)
{
    int64_t timeout = rpc_params_int(params, "timeout_ms", -1, RPC_TIMEOUT_MAX, fallback);
    if (timeout >= 0 && timeout < min)
        rpc_params_refuse(params, "member \"timeout_ms\" must be -1 or at least %lld",
                          (long long)min);
    return timeout;
}

static bool read_bool(const struct found *found, bool *out)
{
    xmlrpc_bool flag = false;
    xmlrpc_env env;
    if (found->compact != NULL) {
        *out = found->compact->number != 0;
        return found->compact->type == COMPACT_BOOLEAN;
    }
    xmlrpc_env_init(&env);
    xmlrpc_read_bool(&env, found->xml, &flag);
    bool ok = !env.fault_occurred;
    xmlrpc_env_clean(&env);
    if (ok)
        *out = flag;
    return ok;
}

bool rpc_params_bool(struct rpc_params *params, const char *name, bool fallback)
{
    bool flag = fallback;
    struct found found;
    if (value_find(params, name, &found) && !read_bool(&found, &flag))
        rpc_params_refuse(params, "member \"%s\" must be a boolean", name);
    return flag;
}

enum idc_type rpc_params_type(struct rpc_params *params)
{
    char text[TEXT_MAX];
    struct found found;
    if (!value_find(params, "type", &found))
        return IDC_STREAM;
    if (is_text(&found) && read_text(&found, text)) {
        if (strcmp(text, rpc_type_name(IDC_STREAM)) == 0)
            return IDC_STREAM;
        if (strcmp(text, rpc_type_name(IDC_SEQPACKET)) == 0)
            return IDC_SEQPACKET;
    }
    rpc_params_refuse(params, "member \"type\" must be \"stream\" or \"seqpacket\"");
    return IDC_STREAM;
}

void rpc_params_service(struct rpc_params *params, const char *name, char out[IDC_SERVICE_MAX + 1])
{
    char text[TEXT_MAX];
    struct found found;
    out[0] = '\0';
    if (!value_find(params, name, &found))
        return;
    if (!is_text(&found) || !read_text(&found, text) || !service_name_valid(text, strlen(text)))
        rpc_params_refuse(params,
                          "member \"%s\" must be 1 to %d of A-Z a-z 0-9 . _ - and not digits alone",
                          name, IDC_SERVICE_MAX);
    else
        strcpy(out, text);
}

xmlrpc_value *rpc_params_bytes(struct rpc_params *params, const char *name)
{
    /* no method that has such a member takes compact calls */
    xmlrpc_value *value = find_xml(params, name);
    if (value == NULL) {
        rpc_params_refuse(params, "member \"%s\" is missing", name);
        return NULL;
    }
    if (xmlrpc_value_type(value) != XMLRPC_TYPE_BASE64) {
        rpc_params_refuse(params, "member \"%s\" must be base64", name);
        return NULL;
    }
    xmlrpc_INCREF(value);
    return value;
}

/* ---- answers ---- */

static bool is_compact(const struct rpc_struct *s)
{
    return s->call != NULL && s->call->compact;
}

void rpc_struct_begin(struct rpc_struct *s, struct rpc_call *call)
{
    s->call = call;
    s->value = NULL;
    xmlrpc_env_init(&s->env);
    if (is_compact(s))
        compact_begin(&s->compact, COMPACT_RESULT, NULL);
    else
        s->value = xmlrpc_struct_new(&s->env);
}

void rpc_struct_value(struct rpc_struct *s, const char *name, xmlrpc_value *value)
{
    if (!s->env.fault_occurred && value != NULL)
        xmlrpc_struct_set_value(&s->env, s->value, name, value);
    else if (!s->env.fault_occurred)
        xmlrpc_env_set_fault(&s->env, XMLRPC_INTERNAL_ERROR, "no memory");
    if (value != NULL)
        xmlrpc_DECREF(value);
}

/* The constructors need an environment without a fault, so each gets its own; one that fails
 * returns NULL. */
#define NEW_VALUE(constructor, ...)                                   \
    ({                                                                \
        xmlrpc_env new_env;                                           \
        xmlrpc_env_init(&new_env);                                    \
        xmlrpc_value *new_value = constructor(&new_env, __VA_ARGS__); \
        if (new_env.fault_occurred)                                   \
            new_value = NULL;                                         \
        xmlrpc_env_clean(&new_env);                                   \
        new_value;                                                    \
    })

void rpc_struct_int(struct rpc_struct *s, const char *name, int64_t value)
{
    bool small = value >= INT32_MIN && value <= INT32_MAX;
    if (is_compact(s))
        compact_put_number(&s->compact, name, value);
    else
        rpc_struct_value(s, name,
                         small ? NEW_VALUE(xmlrpc_int_new, (int)value)
                               : NEW_VALUE(xmlrpc_i8_new, value));
}

void rpc_struct_bool(struct rpc_struct *s, const char *name, bool value)
{
    if (is_compact(s))
        compact_put_boolean(&s->compact, name, value);
    else
        rpc_struct_value(s, name, NEW_VALUE(xmlrpc_bool_new, value));
}

void rpc_struct_text(struct rpc_struct *s, const char *name, const char *value)
{
    char text[HUB_WHY_MAX];
    int length = snprintf(text, sizeof(text), "%s", value != NULL ? value : "");
    text_mark_cut(text, sizeof(text), length);
    rpc_make_printable(text);
    if (is_compact(s))
        compact_put_text(&s->compact, name, text);
    else
        rpc_struct_value(s, name, NEW_VALUE(xmlrpc_string_new, text));
}

void rpc_struct_bytes(struct rpc_struct *s, const char *name, const void *bytes, size_t len)
{
    rpc_struct_value(s, name, NEW_VALUE(xmlrpc_base64_new, len, bytes));
}

xmlrpc_value *rpc_struct_end(struct rpc_struct *s)
{
    xmlrpc_value *value = s->value;
    if (s->env.fault_occurred) {
        if (value != NULL)
            xmlrpc_DECREF(value);
        value = NULL;
    }
    xmlrpc_env_clean(&s->env);
    return value;
}

bool rpc_struct_reply(struct rpc_struct *s)
{
    return is_compact(s) ? rpc_reply_compact(s->call, &s->compact)
                         : rpc_reply(s->call, rpc_struct_end(s));
}

void rpc_reply_empty(struct rpc_call *call)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_reply(&s);
}

/* ---- texts ---- */

const char *rpc_type_name(enum idc_type type)
{
    return type == IDC_SEQPACKET ? "seqpacket" : "stream";
}
