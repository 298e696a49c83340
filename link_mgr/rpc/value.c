/* SPDX-License-Identifier: GPL-2.0-or-later */
/* value.c - see value.h. Values in a struct are borrowed from it; callers get a reference of their
 * own. */
#include "link_mgr/rpc/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc_member.h"
#include "common/service_name.h"
#include "common/text_cut.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/text.h"

#define TEXT_MAX (NAMING_TEXT_MAX + 2) /* room for any text that a member may hold, and more */

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

/* Is name one of the words in list? A blank follows each word. The name is a client's: it may hold
 * any byte, blanks and NULs too. */
static bool in_list(const char *list, const char *name, size_t len)
{
    for (size_t word; (word = strcspn(list, " ")) > 0; list += word + 1)
        if (word == len && memcmp(list, name, len) == 0)
            return true;
    return false;
}

static void check_name(struct rpc_params *params, const char *name, size_t len)
{
    char shown[RPC_QUOTE_SIZE];
    const char *known = params->method->members;
    if (!in_list(known, name, len))
        rpc_params_refuse(params, "unknown member \"%s\"; known: %s", rpc_quote(name, len, shown),
                          *known != '\0' ? known : "none");
}

void rpc_params_refuse_descriptors(struct rpc_params *params)
{
    if (params->failed)
        return; /* members that announce them may not have been read */
    params->call->session->foreign = true;
    rpc_params_refuse(params, "%d descriptors came with the call", params->call->fd_count);
}

/* Only a call with a far end, or one that shows a connection, has descriptors. The method says more
 * when it has read the members. */
static void check_descriptors(struct rpc_params *params)
{
    const char *members = params->method->members;
    struct rpc_call *call = params->call;
    if (call->fd_count == 0)
        return;
    if (call->fd_count == RPC_CALL_FDS || call->multicall ||
        (!in_list(members, "far_end", 7) && !in_list(members, "shown", 5)))
        rpc_params_refuse_descriptors(params);
    else
        call->session->foreign = false;
}

/* A name is always a text. NULL: no memory. */
static const char *read_name(struct rpc_params *params, int index)
{
    struct rpc_xml_guard guard;
    xmlrpc_value *key, *value;
    const char *name = NULL;
    xmlrpc_env env;
    if (RPC_XML_TRY(&guard, &params->call->xml)) {
        xmlrpc_env_init(&env);
        xmlrpc_struct_get_key_and_value(&env, params->members, index, &key, &value);
        if (!env.fault_occurred)
            xmlrpc_read_string(&env, key, &name);
        xmlrpc_env_clean(&env);
    }
    return rpc_xml_leave(&guard) ? name : NULL;
}

static void check_members(struct rpc_params *params)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    int count = xmlrpc_struct_size(&env, params->members);
    xmlrpc_env_clean(&env);
    for (int i = 0; i < count && rpc_params_ok(params); i++) {
        const char *name = read_name(params, i);
        if (name != NULL)
            check_name(params, name, strlen(name));
        else
            params_lack_memory(params);
        rpc_xml_free(name);
    }
}

/* The only parameter, or NULL if there is none. False: there are several. */
static bool read_only_item(struct rpc_xml *xml, xmlrpc_value *array, xmlrpc_value **item)
{
    struct rpc_xml_guard guard;
    volatile bool ok = false;
    xmlrpc_env env;
    *item = NULL;
    if (RPC_XML_TRY(&guard, xml)) {
        xmlrpc_env_init(&env);
        int count = xmlrpc_array_size(&env, array);
        if (count > 0)
            xmlrpc_array_read_item(&env, array, 0, item);
        ok = !env.fault_occurred && count <= 1;
        xmlrpc_env_clean(&env);
    }
    return rpc_xml_leave(&guard) && ok;
}

bool rpc_params_open(struct rpc_params *params, struct rpc_call *call,
                     const struct rpc_method *method, xmlrpc_value *array)
{
    *params = (struct rpc_params){.call = call, .method = method};
    if (!read_only_item(&call->xml, array, &params->members) ||
        (params->members != NULL && xmlrpc_value_type(params->members) != XMLRPC_TYPE_STRUCT))
        rpc_params_refuse(params, "takes one struct");
    else
        check_descriptors(params);
    if (rpc_params_ok(params) && params->members != NULL)
        check_members(params);
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
    rpc_xml_release(&params->call->xml, params->members);
    params->members = NULL;
}

/* ---- members ---- */

/* A member in either form; everything is NULL when it is left out. */
struct found {
    struct rpc_params *params;
    xmlrpc_value *xml; /* borrowed */
    const struct compact_member *compact;
};

static void find_guarded(struct rpc_params *params, const char *name, xmlrpc_value **value)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, params->members, name, value);
    if (env.fault_occurred)
        *value = NULL;
    xmlrpc_env_clean(&env);
    if (*value != NULL)
        xmlrpc_DECREF(*value); /* the struct still has it */
}

static xmlrpc_value *find_xml(struct rpc_params *params, const char *name)
{
    struct rpc_xml_guard guard;
    xmlrpc_value *value = NULL;
    if (params->members == NULL)
        return NULL;
    if (RPC_XML_TRY(&guard, &params->call->xml))
        find_guarded(params, name, &value);
    if (rpc_xml_leave(&guard))
        return value;
    params_lack_memory(params);
    return NULL;
}

static bool value_find(struct rpc_params *params, const char *name, struct found *found)
{
    *found = (struct found){.params = params, .xml = find_xml(params, name)};
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

/* Once memory was short, nothing is looked at any more. */
static bool is_text(const struct found *found)
{
    if (!rpc_params_ok(found->params))
        return false;
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
    struct rpc_xml_guard guard;
    const char *text = NULL;
    size_t len = 0;
    xmlrpc_env env;
    if (found->compact != NULL)
        return take_text(found->compact->text.bytes, found->compact->text.len, out);
    if (RPC_XML_TRY(&guard, &found->params->call->xml)) {
        xmlrpc_env_init(&env);
        xmlrpc_read_string_lp(&env, found->xml, &len, &text);
        xmlrpc_env_clean(&env);
    }
    if (!rpc_xml_leave(&guard)) {
        params_lack_memory(found->params);
        return false;
    }
    bool ok = text != NULL && take_text(text, len, out);
    rpc_xml_free(text);
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

/* These allocate only when a value is of another type. */
static bool read_xml_int(xmlrpc_value *value, int64_t *out)
{
    int small = 0;
    xmlrpc_int64 large = 0;
    xmlrpc_type type = xmlrpc_value_type(value);
    xmlrpc_env env;
    if (type != XMLRPC_TYPE_INT && type != XMLRPC_TYPE_I8)
        return false;
    xmlrpc_env_init(&env);
    if (type == XMLRPC_TYPE_INT)
        xmlrpc_read_int(&env, value, &small);
    else
        xmlrpc_read_i8(&env, value, &large);
    *out = type == XMLRPC_TYPE_INT ? small : large;
    xmlrpc_env_clean(&env);
    return true;
}

static bool read_int(const struct found *found, int64_t *out)
{
    char text[TEXT_MAX];
    if (is_text(found))
        return read_text(found, text) && parse_decimal(text, out);
    if (found->compact == NULL)
        return rpc_params_ok(found->params) && read_xml_int(found->xml, out);
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

uint32_t rpc_params_peer_timeout(struct rpc_params *params, int64_t fallback)
{
    int64_t timeout = rpc_params_int(params, "peer_timeout_ms", 0, RPC_TIMEOUT_MAX, fallback);
    if (timeout > 0 && timeout < RPC_PEER_TIMEOUT_MIN)
        rpc_params_refuse(params, "member \"peer_timeout_ms\" must be 0 or at least %d",
                          RPC_PEER_TIMEOUT_MIN);
    return timeout > 0 ? (uint32_t)timeout : 0;
}

static bool read_bool(const struct found *found, bool *out)
{
    xmlrpc_bool flag = false;
    xmlrpc_env env;
    if (found->compact != NULL) {
        *out = found->compact->number != 0;
        return found->compact->type == COMPACT_BOOLEAN;
    }
    if (!rpc_params_ok(found->params) || xmlrpc_value_type(found->xml) != XMLRPC_TYPE_BOOL)
        return false;
    xmlrpc_env_init(&env);
    xmlrpc_read_bool(&env, found->xml, &flag);
    xmlrpc_env_clean(&env);
    *out = flag;
    return true;
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

static void params_naming(const struct found *found, struct naming *naming)
{
    char text[TEXT_MAX];
    const char *wrong = "it must be a text of at most 260 bytes, without NUL";
    if (is_text(found) && read_text(found, text))
        wrong = naming_parse(naming, text);
    if (wrong != NULL)
        rpc_params_refuse(found->params, "member \"domain\": %s", wrong);
}

void rpc_params_domain(struct rpc_params *params, struct naming *naming)
{
    struct found found;
    bool named = value_find(params, "domain", &found);
    *naming = (struct naming){.kind = NAMING_DOMID};
    if (named && rpc_params_has(params, "domid"))
        rpc_params_refuse(params, "takes \"domain\" or \"domid\", not both");
    else if (named)
        params_naming(&found, naming);
    else
        naming->domid = (uint32_t)rpc_params_int(params, "domid", 0, IDC_DOMID_SELF, RPC_REQUIRED);
    if (naming->kind == NAMING_DOMID && naming->domid == IDC_DOMID_SELF)
        naming->kind = NAMING_SELF;
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

/* Memory was short, for this or anything else of the same call. */
static void struct_fails(struct rpc_struct *s)
{
    s->failed = true;
    s->value = NULL;
}

void rpc_struct_begin(struct rpc_struct *s, struct rpc_call *call)
{
    struct rpc_xml_guard guard;
    xmlrpc_env env;
    s->call = call;
    s->xml = call != NULL ? &call->xml : NULL;
    s->value = NULL;
    s->failed = false;
    if (is_compact(s)) {
        compact_begin(&s->compact, COMPACT_RESULT, NULL);
        return;
    }
    if (RPC_XML_TRY(&guard, s->xml)) {
        xmlrpc_env_init(&env);
        s->value = xmlrpc_struct_new(&env);
        xmlrpc_env_clean(&env);
    }
    if (!rpc_xml_leave(&guard) || s->value == NULL)
        struct_fails(s);
}

/* With a guard around it. */
static void struct_put(struct rpc_struct *s, const char *name, xmlrpc_value *value)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    if (value != NULL)
        xmlrpc_struct_set_value(&env, s->value, name, value);
    s->failed = s->failed || value == NULL || env.fault_occurred;
    if (value != NULL)
        xmlrpc_DECREF(value);
    xmlrpc_env_clean(&env);
}

void rpc_struct_value(struct rpc_struct *s, const char *name, xmlrpc_value *value)
{
    struct rpc_xml_guard guard;
    if (s->failed)
        return; /* value is freed with the call */
    if (RPC_XML_TRY(&guard, s->xml))
        struct_put(s, name, value);
    if (!rpc_xml_leave(&guard))
        struct_fails(s);
}

/* Puts what a constructor makes. */
#define PUT_NEW(s, name, constructor, ...)                           \
    do {                                                             \
        struct rpc_xml_guard new_guard;                              \
        xmlrpc_env new_env;                                          \
        if ((s)->failed)                                             \
            break;                                                   \
        if (RPC_XML_TRY(&new_guard, (s)->xml)) {                     \
            xmlrpc_env_init(&new_env);                               \
            struct_put(s, name, constructor(&new_env, __VA_ARGS__)); \
            xmlrpc_env_clean(&new_env);                              \
        }                                                            \
        if (!rpc_xml_leave(&new_guard))                              \
            struct_fails(s);                                         \
    } while (0)

void rpc_struct_int(struct rpc_struct *s, const char *name, int64_t value)
{
    bool small = value >= INT32_MIN && value <= INT32_MAX;
    if (is_compact(s))
        compact_put_number(&s->compact, name, value);
    else if (small)
        PUT_NEW(s, name, xmlrpc_int_new, (int)value);
    else
        PUT_NEW(s, name, xmlrpc_i8_new, value);
}

void rpc_struct_bool(struct rpc_struct *s, const char *name, bool value)
{
    if (is_compact(s))
        compact_put_boolean(&s->compact, name, value);
    else
        PUT_NEW(s, name, xmlrpc_bool_new, value);
}

void rpc_struct_text(struct rpc_struct *s, const char *name, const char *value)
{
    char text[HUB_WHY_MAX];
    int length = snprintf(text, sizeof(text), "%s", value != NULL ? value : "");
    text_mark_cut(text, sizeof(text), length);
    shown_in_place(text, sizeof(text), SHOWN_ASCII); /* it may be a peer's or a client's */
    if (is_compact(s))
        compact_put_text(&s->compact, name, text);
    else
        PUT_NEW(s, name, xmlrpc_string_new, text);
}

void rpc_struct_bytes(struct rpc_struct *s, const char *name, const void *bytes, size_t len)
{
    PUT_NEW(s, name, xmlrpc_base64_new, len, bytes);
}

xmlrpc_value *rpc_struct_end(struct rpc_struct *s)
{
    return s->failed ? NULL : s->value;
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
