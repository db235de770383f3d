#include "shared/tasks/sqlfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/base/utf8.h"

struct parser {
	const char *file;
	struct sqlfile *out;
	struct sqlfile_query *query; /* the one that is read, NULL before the first */
	char *body_end;              /* behind the last line of its body that is not blank */
	int line;
	struct err *e;
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const char **text, size_t *len)
{
	while (*len > 0 && is_blank((*text)[*len - 1]))
		--*len;
	while (*len > 0 && is_blank(**text)) {
		++*text;
		--*len;
	}
}

static bool is_comment(const char *line, size_t len)
{
	return len >= 2 && line[0] == '-' && line[1] == '-';
}

bool sqlfile_is_tag(const char *line, size_t len, struct sqlfile_slices *out)
{
	trim(&line, &len);
	if (!is_comment(line, len))
		return false;
	const char *colon = memchr(line, ':', len);
	if (!colon)
		return false;
	out->name = line + 2;
	out->name_len = (size_t)(colon - out->name);
	trim(&out->name, &out->name_len);
	out->value = colon + 1;
	out->value_len = (size_t)(line + len - out->value);
	trim(&out->value, &out->value_len);
	for (size_t i = 0; i < out->name_len; i++) {
		char c = out->name[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-'))
			return false;
	}
	return out->name_len > 0;
}

/* --- the text --- */

static enum err_code check_text(struct parser *p, const char *text, size_t len)
{
	if (len > (size_t)SQLFILE_MAX_BYTES)
		return err_set(p->e, ERR_INVALID, "%s: is larger than %d bytes", p->file, SQLFILE_MAX_BYTES);
	int line = 1;
	for (size_t i = 0; i < len;) {
		size_t n = utf8_char(text + i, len - i);
		if (n == 0)
			return err_set(p->e, ERR_INVALID, "%s:%d: is not UTF-8", p->file, line);
		if (text[i] == '\0')
			return err_set(p->e, ERR_INVALID, "%s:%d: holds a NUL byte", p->file, line);
		line += text[i] == '\n';
		i += n;
	}
	return ERR_OK;
}

/* A copy with LF line ends and without a byte order mark, NULL when there is no memory. */
static char *copy_text(const char *text, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";
	if (len >= 3 && memcmp(text, bom, 3) == 0) {
		text += 3;
		len -= 3;
	}
	char *copy = malloc(len + 1), *to = copy;
	for (size_t i = 0; copy && i < len; i++)
		if (!(text[i] == '\r' && i + 1 < len && text[i + 1] == '\n'))
			*to++ = text[i];
	if (copy)
		*to = '\0';
	return copy;
}

/* --- queries --- */

static bool add_query(struct parser *p)
{
	struct sqlfile *f = p->out;
	struct sqlfile_query *more = reallocarray(f->queries, f->n + 1, sizeof *more);
	if (!more)
		return false;
	f->queries = more;
	p->query = &more[f->n++];
	*p->query = (struct sqlfile_query){.body = "", .body_line = p->line};
	p->body_end = NULL;
	return true;
}

/* The byte behind a slice is a blank, the colon or the end of the line, and is needed no more: it becomes the NUL. */
static const char *seal(const char *slice, size_t len)
{
	char *text = (char *)(uintptr_t)slice;
	text[len] = '\0';
	return text;
}

static enum err_code add_tag(struct parser *p, const struct sqlfile_slices *tag)
{
	struct sqlfile_query *q = p->query;
	struct sqlfile_tag *more = reallocarray(q->tags, q->n_tags + 1, sizeof *more);
	if (!more)
		return err_nomem(p->e);
	q->tags = more;
	more[q->n_tags++] = (struct sqlfile_tag){
	        .name = seal(tag->name, tag->name_len),
	        .value = seal(tag->value, tag->value_len),
	        .line = p->line,
	};
	return ERR_OK;
}

static void end_query(struct parser *p)
{
	if (!p->body_end)
		return;
	*p->body_end = '\0';
	p->query->body_len = (size_t)(p->body_end - p->query->body);
}

static enum err_code read_line(struct parser *p, char *text, size_t text_len)
{
	const char *line = text;
	size_t len = text_len;
	trim(&line, &len);
	struct sqlfile_slices tag;
	bool is_tag = sqlfile_is_tag(line, len, &tag);
	if (is_tag && tag.name_len == 4 && strncasecmp(tag.name, "name", 4) == 0) {
		end_query(p);
		return add_query(p) ? add_tag(p, &tag) : err_nomem(p->e);
	}
	if (len == 0)
		return ERR_OK;
	if (is_tag && !p->query)
		return err_set(p->e, ERR_INVALID, "%s:%d: tag '%.*s' stands before the first '-- name:' tag", p->file,
		        p->line, tag.name_len < 64 ? (int)tag.name_len : 64, tag.name);
	if (is_tag && !p->body_end)
		return add_tag(p, &tag);
	if (!p->body_end && is_comment(line, len))
		return ERR_OK;
	if (!p->query)
		return err_set(
		        p->e, ERR_INVALID, "%s:%d: text stands before the first '-- name:' tag", p->file, p->line);
	if (!p->body_end) {
		p->query->body = line;
		p->query->body_line = p->line;
	}
	p->body_end = text + (line - text) + len;
	return ERR_OK;
}

enum err_code sqlfile_parse(const char *file, const char *text, size_t len, struct sqlfile *out, struct err *e)
{
	*out = (struct sqlfile){0};
	struct parser p = {.file = file, .out = out, .line = 1, .e = e};
	enum err_code rc = check_text(&p, text, len);
	if (rc)
		return rc;
	out->text = copy_text(text, len);
	if (!out->text)
		return err_nomem(e);
	for (char *at = out->text; !rc && *at; p.line++) {
		size_t n = strcspn(at, "\n");
		char *next = at + n + (at[n] == '\n');
		rc = read_line(&p, at, n);
		at = next;
	}
	if (rc)
		sqlfile_fini(out);
	else
		end_query(&p);
	return rc;
}

void sqlfile_fini(struct sqlfile *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->queries[i].tags);
	free(f->queries);
	free(f->text);
	*f = (struct sqlfile){0};
}
