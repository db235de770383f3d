#include "shared/db/column.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "shared/base/hash.h"

enum err_code columns_resize(struct columns *c, size_t n, struct err *e)
{
	struct column *list = calloc(n ? n : 1, sizeof *list);
	if (!list)
		return err_nomem(e);
	free(c->list);
	c->list = list;
	c->n = n;
	return ERR_OK;
}

enum err_code columns_copy(struct columns *to, const struct columns *from, struct err *e)
{
	enum err_code rc = columns_resize(to, from->n, e);
	if (rc != ERR_OK)
		return rc;
	to->engine = from->engine;
	if (from->n)
		memcpy(to->list, from->list, from->n * sizeof *from->list);
	return ERR_OK;
}

void columns_fini(struct columns *c)
{
	free(c->list);
	c->list = NULL;
	c->n = 0;
}

/* The length of text cut to at most max bytes without splitting a UTF-8 character. */
static size_t cut(const char *text, size_t max)
{
	size_t len = strlen(text);
	if (len <= max)
		return len;
	while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
		max--;
	return max;
}

void column_set_name(struct column *c, const char *name)
{
	size_t len = cut(name, COLUMN_NAME_MAX);
	memcpy(c->name, name, len);
	c->name[len] = '\0';
}

/* The names that are taken, for columns_fix_names: a result may have 1,600 columns of one name. */
struct name {
	char *key; /* owned */
	UT_hash_handle hh;
};

/* Writes the next character of text; what is not UTF-8 counts as a character a byte. Returns where it ends. */
static const char *decode(const char *text, wint_t *character)
{
	const unsigned char *t = (const unsigned char *)text;
	const int more = t[0] >= 0xf0 ? 3 : t[0] >= 0xe0 ? 2 : t[0] >= 0xc0 ? 1 : 0;
	wint_t c = more == 3 ? t[0] & 7u : more == 2 ? t[0] & 15u : more == 1 ? t[0] & 31u : t[0];
	for (int i = 1; i <= more; i++) {
		if ((t[i] & 0xc0) != 0x80) {
			*character = t[0];
			return text + 1;
		}
		c = c << 6 | (t[i] & 0x3fu);
	}
	*character = c;
	return text + 1 + more;
}

/* For other letters than ASCII's; 0: they are left as they are. Loaded once, kept for good. */
static locale_t letters;

static void load_letters(void)
{
	letters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static wint_t fold_case(wint_t c)
{
	if (letters) /* first the other way: two small letters may have one capital letter */
		return towlower_l(towupper_l(c, letters), letters);
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* What is the same for names that are the same, owned by the caller; NULL: no memory. */
static char *key_of(const char *name, bool fold)
{
	if (!fold)
		return strdup(name);
	const size_t digits = 8, size = strlen(name) * digits + 1; /* of each character's number */
	char *key = calloc(1, size), *at = key;
	if (!key)
		return NULL;
	while (*name) {
		wint_t c;
		name = decode(name, &c);
		at += snprintf(at, size - (size_t)(at - key), "%08x", (unsigned)fold_case(c));
	}
	return key;
}

/* Of a name that is to fold: a character of four bytes becomes a _, and spaces at its end go. */
static void narrow(char *name)
{
	char *to = name;
	for (const char *at = name; *at;) {
		wint_t c;
		const char *next = decode(at, &c);
		if (next - at == 4)
			*to++ = '_';
		else
			for (; at < next; at++)
				*to++ = *at;
		at = next;
	}
	while (to > name && strchr(" \t\n\v\f\r", to[-1]))
		to--;
	*to = '\0';
}

struct naming {
	struct name_rules rules;
	struct name *taken;
};

/* Takes the name if it is free; *taken says whether it was not. */
static enum err_code take(struct naming *n, struct name *entry, const char *name, bool *taken, struct err *e)
{
	struct name *found = NULL;
	char *key = key_of(name, n->rules.fold);
	if (!key)
		return err_nomem(e);
	HASH_FIND_STR(n->taken, key, found);
	*taken = found != NULL;
	if (found) {
		free(key);
		return ERR_OK;
	}
	entry->key = key;
	HASH_ADD_KEYPTR(hh, n->taken, entry->key, strlen(entry->key), entry);
	return hash_has_added(entry) ? ERR_OK : err_nomem(e);
}

static enum err_code make_unique(struct naming *n, struct name *entry, char *name, size_t number, struct err *e)
{
	const size_t max = n->rules.max < COLUMN_NAME_MAX ? n->rules.max : COLUMN_NAME_MAX;
	name[cut(name, max)] = '\0';
	if (n->rules.fold)
		narrow(name);
	if (!name[0])
		snprintf(name, COLUMN_NAME_MAX + 1, "column_%zu", number);
	name[cut(name, max)] = '\0';
	char wished[COLUMN_NAME_MAX + 1];
	memcpy(wished, name, sizeof wished);
	bool taken = false;
	enum err_code rc = take(n, entry, name, &taken, e);
	for (size_t k = 2; rc == ERR_OK && taken; k++) {
		char suffix[24];
		size_t len = (size_t)snprintf(suffix, sizeof suffix, "_%zu", k);
		size_t keep = cut(wished, max - len);
		memcpy(name, wished, keep);
		memcpy(name + keep, suffix, len + 1);
		rc = take(n, entry, name, &taken, e);
	}
	return rc;
}

enum err_code columns_fix_names(struct columns *c, const struct name_rules *rules, struct err *e)
{
	size_t n_reserved = 0;
	while (rules->reserved && rules->reserved[n_reserved])
		n_reserved++;
	struct name *names = calloc(n_reserved + c->n + 1, sizeof *names);
	if (!names)
		return err_nomem(e);
	struct naming n = {.rules = *rules};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	if (rules->fold)
		pthread_once(&once, load_letters);
	enum err_code rc = ERR_OK;
	bool ignored;
	for (size_t i = 0; rc == ERR_OK && i < n_reserved; i++)
		rc = take(&n, &names[i], rules->reserved[i], &ignored, e);
	for (size_t i = 0; rc == ERR_OK && i < c->n; i++)
		rc = make_unique(&n, &names[n_reserved + i], c->list[i].name, i + 1, e);
	HASH_CLEAR(hh, n.taken);
	for (size_t i = 0; i < n_reserved + c->n; i++)
		free(names[i].key);
	free(names);
	return rc;
}
