#include "shared/tasks/tasks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/tasks/sqlfile.h"
#include "shared/tasks/task_build.h"

struct task_set {
	atomic_uint refs;
	struct task *tasks; /* as they were read */
	size_t n;
	const struct task **sorted; /* by name */
};

static enum err_code system_error(struct err *e, const char *path)
{
	int errnum = errno;
	char text[64];
	if (errnum == ENOMEM)
		return err_nomem(e);
	return err_set(e, ERR_INVALID, "%s: %s", path, err_errno(errnum, text, sizeof text));
}

/* --- files --- */

/* Reads one byte more than a .sql file may have at most, and leaves it to sqlfile_parse to say so. */
static enum err_code read_all(int fd, const char *path, struct buf *text, struct err *e)
{
	for (;;) {
		size_t want = text->max - text->len < 65536 ? text->max - text->len : 65536;
		char *room = buf_room(text, want);
		if (!room)
			return err_nomem(e);
		ssize_t got = read(fd, room, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return system_error(e, path);
		if (got == 0)
			return ERR_OK;
		text->len += (size_t)got;
	}
}

static enum err_code add_tasks(
        struct task_set *set, const struct config *c, const char *path, const struct sqlfile *f, struct err *e)
{
	if (f->n == 0)
		return ERR_OK;
	struct task *more = reallocarray(set->tasks, set->n + f->n, sizeof *more);
	if (!more)
		return err_nomem(e);
	set->tasks = more;
	for (size_t i = 0; i < f->n; i++) {
		enum err_code rc = task_build(c, path, &f->queries[i], &set->tasks[set->n++], e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* *is_file: whether it was a regular file, so that a directory called x.sql is passed over. */
static enum err_code load_file(
        struct task_set *set, const struct config *c, const char *path, bool *is_file, struct err *e)
{
	struct buf text;
	struct sqlfile file = {0};
	struct stat st;
	enum err_code rc;
	buf_init(&text, SQLFILE_MAX_BYTES + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = system_error(e, path);
		goto out;
	}
	*is_file = S_ISREG(st.st_mode);
	rc = *is_file ? read_all(fd, path, &text, e) : ERR_OK;
	if (!rc)
		rc = sqlfile_parse(path, buf_str(&text), text.len, &file, e);
	if (!rc)
		rc = add_tasks(set, c, path, &file, e);
out:
	if (fd >= 0)
		close(fd);
	sqlfile_fini(&file);
	buf_fini(&text);
	return rc;
}

/* As the shell's *.sql, which leaves out hidden files (editors keep theirs so). */
static int is_sql(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return len > 4 && entry->d_name[0] != '.' && strcmp(entry->d_name + len - 4, ".sql") == 0;
}

/* Not alphasort, which asks the locale. */
static int by_file_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err_code load_directory(struct task_set *set, const struct config *c, const char *dir, struct err *e)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_sql, by_file_name);
	if (n < 0)
		return system_error(e, dir);
	enum err_code rc = ERR_OK;
	bool any = false;
	size_t len = strlen(dir);
	for (int i = 0; !rc && i < n; i++) {
		char *path;
		bool is_file = false;
		if (asprintf(&path, "%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", entries[i]->d_name) < 0) {
			rc = err_nomem(e);
			break;
		}
		rc = load_file(set, c, path, &is_file, e);
		any = any || is_file;
		free(path);
	}
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	if (!rc && !any)
		rc = err_set(e, ERR_INVALID, "%s: the directory has no .sql file", dir);
	return rc;
}

/* --- the set --- */

static int by_name(const void *a, const void *b)
{
	const struct task *x = *(const struct task *const *)a, *y = *(const struct task *const *)b;
	int order = strcmp(x->name, y->name);
	return order ? order : (x > y) - (x < y); /* of two of the same name, first the one that was read first */
}

static enum err_code sort(struct task_set *set, struct err *e)
{
	set->sorted = calloc(set->n + 1, sizeof *set->sorted);
	if (!set->sorted)
		return err_nomem(e);
	for (size_t i = 0; i < set->n; i++)
		set->sorted[i] = &set->tasks[i];
	qsort(set->sorted, set->n, sizeof *set->sorted, by_name);
	for (size_t i = 1; i < set->n; i++) {
		const struct task *first = set->sorted[i - 1], *again = set->sorted[i];
		if (strcmp(first->name, again->name) == 0)
			return err_set(e, ERR_INVALID, "%s:%d: task '%s' has the name of the one at %s:%d", again->file,
			        again->line, again->name, first->file, first->line);
	}
	return ERR_OK;
}

enum err_code task_set_load(const struct config *c, struct task_set **out, struct err *e)
{
	*out = NULL;
	struct task_set *set = calloc(1, sizeof *set);
	if (!set)
		return err_nomem(e);
	atomic_init(&set->refs, 1);
	enum err_code rc = ERR_OK;
	if (c->n_sql_directories == 0)
		rc = err_set(e, ERR_INVALID, "sql_directories: expected a directory with .sql files, got none");
	for (size_t i = 0; !rc && i < c->n_sql_directories; i++)
		rc = load_directory(set, c, c->sql_directories[i], e);
	if (!rc)
		rc = sort(set, e);
	if (rc) {
		task_set_unref(set);
		return rc;
	}
	*out = set;
	return ERR_OK;
}

struct task_set *task_set_ref(struct task_set *set)
{
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void task_set_unref(struct task_set *set)
{
	/* Whoever frees must see all that the other holders did before they let go. */
	if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < set->n; i++)
		task_fini(&set->tasks[i]);
	free(set->tasks);
	free(set->sorted);
	free(set);
}

struct name_key {
	const char *name;
	size_t len;
};

static int key_order(const void *key, const void *element)
{
	const struct name_key *k = key;
	const char *name = (*(const struct task *const *)element)->name;
	size_t len = strlen(name);
	int order = memcmp(k->name, name, k->len < len ? k->len : len);
	return order ? order : (k->len > len) - (k->len < len);
}

const struct task *task_set_find(const struct task_set *set, const char *name, size_t len)
{
	struct name_key key = {name, len};
	const struct task **found = bsearch(&key, set->sorted, set->n, sizeof *set->sorted, key_order);
	return found ? *found : NULL;
}

size_t task_set_count(const struct task_set *set)
{
	return set->n;
}

const struct task *task_set_at(const struct task_set *set, size_t i)
{
	return set->sorted[i];
}
