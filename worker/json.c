#include "worker/json.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

void arg_list_fini(struct arg_list *list)
{
	free(list->texts);
	json_object_put(list->json);
	*list = (struct arg_list){0};
}

static enum err_code take(struct arg_list *out, struct json_object *array, struct err *e)
{
	out->n = json_object_array_length(array);
	out->texts = calloc(out->n + 1, sizeof *out->texts);
	if (!out->texts)
		return err_nomem(e);
	for (size_t i = 0; i < out->n; i++) {
		struct json_object *item = json_object_array_get_idx(array, i);
		enum json_type type = json_object_get_type(item);
		if (type == json_type_array || type == json_type_object)
			return err_set(
			        e, ERR_PERMANENT, "argument %zu is neither text, number, boolean nor null", i + 1);
		if (type == json_type_null)
			continue;
		out->texts[i] = json_object_get_string(item); /* a number's own digits, true or false */
		if (!out->texts[i])
			return err_nomem(e);
		if (type == json_type_string && strlen(out->texts[i]) != (size_t)json_object_get_string_len(item))
			return err_set(e, ERR_PERMANENT, "argument %zu holds a NUL character", i + 1);
	}
	return ERR_OK;
}

enum err_code arg_list_parse(struct arg_list *out, const char *json, struct err *e)
{
	*out = (struct arg_list){0};
	struct json_tokener *tokener = json_tokener_new();
	if (!tokener)
		return err_nomem(e);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *array = json_tokener_parse_ex(tokener, json, (int)strlen(json) + 1);
	json_tokener_free(tokener);
	out->json = array;
	enum err_code rc = json_object_is_type(array, json_type_array)
	        ? take(out, array, e)
	        : err_set(e, ERR_PERMANENT, "the job's arguments are no JSON array");
	if (rc != ERR_OK)
		arg_list_fini(out);
	return rc;
}

void json_add_string(struct buf *b, const char *text)
{
	struct json_object *s = json_object_new_string(text);
	const char *quoted =
	        s ? json_object_to_json_string_ext(s, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	if (quoted)
		buf_addstr(b, quoted);
	else
		b->failed = true;
	json_object_put(s);
}
