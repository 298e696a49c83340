/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json_value.c - see json_value.h. */
#include "tools/json_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xmlrpc-c/util.h>

#include "common/json.h"

static void json_number(FILE *out, xmlrpc_env *env, xmlrpc_value *value)
{
    xmlrpc_int64 large = 0;
    int small = 0;
    if (xmlrpc_value_type(value) == XMLRPC_TYPE_I8) {
        xmlrpc_read_i8(env, value, &large);
    } else {
        xmlrpc_read_int(env, value, &small);
        large = small;
    }
    fprintf(out, "%" PRId64, (int64_t)large);
}

static void json_text(FILE *out, xmlrpc_env *env, xmlrpc_value *value)
{
    const char *text = NULL;
    xmlrpc_read_string(env, value, &text);
    json_string(out, text != NULL ? text : "");
    free((void *)(uintptr_t)text);
}

static void json_bytes(FILE *out, xmlrpc_env *env, xmlrpc_value *value)
{
    const unsigned char *bytes = NULL;
    xmlrpc_mem_block *text = NULL;
    size_t len = 0;
    xmlrpc_read_base64(env, value, &len, &bytes);
    if (!env->fault_occurred)
        text = xmlrpc_base64_encode_without_newlines(env, bytes, len);
    fputc('"', out);
    if (text != NULL) {
        fwrite(xmlrpc_mem_block_contents(text), 1, xmlrpc_mem_block_size(text), out);
        xmlrpc_mem_block_free(text);
    }
    fputc('"', out);
    free((void *)(uintptr_t)bytes);
}

/* Each item begins a line. An array in an array is not indented: there is none. */
static void json_array(FILE *out, xmlrpc_env *env, xmlrpc_value *value)
{
    int count = xmlrpc_array_size(env, value);
    fputc('[', out);
    for (int i = 0; i < count && !env->fault_occurred; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", out);
        json_value(out, xmlrpc_array_get_item(env, value, i));
    }
    fputc(']', out);
}

static void json_struct(FILE *out, xmlrpc_env *env, xmlrpc_value *value)
{
    xmlrpc_value *name, *member;
    int count = xmlrpc_struct_size(env, value);
    fputc('{', out);
    for (int i = 0; i < count && !env->fault_occurred; i++) {
        xmlrpc_struct_get_key_and_value(env, value, i, &name, &member);
        fputs(i == 0 ? "" : ", ", out);
        json_text(out, env, name);
        fputs(": ", out);
        json_value(out, member);
    }
    fputc('}', out);
}

void json_value(FILE *out, xmlrpc_value *value)
{
    xmlrpc_bool flag = 0;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    switch (xmlrpc_value_type(value)) {
    case XMLRPC_TYPE_INT:
    case XMLRPC_TYPE_I8:
        json_number(out, &env, value);
        break;
    case XMLRPC_TYPE_BOOL:
        xmlrpc_read_bool(&env, value, &flag);
        fputs(flag ? "true" : "false", out);
        break;
    case XMLRPC_TYPE_STRING:
        json_text(out, &env, value);
        break;
    case XMLRPC_TYPE_BASE64:
        json_bytes(out, &env, value);
        break;
    case XMLRPC_TYPE_ARRAY:
        json_array(out, &env, value);
        break;
    case XMLRPC_TYPE_STRUCT:
        json_struct(out, &env, value);
        break;
    default: /* link_mgr's answers have no other */
        fputs("null", out);
    }
    xmlrpc_env_clean(&env);
}
